// The difficulty is not the formula but what to compare with. A minimum over time drifts up as soon as old windows age
// out under a queue of our own making; a slow average follows an incident. So windows are told apart by whether we
// limited anything in them. Calm ones (less than half of the limit used, nobody refused) have no queue of ours in their
// latency: they set the baseline, the least loaded of ten minutes. Used ones move the limit and leave the baseline,
// with two exceptions: when there is none yet; and when it is plainly wrong: latency far below it (tolerance times), or
// so far above it for ten minutes that the limit shrank as it could and nothing came of it. Then the service has
// changed, not its queue. An incident under ten minutes therefore leaves no trace.
//
// Everything windowed is a difference to a snapshot of cumulative counts; a kill during a fold costs one window.
#include "adaptive_limit.h"

#include <math.h>
#include <string.h>

#define NS_PER_S      INT64_C(1000000000)
#define NS_PER_MINUTE (60 * NS_PER_S)
#define SPAN_NS       (ADAPTIVE_LIMIT_SLOTS * NS_PER_MINUTE)
#define GRADIENT_MIN  0.5
enum { NS_PER_US = 1000, LIMIT_MAX = 100000, FAILURE_SHARE = 10, HALF = 2 }; // more than one failure in ten

struct reading { // all writers' cumulative counts
  uint64_t total, bad, sum_us;
  uint32_t count[HISTOGRAM_BUCKETS];
};

struct seen { // what a window saw
  uint64_t samples, bad;
  int64_t short_ns;
  double load;
  bool used;
};

nines_permit adaptive_limit_ask(const struct adaptive_limit_view *view, uint32_t cell, int64_t now_ns)
{
  return bulkhead_enter(&view->limit->bulkhead, cell, now_ns);
}

void adaptive_limit_done(const struct adaptive_limit_view *view, uint32_t writer, nines_permit permit, int outcome,
                         int64_t now_ns)
{
  if (!nines_permitted(permit)) return;
  bulkhead_leave(&view->limit->bulkhead, permit);
  struct meter *meter = atomic_load_explicit(&view->stripes[writer], memory_order_acquire);
  if (outcome == NINES_IGNORED || !meter) return;
  int64_t took_ns = (int64_t)((uint64_t)now_ns - (uint64_t)permit.at_ns); // wraps: a permit's time is the caller's word
  int64_t duration_ns = took_ns > 0 ? took_ns : 0;
  if (writer == WRITER_SHARED)
    meter_record_shared(meter, outcome == NINES_SUCCESS, duration_ns, 0, 1);
  else
    meter_record(meter, outcome == NINES_SUCCESS, duration_ns, 0, 1);
}

static void read_meters(const struct adaptive_limit_view *view, struct reading *reading)
{
  memset(reading, 0, sizeof *reading);
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    const struct meter *meter = atomic_load_explicit(&view->stripes[i], memory_order_acquire);
    if (!meter) continue;
    struct tally tally = meter_tally(meter);
    reading->total += tally.total;
    reading->bad += tally.bad;
    reading->sum_us += atomic_load_explicit(&meter->sum_us, memory_order_relaxed);
    meter_add_latency(meter, reading->count);
  }
}

static void begin_window(struct adaptive_limit *limit, const struct reading *reading, int64_t now_ns)
{
  memcpy(limit->snapshot, reading->count, sizeof limit->snapshot);
  limit->total = reading->total;
  limit->bad = reading->bad;
  limit->sum_us = reading->sum_us;
  limit->refused = bulkhead_refused(&limit->bulkhead);
  limit->peak = 0;
  limit->begin_ns = now_ns;
}

// False when counts went back: a meter was begun anew, and the differences mean nothing.
static bool see(const struct adaptive_limit *limit, struct reading *reading, int64_t now_ns, struct seen *seen)
{
  uint32_t inside = limit->peak;
  uint64_t samples = 0;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    uint32_t more = reading->count[i] - limit->snapshot[i];
    if (more > INT32_MAX) return false;
    samples += more;
    reading->count[i] = more;
  }
  if (reading->total < limit->total || reading->bad < limit->bad || reading->sum_us < limit->sum_us) return false;
  *seen = (struct seen){
    .samples = samples,
    .bad = reading->bad - limit->bad,
    .short_ns = histogram_quantile(reading->count, 0.5),
    // Little's law: the mean number inside is the time spent there by all, over the time that passed.
    .load = (double)(reading->sum_us - limit->sum_us) * NS_PER_US / (double)(now_ns - limit->begin_ns),
    .used = inside * HALF >= bulkhead_limit(&limit->bulkhead) || bulkhead_refused(&limit->bulkhead) != limit->refused,
  };
  return true;
}

static void turn_minutes(struct adaptive_limit *limit, int64_t now_ns)
{
  if (limit->minute >= ADAPTIVE_LIMIT_SLOTS) limit->minute = 0;
  if (now_ns - limit->minute_ns >= SPAN_NS) {
    memset(limit->slot, 0, sizeof limit->slot);
    limit->minute_ns = now_ns;
  }
  while (now_ns - limit->minute_ns >= NS_PER_MINUTE) {
    limit->minute = (limit->minute + 1) % ADAPTIVE_LIMIT_SLOTS;
    limit->slot[limit->minute] = (struct adaptive_limit_slot){ 0 };
    limit->minute_ns += NS_PER_MINUTE;
  }
}

// The median of the least loaded calm window; 0 when there is none.
static int64_t calm_ns(const struct adaptive_limit *limit)
{
  const struct adaptive_limit_slot *least = NULL;
  for (uint32_t i = 0; i < ADAPTIVE_LIMIT_SLOTS; i++) {
    const struct adaptive_limit_slot *slot = &limit->slot[i];
    if (slot->short_ns > 0 && (!least || slot->load < least->load)) least = slot;
  }
  return least ? least->short_ns : 0;
}

static int64_t find_baseline(struct adaptive_limit *limit, const struct seen *seen, int64_t now_ns)
{
  int64_t baseline_ns = atomic_load_explicit(&limit->baseline_ns, memory_order_relaxed);
  if (!seen->used) {
    struct adaptive_limit_slot *slot = &limit->slot[limit->minute];
    if (slot->short_ns <= 0 || seen->load < slot->load)
      *slot = (struct adaptive_limit_slot){ seen->load, seen->short_ns };
  }
  int64_t least_ns = calm_ns(limit);
  if (least_ns > 0) baseline_ns = least_ns;
  double tolerance = limit->rule.tolerance, ratio = (double)seen->short_ns / (double)baseline_ns;
  bool pressed = baseline_ns > 0 && ratio * GRADIENT_MIN >= tolerance;
  if (!pressed)
    limit->pressed_ns = INT64_MIN;
  else if (limit->pressed_ns == INT64_MIN)
    limit->pressed_ns = now_ns;
  bool changed = pressed && least_ns == 0 && now_ns - limit->pressed_ns >= SPAN_NS;
  if (baseline_ns <= 0 || changed || (least_ns == 0 && ratio * tolerance < 1)) {
    baseline_ns = seen->short_ns;
    limit->pressed_ns = INT64_MIN;
  }
  return baseline_ns;
}

static double gradient_step(const struct adaptive_limit *limit, const struct seen *seen, int64_t baseline_ns)
{
  const struct adaptive_limit_rule *rule = &limit->rule;
  double short_ns = (double)seen->short_ns, old = limit->limit;
  if (rule->latency_max_ns > 0 && seen->short_ns > rule->latency_max_ns) {
    double gradient = fmax(GRADIENT_MIN, (double)rule->latency_max_ns / short_ns);
    return old * (1 - rule->smoothing * (1 - gradient));
  }
  if (!seen->used) return old;
  double room = rule->tolerance * (double)baseline_ns / short_ns;
  double gradient = fmin(1, fmax(GRADIENT_MIN, room));
  double next = (1 - rule->smoothing) * old + rule->smoothing * (gradient * old + rule->queue);
  return room < 1 ? fmin(old, next) : next;
}

static void close_window(struct adaptive_limit *limit, struct reading *reading, int64_t now_ns)
{
  const struct adaptive_limit_rule *rule = &limit->rule;
  struct reading window = *reading;
  struct seen seen;
  if (!see(limit, &window, now_ns, &seen) || seen.samples < rule->samples_min || seen.short_ns <= 0) return;
  double next;
  if (seen.bad * FAILURE_SHARE > seen.samples) { // failures are fast, or time-outs: their latency teaches nothing
    next = limit->limit * rule->backoff;
  } else {
    int64_t baseline_ns = find_baseline(limit, &seen, now_ns);
    atomic_store_explicit(&limit->baseline_ns, baseline_ns, memory_order_relaxed);
    next = gradient_step(limit, &seen, baseline_ns);
  }
  atomic_store_explicit(&limit->short_ns, seen.short_ns, memory_order_relaxed);
  limit->limit = fmin(rule->max, fmax(rule->min, next));
  bulkhead_resize(&limit->bulkhead, (uint32_t)limit->limit);
}

void adaptive_limit_fold(const struct adaptive_limit_view *view, int64_t now_ns)
{
  struct adaptive_limit *limit = view->limit;
  uint32_t inside = bulkhead_inside(&limit->bulkhead);
  if (inside > limit->peak) limit->peak = inside;
  if (now_ns - limit->begin_ns < limit->rule.window_ns) return;
  struct reading reading;
  read_meters(view, &reading);
  turn_minutes(limit, now_ns);
  close_window(limit, &reading, now_ns);
  begin_window(limit, &reading, now_ns);
}

// Defaults for zeros; the bounds' make room for what is given.
static nines_adaptive_limit_config config_read(const nines_adaptive_limit_config *config)
{
  nines_adaptive_limit_config given = { 0 };
  memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  uint32_t most = given.initial > given.min ? given.initial : given.min;
  if (given.max == 0) given.max = most > 200 ? most : 200;
  uint32_t least = given.initial > 0 && given.initial < given.max ? given.initial : given.max;
  if (given.min == 0) given.min = least < 5 ? least : 5;
  if (given.initial == 0) given.initial = given.max < 20 ? given.max : given.min > 20 ? given.min : 20;
  if (given.tolerance == 0) given.tolerance = 1.5;
  if (given.smoothing == 0) given.smoothing = 0.2;
  if (given.queue == 0) given.queue = 4;
  if (given.backoff == 0) given.backoff = 0.9;
  if (given.window_ns == 0) given.window_ns = NS_PER_S;
  if (given.samples_min == 0) given.samples_min = 10;
  return given;
}

static int config_check(const nines_adaptive_limit_config *config, struct status *status)
{
  if (config->max > LIMIT_MAX)
    return status_set(status, NINES_EINVAL, "max is %u, must be between 1 and %d", config->max, LIMIT_MAX);
  if (config->min > config->max)
    return status_set(status, NINES_EINVAL, "min is %u, must be at most max (%u)", config->min, config->max);
  if (config->initial < config->min || config->initial > config->max)
    return status_set(status, NINES_EINVAL, "initial is %u, must be between min (%u) and max (%u)", config->initial,
                      config->min, config->max);
  if (!(config->tolerance >= 1 && config->tolerance <= 10))
    return status_set(status, NINES_EINVAL, "tolerance is %g, must be between 1 and 10", config->tolerance);
  if (!(config->smoothing > 0 && config->smoothing <= 1))
    return status_set(status, NINES_EINVAL, "smoothing is %g, must be above 0 and at most 1", config->smoothing);
  if (config->queue > LIMIT_MAX)
    return status_set(status, NINES_EINVAL, "queue is %u, must be between 1 and %d", config->queue, LIMIT_MAX);
  if (!(config->backoff >= 0.1 && config->backoff < 1))
    return status_set(status, NINES_EINVAL, "backoff is %g, must be at least 0.1 and below 1", config->backoff);
  if (config->latency_max_ns < 0 || config->latency_max_ns > 60 * NS_PER_S)
    return status_set(status, NINES_EINVAL, "latency_max_ns is %lld, must be between 0 (none) and %lld (a minute)",
                      (long long)config->latency_max_ns, (long long)NS_PER_MINUTE);
  if (config->window_ns < NS_PER_S / 10 || config->window_ns > NS_PER_MINUTE)
    return status_set(status, NINES_EINVAL, "window_ns is %lld, must be between %lld (100 ms) and %lld (a minute)",
                      (long long)config->window_ns, (long long)(NS_PER_S / 10), (long long)NS_PER_MINUTE);
  if (config->samples_min > 1000000)
    return status_set(status, NINES_EINVAL, "samples_min is %u, must be between 1 and 1000000", config->samples_min);
  return 0;
}

int adaptive_limit_set(struct adaptive_limit *limit, const nines_adaptive_limit_config *config, bool fresh,
                       int64_t now_ns, struct status *status)
{
  nines_adaptive_limit_config given = config_read(config);
  int code = config_check(&given, status);
  if (code != 0) return code;
  if (fresh) {
    limit->limit = given.initial;
    limit->begin_ns = limit->minute_ns = now_ns;
    limit->pressed_ns = INT64_MIN;
  }
  limit->limit = fmin(given.max, fmax(given.min, limit->limit));
  limit->rule = (struct adaptive_limit_rule){
    .min = given.min,
    .max = given.max,
    .queue = given.queue,
    .samples_min = given.samples_min,
    .tolerance = given.tolerance,
    .smoothing = given.smoothing,
    .backoff = given.backoff,
    .latency_max_ns = given.latency_max_ns,
    .window_ns = given.window_ns,
  };
  nines_bulkhead_config bulkhead = { .size = sizeof bulkhead, .concurrent_max = (uint32_t)limit->limit };
  return bulkhead_set(&limit->bulkhead, &bulkhead, fresh, now_ns, status);
}

bool adaptive_limit_valid(const struct adaptive_limit *limit)
{
  const struct adaptive_limit_rule *rule = &limit->rule;
  for (uint32_t i = 0; i < ADAPTIVE_LIMIT_SLOTS; i++)
    if (limit->slot[i].short_ns < 0 || !(limit->slot[i].load >= 0)) return false;
  return bulkhead_valid(&limit->bulkhead) && rule->min >= 1 && rule->min <= rule->max && rule->max <= LIMIT_MAX &&
         limit->limit >= rule->min && limit->limit <= rule->max && rule->queue <= LIMIT_MAX && rule->tolerance >= 1 &&
         rule->tolerance <= 10 && rule->smoothing > 0 && rule->smoothing <= 1 && rule->backoff >= 0.1 &&
         rule->backoff < 1 && rule->latency_max_ns >= 0 && rule->window_ns >= NS_PER_S / 10 &&
         rule->window_ns <= NS_PER_MINUTE && rule->samples_min >= 1 && limit->minute < ADAPTIVE_LIMIT_SLOTS &&
         atomic_load_explicit(&limit->baseline_ns, memory_order_relaxed) >= 0;
}

void adaptive_limit_rebase(struct adaptive_limit *limit, int64_t then_ns, int64_t now_ns)
{
  int64_t shift_ns = now_ns - then_ns;
  limit->begin_ns += shift_ns;
  limit->minute_ns += shift_ns;
  if (limit->pressed_ns != INT64_MIN) limit->pressed_ns += shift_ns;
}
