// Inputs survive the way through bytes; damaged bytes are refused and leave the clock alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <string.h>

#include "input.h"
#include "rng.h"

static void assert_same(const struct input *a, const struct input *b)
{
  assert_int_equal(a->kind, b->kind);
  assert_int_equal(a->code, b->code);
  assert_true(a->now_ns == b->now_ns);
  assert_true(a->wall_ns == b->wall_ns);
  assert_true(a->op == b->op);
  assert_true(view_equal(a->name, b->name));
  assert_true(view_equal(a->body, b->body));
}

static uint64_t any_number(struct rng *rng)
{
  return rng_next(rng) >> rng_below(rng, 64);
}

static void test_round_trip(void **state)
{
  (void)state;
  const uint64_t seed = 4711;
  print_message("seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "input");
  struct input_clock writer = { 0 }, reader = { 0 };
  struct buf out = { 0 };
  char text[300];
  for (size_t i = 0; i < sizeof(text); i++) text[i] = (char)rng_next(&rng);
  for (int step = 0; step < 50000; step++) {
    struct input input = {
      .kind = (enum input_kind)(1 + rng_below(&rng, INPUT_KIND_END - 1)),
      .code = rng_below(&rng, 2) ? 0 : (int)(uint32_t)any_number(&rng),
      .now_ns = (int64_t)any_number(&rng),
      .wall_ns = (int64_t)any_number(&rng),
      .op = rng_below(&rng, 2) ? 0 : any_number(&rng),
      .name = { text, rng_below(&rng, 2) ? 0 : rng_below(&rng, 200) },
      .body = { text, rng_below(&rng, 2) ? 0 : rng_below(&rng, 300) },
    };
    if (rng_below(&rng, 10) == 0) input.now_ns = INT64_MIN;
    if (rng_below(&rng, 10) == 0) input.wall_ns = INT64_MAX;
    if (rng_below(&rng, 20) == 0) input.code = INT_MIN;
    buf_clear(&out);
    input_encode(&input, &writer, &out);
    struct input back;
    struct status status;
    assert_int_equal(input_decode((uint8_t)input.kind, buf_view(&out), &reader, &back, &status), 0);
    assert_same(&input, &back);
    assert_memory_equal(&reader, &writer, sizeof(reader));
  }
  buf_free(&out);
}

static void test_idle_beat_is_small(void **state)
{
  (void)state;
  struct input_clock clock = { 1000, 2000 };
  struct input beat = { .kind = INPUT_BEAT, .now_ns = 1000 + 50123456, .wall_ns = 2000 + 50123456 };
  struct buf out = { 0 };
  input_encode(&beat, &clock, &out);
  assert_int_equal(out.size, 5);
  buf_free(&out);
}

static void test_cut_short(void **state)
{
  (void)state;
  struct input input = { .kind = INPUT_CALL, .code = -5, .now_ns = 1LL << 60, .wall_ns = -1, .op = 1ULL << 63 };
  input.name = view_of("deploy");
  struct input_clock clock = { 0 };
  struct buf out = { 0 };
  input_encode(&input, &clock, &out);
  for (size_t size = 0; size < out.size; size++) {
    struct input_clock reader = { 7, 8 };
    struct input back;
    struct status status = { 0 };
    assert_int_equal(input_decode(INPUT_CALL, (struct view){ out.data, size }, &reader, &back, &status),
                     NINES_ECORRUPT);
    assert_true(strlen(status.text) > 0);
    assert_true(reader.now_ns == 7 && reader.wall_ns == 8);
  }
  struct input back;
  struct input_clock reader = { 0 };
  assert_int_equal(input_decode(0, buf_view(&out), &reader, &back, NULL), NINES_ECORRUPT);
  assert_int_equal(input_decode(INPUT_KIND_END, buf_view(&out), &reader, &back, NULL), NINES_ECORRUPT);
  out.data[0] = (char)0xff;
  assert_int_equal(input_decode(INPUT_CALL, buf_view(&out), &reader, &back, NULL), NINES_ECORRUPT);
  buf_free(&out);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_round_trip),
    cmocka_unit_test(test_idle_beat_is_small),
    cmocka_unit_test(test_cut_short),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
