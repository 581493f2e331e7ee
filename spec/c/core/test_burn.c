// Sums over any span against a list of seconds, rates, and the integer comparison.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "burn.h"
#include "core/seed.h"

#define NS_PER_S INT64_C(1000000000)

// The oracle: one tally for each second since the start, as far back as any span reaches.
enum { SECONDS = 4096 };
struct oracle {
  int64_t begin_ns, last;
  struct tally second[SECONDS];
};

static void oracle_add(struct oracle *oracle, int64_t now_ns, struct tally more)
{
  int64_t second = (now_ns - oracle->begin_ns) / NS_PER_S;
  if (second - oracle->last >= SECONDS) {
    memset(oracle->second, 0, sizeof oracle->second);
    oracle->last = second;
  }
  while (oracle->last < second) oracle->second[++oracle->last % SECONDS] = (struct tally){ 0 };
  struct tally *at = &oracle->second[second % SECONDS];
  *at = tally_add(*at, more);
}

static int64_t width_for(int64_t span_ns)
{
  if (span_ns <= 60 * NS_PER_S) return 1;
  return span_ns <= 600 * NS_PER_S ? 10 : 60;
}

static struct tally oracle_sum(const struct oracle *oracle, int64_t now_ns, int64_t span_ns)
{
  int64_t width = width_for(span_ns);
  int64_t k = (span_ns + width * NS_PER_S - 1) / (width * NS_PER_S);
  int64_t first = ((now_ns - oracle->begin_ns) / (width * NS_PER_S) - k + 1) * width;
  struct tally sum = { 0 };
  for (int64_t s = first < 0 ? 0 : first; s <= oracle->last; s++)
    if (s > oracle->last - SECONDS) sum = tally_add(sum, oracle->second[s % SECONDS]);
  return sum;
}

static int64_t random_step_ns(struct rng *rng)
{
  switch (rng_below(rng, 256)) {
  case 0:
    return (int64_t)rng_below(rng, 4000 * (uint64_t)NS_PER_S);
  case 1:
    return (int64_t)rng_below(rng, 100 * (uint64_t)NS_PER_S);
  case 2:
    return rng_below(rng, 64) == 0 ? (int64_t)rng_below(rng, 1000 * 86400 * (uint64_t)NS_PER_S / 100) : 0;
  case 3:
    return NS_PER_S;
  default:
    return 50000000;
  }
}

static void assert_sum(const struct burn *burn, const struct oracle *oracle, int64_t now_ns, int64_t span_ns)
{
  struct tally got = burn_sum(burn, now_ns, span_ns), expected = oracle_sum(oracle, now_ns, span_ns);
  assert_int_equal(got.total, expected.total);
  assert_int_equal(got.bad, expected.bad);
  assert_int_equal(got.slow, expected.slow);
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("burn_walk");
  struct burn *burn = malloc(burn_size());
  static struct oracle oracle;
  int64_t now_ns = 12345678901;
  oracle.begin_ns = now_ns;
  struct tally cumulative = { UINT32_MAX - 5000, UINT32_MAX - 100, 7 };
  burn_init(burn, now_ns, cumulative);
  for (int i = 0; i < 1000000; i++) {
    now_ns += random_step_ns(&rng);
    struct tally more = { 0 };
    if (rng_below(&rng, 4)) {
      more.total = rng_below(&rng, 1024) == 0 ? rng_below(&rng, 10000000) : rng_below(&rng, 20);
      more.bad = rng_below(&rng, more.total + 1);
      more.slow = rng_below(&rng, more.total + 1);
    }
    cumulative = tally_add(cumulative, more);
    burn_fold(burn, now_ns, cumulative);
    oracle_add(&oracle, now_ns, more);
    if (i % 16 == 0) {
      uint64_t limit_s = (uint64_t[]){ 60, 600, 3600 }[rng_below(&rng, 3)];
      int64_t span_ns = NS_PER_S + (int64_t)rng_below(&rng, (limit_s - 1) * (uint64_t)NS_PER_S + 1);
      assert_sum(burn, &oracle, now_ns, span_ns);
    }
    if (i % 50000 == 0) {
      burn_rebase(burn, now_ns, now_ns - oracle.begin_ns);
      now_ns -= oracle.begin_ns;
      oracle.begin_ns = 0;
    }
  }
  assert_true(cumulative.total > UINT64_C(1) << 32); // the counters did wrap
  static const int64_t edge_s[] = { 1, 59, 60, 61, 599, 600, 601, 3599, 3600 };
  for (size_t i = 0; i < sizeof edge_s / sizeof *edge_s; i++) assert_sum(burn, &oracle, now_ns, edge_s[i] * NS_PER_S);
  assert_true(burn_valid(burn));
  free(burn);
}

static void validity_and_size(void **state)
{
  (void)state;
  assert_in_range(burn_size(), 2200, 2400);
  assert_int_equal(burn_size() % 8, 0);
  struct burn *burn = calloc(1, burn_size());
  assert_false(burn_valid(burn));
  burn_init(burn, 5, (struct tally){ 1, 2, 3 });
  assert_true(burn_valid(burn));
  memset((char *)burn + burn_size() * 2 / 3, 0, 64); // the third window
  assert_false(burn_valid(burn));
  free(burn);
}

static void rates(void **state)
{
  (void)state;
  assert_true(burn_rate((struct tally){ 0 }, 0.999) == -1);
  assert_true(burn_rate((struct tally){ 10, 0, 0 }, 0.999) == 0);
  assert_true(fabs(burn_rate((struct tally){ 1000, 1, 0 }, 0.999) - 1) < 1e-9);
  assert_true(fabs(burn_rate((struct tally){ 1000, 1000, 0 }, 0.999) - 1000) < 1e-6);
}

static void over_is_exact(void **state)
{
  (void)state;
  assert_false(burn_over((struct tally){ 0 }, 1000, 1000));
  assert_false(burn_over((struct tally){ 1000, 1, 0 }, 1000, 1000)); // exactly the budget is not over it
  assert_true(burn_over((struct tally){ 999, 1, 0 }, 1000, 1000));
  assert_false(burn_over((struct tally){ 10000, 144, 0 }, 14400, 1000)); // 14.4 times
  assert_true(burn_over((struct tally){ 10000, 145, 0 }, 14400, 1000));
  assert_true(burn_over((struct tally){ 5, 1, 0 }, 1000, 0));
  // No overflow at the ends of the types.
  assert_false(burn_over((struct tally){ UINT64_MAX, UINT64_MAX, 0 }, UINT32_MAX, UINT32_MAX));
  assert_true(burn_over((struct tally){ UINT64_MAX, UINT64_MAX, 0 }, 999, 1000000));
  assert_false(burn_over((struct tally){ UINT64_MAX, UINT64_MAX, 0 }, 1000, 1000000));
  struct rng rng = seed_stream("burn_over");
  for (int i = 0; i < 100000; i++) {
    uint64_t total = rng_below(&rng, 100000), bad = rng_below(&rng, total + 1);
    uint32_t factor_milli = (uint32_t)rng_below(&rng, 50000), budget_ppm = (uint32_t)rng_below(&rng, 100000);
    uint64_t left = bad * 1000000000, right = (uint64_t)factor_milli * budget_ppm * total; // fit in 64 bits here
    assert_int_equal(burn_over((struct tally){ total, bad, 0 }, factor_milli, budget_ppm), left > right);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(validity_and_size),
    cmocka_unit_test(rates),
    cmocka_unit_test(over_is_exact),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
