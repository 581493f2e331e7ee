// A ring of snapshots of counts, turned by the thread that counts, read by anybody.
//
// Everything a reader needs to find its snapshot is the time at which the current slice ends, one word: a turn writes
// the new slices' slots first and that word last, so that a kill in between leaves a turn to be done again. Slice n + 1
// takes the slot of slice n - 10, and the window of slice n begins at n - 9: a reader that looked just before a turn
// has a whole slice's time to finish. A reader that was slower than that finds another slice's number in the slot and
// looks again; after a few times it takes the floor that the writer keeps for itself.
#include "stripe.h"

#include "check.h"

enum { READS_MAX = 4 };
// A number that no reader looks for in the slot of slice n: stands there while the slot is written.
#define WRITING               UINT32_C(0x80000000)
#define NS_PER_S              INT64_C(1000000000)
#define TIME_LIMIT_NS         (INT64_C(1) << 62)
#define RELAXED(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define ACQUIRED(field)       atomic_load_explicit(&(field), memory_order_acquire)
#define RELEASE(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

struct counts { // mod 2^32
  uint32_t total, bad, slow;
};

// Differences of times that another process may have damaged: they wrap, and are judged afterwards.
static inline int64_t apart_ns(int64_t later_ns, int64_t earlier_ns)
{
  return (int64_t)((uint64_t)later_ns - (uint64_t)earlier_ns);
}

static inline uint64_t slices_in(int64_t span_ns, int64_t width_ns)
{
  return span_ns < 0 ? 0 : (uint64_t)span_ns / (uint64_t)width_ns;
}

static inline uint64_t number_before(int64_t end_ns, int64_t origin_ns, int64_t width_ns)
{
  return slices_in(apart_ns(end_ns, origin_ns), width_ns) - 1;
}

static struct counts counts_now(const struct stripe *stripe)
{
  struct counts counts;
  counts.bad = (uint32_t)ACQUIRED(stripe->bad);
  counts.slow = (uint32_t)ACQUIRED(stripe->slow);
  counts.total = (uint32_t)RELAXED(stripe->total);
  return counts;
}

static struct tally since(const struct stripe *stripe, struct counts from)
{
  struct counts to = counts_now(stripe);
  uint32_t total = to.total - from.total, bad = to.bad - from.bad, slow = to.slow - from.slow;
  // The shared stripe's slots are taken while others count: a call may be on both sides of the line.
  return (struct tally){ total, bad < total ? bad : total, slow < total ? slow : total };
}

// The data are released after the mark, and the number after the data.
static void write_slot(struct stripe *stripe, uint64_t number, struct counts counts)
{
  struct stripe_slot *slot = &stripe->slot[number % STRIPE_SLOTS];
  atomic_store_explicit(&slot->number, (uint32_t)number ^ WRITING, memory_order_relaxed);
  RELEASE(slot->total, counts.total);
  RELEASE(slot->bad, counts.bad);
  RELEASE(slot->slow, counts.slow);
  RELEASE(slot->number, (uint32_t)number);
}

static bool read_slot(const struct stripe *stripe, uint64_t number, struct counts *counts)
{
  const struct stripe_slot *slot = &stripe->slot[number % STRIPE_SLOTS];
  if (ACQUIRED(slot->number) != (uint32_t)number) return false;
  counts->total = ACQUIRED(slot->total);
  counts->bad = ACQUIRED(slot->bad);
  counts->slow = ACQUIRED(slot->slow);
  return RELAXED(slot->number) == (uint32_t)number;
}

static void write_floor(struct stripe *stripe, struct counts floor)
{
  atomic_store_explicit(&stripe->floor_total, floor.total, memory_order_relaxed);
  atomic_store_explicit(&stripe->floor_bad, floor.bad, memory_order_relaxed);
  atomic_store_explicit(&stripe->floor_slow, floor.slow, memory_order_relaxed);
}

static struct counts read_floor(const struct stripe *stripe)
{
  return (struct counts){ RELAXED(stripe->floor_total), RELAXED(stripe->floor_bad), RELAXED(stripe->floor_slow) };
}

// A window that begins now, in which everything since `floor` lies in the current slice. Its number is STRIPE_SLICES,
// so that the nine before it have numbers too. While end_ns is 0 readers see nothing, and a kill leaves it to the next
// turn to lay out.
static void lay_out(struct stripe *stripe, int64_t width_ns, uint32_t epoch, struct counts floor, int64_t now_ns)
{
  int64_t end_ns = now_ns + width_ns;
  if (end_ns == 0) end_ns = 1;
  atomic_store_explicit(&stripe->end_ns, 0, memory_order_relaxed);
  RELEASE(stripe->width_ns, width_ns);
  RELEASE(stripe->origin_ns, end_ns - width_ns * STRIPE_SLOTS);
  for (uint64_t number = 1; number <= STRIPE_SLICES; number++) write_slot(stripe, number, floor);
  write_floor(stripe, floor);
  RELEASE(stripe->epoch, epoch);
  RELEASE(stripe->end_ns, end_ns);
}

void stripe_start(struct stripe *stripe, int64_t span_ns, uint32_t epoch, int64_t now_ns)
{
  CHECK(span_ns >= STRIPE_SLICES);
  lay_out(stripe, span_ns / STRIPE_SLICES, epoch, counts_now(stripe), now_ns);
}

void stripe_reshape(struct stripe *stripe, int64_t span_ns, int64_t now_ns)
{
  CHECK(span_ns >= STRIPE_SLICES);
  stripe_turn(stripe, now_ns);
  lay_out(stripe, span_ns / STRIPE_SLICES, RELAXED(stripe->epoch), read_floor(stripe), now_ns);
}

void stripe_fit(struct stripe *stripe, int64_t slice_ns, int64_t now_ns)
{
  int64_t width_ns = RELAXED(stripe->width_ns);
  if (slice_ns <= 0 || slice_ns > TIME_LIMIT_NS / STRIPE_SLOTS) slice_ns = NS_PER_S;
  if (width_ns <= 0)
    stripe_start(stripe, slice_ns * STRIPE_SLICES, 0, now_ns);
  else if (width_ns != slice_ns) // begun anew by each call, it would never age
    stripe_reshape(stripe, slice_ns * STRIPE_SLICES, now_ns);
}

void stripe_turn(struct stripe *stripe, int64_t now_ns)
{
  int64_t end_ns = RELAXED(stripe->end_ns), width_ns = RELAXED(stripe->width_ns);
  if (width_ns <= 0) return; // never started
  if (end_ns == 0) {         // its last writer was killed while it laid it out
    lay_out(stripe, width_ns, RELAXED(stripe->epoch), read_floor(stripe), now_ns);
    return;
  }
  if (now_ns < end_ns) return;
  uint64_t steps = slices_in(apart_ns(now_ns, end_ns), width_ns) + 1;
  uint64_t number = number_before(end_ns, RELAXED(stripe->origin_ns), width_ns) + steps;
  struct counts counts = counts_now(stripe), floor;
  // Of a long gap, only the slices of the window that ends with it.
  for (uint64_t back = steps < STRIPE_SLICES ? steps : STRIPE_SLICES; back-- > 0;)
    write_slot(stripe, number - back, counts);
  if (!read_slot(stripe, number - (STRIPE_SLICES - 1), &floor)) floor = counts; // a damaged ring
  write_floor(stripe, floor);
  RELEASE(stripe->end_ns, (int64_t)((uint64_t)end_ns + steps * (uint64_t)width_ns));
}

void stripe_add_shared(struct stripe *stripe, bool bad, bool slow)
{
  atomic_fetch_add_explicit(&stripe->total, 1, memory_order_release);
  if (bad) atomic_fetch_add_explicit(&stripe->bad, 1, memory_order_release);
  if (slow) atomic_fetch_add_explicit(&stripe->slow, 1, memory_order_release);
}

struct tally stripe_sum(const struct stripe *stripe, uint32_t epoch, int64_t now_ns)
{
  for (int reads = 0; reads < READS_MAX; reads++) {
    int64_t end_ns = ACQUIRED(stripe->end_ns);
    int64_t width_ns = ACQUIRED(stripe->width_ns), origin_ns = ACQUIRED(stripe->origin_ns);
    if (end_ns == 0 || width_ns <= 0 || ACQUIRED(stripe->epoch) != epoch) return (struct tally){ 0 };
    uint64_t number = number_before(end_ns, origin_ns, width_ns), first = number - (STRIPE_SLICES - 1);
    if (now_ns >= end_ns) first += slices_in(apart_ns(now_ns, end_ns), width_ns) + 1;
    if (first > number) return (struct tally){ 0 }; // nothing was counted for as long as the window is
    struct counts from;
    if (read_slot(stripe, first, &from) && RELAXED(stripe->origin_ns) == origin_ns) return since(stripe, from);
  }
  return since(stripe, read_floor(stripe));
}

struct tally stripe_total(const struct stripe *stripe)
{
  struct tally tally;
  tally.bad = ACQUIRED(stripe->bad);
  tally.slow = ACQUIRED(stripe->slow);
  tally.total = RELAXED(stripe->total);
  return tally;
}

void stripe_rebase(struct stripe *stripe, int64_t then_ns, int64_t now_ns)
{
  int64_t end_ns = RELAXED(stripe->end_ns);
  if (end_ns == 0) return;
  uint64_t shift_ns = (uint64_t)now_ns - (uint64_t)then_ns;
  if ((uint64_t)end_ns + shift_ns == 0) shift_ns++;
  RELEASE(stripe->origin_ns, (int64_t)((uint64_t)RELAXED(stripe->origin_ns) + shift_ns));
  RELEASE(stripe->end_ns, (int64_t)((uint64_t)end_ns + shift_ns));
}

bool stripe_valid(const struct stripe *stripe)
{
  int64_t end_ns = RELAXED(stripe->end_ns), width_ns = RELAXED(stripe->width_ns);
  struct tally tally = stripe_total(stripe);
  if (tally.bad > tally.total || tally.slow > tally.total || width_ns < 0 || width_ns > TIME_LIMIT_NS / STRIPE_SLOTS)
    return false;
  if (end_ns == 0) return true;
  int64_t origin_ns = RELAXED(stripe->origin_ns);
  if (width_ns == 0 || end_ns <= -TIME_LIMIT_NS || end_ns >= TIME_LIMIT_NS || origin_ns <= -TIME_LIMIT_NS ||
      origin_ns >= TIME_LIMIT_NS)
    return false;
  int64_t laid_ns = end_ns - origin_ns;
  return laid_ns % width_ns == 0 && laid_ns / width_ns >= STRIPE_SLOTS;
}
