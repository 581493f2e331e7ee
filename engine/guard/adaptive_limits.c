// Adaptive limits by name: nines.h over core/adaptive_limit.h.

#include "adaptive_limit.h"

#include "guards.h"

struct nines_adaptive_limit {
  struct guard guard; // shared: struct adaptive_limit; stripes: struct meter
};

static struct adaptive_limit_view view_of_limit(const struct guard *guard)
{
  return (struct adaptive_limit_view){ guard->shared, (_Atomic(struct meter *) *)(uintptr_t)guard->stripes };
}

static int limit_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  static const nines_adaptive_limit_config defaults = { .size = sizeof defaults };
  return adaptive_limit_set(guard->shared, config ? config : &defaults, fresh, now_ns, status);
}

static bool limit_sound(const struct guard *guard)
{
  return adaptive_limit_valid(guard->shared);
}

static void limit_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  adaptive_limit_rebase(guard->shared, then_ns, now_ns);
}

static void limit_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct adaptive_limit_view view = view_of_limit(guard);
  adaptive_limit_fold(&view, now_ns);
}

static void limit_lost(struct guard *guard, uint32_t writers)
{
  struct adaptive_limit *limit = guard->shared;
  bulkhead_forget(&limit->bulkhead, writers);
}

const struct guard_kind adaptive_limit_kind = { .id = GUARD_ADAPTIVE_LIMIT,
                                                .noun = "adaptive limit",
                                                .config_bytes = sizeof(nines_adaptive_limit_config),
                                                .lost_at = offsetof(nines_adaptive_limit_config, lost),
                                                .handle_bytes = sizeof(struct nines_adaptive_limit),
                                                .stripe_bytes = sizeof(struct meter),
                                                .parts = { offsetof(struct adaptive_limit, bulkhead.own),
                                                           offsetof(struct adaptive_limit, bulkhead.apart),
                                                           sizeof(struct bulkhead_open) },
                                                .set = limit_apply,
                                                .valid = limit_sound,
                                                .rebase = limit_shift,
                                                .fold = limit_beat,
                                                .forget = limit_lost };

static const struct bulkhead *places(const nines_adaptive_limit *limit)
{
  return &((const struct adaptive_limit *)limit->guard.shared)->bulkhead;
}

// --- nines.h

int nines_adaptive_limit_get(nines_arena *arena, const char *name, const nines_adaptive_limit_config *config,
                             nines_adaptive_limit **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &adaptive_limit_kind, name, config, &guard);
  *out = (nines_adaptive_limit *)guard;
  return code;
}

nines_permit nines_adaptive_limit_ask(nines_adaptive_limit *limit, int64_t now_ns)
{
  if (guard_lost(&limit->guard, now_ns)) return guard_lost_permit(&limit->guard, now_ns);
  struct adaptive_limit_view view = view_of_limit(&limit->guard);
  return adaptive_limit_ask(&view, writers_process(limit->guard.arena->writers), now_ns);
}

void nines_adaptive_limit_done(nines_adaptive_limit *limit, nines_permit permit, int outcome, int64_t now_ns)
{
  if (permit.token == GUARD_LOST_TOKEN) return;
  struct adaptive_limit_view view = view_of_limit(&limit->guard);
  adaptive_limit_done(&view, guard_writer(&limit->guard), permit, outcome, now_ns);
}

uint32_t nines_adaptive_limit_now(const nines_adaptive_limit *limit)
{
  return bulkhead_limit(places(limit));
}

uint32_t nines_adaptive_limit_inside(const nines_adaptive_limit *limit)
{
  return bulkhead_inside(places(limit));
}

uint64_t nines_adaptive_limit_refused(const nines_adaptive_limit *limit)
{
  return bulkhead_refused(places(limit));
}
