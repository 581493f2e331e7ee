// A ring of 1,344 hours and the average of the hour under way.
//
// An hour's average is written when a value of a later hour comes: first the value, then its bit, so that a kill
// between two stores leaves an hour either known or a gap. Hours skipped are cleared on the way, one turn of the ring
// at most: what is in the ring is always of the eight weeks before the current hour.
#include "baseline.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define NS_PER_HOUR INT64_C(3600000000000)
enum { HOURS_PER_WEEK = 168, RESIDUALS_MAX = 3 * BASELINE_WEEKS };

static bool is_known(const struct baseline *baseline, int64_t hour)
{
  int64_t i = hour % BASELINE_HOURS;
  return baseline->known[i / 64] >> (i % 64) & 1;
}

static void forget(struct baseline *baseline, int64_t hour)
{
  int64_t i = hour % BASELINE_HOURS;
  baseline->known[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static void keep(struct baseline *baseline, int64_t hour, double value)
{
  int64_t i = hour % BASELINE_HOURS;
  forget(baseline, hour);
  atomic_signal_fence(memory_order_seq_cst);
  baseline->value[i] = (float)value;
  atomic_signal_fence(memory_order_seq_cst);
  baseline->known[i / 64] |= UINT64_C(1) << (i % 64);
}

static void begin_hour(struct baseline *baseline, int64_t hour)
{
  baseline->values = 0;
  baseline->mean = 0;
  atomic_signal_fence(memory_order_seq_cst);
  baseline->hour = hour;
}

static void advance(struct baseline *baseline, int64_t hour)
{
  if (baseline->values > 0)
    keep(baseline, baseline->hour, baseline->mean);
  else
    forget(baseline, baseline->hour);
  if (hour - baseline->hour > BASELINE_HOURS)
    memset(baseline->known, 0, sizeof baseline->known);
  else
    for (int64_t skipped = baseline->hour + 1; skipped < hour; skipped++) forget(baseline, skipped);
  begin_hour(baseline, hour);
}

static void set_back(struct baseline *baseline, int64_t hour)
{
  if (baseline->hour - hour > BASELINE_HOURS)
    memset(baseline->known, 0, sizeof baseline->known);
  else
    for (int64_t later = hour; later <= baseline->hour; later++) forget(baseline, later);
  begin_hour(baseline, hour);
}

void baseline_add(struct baseline *baseline, double value, int64_t wall_ns)
{
  if (!isfinite(value) || !isfinite((float)value) || wall_ns < NS_PER_HOUR) return;
  int64_t hour = wall_ns / NS_PER_HOUR;
  if (baseline->hour == 0) begin_hour(baseline, hour);
  if (hour == baseline->hour - 1) return;
  if (hour > baseline->hour) advance(baseline, hour);
  if (hour < baseline->hour) set_back(baseline, hour);
  baseline->mean += (value - baseline->mean) / (double)(baseline->values + 1);
  baseline->values++;
}

static void sort(double *value, int n)
{
  for (int i = 1; i < n; i++) {
    double moved = value[i];
    int at = i;
    for (; at > 0 && value[at - 1] > moved; at--) value[at] = value[at - 1];
    value[at] = moved;
  }
}

static double median_of(double *value, int n)
{
  sort(value, n);
  return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

// The values of the same hour in the eight weeks before `hour`, as far as they are over and were not forgotten.
static int same_hours(const struct baseline *baseline, int64_t hour, double value[static BASELINE_WEEKS])
{
  int n = 0;
  for (int week = 1; week <= BASELINE_WEEKS; week++) {
    int64_t then = hour - (int64_t)week * HOURS_PER_WEEK;
    bool in_ring = then >= 0 && then < baseline->hour && then >= baseline->hour - BASELINE_HOURS;
    if (in_ring && is_known(baseline, then)) value[n++] = (double)baseline->value[then % BASELINE_HOURS];
  }
  return n;
}

// Normal values' standard deviation over the median distance from the median, by weeks, of one hour and of three.
static const double scale[BASELINE_WEEKS + 1][2] = {
  [3] = { 2.19, 2.71 }, [4] = { 2.02, 2.01 }, [5] = { 1.81, 1.94 },
  [6] = { 1.76, 1.87 }, [7] = { 1.68, 1.76 }, [8] = { 1.68, 1.75 },
};

static int add_distances(const struct baseline *baseline, int64_t hour, double distance[static BASELINE_WEEKS],
                         double *median)
{
  double value[BASELINE_WEEKS];
  int n = same_hours(baseline, hour, value);
  if (n < BASELINE_WEEKS_MIN) return 0;
  *median = median_of(value, n);
  for (int i = 0; i < n; i++) distance[i] = fabs(value[i] - *median);
  return n;
}

int baseline_read(const struct baseline *baseline, int64_t wall_ns, double floor, double *median, double *deviation)
{
  if (wall_ns < 0) return 0;
  int64_t hour = wall_ns / NS_PER_HOUR;
  double distance[RESIDUALS_MAX], middle, other;
  int weeks = add_distances(baseline, hour, distance, &middle);
  if (weeks == 0) return 0;
  int n = weeks;
  n += add_distances(baseline, hour - 1, distance + n, &other);
  n += add_distances(baseline, hour + 1, distance + n, &other);
  double spread = median_of(distance, n) * scale[weeks][n > weeks];
  *median = middle;
  *deviation = fmax(fmax(spread, fabs(middle) * 0.05), isnan(floor) ? 0 : floor);
  return 1;
}

bool baseline_valid(const struct baseline *baseline)
{
  if (baseline->hour < 0 || baseline->hour > INT64_MAX / NS_PER_HOUR || !isfinite(baseline->mean)) return false;
  for (int64_t i = 0; i < BASELINE_HOURS; i++)
    if (is_known(baseline, i) && !isfinite(baseline->value[i])) return false;
  return true;
}
