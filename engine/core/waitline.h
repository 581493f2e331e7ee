// Who waits for a place in a bulkhead: a queue in one process, used by one thread.
//
// First come, first served, each for at most the bulkhead's wait_max. When even those served had waited codel_target or
// longer for a whole codel_interval, the queue stands (RFC 8289): it is no burst, and a long wait for all helps nobody.
// Then the newest is served first and nobody waits longer than codel_target (Maurer, "Fail at Scale", 2015), until
// there is a place and nobody waiting. With a target of wait_max or more no queue ever stands. Waiters are the callers'
// memory; adding, cancelling and serving cost a few ns.
#ifndef NINES_CORE_WAITLINE_H
#define NINES_CORE_WAITLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "bulkhead.h"

struct waitline {
  nines_waiter *first, *last; // oldest, newest
  uint32_t waiting;
  bool serving, again, closed;
  int64_t latest_ns; // time never goes back in here
  int64_t above_ns;  // since when nobody had waited less than the target; INT64_MAX: somebody had
  bool standing;
  uint64_t served, timed_out; // since the start
};

void waitline_init(struct waitline *line);
// Refuses all who wait; those who come later get NINES_ESTATE.
void waitline_fini(struct waitline *line);
// 0, NINES_ELIMIT (the bulkhead's queue_max are waiting already) or NINES_ESTATE. Never calls `ready` itself.
int waitline_add(struct waitline *line, const struct bulkhead *bulkhead, nines_waiter *waiter, int64_t now_ns);
// `ready` will not be called. One that does not wait (any more) is left alone, if it was ever added.
void waitline_cancel(struct waitline *line, nines_waiter *waiter);
// Hands out places and refuses those whose time is over, at most as many as wait when it begins. To be called after a
// leave, at waitline_due_ns and each beat (others' threads leave too). `ready` may add, cancel, leave and serve again.
void waitline_serve(struct waitline *line, struct bulkhead *bulkhead, uint32_t writer, int64_t now_ns);
// When somebody's time is over; INT64_MAX when nobody waits.
int64_t waitline_due_ns(const struct waitline *line, const struct bulkhead *bulkhead);

#endif
