// Making, finding and folding guards.
//
// The arena's directory is the truth about what exists in memory; `names` is this process's own index of handles. What
// an earlier life left is taken up as it is when it still makes sense, shifted when it is of another boot, and begun
// anew when it is damaged.
#include "guards.h"

#include <stdio.h>
#include <string.h>

#include "apart.h"
#include "attach.h"
#include "check.h"
#include "clients.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"

enum { GUARD_ALIGN = 64 }; // of what the arena hands out

void guards_init(struct nines_arena *arena, struct arena *memory, struct writers *writers, uint64_t seed,
                 int64_t now_ns)
{
  memset((void *)arena, 0, sizeof *arena);
  arena->memory = memory;
  arena->writers = writers;
  arena->now_ns = now_ns;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    char stream[32];
    struct rng rng;
    snprintf(stream, sizeof stream, "guards/%u", writer);
    rng_init(&rng, seed, stream);
    arena->random[writer][0] = rng_next(&rng) | 1;
  }
}

void guards_drop_handle(struct guard *guard)
{
  if (guard->kind->closed) guard->kind->closed(guard);
  mem_free(guard->scratch);
  mem_free(guard->wish);
  mem_free(guard->name);
  mem_free(guard);
}

void guards_fini(struct nines_arena *arena)
{
  for (uint32_t i = 0; i < arena->count; i++) guards_drop_handle(arena->guards[i]);
  mem_free(arena->guards);
  map_fini(&arena->names);
}

const struct guard_kind *guards_kind(uint32_t id)
{
  static const struct guard_kind *const kinds[GUARD_KIND_END - GUARD_BREAKER] = {
    &breaker_kind,   &keyed_breaker_kind, &limiter_kind,  &bulkhead_kind, &adaptive_limit_kind, &shedder_kind,
    &retry_kind,     &timeout_kind,       &fallback_kind, &canary_kind,   &fault_kind,          &counter_kind,
    &histogram_kind, &baseline_kind,      &path_kind,     &flag_kind,
  };
  return id >= GUARD_BREAKER && id < GUARD_KIND_END ? kinds[id - GUARD_BREAKER] : NULL;
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

static uint32_t stripe_kind(const struct guard *guard)
{
  return (guard->kind->id + GUARD_STRIPES) | ARENA_WRITABLE;
}

static void *stripe_find(const struct guard *guard, uint32_t writer)
{
  struct key key;
  struct arena_slot slot;
  bool found = arena_find(guard->arena->memory, stripe_kind(guard), key_of(&key, guard->name, writer), &slot);
  if (!found || slot.size_bytes != stripe_bytes(guard, writer)) return NULL;
  return arena_at(guard->arena->memory, slot.offset);
}

// For everybody here, and for those who are attached.
static void stripe_put(struct guard *guard, uint32_t writer, void *stripe)
{
  atomic_store_explicit(&guard->stripes[writer], stripe, memory_order_release);
  if (!guard->table) return;
  uint64_t place = stripe ? arena_offset(guard->arena->memory, stripe) / GUARD_ALIGN : 0;
  atomic_store_explicit(&guard->table->stripe[writer], (uint32_t)place, memory_order_release);
}

int guards_stripe(struct guard *guard, uint32_t writer, struct status *status)
{
  if (atomic_load_explicit(&guard->stripes[writer], memory_order_relaxed)) return 0;
  struct key key;
  struct arena_slot slot;
  int code = arena_object(guard->arena->memory, stripe_kind(guard), key_of(&key, guard->name, writer),
                          stripe_bytes(guard, writer), &slot, status);
  if (code < 0) return code;
  stripe_put(guard, writer, arena_at(guard->arena->memory, slot.offset));
  if (guard->arena->clients) clients_tell(guard->arena->clients);
  return 0;
}

static void stripe_drop(struct guard *guard, uint32_t writer)
{
  struct key key;
  arena_drop(guard->arena->memory, stripe_kind(guard), key_of(&key, guard->name, writer));
}

// --- parts

static struct guard_parts parts_of(const struct guard_kind *kind, const void *config)
{
  return kind->parts_for ? kind->parts_for(config) : kind->parts;
}

static uint32_t open_kind(const struct guard_kind *kind)
{
  return kind->id | ARENA_WRITABLE;
}

static void put_apart(void *shared, void *open, const struct guard_parts *parts)
{
  struct apart *apart = (struct apart *)(void *)((char *)shared + parts->apart_at);
  if (parts->open_bytes > 0) apart->distance = (char *)open - (char *)apart;
}

static size_t aligned(size_t bytes)
{
  return (bytes + GUARD_ALIGN - 1) / GUARD_ALIGN * GUARD_ALIGN;
}

char *guards_scratch(const struct guard_kind *kind, const void *config, void **shared, void **shared_stripe)
{
  struct guard_parts parts = parts_of(kind, config);
  size_t first = aligned(parts.bytes), second = aligned(parts.open_bytes);
  char *memory = mem_zalloc(first + second + kind->stripe_bytes + GUARD_ALIGN);
  if (!memory) return NULL;
  char *at = memory + (GUARD_ALIGN - (uintptr_t)memory % GUARD_ALIGN);
  put_apart(at, at + first, &parts);
  *shared = at;
  *shared_stripe = kind->stripe_bytes > 0 ? at + first + second : NULL;
  return memory;
}

// Stripes and settings for the memory of the guard.
static int guard_fill(struct guard *guard, const void *config, bool fresh, struct status *status)
{
  struct nines_arena *arena = guard->arena;
  const struct guard_kind *kind = guard->kind;
  int code = 0;
  if (kind->stripe_bytes > 0) {
    for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) stripe_put(guard, writer, stripe_find(guard, writer));
    code = guards_stripe(guard, WRITER_SHARED, status);
    if (code == 0) code = guards_stripe(guard, WRITER_LOOP, status);
    if (code < 0) return code;
  }
  // Of the living, some may still count on the shared stripe.
  uint32_t dead = arena->living ? ~arena->living & ~(1u << WRITER_SHARED) : UINT32_MAX;
  if (!fresh && kind->forget) kind->forget(guard, dead);
  if (!fresh && !arena->living && kind->orphaned) kind->orphaned(guard);
  if (!fresh && arena->rebase && kind->rebase) kind->rebase(guard, arena->rebase_then_ns, arena->rebase_now_ns);
  if (!fresh && !config) return 0;
  return kind->set(guard, config, fresh, arena->now_ns, status);
}

// What the arena holds of an earlier life, or fresh memory; then settings. Memory that could not be set up is not left
// behind: zeros are no settings.
static int guard_place(struct guard *guard, const void *config, struct status *status)
{
  struct nines_arena *arena = guard->arena;
  const struct guard_kind *kind = guard->kind;
  struct arena_slot first = { 0 }, open = { 0 };
  // In every arena that has a file: the next engine on it may let others attach.
  size_t table_bytes = arena_path(arena->memory) && kind->stripe_bytes > 0 ? sizeof(struct guard_table) : 0;
  // Without a config, what an earlier life made has its size already.
  bool known = !config && arena_find(arena->memory, kind->id, view_of(guard->name), &first);
  struct guard_parts parts = known ? kind->parts : parts_of(kind, config);
  if (known) {
    parts.bytes = first.size_bytes - table_bytes;
    parts.open_bytes = arena_find(arena->memory, open_kind(kind), view_of(guard->name), &open) ? open.size_bytes : 0;
    if (kind->parts_for) parts.apart_at = kind->parts_for(&(nines_breaker_config){ .keys = 1 }).apart_at;
    if (!kind->parts_for) parts.open_bytes = kind->parts.open_bytes;
  }
  size_t bytes = aligned(parts.bytes);
  int code = arena_object(arena->memory, kind->id, view_of(guard->name), known ? first.size_bytes : bytes + table_bytes,
                          &first, status);
  if (code < 0) return code;
  guard->shared = arena_at(arena->memory, first.offset);
  if (parts.open_bytes > 0) {
    code = arena_object(arena->memory, open_kind(kind), view_of(guard->name), parts.open_bytes, &open, status);
    if (code == 0) guard->open = arena_at(arena->memory, open.offset);
    guard->open_bytes = parts.open_bytes;
  }
  bool fresh = first.fresh || (guard->open && open.fresh);
  if (code == 0) {
    size_t table_at = first.size_bytes - table_bytes;
    guard->table = table_bytes > 0 ? (struct guard_table *)(void *)((char *)guard->shared + table_at) : NULL;
    put_apart(guard->shared, guard->open, &parts);
    if (!fresh && !kind->valid(guard)) fresh = true;
    if (fresh) {
      memset(guard->shared, 0, first.size_bytes);
      if (guard->open) memset(guard->open, 0, parts.open_bytes);
      put_apart(guard->shared, guard->open, &parts);
    }
    code = guard_fill(guard, config, fresh, status);
  }
  if (code < 0 && fresh) {
    for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) stripe_drop(guard, writer);
    arena_drop(arena->memory, kind->id, view_of(guard->name));
    arena_drop(arena->memory, open_kind(kind), view_of(guard->name));
  }
  return code;
}

struct guard *guards_handle(struct nines_arena *arena, const struct guard_kind *kind, const char *name)
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
  guard->writers_id = arena->writers ? arena->writers->id : 0;
  atomic_init(&guard->lost_ns, INT64_MAX);
  guard->name = memcpy(copy, name, size);
  if (kind->opened) kind->opened(guard);
  return guard;
}

int guards_check(const struct guard_kind *kind, const char *name, const void *config, struct status *status)
{
  struct guard *scratch = mem_zalloc(kind->handle_bytes);
  void *shared = NULL, *stripe = NULL;
  char *memory = guards_scratch(kind, config, &shared, &stripe);
  int code = NINES_ENOMEM;
  if (scratch && memory) {
    scratch->kind = kind;
    scratch->shared = shared;
    scratch->name = (char *)name; // only read
    code = kind->set(scratch, config, true, 0, status);
  } else {
    status_set(status, code, "out of memory for %s \"%s\"", kind->noun, name);
  }
  mem_free(memory);
  mem_free(scratch);
  return code;
}

int guards_enter(struct nines_arena *arena, struct guard *guard)
{
  struct key key;
  struct guard **guards = mem_resize(arena->guards, (arena->count + 1) * sizeof *guards);
  if (guards) arena->guards = guards;
  if (!guards || map_put(&arena->names, key_of(&key, guard->name, guard->kind->id), guard) < 0) return NINES_ENOMEM;
  arena->guards[arena->count++] = guard;
  return 0;
}

int guards_name_check(const struct nines_arena *arena, const struct guard_kind *kind, const char *name,
                      struct status *status)
{
  size_t size = strlen(name);
  if (size == 0 || size > GUARD_NAME_MAX)
    return status_set(status, NINES_EINVAL, "the name of a %s has 1 to %d bytes", kind->noun, GUARD_NAME_MAX);
  for (size_t i = 0; i < size; i++)
    if ((unsigned char)name[i] < ' ' || name[i] == 127)
      return status_set(status, NINES_EINVAL, "the name of a %s has a control character at byte %zu", kind->noun,
                        i + 1);
  if (arena->count >= GUARDS_MAX)
    return status_set(status, NINES_ELIMIT,
                      "there are %d primitives already; %s \"%s\" is one too many (a changing part in the name?)",
                      GUARDS_MAX, kind->noun, name);
  uint32_t count = 0;
  for (uint32_t i = 0; i < arena->count && kind->count_max > 0; i++) count += arena->guards[i]->kind == kind;
  if (kind->count_max > 0 && count >= kind->count_max)
    return status_set(status, NINES_ELIMIT,
                      "there are %u of a %s already; \"%s\" is one too many (a changing part in the name?)",
                      kind->count_max, kind->noun, name);
  return 0;
}

static int guard_make(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                      struct guard **out, struct status *status)
{
  int code = guards_name_check(arena, kind, name, status);
  // Before anything is made, or an earlier life's memory is replaced by one of another size.
  if (code == 0 && config) code = guards_check(kind, name, config, status);
  if (code < 0) return code;
  struct guard *guard = guards_handle(arena, kind, name);
  if (!guard) return status_set(status, NINES_ENOMEM, "out of memory for %s \"%s\"", kind->noun, name);
  code = guard_place(guard, config, status); // which may make another guard (a breaker its keys)
  if (code == 0 && guards_enter(arena, guard) < 0)
    code = status_set(status, NINES_ENOMEM, "out of memory for %s \"%s\"", kind->noun, name);
  if (code < 0) {
    guards_drop_handle(guard);
    return code;
  }
  *out = guard;
  return 0;
}

struct adoption {
  struct nines_arena *arena;
  const struct guard_kind *kind;
};

static void adopt(void *userdata, struct view name)
{
  const struct adoption *adoption = userdata;
  char text[GUARD_NAME_MAX + 1];
  struct guard *guard;
  if (name.size > GUARD_NAME_MAX) return;
  memcpy(text, name.data, name.size);
  text[name.size] = '\0';
  if (!guards_find(adoption->arena, adoption->kind, text))
    guard_make(adoption->arena, adoption->kind, text, NULL, &guard, &adoption->arena->status);
}

void guards_adopt(struct nines_arena *arena)
{
  for (uint32_t id = GUARD_BREAKER; id < GUARD_KIND_END; id++) {
    struct adoption adoption = { arena, guards_kind(id) };
    arena_each(arena->memory, id, adopt, &adoption);
  }
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
  if (arena->attachment) return attachment_get(arena, kind, name, config, out);
  *out = guards_find(arena, kind, name);
  if (*out && (!config || (*out)->declared)) return 0;
  return guards_declare(arena, kind, name, config, out, &arena->status);
}

// --- writing and folding

uint32_t guard_wants(struct guard *guard, uint32_t writer)
{
  if (guard->arena->attachment) return attachment_wants(guard, writer);
  atomic_fetch_or_explicit(&guard->wanted, 1u << writer, memory_order_relaxed);
  return WRITER_SHARED;
}

uint64_t *guards_random_shared(void)
{
  static _Thread_local uint64_t state __attribute__((tls_model("initial-exec")));
  // Not from the system: this is the request path. Threads differ by address, processes by time.
  if (!state) state = ((uint64_t)(uintptr_t)&state * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)clock_now_ns()) | 1;
  return &state;
}

void guards_forget(struct nines_arena *arena, uint32_t writers)
{
  for (uint32_t i = 0; i < arena->count; i++)
    if (arena->guards[i]->kind->forget) arena->guards[i]->kind->forget(arena->guards[i], writers);
}

void nines_arena_fold(nines_arena *arena, int64_t now_ns)
{
  arena->now_ns = now_ns;
  if (arena->attachment) {
    attachment_fold(arena, now_ns);
    return;
  }
  if (arena->clients) clients_serve(arena, now_ns);
  for (uint32_t i = 0; i < arena->count; i++) {
    struct guard *guard = arena->guards[i];
    uint32_t wanted = atomic_load_explicit(&guard->wanted, memory_order_relaxed);
    if (wanted) {
      // A full arena leaves the writer with the shared stripe: slower, not wrong. It asks again at its next call.
      wanted = atomic_exchange_explicit(&guard->wanted, 0, memory_order_relaxed);
      for (uint32_t writer = 0; writer < WRITERS_MAX; writer++)
        if (wanted >> writer & 1) guards_stripe(guard, writer, &arena->status);
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
  if (arena && arena->attachment) {
    attachment_close(arena);
    return;
  }
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
