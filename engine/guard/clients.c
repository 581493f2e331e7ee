// Order matters in two places. A number becomes free only after all guards have forgotten its dead owner: whoever
// claims it next must not lose what he does. And an engine that starts looks who lives before it makes any guard,
// adopts what the living use, and sets its pulse last: from then on new clients come.
#include "clients.h"

#include <string.h>

#include "attach_door.h"
#include "mem.h"

#define SWEEP_NS INT64_C(200000000)

struct clients {
  struct door *door;
  struct pulse *pulse;
  uint64_t self;
  int64_t swept_ns;
  uint64_t granted, refused, buried;
};

static void *object(struct arena *memory, uint32_t kind, const char *name, size_t bytes, struct status *status)
{
  struct arena_slot slot;
  return arena_object(memory, kind, view_of(name), bytes, &slot, status) < 0 ? NULL : arena_at(memory, slot.offset);
}

struct writer_claims *clients_claims(struct arena *memory, struct status *status)
{
  struct door *door = object(memory, ARENA_DOOR, "door", sizeof *door, status);
  return door ? &door->claims : NULL;
}

static uint64_t owner_of(const struct clients *clients, uint32_t writer)
{
  return atomic_load_explicit(&clients->door->claims.owner[writer], memory_order_acquire);
}

static void set_free(struct clients *clients, uint32_t writer, uint64_t owner)
{
  atomic_store_explicit(&clients->door->wanted[writer], 0, memory_order_relaxed);
  atomic_store_explicit(&clients->door->mail[writer].state, MAIL_NONE, memory_order_relaxed);
  atomic_compare_exchange_strong_explicit(&clients->door->claims.owner[writer], &owner, 0, memory_order_release,
                                          memory_order_relaxed);
}

// Who holds the numbers; of these, as bits, those of clients that live. This very process may be attached, too.
static uint32_t look_around(const struct clients *clients, const struct writers *writers, uint64_t found[WRITERS_MAX])
{
  uint32_t living = 0, beside = writers_held_beside(writers);
  for (uint32_t writer = WRITER_FIRST; writer < WRITERS_MAX; writer++) {
    found[writer] = owner_of(clients, writer);
    bool lives = found[writer] == clients->self ? beside >> writer & 1 : found[writer] && process_lives(found[writer]);
    if (lives) living |= 1u << writer;
  }
  return living;
}

int clients_open(struct nines_arena *arena, int64_t now_ns, struct status *status)
{
  uint64_t found[WRITERS_MAX];
  struct clients *clients = mem_must(sizeof *clients);
  clients->door = object(arena->memory, ARENA_DOOR, "door", sizeof *clients->door, status);
  clients->pulse = object(arena->memory, ARENA_PULSE, "pulse", sizeof *clients->pulse, status);
  if (!clients->door || !clients->pulse) {
    mem_free(clients);
    return status->code;
  }
  clients->self = process_identity();
  arena->living = look_around(clients, arena->writers, found);
  arena->clients = clients;
  if (arena->living) guards_adopt(arena);
  for (uint32_t writer = WRITER_FIRST; writer < WRITERS_MAX; writer++) {
    uint32_t held = atomic_load_explicit(&arena->writers->held, memory_order_relaxed); // in this life
    // What was free then may have been claimed since.
    if (found[writer] && !((arena->living | held) >> writer & 1)) set_free(clients, writer, found[writer]);
  }
  atomic_store_explicit(&clients->pulse->engine, clients->self, memory_order_relaxed);
  atomic_store_explicit(&clients->pulse->beat_ns, now_ns, memory_order_release);
  return 0;
}

void clients_close(struct nines_arena *arena)
{
  if (!arena->clients) return;
  atomic_store_explicit(&arena->clients->pulse->engine, 0, memory_order_release);
  mem_free(arena->clients);
  arena->clients = NULL;
}

void clients_tell(struct clients *clients)
{
  atomic_fetch_add_explicit(&clients->pulse->stripes, 1, memory_order_release);
}

// --- wishes

static void answer(struct clients *clients, struct mail *mail, uint32_t posted, int code, const char *text)
{
  if (code < 0)
    clients->refused++;
  else
    clients->granted++;
  mail->code = code;
  size_t size = strlen(text);
  if (size >= sizeof mail->text) size = sizeof mail->text - 1;
  memcpy(mail->text, text, size);
  mail->text[size] = '\0';
  // Unless its client has given up waiting.
  atomic_compare_exchange_strong_explicit(&mail->state, &posted, posted - MAIL_POSTED + MAIL_ANSWERED,
                                          memory_order_release, memory_order_relaxed);
}

static int grant(struct nines_arena *arena, const struct mail *wish, struct status *status)
{
  // Aligned for any config.
  _Alignas(16) char config[MAIL_CONFIG_BYTES];
  const struct guard_kind *kind = guards_kind(wish->kind);
  struct guard *guard;
  if (!kind || !memchr(wish->name, '\0', sizeof wish->name))
    return status_set(status, NINES_EINVAL, "an attached process asked for what is no object");
  if (wish->config_bytes > sizeof config || (wish->config_bytes > 0 && wish->config_bytes != kind->config_bytes))
    return status_set(status, NINES_EVERSION,
                      "an attached process sent %u bytes of settings for %s \"%s\": it uses another version of nines",
                      wish->config_bytes, kind->noun, wish->name);
  memcpy(config, wish->config, sizeof config);
  if (wish->config_bytes >= sizeof(size_t) && kind != &histogram_kind) // whatever it says: all of it was sent
    memcpy(config, &(size_t){ kind->config_bytes }, sizeof(size_t));
  int code = guards_get(arena, kind, wish->name, wish->config_bytes > 0 ? config : NULL, &guard);
  if (code < 0) *status = arena->status;
  return code;
}

static void read_mail(struct nines_arena *arena, uint32_t writer)
{
  struct clients *clients = arena->clients;
  struct mail *mail = &clients->door->mail[writer], wish;
  struct status status = { 0 };
  uint32_t state = atomic_load_explicit(&mail->state, memory_order_acquire);
  if ((state & MAIL_STEP) != MAIL_POSTED) return;
  memcpy((void *)&wish, mail, sizeof wish);
  // It may have changed under our eyes: then it is no wish of anybody's.
  uint32_t posted = state;
  if (!atomic_compare_exchange_strong_explicit(&mail->state, &posted, state, memory_order_acq_rel,
                                               memory_order_relaxed))
    return;
  int code = grant(arena, &wish, &status);
  answer(clients, mail, state, code, status.text);
}

static void grant_stripe(struct nines_arena *arena, uint32_t writer)
{
  uint64_t wanted = atomic_load_explicit(&arena->clients->door->wanted[writer], memory_order_acquire);
  if (!wanted) return;
  for (uint32_t i = 0; i < arena->count; i++) {
    struct guard *guard = arena->guards[i];
    if (!guard->table || arena_offset(arena->memory, guard->shared) != wanted) continue;
    // Full: the thread goes on with the shared stripe, and asks again.
    guards_stripe(guard, writer, &arena->status);
    break;
  }
  atomic_store_explicit(&arena->clients->door->wanted[writer], 0, memory_order_release);
}

// --- the dead

// All numbers of this owner: what its threads counted makes sense only together.
static uint32_t numbers_of(const struct clients *clients, uint64_t owner)
{
  uint32_t numbers = 0;
  for (uint32_t writer = WRITER_FIRST; writer < WRITERS_MAX; writer++)
    if (owner_of(clients, writer) == owner) numbers |= 1u << writer;
  return numbers;
}

static void sweep(struct nines_arena *arena)
{
  struct clients *clients = arena->clients;
  uint64_t alive = 0; // the last looked up: a process has several numbers, side by side
  for (uint32_t writer = WRITER_FIRST; writer < WRITERS_MAX; writer++) {
    uint64_t owner = owner_of(clients, writer);
    if (!owner || owner == clients->self || owner == alive) continue;
    if (process_lives(owner)) {
      alive = owner;
      continue;
    }
    uint32_t numbers = numbers_of(clients, owner);
    guards_forget(arena, numbers);
    for (uint32_t number = WRITER_FIRST; number < WRITERS_MAX; number++)
      if (numbers >> number & 1) set_free(clients, number, owner);
    clients->buried++;
  }
}

void clients_serve(struct nines_arena *arena, int64_t now_ns)
{
  struct clients *clients = arena->clients;
  atomic_store_explicit(&clients->pulse->beat_ns, now_ns, memory_order_release);
  bool full = true;
  for (uint32_t writer = WRITER_FIRST; writer < WRITERS_MAX; writer++) {
    full = full && owner_of(clients, writer);
    if (!owner_of(clients, writer)) continue;
    read_mail(arena, writer);
    grant_stripe(arena, writer);
  }
  if (!full && now_ns - clients->swept_ns < SWEEP_NS) return;
  clients->swept_ns = now_ns;
  sweep(arena);
}

struct clients_usage clients_usage(const struct nines_arena *arena)
{
  const struct clients *clients = arena->clients;
  struct clients_usage usage = { .writers_max = WRITERS_MAX - WRITER_FIRST };
  uint64_t seen[WRITERS_MAX];
  if (!clients) return usage;
  for (uint32_t writer = WRITER_FIRST; writer < WRITERS_MAX; writer++) {
    uint64_t owner = owner_of(clients, writer);
    if (!owner) continue;
    usage.writers++;
    bool known = owner == clients->self || owner == WRITER_LEFT;
    for (uint32_t i = 0; i < usage.processes && !known; i++) known = seen[i] == owner;
    if (!known) seen[usage.processes++] = owner;
  }
  usage.granted = clients->granted;
  usage.refused = clients->refused;
  usage.buried = clients->buried;
  return usage;
}
