// One writer's share of an object's counts: cumulative, with a time window over them that the writer itself keeps.
//
// An object has one stripe for each thread that writes it; sums over them are the object's. Counts only grow; slot i of
// the ring keeps what they were when slice i began (mod 2^32), so the window is a subtraction, and a kill between any
// two stores loses at most the call under way. The window covers the current slice and the nine before it: at least
// nine tenths of its span, at most all of it. 256 bytes.
#ifndef NINES_CORE_STRIPE_H
#define NINES_CORE_STRIPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tally.h"

enum { STRIPE_SLICES = 10, STRIPE_SLOTS = STRIPE_SLICES + 1 };

struct stripe {
  _Alignas(64) _Atomic uint64_t total;
  _Atomic uint64_t bad;
  _Atomic uint64_t slow;
  _Atomic int64_t end_ns;                              // of the current slice; 0: never started, or being laid out
  _Atomic int64_t width_ns;                            // of a slice
  _Atomic uint32_t floor_total, floor_bad, floor_slow; // counts when the window began
  _Atomic uint32_t epoch;    // the object's when the window was started: another one's counts are no part of it
  _Atomic int64_t origin_ns; // slice i begins at origin + i * width
  struct stripe_slot {
    _Atomic uint32_t number; // of the slice, mod 2^32
    _Atomic uint32_t total, bad, slow;
  } slot[STRIPE_SLOTS];
};

// By the writer (of the shared stripe: by the thread that folds). Begins an empty window: what was counted before is no
// part of it. span_ns >= 10.
void stripe_start(struct stripe *stripe, int64_t span_ns, uint32_t epoch, int64_t now_ns);
// The span changed: what the window holds stays in it, and counts as having come just now.
void stripe_reshape(struct stripe *stripe, int64_t span_ns, int64_t now_ns);
void stripe_fit(struct stripe *stripe, int64_t slice_ns, int64_t now_ns); // for stripe_keep
// For objects without epochs, before stripe_add (of the shared stripe: at the fold): the window is there, and its
// slices are so long; else it is started, or reshaped. Damaged settings make slices of a second.
static inline void stripe_keep(struct stripe *stripe, int64_t slice_ns, int64_t now_ns)
{
  if (__builtin_expect(atomic_load_explicit(&stripe->width_ns, memory_order_relaxed) != slice_ns, 0))
    stripe_fit(stripe, slice_ns, now_ns);
}
// Begins the slices up to the one of now_ns. Called by stripe_add when the slice is over (by the thread that folds for
// the shared stripe); a time before the slice's begin counts in it. A stripe that was never started only counts.
void stripe_turn(struct stripe *stripe, int64_t now_ns);

static inline void stripe_grow(_Atomic uint64_t *counter, uint64_t by)
{
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_release);
}

// By the writer, in the current slice.
static inline void stripe_count(struct stripe *stripe, bool bad, bool slow)
{
  stripe_grow(&stripe->total, 1);
  if (bad) stripe_grow(&stripe->bad, 1);
  if (slow) stripe_grow(&stripe->slow, 1);
}
// By the writer: one call. Some 1 ns.
static inline void stripe_add(struct stripe *stripe, bool bad, bool slow, int64_t now_ns)
{
  if (__builtin_expect(now_ns >= atomic_load_explicit(&stripe->end_ns, memory_order_relaxed), 0))
    stripe_turn(stripe, now_ns);
  stripe_count(stripe, bad, slow);
}
// By any number of writers (the shared stripe): slices turn at the fold only.
void stripe_add_shared(struct stripe *stripe, bool bad, bool slow);
// By the writer, after stripe_add: the window's sums without a look at the ring.
static inline struct tally stripe_window(const struct stripe *stripe)
{
  uint32_t total = (uint32_t)atomic_load_explicit(&stripe->total, memory_order_relaxed) -
                   atomic_load_explicit(&stripe->floor_total, memory_order_relaxed);
  uint32_t bad = (uint32_t)atomic_load_explicit(&stripe->bad, memory_order_relaxed) -
                 atomic_load_explicit(&stripe->floor_bad, memory_order_relaxed);
  uint32_t slow = (uint32_t)atomic_load_explicit(&stripe->slow, memory_order_relaxed) -
                  atomic_load_explicit(&stripe->floor_slow, memory_order_relaxed);
  return (struct tally){ total, bad, slow };
}
// [any] The window's sums as of now_ns, whatever its writer is doing; zero for another epoch's. bad, slow <= total.
struct tally stripe_sum(const struct stripe *stripe, uint32_t epoch, int64_t now_ns);
struct tally stripe_total(const struct stripe *stripe); // [any] since the start
void stripe_rebase(struct stripe *stripe, int64_t then_ns, int64_t now_ns);
// False when what is in it makes no sense (a damaged arena).
bool stripe_valid(const struct stripe *stripe);

#endif
