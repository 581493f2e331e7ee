// A circuit's rule: defaults, limits, and each bad field refused with a sentence that names it.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "circuit_rule.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

static void test_defaults(void **state)
{
  (void)state;
  struct circuit_rule rule = { 0 };
  nines_breaker_config config = { .size = sizeof config };
  assert_int_equal(circuit_rule_set(&rule, &config, NULL), 0);
  assert_int_equal(rule.window_ns, 10 * S);
  assert_int_equal(rule.window_calls, 0);
  assert_int_equal(rule.calls_min, 20);
  assert_int_equal(rule.failure_permyriad, 5000);
  assert_int_equal(rule.slow_permyriad, 10000);
  assert_int_equal(rule.slow_ns, 60 * S);
  assert_int_equal(rule.open_ns, 60 * S);
  assert_int_equal(rule.open_max_ns, 3600 * S);
  assert_int_equal(rule.open_factor_milli, 1000);
  assert_int_equal(rule.probes, 10);
  assert_int_equal(rule.probe_lease_ns, 60 * S);
  assert_int_equal(rule.half_open_max_ns, 0);
  assert_int_equal(rule.flags, 0);
}

static void test_what_is_given(void **state)
{
  (void)state;
  struct circuit_rule rule = { 0 };
  nines_breaker_config config = { .size = sizeof config,
                                  .window_calls = 5,
                                  .failure_rate = -1,
                                  .slow_rate = 0.01,
                                  .open_ns = 7200 * S,
                                  .half_open_itself = 1,
                                  .half_open_then = -1,
                                  .latency_quantile = 0.99,
                                  .latency_ns = MS };
  assert_int_equal(circuit_rule_set(&rule, &config, NULL), 0);
  assert_int_equal(rule.calls_min, 5); // at most the window
  assert_int_equal(rule.failure_permyriad, CIRCUIT_NEVER);
  assert_int_equal(rule.slow_permyriad, 1);
  assert_int_equal(rule.open_max_ns, 7200 * S);
  assert_int_equal(rule.latency_permille, 990);
  assert_int_equal(rule.flags, CIRCUIT_HALF_OPEN_ITSELF | CIRCUIT_HALF_OPEN_CLOSES | CIRCUIT_LATENCY);
  config.size = offsetof(nines_breaker_config, failure_rate); // of an older caller
  config.failures_in_a_row = 7;
  assert_int_equal(circuit_rule_set(&rule, &config, NULL), 0);
  assert_int_equal(rule.failures_in_a_row, 0);
  assert_int_equal(rule.failure_permyriad, 5000);
}

static void refuse(nines_breaker_config config, const char *sentence)
{
  struct circuit_rule rule = { 0 }, before = { 0 };
  struct status status = { 0 };
  config.size = sizeof config;
  assert_int_equal(circuit_rule_set(&rule, &config, &status), NINES_EINVAL);
  assert_string_equal(status.text, sentence);
  assert_memory_equal(&rule, &before, sizeof rule);
}
#define REFUSE(sentence, ...) refuse((nines_breaker_config){ __VA_ARGS__ }, sentence)

static void test_each_bad_field_is_refused(void **state)
{
  (void)state;
  REFUSE("window_ns is -1: 1 ms to 7 days is allowed, 0 for the default", .window_ns = -1);
  REFUSE("slow_ns is -5: 1 ns to 24 h is allowed, 0 for the default", .slow_ns = -5);
  REFUSE("latency_ns is -5: 1 ns to 24 h is allowed, 0 for the default", .latency_ns = -5);
  REFUSE("open_ns is 1: 1 ms to 365 days is allowed, 0 for the default", .open_ns = 1);
  REFUSE("open_max_ns is 1: 1 ms to 365 days is allowed, 0 for the default", .open_max_ns = 1);
  REFUSE("open_max_ns is 1000000, below open_ns (2000000): raise it", .open_ns = 2 * MS, .open_max_ns = MS);
  REFUSE("probe_lease_ns is 86400000000000: 1 ms to 12 h is allowed, 0 for the default", .probe_lease_ns = 86400 * S);
  REFUSE("half_open_max_ns is 1: 1 ms to 365 days is allowed, 0 for the default", .half_open_max_ns = 1);
  REFUSE("ramp_ns is 1: 1 ms to 7 days is allowed, 0 for the default", .ramp_ns = 1);
  REFUSE("window_calls is 513: at most 512 is allowed, 0 for the default", .window_calls = 513);
  REFUSE("probes is 25: 1 to 24 is allowed, 0 for the default", .probes = 25);
  REFUSE("keys is 4097: 1 to 4096 is allowed, 0 for the default", .keys = 4097);
  REFUSE("failure_rate is 101: 0.01 to 100 percent is allowed, negative for never", .failure_rate = 101);
  REFUSE("slow_rate is 0.001: 0.01 to 100 percent is allowed, negative for never", .slow_rate = 0.001);
  REFUSE("failure_rate is nan: 0.01 to 100 percent is allowed, negative for never", .failure_rate = (double)NAN);
  REFUSE("open_factor is 0.5: 1 to 1000 is allowed", .open_factor = 0.5);
  REFUSE("open_jitter is 1.5: 0 to 1 is allowed", .open_jitter = 1.5);
  REFUSE("latency_quantile is 1: 0.001 to 0.999 is allowed, 0 for none", .latency_quantile = 1, .latency_ns = 1);
  REFUSE("latency_quantile is 0.9, but latency_ns is not set: set both or neither", .latency_quantile = 0.9);
  REFUSE("initial_state is 6: a NINES_BREAKER_* state (0 to 5) is allowed", .initial_state = 6);
  REFUSE("half_open_then is 2: NINES_BREAKER_OPEN (1, also 0) or -1 for closed is allowed", .half_open_then = 2);
  struct circuit_rule rule = { 0 };
  struct status status;
  nines_breaker_config none = { 0 };
  assert_int_equal(circuit_rule_set(&rule, &none, &status), NINES_EINVAL);
  assert_string_equal(status.text, "size is 0: set it to sizeof(nines_breaker_config)");
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_defaults), cmocka_unit_test(test_what_is_given),
                                      cmocka_unit_test(test_each_bad_field_is_refused) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
