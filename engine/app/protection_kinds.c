// The kinds of protections: how each is declared, and what it says of itself.

#include "adaptive_limit.h"
#include "bulkhead.h"
#include "duration.h"
#include "fallback.h"
#include "limiter.h"
#include "protection.h"
#include "protection_settings.h"
#include "retry.h"
#include "shedder.h"
#include "timeout.h"

static void put_count(struct pool *pool, struct value *out, const char *key, uint64_t count)
{
  value_put(pool, out, key, value_integer((int64_t)count));
}

static void put_seconds(struct pool *pool, struct value *out, const char *key, int64_t ns)
{
  value_put(pool, out, key, value_number((double)ns / NS_PER_S));
}

static void put_percent(struct pool *pool, struct value *out, const char *key, uint64_t part, uint64_t whole)
{
  if (whole > 0) value_put(pool, out, key, value_number(100.0 * (double)part / (double)whole));
}

// Settings are relaxed atomics of several widths.
#define SETTING(field) atomic_load_explicit(&(field), memory_order_relaxed)

static void describe_rule(const struct circuit_rule *rule, struct pool *pool, struct value *out)
{
  struct value settings = value_table();
  if (SETTING(rule->window_calls))
    put_count(pool, &settings, "window_calls", SETTING(rule->window_calls));
  else
    put_seconds(pool, &settings, "window_seconds", SETTING(rule->window_ns));
  put_count(pool, &settings, "min_calls", SETTING(rule->calls_min));
  if (SETTING(rule->failure_permyriad) != CIRCUIT_NEVER)
    value_put(pool, &settings, "failure_rate", value_number(SETTING(rule->failure_permyriad) / 100.0));
  if (SETTING(rule->slow_permyriad) != CIRCUIT_NEVER) {
    value_put(pool, &settings, "slow_rate", value_number(SETTING(rule->slow_permyriad) / 100.0));
    put_seconds(pool, &settings, "slow_call_seconds", SETTING(rule->slow_ns));
  }
  if (SETTING(rule->latency_permille)) {
    value_put(pool, &settings, "latency_quantile", value_number(SETTING(rule->latency_permille) / 1000.0));
    put_seconds(pool, &settings, "latency_seconds", SETTING(rule->latency_ns));
  }
  if (SETTING(rule->failures_in_a_row)) put_count(pool, &settings, "failures", SETTING(rule->failures_in_a_row));
  put_seconds(pool, &settings, "open_for_seconds", SETTING(rule->open_ns));
  put_count(pool, &settings, "probes", SETTING(rule->probes));
  value_put(pool, out, "rule", settings);
}

static void describe_breaker(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  const struct breaker *breaker = guard->shared;
  const nines_breaker *handle = (const nines_breaker *)guard;
  nines_breaker_reading reading;
  nines_breaker_read((nines_breaker *)(uintptr_t)guard, now_ns, &reading);
  value_put_text(pool, out, "state", circuit_state_text(reading.state));
  struct circuit_move move;
  uint32_t generation = circuit_word_generation(circuit_load(breaker_circuit(breaker)));
  if (circuit_move_of(breaker_circuit(breaker), generation, &move)) {
    value_put_text(pool, out, "cause", circuit_cause_text(move.cause));
    put_seconds(pool, out, "since_seconds", now_ns - move.at_ns);
  }
  if (reading.until_ns > now_ns) put_seconds(pool, out, "until_seconds", reading.until_ns - now_ns);
  put_count(pool, out, "opened_in_a_row", reading.opened_in_a_row);
  put_count(pool, out, "calls", reading.calls);
  put_count(pool, out, "failed", reading.failed);
  put_count(pool, out, "slow", reading.slow);
  put_percent(pool, out, "failure_rate", reading.failed, reading.calls);
  put_percent(pool, out, "slow_rate", reading.slow, reading.calls);
  put_count(pool, out, "in_flight", reading.in_flight);
  put_count(pool, out, "overdue", reading.overdue);
  put_count(pool, out, "total", reading.total);
  put_count(pool, out, "refused", reading.refused);
  put_count(pool, out, "late", reading.late);
  if (reading.p50_ns >= 0) {
    put_seconds(pool, out, "p50_seconds", reading.p50_ns);
    put_seconds(pool, out, "p95_seconds", reading.p95_ns);
    put_seconds(pool, out, "p99_seconds", reading.p99_ns);
  }
  if (handle->keys) {
    struct keyed_breaker_usage usage = keyed_breaker_usage(handle->keys->shared);
    struct value keys = value_table();
    put_count(pool, &keys, "used", usage.keys);
    put_count(pool, &keys, "max", usage.keys_max);
    put_count(pool, &keys, "open", usage.open);
    put_count(pool, &keys, "evicted", usage.evicted);
    put_count(pool, &keys, "crowded", usage.crowded);
    put_count(pool, &keys, "refused", usage.refused);
    value_put(pool, out, "keys", keys);
  }
  describe_rule(&breaker->rule, pool, out);
}

static void describe_limiter(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  const struct limiter *limiter = guard->shared;
  double interval_s = SETTING(limiter->interval) / LIMITER_TICKS_PER_NS / (double)NS_PER_S;
  value_put(pool, out, "rate", value_number(interval_s > 0 ? 1 / interval_s : 0));
  value_put(pool, out, "burst", value_number(SETTING(limiter->burst)));
  value_put(pool, out, "available", value_number(limiter_available(limiter, now_ns)));
  put_count(pool, out, "refused", limiter_refused(limiter));
}

static void describe_bulkhead(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  (void)now_ns;
  const struct bulkhead *bulkhead = guard->shared;
  put_count(pool, out, "inside", bulkhead_inside(bulkhead));
  put_count(pool, out, "limit", bulkhead_limit(bulkhead));
  put_count(pool, out, "refused", bulkhead_refused(bulkhead));
}

static void describe_adaptive_limit(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  (void)now_ns;
  const nines_adaptive_limit *limit = (const nines_adaptive_limit *)guard;
  put_count(pool, out, "inside", nines_adaptive_limit_inside(limit));
  put_count(pool, out, "limit", nines_adaptive_limit_now(limit));
  put_count(pool, out, "refused", nines_adaptive_limit_refused(limit));
}

static void describe_shedder(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  (void)now_ns;
  static const char *const names[] = { "sheddable", "sheddable_plus", "critical", "critical_plus" };
  nines_shedder *shedder = (nines_shedder *)(uintptr_t)guard;
  struct shedder_reading reading = shedder_read(guard->shared);
  value_put(pool, out, "by_hand", value_number(reading.by_hand));
  value_put(pool, out, "by_throttle", value_number(reading.by_throttle));
  value_put(pool, out, "by_latency", value_number(reading.by_latency));
  struct value share = value_table(), refused = value_table();
  uint64_t total = 0;
  for (int i = CRITICALITIES; i-- > 0;) {
    uint64_t count = nines_shedder_refused(shedder, i);
    value_put(pool, &share, names[i], value_number(nines_shedder_share(shedder, i)));
    put_count(pool, &refused, names[i], count);
    total += count;
  }
  value_put(pool, out, "share", share);
  value_put(pool, out, "refused_by_criticality", refused);
  put_count(pool, out, "refused", total);
}

static void describe_retry(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  struct retry_view view = { guard->shared, (_Atomic(struct stripe *) *)(uintptr_t)guard->stripes };
  struct tally total = retry_total(&view);
  double budget = retry_budget(&view, now_ns);
  put_count(pool, out, "attempts", SETTING(view.retry->attempts));
  if (budget < 1e15) value_put(pool, out, "budget", value_number(budget));
  put_count(pool, out, "calls", total.total);
  put_count(pool, out, "retries", total.bad);
  put_count(pool, out, "refused", total.slow);
}

static void describe_timeout(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  (void)now_ns;
  const struct timeout *timeout = guard->shared;
  put_seconds(pool, out, "limit_seconds", SETTING(timeout->limit_ns));
  put_count(pool, out, "timed_out", timeout_count(timeout));
}

static void describe_fallback(const struct guard *guard, int64_t now_ns, struct pool *pool, struct value *out)
{
  struct fallback_view view = { guard->shared, (_Atomic(struct stripe *) *)(uintptr_t)guard->stripes };
  struct tally total = fallback_total(&view);
  double share = fallback_share(&view, now_ns);
  if (share >= 0) value_put(pool, out, "share", value_number(share));
  put_count(pool, out, "inside", bulkhead_inside(&view.fallback->bulkhead));
  put_count(pool, out, "limit", bulkhead_limit(&view.fallback->bulkhead));
  put_count(pool, out, "calls", total.total);
  put_count(pool, out, "served", total.bad);
  put_count(pool, out, "refused", total.slow);
}

const struct protection_kind protection_kinds[PROTECTION_KINDS] = {
  { "breaker", &breaker_kind, decode_breaker, describe_breaker },
  { "limiter", &limiter_kind, decode_limiter, describe_limiter },
  { "bulkhead", &bulkhead_kind, decode_bulkhead, describe_bulkhead },
  { "adaptive_limit", &adaptive_limit_kind, decode_adaptive_limit, describe_adaptive_limit },
  { "shedder", &shedder_kind, decode_shedder, describe_shedder },
  { "retry", &retry_kind, decode_retry, describe_retry },
  { "timeout", &timeout_kind, decode_timeout, describe_timeout },
  { "fallback", &fallback_kind, decode_fallback, describe_fallback },
};
