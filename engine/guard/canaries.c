// Canaries by name: nines.h over core/canary.h.

#include "canary.h"

#include "guards.h"

struct nines_canary {
  struct guard guard; // shared: struct canary
};

static struct canary_view view_of_canary(const struct guard *guard)
{
  return (struct canary_view){ guard->shared, (_Atomic(struct canary_stripe *) *)(uintptr_t)guard->stripes };
}

static int canary_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  static const nines_canary_config defaults = { .size = sizeof defaults };
  return canary_set(guard->shared, config ? config : &defaults, fresh, now_ns, status);
}

static bool canary_sound(const struct guard *guard)
{
  return canary_valid(guard->shared);
}

static void canary_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  canary_rebase(guard->shared, then_ns, now_ns);
}

static void canary_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct canary_view view = view_of_canary(guard);
  canary_fold(&view, now_ns);
}

const struct guard_kind canary_kind = { .id = GUARD_CANARY,
                                        .noun = "canary",
                                        .config_bytes = sizeof(nines_canary_config),
                                        .handle_bytes = sizeof(struct nines_canary),
                                        .stripe_bytes = sizeof(struct canary_stripe),
                                        .parts = { offsetof(struct canary, own), offsetof(struct canary, apart),
                                                   sizeof(struct canary_open) },
                                        .set = canary_apply,
                                        .valid = canary_sound,
                                        .rebase = canary_shift,
                                        .fold = canary_beat };

// --- nines.h

int nines_canary_get(nines_arena *arena, const char *name, const nines_canary_config *config, nines_canary **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &canary_kind, name, config, &guard);
  *out = (nines_canary *)guard;
  return code;
}

void nines_canary_begin(nines_canary *canary, int64_t now_ns)
{
  struct canary_view view = view_of_canary(&canary->guard);
  canary_begin(&view, now_ns);
}

void nines_canary_record(nines_canary *canary, int arm, int outcome, int64_t duration_ns)
{
  struct canary_view view = view_of_canary(&canary->guard);
  canary_record(&view, guard_writer(&canary->guard), arm, outcome, duration_ns);
}

void nines_canary_read(const nines_canary *canary, nines_canary_reading *out)
{
  canary_read(canary->guard.shared, out);
}
