// So many at once, and never one more, with permits that a crash gives back.
//
// Each writer counts those it let in on a cell of its own; a permit names its cell, so that any thread can leave on it
// and the permits of a dead writer are returned by zeroing its cell. To enter is to add to the own cell, add up all
// cells, and take it back when the sum is over the limit. Two that do so at once may both be refused one last place
// (never both get it). The limit is a word that others move (adaptive_limit.h): those inside stay when it shrinks.
// Enter and leave: one owner 5 ns, shared 28 ns alone (a locked instruction each). 256 bytes.
#ifndef NINES_CORE_BULKHEAD_H
#define NINES_CORE_BULKHEAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apart.h"
#include "nines.h"
#include "status.h"
#include "writer.h"

struct bulkhead_open {
  _Alignas(64) _Atomic uint32_t held[WRITERS_MAX]; // side by side: who adds them up moves a line or two
  _Alignas(64) _Atomic uint64_t refused;
  _Atomic uint32_t cells; // those ever used are before it
};

struct bulkhead {
  struct apart apart; // of the open part
  // Settings: written by the thread that folds, read by all.
  _Atomic uint32_t limit;
  _Atomic uint32_t owner;
  _Atomic uint32_t queue_max; // these of the waitline
  _Atomic int64_t wait_max_ns, codel_target_ns, codel_interval_ns;
  struct bulkhead_open own;
};

// `fresh` memory is zeroed. Applies the config: who is inside stays.
int bulkhead_set(struct bulkhead *bulkhead, const nines_bulkhead_config *config, bool fresh, int64_t now_ns,
                 struct status *status);
bool bulkhead_valid(const struct bulkhead *bulkhead);
nines_permit bulkhead_enter(struct bulkhead *bulkhead, uint32_t writer, int64_t now_ns); // [any]
// [any] The same, not counted as refused when it is: for somebody who waits, and asks again.
nines_permit bulkhead_try(struct bulkhead *bulkhead, uint32_t writer, int64_t now_ns);
// [any] From any thread. A permit whose writer was forgotten is nobody's.
void bulkhead_leave(struct bulkhead *bulkhead, nines_permit permit);
uint32_t bulkhead_inside(const struct bulkhead *bulkhead);  // [any] those asking at this moment included
uint64_t bulkhead_refused(const struct bulkhead *bulkhead); // [any] since the start
// These writers (one bit each) are dead, with everything they held.
void bulkhead_forget(struct bulkhead *bulkhead, uint32_t writers);

static inline uint32_t bulkhead_limit(const struct bulkhead *bulkhead)
{
  return atomic_load_explicit(&bulkhead->limit, memory_order_relaxed);
}

static inline void bulkhead_resize(struct bulkhead *bulkhead, uint32_t limit)
{
  atomic_store_explicit(&bulkhead->limit, limit, memory_order_relaxed);
}

#endif
