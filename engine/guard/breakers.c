// Breakers by name: nines.h over core/breaker.h and core/keyed_breaker.h.
//
// A breaker with keys is two guards of one name: the breaker itself, which callers without a key ask, and the table.
#include "breakers.h"

#include <stddef.h>

static struct breaker_view view_of_breaker(struct guard *guard)
{
  return (struct breaker_view){ guard->shared, (_Atomic(struct breaker_stripe *) *)guard->stripes };
}

static int breaker_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  static const nines_breaker_config defaults = { .size = sizeof defaults };
  const nines_breaker_config *wanted = config ? config : &defaults;
  int code = 0;
  if (wanted->keys > 0 && !guard->arena) code = guards_check(&keyed_breaker_kind, guard->name, wanted, status);
  if (wanted->keys > 0 && guard->arena) { // the table first: when it is refused, so is all of it
    code = guards_check(&breaker_kind, guard->name, wanted, status);
    nines_breaker *breaker = (nines_breaker *)guard;
    if (code == 0)
      code = guards_declare(guard->arena, &keyed_breaker_kind, guard->name, wanted, &breaker->keys, status);
  }
  return code < 0 ? code : breaker_set(guard->shared, wanted, fresh, now_ns, status);
}

static bool breaker_sound(const struct guard *guard)
{
  return breaker_valid(guard->shared);
}

static void breaker_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  struct breaker_view view = view_of_breaker(guard);
  breaker_rebase(&view, then_ns, now_ns);
}

static void breaker_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  struct breaker_view view = view_of_breaker(guard);
  breaker_fold(&view, now_ns, random);
}

static void breaker_orphaned(struct guard *guard)
{
  struct breaker_view view = view_of_breaker(guard);
  breaker_orphan(&view);
}

static void breaker_lost(struct guard *guard, uint32_t writers)
{
  struct breaker_view view = view_of_breaker(guard);
  breaker_forget(&view, writers);
}

const struct guard_kind breaker_kind = { .id = GUARD_BREAKER,
                                         .noun = "breaker",
                                         .config_bytes = sizeof(nines_breaker_config),
                                         .lost_at = offsetof(nines_breaker_config, lost),
                                         .handle_bytes = sizeof(struct nines_breaker),
                                         .stripe_bytes = sizeof(struct breaker_stripe),
                                         .shared_stripe_bytes = offsetof(struct breaker_stripe, latency),
                                         .parts = { offsetof(struct breaker, own), offsetof(struct breaker, apart),
                                                    sizeof(struct circuit) },
                                         .set = breaker_apply,
                                         .valid = breaker_sound,
                                         .rebase = breaker_shift,
                                         .fold = breaker_beat,
                                         .orphaned = breaker_orphaned,
                                         .forget = breaker_lost };

static struct guard_parts keyed_parts(const void *config)
{
  uint32_t keys = config ? ((const nines_breaker_config *)config)->keys : 0;
  if (keys > KEYED_BREAKER_MAX) keys = 0; // refused by _set
  size_t open_bytes = keyed_breaker_open_size(keys);
  return (struct guard_parts){ keyed_breaker_size(keys) - open_bytes, keyed_breaker_apart_at, open_bytes };
}

static int keyed_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  if (!config) return status_set(status, NINES_EINVAL, "a keyed breaker needs settings: give keys");
  uint64_t seed = guard->arena ? guard->arena->random[WRITER_LOOP][0] : 1;
  return keyed_breaker_set(guard->shared, config, seed, fresh, now_ns, status);
}

static bool keyed_sound(const struct guard *guard)
{
  size_t none = keyed_breaker_open_size(0), one = keyed_breaker_open_size(1) - none;
  return keyed_breaker_valid(guard->shared, (uint32_t)((guard->open_bytes - none) / one));
}

static void keyed_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  keyed_breaker_rebase(guard->shared, then_ns, now_ns);
}

static void keyed_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  keyed_breaker_fold(guard->shared, now_ns, random);
}

static void keyed_orphaned(struct guard *guard)
{
  keyed_breaker_orphan(guard->shared);
}

const struct guard_kind keyed_breaker_kind = { .id = GUARD_KEYED_BREAKER,
                                               .noun = "keyed breaker",
                                               .config_bytes = sizeof(nines_breaker_config),
                                               .handle_bytes = sizeof(struct guard),
                                               .parts_for = keyed_parts,
                                               .set = keyed_apply,
                                               .valid = keyed_sound,
                                               .rebase = keyed_shift,
                                               .fold = keyed_beat,
                                               .orphaned = keyed_orphaned };

// --- nines.h

int nines_breaker_get(nines_arena *arena, const char *name, const nines_breaker_config *config, nines_breaker **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &breaker_kind, name, config, &guard);
  *out = (nines_breaker *)guard;
  if (code < 0 || (*out)->keys) return code;
  struct arena_slot table; // of an earlier life, whose settings hold
  if (!arena->memory || !arena_find(arena->memory, GUARD_KEYED_BREAKER, view_of(name), &table)) return 0;
  return guards_get(arena, &keyed_breaker_kind, name, NULL, &(*out)->keys);
}

static __attribute__((noinline)) nines_permit ask_otherwise(nines_breaker *breaker, int64_t now_ns)
{
  struct breaker_view view = view_of_breaker(&breaker->guard);
  uint32_t writer = guard_writer(&breaker->guard);
  guard_news(&breaker->guard);
  return breaker_ask(&view, writer, now_ns, guard_random(&breaker->guard, writer));
}

nines_permit nines_breaker_ask(nines_breaker *breaker, int64_t now_ns)
{
  if (guard_lost(&breaker->guard, now_ns)) return guard_lost_permit(&breaker->guard, now_ns);
  struct breaker *shared = breaker->guard.shared;
  uint32_t writer = writers_number(breaker->guard.writers_id);
  struct breaker_stripe *stripe = atomic_load_explicit(&breaker->guard.stripes[writer], memory_order_acquire);
  nines_permit permit;
  if (__builtin_expect(stripe && breaker_ask_plainly(shared, stripe, writer, now_ns, &permit), 1)) return permit;
  return ask_otherwise(breaker, now_ns);
}

nines_permit nines_breaker_ask_key(nines_breaker *breaker, const void *key, size_t size, int64_t now_ns)
{
  if (!breaker->keys || guard_lost(&breaker->guard, now_ns)) return nines_breaker_ask(breaker, now_ns);
  uint64_t *random = guard_random(&breaker->guard, guard_writer(&breaker->guard));
  return keyed_breaker_ask(breaker->keys->shared, key, size, now_ns, random);
}

static __attribute__((noinline)) void done_otherwise(nines_breaker *breaker, nines_permit permit, int outcome,
                                                     int64_t now_ns)
{
  if (permit.token == GUARD_LOST_TOKEN) return;
  uint32_t writer = guard_writer(&breaker->guard);
  uint64_t *random = guard_random(&breaker->guard, writer);
  guard_news(&breaker->guard);
  if (keyed_breaker_permit(permit)) {
    if (breaker->keys) keyed_breaker_done(breaker->keys->shared, permit, outcome, now_ns, random);
    return;
  }
  struct breaker_view view = view_of_breaker(&breaker->guard);
  breaker_done(&view, writer, permit, outcome, now_ns, random);
}

void nines_breaker_done(nines_breaker *breaker, nines_permit permit, int outcome, int64_t now_ns)
{
  struct breaker *shared = breaker->guard.shared;
  uint32_t writer = writers_number(breaker->guard.writers_id);
  struct breaker_stripe *stripe = atomic_load_explicit(&breaker->guard.stripes[writer], memory_order_acquire);
  if (__builtin_expect(!stripe || !breaker_done_plainly(shared, stripe, permit, outcome, now_ns), 0))
    done_otherwise(breaker, permit, outcome, now_ns);
}

int nines_breaker_state(const nines_breaker *breaker)
{
  const struct breaker *shared = breaker->guard.shared;
  return circuit_word_state(circuit_load(breaker_circuit(shared)));
}

void nines_breaker_put(nines_breaker *breaker, int state, int64_t hold_ns, int64_t now_ns)
{
  struct breaker_view view = view_of_breaker(&breaker->guard);
  breaker_put(&view, state, hold_ns, now_ns);
}

void nines_breaker_reset(nines_breaker *breaker, int64_t now_ns)
{
  struct breaker_view view = view_of_breaker(&breaker->guard);
  breaker_reset(&view, now_ns);
}

void nines_breaker_read(nines_breaker *breaker, int64_t now_ns, nines_breaker_reading *out)
{
  guard_news(&breaker->guard);
  struct breaker_view view = view_of_breaker(&breaker->guard);
  breaker_read(&view, now_ns, out);
}
