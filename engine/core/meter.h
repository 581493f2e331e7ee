// What one writer has observed of one path since the arena was made: cumulative, one writer, plain stores.
//
// The sum over a path's meters is its cumulative state; everything windowed is a difference between two such sums. That
// makes folding idempotent: a kill between any two stores loses nothing and counts nothing twice.
#ifndef NINES_CORE_METER_H
#define NINES_CORE_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "tally.h"

struct meter {
  _Alignas(64) _Atomic uint64_t total;
  _Atomic uint64_t bad;
  _Atomic uint64_t slow;
  _Atomic uint64_t timed;  // observations that had a duration
  _Atomic uint64_t sum_us; // of those
  struct histogram latency;
};

// `times` observations alike (a sampled packet); duration_ns < 0: none. `slow_over_ns` 0: no latency objective.
// meter_record: this meter's only writer. meter_record_shared: any number of writers (WRITER_SHARED).
void meter_record(struct meter *meter, bool ok, int64_t duration_ns, int64_t slow_over_ns, uint32_t times);
void meter_record_shared(struct meter *meter, bool ok, int64_t duration_ns, int64_t slow_over_ns, uint32_t times);
struct tally meter_tally(const struct meter *meter); // total read last, so that bad <= total
// Adds the meter's cumulative histogram (mod 2^32) to plain counts.
void meter_add_latency(const struct meter *meter, uint32_t count[static HISTOGRAM_BUCKETS]);

#endif
