// A log-linear histogram of durations: 16 buckets an octave from 1 us to about 67 s; the middle of a bucket is off by
// at most 1/32 (3.2 %) from 16 us on, by half a microsecond below.
//
// Counts only ever grow and wrap at 2^32; windows are differences between two readings (quantile.h), so one writer's
// record is one plain add. Below 1 us counts as 1 us, above the top as the top bucket.
#ifndef NINES_CORE_HISTOGRAM_H
#define NINES_CORE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

// Index: the value in us v < 16 has its own bucket; above, octave and 4 bits of mantissa (HdrHistogram's layout, G.
// Tene).
enum { HISTOGRAM_BUCKETS = 368, HISTOGRAM_PER_OCTAVE = 16 };
#define HISTOGRAM_ERROR_MAX (1.0 / 32)

struct histogram {
  _Atomic uint32_t count[HISTOGRAM_BUCKETS];
};

uint32_t histogram_index(int64_t duration_ns);
int64_t histogram_middle_ns(uint32_t index); // of the bucket
int64_t histogram_upper_ns(uint32_t index);  // exclusive upper bound
// One writer only / any number of writers.
void histogram_record(struct histogram *histogram, int64_t duration_ns, uint32_t times);
void histogram_record_shared(struct histogram *histogram, int64_t duration_ns, uint32_t times);
// The q-quantile (0 < q <= 1) of plain counts: the middle of the bucket that holds rank ceil(q * n); -1 without any.
int64_t histogram_quantile(const uint32_t count[static HISTOGRAM_BUCKETS], double q);
// k of them, for little more than the price of one.
void histogram_quantiles(const uint32_t count[static HISTOGRAM_BUCKETS], const double *q, int64_t *out_ns, size_t k);

#endif
