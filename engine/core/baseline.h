// What is normal at this hour of the week: median and spread of the last eight weeks' values of the same hour.
//
// Hours are UTC hours since 1970; whoever wants local weeks gives local time. Values are averaged within their hour; an
// hour counts once a value of a later one came, so that what happens now is never compared with itself, and only for
// eight weeks. Hours in which nothing was added are gaps, not zeros. From three weeks on the hour is known: the median
// of up to 8 values, which one anomalous week in three, or three in eight, cannot drag. The deviation is the median of
// the distances from their hour's median (MAD) of this hour and of its two neighbours where those are known, because
// three values alone say little; scaled so that for normal values it is their standard deviation on average (factors by
// simulation). Adding: some ns, once an hour a few more; reading: under 1 us. 5.6 KB, flat; wall time, so nothing to
// rebase.
#ifndef NINES_CORE_BASELINE_H
#define NINES_CORE_BASELINE_H

#include <stdbool.h>
#include <stdint.h>

enum { BASELINE_WEEKS = 8, BASELINE_WEEKS_MIN = 3, BASELINE_HOURS = 168 * BASELINE_WEEKS };

// All zero is the start.
struct baseline {
  int64_t hour;                        // the current one; 0: nothing yet
  uint64_t values;                     // of the current hour
  double mean;                         // of those
  uint64_t known[BASELINE_HOURS / 64]; // one bit for each hour that is over and had values
  float value[BASELINE_HOURS];         // of hour h at [h % BASELINE_HOURS]
};

bool baseline_valid(const struct baseline *baseline);
// One thread at a time. Not finite values and those before 1970 are ignored, and those of the hour before the current
// one. A wall time earlier than that is a clock that was set back: it goes on from there, and hours later than it are
// forgotten.
void baseline_add(struct baseline *baseline, double value, int64_t wall_ns);
// 1: known; 0: fewer than three weeks of this hour, *median and *deviation untouched. The deviation is at least 5 % of
// the median (of its size) and at least `floor`.
int baseline_read(const struct baseline *baseline, int64_t wall_ns, double floor, double *median, double *deviation);

#endif
