// A limiter against a bucket of tokens filled by plain division, and against its promise: never more than the burst and
// what the rate earns, in any span of time, for any number of threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>

#include "core/seed.h"
#include "limiter.h"

#define NS_PER_S INT64_C(1000000000)
#define TICK_NS  (1.0 / LIMITER_TICKS_PER_NS)

static void make(struct limiter *limiter, nines_limiter_config config, int64_t now_ns)
{
  struct status status;
  memset((void *)limiter, 0, sizeof *limiter);
  config.size = sizeof config;
  if (limiter_set(limiter, &config, true, now_ns, &status) != 0) fail_msg("%s", status.text);
  assert_true(limiter_valid(limiter));
}

// The oracle: tokens, negative when callers were asked to wait. `slack` is what rounding costs up may have taken.
struct bucket {
  double rate, burst, wait_max_ns; // rate in calls a ns
  double tokens, slack;
  int64_t at_ns;
};

static void bucket_fill(struct bucket *bucket, int64_t now_ns)
{
  bucket->tokens += (double)(now_ns - bucket->at_ns) * bucket->rate;
  bucket->at_ns = now_ns;
  bucket->slack += 1e-12 * bucket->burst + (double)now_ns * 1e-18 * bucket->rate;
  if (bucket->tokens < bucket->burst + bucket->slack) return;
  bucket->tokens = bucket->burst;
  bucket->slack = 2 * TICK_NS * bucket->rate; // the burst is rounded, too
}

static void ask_both(struct limiter *limiter, struct bucket *bucket, double cost, int64_t now_ns)
{
  bucket_fill(bucket, now_ns);
  double available = limiter_available(limiter, now_ns);
  double tolerance = bucket->slack + 2 * bucket->rate;
  assert_true(fabs(available - fmax(0, bucket->tokens)) <= tolerance);
  int64_t answer = limiter_ask(limiter, cost, now_ns);
  if (cost > bucket->burst) {
    assert_true(answer == INT64_MIN);
    return;
  }
  double left = bucket->tokens - cost, over_ns = -left / bucket->rate - bucket->wait_max_ns;
  double tolerance_ns = tolerance / bucket->rate + 1;
  if (answer >= 0) {
    assert_true(over_ns <= tolerance_ns);
    assert_true(fabs((double)answer - fmax(0, -left / bucket->rate)) <= tolerance_ns);
    bucket->tokens = left;
    bucket->slack += TICK_NS * bucket->rate;
  } else {
    assert_true(over_ns >= -tolerance_ns);
    assert_true(fabs((double)-answer - over_ns) <= tolerance_ns);
  }
}

static void random_walk(struct rng *rng, nines_limiter_config config, int steps)
{
  struct limiter limiter;
  int64_t now_ns = (int64_t)rng_below(rng, 1000 * (uint64_t)NS_PER_S);
  make(&limiter, config, now_ns);
  struct bucket bucket = { .rate = config.rate / (double)config.per_ns,
                           .burst = config.burst,
                           .wait_max_ns = (double)config.wait_max_ns,
                           .tokens = config.burst,
                           .at_ns = now_ns };
  double gap_ns = (double)config.per_ns / config.rate;
  for (int i = 0; i < steps; i++) {
    uint64_t kind = rng_below(rng, 1000);
    if (kind == 0) {
      now_ns += (int64_t)(gap_ns * config.burst * 2 * rng_unit(rng));
    } else if (kind == 1) {
      limiter_drain(&limiter, now_ns);
      bucket_fill(&bucket, now_ns);
      bucket.tokens = fmin(bucket.tokens, 0);
      assert_true(limiter_available(&limiter, now_ns) == 0);
    } else if (kind == 2) {
      int64_t shift_ns = (int64_t)rng_below(rng, 2000 * (uint64_t)NS_PER_S) - 1000 * NS_PER_S;
      limiter_rebase(&limiter, now_ns, now_ns + shift_ns);
      now_ns += shift_ns;
      bucket.at_ns += shift_ns;
    } else {
      now_ns += (int64_t)rng_exponential(rng, gap_ns);
    }
    double cost = kind < 500 ? 1 : kind < 990 ? 2 * rng_unit(rng) : config.burst * 1.1 * rng_unit(rng);
    ask_both(&limiter, &bucket, cost, now_ns);
  }
}

static void a_million_asks(void **state)
{
  (void)state;
  struct rng rng = seed_stream("limiter_walk");
  for (int owner = 0; owner < 2; owner++) {
    random_walk(&rng, (nines_limiter_config){ .rate = 100, .per_ns = NS_PER_S, .burst = 100, .owner = owner }, 200000);
    random_walk(&rng, (nines_limiter_config){ .rate = 1e6, .per_ns = NS_PER_S, .burst = 3, .owner = owner }, 100000);
    random_walk(&rng,
                (nines_limiter_config){
                    .rate = 7, .per_ns = 60 * NS_PER_S, .burst = 1, .wait_max_ns = 20 * NS_PER_S, .owner = owner },
                100000);
    random_walk(
        &rng,
        (nines_limiter_config){ .rate = 3e8, .per_ns = NS_PER_S, .burst = 10.5, .wait_max_ns = 100, .owner = owner },
        100000);
  }
}

// Every span between two grants, naively.
static void no_span_gets_more_than_its_share(void **state)
{
  (void)state;
  struct rng rng = seed_stream("limiter_spans");
  enum { ASKS = 400, ROUNDS = 60 };
  for (int round = 0; round < ROUNDS; round++) {
    nines_limiter_config config = { .rate = 1 + 1000 * rng_unit(&rng), .per_ns = NS_PER_S };
    config.burst = 1 + 20 * rng_unit(&rng);
    config.wait_max_ns = rng_below(&rng, 2) ? (int64_t)rng_below(&rng, NS_PER_S) : 0;
    config.warm_up_ns = rng_below(&rng, 2) ? (int64_t)rng_below(&rng, NS_PER_S / 4) : 0;
    struct limiter limiter;
    make(&limiter, config, 0);
    double begin[ASKS], cost[ASKS];
    int granted = 0;
    int64_t now_ns = 0;
    for (int i = 0; i < ASKS; i++) {
      now_ns += (int64_t)rng_exponential(&rng, rng_below(&rng, 20) ? 3e8 / config.rate : 3e10 / config.rate);
      double asked = config.burst * rng_unit(&rng) * rng_unit(&rng);
      int64_t wait_ns = limiter_ask(&limiter, asked, now_ns);
      if (wait_ns < 0) continue;
      begin[granted] = (double)now_ns + (double)wait_ns;
      cost[granted++] = asked;
    }
    for (int from = 0; from < granted; from++) {
      double sum = 0;
      for (int to = from; to < granted; to++) {
        sum += cost[to];
        assert_true(to == from || begin[to] >= begin[to - 1]); // first come, first served
        assert_true(sum <= config.burst + (begin[to] - begin[from] + 1) * config.rate / (double)NS_PER_S + 1e-9);
      }
    }
    assert_true(granted > 10);
  }
}

static void a_refusal_tells_when(void **state)
{
  (void)state;
  struct limiter limiter;
  make(&limiter, (nines_limiter_config){ .rate = 10, .burst = 2 }, 0);
  assert_int_equal(limiter_ask(&limiter, 1, 0), 0);
  assert_int_equal(limiter_ask(&limiter, 1, 0), 0);
  assert_int_equal(limiter_ask(&limiter, 1, 0), -NS_PER_S / 10);
  assert_int_equal(limiter_ask(&limiter, 2, 0), -NS_PER_S / 5);
  assert_int_equal(limiter_ask(&limiter, 1, NS_PER_S / 10 - 1), -1);
  assert_int_equal(limiter_ask(&limiter, 0, NS_PER_S / 10 - 1), 0);
  assert_int_equal(limiter_ask(&limiter, 1, NS_PER_S / 10), 0);
  assert_true(limiter_ask(&limiter, 2.001, NS_PER_S) == INT64_MIN);
  assert_true(limiter_ask(&limiter, -1, NS_PER_S) == INT64_MIN);
  assert_true(limiter_ask(&limiter, NAN, NS_PER_S) == INT64_MIN);
  assert_int_equal(limiter_refused(&limiter), 6);
  double all = limiter_available(&limiter, NS_PER_S);
  assert_true(all == 2);
  assert_int_equal(limiter_ask(&limiter, all, NS_PER_S), 0);
  // A caller whose clock lags is neither an error nor a gain.
  assert_int_equal(limiter_ask(&limiter, 1, NS_PER_S / 2), -NS_PER_S * 6 / 10);
}

static void pacing_spaces_calls(void **state)
{
  (void)state;
  struct limiter limiter;
  make(&limiter, (nines_limiter_config){ .rate = 10, .burst = 1, .wait_max_ns = NS_PER_S / 2 }, 5);
  for (int64_t i = 0; i <= 5; i++) assert_int_equal(limiter_ask(&limiter, 1, 5), i * NS_PER_S / 10);
  assert_int_equal(limiter_ask(&limiter, 1, 5), -NS_PER_S / 10);
  assert_int_equal(limiter_refused(&limiter), 1);
}

// Calls granted by asking every 0.1 ms in [from, to).
static int granted_in(struct limiter *limiter, int64_t from_ns, int64_t to_ns)
{
  int granted = 0;
  for (int64_t now_ns = from_ns; now_ns < to_ns; now_ns += NS_PER_S / 10000)
    granted += limiter_ask(limiter, 1, now_ns) >= 0;
  return granted;
}

static void warms_up_after_a_pause(void **state)
{
  (void)state;
  for (int owner = 0; owner < 2; owner++) {
    struct limiter limiter;
    make(&limiter, (nines_limiter_config){ .rate = 1000, .burst = 1, .warm_up_ns = 10 * NS_PER_S, .owner = owner }, 0);
    for (int round = 0; round < 2; round++) {
      int64_t start_ns = round * 60 * NS_PER_S;
      // The rate grows from 333 to 1000 a second: in its first and last second, 333 + 33 and 1000 - 33 calls.
      assert_in_range(granted_in(&limiter, start_ns, start_ns + NS_PER_S), 355, 375);
      granted_in(&limiter, start_ns + NS_PER_S, start_ns + 9 * NS_PER_S);
      assert_in_range(granted_in(&limiter, start_ns + 9 * NS_PER_S, start_ns + 10 * NS_PER_S), 900, 985);
      assert_in_range(granted_in(&limiter, start_ns + 10 * NS_PER_S, start_ns + 11 * NS_PER_S), 999, 1001);
      // A shorter pause is none.
      assert_in_range(granted_in(&limiter, start_ns + 20 * NS_PER_S, start_ns + 21 * NS_PER_S), 1000, 1001);
    }
  }
}

static void settings_change_and_the_debt_stays(void **state)
{
  (void)state;
  struct limiter limiter;
  struct status status;
  for (int owner = 0; owner < 2; owner++) {
    make(&limiter, (nines_limiter_config){ .rate = 100, .burst = 100, .owner = owner }, 7);
    for (int i = 0; i < 60; i++) assert_int_equal(limiter_ask(&limiter, 1, 7), 0);
    for (int i = 0; i < 3; i++) assert_true(limiter_ask(&limiter, 50, 7) < 0);
    nines_limiter_config config = { .size = sizeof config, .rate = 7, .burst = 100, .owner = owner };
    assert_int_equal(limiter_set(&limiter, &config, false, 7, &status), 0);
    assert_true(fabs(limiter_available(&limiter, 7) - 40) < 1e-6);
    assert_int_equal(limiter_refused(&limiter), 3);
    config.burst = 50; // less than is used
    assert_int_equal(limiter_set(&limiter, &config, false, 7, &status), 0);
    assert_true(limiter_available(&limiter, 7) == 0);
    config.rate = 10000;
    config.burst = 61;
    assert_int_equal(limiter_set(&limiter, &config, false, 7, &status), 0);
    assert_true(fabs(limiter_available(&limiter, 7) - 1) < 1e-4);
    assert_true(limiter_valid(&limiter));
  }
}

static void bad_settings_are_refused(void **state)
{
  (void)state;
  const struct {
    nines_limiter_config config;
    const char *field;
  } bad[] = {
    { { .rate = 0 }, "rate" },
    { { .rate = -1 }, "rate" },
    { { .rate = NAN }, "rate" },
    { { .rate = INFINITY }, "rate" },
    { { .rate = 2e9 }, "rate" },
    { { .rate = 1, .per_ns = -1 }, "per_ns" },
    { { .rate = 1, .per_ns = INT64_MAX }, "per_ns" },
    { { .rate = 1, .burst = 0.5 }, "burst" },
    { { .rate = 1, .burst = NAN }, "burst" },
    { { .rate = 1, .burst = 1e9 }, "burst" },
    { { .rate = 1, .wait_max_ns = -1 }, "wait_max_ns" },
    { { .rate = 1, .wait_max_ns = INT64_MAX }, "wait_max_ns" },
    { { .rate = 1, .warm_up_ns = -1 }, "warm_up_ns" },
    { { .rate = 1, .cold_factor = 0.5 }, "cold_factor" },
    { { .rate = 1, .cold_factor = 21 }, "cold_factor" },
    { { .rate = 1, .owner = 2 }, "owner" },
  };
  struct limiter limiter;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct status status = { 0 };
    nines_limiter_config config = bad[i].config;
    config.size = sizeof config;
    memset((void *)&limiter, 0, sizeof limiter);
    assert_int_equal(limiter_set(&limiter, &config, true, 0, &status), NINES_EINVAL);
    assert_true(strncmp(status.text, bad[i].field, strlen(bad[i].field)) == 0);
    assert_non_null(strstr(status.text, "must be"));
    assert_false(limiter_valid(&limiter));
  }
  // A caller of an older version, whose struct ends before the burst.
  nines_limiter_config config = { .size = offsetof(nines_limiter_config, burst), .rate = 5, .burst = -1 };
  assert_int_equal(limiter_set(&limiter, &config, true, 0, NULL), 0);
  assert_true(limiter_available(&limiter, 0) == 5);
}

static void an_absurd_arrival_is_cut_by_a_rebase(void **state)
{
  (void)state;
  struct limiter limiter;
  make(&limiter, (nines_limiter_config){ .rate = 10, .burst = 10 }, 0);
  atomic_store(&limiter.own.arrival, (uint64_t)3600 * (uint64_t)NS_PER_S * LIMITER_TICKS_PER_NS); // an hour ahead
  limiter_rebase(&limiter, 100 * NS_PER_S, NS_PER_S);
  assert_true(limiter_ask(&limiter, 1, NS_PER_S) < 0);
  assert_true(limiter_ask(&limiter, 10, 2 * NS_PER_S + 1000) == 0); // a burst's time later all is there
}

// Of times that cannot be, the nearest that can: a cold start still to come has just begun, and what was earned back
// long ago is no more than the burst.
static void absurd_times_are_brought_near_by_a_rebase(void **state)
{
  (void)state;
  struct limiter limiter;
  make(&limiter, (nines_limiter_config){ .rate = 10, .burst = 10, .warm_up_ns = 10 * NS_PER_S }, 0);
  uint64_t hour = (uint64_t)3600 * (uint64_t)NS_PER_S * LIMITER_TICKS_PER_NS;
  atomic_store(&limiter.own.cold_since, hour);
  limiter_rebase(&limiter, 0, NS_PER_S);
  int granted = 0; // no pause as long as the warm-up, so that it does not begin again
  for (int64_t now_ns = NS_PER_S; now_ns < 21 * NS_PER_S; now_ns += NS_PER_S / 50)
    granted += limiter_ask(&limiter, 1, now_ns) >= 0 && now_ns >= 12 * NS_PER_S;
  assert_in_range(granted, 88, 92); // warm: 9 s of 10 calls
  make(&limiter, (nines_limiter_config){ .rate = 10, .burst = 10 }, 0);
  atomic_store(&limiter.own.arrival, 0 - hour * 24 * 365);
  limiter_rebase(&limiter, 100 * NS_PER_S, NS_PER_S);
  assert_true(limiter_ask(&limiter, 10, NS_PER_S) == 0);
  assert_true(limiter_ask(&limiter, 1, NS_PER_S) < 0);
}

static void damage_is_noticed_and_survived(void **state)
{
  (void)state;
  struct rng rng = seed_stream("limiter_damage");
  struct limiter limiter;
  memset((void *)&limiter, 0xff, sizeof limiter);
  assert_false(limiter_valid(&limiter));
  for (int i = 0; i < 20000; i++) {
    make(&limiter, (nines_limiter_config){ .rate = 100, .warm_up_ns = 5, .owner = 1 }, 0);
    uint64_t *word = (uint64_t *)(void *)&limiter;
    size_t spared = sizeof(struct apart) / 8; // the engine's own page: no client writes there
    word[spared + rng_below(&rng, sizeof limiter / 8 - spared)] = rng_next(&rng);
    limiter_ask(&limiter, 1, (int64_t)rng_next(&rng));
    limiter_available(&limiter, (int64_t)rng_next(&rng));
    limiter_drain(&limiter, (int64_t)rng_next(&rng));
  }
}

enum { THREADS = 3, THREAD_STEPS = 2000 };
struct asking {
  struct limiter *limiter;
  uint64_t granted, refused;
};

// Takes all there is, a step of time after another. Nobody is ever idle for a burst, so what all got is what was
// earned.
static void *ask_on(void *userdata)
{
  struct asking *asking = userdata;
  for (int64_t step = 0; step <= THREAD_STEPS; step++) {
    while (limiter_ask(asking->limiter, 1, step * NS_PER_S / 100) >= 0) asking->granted++;
    asking->refused++;
  }
  return NULL;
}

static void threads_get_exactly_what_is_earned(void **state)
{
  (void)state;
  struct limiter limiter;
  make(&limiter, (nines_limiter_config){ .rate = 16000, .burst = 4000 }, 0);
  pthread_t thread[THREADS];
  struct asking asking[THREADS];
  for (int i = 0; i < THREADS; i++) {
    asking[i] = (struct asking){ .limiter = &limiter };
    assert_int_equal(pthread_create(&thread[i], NULL, ask_on, &asking[i]), 0);
  }
  uint64_t granted = 0, refused = 0;
  for (int i = 0; i < THREADS; i++) {
    pthread_join(thread[i], NULL);
    granted += asking[i].granted;
    refused += asking[i].refused;
  }
  assert_int_equal(granted, 4000 + 16000 / 100 * THREAD_STEPS);
  assert_int_equal(limiter_refused(&limiter), refused);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_asks),
    cmocka_unit_test(no_span_gets_more_than_its_share),
    cmocka_unit_test(a_refusal_tells_when),
    cmocka_unit_test(pacing_spaces_calls),
    cmocka_unit_test(warms_up_after_a_pause),
    cmocka_unit_test(settings_change_and_the_debt_stays),
    cmocka_unit_test(bad_settings_are_refused),
    cmocka_unit_test(an_absurd_arrival_is_cut_by_a_rebase),
    cmocka_unit_test(absurd_times_are_brought_near_by_a_rebase),
    cmocka_unit_test(damage_is_noticed_and_survived),
    cmocka_unit_test(threads_get_exactly_what_is_earned),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
