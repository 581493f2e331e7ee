// rng: reference output, independence of streams, and moments with bounds of about six standard errors.
#include "rng.h"

#include <math.h>

#include "hash.h"
#include "spec.h"

enum { DRAWS = 200000 };

// From the authors' xoshiro256starstar.c with the state 1, 2, 3, 4.
static void test_reference_sequence(void **state)
{
  (void)state;
  struct rng rng = { { 1, 2, 3, 4 } };
  const uint64_t expected[] = { 11520, 0, 1509978240, 1215971899390074240 };
  for (size_t i = 0; i < 4; i++) assert_int_equal(rng_next(&rng), expected[i]);
}

static void test_hash(void **state)
{
  (void)state;
  assert_true(hash_add(HASH_START, "", 0) == 0xcbf29ce484222325ULL);
  assert_true(hash_add(HASH_START, "a", 1) == 0xaf63dc4c8601ec8cULL);
  assert_true(hash_add(HASH_START, "foobar", 6) == 0x85944171f73967e8ULL);
}

static void test_streams(void **state)
{
  (void)state;
  struct rng a, same, other_seed, other_name;
  rng_init(&a, 1, "traffic");
  rng_init(&same, 1, "traffic");
  rng_init(&other_seed, 2, "traffic");
  rng_init(&other_name, 1, "chaos");
  for (int i = 0; i < 100; i++) {
    uint64_t draw = rng_next(&a);
    assert_int_equal(draw, rng_next(&same));
    assert_int_not_equal(draw, rng_next(&other_seed));
    assert_int_not_equal(draw, rng_next(&other_name));
  }
  assert_int_not_equal(rng_system_seed(), rng_system_seed());
}

static void test_below(void **state)
{
  (void)state;
  struct rng rng = spec_rng("below", 8);
  long counts[7] = { 0 };
  for (int i = 0; i < 70000; i++) counts[rng_below(&rng, 7)]++;
  for (int i = 0; i < 7; i++) assert_true(labs(counts[i] - 10000) < 600);
  for (int i = 0; i < 1000; i++) assert_true(rng_below(&rng, (1ULL << 63) + 1) <= 1ULL << 63);
  assert_int_equal(rng_below(&rng, 1), 0);
}

// Mean and variance of `draws` values of `draw`, against what they should be. `kurtosis` (of the distribution) gives
// the standard error of the variance.
static void check_moments(struct rng *rng, double (*draw)(struct rng *, const double *), const double *at, double mean,
                          double variance, double kurtosis)
{
  double sum = 0, squares = 0;
  for (int i = 0; i < DRAWS; i++) {
    double value = draw(rng, at) - mean;
    sum += value;
    squares += value * value;
  }
  double error = sqrt(variance / DRAWS), error_of_variance = variance * sqrt((kurtosis - 1) / DRAWS);
  if (fabs(sum / DRAWS) > 6 * error || fabs(squares / DRAWS - variance) > 6 * error_of_variance) {
    fail_msg("at %g, %g: mean off by %g (error %g), variance %g instead of %g (error %g)", at[0], at[1], sum / DRAWS,
             error, squares / DRAWS, variance, error_of_variance);
  }
}

static double draw_unit(struct rng *rng, const double *at)
{
  (void)at;
  double draw = rng_unit(rng);
  assert_true(draw >= 0 && draw < 1);
  return draw;
}

static double draw_normal(struct rng *rng, const double *at)
{
  (void)at;
  return rng_normal(rng);
}

static double draw_exponential(struct rng *rng, const double *at)
{
  return rng_exponential(rng, at[0]);
}

static double draw_poisson(struct rng *rng, const double *at)
{
  return (double)rng_poisson(rng, at[0]);
}

static double draw_binomial(struct rng *rng, const double *at)
{
  uint64_t draw = rng_binomial(rng, (uint64_t)at[0], at[1]);
  assert_true(draw <= (uint64_t)at[0]);
  return (double)draw;
}

static void test_moments(void **state)
{
  (void)state;
  struct rng rng = spec_rng("moments", 9);
  const double none[2] = { 0 }, mean[2] = { 2.5 };
  check_moments(&rng, draw_unit, none, 0.5, 1.0 / 12, 1.8);
  check_moments(&rng, draw_normal, none, 0, 1, 3);
  check_moments(&rng, draw_exponential, mean, 2.5, 6.25, 9);
}

static void test_poisson_moments(void **state)
{
  (void)state;
  struct rng rng = spec_rng("poisson", 10);
  const double means[] = { 0.01, 1, 5, 29.9, 30, 100, 12345, 1e8, 1e13 };
  for (size_t i = 0; i < sizeof means / sizeof means[0]; i++) {
    const double at[2] = { means[i] };
    check_moments(&rng, draw_poisson, at, means[i], means[i], 3 + 1 / means[i]);
  }
  assert_int_equal(rng_poisson(&rng, 0), 0);
  assert_int_equal(rng_poisson(&rng, (double)NAN), 0);
  assert_true(rng_poisson(&rng, 1e300) > 0);
}

static void test_binomial_moments(void **state)
{
  (void)state;
  struct rng rng = spec_rng("binomial", 11);
  const double cases[][2] = { { 1, 0.3 },     { 10, 0.5 },    { 19, 0.5 },    { 20, 0.5 },    { 100, 0.05 },
                              { 100, 0.95 },  { 1000, 0.01 }, { 1000, 0.5 },  { 1e6, 1e-6 },  { 1e6, 0.001 },
                              { 1e6, 0.999 }, { 1e11, 0.3 },  { 1e15, 0.25 }, { 1e15, 1e-15 } };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    double n = cases[i][0], p = cases[i][1], variance = n * p * (1 - p);
    check_moments(&rng, draw_binomial, cases[i], n * p, variance, 3 + (1 - 6 * p * (1 - p)) / variance);
  }
  assert_int_equal(rng_binomial(&rng, 0, 0.5), 0);
  assert_int_equal(rng_binomial(&rng, 7, 0), 0);
  assert_int_equal(rng_binomial(&rng, 7, 1), 7);
  assert_int_equal(rng_binomial(&rng, 7, 1.5), 7);
}

// The whole shape, not only two moments: chi-square over the values, where each method is in use.
static void check_shape(struct rng *rng, uint64_t n, double p)
{
  enum { BINS = 400 };
  static double expected[BINS], seen[BINS];
  memset(seen, 0, sizeof seen);
  for (uint64_t k = 0; k <= n; k++) {
    double log_mass = lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) + (double)k * log(p) +
                      (double)(n - k) * log1p(-p);
    expected[k] = exp(log_mass) * DRAWS;
  }
  for (int i = 0; i < DRAWS; i++) seen[rng_binomial(rng, n, p)]++;
  double chi = 0;
  int bins = 0;
  for (uint64_t k = 0; k <= n; k++) {
    if (expected[k] < 20) continue;
    chi += (seen[k] - expected[k]) * (seen[k] - expected[k]) / expected[k];
    bins++;
  }
  if (chi > bins + 6 * sqrt(2.0 * bins)) fail_msg("n %d p %g: chi-square %g over %d bins", (int)n, p, chi, bins);
}

static void test_binomial_shape(void **state)
{
  (void)state;
  struct rng rng = spec_rng("shape", 12);
  check_shape(&rng, 18, 0.5);
  check_shape(&rng, 50, 0.2);
  check_shape(&rng, 100, 0.7);
  check_shape(&rng, 399, 0.04);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reference_sequence),
    cmocka_unit_test(test_hash),
    cmocka_unit_test(test_streams),
    cmocka_unit_test(test_below),
    cmocka_unit_test(test_moments),
    cmocka_unit_test(test_poisson_moments),
    cmocka_unit_test(test_binomial_moments),
    cmocka_unit_test(test_binomial_shape),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
