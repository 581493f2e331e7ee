// Declarations of protections, decoded by schema into the configs of nines.h.
//
// Zero in a config means its default, so a setting of zero is refused where it would say something else. Durations in
// Resilience4j's spelling need a unit: there a bare number is milliseconds, here it would be seconds. Its sliding
// window, whose size means calls or seconds by its type, is turned into one of our two.
#include "protection_settings.h"

#include <stddef.h>

#include "duration.h"

// What a schema decodes into; the configs' fields have other types.
struct decoded {
  struct view_list ignore;
  int mode, half_open_then, initial_state, window_type;
  int64_t whole[8];
  double number[8];
  bool truth[4];
  int64_t span_ns[12];
};
#define AT(field) offsetof(struct decoded, field)

static const char *const mode_choices[] = { "act", "observe", NULL };
static const char *const state_choices[] = { "closed",       "open",         "half_open", "disabled",  "forced_open",
                                             "metrics_only", "CLOSED",       "OPEN",      "HALF_OPEN", "DISABLED",
                                             "FORCED_OPEN",  "METRICS_ONLY", NULL };
static const char *const then_choices[] = { "open", "closed", "OPEN", "CLOSED", NULL };
static const char *const window_choices[] = { "COUNT_BASED", "TIME_BASED", NULL };

static const struct schema_field breaker_fields[] = {
  { .key = "window",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "window_calls", .type = SCHEMA_INTEGER, .offset = AT(whole[0]), .min = 1, .max = 512 },
  { .key = "slidingWindowType",
    .alias = "sliding_window_type",
    .type = SCHEMA_CHOICE,
    .offset = AT(window_type),
    .choices = window_choices },
  { .key = "slidingWindowSize",
    .alias = "sliding_window_size",
    .type = SCHEMA_INTEGER,
    .offset = AT(whole[1]),
    .min = 1,
    .max = 3600 },
  { .key = "min_calls",
    .alias = "minimumNumberOfCalls minimum_number_of_calls",
    .type = SCHEMA_INTEGER,
    .offset = AT(whole[2]),
    .min = 1,
    .max = 1e6 },
  { .key = "failure_rate",
    .alias = "failureRateThreshold failure_rate_threshold",
    .type = SCHEMA_PERCENT,
    .offset = AT(number[0]),
    .min = 0.01,
    .max = 100 },
  { .key = "slow_rate",
    .alias = "slowCallRateThreshold slow_call_rate_threshold",
    .type = SCHEMA_PERCENT,
    .offset = AT(number[1]),
    .min = 0.01,
    .max = 100 },
  { .key = "slow_call",
    .alias = "slowCallDurationThreshold",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[1]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_H },
  { .key = "latency_p50",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[8]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "latency_p90",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[9]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "latency_p95",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[10]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "latency_p99",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[11]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "failures",
    .alias = "failure_threshold consecutive_failures",
    .type = SCHEMA_INTEGER,
    .offset = AT(whole[3]),
    .min = 1,
    .max = 1e6 },
  { .key = "open_for",
    .alias = "recovery_timeout",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[2]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_DAY },
  { .key = "waitDurationInOpenState",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[2]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_DAY },
  { .key = "open_factor",
    .alias = "exponentialBackoffMultiplier",
    .type = SCHEMA_NUMBER,
    .offset = AT(number[2]),
    .min = 1,
    .max = 100 },
  { .key = "enableExponentialBackoff", .type = SCHEMA_BOOL, .offset = AT(truth[0]) },
  { .key = "open_max",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[3]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_DAY },
  { .key = "exponentialMaxWaitDurationInOpenState",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[3]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_DAY },
  { .key = "open_jitter", .alias = "randomizedWaitFactor", .type = SCHEMA_FRACTION, .offset = AT(number[3]) },
  { .key = "enableRandomizedWait", .type = SCHEMA_BOOL, .offset = AT(truth[1]) },
  { .key = "half_open_itself",
    .alias = "automaticTransitionFromOpenToHalfOpenEnabled",
    .type = SCHEMA_BOOL,
    .offset = AT(truth[2]) },
  { .key = "probes",
    .alias = "permittedNumberOfCallsInHalfOpenState success_threshold",
    .type = SCHEMA_INTEGER,
    .offset = AT(whole[4]),
    .min = 1,
    .max = 24 },
  { .key = "probe_lease",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[4]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "half_open_max", .type = SCHEMA_INTERVAL, .offset = AT(span_ns[5]), .max = (double)NS_PER_DAY },
  { .key = "maxWaitDurationInHalfOpenState",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[5]),
    .max = (double)NS_PER_DAY },
  { .key = "half_open_then",
    .alias = "transitionToStateAfterWaitDuration",
    .type = SCHEMA_CHOICE,
    .offset = AT(half_open_then),
    .choices = then_choices },
  { .key = "ramp", .type = SCHEMA_INTERVAL, .offset = AT(span_ns[6]), .max = (double)NS_PER_H },
  { .key = "initial_state",
    .alias = "initialState",
    .type = SCHEMA_CHOICE,
    .offset = AT(initial_state),
    .choices = state_choices },
  { .key = "latency", .type = SCHEMA_BOOL, .offset = AT(truth[3]) },
  { .key = "keys", .type = SCHEMA_INTEGER, .offset = AT(whole[5]), .min = 1, .max = 4096 },
  { .key = "ignore", .type = SCHEMA_WORDS, .offset = AT(ignore) },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

// In the order of span_ns[8..11].
static const double quantiles[] = { 0.5, 0.9, 0.95, 0.99 };

static int breaker_latency(const struct decoded *in, const char *where, nines_breaker_config *out,
                           struct status *status)
{
  for (int i = 0; i < 4; i++) {
    if (in->span_ns[8 + i] == 0) continue;
    if (out->latency_ns != 0)
      return status_set(status, NINES_EINVAL,
                        "%s: one of latency_p50, latency_p90, latency_p95 and latency_p99, not two", where);
    out->latency_quantile = quantiles[i];
    out->latency_ns = in->span_ns[8 + i];
  }
  return 0;
}

static int breaker_window(const struct decoded *in, const char *where, nines_breaker_config *out, struct status *status)
{
  bool over_time = in->window_type == 1;
  if (in->whole[1] != 0 && (in->span_ns[0] != 0 || in->whole[0] != 0))
    return status_set(status, NINES_EINVAL, "%s: window or window_calls says it already; leave slidingWindowSize out",
                      where);
  if (in->span_ns[0] != 0 && in->whole[0] != 0)
    return status_set(status, NINES_EINVAL, "%s: window (a time) or window_calls, not both", where);
  if (in->whole[1] > 512 && !over_time)
    return status_set(status, NINES_EINVAL,
                      "%s: slidingWindowSize: at most 512 calls, not %lld (or slidingWindowType = \"TIME_BASED\")",
                      where, (long long)in->whole[1]);
  out->window_ns = in->whole[1] != 0 && over_time ? in->whole[1] * NS_PER_S : in->span_ns[0];
  out->window_calls = (uint32_t)(in->whole[1] != 0 && !over_time ? in->whole[1] : in->whole[0]);
  return 0;
}

int decode_breaker(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                   struct status *status)
{
  struct decoded in = { 0 };
  int code = schema_decode(breaker_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .breaker = { .size = sizeof out->breaker,
                                                    .calls_min = (uint32_t)in.whole[2],
                                                    .failure_rate = in.number[0],
                                                    .slow_rate = in.number[1],
                                                    .slow_ns = in.span_ns[1],
                                                    .failures_in_a_row = (uint32_t)in.whole[3],
                                                    .open_ns = in.span_ns[2],
                                                    .open_factor = in.number[2] != 0 ? in.number[2]
                                                                   : in.truth[0]     ? 1.5
                                                                                     : 0,
                                                    .open_max_ns = in.span_ns[3],
                                                    .open_jitter = in.number[3] != 0 ? in.number[3]
                                                                   : in.truth[1]     ? 0.5
                                                                                     : 0,
                                                    .half_open_itself = in.truth[2],
                                                    .probes = (uint32_t)in.whole[4],
                                                    .probe_lease_ns = in.span_ns[4],
                                                    .half_open_max_ns = in.span_ns[5],
                                                    .half_open_then = in.half_open_then % 2 == 1 ? -1 : 0,
                                                    .ramp_ns = in.span_ns[6],
                                                    .initial_state = in.initial_state % 6,
                                                    .latency = in.truth[3],
                                                    .keys = (uint32_t)in.whole[5] },
                                       .ignore = in.ignore,
                                       .mode = in.mode };
  code = breaker_latency(&in, where, &out->breaker, status);
  return code < 0 ? code : breaker_window(&in, where, &out->breaker, status);
}

static const struct schema_field limiter_fields[] = {
  { .key = "rate",
    .alias = "limitForPeriod limit_for_period",
    .type = SCHEMA_NUMBER,
    .offset = AT(number[0]),
    .min = 1e-6,
    .max = 1e9,
    .required = true },
  { .key = "per",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_DAY },
  { .key = "limitRefreshPeriod",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_DAY },
  { .key = "burst", .type = SCHEMA_NUMBER, .offset = AT(number[1]), .min = 1, .max = 1e9 },
  { .key = "wait", .type = SCHEMA_INTERVAL, .offset = AT(span_ns[1]), .max = (double)NS_PER_H },
  { .key = "timeoutDuration", .type = SCHEMA_LATENCY, .offset = AT(span_ns[1]), .max = (double)NS_PER_H },
  { .key = "warm_up", .type = SCHEMA_INTERVAL, .offset = AT(span_ns[2]), .max = (double)NS_PER_H },
  { .key = "cold_factor", .type = SCHEMA_NUMBER, .offset = AT(number[2]), .min = 1, .max = 100 },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_limiter(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                   struct status *status)
{
  struct decoded in = { 0 };
  int code = schema_decode(limiter_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .limiter = { .size = sizeof out->limiter,
                                                    .rate = in.number[0],
                                                    .per_ns = in.span_ns[0],
                                                    .burst = in.number[1],
                                                    .wait_max_ns = in.span_ns[1],
                                                    .warm_up_ns = in.span_ns[2],
                                                    .cold_factor = in.number[2] },
                                       .mode = in.mode };
  return 0;
}

static const struct schema_field bulkhead_fields[] = {
  { .key = "max",
    .alias = "maxConcurrentCalls max_concurrent max_workers",
    .type = SCHEMA_INTEGER,
    .offset = AT(whole[0]),
    .min = 1,
    .max = 1e6 },
  { .key = "queue", .alias = "queueCapacity", .type = SCHEMA_INTEGER, .offset = AT(whole[1]), .max = 1e5 },
  { .key = "wait",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "maxWaitDuration",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "target",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[1]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "interval",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[2]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_MIN },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_bulkhead(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                    struct status *status)
{
  struct decoded in = { 0 };
  int code = schema_decode(bulkhead_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .bulkhead = { .size = sizeof out->bulkhead,
                                                     .concurrent_max = (uint32_t)in.whole[0],
                                                     .queue_max = (uint32_t)in.whole[1],
                                                     .wait_max_ns = in.span_ns[0],
                                                     .codel_target_ns = in.span_ns[1],
                                                     .codel_interval_ns = in.span_ns[2] },
                                       .mode = in.mode };
  return 0;
}

static const struct schema_field adaptive_limit_fields[] = {
  { .key = "initial", .alias = "initialLimit", .type = SCHEMA_INTEGER, .offset = AT(whole[0]), .min = 1, .max = 1e6 },
  { .key = "min", .alias = "minLimit", .type = SCHEMA_INTEGER, .offset = AT(whole[1]), .min = 1, .max = 1e6 },
  { .key = "max", .alias = "maxConcurrency", .type = SCHEMA_INTEGER, .offset = AT(whole[2]), .min = 1, .max = 1e6 },
  { .key = "tolerance", .alias = "rttTolerance", .type = SCHEMA_NUMBER, .offset = AT(number[0]), .min = 1, .max = 10 },
  { .key = "smoothing", .type = SCHEMA_NUMBER, .offset = AT(number[1]), .min = 0.01, .max = 1 },
  { .key = "queue", .alias = "queueSize", .type = SCHEMA_INTEGER, .offset = AT(whole[3]), .min = 1, .max = 1e4 },
  { .key = "backoff",
    .alias = "backoffRatio",
    .type = SCHEMA_NUMBER,
    .offset = AT(number[2]),
    .min = 0.1,
    .max = 0.99 },
  { .key = "latency_max",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "window",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[1]),
    .min = 100 * (double)NS_PER_MS,
    .max = (double)NS_PER_MIN },
  { .key = "min_samples", .type = SCHEMA_INTEGER, .offset = AT(whole[4]), .min = 1, .max = 1e6 },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_adaptive_limit(const struct value *settings, const char *where, struct protection_settings *out,
                          struct pool *pool, struct status *status)
{
  struct decoded in = { 0 };
  int code = schema_decode(adaptive_limit_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .adaptive_limit = { .size = sizeof out->adaptive_limit,
                                                           .initial = (uint32_t)in.whole[0],
                                                           .min = (uint32_t)in.whole[1],
                                                           .max = (uint32_t)in.whole[2],
                                                           .tolerance = in.number[0],
                                                           .smoothing = in.number[1],
                                                           .queue = (uint32_t)in.whole[3],
                                                           .backoff = in.number[2],
                                                           .latency_max_ns = in.span_ns[0],
                                                           .window_ns = in.span_ns[1],
                                                           .samples_min = (uint32_t)in.whole[4] },
                                       .mode = in.mode };
  return 0;
}

static const struct schema_field shedder_fields[] = {
  { .key = "throttle", .type = SCHEMA_NUMBER, .offset = AT(number[0]), .min = 1, .max = 100 },
  { .key = "throttle_off", .type = SCHEMA_BOOL, .offset = AT(truth[0]) },
  { .key = "throttle_window",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_S,
    .max = (double)NS_PER_H },
  { .key = "throttle_max", .type = SCHEMA_PERCENT, .offset = AT(number[1]), .min = 0.01, .max = 100 },
  { .key = "latency_target",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[1]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "retry_after",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[2]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "retry_jitter", .type = SCHEMA_FRACTION, .offset = AT(number[2]) },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_shedder(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                   struct status *status)
{
  struct decoded in = { .number[2] = 0.5 }; // the jitter, for which 0 means none

  int code = schema_decode(shedder_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .shedder = { .size = sizeof out->shedder,
                                                    .throttle_k = in.truth[0] ? -1 : in.number[0],
                                                    .throttle_window_ns = in.span_ns[0],
                                                    .throttle_max = in.number[1],
                                                    .latency_target_ns = in.span_ns[1],
                                                    .retry_after_ns = in.span_ns[2],
                                                    .retry_jitter = in.number[2] > 0 ? in.number[2] : -1 },
                                       .mode = in.mode };
  return 0;
}

static const struct schema_field retry_fields[] = {
  { .key = "attempts",
    .alias = "maxAttempts max_attempts",
    .type = SCHEMA_INTEGER,
    .offset = AT(whole[0]),
    .min = 1,
    .max = 100 },
  { .key = "wait",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "waitDuration",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "factor",
    .alias = "exponentialBackoffMultiplier",
    .type = SCHEMA_NUMBER,
    .offset = AT(number[0]),
    .min = 1,
    .max = 100 },
  { .key = "wait_max",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[1]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "exponentialMaxWaitDuration",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[1]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "jitter", .alias = "randomizedWaitFactor", .type = SCHEMA_FRACTION, .offset = AT(number[1]) },
  { .key = "budget", .type = SCHEMA_PERCENT, .offset = AT(number[2]), .min = 0.01, .max = 100 },
  { .key = "budget_off", .type = SCHEMA_BOOL, .offset = AT(truth[0]) },
  { .key = "budget_floor",
    .alias = "minRetriesPerSec",
    .type = SCHEMA_NUMBER,
    .offset = AT(number[3]),
    .min = 0.001,
    .max = 1e6 },
  { .key = "budget_window",
    .type = SCHEMA_INTERVAL,
    .offset = AT(span_ns[2]),
    .min = (double)NS_PER_S,
    .max = (double)NS_PER_H },
  { .key = "hedge_after",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[3]),
    .min = (double)NS_PER_US,
    .max = (double)NS_PER_MIN },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_retry(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                 struct status *status)
{
  struct decoded in = { .number[1] = 0.5 }; // the jitter, for which 0 means none

  int code = schema_decode(retry_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .retry = { .size = sizeof out->retry,
                                                  .attempts = (uint32_t)in.whole[0],
                                                  .wait_ns = in.span_ns[0],
                                                  .factor = in.number[0],
                                                  .wait_max_ns = in.span_ns[1],
                                                  .jitter = in.number[1] > 0 ? in.number[1] : -1,
                                                  .budget = in.truth[0] ? -1 : in.number[2],
                                                  .budget_floor = in.number[3],
                                                  .budget_ns = in.span_ns[2],
                                                  .hedge_ns = in.span_ns[3] },
                                       .mode = in.mode };
  return 0;
}

static const struct schema_field timeout_fields[] = {
  { .key = "limit",
    .alias = "timeoutDuration after",
    .type = SCHEMA_LATENCY,
    .offset = AT(span_ns[0]),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_timeout(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                   struct status *status)
{
  struct decoded in = { 0 };
  int code = schema_decode(timeout_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){ .timeout = { .size = sizeof out->timeout, .limit_ns = in.span_ns[0] },
                                       .mode = in.mode };
  return 0;
}

static const struct schema_field fallback_fields[] = {
  { .key = "max", .alias = "max_concurrent", .type = SCHEMA_INTEGER, .offset = AT(whole[0]), .min = 1, .max = 1e6 },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode) },
  { 0 },
};

int decode_fallback(const struct value *settings, const char *where, struct protection_settings *out, struct pool *pool,
                    struct status *status)
{
  struct decoded in = { 0 };
  int code = schema_decode(fallback_fields, settings, &in, where, pool, status);
  if (code < 0) return code;
  *out = (struct protection_settings){
    .fallback = { .size = sizeof out->fallback, .concurrent_max = (uint32_t)in.whole[0] }, .mode = in.mode
  };
  return 0;
}
