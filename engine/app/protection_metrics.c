// Protections in /metrics: the seed's gauge of open breakers, and for each noun what was asked, refused, and is in
// force. Every family is a line of one table; a reader that has nothing to say gives NAN, and the sample is left out.

#include <math.h>

#include "adaptive_limit.h"
#include "clients.h"
#include "fallback.h"
#include "protection_overview.h"
#include "retry.h"
#include "shedder.h"

typedef double reader(const struct guard *guard, int64_t now_ns);

static nines_breaker_reading breaker_of(const struct guard *guard, int64_t now_ns)
{
  nines_breaker_reading reading;
  nines_breaker_read((void *)(uintptr_t)guard, now_ns, &reading);
  return reading;
}

static double breaker_open(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  int state = nines_breaker_state((const void *)guard);
  return state == NINES_BREAKER_OPEN || state == NINES_BREAKER_HALF_OPEN || state == NINES_BREAKER_FORCED_OPEN;
}
static double breaker_state(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return nines_breaker_state((const void *)guard);
}
static double breaker_calls(const struct guard *guard, int64_t now_ns)
{
  return (double)breaker_of(guard, now_ns).total;
}
static struct tally breaker_totals(const struct guard *guard)
{
  struct tally sum = { 0 };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct breaker_stripe *stripe = atomic_load_explicit(&guard->stripes[writer], memory_order_acquire);
    if (stripe) sum = tally_add(sum, stripe_total(&stripe->stripe));
  }
  return sum;
}
static double breaker_failed(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return (double)breaker_totals(guard).bad;
}
static double breaker_slow(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return (double)breaker_totals(guard).slow;
}
static double breaker_refused(const struct guard *guard, int64_t now_ns)
{
  return (double)breaker_of(guard, now_ns).refused;
}
static double breaker_late(const struct guard *guard, int64_t now_ns)
{
  return (double)breaker_of(guard, now_ns).late;
}

static double keys_figure(const struct guard *guard, double (*read)(const struct keyed_breaker_usage *usage))
{
  const struct guard *keys = ((const struct nines_breaker *)(const void *)guard)->keys;
  if (!keys) return NAN;
  struct keyed_breaker_usage usage = keyed_breaker_usage(keys->shared);
  return read(&usage);
}
static double usage_keys(const struct keyed_breaker_usage *usage)
{
  return usage->keys;
}
static double usage_keys_max(const struct keyed_breaker_usage *usage)
{
  return usage->keys_max;
}
static double usage_open(const struct keyed_breaker_usage *usage)
{
  return usage->open;
}
static double usage_evicted(const struct keyed_breaker_usage *usage)
{
  return (double)usage->evicted;
}
static double breaker_keys(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return keys_figure(guard, usage_keys);
}
static double breaker_keys_max(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return keys_figure(guard, usage_keys_max);
}
static double breaker_keys_open(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return keys_figure(guard, usage_open);
}
static double breaker_keys_evicted(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return keys_figure(guard, usage_evicted);
}

static double limiter_refused_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return (double)nines_limiter_refused((const void *)guard);
}

static double bulkhead_inside_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return nines_bulkhead_inside((const void *)guard);
}
static double bulkhead_limit_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return bulkhead_limit(guard->shared);
}
static double bulkhead_refused_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return (double)nines_bulkhead_refused((const void *)guard);
}

static double adaptive_limit_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return nines_adaptive_limit_now((const void *)guard);
}
static double adaptive_limit_inside_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return nines_adaptive_limit_inside((const void *)guard);
}
static double adaptive_limit_refused_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return (double)nines_adaptive_limit_refused((const void *)guard);
}

static double shedder_percent(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  struct shedder_reading shares = shedder_read(guard->shared);
  return fmax(shares.by_hand, fmax(shares.by_throttle, shares.by_latency));
}

static double retry_budget_of(const struct guard *guard, int64_t now_ns)
{
  return nines_retry_budget((const void *)guard, now_ns);
}

static double timeout_count_of(const struct guard *guard, int64_t now_ns)
{
  (void)now_ns;
  return (double)nines_timeout_count((const void *)guard);
}

static double fallback_share_of(const struct guard *guard, int64_t now_ns)
{
  double share = nines_fallback_share((const void *)guard, now_ns);
  return share < 0 ? NAN : share;
}

static const struct family {
  int kind;
  enum expose_type type;
  const char *name, *label;
  reader *read;
  const char *help;
} families[] = {
  { PROTECTION_BREAKER, EXPOSE_GAUGE, "prevention_circuit_breakers_open", "dependency", breaker_open,
    "1 while the breaker is open, half-open or forced open." },
  { PROTECTION_BREAKER, EXPOSE_GAUGE, "nines_breaker_state", "name", breaker_state,
    "0 closed, 1 open, 2 half-open, 3 disabled, 4 forced open, 5 metrics only." },
  { PROTECTION_BREAKER, EXPOSE_COUNTER, "nines_breaker_calls_total", "name", breaker_calls,
    "Calls whose outcome was counted." },
  { PROTECTION_BREAKER, EXPOSE_COUNTER, "nines_breaker_failed_total", "name", breaker_failed, "Calls that failed." },
  { PROTECTION_BREAKER, EXPOSE_COUNTER, "nines_breaker_slow_total", "name", breaker_slow,
    "Calls slower than the breaker's limit." },
  { PROTECTION_BREAKER, EXPOSE_COUNTER, "nines_breaker_refused_total", "name", breaker_refused, "Calls refused." },
  { PROTECTION_BREAKER, EXPOSE_COUNTER, "nines_breaker_late_total", "name", breaker_late,
    "Outcomes of calls that began in an earlier state, not counted." },
  { PROTECTION_BREAKER, EXPOSE_GAUGE, "nines_breaker_keys", "name", breaker_keys, "Keys with a breaker of their own." },
  { PROTECTION_BREAKER, EXPOSE_GAUGE, "nines_breaker_keys_max", "name", breaker_keys_max, "Limit of keys." },
  { PROTECTION_BREAKER, EXPOSE_GAUGE, "nines_breaker_keys_open", "name", breaker_keys_open,
    "Keys whose breaker is open." },
  { PROTECTION_BREAKER, EXPOSE_COUNTER, "nines_breaker_keys_evicted_total", "name", breaker_keys_evicted,
    "Healthy keys that made room for others." },
  { PROTECTION_LIMITER, EXPOSE_COUNTER, "nines_limiter_refused_total", "name", limiter_refused_of, "Calls refused." },
  { PROTECTION_BULKHEAD, EXPOSE_GAUGE, "nines_bulkhead_inside", "name", bulkhead_inside_of, "Calls inside." },
  { PROTECTION_BULKHEAD, EXPOSE_GAUGE, "nines_bulkhead_limit", "name", bulkhead_limit_of, "Limit of calls inside." },
  { PROTECTION_BULKHEAD, EXPOSE_COUNTER, "nines_bulkhead_refused_total", "name", bulkhead_refused_of,
    "Calls refused." },
  { PROTECTION_ADAPTIVE_LIMIT, EXPOSE_GAUGE, "nines_adaptive_limit", "name", adaptive_limit_of,
    "Limit of calls inside, as found." },
  { PROTECTION_ADAPTIVE_LIMIT, EXPOSE_GAUGE, "nines_adaptive_limit_inside", "name", adaptive_limit_inside_of,
    "Calls inside." },
  { PROTECTION_ADAPTIVE_LIMIT, EXPOSE_COUNTER, "nines_adaptive_limit_refused_total", "name", adaptive_limit_refused_of,
    "Calls refused." },
  { PROTECTION_SHEDDER, EXPOSE_GAUGE, "nines_shedder_percent", "name", shedder_percent,
    "Percent of all requests that it sheds." },
  { PROTECTION_RETRY, EXPOSE_GAUGE, "nines_retry_budget", "name", retry_budget_of, "Retries left now." },
  { PROTECTION_TIMEOUT, EXPOSE_COUNTER, "nines_timeout_total", "name", timeout_count_of, "Calls that timed out." },
  { PROTECTION_FALLBACK, EXPOSE_GAUGE, "nines_fallback_share_percent", "name", fallback_share_of,
    "Percent of calls that the fallback served, over 10 s." },
};

static void expose_shed(const nines *engine, struct expose *expose)
{
  static const char *const criticalities[CRITICALITIES] = { "sheddable", "sheddable_plus", "critical",
                                                            "critical_plus" };
  const struct protection *protection;
  expose_family(expose, "nines_shedder_refused_total", EXPOSE_COUNTER, "Requests shed.");
  for (uint32_t i = 0; (protection = protection_at(engine, i)); i++) {
    if (protection->kind != &protection_kinds[PROTECTION_SHEDDER]) continue;
    for (int criticality = 0; criticality < CRITICALITIES; criticality++)
      expose_sample(expose, "",
                    (struct expose_label[]){
                        { "name", protection->guard->name }, { "criticality", criticalities[criticality] }, { 0 } },
                    (double)nines_shedder_refused((const void *)protection->guard, criticality));
  }
}

static void expose_clients(const nines *engine, struct expose *expose)
{
  struct clients_usage usage = clients_usage(&engine->guards);
  const struct {
    const char *name;
    enum expose_type type;
    const char *help;
    double value;
  } gauges[] = {
    { "nines_attached_processes", EXPOSE_GAUGE, "Processes attached to the arena.", usage.processes },
    { "nines_writers", EXPOSE_GAUGE, "Numbers for writing threads and attached processes, in use.", usage.writers },
    { "nines_writers_max", EXPOSE_GAUGE, "Limit of these numbers.", usage.writers_max },
    { "nines_attached_granted_total", EXPOSE_COUNTER, "Wishes of attached processes for objects, granted.",
      (double)usage.granted },
    { "nines_attached_refused_total", EXPOSE_COUNTER, "Wishes refused.", (double)usage.refused },
    { "nines_attached_dead_total", EXPOSE_COUNTER, "Processes that ended, whose numbers and permits were taken back.",
      (double)usage.buried },
  };
  for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++) {
    expose_family(expose, gauges[i].name, gauges[i].type, gauges[i].help);
    expose_sample(expose, "", NULL, gauges[i].value);
  }
}

void protection_overview_metrics(const nines *engine, struct expose *expose)
{
  const struct protection *protection;
  for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
    const struct family *family = &families[f];
    expose_family(expose, family->name, family->type, family->help);
    for (uint32_t i = 0; (protection = protection_at(engine, i)); i++) {
      if (protection->kind != &protection_kinds[family->kind]) continue;
      double value = family->read(protection->guard, engine->now_ns);
      if (!isnan(value))
        expose_sample(expose, "", (struct expose_label[]){ { family->label, protection->guard->name }, { 0 } }, value);
    }
  }
  expose_shed(engine, expose);
  expose_family(expose, "nines_protections", EXPOSE_GAUGE, "Primitives by name.");
  expose_sample(expose, "", NULL, engine->guards.count);
  expose_family(expose, "nines_protections_max", EXPOSE_GAUGE, "Limit of primitives.");
  expose_sample(expose, "", NULL, GUARDS_MAX);
  expose_clients(engine, expose);
}
