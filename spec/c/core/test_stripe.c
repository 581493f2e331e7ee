// A stripe against a list of events, and against readers while it is written.
//
// The oracle keeps each event with the time it counts at, and adds up, from scratch, those whose slice (by plain
// division from the window's start) is the current one or one of the nine before it.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "stripe.h"

enum { EVENTS_MAX = 1 << 14 };
struct event {
  int64_t at_ns;
  bool bad, slow;
};
struct oracle {
  int64_t origin_ns, width_ns, last_ns; // last_ns: the latest time at which something was counted
  size_t first, end;
  struct event event[EVENTS_MAX];
};
static struct oracle oracle;

static int64_t slice_of(int64_t at_ns)
{
  return (at_ns - oracle.origin_ns) / oracle.width_ns;
}

static void oracle_start(int64_t span_ns, int64_t now_ns)
{
  oracle.first = oracle.end = 0;
  oracle.origin_ns = oracle.last_ns = now_ns;
  oracle.width_ns = span_ns / 10;
}

static void oracle_add(int64_t now_ns, bool bad, bool slow)
{
  if (now_ns < oracle.last_ns) now_ns = oracle.last_ns; // of a slice that is over: counts in the current one
  oracle.last_ns = now_ns;
  while (oracle.first < oracle.end &&
         slice_of(oracle.event[oracle.first % EVENTS_MAX].at_ns) < slice_of(now_ns) - STRIPE_SLICES)
    oracle.first++;
  assert_true(oracle.end - oracle.first < EVENTS_MAX);
  oracle.event[oracle.end++ % EVENTS_MAX] = (struct event){ now_ns, bad, slow };
}

static struct tally oracle_sum(int64_t now_ns)
{
  if (now_ns < oracle.last_ns) now_ns = oracle.last_ns;
  struct tally sum = { 0 };
  for (size_t i = oracle.first; i < oracle.end; i++) {
    const struct event *event = &oracle.event[i % EVENTS_MAX];
    if (slice_of(event->at_ns) <= slice_of(now_ns) - STRIPE_SLICES) continue;
    sum = tally_add(sum, (struct tally){ 1, event->bad, event->slow });
  }
  return sum;
}

static void oracle_reshape(int64_t span_ns, int64_t now_ns)
{
  int64_t oldest = slice_of(now_ns) - STRIPE_SLICES;
  size_t kept = oracle.end;
  for (size_t i = oracle.end; i-- > oracle.first;)
    if (slice_of(oracle.event[i % EVENTS_MAX].at_ns) > oldest) kept = i;
  for (size_t i = kept; i < oracle.end; i++) oracle.event[i % EVENTS_MAX].at_ns = now_ns;
  oracle.first = kept;
  oracle.origin_ns = oracle.last_ns = now_ns;
  oracle.width_ns = span_ns / 10;
}

static void assert_tally(struct tally got, struct tally expected)
{
  assert_int_equal(got.total, expected.total);
  assert_int_equal(got.bad, expected.bad);
  assert_int_equal(got.slow, expected.slow);
}

static int64_t random_step_ns(struct rng *rng, int64_t width_ns)
{
  switch (rng_below(rng, 64)) {
  case 0:
    return (int64_t)rng_below(rng, (uint64_t)width_ns * 24);
  case 1:
    return width_ns;
  case 2:
    return rng_below(rng, 32) == 0 ? (int64_t)rng_below(rng, UINT64_C(1) << 50) : 0; // idle for up to 13 days
  default:
    return (int64_t)rng_below(rng, (uint64_t)width_ns / 8 + 2);
  }
}

static void random_walk(struct rng *rng, int64_t span_ns, int steps)
{
  static struct stripe stripe;
  memset((void *)&stripe, 0, sizeof stripe);
  const int64_t widest_ns = span_ns * 3;
  int64_t now_ns = (int64_t)rng_below(rng, UINT64_C(1) << 40);
  uint32_t epoch = (uint32_t)rng_below(rng, 100);
  struct tally total = { (UINT64_C(1) << 33) - rng_below(rng, 100000), UINT32_MAX - rng_below(rng, 1000),
                         5 }; // wraps soon
  atomic_store(&stripe.total, total.total);
  atomic_store(&stripe.bad, total.bad);
  atomic_store(&stripe.slow, total.slow);
  stripe_start(&stripe, span_ns, epoch, now_ns);
  oracle_start(span_ns, now_ns);
  for (int i = 0; i < steps; i++) {
    now_ns += random_step_ns(rng, span_ns / 10);
    bool bad = rng_below(rng, 3) == 0, slow = rng_below(rng, 5) == 0;
    int64_t at_ns = rng_below(rng, 50) == 0 ? now_ns - (int64_t)rng_below(rng, (uint64_t)span_ns) : now_ns;
    stripe_add(&stripe, bad, slow, at_ns);
    oracle_add(at_ns, bad, slow);
    total = tally_add(total, (struct tally){ 1, bad, slow });
    assert_tally(stripe_window(&stripe), oracle_sum(oracle.last_ns));
    if (rng_below(rng, 16) == 0) {
      int64_t later_ns = now_ns + random_step_ns(rng, span_ns / 10);
      assert_tally(stripe_sum(&stripe, epoch, later_ns), oracle_sum(later_ns));
      assert_tally(stripe_sum(&stripe, epoch + 1, later_ns), (struct tally){ 0 });
      assert_tally(stripe_total(&stripe), total);
    }
    if (rng_below(rng, 5000) == 0) { // settings
      span_ns = 10 + (int64_t)rng_below(rng, (uint64_t)widest_ns);
      stripe_reshape(&stripe, span_ns, now_ns > oracle.last_ns ? now_ns : oracle.last_ns);
      oracle_reshape(span_ns, now_ns > oracle.last_ns ? now_ns : oracle.last_ns);
    }
    if (rng_below(rng, 5000) == 0) { // another generation
      stripe_start(&stripe, span_ns, ++epoch, now_ns);
      oracle_start(span_ns, now_ns);
    }
    if (rng_below(rng, 5000) == 0) { // a reboot
      int64_t shift_ns = (int64_t)rng_below(rng, UINT64_C(1) << 30) - now_ns;
      stripe_rebase(&stripe, now_ns, now_ns + shift_ns);
      now_ns += shift_ns;
      oracle.origin_ns += shift_ns;
      oracle.last_ns += shift_ns;
      for (size_t e = oracle.first; e < oracle.end; e++) oracle.event[e % EVENTS_MAX].at_ns += shift_ns;
    }
    if (i % 1000 == 0) assert_true(stripe_valid(&stripe));
  }
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("stripe_walk");
  random_walk(&rng, INT64_C(10000000000), 400000);
  random_walk(&rng, 1000000, 400000);
  random_walk(&rng, 1237, 150000);
  random_walk(&rng, 10, 50000);
}

static void never_started_it_only_counts(void **state)
{
  (void)state;
  static struct stripe stripe;
  stripe_add(&stripe, true, false, 5);
  stripe_add_shared(&stripe, false, true);
  assert_tally(stripe_total(&stripe), (struct tally){ 2, 1, 1 });
  assert_tally(stripe_sum(&stripe, 0, 5), (struct tally){ 0 });
  assert_true(stripe_valid(&stripe));
  stripe_start(&stripe, 100, 7, 5);
  assert_tally(stripe_sum(&stripe, 7, 5), (struct tally){ 0 });
}

static void a_kill_while_it_is_laid_out_is_mended(void **state)
{
  (void)state;
  static struct stripe stripe;
  stripe_start(&stripe, 100, 7, 1000);
  stripe_add(&stripe, true, false, 1001);
  atomic_store(&stripe.end_ns, 0); // the first store of laying out
  assert_true(stripe_valid(&stripe));
  assert_tally(stripe_sum(&stripe, 7, 1001), (struct tally){ 0 });
  stripe_add(&stripe, true, true, 1050);
  assert_tally(stripe_sum(&stripe, 7, 1050), (struct tally){ 2, 2, 1 });
  assert_tally(stripe_sum(&stripe, 7, 1149), (struct tally){ 2, 2, 1 });
  assert_tally(stripe_sum(&stripe, 7, 1150), (struct tally){ 0 });
}

static void damage_is_seen_and_does_no_harm(void **state)
{
  (void)state;
  struct rng rng = seed_stream("stripe_damage");
  static struct stripe stripe;
  for (int i = 0; i < 20000; i++) {
    unsigned char *byte = (unsigned char *)&stripe;
    for (size_t k = 0; k < sizeof stripe; k++) byte[k] = (unsigned char)rng_next(&rng);
    if (i % 3 == 0) atomic_store(&stripe.width_ns, (int64_t)rng_below(&rng, 100));
    stripe_sum(&stripe, atomic_load(&stripe.epoch), 1000);
    stripe_add(&stripe, true, true, INT64_C(1) << 61);
    stripe_reshape(&stripe, 100, 2000);
    stripe_rebase(&stripe, 2000, 10);
  }
  memset((void *)&stripe, 0xff, sizeof stripe);
  assert_false(stripe_valid(&stripe));
}

// The writer counts as many in each slice; a reader must never see more than a window's worth.
enum { PER_SLICE = 64, WIDTH_NS = 1000, ROUNDS = 300000 };
struct shared {
  struct stripe stripe;
  _Atomic int64_t now_ns;
  _Atomic bool over;
};

static void *keep_reading(void *userdata)
{
  struct shared *shared = userdata;
  uint64_t last = 0;
  do {
    int64_t now_ns = atomic_load(&shared->now_ns);
    uint64_t total = stripe_total(&shared->stripe).total;
    struct tally sum = stripe_sum(&shared->stripe, 3, now_ns);
    if (sum.bad > sum.total || sum.slow > sum.total || total < last) return "torn";
    last = total;
    // What is counted while this reads is seen too, so only the bound from below is exact.
    if (total > PER_SLICE * 20 && sum.total < PER_SLICE * 9) return "too few";
  } while (!atomic_load(&shared->over));
  return NULL;
}

static void readers_see_whole_windows(void **state)
{
  (void)state;
  static struct shared shared;
  atomic_store(&shared.now_ns, 1);
  stripe_start(&shared.stripe, WIDTH_NS * 10, 3, 1);
  pthread_t reader[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&reader[i], NULL, keep_reading, &shared), 0);
  int64_t now_ns = 1;
  for (int i = 0; i < ROUNDS; i++) {
    now_ns += WIDTH_NS / PER_SLICE;
    atomic_store(&shared.now_ns, now_ns);
    stripe_add(&shared.stripe, i % 2 == 0, i % 3 == 0, now_ns);
  }
  atomic_store(&shared.over, true);
  for (int i = 0; i < 2; i++) {
    void *complaint;
    pthread_join(reader[i], &complaint);
    if (complaint) fail_msg("%s", (const char *)complaint);
  }
  assert_int_equal(stripe_total(&shared.stripe).total, ROUNDS);
}

static void a_window_is_kept(void **state)
{
  (void)state;
  static struct stripe stripe;
  stripe_keep(&stripe, 100, 1000); // started
  stripe_add(&stripe, true, false, 1050);
  assert_tally(stripe_sum(&stripe, 0, 1050), (struct tally){ 1, 1, 0 });
  stripe_keep(&stripe, 200, 1900); // of another span: what it holds stays
  assert_int_equal(atomic_load(&stripe.width_ns), 200);
  assert_tally(stripe_sum(&stripe, 0, 1900), (struct tally){ 1, 1, 0 });
  int64_t end_ns = atomic_load(&stripe.end_ns);
  stripe_keep(&stripe, 200, 2000); // the same: untouched
  assert_int_equal(atomic_load(&stripe.end_ns), end_ns);
  static const int64_t damaged[] = { INT64_MIN, -1, 0, INT64_MAX };
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    stripe_keep(&stripe, damaged[i], 2100);
    assert_true(stripe_valid(&stripe));
    end_ns = atomic_load(&stripe.end_ns);
    stripe_keep(&stripe, damaged[i], 2200); // not begun anew by each call: it ages
    assert_int_equal(atomic_load(&stripe.end_ns), end_ns);
  }
}

static void *add_shared(void *userdata)
{
  for (int i = 0; i < ROUNDS / 10; i++) stripe_add_shared(userdata, i % 2 == 0, i % 3 == 0);
  return NULL;
}

static void many_writers_share_one(void **state)
{
  (void)state;
  static struct stripe stripe;
  stripe_start(&stripe, 1000, 1, 1);
  pthread_t writer[3];
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&writer[i], NULL, add_shared, &stripe), 0);
  for (int64_t now_ns = 1; now_ns < 2000; now_ns++) {
    stripe_turn(&stripe, now_ns);
    struct tally sum = stripe_sum(&stripe, 1, now_ns);
    assert_true(sum.bad <= sum.total && sum.slow <= sum.total);
  }
  for (int i = 0; i < 3; i++) pthread_join(writer[i], NULL);
  assert_tally(stripe_total(&stripe), (struct tally){ 3 * ROUNDS / 10, 3 * ROUNDS / 20, 3 * ROUNDS / 30 });
  stripe_turn(&stripe, 1000000);
  assert_tally(stripe_sum(&stripe, 1, 1000000), (struct tally){ 0 });
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(never_started_it_only_counts),
    cmocka_unit_test(a_kill_while_it_is_laid_out_is_mended),
    cmocka_unit_test(damage_is_seen_and_does_no_harm),
    cmocka_unit_test(readers_see_whole_windows),
    cmocka_unit_test(a_window_is_kept),
    cmocka_unit_test(many_writers_share_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
