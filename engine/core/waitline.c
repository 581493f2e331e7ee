// Before each `ready` the waiter is out of the list and nothing of the list is remembered, so whatever it does to the
// line is seen by the next look. A serve within a serve only notes that there is more to do: the stack stays flat.
//
// Whether the queue stands is decided from what people waited, at the moment they stop waiting, and from the oldest
// that still waits. Once it stands the newest are served, whose short waits say nothing: it then stands until a place
// is free and nobody wants it. In that state places go out before the over-aged are refused, because a beat may be
// longer than the target: refusing first would turn away all whom this very call has places for.
#include "waitline.h"

static int64_t setting(const _Atomic int64_t *value_ns)
{
  return atomic_load_explicit(value_ns, memory_order_relaxed);
}

void waitline_init(struct waitline *line)
{
  *line = (struct waitline){ .latest_ns = INT64_MIN, .above_ns = INT64_MAX };
}

static void take_out(struct waitline *line, nines_waiter *waiter)
{
  if (waiter->previous)
    waiter->previous->next = waiter->next;
  else
    line->first = waiter->next;
  if (waiter->next)
    waiter->next->previous = waiter->previous;
  else
    line->last = waiter->previous;
  waiter->next = waiter->previous = NULL;
  line->waiting--;
}

static void refuse(struct waitline *line, nines_waiter *waiter)
{
  take_out(line, waiter);
  line->timed_out++;
  waiter->ready(waiter, (nines_permit){ line->latest_ns, 0 });
}

void waitline_fini(struct waitline *line)
{
  line->closed = true;
  while (line->first) refuse(line, line->first);
}

int waitline_add(struct waitline *line, const struct bulkhead *bulkhead, nines_waiter *waiter, int64_t now_ns)
{
  if (line->closed) return NINES_ESTATE;
  if (line->waiting >= atomic_load_explicit(&bulkhead->queue_max, memory_order_relaxed)) return NINES_ELIMIT;
  if (now_ns > line->latest_ns) line->latest_ns = now_ns;
  waiter->since_ns = line->latest_ns;
  waiter->next = NULL;
  waiter->previous = line->last;
  if (line->last)
    line->last->next = waiter;
  else
    line->first = waiter;
  line->last = waiter;
  line->waiting++;
  return 0;
}

void waitline_cancel(struct waitline *line, nines_waiter *waiter)
{
  if (waiter->previous || line->first == waiter) take_out(line, waiter);
}

// What a wait that ended, or lasts, says about the queue.
static void learn(struct waitline *line, const nines_waiter *waiter, int64_t target_ns)
{
  if (line->standing) return;
  int64_t above_ns = waiter->since_ns + target_ns;
  if (line->latest_ns < above_ns)
    line->above_ns = INT64_MAX;
  else if (line->above_ns == INT64_MAX)
    line->above_ns = line->latest_ns;
}

static void judge(struct waitline *line, const struct bulkhead *bulkhead)
{
  int64_t target_ns = setting(&bulkhead->codel_target_ns);
  if (line->first && !line->standing && line->above_ns == INT64_MAX &&
      line->latest_ns - line->first->since_ns >= target_ns)
    line->above_ns = line->first->since_ns + target_ns; // so long has nobody been served sooner
  if (line->above_ns != INT64_MAX && line->latest_ns - line->above_ns >= setting(&bulkhead->codel_interval_ns))
    line->standing = true;
  if (!line->first && bulkhead_inside(bulkhead) < bulkhead_limit(bulkhead)) {
    line->standing = false;
    line->above_ns = INT64_MAX;
  }
}

static void refuse_older(struct waitline *line, int64_t age_ns, int64_t target_ns, uint32_t *quota)
{
  while (line->first && *quota > 0 && line->latest_ns - line->first->since_ns >= age_ns) {
    learn(line, line->first, target_ns);
    --*quota;
    refuse(line, line->first);
  }
}

static void hand_out(struct waitline *line, struct bulkhead *bulkhead, uint32_t writer, uint32_t *quota)
{
  while (line->first && *quota > 0) {
    nines_permit permit = bulkhead_try(bulkhead, writer, line->latest_ns);
    if (!nines_permitted(permit)) return;
    nines_waiter *waiter = line->standing ? line->last : line->first;
    learn(line, waiter, setting(&bulkhead->codel_target_ns));
    take_out(line, waiter);
    if (!line->first && !line->standing) line->above_ns = INT64_MAX; // all are served: no queue, whatever they waited
    line->served++;
    --*quota;
    waiter->ready(waiter, permit);
  }
}

void waitline_serve(struct waitline *line, struct bulkhead *bulkhead, uint32_t writer, int64_t now_ns)
{
  if (now_ns > line->latest_ns) line->latest_ns = now_ns;
  line->again = true;
  if (line->serving) return;
  line->serving = true;
  uint32_t quota = line->waiting;
  while (line->again) {
    line->again = false;
    int64_t target_ns = setting(&bulkhead->codel_target_ns);
    judge(line, bulkhead);
    refuse_older(line, setting(&bulkhead->wait_max_ns), target_ns, &quota);
    hand_out(line, bulkhead, writer, &quota);
    if (line->standing) refuse_older(line, target_ns, target_ns, &quota);
    if (quota == 0) break; // whoever came meanwhile waits for the next call
  }
  judge(line, bulkhead);
  line->serving = false;
}

int64_t waitline_due_ns(const struct waitline *line, const struct bulkhead *bulkhead)
{
  if (!line->first) return INT64_MAX;
  int64_t due_ns = line->first->since_ns + setting(&bulkhead->wait_max_ns);
  int64_t hurried_ns = line->first->since_ns + setting(&bulkhead->codel_target_ns);
  if (!line->standing) {
    // The queue will stand an interval after the oldest had waited for the target, if nobody is served sooner.
    int64_t stands_ns =
        (line->above_ns == INT64_MAX ? hurried_ns : line->above_ns) + setting(&bulkhead->codel_interval_ns);
    if (hurried_ns < stands_ns) hurried_ns = stands_ns;
  }
  return hurried_ns < due_ns ? hurried_ns : due_ns;
}
