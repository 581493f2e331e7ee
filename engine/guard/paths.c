// Critical paths by name, for whoever records: nines.h over core/meter.h.

#include "paths.h"

static int path_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  struct path_rule *rule = guard->shared;
  (void)config, (void)fresh, (void)now_ns, (void)status;
  atomic_store_explicit(&rule->made, 1, memory_order_relaxed);
  return 0;
}

static bool path_sound(const struct guard *guard)
{
  const struct path_rule *rule = guard->shared;
  return atomic_load_explicit(&rule->made, memory_order_relaxed) == 1;
}

const struct guard_kind path_kind = { .id = GUARD_PATH,
                                      .noun = "critical path",
                                      .count_max = PATH_GUARDS_MAX,
                                      .handle_bytes = sizeof(struct nines_path),
                                      .stripe_bytes = sizeof(struct meter),
                                      .parts = { sizeof(struct path_rule), 0, 0 },
                                      .set = path_apply,
                                      .valid = path_sound };

// --- nines.h

int nines_arena_path(nines_arena *arena, const char *name, nines_path **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &path_kind, name, NULL, &guard);
  *out = (nines_path *)guard;
  return code;
}

void nines_path_record(nines_path *path, int ok, int64_t duration_ns)
{
  uint32_t writer = writers_number(path->guard.writers_id);
  int64_t slow_over_ns = path_slow_ns(path);
  struct meter *meter = path_meter_of(path, writer);
  if (__builtin_expect(meter && writer != WRITER_SHARED, 1)) {
    meter_record(meter, ok != 0, duration_ns, slow_over_ns, 1);
    return;
  }
  writer = guard_writer(&path->guard);
  meter = path_meter_of(path, writer);
  if (writer != WRITER_SHARED)
    meter_record(meter, ok != 0, duration_ns, slow_over_ns, 1);
  else
    meter_record_shared(meter, ok != 0, duration_ns, slow_over_ns, 1);
}
