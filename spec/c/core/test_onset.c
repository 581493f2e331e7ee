// Onsets of changes whose moment is known.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/seed.h"
#include "onset.h"

#define NS_PER_S INT64_C(1000000000)
enum { SECONDS = 3600 };

// A change of the share `ago` seconds back, at `rate` a second; how far off the estimate is, in seconds.
static int64_t error_of(struct rng *rng, double rate, double healthy, double sick, int ago)
{
  struct onset onset;
  uint64_t total = 0, bad = 0, recent_total = 0, recent_bad = 0;
  uint64_t totals[SECONDS], bads[SECONDS];
  for (int age = 1; age <= SECONDS; age++) {
    uint64_t more = rng_poisson(rng, rate);
    bad += rng_binomial(rng, more, age <= ago ? sick : healthy);
    total += more;
    totals[age - 1] = total;
    bads[age - 1] = bad;
    if (age <= ago) recent_total = total, recent_bad = bad;
  }
  onset_start(&onset, healthy, (double)recent_bad / (double)(recent_total ? recent_total : 1));
  for (int age = SECONDS; age >= 1; age--) onset_offer(&onset, age * NS_PER_S, totals[age - 1], bads[age - 1]);
  return llabs(onset.age_ns / NS_PER_S - ago);
}

static int64_t median_error(struct rng *rng, double rate, double healthy, double sick, int ago)
{
  enum { RUNS = 101 };
  int64_t errors[RUNS];
  for (int i = 0; i < RUNS; i++) {
    errors[i] = error_of(rng, rate, healthy, sick, ago);
    for (int k = i; k > 0 && errors[k] < errors[k - 1]; k--) {
      int64_t swap = errors[k];
      errors[k] = errors[k - 1];
      errors[k - 1] = swap;
    }
  }
  return errors[RUNS / 2];
}

static void test_known_changes(void **state)
{
  (void)state;
  struct rng rng = seed_fixed("test_onset");
  assert_in_range(median_error(&rng, 5, 0.001, 1, 52), 0, 1);    // an outage, to the second
  assert_in_range(median_error(&rng, 5, 0.001, 0.1, 518), 0, 5); // one in ten at 5/s
  assert_in_range(median_error(&rng, 100, 0.001, 0.02, 300), 0, 2);
  assert_in_range(median_error(&rng, 100, 0.001, 0.005, 1800), 0, 30);
}

static void test_nothing_is_worse(void **state)
{
  (void)state;
  struct onset onset;
  onset_start(&onset, 0.01, 0.01);
  onset_offer(&onset, NS_PER_S, 1000, 500);
  assert_int_equal(onset.age_ns, 0);
  onset_start(&onset, 0, 0.5); // none are allowed: one bad one is an onset
  onset_offer(&onset, 3 * NS_PER_S, 10, 1);
  onset_offer(&onset, 4 * NS_PER_S, 0, 0);
  assert_int_equal(onset.age_ns, 3 * NS_PER_S);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_known_changes), cmocka_unit_test(test_nothing_is_worse) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
