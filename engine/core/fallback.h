// A fallback: the second best answer, itself bounded, and seen.
//
// A fallback that everybody takes at once is the second outage (the cache behind the service, the replica behind the
// primary), so a bulkhead holds it to concurrent_max. And a fallback that nobody sees becomes the normal case: the
// share of calls it served over the last 10 s is kept, calls and fallbacks in one stripe for each writer.
#ifndef NINES_CORE_FALLBACK_H
#define NINES_CORE_FALLBACK_H

#include "bulkhead.h"
#include "status.h"
#include "stripe.h"
#include "writer.h"

struct fallback {
  struct bulkhead bulkhead;
};

struct fallback_view {
  struct fallback *fallback;
  // [WRITERS_MAX], NULL: none yet; the caller's own is there. bad: calls that the fallback served, slow: those that it
  // refused, total: these once more and all calls.
  _Atomic(struct stripe *) *stripes;
};

// `fresh` memory is zeroed. `config` NULL: the defaults when fresh, else what is set stays. Counts stay.
int fallback_set(struct fallback *fallback, const nines_fallback_config *config, bool fresh, int64_t now_ns,
                 struct status *status);
bool fallback_valid(const struct fallback *fallback);
void fallback_rebase(const struct fallback_view *view, int64_t then_ns, int64_t now_ns);

void fallback_call(const struct fallback_view *view, uint32_t writer, int64_t now_ns); // [any] a call began
// [any] It failed. Refused: too many fallbacks at once; the failure is the caller's to hand on. `cell`: of the
// caller in the bulkhead.
nines_permit fallback_enter(const struct fallback_view *view, uint32_t writer, uint32_t cell, int64_t now_ns);
void fallback_leave(const struct fallback_view *view, nines_permit permit); // [any] not for a refused one
void fallback_fold(const struct fallback_view *view, int64_t now_ns);       // each beat, one thread
double fallback_share(const struct fallback_view *view, int64_t now_ns);    // [any] percent of calls, -1: no calls
struct tally fallback_total(const struct fallback_view *view); // [any] since the start: calls, served, refused

#endif
