// Taking words over from another key, and finding what is not young.
//
// A call is counted twice: in `now`, and in the slot of its slice. Slices are short enough for the ring to hold every
// slice that a young call may have begun in, so a slot is taken over only when its calls are overdue. They are dropped
// from it and stay in `now`: the difference is what is overdue. When the width of slices changes, slots of both widths
// are read, each by its own; young calls in a slot that is taken over move to the newer slice, and are overdue a little
// later than they should be. The compare-and-swap loops wait for nobody: one that fails means another has succeeded.
#include "flight.h"

enum { GENERATION_MASK = (1 << FLIGHT_GENERATION_BITS) - 1, KEY_GENERATION = 1023 << 6, KEY_SHIFT = 63 };

#define ACQUIRED(field) atomic_load_explicit(&(field), memory_order_acquire)

static bool word_swap(_Atomic uint64_t *word, uint64_t *expected, uint64_t wanted)
{
  return atomic_compare_exchange_weak_explicit(word, expected, wanted, memory_order_acq_rel, memory_order_acquire);
}

static uint64_t keyed(uint32_t key, int32_t count)
{
  return (uint64_t)(uint32_t)count << 32 | key;
}

static int32_t count_in(uint64_t word)
{
  return (int32_t)(word >> 32);
}

uint32_t flight_shift(int64_t slow_ns)
{
  uint32_t shift = 0;
  while (shift < 58 && INT64_C(15) << shift < slow_ns) shift++;
  return shift;
}

// May calls that began in the key's slice be no older than slow_ns? A slice that is ahead of our time is young too.
static bool is_young(uint32_t key, int64_t slow_ns, int64_t now_ns)
{
  uint32_t shift = key & KEY_SHIFT;
  int64_t current = now_ns >> shift, oldest = (int64_t)((uint64_t)now_ns - (uint64_t)slow_ns) >> shift;
  int16_t age = (int16_t)((uint32_t)current - (key >> 16));
  return age <= (int64_t)((uint64_t)current - (uint64_t)oldest); // wraps when slow_ns is damaged
}

// A word of zeros is of no generation: a writer may begin late.
static bool is_earlier(uint32_t generation, uint64_t word)
{
  return (uint32_t)word != 0 && ((generation - (uint32_t)word) & GENERATION_MASK) > GENERATION_MASK / 2;
}

// `generation` is the latest. A slot of a later slice stays: then this call is not young.
static void take_slot(struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t at_ns, int32_t by,
                      int64_t now_ns)
{
  _Atomic uint64_t *slot = &flight->slot[flight_slot(scale, at_ns)];
  uint32_t key = flight_key(scale, generation, at_ns);
  uint64_t word = ACQUIRED(*slot), wanted;
  do {
    uint32_t old = (uint32_t)word;
    int32_t kept = 0;
    if (old == key) {
      wanted = flight_counted(word, by);
      continue;
    }
    if (!((old ^ key) & KEY_GENERATION)) {
      if (!((old ^ key) & KEY_SHIFT) && (int16_t)((old >> 16) - (key >> 16)) > 0) return;
      if (is_young(old, scale.slow_ns, now_ns)) kept = count_in(word);
    }
    wanted = keyed(key, kept + by);
  } while (!word_swap(slot, &word, wanted));
}

// False: it was of an earlier generation.
static bool take_now(struct flight *flight, uint32_t generation, int32_t by)
{
  uint64_t word = ACQUIRED(flight->now), wanted;
  do {
    if (is_earlier(generation, word)) {
      atomic_fetch_add_explicit(&flight->earlier, by, memory_order_relaxed);
      return false;
    }
    wanted =
        (uint32_t)word == flight_now_key(generation) ? flight_counted(word, by) : keyed(flight_now_key(generation), by);
  } while (!word_swap(&flight->now, &word, wanted));
  if ((uint32_t)word != flight_now_key(generation))
    atomic_fetch_add_explicit(&flight->earlier, count_in(word), memory_order_relaxed);
  return true;
}

void flight_begin(struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t at_ns)
{
  if (!is_earlier(generation, ACQUIRED(flight->now))) take_slot(flight, scale, generation, at_ns, 1, at_ns);
  take_now(flight, generation, 1);
}

void flight_end(struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t at_ns, int64_t now_ns)
{
  if (take_now(flight, generation, -1)) take_slot(flight, scale, generation, at_ns, -1, now_ns);
}

int64_t flight_count(const struct flight *flight)
{
  int64_t earlier = atomic_load_explicit(&flight->earlier, memory_order_relaxed);
  return (int64_t)((uint64_t)earlier + (uint64_t)count_in(ACQUIRED(flight->now)));
}

static int64_t now_in(const struct flight *flight, uint32_t generation)
{
  uint64_t word = ACQUIRED(flight->now);
  return (uint32_t)word == flight_now_key(generation) ? count_in(word) : 0;
}

// Slots are read from the oldest slice to the newest, where calls begin, and `now` before and after: what begins or
// ends meanwhile makes the difference less, never more.
int64_t flight_overdue(const struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t now_ns)
{
  int64_t before = now_in(flight, generation), young = 0;
  uint64_t newest = (uint64_t)(now_ns >> scale.shift);
  for (uint64_t i = newest + 1; i != newest + 1 + FLIGHT_SLOTS; i++) {
    uint64_t word = ACQUIRED(flight->slot[i % FLIGHT_SLOTS]);
    uint32_t key = (uint32_t)word;
    if ((key & KEY_GENERATION) == (generation << 6 & KEY_GENERATION) && is_young(key, scale.slow_ns, now_ns))
      young += count_in(word);
  }
  int64_t after = now_in(flight, generation);
  return (before < after ? before : after) - young;
}

void flight_clear(struct flight *flight)
{
  atomic_store_explicit(&flight->now, 0, memory_order_relaxed);
  atomic_store_explicit(&flight->earlier, 0, memory_order_relaxed);
  for (uint32_t i = 0; i < FLIGHT_SLOTS; i++) atomic_store_explicit(&flight->slot[i], 0, memory_order_relaxed);
}
