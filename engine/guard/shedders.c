// Shedders by name: nines.h over core/shedder.h.

#include "shedder.h"

#include "guards.h"

struct nines_shedder {
  struct guard guard; // shared: struct shedder
};

static struct shedder_view view_of_shedder(const struct guard *guard)
{
  return (struct shedder_view){ guard->shared, (_Atomic(struct shedder_stripe *) *)(uintptr_t)guard->stripes };
}

static int shedder_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)now_ns;
  return shedder_set(guard->shared, config, fresh, status);
}

static bool shedder_sound(const struct guard *guard)
{
  return shedder_valid(guard->shared);
}

static void shedder_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  struct shedder_view view = view_of_shedder(guard);
  shedder_rebase(&view, then_ns, now_ns);
}

static void shedder_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct shedder_view view = view_of_shedder(guard);
  shedder_fold(&view, now_ns);
}

static void shedder_orphaned(struct guard *guard)
{
  shedder_load(guard->shared, 0); // who told is gone
}

const struct guard_kind shedder_kind = { .id = GUARD_SHEDDER,
                                         .noun = "shedder",
                                         .config_bytes = sizeof(nines_shedder_config),
                                         .lost_at = offsetof(nines_shedder_config, lost),
                                         .handle_bytes = sizeof(struct nines_shedder),
                                         .stripe_bytes = sizeof(struct shedder_stripe),
                                         .parts = { offsetof(struct shedder, own), offsetof(struct shedder, apart),
                                                    sizeof(struct shedder_open) },
                                         .set = shedder_apply,
                                         .valid = shedder_sound,
                                         .rebase = shedder_shift,
                                         .fold = shedder_beat,
                                         .orphaned = shedder_orphaned };

// --- nines.h

int nines_shedder_get(nines_arena *arena, const char *name, const nines_shedder_config *config, nines_shedder **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &shedder_kind, name, config, &guard);
  *out = (nines_shedder *)guard;
  return code;
}

nines_permit nines_shedder_ask(nines_shedder *shedder, int criticality, int64_t now_ns)
{
  if (guard_lost(&shedder->guard, now_ns)) return guard_lost_permit(&shedder->guard, now_ns);
  struct shedder_view view = view_of_shedder(&shedder->guard);
  uint32_t writer = guard_writer(&shedder->guard);
  return shedder_ask(&view, writer, criticality, now_ns, guard_random(&shedder->guard, writer));
}

void nines_shedder_done(nines_shedder *shedder, nines_permit permit, int outcome, int64_t now_ns)
{
  if (permit.token == GUARD_LOST_TOKEN) return;
  struct shedder_view view = view_of_shedder(&shedder->guard);
  shedder_done(&view, guard_writer(&shedder->guard), permit, outcome, now_ns);
}

void nines_shedder_load(nines_shedder *shedder, double fullness)
{
  shedder_load(shedder->guard.shared, fullness);
}

void nines_shedder_put(nines_shedder *shedder, double percent)
{
  if (shedder->guard.arena->attachment)
    shedder_wish(shedder->guard.shared, percent);
  else
    shedder_put(shedder->guard.shared, percent);
}

double nines_shedder_share(const nines_shedder *shedder, int criticality)
{
  return shedder_share(shedder->guard.shared, criticality);
}

uint64_t nines_shedder_refused(const nines_shedder *shedder, int criticality)
{
  guard_news(&shedder->guard);
  struct shedder_view view = view_of_shedder(&shedder->guard);
  return shedder_refused(&view, criticality);
}
