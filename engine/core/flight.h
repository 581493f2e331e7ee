// Calls in flight, and which of them have been for longer than they should: a hung call is seen before it ends.
//
// One struct a writer. Each word is a key (lower half) and a signed count (upper half); a word with another key is of
// the past and is taken over by whoever counts next, so nothing ever has to be cleared. The ring counts calls by when
// they began, in slices of a power of two of ns, 7.5 to 15 of them to slow_ns: a call's slice is a shift of its
// beginning, and what is in flight but not in a young slice is overdue, noticed late by at most a slice (13 % of
// slow_ns). Calls may end on another writer's struct than they began on: only sums over all writers' mean something.
#ifndef NINES_CORE_FLIGHT_H
#define NINES_CORE_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { FLIGHT_SLOTS = 16, FLIGHT_GENERATION_BITS = 21 };

struct flight {
  _Atomic uint64_t now;                // of the latest generation; key: flight_now_key
  _Atomic int64_t earlier;             // of earlier generations: they are never overdue
  _Atomic uint64_t slot[FLIGHT_SLOTS]; // of the latest generation, by slice; key: slice 16, generation 10, shift 6 bits
};

struct flight_scale {
  int64_t slow_ns;
  uint32_t shift; // flight_shift(slow_ns); may change at any time: slots know their own
};
uint32_t flight_shift(int64_t slow_ns);

// By any number of writers: two compare-and-swaps.
void flight_begin(struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t at_ns);
void flight_end(struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t at_ns, int64_t now_ns);

static inline uint32_t flight_key(struct flight_scale scale, uint32_t generation, int64_t at_ns)
{
  return (uint32_t)(at_ns >> scale.shift) << 16 | (generation & 1023) << 6 | scale.shift;
}
static inline uint32_t flight_now_key(uint32_t generation)
{
  return generation | UINT32_C(1) << 31; // zeros are of no generation
}
static inline uint32_t flight_slot(struct flight_scale scale, int64_t at_ns)
{
  return (uint32_t)(at_ns >> scale.shift) & (FLIGHT_SLOTS - 1);
}
static inline uint64_t flight_counted(uint64_t word, int32_t by)
{
  return word + ((uint64_t)by << 32);
}
static inline void flight_put(_Atomic uint64_t *word, uint64_t value)
{
  atomic_store_explicit(word, value, memory_order_release);
}

// By the struct's only writer, which knows that both words have the right key already: one call more or less in the
// slot, some 1 ns. The slot grows first and shrinks last: a reader may see a call that is young and not in flight,
// never the other way round.
static inline void flight_count_one(struct flight *flight, uint32_t slot, int32_t by)
{
  uint64_t young = flight_counted(atomic_load_explicit(&flight->slot[slot], memory_order_relaxed), by);
  uint64_t now = flight_counted(atomic_load_explicit(&flight->now, memory_order_relaxed), by);
  if (by > 0) flight_put(&flight->slot[slot], young);
  flight_put(&flight->now, now);
  if (by < 0) flight_put(&flight->slot[slot], young);
}
// By the struct's only writer: do both words have the right key? scale.shift <= 63.
static inline bool flight_ready(const struct flight *flight, struct flight_scale scale, uint32_t generation,
                                int64_t at_ns)
{
  uint64_t young = atomic_load_explicit(&flight->slot[flight_slot(scale, at_ns)], memory_order_relaxed);
  uint64_t now = atomic_load_explicit(&flight->now, memory_order_relaxed);
  return (uint32_t)young == flight_key(scale, generation, at_ns) && (uint32_t)now == flight_now_key(generation);
}

// [any]
int64_t flight_count(const struct flight *flight); // of all generations
int64_t flight_overdue(const struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t now_ns);
void flight_clear(struct flight *flight); // no call is in flight any more

#endif
