// The rows of bench_primitives.c: for each primitive how it is made and what one call of it is.
//
// Time never stands still: a call moves it 1 to 16 us, so that a window of one second (a tenth of the breaker's
// default) turns as often as the default one at 20,000 calls a second, in every slice that is measured, and latencies
// fill different buckets. One call in 64 fails. What was granted is counted: a row of refusals is not taken for a fast
// one.
#ifndef NINES_SPEC_BENCH_PRIMITIVE_ROWS_H
#define NINES_SPEC_BENCH_PRIMITIVE_ROWS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "nines.h"
#include "rng.h"

enum { STEPS = 1024, KEYS = 64, KEY_SIZE = 16 };
#define NS_PER_S     INT64_C(1000000000)
#define WINDOW_NS    NS_PER_S
#define HOLD_NS      (86400 * NS_PER_S)
#define FAULT_NS     (3600 * NS_PER_S)
#define TURN()       __asm__ volatile("" ::: "memory") // keeps the compiler from merging the turns of a loop
#define OUTCOME(i)   ((i) % 64 == 0 ? NINES_FAILURE : NINES_SUCCESS)
#define CONFIG(type) .size = sizeof(type)
#define PASS()       (now_ns += bench->step_ns[i % STEPS])

// A row: what one call does. It moves the time with PASS() and adds to `granted` what it was granted.
#define RUN(name, ...)                                                                                                 \
  static void name(struct bench *bench, struct side *side, uint32_t calls)                                             \
  {                                                                                                                    \
    int64_t now_ns = side->now_ns;                                                                                     \
    uint64_t granted = 0;                                                                                              \
    for (uint32_t i = 0; i < calls; i++) __VA_ARGS__                                                                   \
    side->now_ns = now_ns;                                                                                             \
    side->granted += granted;                                                                                          \
  }

// One thread's own.
struct side {
  _Alignas(128) int64_t now_ns;
  uint64_t calls, granted;
  _Atomic uint64_t line; // nobody else's
  uint64_t random, sink;
};

struct bench {
  nines_arena *arena;
  int64_t begin_ns;
  union {
    nines_breaker *breaker;
    nines_limiter *limiter;
    nines_bulkhead *bulkhead;
    nines_adaptive_limit *limit;
    nines_shedder *shedder;
    nines_retry *retry;
    nines_fault *fault;
    nines_counter *counter;
    nines_histogram *histogram;
  };
  int64_t step_ns[STEPS];     // log-uniform from 1 to 16 us
  int64_t duration_ns[STEPS]; // log-uniform from 10 us to 1 s
  char key[KEYS][KEY_SIZE + 1];
  _Alignas(128) _Atomic uint64_t line; // both threads'
};

typedef void open_fn(struct bench *bench);
typedef void run_fn(struct bench *bench, struct side *side, uint32_t calls);

static void must(struct bench *bench, int code)
{
  if (code == 0) return;
  fprintf(stderr, "%s: %s\n", nines_strerror(code), nines_arena_errmsg(bench->arena));
  exit(1);
}

// --- floors

RUN(run_loop, {
  PASS();
  TURN();
})

static void run_private_line(struct bench *bench, struct side *side, uint32_t calls)
{
  (void)bench;
  for (uint32_t i = 0; i < calls; i++) {
    uint64_t count = atomic_load_explicit(&side->line, memory_order_relaxed);
    atomic_store_explicit(&side->line, count + 1, memory_order_relaxed);
    TURN();
  }
}

static void run_fetch_add(struct bench *bench, struct side *side, uint32_t calls)
{
  for (uint32_t i = 0; i < calls; i++) side->sink += atomic_fetch_add_explicit(&bench->line, 1, memory_order_relaxed);
}

static void run_compare_and_swap(struct bench *bench, struct side *side, uint32_t calls)
{
  (void)side;
  for (uint32_t i = 0; i < calls; i++) {
    uint64_t count = atomic_load_explicit(&bench->line, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&bench->line, &count, count + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
  }
}

static void run_fine_clock(struct bench *bench, struct side *side, uint32_t calls)
{
  (void)bench;
  for (uint32_t i = 0; i < calls; i++) side->sink += (uint64_t)nines_now_ns();
}

static void run_coarse_clock(struct bench *bench, struct side *side, uint32_t calls)
{
  (void)bench;
  for (uint32_t i = 0; i < calls; i++) side->sink += (uint64_t)nines_now_coarse_ns();
}

static void run_random(struct bench *bench, struct side *side, uint32_t calls)
{
  (void)bench;
  for (uint32_t i = 0; i < calls; i++) side->sink += rng_quick(&side->random);
}

// --- breaker

static void breaker_with(struct bench *bench, nines_breaker_config config)
{
  config.size = sizeof config;
  must(bench, nines_breaker_get(bench->arena, "payments", &config, &bench->breaker));
}

static void open_breaker(struct bench *bench)
{
  breaker_with(bench, (nines_breaker_config){ .window_ns = WINDOW_NS });
}

static void open_latency(struct bench *bench)
{
  breaker_with(bench, (nines_breaker_config){ .window_ns = WINDOW_NS, .latency = 1 });
}

static void open_count_window(struct bench *bench)
{
  breaker_with(bench, (nines_breaker_config){ .window_calls = 100 });
}

static void open_refusing(struct bench *bench)
{
  open_breaker(bench);
  nines_breaker_put(bench->breaker, NINES_BREAKER_OPEN, HOLD_NS, bench->begin_ns);
}

static void open_keyed(struct bench *bench)
{
  breaker_with(bench, (nines_breaker_config){ .window_calls = 100, .keys = 4 * KEYS });
}

RUN(run_breaker, {
  nines_permit permit = nines_breaker_ask(bench->breaker, now_ns);
  PASS();
  granted += nines_permitted(permit) != 0;
  nines_breaker_done(bench->breaker, permit, OUTCOME(i), now_ns);
})

// One reading a call: the end of a call is when the next one asks. Steps come on top, as in the other rows.
static void run_breaker_fine(struct bench *bench, struct side *side, uint32_t calls)
{
  int64_t now_ns = side->now_ns, ahead_ns = now_ns - nines_now_ns();
  uint64_t granted = 0;
  for (uint32_t i = 0; i < calls; i++) {
    nines_permit permit = nines_breaker_ask(bench->breaker, now_ns);
    ahead_ns += bench->step_ns[i % STEPS];
    granted += nines_permitted(permit) != 0;
    now_ns = nines_now_ns() + ahead_ns;
    nines_breaker_done(bench->breaker, permit, OUTCOME(i), now_ns);
  }
  side->now_ns = now_ns;
  side->granted += granted;
}

RUN(run_refused, {
  granted += nines_permitted(nines_breaker_ask(bench->breaker, now_ns)) != 0;
  PASS();
})

RUN(run_keyed, {
  uint64_t call = side->calls + i; // goes on where the last slice ended: every key has its share of failures
  nines_permit permit = nines_breaker_ask_key(bench->breaker, bench->key[call * 7 % KEYS], KEY_SIZE, now_ns);
  PASS();
  granted += nines_permitted(permit) != 0;
  nines_breaker_done(bench->breaker, permit, OUTCOME(call + call / KEYS), now_ns);
})

// --- limiter, bulkhead, adaptive limit, shedder, retry

static void limiter_for(struct bench *bench, int owner)
{
  nines_limiter_config config = { CONFIG(nines_limiter_config), .rate = 1e6, .owner = owner };
  must(bench, nines_limiter_get(bench->arena, "payments", &config, &bench->limiter));
}

static void open_limiter(struct bench *bench)
{
  limiter_for(bench, 0);
}

static void open_limiter_owner(struct bench *bench)
{
  limiter_for(bench, 1);
}

RUN(run_limiter, {
  granted += nines_limiter_ask(bench->limiter, 1, now_ns) == 0;
  PASS();
})

static void bulkhead_for(struct bench *bench, int owner)
{
  nines_bulkhead_config config = { CONFIG(nines_bulkhead_config), .owner = owner };
  must(bench, nines_bulkhead_get(bench->arena, "payments", &config, &bench->bulkhead));
}

static void open_bulkhead(struct bench *bench)
{
  bulkhead_for(bench, 0);
}

static void open_bulkhead_owner(struct bench *bench)
{
  bulkhead_for(bench, 1);
}

RUN(run_bulkhead, {
  nines_permit permit = nines_bulkhead_enter(bench->bulkhead, now_ns);
  PASS();
  granted += nines_permitted(permit) != 0;
  nines_bulkhead_leave(bench->bulkhead, permit, now_ns);
})

static void open_adaptive_limit(struct bench *bench)
{
  must(bench, nines_adaptive_limit_get(bench->arena, "payments", NULL, &bench->limit));
}

RUN(run_adaptive_limit, {
  nines_permit permit = nines_adaptive_limit_ask(bench->limit, now_ns);
  PASS();
  granted += nines_permitted(permit) != 0;
  nines_adaptive_limit_done(bench->limit, permit, OUTCOME(i), now_ns);
})

static void open_shedder(struct bench *bench)
{
  nines_shedder_config config = { CONFIG(nines_shedder_config), .throttle_window_ns = WINDOW_NS };
  must(bench, nines_shedder_get(bench->arena, "payments", &config, &bench->shedder));
}

RUN(run_shedder, {
  nines_permit permit = nines_shedder_ask(bench->shedder, i % 4 ? NINES_CRITICAL : NINES_SHEDDABLE, now_ns);
  PASS();
  granted += nines_permitted(permit) != 0;
  nines_shedder_done(bench->shedder, permit, OUTCOME(i), now_ns);
})

static void open_retry(struct bench *bench)
{
  nines_retry_config config = { CONFIG(nines_retry_config), .budget_ns = WINDOW_NS };
  must(bench, nines_retry_get(bench->arena, "payments", &config, &bench->retry));
}

RUN(run_retry_call, {
  nines_retry_call(bench->retry, now_ns);
  PASS();
})

// --- fault points and measures

static void open_fault(struct bench *bench)
{
  must(bench, nines_fault_get(bench->arena, "payments", &bench->fault));
}

static void open_fault_injected(struct bench *bench)
{
  open_fault(bench);
  nines_fault_config config = { CONFIG(nines_fault_config), .kind = NINES_FAULT_ERROR, .rate = 0.01, .error = 503,
                                .until_ns = bench->begin_ns + FAULT_NS };
  must(bench, nines_fault_inject(bench->fault, &config, bench->begin_ns));
}

RUN(run_fault, {
  granted += nines_fault_ask(bench->fault, NULL, now_ns).kind == NINES_FAULT_NONE;
  PASS();
})

static void open_histogram(struct bench *bench)
{
  must(bench, nines_histogram_get(bench->arena, "latency", WINDOW_NS, &bench->histogram));
  for (int i = 0; i < STEPS; i++) nines_histogram_record(bench->histogram, bench->duration_ns[i]);
  nines_arena_fold(bench->arena, bench->begin_ns);
}

RUN(run_histogram, {
  nines_histogram_record(bench->histogram, bench->duration_ns[i % STEPS]);
  PASS();
})

RUN(run_quantile, {
  if (i % 16 == 0) nines_histogram_record(bench->histogram, bench->duration_ns[i / 16 % STEPS]);
  granted += nines_histogram_read(bench->histogram, 0.99) > 0;
  PASS();
})

static void open_counter(struct bench *bench)
{
  must(bench, nines_counter_get(bench->arena, "orders", &bench->counter));
}

RUN(run_counter, {
  nines_counter_add(bench->counter, 1, now_ns);
  PASS();
})

// --- rows

enum answers { ANY, ALL_GRANTED, NONE_GRANTED };

static const struct row {
  const char *name;
  open_fn *open;
  run_fn *run;
  int threads; // at most, on one object
  enum answers answers;
} rows[] = {
  { "floor: the loop and its time", NULL, run_loop, 1, ANY },
  { "floor: private line, load + add + store", NULL, run_private_line, 2, ANY },
  { "floor: one line, fetch_add", NULL, run_fetch_add, 2, ANY },
  { "floor: one line, compare-and-swap loop", NULL, run_compare_and_swap, 2, ANY },
  { "floor: clock, CLOCK_MONOTONIC", NULL, run_fine_clock, 2, ANY },
  { "floor: clock, CLOCK_MONOTONIC_COARSE", NULL, run_coarse_clock, 2, ANY },
  { "floor: random step", NULL, run_random, 1, ANY },
  { "breaker ask + done", open_breaker, run_breaker, 2, ALL_GRANTED },
  { "breaker ask + done, latency", open_latency, run_breaker, 2, ALL_GRANTED },
  { "breaker ask + done, latency, fine clock", open_latency, run_breaker_fine, 2, ALL_GRANTED },
  { "breaker ask, refused when open", open_refusing, run_refused, 2, NONE_GRANTED },
  { "breaker ask + done, last 100 calls", open_count_window, run_breaker, 2, ALL_GRANTED },
  { "breaker ask_key + done", open_keyed, run_keyed, 2, ALL_GRANTED },
  { "limiter ask, owner", open_limiter_owner, run_limiter, 1, ALL_GRANTED },
  { "limiter ask, shared", open_limiter, run_limiter, 2, ALL_GRANTED },
  { "bulkhead enter + leave, owner", open_bulkhead_owner, run_bulkhead, 1, ALL_GRANTED },
  { "bulkhead enter + leave, shared", open_bulkhead, run_bulkhead, 2, ALL_GRANTED },
  { "adaptive limit ask + done", open_adaptive_limit, run_adaptive_limit, 2, ALL_GRANTED },
  { "shedder ask + done, quiet", open_shedder, run_shedder, 2, ALL_GRANTED },
  { "retry call", open_retry, run_retry_call, 2, ANY },
  { "histogram record", open_histogram, run_histogram, 2, ANY },
  { "histogram read p99", open_histogram, run_quantile, 1, ALL_GRANTED },
  { "counter add", open_counter, run_counter, 2, ANY },
  { "fault point, disabled", open_fault, run_fault, 2, ALL_GRANTED },
  { "fault point, injects 1 in 100", open_fault_injected, run_fault, 2, ANY },
};

#endif
