// The layout bucket by bucket, and quantiles against a sorted list.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "histogram.h"

enum { US = 1000 };
#define TOP_NS (INT64_C(1) << 26) * US

static void buckets_are_contiguous(void **state)
{
  (void)state;
  for (uint32_t i = 1; i < HISTOGRAM_BUCKETS; i++) {
    int64_t lower = histogram_upper_ns(i - 1), upper = histogram_upper_ns(i), middle = histogram_middle_ns(i);
    assert_true(lower < middle && middle < upper);
    assert_int_equal(histogram_index(lower), i);
    assert_int_equal(histogram_index(middle), i);
    assert_int_equal(histogram_index(upper - 1), i);
  }
  assert_true(histogram_upper_ns(HISTOGRAM_BUCKETS - 1) == TOP_NS);
}

static void extremes_are_clamped(void **state)
{
  (void)state;
  assert_int_equal(histogram_index(INT64_MIN), 1);
  assert_int_equal(histogram_index(-1), 1);
  assert_int_equal(histogram_index(0), 1);
  assert_int_equal(histogram_index(999), 1);
  assert_int_equal(histogram_index(1000), 1);
  assert_int_equal(histogram_index(2000), 2);
  assert_int_equal(histogram_index(16 * US), 16);
  assert_int_equal(histogram_index(TOP_NS), HISTOGRAM_BUCKETS - 1);
  assert_int_equal(histogram_index(INT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void middle_is_within_the_error(void **state)
{
  (void)state;
  struct rng rng = seed_stream("histogram_error");
  double worst = 0;
  for (int i = 0; i < 200000; i++) {
    int64_t value = (int64_t)exp(log(16.0 * US) + rng_unit(&rng) * (log((double)TOP_NS) - log(16.0 * US)));
    int64_t middle = histogram_middle_ns(histogram_index(value));
    double error = fabs((double)(middle - value)) / (double)value;
    if (error > worst) worst = error;
  }
  assert_true(worst <= HISTOGRAM_ERROR_MAX);
  assert_true(worst > HISTOGRAM_ERROR_MAX * 0.95); // the bound is not a lazy one
  for (int64_t value = 1000; value < 16 * US; value++)
    assert_true(llabs(histogram_middle_ns(histogram_index(value)) - value) <= 500);
}

static void records_add_and_wrap(void **state)
{
  (void)state;
  static struct histogram histogram;
  histogram_record(&histogram, 5 * US, 1);
  histogram_record(&histogram, 5 * US, UINT32_MAX);
  assert_int_equal(histogram.count[5], 0);
  histogram_record(&histogram, 5 * US, 7);
  histogram_record_shared(&histogram, 5 * US, 3);
  assert_int_equal(histogram.count[5], 10);
}

static void quantiles_of_little(void **state)
{
  (void)state;
  uint32_t count[HISTOGRAM_BUCKETS] = { 0 };
  assert_int_equal(histogram_quantile(count, 0.5), -1);
  count[7] = 1;
  assert_int_equal(histogram_quantile(count, 0.0001), histogram_middle_ns(7));
  assert_int_equal(histogram_quantile(count, 1), histogram_middle_ns(7));
  count[7] = 7;
  count[100] = 93;
  assert_int_equal(histogram_quantile(count, 0.07), histogram_middle_ns(7)); // 0.07 * 100 is 7.000000000000001
  assert_int_equal(histogram_quantile(count, 0.0701), histogram_middle_ns(100));
  memset(count, 0xff, sizeof count); // no overflow in the sums
  assert_int_equal(histogram_quantile(count, 1), histogram_middle_ns(HISTOGRAM_BUCKETS - 1));
  assert_int_equal(histogram_quantile(count, 0.5), histogram_middle_ns(HISTOGRAM_BUCKETS / 2 - 1));
}

static int by_value(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

// ceil(numerator / 1000 * n) in integers, so that the oracle has no rounding of its own.
static size_t rank_of(uint32_t numerator, size_t n)
{
  size_t rank = (numerator * n + 999) / 1000;
  return rank > 0 ? rank : 1;
}

static void quantiles_match_a_sorted_list(void **state)
{
  (void)state;
  struct rng rng = seed_stream("histogram_quantiles");
  static int64_t value[3000];
  for (int round = 0; round < 300; round++) {
    uint32_t count[HISTOGRAM_BUCKETS] = { 0 };
    size_t n = 1 + rng_below(&rng, 3000);
    double mean = exp(rng_unit(&rng) * 22);
    for (size_t i = 0; i < n; i++) {
      value[i] = (int64_t)rng_exponential(&rng, mean);
      count[histogram_index(value[i])]++;
    }
    qsort(value, n, sizeof *value, by_value);
    double q[20];
    int64_t out[20];
    uint32_t numerator[20];
    for (size_t i = 0; i < 20; i++) {
      numerator[i] = (uint32_t)rng_below(&rng, 1000) + 1;
      q[i] = numerator[i] / 1000.0;
    }
    histogram_quantiles(count, q, out, 20);
    for (size_t i = 0; i < 20; i++) {
      int64_t expected = histogram_middle_ns(histogram_index(value[rank_of(numerator[i], n) - 1]));
      assert_int_equal(out[i], expected);
      assert_int_equal(histogram_quantile(count, q[i]), expected);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(buckets_are_contiguous),     cmocka_unit_test(extremes_are_clamped),
    cmocka_unit_test(middle_is_within_the_error), cmocka_unit_test(records_add_and_wrap),
    cmocka_unit_test(quantiles_of_little),        cmocka_unit_test(quantiles_match_a_sorted_list),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
