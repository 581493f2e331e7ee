// Flags by name. Asking is a load: rules, variants and rollouts will be published as blobs beside the word.

#include "flags.h"

struct nines_flag {
  struct guard guard; // shared: struct flag_word
  int otherwise;
};

struct flag_word {
  _Atomic uint32_t state; // FLAG_*
};

static _Atomic uint32_t *state_of(const struct guard *guard)
{
  return &((struct flag_word *)guard->shared)->state;
}

static int flag_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)config, (void)now_ns, (void)status;
  if (fresh) atomic_store_explicit(state_of(guard), FLAG_UNKNOWN, memory_order_relaxed);
  return 0;
}

static bool flag_sound(const struct guard *guard)
{
  uint32_t state = atomic_load_explicit(state_of(guard), memory_order_relaxed);
  return state >= FLAG_UNKNOWN && state <= FLAG_ON;
}

const struct guard_kind flag_kind = { .id = GUARD_FLAG,
                                      .noun = "flag",
                                      .handle_bytes = sizeof(struct nines_flag),
                                      .parts = { sizeof(struct flag_word), 0, 0 },
                                      .set = flag_apply,
                                      .valid = flag_sound };

void flag_publish(struct guard *guard, bool on)
{
  atomic_store_explicit(state_of(guard), on ? FLAG_ON : FLAG_OFF, memory_order_release);
}

void flag_withdraw(struct guard *guard)
{
  atomic_store_explicit(state_of(guard), FLAG_UNKNOWN, memory_order_release);
}

// --- nines.h

int nines_flag_get(nines_arena *arena, const char *name, int otherwise, nines_flag **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &flag_kind, name, NULL, &guard);
  *out = (nines_flag *)guard;
  if (guard) (*out)->otherwise = otherwise != 0;
  return code;
}

int nines_flag_on(const nines_flag *flag, int64_t now_ns)
{
  uint32_t state = atomic_load_explicit(state_of(&flag->guard), memory_order_relaxed);
  if (state <= FLAG_UNKNOWN || guard_lost(&flag->guard, now_ns)) return flag->otherwise;
  return state == FLAG_ON;
}
