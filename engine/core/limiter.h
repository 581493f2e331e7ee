// So many a second, smooth, with a burst: the generic cell rate algorithm (GCRA, ITU-T I.371) on one word.
//
// The word is the theoretical arrival time: when all that was granted will have been earned back. A call costs
// interval = per / rate; it is granted when the word, moved on by its cost, is at most burst * interval ahead of now.
// In any span t at most burst + rate * t is granted, at the times calls are told to begin; there is no edge of a cycle.
// Pacing lets the word run wait_max further ahead and tells the caller to wait for the difference. While warming up a
// call is charged at the lower rate of that moment, rate * (1/cold + (1 - 1/cold) * age / warm_up), and checked at the
// full one, so that even a burst of 1 gets through. One owner 4 ns, shared 14 ns alone (one compare-and-swap). 128
// bytes.
#ifndef NINES_CORE_LIMITER_H
#define NINES_CORE_LIMITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apart.h"
#include "nines.h"
#include "status.h"

// Times in here are ticks of 1/16 ns since the origin: rounding a cost up costs a rate of a million a second 0.006 %.
enum { LIMITER_TICKS_PER_NS = 16 };

struct limiter_open {                    // what asking writes
  _Alignas(64) _Atomic uint64_t arrival; // theoretical arrival time
  _Atomic uint64_t cold_since;           // when the last cold start began
  _Atomic uint64_t refused;
};

struct limiter {
  struct apart apart; // of the open part
  // Settings: written by the thread that folds, read by all.
  _Atomic double interval; // ticks a call earns back in
  _Atomic double burst;    // calls
  _Atomic int64_t burst_ticks, wait_max_ticks, warm_up_ticks;
  _Atomic double cold_factor;
  _Atomic int64_t origin_ns;
  _Atomic uint32_t owner;
  struct limiter_open own;
};

// `fresh` memory is zeroed. Applies the config: what is used of the burst stays used, in calls.
int limiter_set(struct limiter *limiter, const nines_limiter_config *config, bool fresh, int64_t now_ns,
                struct status *status);
bool limiter_valid(const struct limiter *limiter);
void limiter_rebase(struct limiter *limiter, int64_t then_ns, int64_t now_ns);
// [any] At least 0: granted, after waiting so many ns; negative: refused, -r: ask again in r ns; INT64_MIN: never.
int64_t limiter_ask(struct limiter *limiter, double cost, int64_t now_ns);
double limiter_available(const struct limiter *limiter, int64_t now_ns); // [any] the highest cost grantable at once
void limiter_drain(struct limiter *limiter, int64_t now_ns);             // [any] nothing is available now
uint64_t limiter_refused(const struct limiter *limiter);                 // [any] since the start

#endif
