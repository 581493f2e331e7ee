// The middle of nines: one engine, made of its parts, driven by inputs, acting through the door.
//
// Hosts (live.c with the loop, world.c with a virtual clock, replay.c with a recording) build inputs and call
// engine_input. A turn is: take the time, apply the input, run timers and scripts until nothing is ready, hand the
// turn's txn to the store. What must wait for that commit is an after-action. Everything in here runs on one thread,
// except nines_path_record.
#ifndef NINES_APP_ENGINE_H
#define NINES_APP_ENGINE_H

#include "arena.h"
#include "door.h"
#include "event.h"
#include "guards.h"
#include "heap.h"
#include "input.h"
#include "list.h"
#include "map.h"
#include "rng.h"
#include "scripts.h"
#include "series.h"
#include "settings.h"
#include "writer.h"

#define BEAT_NS (50 * 1000000LL)

// Kinds of objects in the arena.
enum { ARENA_CLOCK = 1, ARENA_PATH, ARENA_QUANTILE, ARENA_SLO, ARENA_ALARM };

struct engine_timer {
  struct heap_node node; // first
  void (*fn)(nines *engine, struct engine_timer *timer);
};

// How an operation that went through the door came back. `body` is valid during the call.
typedef void operation_fn(nines *engine, void *userdata, int code, struct view body);
// What happens after the turn's txn is durable (code 0) or could not be stored (code < 0, `why` a sentence).
// NINES_ECANCELED: the engine closes before it is known; free the userdata and do nothing.
typedef void after_fn(nines *engine, void *userdata, int code, const char *why);

struct engine_config {
  const struct settings *settings; // borrowed for the engine's life; replaced by engine_settings
  struct door door;
  uint64_t seed;
  bool virtual_time;      // no wall-clock limits in scripts
  bool simulated;         // services need no commands: the door deploys anything
  bool replay;            // beats carry observations that are not in the meters yet
  const char *arena_path; // NULL: anonymous
  bool attachable;        // other processes may attach to the arena
  unsigned hosted;        // NINES_EFFECT_*: what the door takes without nines.yaml saying how
  int64_t now_ns, wall_ns;
};

struct nines {
  const struct settings *settings;
  struct door door;
  uint64_t seed;
  bool replay, observe, virtual_time, simulated;
  unsigned hosted;
  int64_t now_ns, wall_ns; // of the turn
  int64_t started_ns;

  bool settled; // the first load is done, what a crash left is taken up
  bool rebase;  // the arena is of another boot: its times are shifted
  int64_t rebase_then_ns, rebase_now_ns;
  struct map rebased; // names of quantile windows that were shifted already

  struct arena *arena;
  struct arena_clock *clock;
  struct writers writers;
  struct events *events;
  struct scripts *scripts;
  struct series_table *series; // NULL: none
  struct heap timers;
  struct rng random;

  struct nines_arena guards;            // the primitives; folded before each beat
  uint32_t guards_met;                  // of them, known as protections
  struct map protections;               // noun/name -> struct protection
  struct protection **protection_index; // in order of creation
  uint32_t protection_count;
  struct map protections_stored; // noun/name -> JSON, as the store had it at the start
  struct map paths;              // name -> struct path
  struct path **path_index;      // by number, for beats
  uint32_t path_count;
  uint64_t paths_changed; // grows when routes to paths must be told anew
  struct map slos;        // name -> struct slo
  struct map drafts;      // name -> struct draft: declarations of the load under way
  struct map rules;       // name -> struct rule
  struct engine_timer rules_timer;
  struct map silences; // id -> struct silence
  struct engine_timer silences_timer;
  struct map alerts;     // id -> struct alert, open ones and the newest closed ones
  struct map outbox;     // id -> struct letter
  struct map services;   // name -> struct service
  struct map flags;      // name -> struct flag
  struct map effects;    // key -> struct effect
  struct map keeps;      // script -> struct value_doc
  struct map operations; // number -> struct operation
  struct map throttles;  // script and title -> wall time of the last one
  struct list tracks;    // functions that path:track runs (track.c)
  struct list guardeds;  // calls that run under a protection (guarded.c)
  struct list waits;     // tasks that wait for the door (verbs.c)
  struct map held;       // policy file -> struct held: versions that the host refused
  struct map gauges;     // key -> struct gauge: series that conditions mention, as of the last beat
  uint64_t next_operation, next_ticket;
  uint64_t next_id; // for alerts, deployments, letters: never repeats in one data directory

  struct txn txn;
  struct list after;   // of this turn
  struct list waiting; // for a ticket
  bool store_failing;
  uint64_t save_ticket; // of the txn that puts everything again while the store fails; 0: none under way
  char store_error[STATUS_TEXT_MAX];
  struct engine_timer save_timer;

  struct { // figures for /metrics
    uint64_t turns, beats, pages, notifications, deliveries, delivery_failures, store_failures, rollbacks;
    int64_t turn_ns_max; // thread CPU of one turn
    int64_t beat_late_ns_max;
  } figures;
  struct status status; // nines_errmsg
  void *host;           // struct live *, or NULL
};

int engine_open(nines **out, const struct engine_config *config, struct status *status);
void engine_close(nines *engine);
// One turn. Everything an input refers to is borrowed.
void engine_input(nines *engine, const struct input *input);
// Collects what the meters got and what breakers did since the last beat into the body of an INPUT_BEAT, and folds the
// primitives. Paths are named by number.
void engine_collect(nines *engine, int64_t now_ns, struct buf *body);
// The same for the recording of whole seconds: latencies by octave only. As of the last engine_collect.
void engine_collect_second(nines *engine, struct buf *body);
// Earliest moment at which a turn is worth making without an input.
int64_t engine_due_ns(const nines *engine);
// New settings (a reload of nines.yaml); the old ones may be freed afterwards.
void engine_settings(nines *engine, const struct settings *settings);

// A new version of a policy that the host does not take over, because its spec fails.
struct held {
  char *why; // NULL: taken over since
  uint64_t count;
};

// A series that some condition mentions: its value enters with the beats, so that a replay sees it too.
struct gauge {
  double value; // NAN: no data
  double seen;  // at the last collect
};
struct gauge *engine_gauge(nines *engine, const char *name, const char *labels); // from now on watched; NULL past 1,000

// For the parts.
void engine_timer_set(nines *engine, struct engine_timer *timer, int64_t due_ns);
void engine_timer_stop(nines *engine, struct engine_timer *timer);
uint64_t engine_operation(nines *engine, operation_fn *fn, void *userdata); // a number for the door
void engine_operation_drop(nines *engine, uint64_t op);
void engine_after(nines *engine, after_fn *fn, void *userdata); // after this turn's commit
// Answers an INPUT_CALL after this turn's commit (503 when it failed). The document is copied.
void engine_reply(nines *engine, uint64_t op, int status, const struct value *document);
void engine_publish(nines *engine, const char *topic, const char *name, const struct value *payload);
void engine_log(nines *engine, const char *level, const char *format, ...) __attribute__((format(printf, 3, 4)));
// Stores a document built as a value / deletes it; in this turn's txn.
void engine_put(nines *engine, const char *kind, const char *id, const struct value *document);
void engine_delete(nines *engine, const char *kind, const char *id);
void engine_audit(nines *engine, const char *actor, const char *action, const char *target,
                  const struct value *details);
char *engine_new_id(nines *engine, const char *prefix, char out[static 24]); // "a17"
// An effect that is only watched: publishes effect.observed and audits nothing.
void engine_observed(nines *engine, const char *effect, const char *target, const char *why);

#endif
