// The client's side.
//
// An object's place is the same word for word in every process that maps the arena, so a handle is bound by looking its
// name up in the directory, which the engine alone writes. Binding stores pointers one by one while other threads may
// be asking: each of them is to memory of the right kind, whichever of both lives it is of, and nothing is ever
// unmapped before the close.
#include "attach.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach_door.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"

#define NS_PER_S     INT64_C(1000000000)
#define ANSWER_NS    (NS_PER_S / 5)
#define BEAT_LATE_NS NS_PER_S // an engine whose last beat is older is not there
enum { STRIPE_UNIT = 64 };    // of the offsets in a guard_table
#define NAP_NS INT64_C(200000)
#define NS_MAX (INT64_MAX / 4) // of what is added to a time

// One mapping of an engine's arena; the newest is in use.
struct mapping {
  struct mapping *older;
  struct arena *memory;
  const char *base; // of memory
  size_t bytes;
  struct door *door;
  const struct pulse *pulse;
  struct writers writers;
};

struct attachment {
  struct nines_arena arena; // first
  struct mapping *mapping;  // NULL: none yet
  char *path;
  int64_t wait_ns, keep_ns;
  bool without_engine;
};

static struct attachment *attachment_of(const struct nines_arena *arena)
{
  return arena->attachment;
}

static void nap(void)
{
  nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

// --- the engine

static const void *find(const struct arena *memory, uint32_t kind, const char *name, size_t bytes)
{
  struct arena_slot slot;
  if (!arena_find(memory, kind, view_of(name), &slot) || slot.size_bytes != bytes) return NULL;
  return arena_at(memory, slot.offset);
}

static bool beats(const struct pulse *pulse, int64_t within_ns)
{
  int64_t beat_ns = atomic_load_explicit(&pulse->beat_ns, memory_order_acquire);
  int64_t age_ns = clock_now_ns() - beat_ns; // of another boot: may lie ahead
  return atomic_load_explicit(&pulse->engine, memory_order_relaxed) != 0 && age_ns < within_ns && age_ns > -within_ns;
}

// The mapping that this is in, for a handle may be of an older one than the newest; NULL: scratch.
static struct mapping *mapping_of(const struct attachment *attachment, const void *at)
{
  struct mapping *mapping = attachment->mapping;
  while (mapping && (uintptr_t)at - (uintptr_t)mapping->base >= mapping->bytes) mapping = mapping->older;
  return mapping;
}

static void mapping_free(struct mapping *mapping)
{
  if (mapping->writers.id) writers_fini(&mapping->writers);
  arena_close(mapping->memory);
  mem_free(mapping);
}

// One try. NOTFOUND: there is no engine (yet).
static int map_engine(struct attachment *attachment, struct status *status)
{
  struct mapping *mapping = mem_must(sizeof *mapping);
  int code = arena_attach(&mapping->memory, attachment->path, status);
  if (code == 0) {
    mapping->door = (struct door *)(uintptr_t)find(mapping->memory, ARENA_DOOR, "door", sizeof *mapping->door);
    mapping->pulse = find(mapping->memory, ARENA_PULSE, "pulse", sizeof *mapping->pulse);
    if (!mapping->door || !mapping->pulse || !beats(mapping->pulse, BEAT_LATE_NS))
      code = status_set(status, NINES_ENOTFOUND, "%s has no engine that beats: start it", attachment->path);
  }
  if (code == 0) {
    writers_init(&mapping->writers, &mapping->door->claims);
    bool registered = atomic_load_explicit(&mapping->writers.registered, memory_order_relaxed) != 0;
    if (!registered) arena_ring(mapping->memory);
    if (!registered)
      code = status_set(status, NINES_ELIMIT,
                        "all %d numbers for threads of processes attached to %s are taken: attach fewer processes",
                        WRITERS_MAX - WRITER_FIRST, attachment->path);
  }
  if (code < 0) {
    mapping_free(mapping);
    return code;
  }
  mapping->bytes = arena_usage(mapping->memory).size_bytes;
  mapping->base = (const char *)mapping->door - arena_offset(mapping->memory, mapping->door);
  mapping->older = attachment->mapping;
  attachment->mapping = mapping;
  attachment->arena.memory = mapping->memory;
  attachment->arena.writers = &mapping->writers;
  return 0;
}

static int wait_for_engine(struct attachment *attachment, struct status *status)
{
  int64_t until_ns = clock_now_ns() + attachment->wait_ns;
  int code = map_engine(attachment, status);
  // No number free: those of the dead come back as soon as the engine looks.
  while ((code == NINES_ENOTFOUND || code == NINES_ELIMIT) && clock_now_ns() < until_ns) {
    nap();
    code = map_engine(attachment, status);
  }
  return code;
}

int nines_attach(nines_arena **out, const char *path, const nines_attach_config *config, char *error, size_t error_size)
{
  nines_attach_config given = { 0 };
  struct status status = { 0 };
  *out = NULL;
  if (config) memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  struct attachment *attachment = mem_zalloc(sizeof *attachment);
  int code = NINES_ENOMEM;
  if (!attachment) return code;
  attachment->path = mem_must_copy(path);
  attachment->wait_ns = given.wait_ns < 0 ? 0 : given.wait_ns > 0 ? given.wait_ns : NS_PER_S;
  attachment->keep_ns = given.keep_ns > 0 ? given.keep_ns : 10 * NS_PER_S;
  if (attachment->wait_ns > NS_MAX) attachment->wait_ns = NS_MAX;
  if (attachment->keep_ns > NS_MAX) attachment->keep_ns = NS_MAX;
  attachment->without_engine = given.without_engine != 0;
  guards_init(&attachment->arena, NULL, NULL, rng_system_seed(), clock_now_ns());
  attachment->arena.attachment = attachment;
  code = wait_for_engine(attachment, &status);
  if (code == NINES_ENOTFOUND && attachment->without_engine) code = 0;
  if (code < 0) {
    if (error && error_size) snprintf(error, error_size, "%s", status.text);
    attachment_close(&attachment->arena);
    return code;
  }
  *out = &attachment->arena;
  return 0;
}

void attachment_close(struct nines_arena *arena)
{
  struct attachment *attachment = attachment_of(arena);
  guards_fini(arena);
  for (struct mapping *mapping = attachment->mapping, *older; mapping; mapping = older) {
    older = mapping->older;
    mapping_free(mapping);
  }
  mem_free(attachment->path);
  mem_free(attachment);
}

bool guard_look(struct guard *guard, int64_t now_ns)
{
  const struct attachment *attachment = attachment_of(guard->arena);
  if (!atomic_load_explicit(&guard->bound, memory_order_acquire)) return true;
  const struct mapping *mapping = mapping_of(attachment, guard->shared);
  if (!mapping) return true;
  int64_t beat_ns = atomic_load_explicit(&mapping->pulse->beat_ns, memory_order_acquire);
  int64_t lost_ns = beat_ns + attachment->keep_ns;
  atomic_store_explicit(&guard->lost_ns, lost_ns, memory_order_relaxed);
  return now_ns >= lost_ns;
}

// --- wishes

// An engine that beats is given some beats to answer, also by those who would not wait for an engine.
static int64_t answer_by(const struct attachment *attachment)
{
  return clock_now_ns() + (attachment->wait_ns > ANSWER_NS ? attachment->wait_ns : ANSWER_NS);
}

static int await_beat(const struct attachment *attachment, int64_t until_ns, struct status *status)
{
  while (!attachment->mapping || !beats(attachment->mapping->pulse, BEAT_LATE_NS)) {
    if (clock_now_ns() >= until_ns || !attachment->mapping)
      return status_set(status, NINES_ETIMEOUT, "%s: its engine is gone: start it", attachment->path);
    nap();
  }
  return 0;
}

// After a fork the process has no number yet. Those of the dead come back as soon as the engine looks.
static int await_number(struct attachment *attachment, int64_t until_ns, struct status *status)
{
  struct mapping *mapping = attachment->mapping;
  while (!writers_register(&mapping->writers)) {
    if (clock_now_ns() >= until_ns)
      return status_set(status, NINES_ELIMIT, "all %d numbers for threads of processes attached to %s are taken",
                        WRITERS_MAX - WRITER_FIRST, attachment->path);
    arena_ring(mapping->memory);
    nap();
  }
  return 0;
}

// The process has a number. Asks the engine for the object, with settings of all of kind->config_bytes or NULL, and
// waits for its answer until then. TIMEOUT: none came.
static int post(struct attachment *attachment, const struct guard_kind *kind, const char *name, const void *config,
                int64_t until_ns, struct status *status)
{
  struct mapping *mapping = attachment->mapping;
  uint32_t number = atomic_load_explicit(&mapping->writers.registered, memory_order_relaxed);
  struct mail *mail = &mapping->door->mail[number];
  uint32_t serial = (atomic_load_explicit(&mail->state, memory_order_relaxed) & ~(uint32_t)MAIL_STEP) + MAIL_SERIAL;
  // An exchange: nothing of the new wish is written before the old one is withdrawn.
  atomic_exchange_explicit(&mail->state, serial + MAIL_NONE, memory_order_acq_rel);
  mail->kind = kind->id;
  snprintf(mail->name, sizeof mail->name, "%s", name);
  mail->config_bytes = 0;
  if (config) {
    mail->config_bytes = (uint32_t)kind->config_bytes;
    memcpy(mail->config, config, kind->config_bytes);
  }
  atomic_store_explicit(&mail->state, serial + MAIL_POSTED, memory_order_release);
  arena_ring(mapping->memory);
  while (atomic_load_explicit(&mail->state, memory_order_acquire) != serial + MAIL_ANSWERED) {
    if (clock_now_ns() >= until_ns) {
      atomic_store_explicit(&mail->state, serial + MAIL_NONE, memory_order_relaxed);
      return status_set(status, NINES_ETIMEOUT, "%s: its engine did not answer a wish for %s \"%s\"", attachment->path,
                        kind->noun, name);
    }
    nap();
  }
  char text[MAIL_TEXT_BYTES];
  memcpy(text, mail->text, sizeof text);
  text[sizeof text - 1] = '\0';
  int code = mail->code;
  return code < 0 ? status_set(status, code, "%s", text) : 0;
}

static void take_stripes(struct guard *guard, const struct mapping *mapping, const struct guard_table *table)
{
  uint32_t stripes = atomic_load_explicit(&mapping->pulse->stripes, memory_order_acquire);
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    uint64_t place = atomic_load_explicit(&table->stripe[writer], memory_order_acquire);
    void *stripe = place > 0 ? arena_at(mapping->memory, place * STRIPE_UNIT) : NULL;
    // The shared one is always there; others may find it meanwhile.
    if (stripe || writer != WRITER_SHARED) atomic_store_explicit(&guard->stripes[writer], stripe, memory_order_release);
  }
  atomic_store_explicit(&guard->stripes_seen, stripes, memory_order_relaxed);
}

void guard_news(const struct guard *guard)
{
  const struct attachment *attachment = guard->arena->attachment;
  const struct guard_table *table = guard->table;
  const struct mapping *mapping = attachment && table ? mapping_of(attachment, table) : NULL;
  if (!mapping) return;
  uint32_t stripes = atomic_load_explicit(&mapping->pulse->stripes, memory_order_acquire);
  if (stripes != atomic_load_explicit(&guard->stripes_seen, memory_order_relaxed))
    take_stripes((struct guard *)(uintptr_t)guard, mapping, table);
}

uint32_t attachment_wants(struct guard *guard, uint32_t writer)
{
  void *shared = guard->shared;
  const struct mapping *mapping = mapping_of(guard->arena->attachment, shared);
  if (!mapping || !guard->table || !atomic_load_explicit(&guard->bound, memory_order_acquire)) return WRITER_SHARED;
  guard_news(guard);
  if (atomic_load_explicit(&guard->stripes[writer], memory_order_relaxed)) return writer;
  _Atomic uint64_t *wanted = &mapping->door->wanted[writer];
  if (atomic_load_explicit(wanted, memory_order_relaxed) == 0)
    atomic_store_explicit(wanted, arena_offset(mapping->memory, shared), memory_order_release);
  return WRITER_SHARED;
}

// --- handles

// Points the handle at what the engine has made.
static int bind(struct guard *guard, struct status *status)
{
  struct attachment *attachment = attachment_of(guard->arena);
  const struct arena *memory = attachment->mapping->memory;
  const struct guard_kind *kind = guard->kind;
  struct arena_slot first, open = { 0 };
  if (!arena_find(memory, kind->id, view_of(guard->name), &first) ||
      (guard->open_bytes > 0 && !arena_find(memory, kind->id | ARENA_WRITABLE, view_of(guard->name), &open)))
    return status_set(status, NINES_ENOTFOUND, "%s \"%s\" is gone from %s", kind->noun, guard->name, attachment->path);
  char *shared = arena_at(memory, first.offset);
  struct guard_table *table = NULL;
  // Before the stripes: no thread shall take one by a number of elsewhere.
  guard->writers_id = attachment->mapping->writers.id;
  if (kind->stripe_bytes > 0) {
    table = (struct guard_table *)(void *)(shared + first.size_bytes - sizeof *table);
    take_stripes(guard, attachment->mapping, table);
  }
  guard->table = table;
  guard->open = open.size_bytes > 0 ? arena_at(memory, open.offset) : NULL;
  guard->open_bytes = open.size_bytes;
  guard->shared = shared;
  atomic_store_explicit(&guard->bound, true, memory_order_release);
  atomic_store_explicit(&guard->lost_ns, clock_now_ns() + attachment->keep_ns, memory_order_release);
  return 0;
}

static int handle(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                  struct guard **out, struct status *status)
{
  void *shared, *stripe;
  int code = guards_name_check(arena, kind, name, status);
  if (code == 0 && config) code = guards_check(kind, name, config, status);
  if (code < 0) return code;
  struct guard *guard = guards_handle(arena, kind, name);
  char *scratch = guard ? guards_scratch(kind, config, &shared, &stripe) : NULL;
  if (scratch) {
    guard->scratch = scratch;
    guard->shared = shared;
    atomic_store_explicit(&guard->stripes[WRITER_SHARED], stripe, memory_order_relaxed);
    atomic_store_explicit(&guard->lost_ns, INT64_MIN, memory_order_relaxed);
    guard->open_bytes = kind->parts.open_bytes;
    struct status ignored = { 0 };
    guard->arena = NULL;                                      // scratch, which a breaker must not look for its keys in
    kind->set(guard, config, true, clock_now_ns(), &ignored); // a limiter has no defaults: it stays zero
    guard->arena = arena;
    code = guards_enter(arena, guard);
  }
  if (!scratch || code < 0) {
    if (guard) guards_drop_handle(guard);
    return status_set(status, NINES_ENOMEM, "out of memory for %s \"%s\"", kind->noun, name);
  }
  *out = guard;
  return 0;
}

static size_t config_size(const struct guard_kind *kind, const void *config)
{
  size_t size = kind == &histogram_kind ? kind->config_bytes : *(const size_t *)config;
  return size < kind->config_bytes ? size : kind->config_bytes;
}

static void set_wish(struct guard *guard, void *wish)
{
  guard->wish = wish;
  guard->lost = 0;
  if (wish && guard->kind->lost_at) memcpy(&guard->lost, (char *)wish + guard->kind->lost_at, sizeof guard->lost);
}

// Returns what it was before.
static void *remember(struct guard *guard, const void *config)
{
  const struct guard_kind *kind = guard->kind;
  void *before = guard->wish;
  guard->wish = mem_must(kind->config_bytes);
  memcpy(guard->wish, config, config_size(kind, config));
  if (kind != &histogram_kind) memcpy(guard->wish, &kind->config_bytes, sizeof kind->config_bytes);
  set_wish(guard, guard->wish);
  return before;
}

int attachment_get(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                   struct guard **out)
{
  struct attachment *attachment = attachment_of(arena);
  struct status *status = &arena->status;
  struct guard *guard = guards_find(arena, kind, name);
  *out = guard;
  if (guard && !config && atomic_load_explicit(&guard->bound, memory_order_relaxed)) return 0;
  if (kind->config_bytes == 0 && config)
    return status_set(status, NINES_EDENIED, "a %s is set by its engine, not by an attached process", kind->noun);
  bool made = !guard;
  int code = guard ? 0 : handle(arena, kind, name, config, &guard, status);
  if (code < 0) return code;
  void *before = config ? remember(guard, config) : NULL;
  int64_t until_ns = clock_now_ns() + attachment->wait_ns;
  code = await_beat(attachment, until_ns, status);
  if (code == 0) code = await_number(attachment, answer_by(attachment), status);
  if (code == 0) code = post(attachment, kind, name, guard->wish, answer_by(attachment), status);
  if (code == 0) code = bind(guard, status);
  if (config && !made && code < 0 && code != NINES_ETIMEOUT) { // refused: what was good is sent to the next engine
    mem_free(guard->wish);
    set_wish(guard, before);
  } else {
    mem_free(before);
  }
  // It answers by its default until the engine is there, and a fold has found it.
  if (code == NINES_ETIMEOUT && attachment->without_engine) code = 0;
  if (code < 0 && made) return code; // the handle stays, for another _get
  *out = guard;
  return code;
}

int nines_arena_engine(const nines_arena *arena, int64_t now_ns)
{
  const struct attachment *attachment = attachment_of(arena);
  if (!attachment) return NINES_ENGINE_THERE;
  if (!attachment->mapping) return NINES_ENGINE_LOST;
  const struct pulse *pulse = attachment->mapping->pulse;
  int64_t age_ns = now_ns - atomic_load_explicit(&pulse->beat_ns, memory_order_acquire);
  if (age_ns < BEAT_LATE_NS && age_ns > -BEAT_LATE_NS &&
      atomic_load_explicit(&pulse->engine, memory_order_relaxed) != 0)
    return NINES_ENGINE_THERE;
  return age_ns < attachment->keep_ns ? NINES_ENGINE_GONE : NINES_ENGINE_LOST;
}

void attachment_fold(struct nines_arena *arena, int64_t now_ns)
{
  struct attachment *attachment = attachment_of(arena);
  (void)now_ns;
  struct mapping *mapping = attachment->mapping;
  bool beating = mapping && beats(mapping->pulse, BEAT_LATE_NS);
  bool fresh = !beating && (!mapping || arena_replaced(mapping->memory)) && map_engine(attachment, &arena->status) == 0;
  if (!beating && !fresh) return;
  int code = 0;
  bool numbered = false;
  // An engine that does not answer is asked for the rest by the next fold.
  for (uint32_t i = 0; i < arena->count && code != NINES_ETIMEOUT; i++) {
    struct guard *guard = arena->guards[i];
    if (atomic_load_explicit(&guard->bound, memory_order_relaxed) &&
        mapping_of(attachment, guard->shared) == attachment->mapping)
      continue;
    if (!numbered && await_number(attachment, answer_by(attachment), &arena->status) < 0) return;
    numbered = true;
    code = post(attachment, guard->kind, guard->name, guard->wish, answer_by(attachment), &arena->status);
    if (code == 0) bind(guard, &arena->status);
  }
}
