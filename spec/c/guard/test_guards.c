// Named primitives: making them, finding them again after a restart, threads, and memory that runs out at every step.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "breakers.h"
#include "guards.h"
#include "mem.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)
#define START_NS  (100 * NS_PER_S)

static nines_arena *open_private(void)
{
  nines_arena *arena;
  assert_int_equal(nines_arena_open(&arena, 7), 0);
  nines_arena_fold(arena, START_NS);
  return arena;
}

static int open_all(nines_arena *arena)
{
  static const nines_breaker_config breaker_config = { .size = sizeof breaker_config, .keys = 16, .latency = 1 };
  static const nines_limiter_config limiter_config = { .size = sizeof limiter_config, .rate = 10 };
  nines_breaker *breaker;
  nines_limiter *limiter;
  nines_bulkhead *bulkhead;
  nines_adaptive_limit *adaptive_limit;
  nines_shedder *shedder;
  nines_retry *retry;
  nines_timeout *timeout;
  nines_fallback *fallback;
  nines_canary *canary;
  nines_fault *fault;
  nines_counter *counter;
  nines_histogram *histogram;
  nines_baseline *baseline;
  int code = nines_breaker_get(arena, "x", &breaker_config, &breaker);
  if (code == 0) code = nines_limiter_get(arena, "x", &limiter_config, &limiter);
  if (code == 0) code = nines_bulkhead_get(arena, "x", NULL, &bulkhead);
  if (code == 0) code = nines_adaptive_limit_get(arena, "x", NULL, &adaptive_limit);
  if (code == 0) code = nines_shedder_get(arena, "x", NULL, &shedder);
  if (code == 0) code = nines_retry_get(arena, "x", NULL, &retry);
  if (code == 0) code = nines_timeout_get(arena, "x", NULL, &timeout);
  if (code == 0) code = nines_fallback_get(arena, "x", NULL, &fallback);
  if (code == 0) code = nines_canary_get(arena, "x", NULL, &canary);
  if (code == 0) code = nines_fault_get(arena, "x", &fault);
  if (code == 0) code = nines_counter_get(arena, "x", &counter);
  if (code == 0) code = nines_histogram_get(arena, "x", 0, &histogram);
  if (code == 0) code = nines_baseline_get(arena, "x", &baseline);
  return code;
}

static void one_name_is_one_primitive_of_each_kind(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  assert_int_equal(open_all(arena), 0);
  uint32_t count = arena->count;
  assert_int_equal(open_all(arena), 0);
  assert_int_equal(arena->count, count);
  nines_bulkhead *first, *second, *other;
  assert_int_equal(nines_bulkhead_get(arena, "x", NULL, &first), 0);
  assert_int_equal(nines_bulkhead_get(arena, "x", NULL, &second), 0);
  assert_int_equal(nines_bulkhead_get(arena, "y", NULL, &other), 0);
  assert_ptr_equal(first, second);
  assert_ptr_not_equal(first, other);
  nines_arena_close(arena);
}

static void bad_names_and_settings_are_refused_with_a_sentence(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  char name[GUARD_NAME_MAX + 2];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  nines_fault *fault;
  assert_int_equal(nines_fault_get(arena, "", &fault), NINES_EINVAL);
  assert_null(fault);
  assert_non_null(strstr(nines_arena_errmsg(arena), "1 to 184 bytes"));
  assert_int_equal(nines_fault_get(arena, name, &fault), NINES_EINVAL);
  name[GUARD_NAME_MAX] = '\0';
  assert_int_equal(nines_fault_get(arena, name, &fault), 0);
  nines_limiter *limiter;
  assert_int_equal(nines_limiter_get(arena, "l", NULL, &limiter), NINES_EINVAL);
  assert_non_null(strstr(nines_arena_errmsg(arena), "rate"));
  nines_breaker *breaker;
  nines_breaker_config wrong = { .size = sizeof wrong, .failure_rate = 101 };
  assert_int_equal(nines_breaker_get(arena, "b", &wrong, &breaker), NINES_EINVAL);
  assert_non_null(strstr(nines_arena_errmsg(arena), "failure_rate"));
  assert_int_equal(arena->count, 1);
  nines_arena_close(arena);
}

// What is refused is as if never asked for: no memory is left that a later _get would take for settings.
static void a_refused_config_leaves_nothing(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  nines_breaker *breaker;
  struct arena_usage before = arena_usage(arena->memory);
  nines_breaker_config wrong = { .size = sizeof wrong, .failure_rate = 101 };
  assert_int_equal(nines_breaker_get(arena, "b", &wrong, &breaker), NINES_EINVAL);
  assert_int_equal(arena_usage(arena->memory).objects, before.objects);
  wrong = (nines_breaker_config){ .size = sizeof wrong, .keys = 1u << 31 };
  assert_int_equal(nines_breaker_get(arena, "b", &wrong, &breaker), NINES_EINVAL);
  assert_non_null(strstr(nines_arena_errmsg(arena), "keys"));
  assert_int_equal(arena_usage(arena->memory).objects, before.objects);
  assert_int_equal(nines_breaker_get(arena, "b", NULL, &breaker), 0);
  int64_t now_ns = START_NS;
  for (int i = 0; i < 20; i++) nines_breaker_done(breaker, nines_breaker_ask(breaker, now_ns), NINES_FAILURE, now_ns);
  assert_int_equal(nines_breaker_state(breaker), NINES_BREAKER_OPEN);
  nines_arena_close(arena);
}

static void a_keyed_config_is_taken_whole_or_not_at_all(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  nines_breaker *breaker;
  nines_breaker_config config = { .size = sizeof config, .keys = 16, .failures_in_a_row = 5 };
  assert_int_equal(nines_breaker_get(arena, "b", &config, &breaker), 0);
  config.keys = 32; // a table keeps its size
  config.failures_in_a_row = 1;
  assert_int_equal(nines_breaker_get(arena, "b", &config, &breaker), NINES_EINVAL);
  assert_non_null(strstr(nines_arena_errmsg(arena), "keys"));
  int64_t now_ns = START_NS;
  nines_breaker_done(breaker, nines_breaker_ask(breaker, now_ns), NINES_FAILURE, now_ns);
  assert_int_equal(nines_breaker_state(breaker), NINES_BREAKER_CLOSED);
  nines_arena_close(arena);
}

static void too_many_are_refused(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  char name[16];
  nines_timeout *timeout;
  for (int i = 0; i < GUARDS_MAX; i++) {
    snprintf(name, sizeof name, "t%d", i);
    int code = nines_timeout_get(arena, name, NULL, &timeout);
    if (code != 0) fail_msg("%s: %s", name, nines_arena_errmsg(arena));
  }
  assert_int_equal(nines_timeout_get(arena, "one more", NULL, &timeout), NINES_ELIMIT);
  assert_null(timeout);
  nines_arena_close(arena);
}

static void a_declaration_outranks_a_host(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  struct status status = { 0 };
  struct guard *guard;
  nines_bulkhead_config declared = { .size = sizeof declared, .concurrent_max = 2 },
                        host = { .size = sizeof host, .concurrent_max = 9 };
  assert_int_equal(guards_declare(arena, &bulkhead_kind, "b", &declared, &guard, &status), 0);
  guard->declared = true;
  nines_bulkhead *bulkhead;
  assert_int_equal(nines_bulkhead_get(arena, "b", &host, &bulkhead), 0);
  assert_int_equal(nines_bulkhead_limit(bulkhead), 2);
  nines_permit permit[3];
  for (int i = 0; i < 3; i++) permit[i] = nines_bulkhead_enter(bulkhead, START_NS);
  assert_true(nines_permitted(permit[0]) && nines_permitted(permit[1]) && !nines_permitted(permit[2]));
  guard->declared = false;
  assert_int_equal(nines_bulkhead_get(arena, "b", &host, &bulkhead), 0);
  assert_true(nines_permitted(nines_bulkhead_enter(bulkhead, START_NS)));
  nines_arena_close(arena);
}

// An engine's arena is a file: what is in it is taken up by the next life, shifted when the machine was restarted.
static void a_restart_keeps_state_and_shifts_times(void **state)
{
  (void)state;
  char folder[] = "/tmp/nines-guards-XXXXXX", path[64];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/arena", folder);
  const struct arena_config config = { .path = path, .size_bytes = 4 << 20 };
  struct status notice = { 0 }, status = { 0 };
  const nines_breaker_config settings = { .size = sizeof settings, .calls_min = 2, .open_ns = 10 * NS_PER_S };
  nines_breaker *breaker;
  int64_t now_ns = START_NS;
  for (int life = 0; life < 3; life++) {
    struct arena *memory;
    struct writers writers;
    struct nines_arena arena;
    assert_int_equal(arena_open(&memory, &config, &notice, &status), 0);
    writers_init(&writers, NULL);
    writers_bind_loop(&writers);
    guards_init(&arena, memory, &writers, 1, now_ns);
    if (life == 2) { // another boot: the clock begins again, a second later
      arena.rebase = true;
      arena.rebase_then_ns = now_ns;
      now_ns = arena.rebase_now_ns = NS_PER_S;
      now_ns += NS_PER_S;
    }
    assert_int_equal(nines_breaker_get(&arena, "b", life == 0 ? &settings : NULL, &breaker), 0);
    if (life == 0) {
      for (int i = 0; i < 2; i++)
        nines_breaker_done(breaker, nines_breaker_ask(breaker, now_ns), NINES_FAILURE, now_ns);
    }
    assert_int_equal(nines_breaker_state(breaker), NINES_BREAKER_OPEN);
    nines_breaker *tenants;
    const nines_breaker_config keyed = { .size = sizeof keyed, .keys = 5, .calls_min = 1, .failures_in_a_row = 1 };
    assert_int_equal(nines_breaker_get(&arena, "tenants", life == 0 ? &keyed : NULL, &tenants), 0);
    if (life == 0)
      nines_breaker_done(tenants, nines_breaker_ask_key(tenants, "acme", 4, now_ns), NINES_FAILURE, now_ns);
    assert_false(nines_permitted(nines_breaker_ask_key(tenants, "acme", 4, now_ns)));
    assert_true(nines_permitted(nines_breaker_ask_key(tenants, "globex", 6, now_ns)));
    if (life == 1) now_ns += 4 * NS_PER_S;
    nines_breaker_reading reading;
    nines_breaker_read(breaker, now_ns, &reading);
    if (life == 2) {
      // Open for 10 s, 5 of which are over.
      assert_in_range(reading.until_ns - now_ns, 4900 * NS_PER_MS, 5100 * NS_PER_MS);
      assert_false(nines_permitted(nines_breaker_ask(breaker, now_ns + 4 * NS_PER_S)));
      assert_true(nines_permitted(nines_breaker_ask(breaker, now_ns + 6 * NS_PER_S)));
    }
    guards_fini(&arena);
    writers_fini(&writers);
    arena_close(memory);
  }
  remove(path);
  remove(folder);
}

static void memory_may_run_out_anywhere(void **state)
{
  (void)state;
  long allocations = 0;
  for (long n = 1; n == 1 || n <= allocations + 1; n++) {
    nines_arena *arena = NULL;
    long before = mem_count();
    mem_fail_at(n, 0);
    int code = nines_arena_open(&arena, 7);
    if (code == 0) code = open_all(arena);
    allocations = mem_count() - before;
    mem_fail_at(0, 0);
    if (code != 0) assert_int_equal(code, NINES_ENOMEM);
    // What could not be made is not half there: now it can be.
    if (arena) assert_int_equal(open_all(arena), 0);
    nines_arena_close(arena);
    if (code == 0 && n > 1) break;
  }
  assert_true(allocations > 20);
}

// Writers without a stripe share one until the next fold; nothing is lost on the way.
struct work {
  nines_arena *arena;
  nines_counter *counter;
  nines_breaker *breaker;
  nines_histogram *histogram;
  nines_bulkhead *bulkhead;
};

enum { CALLS = 20000, THREADS = 4 };

static void *worker(void *userdata)
{
  const struct work *work = userdata;
  for (int i = 0; i < CALLS; i++) {
    int64_t now_ns = START_NS + i * 1000;
    nines_permit permit = nines_breaker_ask(work->breaker, now_ns);
    nines_permit place = nines_bulkhead_enter(work->bulkhead, now_ns);
    nines_counter_add(work->counter, 1, now_ns);
    nines_histogram_record(work->histogram, NS_PER_MS);
    if (nines_permitted(place)) nines_bulkhead_leave(work->bulkhead, place, now_ns);
    if (nines_permitted(permit)) nines_breaker_done(work->breaker, permit, NINES_SUCCESS, now_ns + 10);
  }
  return NULL;
}

static void threads_count_exactly(void **state)
{
  (void)state;
  struct work work = { .arena = open_private() };
  assert_int_equal(nines_counter_get(work.arena, "c", &work.counter), 0);
  assert_int_equal(nines_breaker_get(work.arena, "b", NULL, &work.breaker), 0);
  assert_int_equal(nines_histogram_get(work.arena, "h", 0, &work.histogram), 0);
  assert_int_equal(nines_bulkhead_get(work.arena, "k", NULL, &work.bulkhead), 0);
  pthread_t thread[THREADS];
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, worker, &work), 0);
  for (int i = 0; i < 200; i++) { // settings change meanwhile
    nines_breaker_config config = { .size = sizeof config,
                                    .window_ns = (10 + i % 3) * NS_PER_S,
                                    .slow_ns = (1 + i % 5) * NS_PER_S };
    nines_breaker *same;
    assert_int_equal(nines_breaker_get(work.arena, "b", &config, &same), 0);
    nines_arena_fold(work.arena, START_NS + i * NS_PER_MS);
  }
  worker(&work);
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  nines_arena_fold(work.arena, START_NS + NS_PER_S);
  nines_breaker_reading reading;
  nines_breaker_read(work.breaker, START_NS + NS_PER_S, &reading);
  assert_int_equal(nines_counter_total(work.counter), (THREADS + 1) * CALLS);
  assert_int_equal(reading.total, (THREADS + 1) * CALLS);
  assert_int_equal(reading.in_flight, 0);
  assert_int_equal(reading.failed, 0);
  assert_int_equal(nines_bulkhead_inside(work.bulkhead), 0);
  assert_in_range(nines_histogram_read(work.histogram, 0.5), 960 * 1000, 1040 * 1000);
  nines_arena_close(work.arena);
}

static void keyed_permits_find_their_way_back(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  const nines_breaker_config config = { .size = sizeof config, .keys = 8, .calls_min = 2, .window_calls = 4 };
  nines_breaker *breaker;
  assert_int_equal(nines_breaker_get(arena, "tenants", &config, &breaker), 0);
  for (int i = 0; i < 4; i++) {
    nines_permit bad = nines_breaker_ask_key(breaker, "acme", 4, START_NS);
    nines_permit good = nines_breaker_ask_key(breaker, "globex", 6, START_NS);
    if (nines_permitted(bad)) nines_breaker_done(breaker, bad, NINES_FAILURE, START_NS);
    nines_breaker_done(breaker, good, NINES_SUCCESS, START_NS);
  }
  assert_false(nines_permitted(nines_breaker_ask_key(breaker, "acme", 4, START_NS)));
  assert_true(nines_permitted(nines_breaker_ask_key(breaker, "globex", 6, START_NS)));
  assert_int_equal(nines_breaker_state(breaker), NINES_BREAKER_CLOSED); // its own
  nines_arena_close(arena);
}

static void waiter_ready(nines_waiter *waiter, nines_permit permit)
{
  *(nines_permit *)waiter->userdata = permit;
}

static void a_place_that_is_left_goes_to_who_waits(void **state)
{
  (void)state;
  nines_arena *arena = open_private();
  const nines_bulkhead_config config = { .size = sizeof config, .concurrent_max = 1, .queue_max = 1 };
  nines_bulkhead *bulkhead;
  assert_int_equal(nines_bulkhead_get(arena, "b", &config, &bulkhead), 0);
  nines_permit inside = nines_bulkhead_enter(bulkhead, START_NS), got = { -1, 0 };
  nines_waiter waiter = { .ready = waiter_ready, .userdata = &got }, second = waiter;
  assert_int_equal(nines_bulkhead_wait(bulkhead, &waiter, START_NS), 0);
  assert_int_equal(nines_bulkhead_wait(bulkhead, &second, START_NS), NINES_ELIMIT);
  nines_bulkhead_leave(bulkhead, inside, START_NS + 1000);
  assert_true(nines_permitted(got));
  assert_int_equal(nines_bulkhead_inside(bulkhead), 1);
  nines_permit refused = { 0, 1 };
  nines_waiter late = { .ready = waiter_ready, .userdata = &refused };
  assert_int_equal(nines_bulkhead_wait(bulkhead, &late, START_NS + 2000), 0);
  nines_arena_fold(arena, START_NS + NS_PER_S);
  assert_false(nines_permitted(refused));
  nines_bulkhead_leave(bulkhead, got, START_NS + NS_PER_S);
  nines_arena_close(arena);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_name_is_one_primitive_of_each_kind),
    cmocka_unit_test(bad_names_and_settings_are_refused_with_a_sentence),
    cmocka_unit_test(a_refused_config_leaves_nothing),
    cmocka_unit_test(a_keyed_config_is_taken_whole_or_not_at_all),
    cmocka_unit_test(too_many_are_refused),
    cmocka_unit_test(a_declaration_outranks_a_host),
    cmocka_unit_test(a_restart_keeps_state_and_shifts_times),
    cmocka_unit_test(memory_may_run_out_anywhere),
    cmocka_unit_test(threads_count_exactly),
    cmocka_unit_test(keyed_permits_find_their_way_back),
    cmocka_unit_test(a_place_that_is_left_goes_to_who_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
