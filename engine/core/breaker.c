// The request path, and what the fold adds to it.
//
// Asking and telling are two plain adds each on the caller's own lines, and a comparison; whatever is not the plain
// case (another generation, a slice that is over, the shared stripe, a result that the circuit has to hear of) is out
// of line. A stripe's window belongs to one generation of the circuit: the first result of another begins it anew, so
// nothing is cleared at a transition, and a kill leaves at most one call uncounted.
#include "breaker.h"

#include <string.h>

#include "circuit_probe.h"

#define NS_PER_S          INT64_C(1000000000)
#define NS_PER_DAY        (86400 * NS_PER_S)
#define COUNT_SPAN_NS     (10 * NS_PER_S) // of what is over time when the rule counts calls
#define UNLIKELY(test)    __builtin_expect(!!(test), 0)
#define OUT_OF_LINE       __attribute__((noinline, cold))
#define RELAXED(field)    atomic_load_explicit(&(field), memory_order_relaxed)
#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

enum { PERMYRIAD = 10000 };

static inline int64_t apart_ns(int64_t later_ns, int64_t earlier_ns) // wraps: a permit's time is the caller's word
{
  return (int64_t)((uint64_t)later_ns - (uint64_t)earlier_ns);
}

// ---- the view

static inline struct breaker_stripe *stripe_of(const struct breaker_view *view, uint32_t writer)
{
  return atomic_load_explicit(&view->stripes[writer], memory_order_acquire);
}

static struct tally window_of(const struct breaker_view *view, uint32_t generation, int64_t now_ns)
{
  struct tally sum = { 0 };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = stripe_of(view, writer);
    if (stripe) sum = tally_add(sum, stripe_sum(&stripe->stripe, generation, now_ns));
  }
  return sum;
}

// Damaged words must not stop us: any slice will do then.
static int64_t slice_in(const struct breaker *breaker)
{
  int64_t slice_ns = RELAXED(breaker->slice_ns);
  return slice_ns >= 1 && slice_ns <= NS_PER_DAY ? slice_ns : NS_PER_S;
}

// Begins the stripe's window for this generation, or with a width that was changed.
OUT_OF_LINE static void renew(const struct breaker *breaker, struct stripe *stripe, uint32_t generation, int64_t now_ns)
{
  int64_t span_ns = slice_in(breaker) * STRIPE_SLICES;
  if (RELAXED(stripe->epoch) != generation)
    stripe_start(stripe, span_ns, generation, now_ns);
  else
    stripe_reshape(stripe, span_ns, now_ns);
}

// ---- the request path

OUT_OF_LINE static nines_permit ask_shared(const struct breaker_view *view, int64_t now_ns, uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  struct breaker_stripe *stripe = stripe_of(view, WRITER_SHARED);
  nines_permit permit = circuit_ask(breaker_circuit(breaker), &breaker->rule, now_ns, random);
  if (!stripe) return permit;
  if (permit.token)
    flight_begin(&stripe->flight, breaker_scale(breaker), circuit_permit_generation(permit), now_ns);
  else
    atomic_fetch_add_explicit(&stripe->refused, 1, memory_order_relaxed);
  return permit;
}

// Notes whether the writer's next calls are plain (see breaker.h).
static void arm(const struct breaker *breaker, struct breaker_stripe *stripe, int64_t now_ns)
{
  const struct circuit_rule *rule = &breaker->rule;
  struct flight_scale scale = breaker_scale(breaker);
  uint32_t version = RELAXED(breaker->version); // before the settings: one that changes meanwhile is noticed
  uint64_t word = circuit_load(breaker_circuit(breaker));
  uint32_t generation = circuit_word_generation(word);
  bool closed = !(word & ~((uint64_t)CIRCUIT_GENERATION_MASK << 3)); // and without a ramp
  bool plain = closed && !RELAXED(rule->window_calls) && !RELAXED(rule->failures_in_a_row) &&
               breaker_stripe_current(breaker, &stripe->stripe, generation) &&
               !breaker_stripe_over(rule, stripe_window(&stripe->stripe)) &&
               flight_ready(&stripe->flight, scale, generation, now_ns);
  stripe->lane = (struct breaker_lane){ .token = plain ? word | CIRCUIT_TOKEN_GRANTED : 0,
                                        .version = version,
                                        .slot = flight_slot(scale, now_ns),
                                        .begin_ns = now_ns >> scale.shift << scale.shift,
                                        .span_ns = UINT64_C(1) << scale.shift };
}

// Another state, or the first call of a slice of time.
static __attribute__((noinline)) nines_permit ask_own(struct breaker *breaker, struct breaker_stripe *stripe,
                                                      int64_t now_ns, uint64_t *random)
{
  nines_permit permit = circuit_ask(breaker_circuit(breaker), &breaker->rule, now_ns, random);
  if (permit.token)
    flight_begin(&stripe->flight, breaker_scale(breaker), circuit_permit_generation(permit), now_ns);
  else
    stripe_grow(&stripe->refused, 1);
  arm(breaker, stripe, now_ns);
  return permit;
}

nines_permit breaker_ask(const struct breaker_view *view, uint32_t writer, int64_t now_ns, uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  struct breaker_stripe *stripe = stripe_of(view, writer);
  nines_permit permit;
  if (UNLIKELY(writer == WRITER_SHARED || !stripe)) return ask_shared(view, now_ns, random);
  if (breaker_ask_plainly(breaker, stripe, writer, now_ns, &permit)) return permit;
  return ask_own(breaker, stripe, now_ns, random);
}

OUT_OF_LINE static void done_shared(const struct breaker_view *view, nines_permit permit, int outcome, int64_t now_ns,
                                    uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  struct breaker_stripe *stripe = stripe_of(view, WRITER_SHARED);
  int64_t took_ns = apart_ns(now_ns, permit.at_ns);
  bool slow = took_ns > RELAXED(breaker->rule.slow_ns);
  enum circuit_told told =
      circuit_tell(breaker_circuit(breaker), &breaker->rule, permit, outcome, slow, now_ns, random);
  if (!stripe) return;
  flight_end(&stripe->flight, breaker_scale(breaker), circuit_permit_generation(permit), permit.at_ns, now_ns);
  if (told == CIRCUIT_LATE) atomic_fetch_add_explicit(&stripe->late, 1, memory_order_relaxed);
  if (told != CIRCUIT_COUNTED && told != CIRCUIT_PROBED) return;
  stripe_add_shared(&stripe->stripe, outcome != NINES_SUCCESS, slow);
}

static __attribute__((noinline)) void judge_whole(const struct breaker_view *view, uint32_t generation, int64_t now_ns,
                                                  uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  struct tally window = window_of(view, generation, now_ns);
  struct circuit_verdict verdict = { circuit_judge(&breaker->rule, window), window };
  if (verdict.cause) circuit_open(breaker_circuit(breaker), &breaker->rule, generation, verdict, now_ns, random);
}

// What the circuit has to hear of (probes, late results, rules over calls and failures in a row), the first result of
// a slice of time or of a generation.
static __attribute__((noinline)) void done_own(const struct breaker_view *view, struct breaker_stripe *stripe,
                                               nines_permit permit, int outcome, int64_t now_ns, uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  uint32_t generation = circuit_permit_generation(permit);
  int64_t took_ns = apart_ns(now_ns, permit.at_ns);
  bool slow = took_ns > RELAXED(breaker->rule.slow_ns);
  flight_end(&stripe->flight, breaker_scale(breaker), generation, permit.at_ns, now_ns);
  enum circuit_told told =
      circuit_tell(breaker_circuit(breaker), &breaker->rule, permit, outcome, slow, now_ns, random);
  if (told == CIRCUIT_LATE) stripe_grow(&stripe->late, 1);
  // Nothing was counted, so what the lane says stands: it answers only while the circuit's word is its own.
  if (told != CIRCUIT_COUNTED && told != CIRCUIT_PROBED) return;
  if (!breaker_stripe_current(breaker, &stripe->stripe, generation))
    renew(breaker, &stripe->stripe, generation, now_ns);
  stripe_add(&stripe->stripe, outcome != NINES_SUCCESS, slow, now_ns);
  if (RELAXED(breaker->rule.flags) & CIRCUIT_LATENCY) histogram_record(&stripe->latency, took_ns, 1);
  if (told == CIRCUIT_COUNTED && RELAXED(breaker->rule.window_calls) == 0 &&
      breaker_stripe_over(&breaker->rule, stripe_window(&stripe->stripe)))
    judge_whole(view, generation, now_ns, random);
  arm(breaker, stripe, now_ns);
}

// Every call in here is the last thing done: nothing has to be saved over it.
void breaker_done(const struct breaker_view *view, uint32_t writer, nines_permit permit, int outcome, int64_t now_ns,
                  uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  struct breaker_stripe *stripe = stripe_of(view, writer);
  if (UNLIKELY(permit.token == 0)) return;
  if (UNLIKELY(writer == WRITER_SHARED || !stripe)) {
    done_shared(view, permit, outcome, now_ns, random);
    return;
  }
  if (!breaker_done_plainly(breaker, stripe, permit, outcome, now_ns))
    done_own(view, stripe, permit, outcome, now_ns, random);
}

// ---- settings and states

int breaker_set(struct breaker *breaker, const nines_breaker_config *config, bool fresh, int64_t now_ns,
                struct status *status)
{
  int code = circuit_rule_set(&breaker->rule, config, status);
  if (code) return code;
  int64_t span_ns = RELAXED(breaker->rule.window_calls) ? COUNT_SPAN_NS : RELAXED(breaker->rule.window_ns);
  PUT(breaker->slice_ns, span_ns / STRIPE_SLICES);
  PUT(breaker->flight_shift, flight_shift(RELAXED(breaker->rule.slow_ns)));
  atomic_store_explicit(&breaker->version, RELAXED(breaker->version) + 1, memory_order_release);
  if (!fresh) return 0;
  apart_default(&breaker->apart, &breaker->own);
  nines_breaker_config given = { 0 };
  memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  PUT(breaker->p50_ns, -1);
  PUT(breaker->p95_ns, -1);
  PUT(breaker->p99_ns, -1);
  circuit_init(breaker_circuit(breaker), &breaker->rule, given.initial_state, now_ns);
  return 0;
}

bool breaker_valid(const struct breaker *breaker)
{
  return circuit_valid(breaker_circuit(breaker)) && breaker->latency.half_ns >= 0 && RELAXED(breaker->slice_ns) > 0;
}

bool breaker_stripe_valid(const struct breaker_stripe *stripe)
{
  return stripe_valid(&stripe->stripe);
}

void breaker_rebase(const struct breaker_view *view, int64_t then_ns, int64_t now_ns)
{
  struct breaker *breaker = view->breaker;
  circuit_rebase(breaker_circuit(breaker), then_ns, now_ns);
  if (breaker->latency.half_ns > 0) quantile_rebase(&breaker->latency, then_ns, now_ns);
  breaker->overdue_end_ns = apart_ns(breaker->overdue_end_ns, apart_ns(then_ns, now_ns));
  memset(breaker->overdue_low, 0, sizeof breaker->overdue_low);
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = stripe_of(view, writer);
    if (!stripe) continue;
    stripe_rebase(&stripe->stripe, then_ns, now_ns);
    stripe->lane.token = 0;
  }
}

static void clear(struct breaker_stripe *stripe)
{
  if (!stripe) return;
  flight_clear(&stripe->flight);
  stripe->lane.token = 0;
}

void breaker_orphan(const struct breaker_view *view)
{
  circuit_probe_orphan(breaker_circuit(view->breaker));
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) clear(stripe_of(view, writer));
}

// Calls that began on the shared stripe, and ended on one of the writers' own, left more ends than beginnings there:
// these belong to the shared one's count.
void breaker_forget(const struct breaker_view *view, uint32_t writers)
{
  struct breaker_stripe *shared = stripe_of(view, WRITER_SHARED);
  int64_t sum = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = writers >> writer & 1 ? stripe_of(view, writer) : NULL;
    if (!stripe) continue;
    sum += flight_count(&stripe->flight);
    clear(stripe);
  }
  if (sum < 0 && shared) atomic_fetch_add_explicit(&shared->flight.earlier, sum, memory_order_relaxed);
}

void breaker_put(const struct breaker_view *view, int state, int64_t hold_ns, int64_t now_ns)
{
  circuit_put(breaker_circuit(view->breaker), &view->breaker->rule, state, hold_ns, now_ns);
}

void breaker_reset(const struct breaker_view *view, int64_t now_ns) // another generation: nothing counts any more
{
  breaker_put(view, NINES_BREAKER_CLOSED, 0, now_ns);
}

// ---- the fold, and reading

static int64_t overdue_of(const struct breaker_view *view, uint32_t generation, int64_t now_ns)
{
  int64_t overdue = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = stripe_of(view, writer);
    if (stripe) overdue += flight_overdue(&stripe->flight, breaker_scale(view->breaker), generation, now_ns);
  }
  return overdue > 0 ? overdue : 0;
}

// Those that became overdue within the window.
static uint64_t fold_overdue(const struct breaker_view *view, uint32_t generation, int64_t now_ns)
{
  struct breaker *breaker = view->breaker;
  int64_t overdue = overdue_of(view, generation, now_ns), slice_ns = slice_in(breaker);
  int32_t *low = breaker->overdue_low;
  if (overdue > INT32_MAX) overdue = INT32_MAX; // damaged
  bool begins = breaker->overdue_generation != generation;
  if (begins) memset(low, 0, sizeof breaker->overdue_low);
  if (begins || apart_ns(breaker->overdue_end_ns, now_ns) > slice_ns) // or the window was made shorter
    breaker->overdue_end_ns = now_ns + slice_ns;
  breaker->overdue_generation = generation;
  uint32_t slice = breaker->overdue_slice % STRIPE_SLICES;
  int64_t late_ns = apart_ns(now_ns, breaker->overdue_end_ns);
  if (late_ns >= 0) {
    int64_t steps = late_ns / slice_ns + 1;
    for (int64_t i = 0; i < steps && i < STRIPE_SLICES; i++) {
      slice = (slice + 1) % STRIPE_SLICES;
      low[slice] = (int32_t)overdue;
    }
    breaker->overdue_slice = slice;
    breaker->overdue_end_ns = now_ns - late_ns % slice_ns + slice_ns;
  }
  if (overdue < low[slice]) low[slice] = (int32_t)overdue;
  int64_t least = overdue;
  for (uint32_t i = 0; i < STRIPE_SLICES; i++) least = low[i] < least ? low[i] : least;
  if (least < 0) least = 0; // damaged
  return (uint64_t)(overdue - least);
}

struct latencies { // a source for quantile.h
  const struct breaker_view *view;
  uint32_t sum; // of all counts
  bool was_read;
};

static void latencies_add(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  struct latencies *latencies = userdata;
  latencies->was_read = true;
  latencies->sum = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = writer != WRITER_SHARED ? stripe_of(latencies->view, writer) : NULL;
    for (uint32_t i = 0; stripe && i < HISTOGRAM_BUCKETS; i++) count[i] += RELAXED(stripe->latency.count[i]);
  }
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) latencies->sum += count[i];
}

// Keeps the two snapshots, and how many latencies there were at each.
static void turn_latency(struct breaker *breaker, struct latencies *latencies, uint32_t generation, int64_t now_ns)
{
  int64_t span_ns = slice_in(breaker) * STRIPE_SLICES;
  if (breaker->latency.half_ns <= 0 || breaker->latency_generation != generation) {
    quantile_init(&breaker->latency, span_ns, now_ns, latencies_add, latencies);
    breaker->latency_sum[0] = breaker->latency_sum[1] = latencies->sum;
    breaker->latency_generation = generation;
    return;
  }
  breaker->latency.half_ns = span_ns / 2;
  quantile_fold(&breaker->latency, now_ns, latencies_add, latencies);
  if (!latencies->was_read) return;
  breaker->latency_sum[0] = breaker->latency_sum[1];
  breaker->latency_sum[1] = latencies->sum;
}

// Publishes the window's percentiles. True when the latency rule is broken.
static bool fold_latency(const struct breaker_view *view, uint32_t generation, uint64_t total, int64_t now_ns)
{
  struct breaker *breaker = view->breaker;
  if (!(RELAXED(breaker->rule.flags) & CIRCUIT_LATENCY)) {
    PUT(breaker->p50_ns, -1);
    PUT(breaker->p95_ns, -1);
    PUT(breaker->p99_ns, -1);
    breaker->latency.half_ns = 0; // begins anew when it is wanted again
    return false;
  }
  struct latencies latencies = { .view = view };
  turn_latency(breaker, &latencies, generation, now_ns);
  uint32_t permille = RELAXED(breaker->rule.latency_permille);
  if (!permille && !latencies.was_read && total == breaker->latency_total) return false; // all as it was
  breaker->latency_total = total;
  double q[] = { 0.5, 0.95, 0.99, permille > 0 && permille <= 1000 ? permille / 1000.0 : 0.99 };
  int64_t ns[4];
  quantile_read(&breaker->latency, latencies_add, &latencies, q, ns, 4);
  PUT(breaker->p50_ns, ns[0]);
  PUT(breaker->p95_ns, ns[1]);
  PUT(breaker->p99_ns, ns[2]);
  uint32_t known = latencies.sum - breaker->latency_sum[0];
  return permille && known >= RELAXED(breaker->rule.calls_min) && ns[3] > RELAXED(breaker->rule.latency_ns);
}

// The shared stripe has no writer that turns it.
static void fold_shared(const struct breaker_view *view, uint32_t generation, int64_t now_ns)
{
  struct breaker_stripe *shared = stripe_of(view, WRITER_SHARED);
  if (!shared) return;
  if (breaker_stripe_current(view->breaker, &shared->stripe, generation))
    stripe_turn(&shared->stripe, now_ns);
  else
    renew(view->breaker, &shared->stripe, generation, now_ns);
}

static uint64_t total_of(const struct breaker_view *view)
{
  uint64_t total = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = stripe_of(view, writer);
    if (stripe) total += stripe_total(&stripe->stripe).total;
  }
  return total;
}

static struct tally calls_of(const struct breaker_view *view, uint32_t generation, int64_t now_ns)
{
  const struct breaker *breaker = view->breaker;
  return RELAXED(breaker->rule.window_calls) ? circuit_window(breaker_circuit(breaker), &breaker->rule)
                                             : window_of(view, generation, now_ns);
}

void breaker_fold(const struct breaker_view *view, int64_t now_ns, uint64_t *random)
{
  struct breaker *breaker = view->breaker;
  circuit_fold(breaker_circuit(breaker), &breaker->rule, now_ns, random);
  uint64_t word = circuit_load(breaker_circuit(breaker));
  uint32_t generation = circuit_word_generation(word);
  int state = circuit_word_state(word);
  fold_shared(view, generation, now_ns);
  uint64_t overdue = fold_overdue(view, generation, now_ns);
  bool lagging = fold_latency(view, generation, total_of(view), now_ns);
  if (state != NINES_BREAKER_CLOSED && state != NINES_BREAKER_METRICS_ONLY) return;

  struct tally calls = tally_add(calls_of(view, generation, now_ns), (struct tally){ overdue, 0, overdue });
  enum circuit_cause cause = circuit_judge(&breaker->rule, calls);
  if (!cause && lagging) cause = CIRCUIT_BY_LATENCY;
  if (cause)
    circuit_open(breaker_circuit(breaker), &breaker->rule, generation, (struct circuit_verdict){ cause, calls }, now_ns,
                 random);
  else if (state == NINES_BREAKER_METRICS_ONLY)
    circuit_below(breaker_circuit(breaker), &breaker->rule, generation);
}

void breaker_read(const struct breaker_view *view, int64_t now_ns, nines_breaker_reading *out)
{
  const struct breaker *breaker = view->breaker;
  uint64_t word = circuit_load(breaker_circuit(breaker));
  uint32_t generation = circuit_word_generation(word);
  *out = (nines_breaker_reading){ .state = circuit_word_state(word),
                                  .opened_in_a_row = RELAXED(breaker_circuit(breaker)->opened_in_a_row),
                                  .p50_ns = RELAXED(breaker->p50_ns),
                                  .p95_ns = RELAXED(breaker->p95_ns),
                                  .p99_ns = RELAXED(breaker->p99_ns) };
  if (out->state == NINES_BREAKER_OPEN || out->state == NINES_BREAKER_CLOSED)
    out->until_ns = circuit_word_until_ns(word);
  struct tally calls = out->state == NINES_BREAKER_HALF_OPEN ? circuit_trial(breaker_circuit(breaker))
                                                             : calls_of(view, generation, now_ns);
  out->calls = calls.total;
  out->failed = calls.bad;
  out->slow = calls.slow;
  uint64_t in_flight = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct breaker_stripe *stripe = stripe_of(view, writer);
    if (!stripe) continue;
    in_flight += (uint64_t)flight_count(&stripe->flight);
    out->refused += RELAXED(stripe->refused);
    out->late += RELAXED(stripe->late);
  }
  out->total = total_of(view);
  out->in_flight = in_flight <= INT64_MAX ? in_flight : 0; // or for a moment below zero
  uint64_t overdue = (uint64_t)overdue_of(view, generation, now_ns);
  out->overdue = overdue < out->in_flight ? overdue : out->in_flight;
}
