// The breaker: a circuit judged over a window of time, with calls in flight and windowed latencies.
//
// Every writer has its own stripe: asking and telling touch no line that another thread writes. A writer compares its
// own rate to the rule after each call; when that is over, it adds up all stripes and decides (if the whole is over the
// rule, at least one stripe is: the mediant inequality). What no single call can see (calls in flight that are already
// slow, a minimum reached by several writers together, a percentile, a lease that is over) the fold sees, each beat.
#ifndef NINES_CORE_BREAKER_H
#define NINES_CORE_BREAKER_H

#include "apart.h"
#include "circuit.h"
#include "flight.h"
#include "histogram.h"
#include "quantile.h"
#include "stripe.h"
#include "writer.h"

// What the writer has made sure of, so that its plain calls need few comparisons. Its own notes: nobody else's.
struct breaker_lane {
  uint64_t token;   // of permits of the circuit's word then: closed without a ramp, a rule over time alone, the window
                    // of that generation and below the rule; 0: no call is plain
  uint32_t version; // of the settings
  uint32_t slot;    // of the flight's ring, for calls that began from begin_ns on, for span_ns
  int64_t begin_ns;
  uint64_t span_ns;
};

struct breaker_stripe {
  struct stripe stripe;
  struct breaker_lane lane;
  struct flight flight;
  _Atomic uint64_t refused, late;
  // Cumulative; only with CIRCUIT_LATENCY. The shared stripe ends before it: those who share have counts, but their
  // durations are no part of the percentiles.
  struct histogram latency;
};

struct breaker {
  struct apart apart; // of the circuit
  struct circuit_rule rule;
  _Atomic int64_t slice_ns;               // a tenth of the window
  _Atomic uint32_t flight_shift;          // of flight.h
  _Atomic uint32_t version;               // of the settings: grows with each change
  _Atomic int64_t p50_ns, p95_ns, p99_ns; // as of the last fold; -1: none
  // The rest is the fold's alone. An overdue call counts as long as an ended one would: those over the least that was
  // overdue in each slice of the window, so that a permit that is never given back is forgotten after it.
  uint32_t overdue_generation, overdue_slice;
  int64_t overdue_end_ns;
  int32_t overdue_low[STRIPE_SLICES];
  uint32_t latency_generation; // of the circuit when `latency` began
  uint32_t latency_sum[2];     // latencies recorded until its older and its newer snapshot, mod 2^32
  uint64_t latency_total;      // calls when it was last read
  struct quantile latency;     // over window_ns (count windows: 10 s)
  struct circuit own;
};
static inline struct circuit *breaker_circuit(const struct breaker *breaker)
{
  return apart_at(&breaker->apart);
}

// What a call needs to see: the shared part, every writer's stripe (NULL: none yet), and which is the caller's.
struct breaker_view {
  struct breaker *breaker;
  _Atomic(struct breaker_stripe *) *stripes; // [WRITERS_MAX]
};

#define BREAKER_SETTING(field) atomic_load_explicit(&(field), memory_order_relaxed)

static inline struct flight_scale breaker_scale(const struct breaker *breaker)
{
  return (struct flight_scale){ BREAKER_SETTING(breaker->rule.slow_ns), BREAKER_SETTING(breaker->flight_shift) & 63 };
}
static inline bool breaker_stripe_current(const struct breaker *breaker, const struct stripe *stripe,
                                          uint32_t generation)
{
  return BREAKER_SETTING(stripe->epoch) == generation &&
         BREAKER_SETTING(stripe->width_ns) == BREAKER_SETTING(breaker->slice_ns);
}
// Is the writer's own window at or over the rule, whatever the minimum?
static inline bool breaker_stripe_over(const struct circuit_rule *rule, struct tally window)
{
  return window.bad * 10000 >= window.total * BREAKER_SETTING(rule->failure_permyriad) ||
         window.slow * 10000 >= window.total * BREAKER_SETTING(rule->slow_permyriad);
}
// [any] The plain cases, inlined where each ns counts: asking while closed, or open for longer; a success of this
// generation in the current slices. It leaves a window that was below the rule below it. False: nothing was done, it is
// for the functions below.
static inline bool breaker_ask_plainly(struct breaker *breaker, struct breaker_stripe *stripe, uint32_t writer,
                                       int64_t now_ns, nines_permit *permit)
{
  uint64_t word = circuit_load(breaker_circuit(breaker));
  const struct breaker_lane *lane = &stripe->lane;
  if (__builtin_expect((word | CIRCUIT_TOKEN_GRANTED) == lane->token &&
                           (uint64_t)now_ns - (uint64_t)lane->begin_ns < lane->span_ns,
                       1)) {
    flight_count_one(&stripe->flight, lane->slot % FLIGHT_SLOTS, 1);
    *permit = (nines_permit){ now_ns, word | CIRCUIT_TOKEN_GRANTED };
    return true;
  }
  int64_t until_ns = circuit_word_until_ns(word);
  if (circuit_word_state(word) != NINES_BREAKER_OPEN || now_ns >= until_ns || writer == WRITER_SHARED) return false;
  stripe_grow(&stripe->refused, 1);
  *permit = (nines_permit){ until_ns, 0 };
  return true;
}
static inline bool breaker_done_plainly(struct breaker *breaker, struct breaker_stripe *stripe, nines_permit permit,
                                        int outcome, int64_t now_ns)
{
  uint64_t word = circuit_load(breaker_circuit(breaker));
  const struct breaker_lane *lane = &stripe->lane;
  int64_t took_ns = (int64_t)((uint64_t)now_ns - (uint64_t)permit.at_ns); // wraps: a permit's time is the caller's word
  if (__builtin_expect(permit.token != lane->token || permit.token != (word | CIRCUIT_TOKEN_GRANTED) ||
                           (uint64_t)permit.at_ns - (uint64_t)lane->begin_ns >= lane->span_ns ||
                           lane->version != BREAKER_SETTING(breaker->version) || outcome != NINES_SUCCESS ||
                           now_ns >= BREAKER_SETTING(stripe->stripe.end_ns) ||
                           took_ns > BREAKER_SETTING(breaker->rule.slow_ns),
                       0))
    return false;
  flight_count_one(&stripe->flight, lane->slot % FLIGHT_SLOTS, -1);
  stripe_count(&stripe->stripe, false, false);
  if (BREAKER_SETTING(breaker->rule.flags) & CIRCUIT_LATENCY) histogram_record(&stripe->latency, took_ns, 1);
  return true;
}

// `fresh` memory is zeroed. Applies the config: state and counts stay. By the thread that folds.
int breaker_set(struct breaker *breaker, const nines_breaker_config *config, bool fresh, int64_t now_ns,
                struct status *status);
bool breaker_valid(const struct breaker *breaker);
bool breaker_stripe_valid(const struct breaker_stripe *stripe);
void breaker_rebase(const struct breaker_view *view, int64_t then_ns, int64_t now_ns);
void breaker_orphan(const struct breaker_view *view); // no call is in flight any more: all who made them are gone
// The process of these writers (one bit each, all that it had) is gone, with its calls in flight.
void breaker_forget(const struct breaker_view *view, uint32_t writers);
// [any] `writer`: the caller's number; WRITER_SHARED, also taken for a writer without a stripe, uses locked
// instructions and is judged by the fold.
nines_permit breaker_ask(const struct breaker_view *view, uint32_t writer, int64_t now_ns, uint64_t *random);
void breaker_done(const struct breaker_view *view, uint32_t writer, nines_permit permit, int outcome, int64_t now_ns,
                  uint64_t *random);
void breaker_put(const struct breaker_view *view, int state, int64_t hold_ns, int64_t now_ns);
void breaker_reset(const struct breaker_view *view, int64_t now_ns);
void breaker_fold(const struct breaker_view *view, int64_t now_ns, uint64_t *random); // each beat, one thread
// [any] Percentiles as of the last fold, all else as of now.
void breaker_read(const struct breaker_view *view, int64_t now_ns, nines_breaker_reading *out);

#endif
