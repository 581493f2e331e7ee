// Bulkheads by name: nines.h over core/bulkhead.h, with the line of those who wait.
//
// A leave on the folding thread serves the line at once; from other threads it only frees the place, and the next fold
// serves.

#include "waitline.h"

#include "guards.h"

struct nines_bulkhead {
  struct guard guard; // shared: struct bulkhead
  struct waitline line;
};

static int bulkhead_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  static const nines_bulkhead_config defaults = { .size = sizeof defaults };
  return bulkhead_set(guard->shared, config ? config : &defaults, fresh, now_ns, status);
}

static bool bulkhead_sound(const struct guard *guard)
{
  return bulkhead_valid(guard->shared);
}

static void bulkhead_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  nines_bulkhead *bulkhead = (nines_bulkhead *)guard;
  if (bulkhead->line.waiting) waitline_serve(&bulkhead->line, guard->shared, WRITER_LOOP, now_ns);
}

static void bulkhead_opened(struct guard *guard)
{
  waitline_init(&((nines_bulkhead *)guard)->line);
}

static void bulkhead_closed(struct guard *guard)
{
  waitline_fini(&((nines_bulkhead *)guard)->line);
}

static void bulkhead_lost(struct guard *guard, uint32_t writers)
{
  bulkhead_forget(guard->shared, writers);
}

const struct guard_kind bulkhead_kind = { .id = GUARD_BULKHEAD,
                                          .noun = "bulkhead",
                                          .config_bytes = sizeof(nines_bulkhead_config),
                                          .lost_at = offsetof(nines_bulkhead_config, lost),
                                          .handle_bytes = sizeof(struct nines_bulkhead),
                                          .parts = { offsetof(struct bulkhead, own), offsetof(struct bulkhead, apart),
                                                     sizeof(struct bulkhead_open) },
                                          .set = bulkhead_apply,
                                          .valid = bulkhead_sound,
                                          .fold = bulkhead_beat,
                                          .opened = bulkhead_opened,
                                          .closed = bulkhead_closed,
                                          .forget = bulkhead_lost };

// --- nines.h

int nines_bulkhead_get(nines_arena *arena, const char *name, const nines_bulkhead_config *config, nines_bulkhead **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &bulkhead_kind, name, config, &guard);
  *out = (nines_bulkhead *)guard;
  return code;
}

// Cells need no stripe: any number is the process's own, WRITER_SHARED everybody's.
nines_permit nines_bulkhead_enter(nines_bulkhead *bulkhead, int64_t now_ns)
{
  if (guard_lost(&bulkhead->guard, now_ns)) return guard_lost_permit(&bulkhead->guard, now_ns);
  return bulkhead_enter(bulkhead->guard.shared, writers_process(bulkhead->guard.arena->writers), now_ns);
}

void nines_bulkhead_leave(nines_bulkhead *bulkhead, nines_permit permit, int64_t now_ns)
{
  bulkhead_leave(bulkhead->guard.shared, permit);
  if (bulkhead->line.waiting > 0 && writers_mine(bulkhead->guard.arena->writers) == WRITER_LOOP)
    waitline_serve(&bulkhead->line, bulkhead->guard.shared, WRITER_LOOP, now_ns);
}

uint32_t nines_bulkhead_inside(const nines_bulkhead *bulkhead)
{
  return bulkhead_inside(bulkhead->guard.shared);
}

uint32_t nines_bulkhead_limit(const nines_bulkhead *bulkhead)
{
  return bulkhead_limit(bulkhead->guard.shared);
}

uint64_t nines_bulkhead_refused(const nines_bulkhead *bulkhead)
{
  return bulkhead_refused(bulkhead->guard.shared);
}

int nines_bulkhead_wait(nines_bulkhead *bulkhead, nines_waiter *waiter, int64_t now_ns)
{
  if (bulkhead->guard.arena->attachment)
    return status_set(&bulkhead->guard.arena->status, NINES_ESTATE, "nobody waits in an attached process: ask again");
  return waitline_add(&bulkhead->line, bulkhead->guard.shared, waiter, now_ns);
}

void nines_bulkhead_cancel(nines_bulkhead *bulkhead, nines_waiter *waiter)
{
  waitline_cancel(&bulkhead->line, waiter);
}
