// A fault point against a model: what is injected, from when to when, and whom it hits.
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "fault.h"

struct model {
  bool on;
  nines_fault_config config;
  char match[64];
};

// Letter by letter, unlike the code under test.
static bool model_matches(const struct model *model, const char *key)
{
  if (!model->config.match) return true;
  if (!key) return false;
  const char *pattern = model->match;
  for (; *pattern; pattern++, key++) {
    if (pattern[0] == '*' && pattern[1] == '\0') return true;
    if (*pattern != *key) return false;
  }
  return *key == '\0';
}

static void random_word(struct rng *rng, char *out, bool pattern)
{
  size_t length = rng_below(rng, 5) + pattern;
  if (rng_below(rng, 50) == 0) length = pattern ? 47 : 60;
  for (size_t i = 0; i < length; i++) out[i] = (char)('a' + rng_below(rng, 2));
  if (pattern && rng_below(rng, 2)) out[length - 1] = '*';
  if (pattern && length > 2 && rng_below(rng, 20) == 0) out[1] = '*'; // in the middle it is a letter
  out[length] = '\0';
}

static void random_config(struct rng *rng, struct model *model, int64_t now_ns)
{
  nines_fault_config *config = &model->config;
  *config = (nines_fault_config){ .size = sizeof *config };
  config->kind = 1 + (int)rng_below(rng, 4);
  config->rate = rng_below(rng, 3) ? 1 : 0x1p-40; // always; as good as never
  if (config->kind == NINES_FAULT_LATENCY) {
    config->latency_ns = 1 + (int64_t)rng_below(rng, 3600 * UINT64_C(1000000000));
    config->jitter_ns = rng_below(rng, 2) ? 0 : (int64_t)rng_below(rng, (uint64_t)config->latency_ns + 1);
  }
  if (config->kind == NINES_FAULT_ERROR) config->error = (int)rng_below(rng, 1000) - 500;
  random_word(rng, model->match, true);
  config->match = rng_below(rng, 2) ? model->match : NULL;
  config->until_ns = now_ns + 1 + (int64_t)rng_below(rng, 2000);
  model->on = true;
}

static uint64_t check_ask(struct fault *fault, const struct model *model, const char *key, int64_t now_ns,
                          uint64_t *random)
{
  const nines_fault_config *config = &model->config;
  bool expected = model->on && now_ns < config->until_ns && config->rate >= 1 && model_matches(model, key);
  nines_fault_action action = fault_ask(fault, key, now_ns, random);
  assert_int_equal(action.kind, expected ? config->kind : NINES_FAULT_NONE);
  assert_int_equal(action.error, expected ? config->error : 0);
  assert_true(action.latency_ns >= (expected ? config->latency_ns - config->jitter_ns : 0));
  assert_true(action.latency_ns <= (expected ? config->latency_ns + config->jitter_ns : 0));
  assert_true((fault_until(fault, now_ns) != 0) == (model->on && now_ns < config->until_ns));
  if (now_ns % 7 == 0) fault_fold(fault, now_ns);
  if (now_ns % 7 == 0 && !fault_until(fault, now_ns)) assert_false(fault_armed(fault));
  return expected;
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("fault_steps");
  uint64_t random = rng_next(&rng) | 1, hits = 0;
  struct fault fault = { 0 };
  fault_init(&fault);
  struct model model = { 0 };
  int64_t now_ns = 1000;
  char key[64];
  for (int i = 0; i < 1000000; i++) {
    now_ns += (int64_t)rng_below(&rng, 20);
    if (rng_below(&rng, 100) == 0) {
      random_config(&rng, &model, now_ns);
      assert_int_equal(fault_inject(&fault, &model.config, now_ns, NULL), 0);
    } else if (rng_below(&rng, 200) == 0) {
      fault_heal(&fault);
      model.on = false;
    } else if (rng_below(&rng, 1000) == 0) { // a restart
      int64_t then_ns = now_ns;
      now_ns = (int64_t)rng_below(&rng, 5000);
      fault_rebase(&fault, then_ns, now_ns);
      model.config.until_ns += now_ns - then_ns;
      model.on = model.on && model.config.until_ns > now_ns;
    }
    assert_int_equal(fault_until(&fault, now_ns),
                     model.on && model.config.until_ns > now_ns ? model.config.until_ns : 0);
    random_word(&rng, key, false);
    hits += check_ask(&fault, &model, rng_below(&rng, 10) ? key : NULL, now_ns, &random);
    assert_true(fault_valid(&fault));
  }
  assert_int_equal(fault_count(&fault), hits);
  assert_true(hits > 10000);
}

static void the_rate_is_what_was_asked(void **state)
{
  (void)state;
  struct rng rng = seed_fixed("fault_rate");
  uint64_t random = rng_next(&rng) | 1;
  static const double rates[] = { 0.001, 0.05, 0.5, 0.999, 1 };
  enum { ASKS = 200000 };
  for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
    struct fault fault = { 0 };
    fault_init(&fault);
    const nines_fault_config config = { .size = sizeof config,
                                        .kind = NINES_FAULT_LATENCY,
                                        .rate = rates[r],
                                        .latency_ns = 1000,
                                        .jitter_ns = 400,
                                        .until_ns = 1 };
    assert_int_equal(fault_inject(&fault, &config, 0, NULL), 0);
    double sum = 0, least = 1e9, most = 0;
    for (int i = 0; i < ASKS; i++) {
      nines_fault_action action = fault_ask(&fault, NULL, 0, &random);
      if (!action.kind) continue;
      sum += (double)action.latency_ns;
      least = fmin(least, (double)action.latency_ns);
      most = fmax(most, (double)action.latency_ns);
    }
    double hits = (double)fault_count(&fault), expected = ASKS * rates[r];
    assert_true(fabs(hits - expected) <= 6 * sqrt(expected * (1 - rates[r])));
    assert_true(least >= 600 && most <= 1400);
    assert_true(fabs(sum / hits - 1000) < 6 * 231 / sqrt(hits)); // deviation of a uniform one: 800 / sqrt 12
    if (hits > 10000) assert_true(least == 600 && most == 1400);
  }
}

static void refused(const nines_fault_config *config, const char *sentence)
{
  struct fault fault = { 0 };
  fault_init(&fault);
  struct status status;
  const nines_fault_config sound = { .size = sizeof sound, .kind = NINES_FAULT_DROP, .rate = 1, .until_ns = 200 };
  assert_int_equal(fault_inject(&fault, &sound, 100, NULL), 0);
  assert_int_equal(fault_inject(&fault, config, 100, &status), NINES_EINVAL);
  assert_string_equal(status.text, sentence);
  assert_int_equal(fault_until(&fault, 100), 200); // what was injected still is
}

static void bad_configs(void **state)
{
  (void)state;
  const nines_fault_config sound = {
    .size = sizeof sound, .kind = NINES_FAULT_LATENCY, .rate = 0.5, .latency_ns = 10, .jitter_ns = 10, .until_ns = 101
  };
#define REFUSED(field, value, sentence)                                                                                \
  do {                                                                                                                 \
    nines_fault_config config = sound;                                                                                 \
    config.field = (value);                                                                                            \
    refused(&config, sentence);                                                                                        \
  } while (0)
  REFUSED(size, 0, "size is 0, must be sizeof(nines_fault_config)");
  REFUSED(kind, 0, "kind is 0, must be NINES_FAULT_LATENCY (1), _ERROR (2), _ABORT (3) or _DROP (4)");
  REFUSED(kind, 5, "kind is 5, must be NINES_FAULT_LATENCY (1), _ERROR (2), _ABORT (3) or _DROP (4)");
  REFUSED(rate, 0, "rate is 0, must be above 0 and at most 1 (a share of calls)");
  REFUSED(rate, 1.5, "rate is 1.5, must be above 0 and at most 1 (a share of calls)");
  REFUSED(rate, NAN, "rate is nan, must be above 0 and at most 1 (a share of calls)");
  REFUSED(latency_ns, 0, "latency_ns is 0, a fault of latency needs 1 to 3600000000000 (an hour)");
  REFUSED(latency_ns, INT64_MAX,
          "latency_ns is 9223372036854775807, a fault of latency needs 1 to 3600000000000 (an hour)");
  REFUSED(jitter_ns, 11, "jitter_ns is 11, must be 0 to latency_ns (10)");
  REFUSED(jitter_ns, -1, "jitter_ns is -1, must be 0 to latency_ns (10)");
  REFUSED(kind, NINES_FAULT_ABORT, "latency_ns is 10, but only a fault of latency has one");
  REFUSED(error, 4, "error is 4, but only a fault of error has one");
  REFUSED(match, "", "match has no bytes, must have 1 to 47; NULL matches all");
  REFUSED(match, "123456789012345678901234567890123456789012345678",
          "match has too many bytes, must have 1 to 47; NULL matches all");
  REFUSED(until_ns, 0, "until_ns is 0, must be after now (100): every fault heals itself");
  REFUSED(until_ns, 100, "until_ns is 100, must be after now (100): every fault heals itself");
  refused(NULL, "size is 0, must be sizeof(nines_fault_config)");
  nines_fault_config config = sound;
  config.match = "12345678901234567890123456789012345678901234567"; // 47
  struct fault fault = { 0 };
  fault_init(&fault);
  assert_int_equal(fault_inject(&fault, &config, 100, NULL), 0);
}

static void damage_is_no_crash(void **state)
{
  (void)state;
  struct rng rng = seed_stream("fault_damage");
  uint64_t random = rng_next(&rng) | 1;
  for (int i = 0; i < 100000; i++) {
    struct fault fault;
    unsigned char *bytes = (unsigned char *)&fault;
    for (size_t b = 0; b < sizeof fault; b += 8) {
      uint64_t word = rng_next(&rng) >> rng_below(&rng, 64);
      memcpy(bytes + b, &word, 8);
    }
    fault.apart.distance = 0; // which the engine sets at each start
    fault_init(&fault);
    int64_t now_ns = (int64_t)rng_below(&rng, 1000);
    nines_fault_action action = fault_ask(&fault, "key", now_ns, &random);
    assert_true(action.kind >= NINES_FAULT_NONE && action.kind <= NINES_FAULT_DROP);
    assert_true(action.latency_ns >= 0 && action.latency_ns <= 2 * 3600 * INT64_C(1000000000));
    fault_rebase(&fault, (int64_t)rng_next(&rng), now_ns);
  }
}

// Two injections alternate under four readers: each answer is all of the one, all of the other, or none.
struct readers {
  struct fault fault;
  _Atomic bool stop;
  _Atomic int started;
  _Atomic uint64_t hits, torn;
};

static void *read_faults(void *argument)
{
  struct readers *readers = argument;
  uint64_t random = (uint64_t)(uintptr_t)&random | 1, hits = 0;
  atomic_fetch_add(&readers->started, 1);
  while (!atomic_load(&readers->stop)) {
    nines_fault_action action = fault_ask(&readers->fault, "eu-1", 5, &random);
    bool first = action.kind == NINES_FAULT_LATENCY && action.latency_ns == 1000 && action.error == 0;
    bool second = action.kind == NINES_FAULT_ERROR && action.latency_ns == 0 && action.error == 77;
    bool none = action.kind == NINES_FAULT_NONE && action.latency_ns == 0 && action.error == 0;
    if (!first && !second && !none) atomic_fetch_add(&readers->torn, 1);
    hits += first || second;
  }
  atomic_fetch_add(&readers->hits, hits);
  return NULL;
}

static void readers_see_one_injection_or_none(void **state)
{
  (void)state;
  static struct readers readers;
  fault_init(&readers.fault);
  pthread_t thread[3];
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&thread[i], NULL, read_faults, &readers), 0);
  const nines_fault_config first = {
    .size = sizeof first, .kind = NINES_FAULT_LATENCY, .rate = 1, .latency_ns = 1000, .match = "eu-*", .until_ns = 10
  };
  const nines_fault_config second = {
    .size = sizeof second, .kind = NINES_FAULT_ERROR, .rate = 1, .error = 77, .match = "eu-1", .until_ns = 10
  };
  const nines_fault_config other = {
    .size = sizeof other, .kind = NINES_FAULT_DROP, .rate = 1, .match = "us-*", .until_ns = 10
  };
  while (atomic_load(&readers.started) < 3) sched_yield();
  for (int i = 0; i < 100000; i++) {
    fault_inject(&readers.fault, &first, 0, NULL);
    fault_inject(&readers.fault, &other, 0, NULL);
    fault_inject(&readers.fault, &second, 0, NULL);
    if (i % 8 == 0) fault_heal(&readers.fault);
    if (i % 1024 == 0) sched_yield();
  }
  atomic_store(&readers.stop, true);
  for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
  assert_int_equal(readers.torn, 0);
  assert_int_equal(fault_count(&readers.fault), readers.hits);
  print_message("%llu hits while injections alternated\n", (unsigned long long)readers.hits);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(the_rate_is_what_was_asked),
    cmocka_unit_test(bad_configs),
    cmocka_unit_test(damage_is_no_crash),
    cmocka_unit_test(readers_see_one_injection_or_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
