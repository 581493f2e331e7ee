// What a packet does: lines to series and paths. No sockets, no threads; one caller at a time. Private to StatsD.
#ifndef NINES_IO_STATSD_INTAKE_H
#define NINES_IO_STATSD_INTAKE_H

#include <stdatomic.h>

#include "statsd.h"
#include "statsd_cache.h"
#include "statsd_routes.h"

// As struct statsd_usage; written by the intake, read by any thread.
struct statsd_counters {
  _Atomic uint64_t packets, bytes, lines, samples, observations, events, checks;
  _Atomic uint64_t faults[STATSD_FAULTS];
};

struct statsd_intake {
  enum statsd_gauge_sign gauge_sign;
  struct series_table *series;
  struct statsd_cache *cache;
  struct statsd_counters counters;
};

int statsd_intake_init(struct statsd_intake *intake, struct series_table *series, enum statsd_gauge_sign gauge_sign);
void statsd_intake_fini(struct statsd_intake *intake);
void statsd_intake_packet(struct statsd_intake *intake, const struct statsd_routes *routes, struct view packet,
                          int64_t now_ns);

#endif
