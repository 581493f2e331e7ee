// A packet is split at newlines, each line parsed, its key looked up, and its values given to a path or a series.
//
// Only a key's first line pays for tags, series and routes; the entry of the cache keeps them, with the generations
// under which they hold: a new table of routes or a reused series is noticed by comparing two numbers.
#include "statsd_intake.h"

#include <math.h>
#include <string.h>

#include "hash.h"
#include "meter.h"
#include "statsd_key.h"

#define OBSERVATION_MAX_NS INT64_MAX
#define OBSERVATION_MAX_S  9.2e9

int statsd_intake_init(struct statsd_intake *intake, struct series_table *series, enum statsd_gauge_sign gauge_sign)
{
  *intake = (struct statsd_intake){ .gauge_sign = gauge_sign, .series = series };
  // Clients order tags differently and use several types of a name, so there are more raw keys than series.
  intake->cache = statsd_cache_open(2 * series_usage(series).limit);
  return intake->cache != NULL ? 0 : NINES_ENOMEM;
}

void statsd_intake_fini(struct statsd_intake *intake)
{
  statsd_cache_close(intake->cache);
}

static void count(_Atomic uint64_t *counter, uint64_t more)
{
  // Released, so that who sees the packet counted sees what it did.
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_release);
}

static enum series_type series_type_of(enum statsd_type type)
{
  switch (type) {
  case STATSD_GAUGE:
    return SERIES_GAUGE;
  case STATSD_TIMER:
    return SERIES_TIMER;
  case STATSD_SET:
    return SERIES_SET;
  default:
    return SERIES_COUNTER;
  }
}

// Looks the series up unless the entry has it; NULL: there is none to be had (series.h counts why).
static struct series *entry_series(struct statsd_intake *intake, struct statsd_entry *entry,
                                   const struct statsd_line *line, int64_t now_ns)
{
  if (entry->series != NULL && series_generation(entry->series) == entry->series_generation) return entry->series;
  struct statsd_key key;
  entry->series = NULL;
  entry->fault = (uint8_t)statsd_key_make(line, &key);
  if (entry->fault != STATSD_OK) return NULL;
  struct view tags = { key.tags, key.size };
  entry->series = series_get(intake->series, line->name, tags, series_type_of(line->type), now_ns);
  if (entry->series != NULL) entry->series_generation = series_generation(entry->series);
  return entry->series;
}

// A value for a path. Counters count observations; a timer's value is one observation's duration.
static enum statsd_fault observe(struct statsd_intake *intake, struct statsd_entry *entry,
                                 const struct statsd_line *line, double value)
{
  bool timed = line->type == STATSD_TIMER;
  double weight = (timed ? 1 : value) / line->rate;
  if (value < 0 || weight > UINT32_MAX) return STATSD_BAD_VALUE;
  double whole = floor(entry->carry + weight);
  if (whole > UINT32_MAX) return STATSD_BAD_VALUE;
  entry->carry += weight - whole;
  if (whole < 1) return STATSD_OK;
  int64_t duration_ns = -1;
  if (timed) {
    double seconds = value * line->unit_s;
    duration_ns = seconds < OBSERVATION_MAX_S ? (int64_t)(seconds * 1e9 + 0.5) : OBSERVATION_MAX_NS;
  }
  bool ok = entry->role == STATSD_ROLE_GOOD || (entry->role == STATSD_ROLE_OBSERVE && !entry->failed);
  meter_record(entry->route->meter, ok, duration_ns, entry->route->slow_over_ns, (uint32_t)whole);
  count(&intake->counters.observations, (uint64_t)whole);
  return STATSD_OK;
}

static void update(const struct statsd_intake *intake, struct series *series, const struct statsd_line *line,
                   double value, bool is_signed, int64_t now_ns)
{
  bool delta = intake->gauge_sign == STATSD_SIGN_DELTA || (intake->gauge_sign == STATSD_SIGN_AUTO && !line->dogstatsd);
  switch (line->type) {
  case STATSD_GAUGE:
    series_set(series, value, is_signed && delta, now_ns);
    break;
  case STATSD_TIMER:
    series_add(series, value * line->unit_s, 1 / line->rate, now_ns);
    break;
  case STATSD_SET:
    series_insert(series, hash_add(HASH_START, line->values.data, line->values.size), now_ns);
    break;
  default:
    series_add(series, value, 1 / line->rate, now_ns);
  }
}

static enum statsd_fault apply(struct statsd_intake *intake, struct statsd_entry *entry, struct statsd_line *line,
                               int64_t now_ns)
{
  struct series *series = NULL;
  if (entry->route == NULL) {
    series = entry_series(intake, entry, line, now_ns);
    if (series == NULL) return (enum statsd_fault)entry->fault;
  }
  double value = line->value;
  bool is_signed = *line->values.data == '-' || *line->values.data == '+';
  struct view rest = line->packed ? line->values : (struct view){ NULL, 0 };
  if (line->packed) statsd_next_value(&rest, &value, &is_signed);
  do {
    if (series == NULL) {
      enum statsd_fault fault = observe(intake, entry, line, value);
      if (fault != STATSD_OK) return fault;
    } else {
      update(intake, series, line, value, is_signed, now_ns);
    }
    count(&intake->counters.samples, 1);
  } while (statsd_next_value(&rest, &value, &is_signed));
  return STATSD_OK;
}

static enum statsd_fault take_line(struct statsd_intake *intake, const struct statsd_routes *routes, struct view text,
                                   int64_t now_ns)
{
  struct statsd_line line;
  enum statsd_fault fault = statsd_parse(text, &line);
  if (fault != STATSD_OK) return fault;
  if (line.type == STATSD_EVENT || line.type == STATSD_CHECK) {
    count(line.type == STATSD_EVENT ? &intake->counters.events : &intake->counters.checks, 1);
    return STATSD_OK;
  }
  bool fresh;
  struct statsd_entry *entry = statsd_cache_get(intake->cache, &line, &fresh);
  if (entry == NULL) return STATSD_OK; // out of memory: as a full table of series, nothing the sender did
  uint32_t generation = statsd_routes_generation(routes);
  if (fresh || entry->routes_generation != generation) {
    enum statsd_role role;
    entry->route = statsd_routes_match(routes, line.name, line.type, &role);
    entry->role = (uint8_t)role;
    entry->routes_generation = generation;
    entry->failed = entry->route != NULL && statsd_tags_failed(&line);
  }
  return apply(intake, entry, &line, now_ns);
}

void statsd_intake_packet(struct statsd_intake *intake, const struct statsd_routes *routes, struct view packet,
                          int64_t now_ns)
{
  const char *at = packet.data, *end = packet.data + packet.size;
  uint64_t lines = 0;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline != NULL ? newline : end;
    struct view line = { at, (size_t)(stop - at) };
    if (line.size > 0 && stop[-1] == '\r') line.size--;
    if (line.size > 0) {
      enum statsd_fault fault = take_line(intake, routes, line, now_ns);
      if (fault != STATSD_OK) count(&intake->counters.faults[fault], 1);
      lines++;
    }
    at = newline != NULL ? newline + 1 : end;
  }
  count(&intake->counters.packets, 1);
  count(&intake->counters.bytes, packet.size);
  count(&intake->counters.lines, lines);
}
