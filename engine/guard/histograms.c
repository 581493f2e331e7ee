// Histograms by name: cumulative counts a writer, quantiles over a window of two halves (core/quantile.h).

#include "guards.h"
#include "quantile.h"

#define HISTOGRAM_WINDOW_NS (60 * INT64_C(1000000000))

struct nines_histogram {
  struct guard guard; // shared: struct windowed; stripes: struct histogram
};

// The window's counts as of the last fold are published summed up, so that a read is a search among 368 numbers.
struct windowed {
  struct quantile quantile;
  _Atomic uint32_t below[HISTOGRAM_BUCKETS]; // in this bucket and all below it
};

static void histogram_source(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  const struct guard *guard = userdata;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct histogram *histogram = atomic_load_explicit(&guard->stripes[writer], memory_order_acquire);
    for (uint32_t i = 0; histogram && i < HISTOGRAM_BUCKETS; i++)
      count[i] += atomic_load_explicit(&histogram->count[i], memory_order_relaxed);
  }
}

// The config is the length of the window.
static int histogram_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  int64_t window_ns = config && *(const int64_t *)config != 0 ? *(const int64_t *)config : HISTOGRAM_WINDOW_NS;
  if (window_ns < 1000000)
    return status_set(status, NINES_EINVAL, "histogram \"%s\": a window of at least 1 ms, not %lld ns", guard->name,
                      (long long)window_ns);
  if (fresh || !quantile_valid(guard->shared, window_ns))
    quantile_init(guard->shared, window_ns, now_ns, histogram_source, guard);
  return 0;
}

static bool histogram_sound(const struct guard *guard)
{
  const struct quantile *quantile = guard->shared;
  return quantile->half_ns > 0;
}

static void histogram_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  quantile_rebase(guard->shared, then_ns, now_ns);
}

static void histogram_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct windowed *windowed = guard->shared;
  uint32_t count[HISTOGRAM_BUCKETS], sum = 0;
  quantile_fold(&windowed->quantile, now_ns, histogram_source, guard);
  quantile_counts(&windowed->quantile, histogram_source, guard, count);
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
    atomic_store_explicit(&windowed->below[i], sum += count[i], memory_order_relaxed);
}

const struct guard_kind histogram_kind = { .id = GUARD_HISTOGRAM,
                                           .noun = "histogram",
                                           .config_bytes = sizeof(int64_t),
                                           .handle_bytes = sizeof(struct nines_histogram),
                                           .stripe_bytes = sizeof(struct histogram),
                                           .parts = { sizeof(struct windowed), 0, 0 },
                                           .set = histogram_apply,
                                           .valid = histogram_sound,
                                           .rebase = histogram_shift,
                                           .fold = histogram_beat };

// --- nines.h

int nines_histogram_get(nines_arena *arena, const char *name, int64_t window_ns, nines_histogram **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &histogram_kind, name, &window_ns, &guard);
  *out = (nines_histogram *)guard;
  return code;
}

void nines_histogram_record(nines_histogram *histogram, int64_t duration_ns)
{
  uint32_t writer = guard_writer(&histogram->guard);
  struct histogram *mine = atomic_load_explicit(&histogram->guard.stripes[writer], memory_order_acquire);
  if (duration_ns < 0) return;
  if (writer == WRITER_SHARED)
    histogram_record_shared(mine, duration_ns, 1);
  else
    histogram_record(mine, duration_ns, 1);
}

int64_t nines_histogram_read(const nines_histogram *histogram, double quantile)
{
  const struct windowed *windowed = histogram->guard.shared;
  uint32_t total = atomic_load_explicit(&windowed->below[HISTOGRAM_BUCKETS - 1], memory_order_relaxed);
  if (total == 0 || !(quantile > 0 && quantile <= 1)) return -1;
  double exact = quantile * total;
  uint32_t rank = (uint32_t)exact + ((uint32_t)exact < exact), low = 0, high = HISTOGRAM_BUCKETS - 1;
  while (low < high) { // the first bucket with so many in it and below
    uint32_t middle = (low + high) / 2;
    if (atomic_load_explicit(&windowed->below[middle], memory_order_relaxed) >= rank)
      high = middle;
    else
      low = middle + 1;
  }
  return histogram_middle_ns(low);
}
