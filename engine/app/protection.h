// Protections as policies and people know them: breakers, limiters, bulkheads, ... by noun and name.
//
// The primitive itself is a guard in the arena (guard/guards.h), asked by the host's threads, by other processes and by
// policies. Here is what belongs to the engine about it: who declared it, what a person has set, which of its changes
// were told as events. A breaker changes state in whoever asks it; the beat carries the steps it took since the last
// one, so that events, the recording and a replay see every one of them, in order.
#ifndef NINES_APP_PROTECTION_H
#define NINES_APP_PROTECTION_H

#include "breakers.h"
#include "engine.h"
#include "schema.h"

// A declaration, decoded.
struct protection_settings {
  union {
    nines_breaker_config breaker;
    nines_limiter_config limiter;
    nines_bulkhead_config bulkhead;
    nines_adaptive_limit_config adaptive_limit;
    nines_shedder_config shedder;
    nines_retry_config retry;
    nines_timeout_config timeout;
    nines_fallback_config fallback;
  };
  struct view_list ignore; // breaker: codes of failures that do not count ("not_found")
  int mode;                // 1: observe
};

struct protection_kind {
  const char *noun;
  const struct guard_kind *guard;
  // By the schema of the noun: canonical spellings and the rivals' (protection_settings.c).
  int (*decode)(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                struct status *status);
  // Its numbers, for lists, events and explain: "state", "calls", "refused", ...
  void (*describe)(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out);
};

// In the order of the nouns: breaker, limiter, bulkhead, adaptive_limit, shedder, retry, timeout, fallback.
enum {
  PROTECTION_BREAKER,
  PROTECTION_LIMITER,
  PROTECTION_BULKHEAD,
  PROTECTION_ADAPTIVE_LIMIT,
  PROTECTION_SHEDDER,
  PROTECTION_RETRY,
  PROTECTION_TIMEOUT,
  PROTECTION_FALLBACK,
  PROTECTION_KINDS
};
extern const struct protection_kind protection_kinds[PROTECTION_KINDS];

struct protection {
  struct guard *guard;
  const struct protection_kind *kind;
  char *declared_by; // script; NULL: nobody
  struct pool pool;  // of `ignore`
  struct view_list ignore;
  bool observe;
  int initial_state; // breaker: as declared; where the end of a person's hold leads back to
  // What a person set outranks policies until lifted or expired (document "protection").
  bool by_person;
  double set;              // breaker: NINES_BREAKER_*; shedder: percent
  int64_t expires_wall_ns; // 0: until lifted
  char *actor, *reason;    // of the last change by hand or policy; NULL: never
  int64_t changed_wall_ns;
  double asked;              // shedder: what policies asked for last
  uint32_t told_generation;  // breaker: of the last step told as an event
  struct engine_timer timer; // of the expiry
};

struct protection *protection_find(const nines *engine, int kind, const char *name); // NULL: there is none
// "Did you mean": the nearest name of this kind, or NULL.
const char *protection_nearest(const nines *engine, int kind, const char *name);
// By a policy's declaration. 0 or an error of settings or limits.
int protection_declare(nines *engine, int kind, const char *script, const char *name,
                       struct protection_settings *settings, struct pool *pool, struct status *status);
void protection_retire(nines *engine, int kind, const char *name);
// Guards that a host made since the last call become known; called by each beat.
void protections_meet(nines *engine);
struct protection *protection_at(const nines *engine, uint32_t index); // in order of creation; NULL past the end

// Puts a breaker into a state (NINES_BREAKER_*), or a shedder to a percentage. `actor` begins with "person:" or
// "policy:". A policy's setting has no effect while a person has the say (a shedder takes it up when that ends), nor
// when it changes nothing, and is only recorded in observe mode. A person's "open" refuses until lifted or hold_ns have
// passed (0: until lifted), "closed" ends whatever a person had set; for a policy, hold_ns 0 is the breaker's own open
// time. True when something changed.
bool protection_put(nines *engine, struct protection *protection, double value, int64_t hold_ns, const char *actor,
                    const char *reason);
void protection_lift(nines *engine, struct protection *protection, const char *actor);
void protection_reset(nines *engine, struct protection *protection, const char *actor, const char *reason); // breaker
// noun, name, numbers, who set what and why.
void protection_describe(const nines *engine, const struct protection *protection, struct pool *pool,
                         struct value *out);

// The beat: moves of breakers since the last one. collect folds the arena and writes them, each after the byte `tag`;
// fold reads one and tells it as an event; a replay puts the state into the breaker first. False: it cannot be read.
void protections_collect(nines *engine, int64_t now_ns, char tag, struct buf *out);
bool protections_fold(nines *engine, struct view *in);

void protections_load(nines *engine); // what was set, from the store: in force as soon as the guard is there
void protections_save(nines *engine);
void protections_close(nines *engine);

#endif
