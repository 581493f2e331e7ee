// Zeroed memory is what a start that was cut short leaves behind: it has no settings, and nothing may take it for some.
//
// (Fault points and baselines have none: nothing injected, nothing learned yet, is what their zeros mean.)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adaptive_limit.h"
#include "breaker.h"
#include "bulkhead.h"
#include "canary.h"
#include "fallback.h"
#include "fault.h"
#include "keyed_breaker.h"
#include "limiter.h"
#include "retry.h"
#include "shedder.h"
#include "timeout.h"

static struct adaptive_limit adaptive_limit;
static struct breaker breaker;
static struct bulkhead bulkhead;
static struct canary canary;
static struct fallback fallback;
static struct fault fault;
static struct limiter limiter;
static struct retry retry;
static struct shedder shedder;
static struct timeout timeout;

static void zeros_are_no_settings(void **state)
{
  (void)state;
  assert_false(adaptive_limit_valid(&adaptive_limit));
  assert_false(breaker_valid(&breaker));
  assert_false(bulkhead_valid(&bulkhead));
  assert_false(canary_valid(&canary));
  assert_false(fallback_valid(&fallback));
  assert_false(limiter_valid(&limiter));
  assert_false(retry_valid(&retry));
  assert_false(shedder_valid(&shedder));
  assert_false(timeout_valid(&timeout));
  size_t bytes = (keyed_breaker_size(4) + 63) / 64 * 64;
  struct keyed_breaker *table = aligned_alloc(64, bytes);
  assert_non_null(table);
  memset((void *)table, 0, bytes);
  assert_false(keyed_breaker_valid(table, 4));
  assert_false(keyed_breaker_valid(table, 0));
  free(table);
}

static void a_zeroed_fault_injects_nothing(void **state)
{
  (void)state;
  uint64_t random = 1;
  assert_true(fault_valid(&fault));
  assert_int_equal(fault_ask(&fault, NULL, 1, &random).kind, NINES_FAULT_NONE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(zeros_are_no_settings),
    cmocka_unit_test(a_zeroed_fault_injects_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
