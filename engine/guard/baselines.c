// Baselines by name, and the averages that live in the caller's memory: nines.h over core/baseline.h, ewma.h and
// change_point.h.

#include "baseline.h"

#include "change_point.h"
#include "ewma.h"
#include "guards.h"

struct nines_baseline {
  struct guard guard; // shared: struct baseline
};

static int baseline_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)guard, (void)config, (void)fresh, (void)now_ns, (void)status; // all zero is the start, and nothing is set
  return 0;
}

static bool baseline_sound(const struct guard *guard)
{
  return baseline_valid(guard->shared);
}

const struct guard_kind baseline_kind = { .id = GUARD_BASELINE,
                                          .noun = "baseline",
                                          .handle_bytes = sizeof(struct nines_baseline),
                                          .parts = { sizeof(struct baseline), 0, 0 },
                                          .set = baseline_apply,
                                          .valid = baseline_sound };

// --- nines.h

int nines_baseline_get(nines_arena *arena, const char *name, nines_baseline **out)
{
  struct guard *guard = NULL;
  *out = NULL;
  if (arena->attachment)
    return status_set(&arena->status, NINES_EDENIED, "baselines are learned by the engine, not by an attached process");
  int code = guards_get(arena, &baseline_kind, name, NULL, &guard);
  *out = (nines_baseline *)guard;
  return code;
}

void nines_baseline_add(nines_baseline *baseline, double value, int64_t wall_ns)
{
  baseline_add(baseline->guard.shared, value, wall_ns);
}

int nines_baseline_read(const nines_baseline *baseline, int64_t wall_ns, double floor, double *median,
                        double *deviation)
{
  return baseline_read(baseline->guard.shared, wall_ns, floor, median, deviation);
}

void nines_ewma_add(nines_ewma *ewma, double value, int64_t half_life_ns, int64_t now_ns)
{
  ewma_add(ewma, value, half_life_ns, now_ns);
}

int nines_change_add(nines_change *change, double standardised, int64_t now_ns, int64_t *onset_ns)
{
  return change_point_add(change, standardised, now_ns, onset_ns);
}
