// The average against its definition: every value so far with the weight that is left of it.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "ewma.h"

enum { VALUES = 200 };

static void against_all_values(void **state)
{
  (void)state;
  struct rng rng = seed_stream("ewma");
  for (int round = 0; round < 5000; round++) {
    nines_ewma ewma = { 0 };
    double value[VALUES];
    int64_t at_ns[VALUES], now_ns = (int64_t)rng_below(&rng, 1000) - 500;
    int64_t half_life_ns = 1 + (int64_t)rng_below(&rng, UINT64_C(1) << (1 + rng_below(&rng, 40)));
    int n = 1 + (int)rng_below(&rng, 40);
    if (rng_below(&rng, 50) == 0) n = VALUES;
    for (int i = 0; i < n; i++) {
      now_ns += (int64_t)rng_below(&rng, (uint64_t)half_life_ns * 2 + 2);
      if (now_ns == 0) now_ns = 1;
      value[i] = rng_normal(&rng) * 100 + 1000;
      at_ns[i] = now_ns;
      ewma_add(&ewma, value[i], half_life_ns, now_ns);
      long double sum = 0;
      for (int j = 0; j <= i; j++) { // what value j stands for, halved for each half-life since
        long double own = j == 0 ? 1 : 1 - exp2l(-(long double)(at_ns[j] - at_ns[j - 1]) / half_life_ns);
        sum += own * value[j] * exp2l(-(long double)(now_ns - at_ns[j]) / half_life_ns);
      }
      assert_true(fabs(ewma.value - (double)sum) <= 1e-9 * fabs((double)sum));
      assert_int_equal(ewma.at_ns, now_ns);
    }
  }
}

static void a_million_small_steps_are_one_large(void **state)
{
  (void)state;
  nines_ewma ewma = { 0 };
  ewma_add(&ewma, 1, 86400 * INT64_C(1000000000), 1);
  for (int64_t i = 1; i <= 1000000; i++) ewma_add(&ewma, 0, 86400 * INT64_C(1000000000), 1 + i * 1000);
  assert_true(fabs(ewma.value - exp2(-1.0 / 86400)) < 1e-10);
}

static void edges(void **state)
{
  (void)state;
  nines_ewma ewma = { 0 };
  ewma_add(&ewma, NAN, 10, 5);
  assert_int_equal(ewma.at_ns, 0);
  ewma_add(&ewma, 8, 10, 0);
  ewma_add(&ewma, 0, 10, 11);
  assert_true(fabs(ewma.value - 4) < 1e-12);
  ewma_add(&ewma, 1000, 10, 11); // at the same time: stands for no time
  ewma_add(&ewma, 1000, 10, 3);  // back: goes on from there
  ewma_add(&ewma, INFINITY, 10, 20);
  assert_true(fabs(ewma.value - 4) < 1e-12);
  assert_int_equal(ewma.at_ns, 3);
  ewma_add(&ewma, 0, 10, 13);
  assert_true(fabs(ewma.value - 2) < 1e-12);
  ewma_add(&ewma, 7, 0, 14);
  assert_true(ewma.value == 7);
  ewma_add(&ewma, 5, 1, INT64_MIN);
  ewma_add(&ewma, 5, 1, INT64_MAX);
  assert_true(ewma.value == 5);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(against_all_values),
    cmocka_unit_test(a_million_small_steps_are_one_large),
    cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
