// Named measurements that are no critical path: counters, gauges, timers and sets from StatsD, HTTP and scrapes.
//
// One writing thread (the packet thread) creates and updates; any thread reads: slots are published once and never
// move. A slot's key is canonical: NAME or NAME{a="b",c="d"} with tags in order of names. A key has one type, that of
// its first sample, until it is idle. A series that had no sample for the time to live may be reused for a new key when
// the table is full; a table that is full of living series drops new ones and counts them. Timers keep count, sum,
// minimum, maximum; sets an estimate (HyperLogLog with 256 registers, about 6.5 % standard error).
#ifndef NINES_STATE_SERIES_H
#define NINES_STATE_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

enum { SERIES_NAME_MAX = 200, SERIES_TAGS_MAX = 1024 }; // bytes

enum series_type { SERIES_COUNTER, SERIES_GAUGE, SERIES_TIMER, SERIES_SET };

struct series_table;
struct series; // one slot

struct series_reading {
  struct view name; // without tags; into `text` of this very struct: do not copy it by value
  struct view tags; // `a="b",c="d"`; empty when there are none
  enum series_type type;
  double value;    // counter: total; gauge: last; timer: sum in seconds; set: estimate
  uint64_t count;  // samples (by weight)
  double min, max; // timers, in seconds
  int64_t last_ns; // time of the newest sample
  char text[SERIES_NAME_MAX + SERIES_TAGS_MAX];
};

struct series_usage {
  uint32_t count, limit;
  uint64_t dropped;   // samples of new keys while full, or of keys over the limits of length
  uint64_t conflicts; // samples of a known key with another type
};

// NULL: out of memory.
struct series_table *series_open(uint32_t limit, int64_t time_to_live_ns);
void series_close(struct series_table *table);

// The writing thread only. `tags` are canonical already. NULL: full, too long, or another type (counted).
struct series *series_get(struct series_table *table, struct view name, struct view tags, enum series_type type,
                          int64_t now_ns);
void series_add(struct series *series, double amount, double weight,
                int64_t now_ns); // counter: amount * weight; timer: seconds
void series_set(struct series *series, double value, bool relative, int64_t now_ns); // gauge
// Changes when the slot is given to another key or type: who keeps a pointer compares this before each use.
uint32_t series_generation(const struct series *series);
void series_insert(struct series *series, uint64_t member_hash, int64_t now_ns); // set

// [any] Slot i < series_count; false while the slot is being reused.
uint32_t series_count(const struct series_table *table);
bool series_read(const struct series_table *table, uint32_t i, struct series_reading *out);
// [any] By key as in expr fields: the name, and labels in canonical form or empty for the untagged one. False: no such
// series.
bool series_find(const struct series_table *table, struct view name, struct view tags, struct series_reading *out);
struct series_usage series_usage(const struct series_table *table);

#endif
