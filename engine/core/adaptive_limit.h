// A bulkhead that finds its own size: Gradient2 (Netflix concurrency-limits) with the guard rails its users asked for.
//
// Once per window, from the median latency of its calls (short) and a baseline (long):
//   g = clamp(0.5, tolerance * long / short, 1);  L' = (1 - smoothing) * L + smoothing * (g * L + queue)
// It only moves while the limit is used (half of it, or somebody refused) and only grows while short <= tolerance *
// long. The baseline is the median of the least loaded calm window (limit not used, few failures) of the last ten
// minutes: it neither follows an incident nor a queue of our own making, and is never forced (concurrency-limits#134,
// #135; envoy#8337). Without a calm window it stays, unless it is plainly wrong: see adaptive_limit.c. An absolute
// latency_max bounds it all (failsafe-go#127). Ask and done: bulkhead.h and meter.h, some 30 ns. 2 KB and a meter a
// writer.
#ifndef NINES_CORE_ADAPTIVE_LIMIT_H
#define NINES_CORE_ADAPTIVE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bulkhead.h"
#include "histogram.h"
#include "meter.h"
#include "writer.h"

enum { ADAPTIVE_LIMIT_SLOTS = 10 }; // minutes

struct adaptive_limit {
  // Settings and state belong to the thread that folds.
  struct adaptive_limit_rule {
    uint32_t min, max, queue, samples_min;
    double tolerance, smoothing, backoff;
    int64_t latency_max_ns, window_ns;
  } rule;
  double limit;       // the exact one
  int64_t begin_ns;   // of the window
  uint32_t peak;      // most inside at a fold of the window
  uint64_t refused;   // at the window's begin
  int64_t pressed_ns; // since when every window was far above the baseline; INT64_MIN: the last was not
  int64_t minute_ns;  // when the current slot began
  uint32_t minute;    // its place
  struct adaptive_limit_slot {
    double load;      // mean of calls inside, of the least loaded calm window
    int64_t short_ns; // its median; 0: no such window
  } slot[ADAPTIVE_LIMIT_SLOTS];
  uint64_t total, bad, sum_us; // all writers' at the window's begin
  uint32_t snapshot[HISTOGRAM_BUCKETS];
  // As of the last window, for everybody; 0: unknown.
  _Atomic int64_t baseline_ns, short_ns;
  struct bulkhead bulkhead; // its limit is this limit; last, for its open part
};

// What a call needs to see: the shared part and every writer's meter (NULL: none yet).
struct adaptive_limit_view {
  struct adaptive_limit *limit;
  _Atomic(struct meter *) *stripes; // [WRITERS_MAX]
};

// `fresh` memory is zeroed. Applies the config: the limit found stays, within the new bounds. By the thread that folds.
int adaptive_limit_set(struct adaptive_limit *limit, const nines_adaptive_limit_config *config, bool fresh,
                       int64_t now_ns, struct status *status);
bool adaptive_limit_valid(const struct adaptive_limit *limit);
void adaptive_limit_rebase(struct adaptive_limit *limit, int64_t then_ns, int64_t now_ns);
// [any] The limit, who is inside and how many were refused: of its bulkhead.
nines_permit adaptive_limit_ask(const struct adaptive_limit_view *view, uint32_t cell, int64_t now_ns); // bulkhead.h
void adaptive_limit_done(const struct adaptive_limit_view *view, uint32_t writer, nines_permit permit, int outcome,
                         int64_t now_ns);
void adaptive_limit_fold(const struct adaptive_limit_view *view, int64_t now_ns); // each beat, one thread

#endif
