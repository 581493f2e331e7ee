// Quantiles of what came since a snapshot, with two snapshots so that there always is one of a good age.
//
// A turn overwrites the older snapshot with the counts of now and makes it the newer one by a single store of time and
// index together. Killed before that store, the object still says that its turn is due, and the next fold overwrites
// the half-written snapshot again; the other, which the window then starts from, was never touched.
#include "quantile.h"

#include <string.h>

#include "check.h"

// Monotonic times are kept even: the lowest bit is the index of the newer snapshot.
static inline void publish_turn(struct quantile *quantile, int64_t now_ns, int64_t newer)
{
  atomic_store_explicit(&quantile->turned, (now_ns & ~INT64_C(1)) | newer, memory_order_release);
  atomic_signal_fence(memory_order_seq_cst);
}

static inline int64_t load_turn(const struct quantile *quantile)
{
  return atomic_load_explicit(&quantile->turned, memory_order_acquire);
}

void quantile_init(struct quantile *quantile, int64_t window_ns, int64_t now_ns, quantile_source_fn *source,
                   void *userdata)
{
  CHECK(window_ns >= 2);
  quantile->half_ns = 0;
  atomic_signal_fence(memory_order_seq_cst);
  memset(quantile->snapshot, 0, sizeof quantile->snapshot);
  source(userdata, quantile->snapshot[0]);
  memcpy(quantile->snapshot[1], quantile->snapshot[0], sizeof quantile->snapshot[1]);
  publish_turn(quantile, now_ns, 0);
  quantile->half_ns = window_ns / 2;
}

bool quantile_valid(const struct quantile *quantile, int64_t window_ns)
{
  return quantile->half_ns > 0 && quantile->half_ns == window_ns / 2;
}

void quantile_rebase(struct quantile *quantile, int64_t then_ns, int64_t now_ns)
{
  int64_t turn = load_turn(quantile);
  publish_turn(quantile, (turn & ~INT64_C(1)) + (now_ns - then_ns), turn & 1);
}

void quantile_fold(struct quantile *quantile, int64_t now_ns, quantile_source_fn *source, void *userdata)
{
  int64_t turn = load_turn(quantile);
  int64_t age_ns = now_ns - (turn & ~INT64_C(1));
  if (age_ns < 0) publish_turn(quantile, now_ns, turn & 1); // a clock that went back: the half window starts again
  if (age_ns < quantile->half_ns) return;
  int64_t older = ~turn & 1;
  memset(quantile->snapshot[older], 0, sizeof quantile->snapshot[older]);
  source(userdata, quantile->snapshot[older]);
  publish_turn(quantile, now_ns, older);
}

void quantile_counts(const struct quantile *quantile, quantile_source_fn *source, void *userdata,
                     uint32_t count[static HISTOGRAM_BUCKETS])
{
  memset(count, 0, HISTOGRAM_BUCKETS * sizeof *count);
  source(userdata, count);
  const uint32_t *older = quantile->snapshot[~load_turn(quantile) & 1];
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) count[i] -= older[i];
}

void quantile_read(const struct quantile *quantile, quantile_source_fn *source, void *userdata, const double *q,
                   int64_t *out_ns, size_t k)
{
  uint32_t count[HISTOGRAM_BUCKETS];
  quantile_counts(quantile, source, userdata, count);
  histogram_quantiles(count, q, out_ns, k);
}
