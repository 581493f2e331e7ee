// Critical paths: what users came for, measured at memory speed and judged every beat.
//
// The numbers live in the arena (burn, quantile, breach, one meter a writer) and survive the process; the settings come
// from policies. A path that somebody only records to has no objective and is never breached.
#ifndef NINES_APP_PATH_H
#define NINES_APP_PATH_H

#include <stdatomic.h>

#include "breach.h"
#include "burn.h"
#include "engine.h"
#include "expr.h"
#include "meter.h"
#include "paths.h"
#include "quantile.h"

enum {
  PATHS_MAX = PATH_GUARDS_MAX,
  PATH_NAME_MAX = GUARD_NAME_MAX,
  PATH_QUANTILES_MAX = 4,
  PATH_OCTAVES = HISTOGRAM_BUCKETS / HISTOGRAM_PER_OCTAVE
};

struct path_settings {
  const char *service;
  const char *endpoint;
  double success_rate; // percent; 0: no objective
  double latency_q;    // 0.95 of latency_p95; 0: no objective
  int64_t latency_ns;
  int64_t window_ns, recovery_window_ns;
  int64_t min_requests;
  int severity; // 0..2 for P0..P2
  const char *runbook;
  const char *statsd;    // another name in StatsD
  int64_t page_after_ns; // <0: the project's
  bool observe;
};

// In the arena.
struct path_state {
  struct breach success, latency;
  int64_t since_ns;  // of `breached`
  uint32_t breached; // either objective
  uint32_t episode;
};

struct path {
  nines *engine;
  nines_path *recorded; // the meters
  char *name;
  uint32_t number;
  char *declared_by; // script; NULL: nobody
  struct pool settings_pool;
  struct path_settings settings;
  struct path_state *state;
  struct burn *burn;
  struct {
    int64_t window_ns;
    struct quantile *quantile;
  } quantiles[PATH_QUANTILES_MAX];
  uint32_t quantile_count;
  struct tally seen; // at the last collect
  uint64_t seen_timed, seen_sum_us;
  uint32_t seen_latency[HISTOGRAM_BUCKETS];
  struct tally second_seen; // at the last whole second, for the recording of seconds
  uint32_t second_octave[PATH_OCTAVES];
  struct map conditions; // text -> struct condition, of :is
  struct list waits;     // struct path_wait: recovers_within
  bool fresh;            // its numbers are of this life only
};

struct path *path_get(nines *engine, const char *name, struct status *status); // makes it without an objective when new
struct path *path_find(const nines *engine, const char *name);
void path_fold(struct path *path); // takes the meters' sums into the windows, judges, and tells alert.h
int paths_fold(nines *engine, struct view beat, struct status *status); // the body of a beat
struct tally path_tally(const struct path *path);                       // cumulative
struct tally path_counted(const struct path *path);                     // as of the last beat: what is judged by
// A field of the condition language ("success_rate", ...) over window_ns (0: its own). False: no data; NAN never.
bool path_field(const struct path *path, const char *name, int64_t window_ns, double *out);
int path_field_number(const char *name); // for path_read; -1: no field of paths
bool path_read(const struct path *path, int field, int64_t window_ns, double *out);
// Is this field known, and does the path keep this window? 0, or NINES_EINVAL with a sentence.
int path_field_check(const struct path *path, const struct expr_field *field, struct status *status);
enum truth path_is(struct path *path, const char *condition,
                   struct status *status); // status.code set when it does not compile
// "payment_processing: success 91.2% of 1200 requests in 5m, objective 99.9%".
const char *path_summary(const struct path *path, struct pool *pool);
// "payment_processing: recovered, success 100% of 600 requests in 30s".
const char *path_recovery(const struct path *path, struct pool *pool);
void path_describe(const struct path *path, struct pool *pool,
                   struct value *out); // numbers and rule, for events and explain
bool path_recovered(const struct path *path);
void paths_close(nines *engine);
void paths_republish(nines *engine); // breaches that still hold and have no running handler, after a reload or restart
// The settings of a declaration; takes over `pool`, which holds their texts. `windows`: further windows of quantiles.
int path_configure(struct path *path, const char *script, const struct path_settings *settings, struct pool *pool,
                   const struct view_list *windows, struct status *status);
// Replay: the recording's number for this path, swapped with whoever has it.
int path_renumber(struct path *path, uint32_t number, struct status *status);
void path_retire(struct path *path);                          // nobody declares it any more
struct meter *path_meter(struct path *path, uint32_t writer); // that writer's own; NULL when the arena is full
// Wakes the script's task with true when the path recovers, with false after timeout_ns.
void path_wait_recovery(struct path *path, uint64_t token, int64_t timeout_ns);
void path_unwait(nines *engine, uint64_t token);

extern const struct noun path_noun;

#endif
