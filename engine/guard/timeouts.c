// Timeouts by name: nines.h over core/timeout.h.

#include "timeout.h"

#include "guards.h"

struct nines_timeout {
  struct guard guard; // shared: struct timeout
};

static int timeout_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)now_ns;
  return timeout_set(guard->shared, config, fresh, status);
}

static bool timeout_sound(const struct guard *guard)
{
  return timeout_valid(guard->shared);
}

const struct guard_kind timeout_kind = { .id = GUARD_TIMEOUT,
                                         .noun = "timeout",
                                         .config_bytes = sizeof(nines_timeout_config),
                                         .handle_bytes = sizeof(struct nines_timeout),
                                         .parts = { offsetof(struct timeout, own), offsetof(struct timeout, apart),
                                                    sizeof(struct timeout_open) },
                                         .set = timeout_apply,
                                         .valid = timeout_sound };

// --- nines.h

int nines_timeout_get(nines_arena *arena, const char *name, const nines_timeout_config *config, nines_timeout **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &timeout_kind, name, config, &guard);
  *out = (nines_timeout *)guard;
  return code;
}

int64_t nines_timeout_deadline(const nines_timeout *timeout, int64_t caller_ns, int64_t now_ns)
{
  return timeout_deadline(timeout->guard.shared, caller_ns, now_ns);
}

void nines_timeout_done(nines_timeout *timeout, int timed_out)
{
  timeout_done(timeout->guard.shared, timed_out != 0);
}

uint64_t nines_timeout_count(const nines_timeout *timeout)
{
  return timeout_count(timeout->guard.shared);
}
