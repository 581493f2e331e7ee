// Documents of protections. What a primitive counts is its kind's to describe; here is what a person asks next: the
// rule it is held against, since when and why it is in its state, in sentences.

#include "protection_overview.h"

#include <math.h>
#include <string.h>

#include "adaptive_limit.h"
#include "clock.h"
#include "duration.h"
#include "fallback.h"
#include "limiter.h"
#include "retry.h"
#include "shedder.h"
#include "timeout.h"

#define RELAXED(word) atomic_load_explicit(&(word), memory_order_relaxed)

static int kind_of(const struct protection *protection)
{
  return (int)(protection->kind - protection_kinds);
}

static int kind_named(const char *noun)
{
  for (int kind = 0; kind < PROTECTION_KINDS; kind++)
    if (strcmp(protection_kinds[kind].noun, noun) == 0) return kind;
  return -1;
}

struct protection *protection_overview_find(const nines *engine, int kind, const char *name, struct status *status)
{
  struct protection *protection = protection_find(engine, kind, name);
  if (protection) return protection;
  const char *near = protection_nearest(engine, kind, name);
  status_set(status, NINES_ENOTFOUND, "there is no %s \"%s\"%s%s%s", protection_kinds[kind].noun, name,
             near ? " (did you mean \"" : "", near ? near : "",
             near ? "\"?)" : "; a policy declares it, or a program that asks it");
  return NULL;
}

int protection_overview_one(const nines *engine, const char *noun, const char *name, struct pool *pool,
                            struct value *out, struct status *status)
{
  const struct protection *protection = protection_overview_find(engine, kind_named(noun), name, status);
  if (!protection) return status->code;
  protection_describe(engine, protection, pool, out);
  return 0;
}

void protection_overview_list(const nines *engine, const char *noun, struct pool *pool, struct value *out)
{
  *out = value_list();
  const struct protection *protection;
  for (uint32_t i = 0; (protection = protection_at(engine, i)); i++) {
    struct value item = value_table();
    if (noun && strcmp(protection->kind->noun, noun) != 0) continue;
    protection_describe(engine, protection, pool, &item);
    value_append(pool, out, item);
  }
}

static bool is_active(const struct protection *protection)
{
  if (protection->by_person) return true;
  if (kind_of(protection) == PROTECTION_BREAKER)
    return nines_breaker_state((const void *)protection->guard) != NINES_BREAKER_CLOSED;
  for (int criticality = 0; kind_of(protection) == PROTECTION_SHEDDER && criticality < CRITICALITIES; criticality++)
    if (nines_shedder_share((const void *)protection->guard, criticality) > 0) return true;
  return false;
}

void protection_overview_active(const nines *engine, struct pool *pool, struct value *out)
{
  *out = value_list();
  const struct protection *protection;
  for (uint32_t i = 0; (protection = protection_at(engine, i)); i++) {
    struct value item = value_table();
    if (!is_active(protection)) continue;
    protection_describe(engine, protection, pool, &item);
    value_append(pool, out, item);
  }
}

void protection_overview_nearest(const nines *engine, struct nearest *nearest)
{
  const struct protection *protection;
  for (uint32_t i = 0; (protection = protection_at(engine, i)); i++) nearest_try(nearest, protection->guard->name);
}

// --- sentences

static void breaker_rule(const struct protection *protection, struct buf *out)
{
  const struct breaker *breaker = protection->guard->shared;
  const struct circuit_rule *rule = &breaker->rule;
  char text[DURATION_TEXT_MAX];
  uint32_t failing = RELAXED(rule->failure_permyriad), slow = RELAXED(rule->slow_permyriad);
  buf_text(out, "opens when");
  if (failing != CIRCUIT_NEVER) buf_printf(out, " at least %.6g%% of calls fail", failing / 100.0);
  if (slow != CIRCUIT_NEVER)
    buf_printf(out, "%s at least %.6g%% take longer than %s", failing != CIRCUIT_NEVER ? ", or" : "", slow / 100.0,
               duration_format(RELAXED(rule->slow_ns), text));
  if (failing != CIRCUIT_NEVER || slow != CIRCUIT_NEVER) {
    if (RELAXED(rule->window_calls))
      buf_printf(out, ", of the last %u calls", RELAXED(rule->window_calls));
    else
      buf_printf(out, ", over %s", duration_format(RELAXED(rule->window_ns), text));
    buf_printf(out, " and with at least %u calls", RELAXED(rule->calls_min));
  }
  const char *or_when = failing != CIRCUIT_NEVER || slow != CIRCUIT_NEVER ? "; or when" : "";
  if (RELAXED(rule->failures_in_a_row)) {
    buf_printf(out, "%s %u fail in a row", or_when, RELAXED(rule->failures_in_a_row));
    or_when = "; or when";
  }
  if (RELAXED(rule->latency_permille)) {
    buf_printf(out, "%s p%.4g is over %s", or_when, RELAXED(rule->latency_permille) / 10.0,
               duration_format(RELAXED(rule->latency_ns), text));
    or_when = "; or when";
  }
  if (!or_when[0]) buf_text(out, " a policy or a person says so");
  buf_printf(out, ". Refuses for %s", duration_format(RELAXED(rule->open_ns), text));
  if (RELAXED(rule->open_factor_milli) > 1000)
    buf_printf(out, " (each time in a row %.4g times as long, at most %s)", RELAXED(rule->open_factor_milli) / 1000.0,
               duration_format(RELAXED(rule->open_max_ns), text));
  buf_printf(out, ", then %u probes decide", RELAXED(rule->probes));
}

static void limiter_rule(const struct protection *protection, struct buf *out)
{
  const struct limiter *limiter = protection->guard->shared;
  char text[DURATION_TEXT_MAX];
  double interval_ns = RELAXED(limiter->interval) / LIMITER_TICKS_PER_NS;
  int64_t wait_ns = RELAXED(limiter->wait_max_ticks) / LIMITER_TICKS_PER_NS;
  buf_printf(out, "grants %.6g a second, and %.6g at once after a pause", (double)NS_PER_S / interval_ns,
             RELAXED(limiter->burst));
  if (wait_ns) buf_printf(out, "; lets callers wait for up to %s", duration_format(wait_ns, text));
}

static void bulkhead_rule(const struct protection *protection, struct buf *out)
{
  const struct bulkhead *bulkhead = protection->guard->shared;
  char text[DURATION_TEXT_MAX];
  buf_printf(out, "lets in at most %u at once", bulkhead_limit(bulkhead));
  if (RELAXED(bulkhead->queue_max))
    buf_printf(out, "; %u more may wait for up to %s", RELAXED(bulkhead->queue_max),
               duration_format(RELAXED(bulkhead->wait_max_ns), text));
}

static void adaptive_limit_rule(const struct protection *protection, struct buf *out)
{
  const struct adaptive_limit *limit = protection->guard->shared;
  char text[DURATION_TEXT_MAX];
  buf_printf(out, "finds its limit between %u and %u: shrinks when the median latency is over %.4g times the baseline",
             limit->rule.min, limit->rule.max, limit->rule.tolerance);
  if (limit->rule.latency_max_ns) buf_printf(out, " or over %s", duration_format(limit->rule.latency_max_ns, text));
}

static void shedder_rule(const struct protection *protection, struct buf *out)
{
  const struct shedder *shedder = protection->guard->shared;
  char text[DURATION_TEXT_MAX];
  buf_text(out, "refuses what is set by hand");
  if (RELAXED(shedder->throttle_k_milli))
    buf_printf(out, ", or what exceeds %.4g times the accepted requests over %s (at most %.4g%%)",
               RELAXED(shedder->throttle_k_milli) / 1000.0,
               duration_format(10 * RELAXED(shedder->throttle_slice_ns), text),
               RELAXED(shedder->throttle_max_ppm) / 1e4);
  if (RELAXED(shedder->latency_target_ns))
    buf_printf(out, ", or 5%% more for each second slower than %s",
               duration_format(RELAXED(shedder->latency_target_ns), text));
  buf_text(out, ", whichever is more; the least critical first");
}

static void retry_rule(const struct protection *protection, struct buf *out)
{
  const struct retry *retry = protection->guard->shared;
  char text[DURATION_TEXT_MAX];
  buf_printf(out, "%u attempts, %s before the second", RELAXED(retry->attempts),
             duration_format(RELAXED(retry->wait_ns), text));
  if (RELAXED(retry->budget_ppm) == UINT32_MAX)
    buf_text(out, ", without a budget");
  else
    buf_printf(out, "; at most %.4g%% of calls are tried again", RELAXED(retry->budget_ppm) / 1e4);
  if (RELAXED(retry->hedge_ns)) buf_printf(out, "; hedges after %s", duration_format(RELAXED(retry->hedge_ns), text));
}

static void timeout_rule(const struct protection *protection, struct buf *out)
{
  const struct timeout *timeout = protection->guard->shared;
  char text[DURATION_TEXT_MAX];
  buf_printf(out, "a call may take %s, and no longer than its caller waits",
             duration_format(RELAXED(timeout->limit_ns), text));
}

static void fallback_rule(const struct protection *protection, struct buf *out)
{
  const struct fallback *fallback = protection->guard->shared;
  buf_printf(out, "serves at most %u calls at once", bulkhead_limit(&fallback->bulkhead));
}

static void put_rule(const struct protection *protection, struct pool *pool, struct value *out)
{
  static void (*const rules[PROTECTION_KINDS])(const struct protection *, struct buf *) = {
    [PROTECTION_BREAKER] = breaker_rule,   [PROTECTION_LIMITER] = limiter_rule,
    [PROTECTION_BULKHEAD] = bulkhead_rule, [PROTECTION_ADAPTIVE_LIMIT] = adaptive_limit_rule,
    [PROTECTION_SHEDDER] = shedder_rule,   [PROTECTION_RETRY] = retry_rule,
    [PROTECTION_TIMEOUT] = timeout_rule,   [PROTECTION_FALLBACK] = fallback_rule,
  };
  struct buf text = { 0 };
  rules[kind_of(protection)](protection, &text);
  value_put_text(pool, out, "rule_text", text.data); // "rule" has its numbers, where a kind gives them
  buf_free(&text);
}

// The last step, if it is still logged.
static bool last_step(const struct protection *protection, struct circuit_move *move)
{
  const struct breaker *breaker = protection->guard->shared;
  return circuit_move_of(breaker_circuit(breaker), circuit_word_generation(circuit_load(breaker_circuit(breaker))),
                         move);
}

static void breaker_summary(const nines *engine, const struct protection *protection, struct pool *pool,
                            struct value *out)
{
  struct buf text = { 0 };
  struct circuit_move step;
  nines_breaker_reading reading;
  bool logged = last_step(protection, &step);
  nines_breaker_read((void *)protection->guard, engine->now_ns, &reading);
  buf_text(&text, circuit_state_text(reading.state));
  if (logged) buf_printf(&text, ", because: %s", circuit_cause_text((uint32_t)step.cause));
  if (reading.calls)
    buf_printf(&text, "; of %llu calls in its window %llu failed (%.4g%%), %llu were slow (%.4g%%)",
               (unsigned long long)reading.calls, (unsigned long long)reading.failed,
               100 * (double)reading.failed / (double)reading.calls, (unsigned long long)reading.slow,
               100 * (double)reading.slow / (double)reading.calls);
  else if (reading.state == NINES_BREAKER_CLOSED || reading.state == NINES_BREAKER_METRICS_ONLY)
    buf_text(&text, "; no calls in its window"); // in the other states it counts none
  if (reading.refused) buf_printf(&text, "; %llu refused since the start", (unsigned long long)reading.refused);
  value_put_text(pool, out, "summary", text.data);
  buf_free(&text);
  if (!logged) return;
  value_put_text(pool, out, "from", circuit_state_text(step.from));
  value_put(pool, out, "since_ns", value_integer(engine->wall_ns - engine->now_ns + step.at_ns));
}

static void shedder_summary(const struct protection *protection, struct pool *pool, struct value *out)
{
  struct shedder_reading shares = shedder_read(protection->guard->shared);
  double most = fmax(shares.by_hand, fmax(shares.by_throttle, shares.by_latency));
  value_put_format(pool, out, "summary",
                   "sheds %.4g%% of all requests%s; by hand or policy %.4g%%, throttle %.4g%%, latency %.4g%%", most,
                   most <= 0                    ? ""
                   : most == shares.by_hand     ? " (set)"
                   : most == shares.by_throttle ? " (too many are not accepted)"
                                                : " (too slow)",
                   shares.by_hand, shares.by_throttle, shares.by_latency);
}

// Who has the say.
static void put_say(const struct protection *protection, struct pool *pool, struct value *out)
{
  char until[CLOCK_TEXT_MAX];
  if (kind_of(protection) != PROTECTION_BREAKER && kind_of(protection) != PROTECTION_SHEDDER) return;
  if (!protection->by_person)
    value_put_text(pool, out, "in_charge", protection->declared_by ? "its rule and the policies" : "its rule");
  else if (protection->expires_wall_ns)
    value_put_format(pool, out, "in_charge", "%s, until %s or lifted", protection->actor,
                     clock_format(protection->expires_wall_ns, until));
  else
    value_put_format(pool, out, "in_charge", "%s, until lifted", protection->actor);
}

bool protection_overview_explain(const nines *engine, const char *name, struct pool *pool, struct value *out)
{
  bool found = false;
  for (int kind = 0; kind < PROTECTION_KINDS; kind++) {
    const struct protection *protection = protection_find(engine, kind, name);
    struct value item = value_table();
    if (!protection) continue;
    if (kind == PROTECTION_BREAKER) breaker_summary(engine, protection, pool, &item);
    if (kind == PROTECTION_SHEDDER) shedder_summary(protection, pool, &item);
    put_rule(protection, pool, &item);
    put_say(protection, pool, &item);
    if (protection->observe) value_put_text(pool, &item, "mode", "observe");
    protection_describe(engine, protection, pool, &item);
    value_put(pool, out, protection_kinds[kind].noun, item);
    found = true;
  }
  return found;
}
