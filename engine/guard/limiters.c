// Limiters by name: nines.h over core/limiter.h.

#include "limiter.h"

#include "guards.h"

#define LOST_AGAIN_NS INT64_C(1000000000)

struct nines_limiter {
  struct guard guard; // shared: struct limiter
};

static int limiter_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  if (!config)
    return status_set(status, NINES_EINVAL, "limiter \"%s\" is not there yet, and has no default rate: give a config",
                      guard->name);
  return limiter_set(guard->shared, config, fresh, now_ns, status);
}

static bool limiter_sound(const struct guard *guard)
{
  return limiter_valid(guard->shared);
}

static void limiter_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  limiter_rebase(guard->shared, then_ns, now_ns);
}

const struct guard_kind limiter_kind = { .id = GUARD_LIMITER,
                                         .noun = "limiter",
                                         .config_bytes = sizeof(nines_limiter_config),
                                         .lost_at = offsetof(nines_limiter_config, lost),
                                         .handle_bytes = sizeof(struct nines_limiter),
                                         .parts = { offsetof(struct limiter, own), offsetof(struct limiter, apart),
                                                    sizeof(struct limiter_open) },
                                         .set = limiter_apply,
                                         .valid = limiter_sound,
                                         .rebase = limiter_shift };

// --- nines.h

int nines_limiter_get(nines_arena *arena, const char *name, const nines_limiter_config *config, nines_limiter **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &limiter_kind, name, config, &guard);
  *out = (nines_limiter *)guard;
  return code;
}

int64_t nines_limiter_ask(nines_limiter *limiter, double cost, int64_t now_ns)
{
  if (guard_lost(&limiter->guard, now_ns)) return limiter->guard.lost == NINES_LOST_REFUSE ? -LOST_AGAIN_NS : 0;
  return limiter_ask(limiter->guard.shared, cost, now_ns);
}

double nines_limiter_available(const nines_limiter *limiter, int64_t now_ns)
{
  return limiter_available(limiter->guard.shared, now_ns);
}

void nines_limiter_drain(nines_limiter *limiter, int64_t now_ns)
{
  limiter_drain(limiter->guard.shared, now_ns);
}

uint64_t nines_limiter_refused(const nines_limiter *limiter)
{
  return limiter_refused(limiter->guard.shared);
}
