// Retries against a list of everything that happened, and a storm.
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "retry.h"

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

struct fixture {
  struct retry retry;
  struct stripe stripe[WRITERS_MAX];
  _Atomic(struct stripe *) stripes[WRITERS_MAX];
  struct retry_view view;
  uint64_t random;
};

static void add_writer(struct fixture *fixture, uint32_t writer)
{
  atomic_store(&fixture->stripes[writer], &fixture->stripe[writer]);
}

static void setup(struct fixture *fixture, const nines_retry_config *config)
{
  memset((void *)fixture, 0, sizeof *fixture);
  fixture->view = (struct retry_view){ &fixture->retry, fixture->stripes };
  fixture->random = 88172645463325252;
  struct status status;
  if (retry_set(&fixture->retry, config, true, &status) != 0) fail_msg("%s", status.text);
  assert_true(retry_valid(&fixture->retry));
  add_writer(fixture, WRITER_LOOP);
}

// ---- The budget ----

// Every event with its time; what is in the window is added up from scratch. Slices are counted from when a writer
// began.
enum { EVENTS_MAX = 8192 };
struct oracle {
  int64_t begin_ns[WRITERS_MAX], slice_ns;
  bool begun[WRITERS_MAX];
  double share, floor;
  size_t first, end;
  struct {
    int64_t at_ns;
    uint32_t writer;
    int calls, retries;
  } event[EVENTS_MAX];
};

static void oracle_count(struct oracle *oracle, uint32_t writer, int calls, int retries, int64_t now_ns)
{
  if (!oracle->begun[writer]) oracle->begin_ns[writer] = now_ns;
  oracle->begun[writer] = true;
  while (oracle->first < oracle->end &&
         oracle->event[oracle->first % EVENTS_MAX].at_ns < now_ns - 11 * oracle->slice_ns)
    oracle->first++;
  assert_true(oracle->end - oracle->first < EVENTS_MAX);
  size_t at = oracle->end++ % EVENTS_MAX;
  oracle->event[at].at_ns = now_ns;
  oracle->event[at].writer = writer;
  oracle->event[at].calls = calls;
  oracle->event[at].retries = retries;
}

static double oracle_left(const struct oracle *oracle, int64_t now_ns)
{
  double left = oracle->floor * (double)(oracle->slice_ns * 10) / (double)NS_PER_S;
  for (size_t i = oracle->first; i < oracle->end; i++) {
    size_t at = i % EVENTS_MAX;
    int64_t begin_ns = oracle->begin_ns[oracle->event[at].writer];
    int64_t slice = (oracle->event[at].at_ns - begin_ns) / oracle->slice_ns;
    if (slice <= (now_ns - begin_ns) / oracle->slice_ns - 10) continue;
    left += oracle->event[at].calls * oracle->share - oracle->event[at].retries;
  }
  return left;
}

static void one_step(struct fixture *fixture, struct oracle *oracle, struct rng *rng, uint32_t writer, int64_t now_ns)
{
  uint64_t what = rng_below(rng, 20);
  double left = oracle_left(oracle, now_ns);
  if (fabs(retry_budget(&fixture->view, now_ns) - fmax(left, 0)) >= 1e-3)
    fail_msg("at %" PRId64 ": %g left, expected %g", now_ns, retry_budget(&fixture->view, now_ns), left);
  if (what < 12) {
    retry_call(&fixture->view, writer, now_ns);
    oracle_count(oracle, writer, 1, 0, now_ns);
    return;
  }
  bool granted = what < 18 ? retry_next(&fixture->view, writer, 1, now_ns, &fixture->random) >= 0
                           : retry_hedge(&fixture->view, writer, now_ns - NS_PER_S, now_ns) == 1;
  if (fabs(left - 1) > 1e-3) assert_int_equal(granted, left >= 1); // else rounding decides
  oracle_count(oracle, writer, 0, granted, now_ns);
}

static void budget_walk(struct rng *rng, int64_t budget_ns, double percent, double floor, int64_t pace_ns, int steps)
{
  static struct fixture fixture;
  static struct oracle oracle;
  static const uint32_t writers[] = { WRITER_LOOP, WRITER_SHARED, WRITER_FIRST, WRITERS_MAX - 1 };
  const nines_retry_config config = {
    .size = sizeof config, .budget = percent, .budget_floor = floor, .budget_ns = budget_ns, .hedge_ns = NS_PER_S
  };
  int64_t now_ns = (int64_t)rng_below(rng, 1000 * (uint64_t)NS_PER_S);
  setup(&fixture, &config);
  for (int i = 0; i < 4; i++) add_writer(&fixture, writers[i]);
  oracle = (struct oracle){ .slice_ns = budget_ns / 10, .share = percent / 100, .floor = floor };
  oracle.begin_ns[WRITER_SHARED] = now_ns; // at the first fold
  oracle.begun[WRITER_SHARED] = true;
  for (int i = 0; i < steps; i++) {
    retry_fold(&fixture.view, now_ns); // the shared stripe turns here only
    one_step(&fixture, &oracle, rng, writers[rng_below(rng, 4)], now_ns);
    now_ns += rng_below(rng, 2000) ? (int64_t)rng_below(rng, (uint64_t)pace_ns)
                                   : (int64_t)rng_below(rng, 2 * (uint64_t)budget_ns);
    if (rng_below(rng, 10000) == 0) { // a restart
      int64_t shift_ns = (int64_t)rng_below(rng, 1000 * (uint64_t)NS_PER_S) - now_ns / 2;
      retry_rebase(&fixture.view, now_ns, now_ns + shift_ns);
      for (int w = 0; w < WRITERS_MAX; w++) oracle.begin_ns[w] += shift_ns;
      for (size_t e = oracle.first; e < oracle.end; e++) oracle.event[e % EVENTS_MAX].at_ns += shift_ns;
      now_ns += shift_ns;
    }
  }
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("retry_budget");
  budget_walk(&rng, NS_PER_S, 20, 1, 20 * NS_PER_MS, 400000);
  budget_walk(&rng, NS_PER_S, 37.5, 3, 10 * NS_PER_MS, 300000);
  budget_walk(&rng, 10 * NS_PER_S, 100, 0.25, 1000 * NS_PER_MS, 200000);
  budget_walk(&rng, 10 * NS_PER_S, 1, 2, 100 * NS_PER_MS, 100000);
}

// A backend that is down, a thousand calls a second, ten attempts each if it were not for the budget.
static void a_storm_stays_small(void **state)
{
  (void)state;
  enum { SECONDS = 60, MS = SECONDS * 1000, ATTEMPTS = 10 };
  static uint16_t due[MS][ATTEMPTS + 1]; // attempts of that number that fail in that millisecond
  memset(due, 0, sizeof due);
  static struct fixture fixture;
  const nines_retry_config config = { .size = sizeof config, .attempts = ATTEMPTS, .wait_ns = 100 * NS_PER_MS };
  setup(&fixture, &config);
  uint64_t calls = 0, retries = 0, denied = 0;
  for (int ms = 0; ms < MS; ms++) {
    int64_t now_ns = ms * NS_PER_MS;
    retry_call(&fixture.view, WRITER_LOOP, now_ns);
    calls++;
    due[ms][1]++;
    for (uint32_t attempt = 1; attempt <= ATTEMPTS; attempt++)
      for (int i = due[ms][attempt]; i > 0; i--) {
        int64_t wait_ns = retry_next(&fixture.view, WRITER_LOOP, attempt, now_ns, &fixture.random);
        if (wait_ns < 0) {
          denied += wait_ns == NINES_RETRY_NO_BUDGET;
          continue;
        }
        retries++;
        int64_t then_ms = ms + wait_ns / NS_PER_MS + 1;
        if (then_ms < MS) due[then_ms][attempt + 1]++;
      }
  }
  struct tally total = retry_total(&fixture.view);
  print_message("%llu calls, %llu retries (%.2f %%), %llu denied\n", (unsigned long long)calls,
                (unsigned long long)retries, 100.0 * (double)retries / (double)calls, (unsigned long long)denied);
  assert_true(retries <= calls / 5 + SECONDS);
  assert_true(retries >= calls / 5 * 95 / 100); // and the budget is there to be used
  assert_int_equal(total.total, calls);
  assert_int_equal(total.bad, retries);
  assert_int_equal(total.slow, denied);
}

// Who calls and who retries need not be the same thread.
static void one_calls_and_another_retries(void **state)
{
  (void)state;
  static struct fixture fixture;
  setup(&fixture, NULL);
  add_writer(&fixture, WRITER_FIRST);
  for (int i = 0; i < 100; i++) retry_call(&fixture.view, WRITER_LOOP, 1000);
  int granted = 0;
  for (int i = 0; i < 100; i++) granted += retry_next(&fixture.view, WRITER_FIRST, 1, 1000, &fixture.random) >= 0;
  assert_int_equal(granted, 20 + 10);
  assert_true(stripe_valid(&fixture.stripe[WRITER_FIRST]));
  assert_true(retry_budget(&fixture.view, 1000) == 0);
  assert_true(retry_budget(&fixture.view, 1000 + 10 * NS_PER_S) == 10);
}

static void no_budget_is_no_bound(void **state)
{
  (void)state;
  static struct fixture fixture;
  const nines_retry_config config = { .size = sizeof config, .budget = -1 };
  setup(&fixture, &config);
  for (int i = 0; i < 1000; i++) assert_true(retry_next(&fixture.view, 0, 1, 5, &fixture.random) >= 0);
  assert_true(isinf(retry_budget(&fixture.view, 5)));
}

// ---- Waits ----

static void waits_grow_and_scatter(void **state)
{
  (void)state;
  static struct fixture fixture;
  nines_retry_config config = {
    .size = sizeof config, .attempts = 9, .wait_ns = 1000, .factor = 3, .wait_max_ns = 20000, .budget = -1
  };
  static const double jitters[] = { 0.5, 0.25, 1, -1 };
  for (int j = 0; j < 4; j++) {
    config.jitter = jitters[j];
    double jitter = fmax(jitters[j], 0);
    setup(&fixture, &config);
    double length = 1000;
    for (uint32_t attempt = 1; attempt < 9; attempt++, length = fmin(length * 3, 20000)) {
      double sum = 0, least = INFINITY, most = 0;
      enum { DRAWS = 20000 };
      for (int i = 0; i < DRAWS; i++) {
        double wait = (double)retry_next(&fixture.view, 0, attempt, 5, &fixture.random);
        sum += wait;
        least = fmin(least, wait);
        most = fmax(most, wait);
      }
      assert_true(least >= length * (1 - jitter) - 1 && least <= length * (1 - jitter) + length * jitter * 0.01 + 1);
      assert_true(most <= length * (1 + jitter) && most >= length * (1 + jitter) - length * jitter * 0.01 - 1);
      assert_true(fabs(sum / DRAWS - length) <= 6 * length * jitter / sqrt(3.0 * DRAWS) + 1);
    }
    assert_int_equal(retry_next(&fixture.view, 0, 9, 5, &fixture.random), NINES_RETRY_NO_ATTEMPT);
    assert_int_equal(retry_next(&fixture.view, 0, UINT32_MAX, 5, &fixture.random), NINES_RETRY_NO_ATTEMPT);
  }
}

static void defaults(void **state)
{
  (void)state;
  static struct fixture fixture;
  setup(&fixture, NULL);
  for (int i = 0; i < 5; i++) {
    int64_t wait_ns = retry_next(&fixture.view, 0, 2, 5, &fixture.random);
    assert_true(wait_ns >= NS_PER_S / 2 && wait_ns <= NS_PER_S / 2 * 3);
  }
  assert_int_equal(retry_next(&fixture.view, 0, 3, 5, &fixture.random), NINES_RETRY_NO_ATTEMPT);
  assert_true(retry_budget(&fixture.view, 5) == 5);
  assert_int_equal(retry_hedge(&fixture.view, 0, 0, 50 * NS_PER_S), 0); // no hedging
}

static void hedges_wait_and_cost(void **state)
{
  (void)state;
  static struct fixture fixture;
  const nines_retry_config config = { .size = sizeof config, .hedge_ns = 1000, .budget_floor = 0.2 };
  setup(&fixture, &config);
  assert_int_equal(retry_hedge(&fixture.view, 0, 5000, 5000), 1000);
  assert_int_equal(retry_hedge(&fixture.view, 0, 5000, 5400), 600);
  assert_int_equal(retry_hedge(&fixture.view, 0, 5000, 5999), 2); // 1 would say "now"
  assert_true(retry_budget(&fixture.view, 6000) == 2);
  assert_int_equal(retry_hedge(&fixture.view, 0, 5000, 6000), 1);
  assert_int_equal(retry_hedge(&fixture.view, 0, 5000, 9000), 1);
  assert_int_equal(retry_hedge(&fixture.view, 0, 5000, 9000), 0); // no budget
  assert_int_equal(retry_next(&fixture.view, 0, 1, 9000, &fixture.random), NINES_RETRY_NO_BUDGET);
}

// ---- Settings ----

static void bad_configs(void **state)
{
  (void)state;
  struct retry retry = { 0 };
  struct status status;
#define REFUSED(field, value, sentence)                                                                                \
  do {                                                                                                                 \
    nines_retry_config config = { .size = sizeof config };                                                             \
    config.field = (value);                                                                                            \
    assert_int_equal(retry_set(&retry, &config, true, &status), NINES_EINVAL);                                         \
    assert_string_equal(status.text, sentence);                                                                        \
    assert_false(retry_valid(&retry));                                                                                 \
  } while (0)
  REFUSED(size, 4, "size is 4, must be sizeof(nines_retry_config)");
  REFUSED(attempts, 1001, "attempts is 1001, must be 1 to 1000; 0: 3");
  REFUSED(wait_ns, -1, "wait_ns is -1, must be 1 to 86400000000000; 0: the default");
  REFUSED(wait_max_ns, INT64_MAX, "wait_max_ns is 9223372036854775807, must be 1 to 86400000000000; 0: the default");
  REFUSED(factor, 0.5, "factor is 0.5, must be 1 to 1000; 0: the default");
  REFUSED(factor, -2, "factor is -2, must be 1 to 1000; 0: the default");
  REFUSED(factor, NAN, "factor is nan, must be 1 to 1000; 0: the default");
  REFUSED(jitter, 1.1, "jitter is 1.1, must be above 0 to 1; 0: 0.5; negative: none");
  REFUSED(jitter, NAN, "jitter is nan, must be above 0 to 1; 0: 0.5; negative: none");
  REFUSED(budget, 2000, "budget is 2000, must be above 0 to 1000 percent; 0: 20; negative: no budget");
  REFUSED(budget, NAN, "budget is nan, must be above 0 to 1000 percent; 0: 20; negative: no budget");
  REFUSED(budget_floor, 1e9, "budget_floor is 1e+09, must be above 0 to 1e+06 a second; 0: 1; negative: none");
  REFUSED(budget_ns, 1000, "budget_ns is 1000, must be 1000000000 to 3600000000000; 0: the default");
  REFUSED(hedge_ns, -5, "hedge_ns is -5, must be 1 to 86400000000000; 0: the default");
}

static void settings_change_and_counts_stay(void **state)
{
  (void)state;
  static struct fixture fixture;
  setup(&fixture, NULL);
  for (int i = 0; i < 1000; i++) retry_call(&fixture.view, 0, 1000);
  for (int i = 0; i < 50; i++) assert_true(retry_next(&fixture.view, 0, 1, 1000, &fixture.random) > 0);
  nines_retry_config config = { .size = sizeof config, .budget = 10, .budget_floor = -1, .budget_ns = 30 * NS_PER_S };
  assert_int_equal(retry_set(&fixture.retry, &config, false, NULL), 0);
  assert_true(retry_budget(&fixture.view, 1000) == 50);
  retry_call(&fixture.view, 0, NS_PER_S); // here the writer reshapes its window
  assert_true(fabs(retry_budget(&fixture.view, 25 * NS_PER_S) - 50.1) < 1e-6);
  assert_true(retry_budget(&fixture.view, 32 * NS_PER_S) == 0);
  assert_int_equal(retry_set(&fixture.retry, NULL, false, NULL), 0);
  assert_true(fabs(retry_budget(&fixture.view, 25 * NS_PER_S) - 50.1) < 1e-6);
  assert_int_equal(retry_total(&fixture.view).total, 1001);
  config = (nines_retry_config){ .size = offsetof(nines_retry_config, wait_ns), .attempts = 1, .wait_ns = -1 };
  assert_int_equal(retry_set(&fixture.retry, &config, false, NULL), 0); // of before there were waits
  assert_int_equal(retry_next(&fixture.view, 0, 1, 1000, &fixture.random), NINES_RETRY_NO_ATTEMPT);
}

static void damage_is_no_crash(void **state)
{
  (void)state;
  struct rng rng = seed_stream("retry_damage");
  static struct fixture fixture;
  for (int i = 0; i < 20000; i++) {
    setup(&fixture, NULL);
    add_writer(&fixture, WRITER_SHARED);
    for (size_t b = 0; b < sizeof fixture.retry; b += 8) {
      uint64_t word = rng_below(&rng, 4) ? rng_next(&rng) >> rng_below(&rng, 64) : 0;
      memcpy((char *)&fixture.retry + b, &word, 8);
    }
    int64_t now_ns = (int64_t)rng_below(&rng, 1000 * (uint64_t)NS_PER_S);
    retry_fold(&fixture.view, now_ns);
    for (uint32_t writer = 0; writer < 2; writer++) {
      retry_call(&fixture.view, writer, now_ns);
      assert_true(retry_next(&fixture.view, writer, (uint32_t)rng_below(&rng, 9), now_ns, &fixture.random) >= -2);
      retry_hedge(&fixture.view, writer, now_ns, now_ns);
    }
    assert_true(retry_budget(&fixture.view, now_ns) >= 0);
  }
}

// ---- Threads ----

enum { CALLS = 100000 };
struct worker {
  struct fixture *fixture;
  uint32_t writer;
  uint64_t granted, denied;
};

static void *work(void *argument)
{
  struct worker *worker = argument;
  uint64_t random = worker->writer + 12345;
  for (int i = 0; i < CALLS; i++) {
    retry_call(&worker->fixture->view, worker->writer, i * 1000);
    if (i % 4) continue;
    int64_t wait_ns = retry_next(&worker->fixture->view, worker->writer, 1, i * 1000, &random);
    worker->granted += wait_ns >= 0;
    worker->denied += wait_ns == NINES_RETRY_NO_BUDGET;
  }
  return NULL;
}

static void threads_share_a_budget(void **state)
{
  (void)state;
  static struct fixture fixture;
  const nines_retry_config config = { .size = sizeof config, .budget = 10 };
  setup(&fixture, &config);
  static const uint32_t writers[] = { WRITER_SHARED, WRITER_SHARED, WRITER_FIRST, WRITER_FIRST + 1 };
  struct worker worker[4];
  pthread_t thread[4];
  for (int i = 0; i < 4; i++) add_writer(&fixture, writers[i]);
  retry_fold(&fixture.view, 0);
  for (int i = 0; i < 4; i++) {
    worker[i] = (struct worker){ &fixture, writers[i], 0, 0 };
    assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
  }
  for (int i = 0; i < 500; i++) retry_fold(&fixture.view, i * 200 * 1000);
  uint64_t granted = 0, denied = 0;
  for (int i = 0; i < 4; i++) {
    pthread_join(thread[i], NULL);
    granted += worker[i].granted;
    denied += worker[i].denied;
  }
  struct tally total = retry_total(&fixture.view);
  assert_int_equal(total.total, 4 * CALLS);
  assert_int_equal(total.bad, granted);
  assert_int_equal(total.slow, denied);
  assert_int_equal(granted + denied, CALLS);
  assert_true(granted <= 4 * CALLS / 10 + 10 + 3);
  print_message("%llu granted, 40010 earned\n", (unsigned long long)granted);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(a_storm_stays_small),
    cmocka_unit_test(one_calls_and_another_retries),
    cmocka_unit_test(no_budget_is_no_bound),
    cmocka_unit_test(waits_grow_and_scatter),
    cmocka_unit_test(defaults),
    cmocka_unit_test(hedges_wait_and_cost),
    cmocka_unit_test(bad_configs),
    cmocka_unit_test(settings_change_and_counts_stay),
    cmocka_unit_test(damage_is_no_crash),
    cmocka_unit_test(threads_share_a_budget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
