// Making, finding and folding guards.
//
// The arena's directory is the truth about what exists in memory; `names` is this process's own index of handles. What
// an earlier life left is taken up as it is when it still makes sense, shifted when it is of another boot, and begun
// anew when it is damaged.
#include "guards.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"

enum { GUARD_ALIGN = 64 }; // of what the arena hands out

void guards_init(struct nines_arena *arena, struct arena *memory, struct writers *writers, uint64_t seed,
                 int64_t now_ns)
{
  *arena = (struct nines_arena){ .memory = memory, .writers = writers, .now_ns = now_ns };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    char stream[32];
    struct rng rng;
    snprintf(stream, sizeof stream, "guards/%u", writer);
    rng_init(&rng, seed, stream);
    arena->random[writer][0] = rng_next(&rng) | 1;
  }
}

static void handle_free(struct guard *guard)
{
  if (guard->kind->closed) guard->kind->closed(guard);
  mem_free(guard->name);
  mem_free(guard);
}

void guards_fini(struct nines_arena *arena)
{
  for (uint32_t i = 0; i < arena->count; i++) handle_free(arena->guards[i]);
  mem_free(arena->guards);
  map_fini(&arena->names);
}

// --- names

// Names that an object has within its kind: of a stripe with the writer's number, of a handle with the kind's.
struct key {
  char text[GUARD_NAME_MAX + 16];
};

static struct view key_of(struct key *key, const char *name, uint32_t number)
{
  int size = snprintf(key->text, sizeof key->text, "%s/%u", name, number);
  return (struct view){ key->text, (size_t)size };
}

struct guard *guards_find(const struct nines_arena *arena, const struct guard_kind *kind, const char *name)
{
  struct key key;
  if (strlen(name) > GUARD_NAME_MAX) return NULL;
  return map_get(&arena->names, key_of(&key, name, kind->id));
}

static size_t stripe_bytes(const struct guard *guard, uint32_t writer)
{
  bool shared = writer == WRITER_SHARED && guard->kind->shared_stripe_bytes > 0;
  return shared ? guard->kind->shared_stripe_bytes : guard->kind->stripe_bytes;
}

static void *stripe_find(const struct guard *guard, uint32_t writer)
{
  struct key key;
  struct arena_slot slot;
  bool found =
      arena_find(guard->arena->memory, guard->kind->id + GUARD_STRIPES, key_of(&key, guard->name, writer), &slot);
  if (!found || slot.size_bytes != stripe_bytes(guard, writer)) return NULL;
  return arena_at(guard->arena->memory, slot.offset);
}

static int stripe_make(struct guard *guard, uint32_t writer, struct status *status)
{
  if (atomic_load_explicit(&guard->stripes[writer], memory_order_relaxed)) return 0;
  struct key key;
  struct arena_slot slot;
  int code = arena_object(guard->arena->memory, guard->kind->id + GUARD_STRIPES, key_of(&key, guard->name, writer),
                          stripe_bytes(guard, writer), &slot, status);
  if (code < 0) return code;
  atomic_store_explicit(&guard->stripes[writer], arena_at(guard->arena->memory, slot.offset), memory_order_release);
  return 0;
}

static void stripe_drop(struct guard *guard, uint32_t writer)
{
  struct key key;
  arena_drop(guard->arena->memory, guard->kind->id + GUARD_STRIPES, key_of(&key, guard->name, writer));
}

// Stripes and settings for the memory of guard->shared.
static int guard_fill(struct guard *guard, const void *config, bool fresh, struct status *status)
{
  const struct nines_arena *arena = guard->arena;
  int code = 0;
  if (guard->kind->stripe_bytes > 0) {
    for (uint32_t writer = 0; writer < WRITERS_MAX; writer++)
      atomic_store_explicit(&guard->stripes[writer], stripe_find(guard, writer), memory_order_release);
    code = stripe_make(guard, WRITER_SHARED, status);
    if (code == 0) code = stripe_make(guard, WRITER_LOOP, status);
    if (code < 0) return code;
  }
  if (!fresh && guard->kind->orphaned) guard->kind->orphaned(guard);
  if (!fresh && arena->rebase && guard->kind->rebase)
    guard->kind->rebase(guard, arena->rebase_then_ns, arena->rebase_now_ns);
  if (!fresh && !config) return 0;
  return guard->kind->set(guard, config, fresh, arena->now_ns, status);
}

// What the arena holds of an earlier life, or fresh memory; then settings. Memory that could not be set up is not left
// behind: zeros are no settings.
static int guard_place(struct guard *guard, const void *config, struct status *status)
{
  struct nines_arena *arena = guard->arena;
  struct arena_slot slot;
  // Without a config, what an earlier life made has its size already.
  bool known = !config && arena_find(arena->memory, guard->kind->id, view_of(guard->name), &slot);
  size_t bytes = known ? slot.size_bytes : guard->kind->shared_bytes(config);
  int code = arena_object(arena->memory, guard->kind->id, view_of(guard->name), bytes, &slot, status);
  if (code < 0) return code;
  guard->shared = arena_at(arena->memory, slot.offset);
  guard->shared_bytes = bytes;
  bool fresh = slot.fresh;
  if (!fresh && !guard->kind->valid(guard)) {
    memset(guard->shared, 0, bytes);
    fresh = true;
  }
  code = guard_fill(guard, config, fresh, status);
  if (code < 0 && fresh) {
    for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) stripe_drop(guard, writer);
    arena_drop(arena->memory, guard->kind->id, view_of(guard->name));
  }
  return code;
}

static struct guard *handle_make(struct nines_arena *arena, const struct guard_kind *kind, const char *name)
{
  size_t size = strlen(name) + 1;
  struct guard *guard = mem_zalloc(kind->handle_bytes);
  char *copy = guard ? mem_alloc(size) : NULL;
  if (!copy) {
    mem_free(guard);
    return NULL;
  }
  guard->arena = arena;
  guard->kind = kind;
  guard->writers_id = arena->writers->id;
  guard->name = memcpy(copy, name, size);
  if (kind->opened) kind->opened(guard);
  return guard;
}

int guards_check(const struct guard_kind *kind, const char *name, const void *config, struct status *status)
{
  struct guard *scratch = mem_zalloc(kind->handle_bytes);
  char *memory = mem_zalloc(kind->shared_bytes(config) + GUARD_ALIGN);
  int code = NINES_ENOMEM;
  if (scratch && memory) {
    scratch->kind = kind;
    scratch->shared = memory + (GUARD_ALIGN - (uintptr_t)memory % GUARD_ALIGN);
    scratch->name = (char *)name; // only read
    code = kind->set(scratch, config, true, 0, status);
  } else {
    status_set(status, code, "out of memory for %s \"%s\"", kind->noun, name);
  }
  mem_free(memory);
  mem_free(scratch);
  return code;
}

static int guard_make(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                      struct guard **out, struct status *status)
{
  size_t size = strlen(name);
  if (size == 0 || size > GUARD_NAME_MAX)
    return status_set(status, NINES_EINVAL, "the name of a %s has 1 to %d bytes", kind->noun, GUARD_NAME_MAX);
  if (arena->count == GUARDS_MAX)
    return status_set(status, NINES_ELIMIT,
                      "there are %d primitives already; %s \"%s\" is one too many (a changing part in the name?)",
                      GUARDS_MAX, kind->noun, name);
  // Before anything is made, or an earlier life's memory is replaced by one of another size.
  int code = config ? guards_check(kind, name, config, status) : 0;
  if (code < 0) return code;
  struct guard *guard = handle_make(arena, kind, name);
  if (!guard) return status_set(status, NINES_ENOMEM, "out of memory for %s \"%s\"", kind->noun, name);
  struct key key;
  code = guard_place(guard, config, status); // which may make another guard (a breaker its keys)
  struct guard **guards = code == 0 ? mem_resize(arena->guards, (arena->count + 1) * sizeof *guards) : NULL;
  if (guards) arena->guards = guards;
  if (code == 0 && (!guards || map_put(&arena->names, key_of(&key, name, kind->id), guard) < 0))
    code = status_set(status, NINES_ENOMEM, "out of memory for %s \"%s\"", kind->noun, name);
  if (code < 0) {
    handle_free(guard);
    return code;
  }
  arena->guards[arena->count++] = guard;
  *out = guard;
  return 0;
}

int guards_declare(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                   struct guard **out, struct status *status)
{
  *out = guards_find(arena, kind, name);
  if (*out) return kind->set(*out, config, false, arena->now_ns, status);
  return guard_make(arena, kind, name, config, out, status);
}

int guards_get(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
               struct guard **out)
{
  *out = guards_find(arena, kind, name);
  if (*out && (!config || (*out)->declared)) return 0;
  return guards_declare(arena, kind, name, config, out, &arena->status);
}

// --- writing and folding

uint32_t guard_wants(struct guard *guard, uint32_t writer)
{
  atomic_fetch_or_explicit(&guard->wanted, 1u << writer, memory_order_relaxed);
  return WRITER_SHARED;
}

uint64_t *guards_random_shared(void)
{
  static _Thread_local uint64_t state __attribute__((tls_model("initial-exec")));
  if (!state) state = rng_system_seed() | 1;
  return &state;
}

void nines_arena_fold(nines_arena *arena, int64_t now_ns)
{
  arena->now_ns = now_ns;
  for (uint32_t i = 0; i < arena->count; i++) {
    struct guard *guard = arena->guards[i];
    uint32_t wanted = atomic_load_explicit(&guard->wanted, memory_order_relaxed);
    if (wanted) {
      // A full arena leaves the writer with the shared stripe: slower, not wrong. It asks again at its next call.
      wanted = atomic_exchange_explicit(&guard->wanted, 0, memory_order_relaxed);
      for (uint32_t writer = 0; writer < WRITERS_MAX; writer++)
        if (wanted >> writer & 1) stripe_make(guard, writer, &arena->status);
    }
    if (guard->kind->fold) guard->kind->fold(guard, now_ns, &arena->random[WRITER_LOOP][0]);
  }
}

// --- an arena without an engine

struct private_arena {
  struct nines_arena arena; // first
  struct writers writers;
};

int nines_arena_open(nines_arena **out, uint64_t seed)
{
  *out = NULL;
  struct private_arena *private = mem_zalloc(sizeof *private);
  if (!private) return NINES_ENOMEM;
  struct arena *memory;
  struct status notice = { 0 }, status = { 0 };
  const struct arena_config config = { .size_bytes = ARENA_SIZE_DEFAULT };
  int code = arena_open(&memory, &config, &notice, &status);
  if (code < 0) {
    mem_free(private);
    return code;
  }
  writers_init(&private->writers, NULL);
  writers_bind_loop(&private->writers);
  guards_init(&private->arena, memory, &private->writers, seed ? seed : rng_system_seed(), clock_now_ns());
  private->arena.own = true;
  *out = &private->arena;
  return 0;
}

void nines_arena_close(nines_arena *arena)
{
  if (!arena || !arena->own) return;
  struct arena *memory = arena->memory;
  guards_fini(arena);
  writers_fini(arena->writers);
  arena_close(memory);
  mem_free(arena); // a private_arena begins with it
}

const char *nines_arena_errmsg(const nines_arena *arena)
{
  return arena->status.text;
}

int64_t nines_now_ns(void)
{
  return clock_now_ns();
}

int64_t nines_now_coarse_ns(void)
{
  return clock_coarse_ns();
}
