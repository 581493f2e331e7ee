// Fallbacks by name: nines.h over core/fallback.h.

#include "fallback.h"

#include "guards.h"

struct nines_fallback {
  struct guard guard; // shared: struct fallback; stripes: struct stripe
};

static struct fallback_view view_of_fallback(const struct guard *guard)
{
  return (struct fallback_view){ guard->shared, (_Atomic(struct stripe *) *)(uintptr_t)guard->stripes };
}

static int fallback_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  return fallback_set(guard->shared, config, fresh, now_ns, status);
}

static bool fallback_sound(const struct guard *guard)
{
  return fallback_valid(guard->shared);
}

static void fallback_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  struct fallback_view view = view_of_fallback(guard);
  fallback_rebase(&view, then_ns, now_ns);
}

static void fallback_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct fallback_view view = view_of_fallback(guard);
  fallback_fold(&view, now_ns);
}

static void fallback_lost(struct guard *guard, uint32_t writers)
{
  struct fallback *fallback = guard->shared;
  bulkhead_forget(&fallback->bulkhead, writers);
}

const struct guard_kind fallback_kind = { .id = GUARD_FALLBACK,
                                          .noun = "fallback",
                                          .config_bytes = sizeof(nines_fallback_config),
                                          .handle_bytes = sizeof(struct nines_fallback),
                                          .stripe_bytes = sizeof(struct stripe),
                                          .parts = { offsetof(struct fallback, bulkhead.own),
                                                     offsetof(struct fallback, bulkhead.apart),
                                                     sizeof(struct bulkhead_open) },
                                          .set = fallback_apply,
                                          .valid = fallback_sound,
                                          .rebase = fallback_shift,
                                          .fold = fallback_beat,
                                          .forget = fallback_lost };

// --- nines.h

int nines_fallback_get(nines_arena *arena, const char *name, const nines_fallback_config *config, nines_fallback **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &fallback_kind, name, config, &guard);
  *out = (nines_fallback *)guard;
  return code;
}

void nines_fallback_call(nines_fallback *fallback, int64_t now_ns)
{
  struct fallback_view view = view_of_fallback(&fallback->guard);
  fallback_call(&view, guard_writer(&fallback->guard), now_ns);
}

nines_permit nines_fallback_enter(nines_fallback *fallback, int64_t now_ns)
{
  if (guard_lost(&fallback->guard, now_ns)) return guard_lost_permit(&fallback->guard, now_ns);
  struct fallback_view view = view_of_fallback(&fallback->guard);
  return fallback_enter(&view, guard_writer(&fallback->guard), writers_process(fallback->guard.arena->writers), now_ns);
}

void nines_fallback_leave(nines_fallback *fallback, nines_permit permit)
{
  struct fallback_view view = view_of_fallback(&fallback->guard);
  fallback_leave(&view, permit);
}

double nines_fallback_share(const nines_fallback *fallback, int64_t now_ns)
{
  guard_news(&fallback->guard);
  struct fallback_view view = view_of_fallback(&fallback->guard);
  return fallback_share(&view, now_ns);
}
