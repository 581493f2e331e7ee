// A timeout against arithmetic that cannot overflow.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "timeout.h"

static int64_t random_time(struct rng *rng)
{
  switch (rng_below(rng, 8)) {
  case 0:
    return INT64_MAX - (int64_t)rng_below(rng, 3000000000);
  case 1:
    return 0;
  case 2:
    return (int64_t)rng_below(rng, UINT64_C(1) << 62);
  default:
    return (int64_t)rng_below(rng, 5000000000);
  }
}

static void deadlines_are_the_nearer_of_two(void **state)
{
  (void)state;
  struct rng rng = seed_stream("timeout_deadlines");
  struct timeout timeout = { 0 };
  nines_timeout_config config = { .size = sizeof config };
  for (int i = 0; i < 1000000; i++) {
    if (i % 1000 == 0) {
      config.limit_ns =
          1 + (int64_t)rng_below(&rng, rng_below(&rng, 2) ? 3000000000 : 24 * 3600 * UINT64_C(1000000000));
      assert_int_equal(timeout_set(&timeout, &config, i == 0, NULL), 0);
    }
    int64_t now_ns = random_time(&rng), caller_ns = random_time(&rng);
    __int128 expected = (__int128)now_ns + config.limit_ns;
    if (expected > INT64_MAX) expected = INT64_MAX;
    if (caller_ns != 0 && caller_ns < expected) expected = caller_ns;
    assert_int_equal(timeout_deadline(&timeout, caller_ns, now_ns), (int64_t)expected);
  }
}

static void a_deadline_that_is_over_is_handed_on(void **state)
{
  (void)state;
  struct timeout timeout = { 0 };
  assert_int_equal(timeout_set(&timeout, NULL, true, NULL), 0);
  assert_int_equal(timeout_deadline(&timeout, 0, 5000), 1000005000); // the default: 1 s
  assert_int_equal(timeout_deadline(&timeout, 4000, 5000), 4000);
}

static void settings(void **state)
{
  (void)state;
  struct timeout timeout = { 0 };
  struct status status;
  assert_false(timeout_valid(&timeout));
  nines_timeout_config config = { .size = sizeof config, .limit_ns = -1 };
  assert_int_equal(timeout_set(&timeout, &config, true, &status), NINES_EINVAL);
  assert_string_equal(status.text, "limit_ns is -1, must be 1 to 86400000000000 (a day); 0: 1 s");
  config.limit_ns = INT64_MAX;
  assert_int_equal(timeout_set(&timeout, &config, true, &status), NINES_EINVAL);
  config = (nines_timeout_config){ .size = 0, .limit_ns = 5 };
  assert_int_equal(timeout_set(&timeout, &config, true, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "size is 0"));
  assert_false(timeout_valid(&timeout));
  config = (nines_timeout_config){ .size = sizeof config.size, .limit_ns = 5 }; // of before there was a limit
  assert_int_equal(timeout_set(&timeout, &config, true, &status), 0);
  assert_int_equal(timeout_deadline(&timeout, 0, 1), 1000000001);
  timeout_done(&timeout, true);
  config.size = sizeof config;
  assert_int_equal(timeout_set(&timeout, &config, false, &status), 0);
  assert_int_equal(timeout_set(&timeout, NULL, false, &status), 0);
  assert_int_equal(timeout_deadline(&timeout, 0, 1), 6);
  assert_int_equal(timeout_count(&timeout), 1);
  assert_true(timeout_valid(&timeout));
  memset((void *)&timeout, 0xff, sizeof timeout);
  assert_false(timeout_valid(&timeout));
}

static void *time_out(void *argument)
{
  struct timeout *timeout = argument;
  for (int i = 0; i < 100000; i++) timeout_done(timeout, i % 4 == 0);
  return NULL;
}

static void threads_lose_no_count(void **state)
{
  (void)state;
  struct timeout timeout = { 0 };
  pthread_t thread[4];
  nines_timeout_config config = { .size = sizeof config, .limit_ns = 7 };
  assert_int_equal(timeout_set(&timeout, &config, true, NULL), 0);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, time_out, &timeout), 0);
  for (int i = 0; i < 1000; i++) {
    config.limit_ns = 7 + i;
    assert_int_equal(timeout_set(&timeout, &config, false, NULL), 0);
  }
  for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
  assert_int_equal(timeout_count(&timeout), 100000);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(deadlines_are_the_nearer_of_two),
    cmocka_unit_test(a_deadline_that_is_over_is_handed_on),
    cmocka_unit_test(settings),
    cmocka_unit_test(threads_lose_no_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
