// Retry: when to try again, and whether at all; one budget for retries and hedges.
//
// The wait before attempt n + 1 is min(wait_max, wait * factor^(n-1)), drawn between (1 - jitter) and (1 + jitter) of
// that (so wait_max is a bound of the length, not of the draw: cutting draws off would gather the herd again). The
// budget is Finagle's: over a window of budget_ns, retries are at most budget % of the calls plus budget_floor a
// second for the whole of it, so that an outage multiplies the load by 1.2, not by the number of attempts. Attempts
// that are no first ones earn nothing.
//
// A call touches its writer's stripe alone, some 1 ns. Asking for a retry adds up all stripes first: exact with one
// writer, at most one retry too many for each other one that asks at the same moment.
#ifndef NINES_CORE_RETRY_H
#define NINES_CORE_RETRY_H

#include "status.h"
#include "stripe.h"
#include "writer.h"

struct retry {
  _Alignas(64) _Atomic int64_t slice_ns; // a tenth of the budget's window
  _Atomic uint64_t floor_ppm;            // retries that need no calls, in millionths, in a window
  _Atomic uint32_t budget_ppm;           // retries in a million calls; UINT32_MAX: no budget
  _Atomic uint32_t attempts;
  _Atomic int64_t wait_ns, wait_max_ns, hedge_ns;
  _Atomic uint32_t factor_milli, jitter_ppm;
};

struct retry_view {
  struct retry *retry;
  // [WRITERS_MAX], NULL: none yet; the caller's own is there. bad: retries and hedges, slow: those that the budget
  // denied, total: both and the calls.
  _Atomic(struct stripe *) *stripes;
};

// `fresh` memory is zeroed. `config` NULL: the defaults when fresh, else what is set stays. Counts stay.
int retry_set(struct retry *retry, const nines_retry_config *config, bool fresh, struct status *status);
bool retry_valid(const struct retry *retry);
void retry_rebase(const struct retry_view *view, int64_t then_ns, int64_t now_ns);

void retry_call(const struct retry_view *view, uint32_t writer, int64_t now_ns); // [any] a first attempt
// [any] Attempt number `attempt` (from 1) failed: ns to wait before the next, or NINES_RETRY_NO_*.
int64_t retry_next(const struct retry_view *view, uint32_t writer, uint32_t attempt, int64_t now_ns, uint64_t *random);
// [any] 1: a hedge may be sent now; more: ns to wait; 0: none, because there is no hedging or no budget.
int64_t retry_hedge(const struct retry_view *view, uint32_t writer, int64_t began_ns, int64_t now_ns);
double retry_budget(const struct retry_view *view, int64_t now_ns); // [any] retries left; no budget: infinity
void retry_fold(const struct retry_view *view, int64_t now_ns);     // each beat, one thread
struct tally retry_total(const struct retry_view *view); // [any] since the start: calls, retries, denied by the budget

#endif
