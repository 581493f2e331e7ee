// Fault points by name: nines.h over core/fault.h.

#include "fault.h"

#include "guards.h"

struct nines_fault {
  struct guard guard; // shared: struct fault
};

// Settings come with an injection.
static int fault_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)config, (void)now_ns, (void)status;
  if (fresh) fault_init(guard->shared);
  return 0;
}

static bool fault_sound(const struct guard *guard)
{
  return fault_valid(guard->shared);
}

static void fault_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  fault_rebase(guard->shared, then_ns, now_ns);
}

static void fault_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  fault_fold(guard->shared, now_ns);
}

const struct guard_kind fault_kind = { .id = GUARD_FAULT,
                                       .noun = "fault point",
                                       .handle_bytes = sizeof(struct nines_fault),
                                       .parts = { offsetof(struct fault, own), offsetof(struct fault, apart),
                                                  sizeof(struct fault_open) },
                                       .set = fault_apply,
                                       .valid = fault_sound,
                                       .rebase = fault_shift,
                                       .fold = fault_beat };

// --- nines.h

int nines_fault_get(nines_arena *arena, const char *name, nines_fault **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &fault_kind, name, NULL, &guard);
  *out = (nines_fault *)guard;
  return code;
}

nines_fault_action nines_fault_ask(nines_fault *fault, const char *key, int64_t now_ns)
{
  if (!fault_armed(fault->guard.shared)) return (nines_fault_action){ NINES_FAULT_NONE, 0, 0 };
  if (guard_lost(&fault->guard, now_ns)) return (nines_fault_action){ NINES_FAULT_NONE, 0, 0 };
  uint64_t *random = guard_random(&fault->guard, writers_mine(fault->guard.arena->writers));
  return fault_strike(fault->guard.shared, key, now_ns, random);
}

int nines_fault_inject(nines_fault *fault, const nines_fault_config *config, int64_t now_ns)
{
  if (fault->guard.arena->attachment)
    return status_set(&fault->guard.arena->status, NINES_EDENIED,
                      "faults are injected by the engine, not by an attached process");
  return fault_inject(fault->guard.shared, config, now_ns, &fault->guard.arena->status);
}

void nines_fault_heal(nines_fault *fault)
{
  fault_heal(fault->guard.shared);
}

uint64_t nines_fault_count(const nines_fault *fault)
{
  return fault_count(fault->guard.shared);
}
