// Named primitives of an arena: the handles behind nines.h, one for each process, over memory that all of them share.
//
// A kind is a table: how large its parts are, how settings are applied, what its fold does. A guard is a handle: the
// address of the shared part, and of each writer's stripe. A thread that writes first finds no stripe of its own; it
// uses the shared one with locked instructions until the next fold has made one for it. Handles are made by the thread
// that folds, and live as long as the arena. The files of this layer (breakers.c, ...) are the kinds.
#ifndef NINES_GUARD_GUARDS_H
#define NINES_GUARD_GUARDS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "arena.h"
#include "map.h"
#include "nines.h"
#include "status.h"
#include "writer.h"

enum { GUARDS_MAX = 4096, GUARD_NAME_MAX = 184 };

struct guard;

struct guard_kind {
  uint32_t id; // in the arena: never reused for another layout; stripes are kept under id + GUARD_STRIPES
  const char *noun;
  size_t handle_bytes;        // of the struct that begins with a struct guard
  size_t stripe_bytes;        // 0: none
  size_t shared_stripe_bytes; // of WRITER_SHARED's; 0: the same
  // Bytes of the shared part for this config (NULL: defaults).
  size_t (*shared_bytes)(const void *config);
  // Applies a config (NULL, only when fresh: the defaults). `fresh`: the memory is zero. A refused config changes
  // nothing. With guard->arena NULL the memory is scratch (guards_check), and there is nothing but `shared`.
  int (*set)(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status);
  bool (*valid)(const struct guard *guard);
  // An earlier life's: nobody is left who would give permits back. NULL: holds none.
  void (*orphaned)(struct guard *guard);
  void (*rebase)(struct guard *guard, int64_t then_ns, int64_t now_ns); // NULL: keeps no time
  void (*fold)(struct guard *guard, int64_t now_ns, uint64_t *random);  // NULL: nothing to do
  void (*opened)(struct guard *guard);                                  // NULL: the handle begins as zeros
  void (*closed)(struct guard *guard);                                  // NULL: the handle holds nothing
};

enum {
  GUARD_BREAKER = 32,
  GUARD_KEYED_BREAKER,
  GUARD_LIMITER,
  GUARD_BULKHEAD,
  GUARD_ADAPTIVE_LIMIT,
  GUARD_SHEDDER,
  GUARD_RETRY,
  GUARD_TIMEOUT,
  GUARD_FALLBACK,
  GUARD_CANARY,
  GUARD_FAULT,
  GUARD_COUNTER,
  GUARD_HISTOGRAM,
  GUARD_BASELINE,
  GUARD_STRIPES = 32
};

struct guard {
  void *shared;
  uint64_t writers_id; // of arena->writers
  size_t shared_bytes;
  _Atomic(void *) stripes[WRITERS_MAX];
  _Atomic uint32_t wanted; // writers that found no stripe of theirs, one bit each
  struct nines_arena *arena;
  const struct guard_kind *kind;
  char *name;
  bool declared; // by a policy, whose settings outrank those of a `_get`
};

struct nines_arena {
  struct arena *memory;
  struct writers *writers;
  uint64_t random[WRITERS_MAX][8]; // rng_quick states, a line each
  struct map names;                // kind and name -> struct guard
  struct guard **guards;           // in order of creation
  uint32_t count;
  int64_t now_ns; // of the last fold or set
  bool rebase;    // the memory is of another boot
  int64_t rebase_then_ns, rebase_now_ns;
  struct status status;
  bool own; // made by nines_arena_open: memory and writers are this one's
};

// Over memory and writers that somebody else owns.
void guards_init(struct nines_arena *arena, struct arena *memory, struct writers *writers, uint64_t seed,
                 int64_t now_ns);
void guards_fini(struct nines_arena *arena);
// Finds or makes. A config is applied when it is not NULL, unless a policy has declared the guard.
int guards_get(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
               struct guard **out);
struct guard *guards_find(const struct nines_arena *arena, const struct guard_kind *kind, const char *name);
// Applies a policy's settings, whoever made the guard. 0 or an error, with the sentence in `status`.
int guards_declare(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                   struct guard **out, struct status *status);

// Would these settings be taken by a guard that is made with them? 0 or an error, with the sentence in `status`.
int guards_check(const struct guard_kind *kind, const char *name, const void *config, struct status *status);

uint32_t guard_wants(struct guard *guard, uint32_t writer); // for guard_writer: WRITER_SHARED, and a stripe to come
// [any] The caller's writer number: WRITER_SHARED while it has no stripe of its own.
static inline uint32_t guard_writer(struct guard *guard)
{
  uint32_t writer = writers_number(guard->writers_id);
  void *stripe = atomic_load_explicit(&guard->stripes[writer], memory_order_acquire);
  return __builtin_expect(stripe != NULL, 1) ? writer : guard_wants(guard, writer);
}
uint64_t *guards_random_shared(void); // of this thread, for guard_random
// [any] The caller's random stream.
static inline uint64_t *guard_random(struct guard *guard, uint32_t writer)
{
  return writer != WRITER_SHARED ? &guard->arena->random[writer][0] : guards_random_shared();
}

// Every kind, for the engine (metrics, lists); the configs they take are those of nines.h.
extern const struct guard_kind breaker_kind, keyed_breaker_kind, limiter_kind, bulkhead_kind, adaptive_limit_kind,
    shedder_kind, retry_kind, timeout_kind, fallback_kind, canary_kind, fault_kind, counter_kind, histogram_kind,
    baseline_kind;

#endif
