// Retries by name: nines.h over core/retry.h.

#include "retry.h"

#include "guards.h"

struct nines_retry {
  struct guard guard; // shared: struct retry; stripes: struct stripe
};

static struct retry_view view_of_retry(const struct guard *guard)
{
  return (struct retry_view){ guard->shared, (_Atomic(struct stripe *) *)(uintptr_t)guard->stripes };
}

static int retry_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)now_ns;
  return retry_set(guard->shared, config, fresh, status);
}

static bool retry_sound(const struct guard *guard)
{
  return retry_valid(guard->shared);
}

static void retry_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  struct retry_view view = view_of_retry(guard);
  retry_rebase(&view, then_ns, now_ns);
}

static void retry_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct retry_view view = view_of_retry(guard);
  retry_fold(&view, now_ns);
}

const struct guard_kind retry_kind = { .id = GUARD_RETRY,
                                       .noun = "retry",
                                       .config_bytes = sizeof(nines_retry_config),
                                       .handle_bytes = sizeof(struct nines_retry),
                                       .stripe_bytes = sizeof(struct stripe),
                                       .parts = { sizeof(struct retry), 0, 0 },
                                       .set = retry_apply,
                                       .valid = retry_sound,
                                       .rebase = retry_shift,
                                       .fold = retry_beat };

// --- nines.h

int nines_retry_get(nines_arena *arena, const char *name, const nines_retry_config *config, nines_retry **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &retry_kind, name, config, &guard);
  *out = (nines_retry *)guard;
  return code;
}

void nines_retry_call(nines_retry *retry, int64_t now_ns)
{
  struct retry_view view = view_of_retry(&retry->guard);
  retry_call(&view, guard_writer(&retry->guard), now_ns);
}

int64_t nines_retry_next(nines_retry *retry, uint32_t attempt, int64_t now_ns)
{
  guard_news(&retry->guard);
  struct retry_view view = view_of_retry(&retry->guard);
  uint32_t writer = guard_writer(&retry->guard);
  return retry_next(&view, writer, attempt, now_ns, guard_random(&retry->guard, writer));
}

int64_t nines_retry_hedge(nines_retry *retry, int64_t began_ns, int64_t now_ns)
{
  guard_news(&retry->guard);
  struct retry_view view = view_of_retry(&retry->guard);
  return retry_hedge(&view, guard_writer(&retry->guard), began_ns, now_ns);
}

double nines_retry_budget(const nines_retry *retry, int64_t now_ns)
{
  guard_news(&retry->guard);
  struct retry_view view = view_of_retry(&retry->guard);
  return retry_budget(&view, now_ns);
}
