// A timeout: how long a call may take, and never longer than its caller waits.
//
// Deadlines are points in time, so that they pass down a chain of calls without growing: the nearer of now + limit and
// the caller's own. A deadline that is over is handed on as it is: the call makes no sense any more, and its maker sees
// that from deadline <= now. Asking is two loads; counting touches memory on a time-out only, so there is no stripe.
#ifndef NINES_CORE_TIMEOUT_H
#define NINES_CORE_TIMEOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apart.h"
#include "nines.h"
#include "status.h"

struct timeout_open {
  _Atomic uint64_t timed_out; // since the start
};
struct timeout {
  struct apart apart; // of the open part
  _Atomic int64_t limit_ns;
  struct timeout_open own;
};
static inline struct timeout_open *timeout_open(const struct timeout *timeout)
{
  return apart_at(&timeout->apart);
}

// `fresh` memory is zeroed. `config` NULL: the defaults when fresh, else what is set stays. Counts stay.
int timeout_set(struct timeout *timeout, const nines_timeout_config *config, bool fresh, struct status *status);
bool timeout_valid(const struct timeout *timeout);

// [any] When a call that starts now must end; `caller_ns`: when its caller gives up, 0: never.
static inline int64_t timeout_deadline(const struct timeout *timeout, int64_t caller_ns, int64_t now_ns)
{
  int64_t deadline_ns;
  if (__builtin_add_overflow(now_ns, atomic_load_explicit(&timeout->limit_ns, memory_order_relaxed), &deadline_ns))
    deadline_ns = INT64_MAX;
  return caller_ns != 0 && caller_ns < deadline_ns ? caller_ns : deadline_ns;
}
// [any]
static inline void timeout_done(struct timeout *timeout, bool timed_out)
{
  if (__builtin_expect(timed_out, 0))
    atomic_fetch_add_explicit(&timeout_open(timeout)->timed_out, 1, memory_order_relaxed);
}
static inline uint64_t timeout_count(const struct timeout *timeout)
{
  return atomic_load_explicit(&timeout_open(timeout)->timed_out, memory_order_relaxed);
}

#endif
