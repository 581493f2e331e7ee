// Windowed quantiles of a cumulative histogram: two snapshots half a window apart.
//
// The window covers between half and all of its length: from the older snapshot to now (longer when nobody folded for
// more than half a window: nothing observed is dropped). Costs nothing while recording, one pass over the buckets each
// half window and each read. 3 KB. Crash-safe in the arena: a kill while the snapshots turn leaves them to be turned
// again.
#ifndef NINES_CORE_QUANTILE_H
#define NINES_CORE_QUANTILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

struct quantile {
  int64_t half_ns; // 0: never initialised
  // When the newer snapshot was taken; the lowest bit says which of the two that is, so that one store turns them.
  _Atomic int64_t turned;
  uint32_t snapshot[2][HISTOGRAM_BUCKETS];
};

// Adds the object's cumulative counts (mod 2^32) into zeroed counts.
typedef void quantile_source_fn(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS]);

void quantile_init(struct quantile *quantile, int64_t window_ns, int64_t now_ns, quantile_source_fn *source,
                   void *userdata);
bool quantile_valid(const struct quantile *quantile, int64_t window_ns);
void quantile_rebase(struct quantile *quantile, int64_t then_ns, int64_t now_ns);
// Turns the snapshots when half a window has passed; otherwise one comparison.
void quantile_fold(struct quantile *quantile, int64_t now_ns, quantile_source_fn *source, void *userdata);
// The window's counts, by bucket.
void quantile_counts(const struct quantile *quantile, quantile_source_fn *source, void *userdata,
                     uint32_t count[static HISTOGRAM_BUCKETS]);
// Reads k quantiles in one pass of the source; results in ns, -1 each when the window holds nothing.
void quantile_read(const struct quantile *quantile, quantile_source_fn *source, void *userdata, const double *q,
                   int64_t *out_ns, size_t k);

#endif
