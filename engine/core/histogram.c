// Where a duration goes, and what a rank gives back.
//
// A microsecond count below 16 is its own bucket; above, the position of the highest bit chooses the octave and the
// next four bits the bucket in it: one count of leading zeros and two shifts. The layout is that of HdrHistogram with
// one significant digit in base 16. Quantiles first sum the octaves (independent additions, which vectorise), so that
// finding a rank looks at 23 sums and at most 16 counts instead of at all 368.
#include "histogram.h"

#include <math.h>

enum {
  OCTAVE_BITS = 4, // 1 << 4 == HISTOGRAM_PER_OCTAVE
  OCTAVES = HISTOGRAM_BUCKETS / HISTOGRAM_PER_OCTAVE,
  TOP_BITS = OCTAVES + OCTAVE_BITS - 1, // values of more bits go to the top bucket
  NS_PER_US = 1000,
};
_Static_assert(1 << OCTAVE_BITS == HISTOGRAM_PER_OCTAVE, "an index is made of shifts");
_Static_assert(HISTOGRAM_BUCKETS % HISTOGRAM_PER_OCTAVE == 0, "whole octaves");

uint32_t histogram_index(int64_t duration_ns)
{
  if (duration_ns < NS_PER_US) return 1;
  uint64_t us = (uint64_t)duration_ns / NS_PER_US;
  if (us >> TOP_BITS) return HISTOGRAM_BUCKETS - 1;
  // The bit set below makes the first octave's shift 0, which is what its one bucket a microsecond needs.
  uint32_t shift = (uint32_t)(63 - OCTAVE_BITS - __builtin_clzll(us | HISTOGRAM_PER_OCTAVE));
  return shift * HISTOGRAM_PER_OCTAVE + (uint32_t)(us >> shift);
}

static uint32_t bucket_shift(uint32_t index)
{
  return index < HISTOGRAM_PER_OCTAVE ? 0 : index / HISTOGRAM_PER_OCTAVE - 1;
}

static int64_t bucket_lower_ns(uint32_t index)
{
  uint32_t shift = bucket_shift(index);
  int64_t mantissa = (int64_t)index - (int64_t)shift * HISTOGRAM_PER_OCTAVE;
  return (mantissa << shift) * NS_PER_US;
}

int64_t histogram_middle_ns(uint32_t index)
{
  return bucket_lower_ns(index) + ((INT64_C(1) << bucket_shift(index)) * NS_PER_US) / 2;
}

int64_t histogram_upper_ns(uint32_t index)
{
  return bucket_lower_ns(index) + (INT64_C(1) << bucket_shift(index)) * NS_PER_US;
}

void histogram_record(struct histogram *histogram, int64_t duration_ns, uint32_t times)
{
  _Atomic uint32_t *count = &histogram->count[histogram_index(duration_ns)];
  atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + times, memory_order_relaxed);
}

void histogram_record_shared(struct histogram *histogram, int64_t duration_ns, uint32_t times)
{
  atomic_fetch_add_explicit(&histogram->count[histogram_index(duration_ns)], times, memory_order_relaxed);
}

// ceil(q * n), where a product that is whole but for its rounding (0.07 * 100) counts as whole.
static uint64_t rank_of(double q, uint64_t n)
{
  double exact = q * (double)n;
  double whole = nearbyint(exact);
  double rank = fabs(exact - whole) <= exact * 1e-15 ? whole : ceil(exact);
  if (!(rank >= 1)) return 1;
  return rank >= (double)n ? n : (uint64_t)rank;
}

static int64_t value_at(const uint32_t *count, const uint64_t *octave_sum, uint64_t rank)
{
  uint32_t index = 0;
  for (const uint64_t *sum = octave_sum; rank > *sum; sum++) {
    rank -= *sum;
    index += HISTOGRAM_PER_OCTAVE;
  }
  for (; rank > count[index]; index++) rank -= count[index];
  return histogram_middle_ns(index);
}

void histogram_quantiles(const uint32_t count[static HISTOGRAM_BUCKETS], const double *q, int64_t *out_ns, size_t k)
{
  uint64_t octave_sum[OCTAVES], n = 0;
  for (uint32_t octave = 0; octave < OCTAVES; octave++) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < HISTOGRAM_PER_OCTAVE; i++) sum += count[octave * HISTOGRAM_PER_OCTAVE + i];
    octave_sum[octave] = sum;
    n += sum;
  }
  for (size_t i = 0; i < k; i++) out_ns[i] = n == 0 ? -1 : value_at(count, octave_sum, rank_of(q[i], n));
}

int64_t histogram_quantile(const uint32_t count[static HISTOGRAM_BUCKETS], double q)
{
  int64_t value_ns;
  histogram_quantiles(count, &q, &value_ns, 1);
  return value_ns;
}
