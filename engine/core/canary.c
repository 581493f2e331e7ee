// Two e-processes for each metric (worse, not much worse), one for the split, and where their counts come from.
//
// Why it is sound. (1) Under "not worse" each factor has an expectation of at most 1 given the past and how many events
// the tick had; several events of one tick are drawn without replacement, which varies less than the binomial, and
// convexity does the rest (Hoeffding 1963). So a tick may be of any length; it ends by time and by the total of
// requests, never by an arm. (2) A power w <= 1 of such a factor has an expectation of at most 1 too (Jensen), and w
// may depend on the tick's number of events: a tick in which far more fails than usual, an outage, weighs no more than
// one that is just unusual, and counts nothing at all for PASS: when everything fails, no canary can be twice as bad.
// (3) The bet that is placed later is a mixture over starting times with weights fixed in advance (a martingale again).
// (4) Only the fold writes what is not atomic; begin leaves its counts and rings the bell last.
#include "canary.h"

#include <math.h>
#include <string.h>

#define NS_PER_S  INT64_C(1000000000)
#define TICK_NS   NS_PER_S
#define WINDOW_NS (3600 * NS_PER_S)
// A tick is judged when it has so many requests, or lasted so long: with fewer, hardly one has both arms in it.
enum { TICK_REQUESTS = 32 };
#define TICK_MAX_NS (60 * NS_PER_S)

enum { TIMED_MIN = 200 }; // durations, before a threshold is taken from them

// The share's own level, of alpha.
#define SHARE_LEVEL 0.01

enum canary_why { WHY_UNDECIDED, WHY_ERRORS, WHY_LATENCY, WHY_SHARE, WHY_NO_ERRORS, WHYS };

static inline struct canary_open *open_of(const struct canary *canary)
{
  return apart_at(&canary->apart);
}

static inline double get(const _Atomic double *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}
static inline void put(_Atomic double *word, double value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}
static inline uint64_t load_count(const _Atomic uint64_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}
static inline void put_count(_Atomic uint64_t *word, uint64_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

// A writer may be between two stores: events of the next tick's requests are cut off.
static struct counts counts_of(const uint64_t requests[2], const uint64_t events[2])
{
  struct counts counts;
  for (int arm = 0; arm < 2; arm++) {
    counts.requests[arm] = (double)requests[arm];
    counts.events[arm] = (double)(events[arm] < requests[arm] ? events[arm] : requests[arm]);
  }
  return counts;
}

static void learn(struct habit *habit, const struct counts *counts)
{
  if (counts->requests[0] > 0) habit_add(habit, counts->requests[0], counts->events[0]);
}

static double phi_of(const struct canary *canary, const struct evidence *evidence)
{
  double given = get(&canary->dispersion);
  return given >= 1 ? given : habit_phi(&evidence->habit);
}

static void metric_feed(struct canary *canary, struct evidence *evidence, const struct counts *counts, double assumed)
{
  double requests = counts->requests[0] + counts->requests[1], events = counts->events[0] + counts->events[1];
  if (requests <= 0) return;
  double phi = phi_of(canary, evidence);
  double limit = habit_limit(&evidence->habit, requests, assumed, phi);
  bool steady = events <= limit;
  double weight = (steady ? 1 : limit / events) / phi;
  evidence_feed(evidence, counts, weight, steady, get(&canary->margin), get(&canary->bad));
  // Not known before the rollout: learned from the baseline's quiet ticks during it, then frozen.
  if (steady && !habit_known(&evidence->habit)) learn(&evidence->habit, counts);
}

// ---- The verdict

static bool judges_latency(const struct canary *canary)
{
  return get(&canary->latency_quantile) > 0;
}

// The level of each of the two tests.
static double level_of(const struct canary *canary)
{
  double alpha = get(&canary->alpha) * (get(&canary->share) > 0 ? 1 - SHARE_LEVEL : 1);
  return judges_latency(canary) ? alpha / 2 : alpha;
}

static enum canary_why failed(const struct canary *canary)
{
  double needed = -log(level_of(canary));
  if (canary->errors.worse_max >= needed) return WHY_ERRORS;
  if (judges_latency(canary) && canary->latency.worse_max >= needed) return WHY_LATENCY;
  bool split =
      get(&canary->share) > 0 && evidence_split_log(canary->share_evidence) >= -log(get(&canary->alpha) * SHARE_LEVEL);
  return split ? WHY_SHARE : WHY_UNDECIDED;
}

// Without any error on either side: the probability of so many good ones at error_max, as an e-value.
static double log_flawless(const struct canary *canary)
{
  if (canary->sum.bad[0] + canary->sum.bad[1] > 0) return -INFINITY;
  bool measured = get(&canary->dispersion) >= 1 || habit_known(&canary->errors.habit); // bursts are silent for longer
  double phi = measured ? phi_of(canary, &canary->errors) : 1;
  return -(double)canary->sum.total[1] / phi * log1p(-get(&canary->error_max) / 100);
}

static double bounded_exp(double x)
{
  return exp(fmin(x, 700));
}

static void conclude(struct canary *canary)
{
  double flawless = log_flawless(canary), better = fmax(canary->errors.better, flawless);
  enum canary_why good = flawless > canary->errors.better ? WHY_NO_ERRORS : WHY_ERRORS;
  if (judges_latency(canary) && canary->durations && canary->latency.better < better) {
    better = canary->latency.better;
    good = WHY_LATENCY;
  }
  double level = level_of(canary);
  double worst =
      judges_latency(canary) ? fmax(canary->errors.worse_max, canary->latency.worse_max) : canary->errors.worse_max;
  put(&canary->out.e_errors, bounded_exp(canary->errors.worse));
  put(&canary->out.e_latency, bounded_exp(canary->latency.worse));
  put(&canary->out.e_pass, bounded_exp(better));
  put(&canary->out.p_value, fmin(1, exp(-worst) * get(&canary->alpha) / level));
  put(&canary->out.dispersion, phi_of(canary, &canary->errors));
  uint32_t verdict = atomic_load_explicit(&canary->out.verdict, memory_order_relaxed);
  if (verdict == NINES_FAIL) return;
  enum canary_why why = failed(canary);
  if (why != WHY_UNDECIDED)
    verdict = NINES_FAIL;
  else if (verdict == NINES_INCONCLUSIVE && better >= -log(get(&canary->beta)))
    verdict = NINES_PASS, why = good;
  else
    return;
  atomic_store_explicit(&canary->out.why, why, memory_order_relaxed);
  atomic_store_explicit(&canary->out.verdict, verdict, memory_order_release);
}

void canary_learn(struct canary *canary, const struct canary_tick *tick)
{
  struct counts errors = counts_of(tick->total, tick->bad), slow = counts_of(tick->timed, tick->slow);
  learn(&canary->usual_errors, &errors);
  learn(&canary->usual_slow, &slow);
}

void canary_start(struct canary *canary)
{
  canary->errors.habit = canary->usual_errors;
  canary->latency.habit = canary->usual_slow;
  evidence_start(&canary->errors);
  evidence_start(&canary->latency);
  memset(canary->share_evidence, 0, sizeof canary->share_evidence);
  canary->sum = canary->pending = (struct canary_tick){ 0 };
  canary->pending_ns = 0;
  canary->durations = 0;
  atomic_store_explicit(&canary->out.verdict, NINES_INCONCLUSIVE, memory_order_relaxed);
  atomic_store_explicit(&canary->out.why, WHY_UNDECIDED, memory_order_relaxed);
  conclude(canary);
}

static void tick_add(struct canary_tick *sum, const struct canary_tick *tick)
{
  for (int arm = 0; arm < 2; arm++) {
    sum->total[arm] += tick->total[arm];
    sum->bad[arm] += tick->bad[arm];
    sum->timed[arm] += tick->timed[arm];
    sum->slow[arm] += tick->slow[arm];
  }
}

void canary_feed(struct canary *canary, const struct canary_tick *tick)
{
  struct counts errors = counts_of(tick->total, tick->bad), slow = counts_of(tick->timed, tick->slow);
  tick_add(&canary->sum, tick);
  if (tick->timed[0] + tick->timed[1] > 0) canary->durations = 1;
  double quantile = get(&canary->latency_quantile), share = get(&canary->share) / 100;
  metric_feed(canary, &canary->errors, &errors, get(&canary->error_max) / 100);
  if (quantile > 0) metric_feed(canary, &canary->latency, &slow, 1 - quantile);
  if (share > 0) evidence_split(canary->share_evidence, share, tick->total);
  conclude(canary);
}

// ---- Counts of all writers

static struct canary_stripe *stripe_of(const struct canary_view *view, uint32_t writer)
{
  return atomic_load_explicit(&view->stripes[writer], memory_order_acquire);
}

static struct tally tally_of(const struct canary_view *view, int arm)
{
  struct tally sum = { 0 };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct canary_stripe *stripe = stripe_of(view, writer);
    if (stripe) sum = tally_add(sum, meter_tally(&stripe->arm[arm]));
  }
  return sum;
}

struct source {
  const struct canary_view *view;
  int arm;
};

static void durations_of(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  const struct source *source = userdata;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct canary_stripe *stripe = stripe_of(source->view, writer);
    if (stripe) meter_add_latency(&stripe->arm[source->arm], count);
  }
}

// Of counts mod 2^32, from a bucket on.
static uint32_t count_from(const uint32_t count[static HISTOGRAM_BUCKETS], uint32_t from)
{
  uint32_t sum = 0;
  for (uint32_t i = from; i < HISTOGRAM_BUCKETS; i++) sum += count[i];
  return sum;
}

// Cumulative counts; timed and slow mod 2^32.
static struct canary_tick count_all(const struct canary_view *view, uint32_t slow_from)
{
  struct canary_tick all;
  for (int arm = 0; arm < 2; arm++) {
    uint32_t count[HISTOGRAM_BUCKETS] = { 0 };
    durations_of(&(struct source){ view, arm }, count);
    struct tally tally = tally_of(view, arm);
    all.total[arm] = tally.total;
    all.bad[arm] = tally.bad;
    all.timed[arm] = count_from(count, 0);
    all.slow[arm] = count_from(count, slow_from);
  }
  return all;
}

// What grew; something that shrank (a stripe that was made anew) grew by nothing.
static uint64_t grown(uint64_t now, uint64_t then)
{
  return now > then ? now - then : 0;
}
static uint64_t grown_mod(uint64_t now, uint64_t then)
{
  uint32_t by = (uint32_t)now - (uint32_t)then;
  return by < UINT32_MAX / 2 ? by : 0;
}

static struct canary_tick tick_between(const struct canary_tick *then, const struct canary_tick *now)
{
  struct canary_tick tick;
  for (int arm = 0; arm < 2; arm++) {
    tick.total[arm] = grown(now->total[arm], then->total[arm]);
    tick.bad[arm] = grown(now->bad[arm], then->bad[arm]);
    tick.timed[arm] = grown_mod(now->timed[arm], then->timed[arm]);
    tick.slow[arm] = grown_mod(now->slow[arm], then->slow[arm]);
  }
  return tick;
}

// The threshold from the baseline's recent durations; 0 when there are too few.
static uint32_t find_threshold(const struct canary_view *view)
{
  double quantile = get(&view->canary->latency_quantile);
  if (!(quantile > 0) || view->canary->seen.timed[0] < TIMED_MIN) return 0;
  struct source source = { view, NINES_BASELINE };
  int64_t value_ns;
  quantile_read(&view->canary->before, durations_of, &source, &quantile, &value_ns, 1);
  return value_ns < 0 ? 0 : histogram_index(value_ns) + 1;
}

static void forget_durations(struct canary_tick *tick)
{
  for (int arm = 0; arm < 2; arm++) tick->timed[arm] = tick->slow[arm] = 0;
}

static void set_threshold(const struct canary_view *view, uint32_t slow_from)
{
  struct canary *canary = view->canary;
  canary->slow_from = slow_from;
  struct canary_tick all = count_all(view, slow_from);
  memcpy(canary->seen.timed, all.timed, sizeof all.timed);
  memcpy(canary->seen.slow, all.slow, sizeof all.slow);
  int64_t slow_ns = slow_from == 0 ? -1 : histogram_upper_ns(slow_from - 1);
  atomic_store_explicit(&canary->out.slow_ns, slow_ns, memory_order_relaxed);
}

// ---- The fold

static void begin_rollout(const struct canary_view *view, uint32_t asked, int64_t now_ns)
{
  struct canary *canary = view->canary;
  for (int arm = 0; arm < 2; arm++) {
    canary->seen.total[arm] = load_count(&open_of(canary)->begun_total[arm]);
    canary->seen.bad[arm] = load_count(&open_of(canary)->begun_bad[arm]);
    put_count(&canary->out.slow[arm], 0);
  }
  set_threshold(view, find_threshold(view));
  canary->tick_ns = now_ns;
  canary_start(canary);
  atomic_store_explicit(&canary->answered, asked, memory_order_release);
}

static void learn_tick(const struct canary_view *view, struct canary_tick *tick, int64_t length_ns)
{
  struct canary *canary = view->canary;
  if (canary->slow_from == 0) forget_durations(tick);
  if (length_ns < TICK_NS * 3 / 2) canary_learn(canary, tick); // after a pause, no count of one second
  set_threshold(view, find_threshold(view));
}

static void judge_tick(const struct canary_view *view, struct canary_tick *tick, int64_t length_ns)
{
  struct canary *canary = view->canary;
  if (length_ns < TICK_NS * 3 / 2) canary_learn(canary, tick); // for the next rollout
  if (tick->timed[0] + tick->timed[1] > 0) canary->durations = 1;
  if (canary->slow_from == 0) {
    forget_durations(tick);
    set_threshold(view, find_threshold(view));
  }
  tick_add(&canary->pending, tick);
  canary->pending_ns += length_ns;
  for (int arm = 0; arm < 2; arm++)
    put_count(&canary->out.slow[arm], canary->sum.slow[arm] + canary->pending.slow[arm]);
  if (canary->pending.total[0] + canary->pending.total[1] < TICK_REQUESTS && canary->pending_ns < TICK_MAX_NS) return;
  struct canary_tick judged = canary->pending;
  canary->pending = (struct canary_tick){ 0 };
  canary->pending_ns = 0;
  canary_feed(canary, &judged);
}

void canary_fold(const struct canary_view *view, int64_t now_ns)
{
  struct canary *canary = view->canary;
  uint32_t asked = atomic_load_explicit(&open_of(canary)->asked, memory_order_acquire);
  if (asked != atomic_load_explicit(&canary->answered, memory_order_relaxed)) begin_rollout(view, asked, now_ns);
  for (int arm = 0; arm < 2 && asked != 0; arm++) {
    struct tally tally = tally_of(view, arm);
    put_count(&canary->out.total[arm], grown(tally.total, load_count(&open_of(canary)->begun_total[arm])));
    put_count(&canary->out.bad[arm], grown(tally.bad, load_count(&open_of(canary)->begun_bad[arm])));
  }
  int64_t length_ns = now_ns - canary->tick_ns;
  if (length_ns < 0) canary->tick_ns = now_ns;
  if (length_ns < TICK_NS) return;
  canary->tick_ns = now_ns;
  quantile_fold(&canary->before, now_ns, durations_of, &(struct source){ view, NINES_BASELINE });
  struct canary_tick all = count_all(view, canary->slow_from), tick = tick_between(&canary->seen, &all);
  canary->seen = all;
  if (asked == 0)
    learn_tick(view, &tick, length_ns);
  else
    judge_tick(view, &tick, length_ns);
}

// ---- Calls

void canary_begin(const struct canary_view *view, int64_t now_ns)
{
  (void)now_ns; // the begin is a point in the counts
  struct canary *canary = view->canary;
  for (int arm = 0; arm < 2; arm++) {
    struct tally tally = tally_of(view, arm);
    put_count(&open_of(canary)->begun_total[arm], tally.total);
    put_count(&open_of(canary)->begun_bad[arm], tally.bad);
  }
  atomic_fetch_add_explicit(&open_of(canary)->asked, 1, memory_order_release);
}

void canary_record(const struct canary_view *view, uint32_t writer, int arm, int outcome, int64_t duration_ns)
{
  if (arm != NINES_BASELINE && arm != NINES_CANARY) return;
  if (outcome != NINES_SUCCESS && outcome != NINES_FAILURE) return;
  struct canary_stripe *stripe = stripe_of(view, writer);
  if (stripe == NULL) return;
  if (writer == WRITER_SHARED)
    meter_record_shared(&stripe->arm[arm], outcome == NINES_SUCCESS, duration_ns, 0, 1);
  else
    meter_record(&stripe->arm[arm], outcome == NINES_SUCCESS, duration_ns, 0, 1);
}

static double ratio_of(const nines_canary_reading *reading)
{
  if (reading->bad[0] == 0 || reading->total[0] == 0 || reading->total[1] == 0) return -1;
  double baseline = (double)reading->bad[0] / (double)reading->total[0];
  return (double)reading->bad[1] / (double)reading->total[1] / baseline;
}

void canary_read(const struct canary *canary, nines_canary_reading *out)
{
  static const char *const why[WHYS] = { "undecided", "errors", "latency", "share", "no errors" };
  uint32_t answered = atomic_load_explicit(&canary->answered, memory_order_acquire);
  if (answered != atomic_load_explicit(&open_of(canary)->asked, memory_order_relaxed)) { // begun, not yet folded
    *out = (nines_canary_reading){ .why = why[WHY_UNDECIDED], .ratio = -1, .p_value = 1, .slow_ns = -1 };
    out->e_errors = out->e_latency = out->e_pass = out->dispersion = 1;
    return;
  }
  out->verdict = (int)atomic_load_explicit(&canary->out.verdict, memory_order_acquire);
  uint32_t reason = atomic_load_explicit(&canary->out.why, memory_order_relaxed);
  out->why = why[reason < WHYS ? reason : WHY_UNDECIDED];
  for (int arm = 0; arm < 2; arm++) {
    out->total[arm] = load_count(&canary->out.total[arm]);
    out->bad[arm] = load_count(&canary->out.bad[arm]);
    out->slow[arm] = load_count(&canary->out.slow[arm]);
  }
  out->ratio = ratio_of(out);
  out->e_errors = get(&canary->out.e_errors);
  out->e_latency = get(&canary->out.e_latency);
  out->e_pass = get(&canary->out.e_pass);
  out->p_value = get(&canary->out.p_value);
  out->dispersion = get(&canary->out.dispersion);
  out->slow_ns = atomic_load_explicit(&canary->out.slow_ns, memory_order_relaxed);
}

// ---- Settings

static void no_durations(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  (void)userdata, (void)count;
}

static int check(const char *field, double given, double usual, double least, double most, double *value,
                 struct status *status)
{
  *value = given == 0 ? usual : given;
  if (given == 0 || (given >= least && given <= most)) return 0;
  return status_set(status, NINES_EINVAL, "%s is %g, must be %g to %g; 0: the default", field, given, least, most);
}

static int check_all(const nines_canary_config *given, nines_canary_config *c, struct status *status)
{
  int code = check("alpha", given->alpha, 0.05, 1e-9, 0.5, &c->alpha, status);
  if (!code) code = check("beta", given->beta, 0.05, 1e-9, 0.5, &c->beta, status);
  if (!code) code = check("margin", given->margin, 1, 1, 100, &c->margin, status);
  if (!code) code = check("bad", given->bad, fmax(2, c->margin * 2), 1, 1000, &c->bad, status);
  if (!code && !(c->bad > c->margin))
    code = status_set(status, NINES_EINVAL, "bad is %g, must be above margin, which is %g", c->bad, c->margin);
  if (!code) code = check("error_max", given->error_max, 1, 1e-6, 99, &c->error_max, status);
  if (!code && given->latency_quantile < 0)
    c->latency_quantile = -1;
  else if (!code)
    code = check("latency_quantile", given->latency_quantile, 0.95, 0.5, 0.999, &c->latency_quantile, status);
  if (!code) code = check("share", given->share, 0, 0.01, 99, &c->share, status);
  if (!code) code = check("dispersion", given->dispersion, 0, 1, 1000, &c->dispersion, status);
  return code;
}

int canary_set(struct canary *canary, const nines_canary_config *config, bool fresh, int64_t now_ns,
               struct status *status)
{
  nines_canary_config given = { 0 }, checked = { 0 };
  if (config && config->size < sizeof config->size)
    return status_set(status, NINES_EINVAL, "size is %zu: set it to sizeof(nines_canary_config)", config->size);
  if (config) memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  int code = check_all(&given, &checked, status);
  if (code) return code;
  put(&canary->alpha, checked.alpha);
  put(&canary->beta, checked.beta);
  put(&canary->margin, checked.margin);
  put(&canary->bad, checked.bad);
  put(&canary->error_max, checked.error_max);
  put(&canary->latency_quantile, checked.latency_quantile);
  put(&canary->share, checked.share);
  put(&canary->dispersion, checked.dispersion);
  if (!fresh) return 0;
  apart_default(&canary->apart, &canary->own);
  canary->tick_ns = now_ns;
  quantile_init(&canary->before, WINDOW_NS, now_ns, no_durations, NULL);
  atomic_store_explicit(&canary->out.slow_ns, -1, memory_order_relaxed);
  canary_start(canary);
  return 0;
}

bool canary_valid(const struct canary *canary)
{
  double share_sum = 0;
  for (int i = 0; i < EVIDENCE_SHARES; i++) share_sum += canary->share_evidence[i];
  return get(&canary->alpha) > 0 && get(&canary->alpha) <= 0.5 && get(&canary->beta) > 0 && get(&canary->beta) <= 0.5 &&
         get(&canary->margin) >= 1 && get(&canary->bad) > get(&canary->margin) && get(&canary->error_max) > 0 &&
         get(&canary->error_max) < 100 && get(&canary->latency_quantile) < 1 && get(&canary->share) >= 0 &&
         get(&canary->share) < 100 && get(&canary->dispersion) >= 0 && canary->slow_from <= HISTOGRAM_BUCKETS &&
         isfinite(share_sum) && evidence_valid(&canary->errors) && evidence_valid(&canary->latency) &&
         habit_valid(&canary->usual_errors) && habit_valid(&canary->usual_slow) &&
         quantile_valid(&canary->before, WINDOW_NS) &&
         atomic_load_explicit(&canary->out.verdict, memory_order_relaxed) <= NINES_FAIL;
}

void canary_rebase(struct canary *canary, int64_t then_ns, int64_t now_ns)
{
  canary->tick_ns += now_ns - then_ns;
  quantile_rebase(&canary->before, then_ns, now_ns);
}
