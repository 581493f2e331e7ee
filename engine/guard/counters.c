// Counters by name: a stripe a writer, the rate over ten seconds.

#include "guards.h"
#include "stripe.h"

#define COUNTER_SPAN_NS (10 * INT64_C(1000000000))

struct nines_counter {
  struct guard guard; // shared: struct counter
};

struct counter {
  _Atomic uint32_t epoch; // of the stripes' windows; 0: damaged or fresh
};

static int counter_apply(struct guard *guard, const void *config, bool fresh, int64_t now_ns, struct status *status)
{
  (void)config, (void)now_ns, (void)status, (void)fresh;
  struct counter *counter = guard->shared;
  atomic_store_explicit(&counter->epoch, 1, memory_order_relaxed);
  return 0;
}

static bool counter_sound(const struct guard *guard)
{
  const struct counter *counter = guard->shared;
  return atomic_load_explicit(&counter->epoch, memory_order_relaxed) == 1;
}

static struct stripe *stripe_at(const struct guard *guard, uint32_t writer)
{
  return atomic_load_explicit(&guard->stripes[writer], memory_order_acquire);
}

static void counter_shift(struct guard *guard, int64_t then_ns, int64_t now_ns)
{
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++)
    if (stripe_at(guard, writer)) stripe_rebase(stripe_at(guard, writer), then_ns, now_ns);
}

// A stripe begins with its first count, by its writer; the shared one by the fold.
static void begin(struct stripe *stripe, int64_t now_ns)
{
  if (atomic_load_explicit(&stripe->end_ns, memory_order_relaxed) == 0)
    stripe_start(stripe, COUNTER_SPAN_NS, 1, now_ns);
}

static void counter_beat(struct guard *guard, int64_t now_ns, uint64_t *random)
{
  (void)random;
  struct stripe *shared = stripe_at(guard, WRITER_SHARED);
  begin(shared, now_ns);
  if (now_ns >= atomic_load_explicit(&shared->end_ns, memory_order_relaxed)) stripe_turn(shared, now_ns);
}

const struct guard_kind counter_kind = { .id = GUARD_COUNTER,
                                         .noun = "counter",
                                         .handle_bytes = sizeof(struct nines_counter),
                                         .stripe_bytes = sizeof(struct stripe),
                                         .parts = { sizeof(struct counter), 0, 0 },
                                         .set = counter_apply,
                                         .valid = counter_sound,
                                         .rebase = counter_shift,
                                         .fold = counter_beat };

// --- nines.h

int nines_counter_get(nines_arena *arena, const char *name, nines_counter **out)
{
  struct guard *guard = NULL;
  int code = guards_get(arena, &counter_kind, name, NULL, &guard);
  *out = (nines_counter *)guard;
  return code;
}

void nines_counter_add(nines_counter *counter, uint64_t n, int64_t now_ns)
{
  uint32_t writer = guard_writer(&counter->guard);
  struct stripe *stripe = stripe_at(&counter->guard, writer);
  if (writer == WRITER_SHARED) {
    atomic_fetch_add_explicit(&stripe->total, n, memory_order_relaxed);
    return;
  }
  begin(stripe, now_ns);
  if (now_ns >= atomic_load_explicit(&stripe->end_ns, memory_order_relaxed)) stripe_turn(stripe, now_ns);
  stripe_grow(&stripe->total, n);
}

uint64_t nines_counter_total(const nines_counter *counter)
{
  guard_news(&counter->guard);
  uint64_t total = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct stripe *stripe = stripe_at(&counter->guard, writer);
    if (stripe) total += stripe_total(stripe).total;
  }
  return total;
}

double nines_counter_rate(const nines_counter *counter, int64_t now_ns)
{
  guard_news(&counter->guard);
  uint64_t total = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct stripe *stripe = stripe_at(&counter->guard, writer);
    if (stripe) total += stripe_sum(stripe, 1, now_ns).total;
  }
  return (double)total / ((double)COUNTER_SPAN_NS / 1e9);
}
