// Checks all of a config before it writes a word of the rule, so that a refused one changes nothing.
#include "circuit_rule.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define NS_PER_MS   INT64_C(1000000)
#define NS_PER_S    INT64_C(1000000000)
#define NS_PER_HOUR (3600 * NS_PER_S)
#define NS_PER_DAY  (24 * NS_PER_HOUR)
enum { CALLS_MIN_MAX = 1000000 };

struct range {
  const char *name;
  int64_t value, least, most;
  const char *allowed;
};

static int check_range(struct range range, struct status *status)
{
  if (range.value == 0 || (range.value >= range.least && range.value <= range.most)) return 0;
  return status_set(status, NINES_EINVAL, "%s is %" PRId64 ": %s is allowed, 0 for the default", range.name,
                    range.value, range.allowed);
}

static int check_spans(const nines_breaker_config *config, struct status *status)
{
  const struct range ranges[] = {
    { "window_ns", config->window_ns, NS_PER_MS, 7 * NS_PER_DAY, "1 ms to 7 days" },
    { "slow_ns", config->slow_ns, 1, NS_PER_DAY, "1 ns to 24 h" },
    { "latency_ns", config->latency_ns, 1, NS_PER_DAY, "1 ns to 24 h" },
    { "open_ns", config->open_ns, NS_PER_MS, 365 * NS_PER_DAY, "1 ms to 365 days" },
    { "open_max_ns", config->open_max_ns, NS_PER_MS, 365 * NS_PER_DAY, "1 ms to 365 days" },
    { "probe_lease_ns", config->probe_lease_ns, NS_PER_MS, 12 * NS_PER_HOUR, "1 ms to 12 h" },
    { "half_open_max_ns", config->half_open_max_ns, NS_PER_MS, 365 * NS_PER_DAY, "1 ms to 365 days" },
    { "ramp_ns", config->ramp_ns, NS_PER_MS, 7 * NS_PER_DAY, "1 ms to 7 days" },
    { "window_calls", config->window_calls, 1, CIRCUIT_CALLS_MAX, "at most 512" },
    { "probes", config->probes, 1, CIRCUIT_PROBES_MAX, "1 to 24" },
    { "keys", config->keys, 1, 4096, "1 to 4096" },
  };
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    int code = check_range(ranges[i], status);
    if (code) return code;
  }
  if (config->open_max_ns && config->open_max_ns < config->open_ns)
    return status_set(status, NINES_EINVAL, "open_max_ns is %" PRId64 ", below open_ns (%" PRId64 "): raise it",
                      config->open_max_ns, config->open_ns);
  return 0;
}

// Percent; 0 is the default, negative never.
static int check_percent(const char *name, double value, struct status *status)
{
  if (value <= 0 || (value >= 0.01 && value <= 100)) return 0;
  return status_set(status, NINES_EINVAL, "%s is %g: 0.01 to 100 percent is allowed, negative for never", name, value);
}

static int check_numbers(const nines_breaker_config *config, struct status *status)
{
  if (config->calls_min > CALLS_MIN_MAX)
    return status_set(status, NINES_EINVAL, "calls_min is %u: 1 to %d is allowed", config->calls_min, CALLS_MIN_MAX);
  int code = check_percent("failure_rate", config->failure_rate, status);
  if (!code) code = check_percent("slow_rate", config->slow_rate, status);
  if (code) return code;
  if (!(config->open_factor == 0 || (config->open_factor >= 1 && config->open_factor <= 1000)))
    return status_set(status, NINES_EINVAL, "open_factor is %g: 1 to 1000 is allowed", config->open_factor);
  if (!(config->open_jitter >= 0 && config->open_jitter <= 1))
    return status_set(status, NINES_EINVAL, "open_jitter is %g: 0 to 1 is allowed", config->open_jitter);
  if (!(config->latency_quantile == 0 || (config->latency_quantile >= 0.001 && config->latency_quantile <= 0.999)))
    return status_set(status, NINES_EINVAL, "latency_quantile is %g: 0.001 to 0.999 is allowed, 0 for none",
                      config->latency_quantile);
  if (config->latency_quantile > 0 && config->latency_ns == 0)
    return status_set(status, NINES_EINVAL, "latency_quantile is %g, but latency_ns is not set: set both or neither",
                      config->latency_quantile);
  return 0;
}

static int check_states(const nines_breaker_config *config, struct status *status)
{
  if (config->initial_state < NINES_BREAKER_CLOSED || config->initial_state > NINES_BREAKER_METRICS_ONLY)
    return status_set(status, NINES_EINVAL, "initial_state is %d: a NINES_BREAKER_* state (0 to 5) is allowed",
                      config->initial_state);
  if (config->half_open_then < -1 || config->half_open_then > NINES_BREAKER_OPEN)
    return status_set(status, NINES_EINVAL,
                      "half_open_then is %d: NINES_BREAKER_OPEN (1, also 0) or -1 for closed is allowed",
                      config->half_open_then);
  return 0;
}

static void put32(_Atomic uint32_t *word, uint32_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

static void put_ns(_Atomic int64_t *word, int64_t value, int64_t otherwise)
{
  atomic_store_explicit(word, value ? value : otherwise, memory_order_relaxed);
}

static uint32_t permyriad(double percent, double otherwise)
{
  if (percent < 0) return CIRCUIT_NEVER;
  return (uint32_t)lround((percent > 0 ? percent : otherwise) * 100);
}

int circuit_rule_set(struct circuit_rule *rule, const nines_breaker_config *config, struct status *status)
{
  nines_breaker_config c = { 0 };
  if (config->size < sizeof config->size)
    return status_set(status, NINES_EINVAL, "size is %zu: set it to sizeof(nines_breaker_config)", config->size);
  memcpy(&c, config, config->size < sizeof c ? config->size : sizeof c);
  int code = check_spans(&c, status);
  if (!code) code = check_numbers(&c, status);
  if (!code) code = check_states(&c, status);
  if (code) return code;

  uint32_t calls_min = c.calls_min ? c.calls_min : 20;
  if (c.window_calls && calls_min > c.window_calls) calls_min = c.window_calls;
  put32(&rule->window_calls, c.window_calls);
  put32(&rule->calls_min, calls_min);
  put32(&rule->failure_permyriad, permyriad(c.failure_rate, 50));
  put32(&rule->slow_permyriad, permyriad(c.slow_rate, 100));
  put32(&rule->failures_in_a_row, c.failures_in_a_row);
  put32(&rule->probes, c.probes ? c.probes : 10);
  put_ns(&rule->window_ns, c.window_ns, 10 * NS_PER_S);
  put_ns(&rule->slow_ns, c.slow_ns, 60 * NS_PER_S);
  int64_t open_ns = c.open_ns ? c.open_ns : 60 * NS_PER_S;
  if (c.open_max_ns && open_ns > c.open_max_ns) open_ns = c.open_max_ns; // a low maximum with the default time
  put_ns(&rule->open_ns, open_ns, 0);
  put_ns(&rule->open_max_ns, c.open_max_ns, open_ns > NS_PER_HOUR ? open_ns : NS_PER_HOUR);
  put32(&rule->open_factor_milli, c.open_factor > 0 ? (uint32_t)lround(c.open_factor * 1000) : 1000);
  put32(&rule->open_jitter_milli, (uint32_t)lround(c.open_jitter * 1000));
  put_ns(&rule->probe_lease_ns, c.probe_lease_ns, 60 * NS_PER_S);
  put_ns(&rule->half_open_max_ns, c.half_open_max_ns, 0);
  put_ns(&rule->ramp_ns, c.ramp_ns, 0);
  put32(&rule->latency_permille, (uint32_t)lround(c.latency_quantile * 1000));
  put_ns(&rule->latency_ns, c.latency_ns, 0);
  put32(&rule->flags, (c.half_open_itself ? CIRCUIT_HALF_OPEN_ITSELF : 0) |
                          (c.half_open_then == -1 ? CIRCUIT_HALF_OPEN_CLOSES : 0) |
                          (c.latency || c.latency_quantile > 0 ? CIRCUIT_LATENCY : 0));
  return 0;
}
