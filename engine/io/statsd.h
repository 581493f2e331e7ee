// StatsD and DogStatsD over UDP or a Unix datagram socket, on a thread of its own: a slow policy never drops a packet.
//
// The thread receives with recvmmsg into a big socket buffer, parses, and updates series (series.h) and the meters of
// critical paths; the loop never touches a packet. The kernel's own count of lost packets is asked for when usage is
// read (SO_MEMINFO, exact even when no packet follows the lost ones, unlike SO_RXQ_OVFL's note on the next packet).
// Paths are found by a table of routes that the loop publishes: a line reaches the path of the same name as
//   NAME:120|ms  NAME:0.12|h|#...   an observation with a duration (ms, also h and d)
//   NAME:1|c                        observations without a duration
//   NAME.ok:1|c  NAME.success       good ones          NAME.error NAME.errors NAME.failure NAME.failed:1|c  bad ones
// and is a failure when it carries a tag ok:false success:false error:true status:5xx (or code:, http.status_code:)
// outcome:/result:/status: with failure, failed, error or fail. @rate weighs; what 1/rate leaves over a whole number is
// carried to the next line of the same key. Every line also updates the series of its name, unless it was an
// observation. Tag names become label names (other characters than letters, digits and _ become _), a tag without a
// value becomes "true", the last of several of one name counts. Events and service checks are counted only.
#ifndef NINES_IO_STATSD_H
#define NINES_IO_STATSD_H

#include <stdbool.h>
#include <stdint.h>

#include "meter.h"
#include "series.h"
#include "status.h"

// One parsed line; views point into the packet.
enum statsd_type { STATSD_COUNTER, STATSD_GAUGE, STATSD_TIMER, STATSD_SET, STATSD_EVENT, STATSD_CHECK };
struct statsd_line {
  enum statsd_type type;
  struct view name;
  struct view values;  // "1:2:32", all checked; set member; event text; status digit
  double value;        // the first of them
  bool packed;         // there are more: statsd_next_value
  struct view tags;    // raw, as "env:prod,ok:false"
  char tag_separator;  // ':', or '=' in the forms of Telegraf, Librato and SignalFx
  double rate;         // (0, 1]; 1 when absent
  double unit_s;       // seconds a unit of a timer's value: 0.001 (ms, h, d)
  int64_t timestamp_s; // T section, or d: of events and checks; 0: none
  bool dogstatsd;      // tags, container, timestamp or another DogStatsD section was seen
};
enum statsd_fault {
  STATSD_OK,
  STATSD_NO_NAME, // or one with control characters or no UTF-8
  STATSD_NO_VALUE,
  STATSD_BAD_VALUE,
  STATSD_BAD_TYPE,
  STATSD_BAD_RATE,
  STATSD_BAD_TAGS,
  STATSD_BAD_EVENT,
  STATSD_TOO_LONG,
  STATSD_FAULTS
};
enum statsd_fault statsd_parse(struct view line, struct statsd_line *out);
// Takes the next of `values` off the front; false at the end. `is_signed`: it was written with + or -.
bool statsd_next_value(struct view *values, double *value, bool *is_signed);
const char *statsd_fault_name(enum statsd_fault fault); // "bad_value", for the metric's label

enum statsd_gauge_sign { STATSD_SIGN_AUTO, STATSD_SIGN_DELTA, STATSD_SIGN_ABSOLUTE };

struct statsd;
struct statsd_config {
  const char *address; // "127.0.0.1:8125" (port 0: any free one) or "unix:/path"
  enum statsd_gauge_sign gauge_sign;
  int receive_buffer_bytes;    // 0: 8 MiB, as far as the system allows (the figure got is a gauge)
  struct series_table *series; // written by this thread only
  int64_t (*now_ns)(void);     // clock_coarse_ns
};

// Where a path's observations go. The meter is this thread's own.
struct statsd_route {
  const char *name;
  struct meter *meter;
  int64_t slow_over_ns;
};

struct statsd_usage {
  uint64_t packets, bytes, lines;
  uint64_t samples;      // values that reached a series or a path
  uint64_t observations; // by weight
  uint64_t events, checks;
  uint64_t faults[STATSD_FAULTS];
  uint64_t kernel_drops; // packets lost in the socket's queue
  int receive_buffer_bytes;
};

int statsd_open(struct statsd **out, const struct statsd_config *config, struct status *status);
void statsd_close(struct statsd *statsd);
int statsd_port(const struct statsd *statsd);
// The loop thread: replaces the table (names are copied). Meters must stay valid for as long as the arena is.
int statsd_set_routes(struct statsd *statsd, const struct statsd_route *routes, uint32_t count);
struct statsd_usage statsd_usage(const struct statsd *statsd); // [any]

#endif
