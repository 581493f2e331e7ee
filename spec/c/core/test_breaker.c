// A breaker in the cases that users of other breakers reported, its states, damage, and threads.
#include <pthread.h>

#include "core/breaker_bed.h"
#include "core/seed.h"

static nines_breaker_config ten_seconds(void)
{
  return (nines_breaker_config){ .window_ns = 10 * S, .calls_min = 20, .slow_ns = S };
}

// gobreaker#21, #64, Sentinel#3130, resilience4j#1034: no fixed windows, so the phase does not matter.
static void a_burst_trips_at_any_phase(void **state)
{
  (void)state;
  for (int64_t phase_ns = 0; phase_ns < 12 * S; phase_ns += 170 * MS) {
    begin_with(ten_seconds(), S);
    calls(FIRST, 1, NINES_SUCCESS, S);
    int64_t now_ns = S + phase_ns;
    for (int i = 0; i < 20; i++) {
      assert_int_equal(state_at(now_ns), NINES_BREAKER_CLOSED);
      calls(FIRST, 1, NINES_FAILURE, now_ns += 100 * MS);
      if (state_at(now_ns) == NINES_BREAKER_OPEN) break;
    }
    assert_int_equal(state_at(now_ns), NINES_BREAKER_OPEN);
  }
}

static void what_is_old_is_forgotten(void **state)
{
  (void)state;
  begin_with(ten_seconds(), S);
  calls(FIRST, 19, NINES_FAILURE, S);
  assert_int_equal(read_at(S + 9 * S).calls, 19);
  assert_int_equal(read_at(S + 10 * S).calls, 0);
  calls(FIRST, 19, NINES_FAILURE, 11 * S);
  assert_int_equal(state_at(11 * S), NINES_BREAKER_CLOSED);
  calls(FIRST, 1, NINES_SUCCESS, 12 * S); // Resilience4j: the call that reaches the minimum decides, whatever it is
  assert_int_equal(state_at(12 * S), NINES_BREAKER_OPEN);
}

// resilience4j#1597, #381, #667, gobreaker#91, go-zero#5011: hung calls count before they end.
static void hung_calls_open_it(void **state)
{
  (void)state;
  static nines_permit hung[30];
  begin_with(ten_seconds(), S);
  for (int i = 0; i < 30; i++) hung[i] = ask(i % 2 ? FIRST : OTHER, S);
  for (int64_t now_ns = S; now_ns <= 2 * S; now_ns += 50 * MS) {
    fold(now_ns);
    assert_int_equal(state_at(now_ns), NINES_BREAKER_CLOSED);
    assert_int_equal(read_at(now_ns).overdue, 0);
  }
  assert_int_equal(read_at(2 * S + 140 * MS).overdue, 30);
  fold(2 * S + 140 * MS);
  assert_int_equal(state_at(2 * S + 140 * MS), NINES_BREAKER_OPEN);
  for (int i = 0; i < 30; i++) done(THIRD, hung[i], NINES_FAILURE, 40 * S);
  nines_breaker_reading reading = read_at(40 * S);
  assert_int_equal(reading.in_flight, 0);
  assert_int_equal(reading.overdue, 0);
  assert_int_equal(reading.late, 30);
}

// A caller that was killed, or forgets permits, must not open it again and again.
static void a_permit_never_given_back_is_forgotten(void **state)
{
  (void)state;
  begin_with(ten_seconds(), S);
  for (int i = 0; i < 15; i++) ask(FIRST, S); // below the minimum
  int64_t now_ns = S;
  for (; now_ns < 14 * S; now_ns += 50 * MS) fold(now_ns);
  assert_int_equal(read_at(now_ns).overdue, 15);
  calls(FIRST, 5, NINES_SUCCESS, now_ns); // 20 calls, 15 overdue; but those are no news
  atomic_store(&breaker.rule.slow_permyriad, 5000);
  fold(now_ns);
  assert_int_equal(state_at(now_ns), NINES_BREAKER_CLOSED);
  for (int i = 0; i < 20; i++) ask(FIRST, now_ns);
  for (int i = 0; i < 30; i++) fold(now_ns += 50 * MS);
  assert_int_equal(state_at(now_ns), NINES_BREAKER_OPEN);
}

// resilience4j#299, #850, #2325: settings keep counts; what they ask for holds at once.
static void settings_keep_counts(void **state)
{
  (void)state;
  nines_breaker_config config = ten_seconds();
  begin_with(config, S);
  calls(FIRST, 10, NINES_FAILURE, S);
  calls(OTHER, 10, NINES_SUCCESS, S);
  calls(WRITER_SHARED, 10, NINES_SUCCESS, S);
  fold(S);
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  config.window_ns = 100 * S;
  change(config);
  calls(FIRST, 1, NINES_SUCCESS, 9 * S);
  calls(OTHER, 1, NINES_SUCCESS, 9 * S);
  fold(9 * S);
  assert_int_equal(read_at(9 * S).calls, 32);
  assert_int_equal(read_at(90 * S).calls, 32);
  config.failure_rate = 30;
  change(config);
  fold(90 * S);
  assert_int_equal(state_at(90 * S), NINES_BREAKER_OPEN);
}

static void writers_add_up(void **state)
{
  (void)state;
  begin_with(ten_seconds(), S);
  calls(FIRST, 7, NINES_FAILURE, S);
  calls(OTHER, 7, NINES_FAILURE, S);
  calls(WRITER_SHARED, 1, NINES_FAILURE, S);
  fold(S);
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  calls(WRITER_SHARED, 5, NINES_FAILURE, S); // only adds
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  fold(S + 50 * MS);
  assert_int_equal(state_at(S + 50 * MS), NINES_BREAKER_OPEN);

  begin_with(ten_seconds(), S); // the minimum is reached by one whose own rate is below: the fold sees it
  calls(FIRST, 16, NINES_FAILURE, S);
  calls(OTHER, 4, NINES_SUCCESS, S);
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  fold(S);
  assert_int_equal(state_at(S), NINES_BREAKER_OPEN);

  begin_with(ten_seconds(), S); // one over the rate, the whole is not
  calls(OTHER, 30, NINES_SUCCESS, S);
  calls(FIRST, 25, NINES_FAILURE, S);
  fold(S);
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  calls(FIRST, 5, NINES_FAILURE, S); // now it is, and the one decides at once
  assert_int_equal(state_at(S), NINES_BREAKER_OPEN);
}

static void call_of(int64_t took_ns, int64_t now_ns)
{
  done(FIRST, ask(FIRST, now_ns - took_ns), NINES_SUCCESS, now_ns);
}

static void a_percentile_opens_it(void **state)
{
  (void)state;
  nines_breaker_config config = ten_seconds();
  config.latency_quantile = 0.95;
  config.latency_ns = 100 * MS;
  begin_with(config, S);
  assert_int_equal(read_at(S).p99_ns, -1);
  fold(S);
  for (int i = 0; i < 19; i++) call_of(500 * MS, 2 * S);
  fold(2 * S);
  assert_int_equal(state_at(2 * S), NINES_BREAKER_CLOSED); // too few
  assert_in_range(read_at(2 * S).p50_ns, 480 * MS, 520 * MS);
  call_of(500 * MS, 2 * S);
  fold(2 * S + 50 * MS);
  assert_int_equal(state_at(2 * S + 50 * MS), NINES_BREAKER_OPEN);

  breaker_reset(&view, 3 * S); // another generation: those are forgotten
  fold(3 * S);
  assert_int_equal(read_at(3 * S).p99_ns, -1);
  for (int i = 0; i < 97; i++) call_of(10 * MS, 4 * S);
  for (int i = 0; i < 3; i++) call_of(500 * MS, 4 * S);
  fold(4 * S);
  assert_int_equal(state_at(4 * S), NINES_BREAKER_CLOSED); // p95 is fine, p99 is not
  assert_in_range(read_at(4 * S).p99_ns, 480 * MS, 520 * MS);
  for (int i = 0; i < 4; i++) call_of(500 * MS, 4 * S);
  fold(4 * S + 50 * MS);
  assert_int_equal(state_at(4 * S + 50 * MS), NINES_BREAKER_OPEN);
}

static void counts_of_calls_are_the_circuits(void **state)
{
  (void)state;
  nines_breaker_config config = { .window_calls = 10, .calls_min = 10 };
  begin_with(config, S);
  calls(FIRST, 5, NINES_SUCCESS, S);
  calls(OTHER, 4, NINES_FAILURE, S);
  assert_int_equal(read_at(1000 * S).calls, 9); // whenever they were
  calls(WRITER_SHARED, 1, NINES_FAILURE, 1000 * S);
  assert_int_equal(state_at(1000 * S), NINES_BREAKER_OPEN);
  assert_int_equal(read_at(1000 * S).total, 10);
}

static void half_open_and_back(void **state)
{
  (void)state;
  nines_breaker_config config = ten_seconds();
  config.open_ns = 5 * S;
  config.probes = 3;
  begin_with(config, S);
  nines_permit before = ask(OTHER, S);
  calls(FIRST, 20, NINES_FAILURE, S);
  assert_int_equal(state_at(S), NINES_BREAKER_OPEN);
  assert_int_equal(read_at(S).until_ns, 6 * S);
  assert_int_equal(ask(FIRST, 2 * S).token, 0);
  assert_int_equal(ask(WRITER_SHARED, 2 * S).at_ns, 6 * S);
  assert_int_equal(read_at(S).refused, 2);
  calls(FIRST, 2, NINES_SUCCESS, 6 * S);
  assert_int_equal(state_at(6 * S), NINES_BREAKER_HALF_OPEN);
  assert_int_equal(read_at(6 * S).calls, 2);
  calls(WRITER_SHARED, 1, NINES_SUCCESS, 6 * S);
  nines_breaker_reading reading = read_at(6 * S);
  assert_int_equal(reading.state, NINES_BREAKER_CLOSED);
  assert_int_equal(reading.total, 23);
  assert_int_equal(reading.calls, 0);
  assert_int_equal(reading.in_flight, 1);
  fold(6 * S);
  assert_int_equal(read_at(6 * S).overdue, 0); // of another generation
  done(OTHER, before, NINES_FAILURE, 7 * S);
  assert_int_equal(read_at(7 * S).late, 1);
  assert_int_equal(read_at(7 * S).in_flight, 0);
  assert_int_equal(read_at(7 * S).calls, 0);
}

static void states_by_hand(void **state)
{
  (void)state;
  begin_with(ten_seconds(), S);
  breaker_put(&view, NINES_BREAKER_DISABLED, 0, S);
  calls(FIRST, 30, NINES_FAILURE, S);
  fold(S);
  assert_int_equal(state_at(S), NINES_BREAKER_DISABLED);
  assert_int_equal(read_at(S).total, 0);
  breaker_put(&view, NINES_BREAKER_METRICS_ONLY, 0, S);
  calls(FIRST, 30, NINES_FAILURE, S);
  fold(S);
  struct circuit_move move;
  assert_int_equal(state_at(S), NINES_BREAKER_METRICS_ONLY);
  assert_int_equal(read_at(S).failed, 30);
  assert_true(circuit_move_would(&breaker.own, &move));
  breaker_put(&view, NINES_BREAKER_FORCED_OPEN, 0, S);
  assert_int_equal(ask(FIRST, 1000 * S).token, 0);
  breaker_reset(&view, S);
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  assert_int_equal(read_at(S).calls, 0);
  begin_with((nines_breaker_config){ .initial_state = NINES_BREAKER_FORCED_OPEN }, S);
  assert_int_equal(state_at(S), NINES_BREAKER_FORCED_OPEN);
}

static void without_a_stripe_the_shared_one_is_taken(void **state)
{
  (void)state;
  begin_with(ten_seconds(), S);
  calls(7, 19, NINES_FAILURE, S);
  fold(S);
  assert_int_equal(read_at(S).failed, 19);
  atomic_store(&stripes[WRITER_SHARED], NULL);
  calls(7, 19, NINES_FAILURE, S);
  assert_int_equal(state_at(S), NINES_BREAKER_CLOSED);
  done(FIRST, (nines_permit){ 0, 0 }, NINES_FAILURE, S); // a refused one
  assert_int_equal(read_at(S).in_flight, 19 - 19);
}

static void a_reboot_moves_all_times(void **state)
{
  (void)state;
  nines_breaker_config config = ten_seconds();
  config.latency = 1;
  begin_with(config, 100 * S);
  calls(FIRST, 10, NINES_FAILURE, 100 * S);
  ask(OTHER, 100 * S);
  fold(100 * S);
  assert_true(breaker_valid(&breaker) && breaker_stripe_valid(&stripe[FIRST]));
  breaker_orphan(&view);
  breaker_rebase(&view, 105 * S, 5 * S);
  assert_int_equal(read_at(5 * S).in_flight, 0);
  assert_int_equal(read_at(5 * S).calls, 10);
  assert_int_equal(read_at(9 * S).calls, 10);
  assert_int_equal(read_at(10 * S).calls, 0);
  calls(FIRST, 10, NINES_FAILURE, 6 * S);
  assert_int_equal(state_at(6 * S), NINES_BREAKER_OPEN);
}

// A process dies with all probes out: the next one need not wait for their leases.
static void a_restart_frees_the_probes_of_the_dead(void **state)
{
  (void)state;
  nines_breaker_config config = ten_seconds();
  config.probes = 2;
  config.open_ns = 5 * S;
  begin_with(config, S);
  calls(FIRST, 20, NINES_FAILURE, S);
  nines_permit probe = ask(FIRST, 6 * S);
  assert_true(nines_permitted(probe) && nines_permitted(ask(OTHER, 6 * S)));
  assert_false(nines_permitted(ask(FIRST, 7 * S)));
  breaker_orphan(&view);
  done(FIRST, probe, NINES_FAILURE, 7 * S); // of the dead: another's lease now
  assert_int_equal(read_at(7 * S).late, 1);
  calls(FIRST, 2, NINES_SUCCESS, 7 * S);
  assert_int_equal(state_at(7 * S), NINES_BREAKER_CLOSED);
}

static void bad_settings_are_refused(void **state)
{
  (void)state;
  begin_with(ten_seconds(), S);
  struct status status;
  nines_breaker_config config = { .size = sizeof config, .window_ns = -1 };
  assert_int_equal(breaker_set(&breaker, &config, false, S, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "window_ns"));
  assert_int_equal(atomic_load(&breaker.slice_ns), S);
  config = (nines_breaker_config){ .size = sizeof config, .initial_state = 9 };
  assert_int_equal(breaker_set(&breaker, &config, true, S, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "initial_state"));
  config = (nines_breaker_config){ .size = sizeof config, .calls_min = 4000000000 };
  assert_int_equal(breaker_set(&breaker, &config, false, S, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "calls_min"));
  memset((void *)&breaker, 0, sizeof breaker); // zeros are no settings
  assert_false(breaker_valid(&breaker));
}

static void damage_does_no_harm(void **state)
{
  (void)state;
  struct rng rng = seed_stream("breaker_damage");
  nines_breaker_config config = ten_seconds();
  config.latency = 1;
  for (int i = 0; i < 2000; i++) {
    begin_with(config, S);
    calls(FIRST, 3, NINES_FAILURE, S);
    fold(S);
    for (int k = 0; k < 200; k++) {
      if (rng_below(&rng, 2))
        ((unsigned char *)&breaker.own)[rng_below(&rng, sizeof breaker.own)] = (unsigned char)rng_next(&rng);
      else
        ((unsigned char *)&stripe[FIRST])[rng_below(&rng, 512)] = (unsigned char)rng_next(&rng);
    }
    calls(FIRST, 3, NINES_FAILURE, 2 * S);
    calls(WRITER_SHARED, 3, NINES_FAILURE, 2 * S);
    fold(3 * S);
    read_at(3 * S);
    breaker_valid(&breaker);
    breaker_stripe_valid(&stripe[FIRST]);
  }
}

// ---- threads

enum { THREAD_CALLS = 40000 };
static _Atomic int64_t thread_now_ns;
static _Atomic uint64_t granted;

static void *call_on(void *userdata)
{
  uint32_t writer = (uint32_t)(uintptr_t)userdata;
  uint64_t state = 77 + writer, mine = 0;
  for (int i = 0; i < THREAD_CALLS; i++) {
    int64_t now_ns = atomic_fetch_add(&thread_now_ns, 1000);
    nines_permit permit = breaker_ask(&view, writer, now_ns, &state);
    if (!permit.token) continue;
    mine++;
    breaker_done(&view, writer, permit, rng_quick(&state) % 2 ? NINES_FAILURE : NINES_SUCCESS, now_ns + 10, &state);
  }
  atomic_fetch_add(&granted, mine);
  return NULL;
}

static void threads_lose_no_call(void **state)
{
  (void)state;
  nines_breaker_config config = { .window_ns = 10 * MS, .open_ns = MS, .latency = 1, .failure_rate = 55 };
  begin_with(config, S);
  atomic_store(&thread_now_ns, S);
  const uint32_t writer[] = { OTHER, THIRD, WRITER_SHARED, WRITER_SHARED };
  pthread_t thread[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&thread[i], NULL, call_on, (void *)(uintptr_t)writer[i]), 0);
  for (int i = 0; i < 2000; i++) {
    int64_t now_ns = atomic_load(&thread_now_ns);
    fold(now_ns);
    nines_breaker_reading reading = read_at(now_ns);
    assert_true(reading.failed <= reading.calls && reading.slow <= reading.calls && reading.in_flight <= 4);
  }
  for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
  nines_breaker_reading reading = read_at(atomic_load(&thread_now_ns));
  print_message("%llu refused, %llu late\n", (unsigned long long)reading.refused, (unsigned long long)reading.late);
  assert_int_equal(reading.total + reading.late, granted);
  assert_int_equal(reading.total + reading.late + reading.refused, 4 * THREAD_CALLS);
  assert_int_equal(reading.in_flight, 0);
  assert_int_equal(reading.overdue, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_burst_trips_at_any_phase),
    cmocka_unit_test(what_is_old_is_forgotten),
    cmocka_unit_test(hung_calls_open_it),
    cmocka_unit_test(a_permit_never_given_back_is_forgotten),
    cmocka_unit_test(settings_keep_counts),
    cmocka_unit_test(writers_add_up),
    cmocka_unit_test(a_percentile_opens_it),
    cmocka_unit_test(counts_of_calls_are_the_circuits),
    cmocka_unit_test(half_open_and_back),
    cmocka_unit_test(states_by_hand),
    cmocka_unit_test(without_a_stripe_the_shared_one_is_taken),
    cmocka_unit_test(a_reboot_moves_all_times),
    cmocka_unit_test(a_restart_frees_the_probes_of_the_dead),
    cmocka_unit_test(bad_settings_are_refused),
    cmocka_unit_test(damage_does_no_harm),
    cmocka_unit_test(threads_lose_no_call),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
