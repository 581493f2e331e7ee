// The baseline against the list of all values it was ever given.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "baseline.h"
#include "core/seed.h"

#define NS_PER_HOUR INT64_C(3600000000000)
#define WEEK        168
enum { HOURS_MAX = 4000 };                  // of the oracle's list
#define ORIGIN (INT64_C(1767571200) / 3600) // 2026-01-05 00:00 UTC

struct hour_list {
  double sum[HOURS_MAX];
  int values[HOURS_MAX]; // 0: a gap
  int64_t last;          // the hour of the last value, from ORIGIN
};
static struct hour_list list;

static void list_add(double value, int64_t hour)
{
  list.sum[hour] += value;
  list.values[hour]++;
  list.last = hour;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double middle_of(double *value, int n)
{
  qsort(value, (size_t)n, sizeof *value, by_size);
  return (value[(n - 1) / 2] + value[n / 2]) / 2;
}

// Averages of the same hour in the weeks before, of hours over and at most eight weeks older than the last value.
static int list_hours(int64_t hour, double *value)
{
  int n = 0;
  for (int64_t then = 0; then < list.last; then++) {
    if ((hour - then) % WEEK != 0 || then >= hour || hour - then > 8 * WEEK || list.last - then > 8 * WEEK) continue;
    if (list.values[then] > 0) value[n++] = (double)(float)(list.sum[then] / list.values[then]);
  }
  return n;
}

static int list_read(int64_t hour, double floor, double *median, double *deviation)
{
  static const double alone[] = { 0, 0, 0, 2.19, 2.02, 1.81, 1.76, 1.68, 1.68 };
  static const double with[] = { 0, 0, 0, 2.71, 2.01, 1.94, 1.87, 1.76, 1.75 };
  double own[8], distance[24];
  int weeks = list_hours(hour, own), n = 0;
  if (weeks < 3) return 0;
  *median = middle_of(own, weeks);
  for (int64_t near = hour - 1; near <= hour + 1; near++) {
    double value[8];
    int k = list_hours(near, value);
    if (k < 3) continue;
    double middle = middle_of(value, k);
    for (int i = 0; i < k; i++) distance[n++] = fabs(value[i] - middle);
  }
  double spread = middle_of(distance, n) * (n > weeks ? with[weeks] : alone[weeks]);
  *deviation = fmax(fmax(spread, 0.05 * fabs(*median)), floor);
  return 1;
}

static void against_the_list(void **state)
{
  (void)state;
  struct rng rng = seed_stream("baseline");
  int known = 0, unknown = 0;
  for (int round = 0; round < 60; round++) {
    static struct baseline baseline;
    baseline = (struct baseline){ 0 };
    memset(&list, 0, sizeof list);
    int64_t hour = (int64_t)rng_below(&rng, WEEK);
    uint64_t gaps = rng_below(&rng, 4);
    for (int i = 0; i < 9000; i++) {
      if (rng_below(&rng, 4) == 0) hour++;
      if (gaps && rng_below(&rng, 100) < gaps) hour += (int64_t)rng_below(&rng, rng_below(&rng, 20) ? 5 : 1500);
      if (hour >= HOURS_MAX - 2 * WEEK) break;
      double value = 1000 + 200 * sin((double)(hour % WEEK)) + 20 * rng_normal(&rng);
      baseline_add(&baseline, value, (ORIGIN + hour) * NS_PER_HOUR + (int64_t)rng_below(&rng, NS_PER_HOUR));
      list_add(value, hour);
      if (rng_below(&rng, 20)) continue;
      int64_t asked = hour + (rng_below(&rng, 2) ? 0 : (int64_t)rng_below(&rng, 2 * WEEK));
      double median = -1, deviation = -1, want_median = -1, want_deviation = -1;
      int got = baseline_read(&baseline, (ORIGIN + asked) * NS_PER_HOUR, 3, &median, &deviation);
      assert_int_equal(got, list_read(asked, 3, &want_median, &want_deviation));
      assert_true(fabs(median - want_median) < 2e-3 && fabs(deviation - want_deviation) < 1e-2);
      got ? known++ : unknown++;
    }
    assert_true(baseline_valid(&baseline));
  }
  assert_true(known > 1000 && unknown > 1000);
}

static void fill(struct baseline *baseline, int weeks, int anomalous, double factor)
{
  for (int64_t hour = 0; hour < (int64_t)weeks * WEEK; hour++) {
    double usual = 100 + (double)(hour % 24) + (double)(hour * 7919 % 11);
    baseline_add(baseline, hour / WEEK == anomalous ? usual * factor : usual, (ORIGIN + hour) * NS_PER_HOUR);
  }
  baseline_add(baseline, 0, (ORIGIN + (int64_t)weeks * WEEK) * NS_PER_HOUR); // the last hour is over
}

static void an_anomalous_week_does_not_drag(void **state)
{
  (void)state;
  for (int weeks = 4; weeks <= 8; weeks++)
    for (int anomalous = 0; anomalous < weeks; anomalous++) {
      struct baseline usual = { 0 }, odd = { 0 };
      fill(&usual, weeks, -1, 1);
      fill(&odd, weeks, anomalous, 50);
      for (int64_t hour = (int64_t)weeks * WEEK + 1; hour < (int64_t)(weeks + 1) * WEEK; hour++) {
        double a, b, deviation, odd_deviation;
        assert_int_equal(baseline_read(&usual, (ORIGIN + hour) * NS_PER_HOUR, 0, &a, &deviation), 1);
        assert_int_equal(baseline_read(&odd, (ORIGIN + hour) * NS_PER_HOUR, 0, &b, &odd_deviation), 1);
        assert_true(fabs(a - b) <= 11 && odd_deviation < 40);
      }
    }
}

static void floors_weeks_and_clocks(void **state)
{
  (void)state;
  struct baseline baseline = { 0 };
  double median = 7, deviation = 7;
  for (int week = 0; week < 3; week++) {
    int64_t at_ns = (ORIGIN + week * WEEK) * NS_PER_HOUR;
    assert_int_equal(baseline_read(&baseline, at_ns, 1, &median, &deviation), 0);
    baseline_add(&baseline, -90, at_ns);
    baseline_add(&baseline, NAN, at_ns + 1);
    baseline_add(&baseline, -110, at_ns + 2);
  }
  int64_t at_ns = (ORIGIN + 3 * WEEK) * NS_PER_HOUR;
  assert_true(median == 7 && deviation == 7);
  baseline_add(&baseline, 5, at_ns);
  baseline_add(&baseline, 1e9, at_ns - 1); // late by an hour: ignored
  assert_int_equal(baseline_read(&baseline, at_ns, 1, &median, &deviation), 1);
  assert_true(median == -100 && deviation == 5);
  baseline_read(&baseline, at_ns, 9, &median, &deviation);
  assert_true(deviation == 9);
  baseline_read(&baseline, at_ns, NAN, &median, &deviation);
  assert_true(deviation == 5);
  // A clock an hour of week and two weeks ahead, set back: what it left is forgotten, the rest is not.
  baseline_add(&baseline, 1e6, at_ns + 2 * WEEK * NS_PER_HOUR);
  baseline_add(&baseline, 5, at_ns);
  assert_int_equal(baseline_read(&baseline, at_ns, 1, &median, &deviation), 1);
  assert_true(median == -100);
  baseline_add(&baseline, 5, at_ns + 100 * WEEK * NS_PER_HOUR); // a year off: all is too old
  assert_int_equal(baseline_read(&baseline, at_ns + 100 * WEEK * NS_PER_HOUR, 1, &median, &deviation), 0);
  baseline_add(&baseline, 5, at_ns);
  baseline_add(&baseline, 5, INT64_MAX);
  baseline_add(&baseline, 5, INT64_MIN);
  baseline_read(&baseline, INT64_MAX, 1, &median, &deviation);
  baseline_read(&baseline, INT64_MIN, 1, &median, &deviation);
  assert_true(baseline_valid(&baseline));
  assert_true(sizeof baseline <= 6 * 1024);
  memset(&baseline, 0xff, sizeof baseline);
  assert_false(baseline_valid(&baseline));
}

// The scale makes the deviation that of normal values, on average.
static void deviation_is_a_standard_deviation(void **state)
{
  (void)state;
  struct rng rng;
  rng_init(&rng, 20260105, "baseline_scale");
  for (int weeks = 3; weeks <= 8; weeks++) {
    double sum = 0;
    int n = 0;
    for (int round = 0; round < 20; round++) {
      struct baseline baseline = { 0 };
      for (int64_t hour = 0; hour <= (int64_t)weeks * WEEK; hour++)
        baseline_add(&baseline, rng_normal(&rng), (ORIGIN + hour) * NS_PER_HOUR);
      for (int64_t hour = 2; hour < WEEK - 1; hour++, n++) {
        double median, deviation;
        assert_int_equal(
            baseline_read(&baseline, (ORIGIN + (int64_t)weeks * WEEK + hour) * NS_PER_HOUR, 0, &median, &deviation), 1);
        sum += deviation;
      }
    }
    assert_true(fabs(sum / n - 1) < 0.06);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(against_the_list),
    cmocka_unit_test(an_anomalous_week_does_not_drag),
    cmocka_unit_test(floors_weeks_and_clocks),
    cmocka_unit_test(deviation_is_a_standard_deviation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
