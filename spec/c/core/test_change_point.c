// CUSUM against its other definition (the highest sum over any stretch that ends now), and how long it takes.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "change_point.h"
#include "core/seed.h"

enum { STRETCH_MAX = 2000 };

// The sum of z - drift over the last values, at its highest over where it begins; 0 for none.
static double highest(const double *z, int n, double sign, int *begins)
{
  double sum = 0, best = 0;
  *begins = n;
  for (int i = n - 1; i >= 0; i--) {
    sum += sign * z[i] - CHANGE_POINT_DRIFT;
    if (sum > best + 1e-12) best = sum, *begins = i;
  }
  return best;
}

static void against_every_stretch(void **state)
{
  (void)state;
  struct rng rng = seed_stream("change");
  nines_change change = { 0 };
  static double z[STRETCH_MAX + 1];
  static int64_t at_ns[STRETCH_MAX + 1];
  int n = 0, decisions = 0;
  int64_t now_ns = 1000;
  double shift = 0;
  for (int step = 0; step < 20000; step++) {
    if (rng_below(&rng, 100) == 0) shift = rng_normal(&rng);
    now_ns += 1 + (int64_t)rng_below(&rng, 1000);
    z[n] = rng_normal(&rng) + shift;
    at_ns[n++] = now_ns;
    int up_begins, down_begins;
    double up = highest(z, n, 1, &up_begins), down = highest(z, n, -1, &down_begins);
    int64_t onset_ns = -1;
    int expected = up > CHANGE_POINT_DECISION ? 1 : down > CHANGE_POINT_DECISION ? -1 : 0;
    assert_int_equal(change_point_add(&change, z[n - 1], now_ns, &onset_ns), expected);
    if (expected == 0) {
      assert_true(fabs(change.up - up) < 1e-9 && fabs(change.down - down) < 1e-9);
      if (n == STRETCH_MAX) change = (nines_change){ 0 }, n = 0;
      continue;
    }
    int begins = expected > 0 ? up_begins : down_begins; // the value before it is when the sum was last zero
    assert_int_equal(onset_ns, at_ns[begins > 0 ? begins - 1 : 0]);
    decisions++;
    z[0] = 0; // it goes on from this moment
    at_ns[0] = now_ns;
    n = 1;
  }
  assert_true(decisions > 50);
}

static double mean_run(struct rng *rng, double shift, int runs)
{
  double sum = 0;
  for (int i = 0; i < runs; i++) {
    nines_change change = { 0 };
    int n = 1;
    while (change_point_add(&change, rng_normal(rng) + shift, n, NULL) == 0) n++;
    sum += n;
  }
  return sum / runs;
}

// With a fixed seed. Siegmund's approximation says 9,556 without a change.
static void how_long_it_takes(void **state)
{
  (void)state;
  struct rng rng;
  rng_init(&rng, 20260105, "change_runs");
  double none = mean_run(&rng, 0, 400);
  double one = mean_run(&rng, 1, 4000), two = mean_run(&rng, -2, 4000), three = mean_run(&rng, 3, 4000);
  print_message("mean run: no change %.0f; shift 1: %.1f, 2: %.1f, 3: %.1f\n", none, one, two, three);
  assert_true(none > 8000 && none < 11500);
  assert_true(one > 16 && one < 18.5);
  assert_true(two > 5.5 && two < 7);
  assert_true(three > 3.5 && three < 4.5);
}

static void edges(void **state)
{
  (void)state;
  nines_change change = { 0 };
  int64_t onset_ns = 0;
  assert_int_equal(change_point_add(&change, NAN, 5, &onset_ns), 0);
  assert_int_equal(change.values, 0);
  assert_int_equal(change_point_add(&change, -8.5, 7, NULL), 0); // at, not above
  assert_int_equal(change_point_add(&change, -1, 8, &onset_ns), -1);
  assert_int_equal(onset_ns, 7);
  assert_int_equal(change_point_add(&change, INFINITY, 9, &onset_ns), 1);
  assert_int_equal(onset_ns, 8);
  assert_int_equal(change_point_add(&change, 0, 10, &onset_ns), 0);
  assert_true(change.up == 0 && change.down == 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(against_every_stretch),
    cmocka_unit_test(how_long_it_takes),
    cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
