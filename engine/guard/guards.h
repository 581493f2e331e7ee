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

enum { GUARDS_MAX = 6144, GUARD_NAME_MAX = 184 };

struct guard;

// The memory of a guard besides its stripes (core/apart.h).
struct guard_parts {
  size_t bytes;      // what only the engine writes
  size_t apart_at;   // where in it the distance to the other part stands
  size_t open_bytes; // what all who ask write; 0: nothing
};

struct guard_kind {
  uint32_t id; // in the arena: never reused for another layout; stripes are kept under id + GUARD_STRIPES
  const char *noun;
  uint32_t count_max;         // so many in an arena; 0: as many as guards
  size_t handle_bytes;        // of the struct that begins with a struct guard
  size_t stripe_bytes;        // 0: none
  size_t shared_stripe_bytes; // of WRITER_SHARED's; 0: the same
  struct guard_parts parts;
  struct guard_parts (*parts_for)(const void *config); // instead, when they depend on the config
  size_t config_bytes;                                 // of the kind's config; 0: it has none that could be mailed
  size_t lost_at;                                      // where in it the `lost` setting stands; 0: it has none
  // Applies a config (NULL, only when fresh: the defaults). `fresh`: the memory is zero. A refused config changes
  // nothing. With guard->arena NULL the memory is scratch (guards_check), and there is nothing but `shared`.
  int (*set)(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status);
  bool (*valid)(const struct guard *guard);
  // The process of these writers (one bit each) is gone, with all permits it held. NULL: nothing is counted by writer.
  void (*forget)(struct guard *guard, uint32_t writers);
  // An earlier life's, and nobody is left of it. NULL: nothing that a process could hold.
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
  GUARD_PATH,
  GUARD_FLAG,
  GUARD_KIND_END,
  GUARD_STRIPES = 32 // and ARENA_WRITABLE
};

// Behind the first part, in an arena that others attach to: where each writer's stripe is, in units of 64 bytes.
struct guard_table {
  _Atomic uint32_t stripe[WRITERS_MAX];
};

// Loads of the atomic fields are plain moves on x86: they change only while an attached handle is bound, under the eyes
// of threads that ask.
struct guard {
  _Atomic(void *) shared;      // the first part
  _Atomic uint64_t writers_id; // of arena->writers
  _Atomic int64_t lost_ns;     // attached: from then on the engine counts as gone; INT64_MAX: never
  _Atomic(void *) stripes[WRITERS_MAX];
  void *open; // the second part; NULL: none
  size_t open_bytes;
  _Atomic(struct guard_table *) table; // NULL: none
  _Atomic uint32_t stripes_seen;       // attached: of pulse.stripes
  int lost;                            // attached: NINES_LOST_*
  // Attached: until the engine has made the parts, and `bound` is set, memory of our own stands in for them.
  char *scratch;
  _Atomic bool bound;
  void *wish;              // the last config, to be sent when there is an engine; NULL: none
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
  bool own;                      // made by nines_arena_open: memory and writers are this one's
  uint32_t living;               // numbers whose processes outlived the engine that is gone
  struct clients *clients;       // of an engine whose arena others may attach to (clients.h)
  struct attachment *attachment; // of an attached process (attach.h)
};

// Over memory and writers that somebody else owns.
void guards_init(struct nines_arena *arena, struct arena *memory, struct writers *writers, uint64_t seed,
                 int64_t now_ns);
void guards_fini(struct nines_arena *arena);
// Finds or makes. A config is applied when it is not NULL, unless a policy has declared the guard.
int guards_get(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
               struct guard **out);
// Guards of an earlier life, of whatever kind: handles for all of them.
void guards_adopt(struct nines_arena *arena);
const struct guard_kind *guards_kind(uint32_t id); // NULL: there is none
// A handle without memory, for an attached process; NULL: out of memory.
struct guard *guards_handle(struct nines_arena *arena, const struct guard_kind *kind, const char *name);
int guards_enter(struct nines_arena *arena, struct guard *guard); // into names and list; 0 or NINES_ENOMEM
void guards_drop_handle(struct guard *guard);
// Memory for the parts and the shared stripe in one piece, zeroed but for the distance between the parts; NULL: out of
// memory. *shared and *shared_stripe (NULL when there is none) are aligned.
char *guards_scratch(const struct guard_kind *kind, const void *config, void **shared, void **shared_stripe);
int guards_stripe(struct guard *guard, uint32_t writer, struct status *status); // makes it if need be
void guards_forget(struct nines_arena *arena, uint32_t writers);                // its process is gone
struct guard *guards_find(const struct nines_arena *arena, const struct guard_kind *kind, const char *name);
// 0, or an error that says what is wrong with the name, or that there is no room for one more.
int guards_name_check(const struct nines_arena *arena, const struct guard_kind *kind, const char *name,
                      struct status *status);
// Applies a policy's settings, whoever made the guard. 0 or an error, with the sentence in `status`.
int guards_declare(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                   struct guard **out, struct status *status);

// Would these settings be taken by a guard that is made with them? 0 or an error, with the sentence in `status`.
int guards_check(const struct guard_kind *kind, const char *name, const void *config, struct status *status);

bool guard_look(struct guard *guard, int64_t now_ns); // for guard_lost
// [any] Attached, and the engine gone for longer than decisions are kept, or the guard not there yet: the caller
// answers by guard->lost.
static inline bool guard_lost(const struct guard *guard, int64_t now_ns)
{
  return __builtin_expect(now_ns >= atomic_load_explicit(&guard->lost_ns, memory_order_relaxed), 0) &&
         guard_look((struct guard *)(uintptr_t)guard, now_ns);
}
#define GUARD_LOST_TOKEN UINT64_MAX // of a permit granted without an engine: nothing to give back
static inline nines_permit guard_lost_permit(const struct guard *guard, int64_t now_ns)
{
  return guard->lost == NINES_LOST_REFUSE ? (nines_permit){ now_ns + 1000000000, 0 }
                                          : (nines_permit){ now_ns, GUARD_LOST_TOKEN };
}
void guard_news(const struct guard *guard);                 // attached: stripes made since, before all are added up
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
    baseline_kind, path_kind, flag_kind;

#endif
