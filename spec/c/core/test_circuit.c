// A circuit: what users of other breakers asked for, case by case. The rest is in test_circuit_model.c
// (against a naive model) and test_circuit_threads.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "circuit.h"
#include "core/seed.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

struct bench {
  struct circuit circuit;
  struct circuit_rule rule;
  int64_t now_ns;
  uint64_t random;
};

static struct bench bench_of(nines_breaker_config config)
{
  struct bench b = { .now_ns = 100 * S, .random = 88172645463325252 };
  struct status status;
  config.size = sizeof config;
  if (circuit_rule_set(&b.rule, &config, &status)) fail_msg("%s", status.text);
  circuit_init(&b.circuit, &b.rule, config.initial_state, b.now_ns);
  return b;
}
#define BENCH(...) bench_of((nines_breaker_config){ __VA_ARGS__ })

static void change(struct bench *b, nines_breaker_config config)
{
  config.size = sizeof config;
  assert_int_equal(circuit_rule_set(&b->rule, &config, NULL), 0);
}

static int state_of(const struct bench *b)
{
  return circuit_word_state(circuit_load(&b->circuit));
}

static nines_permit ask(struct bench *b)
{
  return circuit_ask(&b->circuit, &b->rule, b->now_ns, &b->random);
}

static enum circuit_told tell(struct bench *b, nines_permit permit, int outcome)
{
  return circuit_tell(&b->circuit, &b->rule, permit, outcome, false, b->now_ns, &b->random);
}

static enum circuit_told tell_slow(struct bench *b, nines_permit permit)
{
  return circuit_tell(&b->circuit, &b->rule, permit, NINES_SUCCESS, true, b->now_ns, &b->random);
}

static void fold(struct bench *b)
{
  circuit_fold(&b->circuit, &b->rule, b->now_ns, &b->random);
}

static void put(struct bench *b, int state)
{
  circuit_put(&b->circuit, &b->rule, state, 0, b->now_ns);
}

static void calls(struct bench *b, int times, int outcome)
{
  for (int i = 0; i < times; i++) {
    nines_permit permit = ask(b);
    assert_true(nines_permitted(permit));
    tell(b, permit, outcome);
  }
}

static struct circuit_move last_move(const struct bench *b)
{
  struct circuit_move move;
  assert_true(circuit_move_of(&b->circuit, circuit_word_generation(circuit_load(&b->circuit)), &move));
  return move;
}

// ---- Resilience4j's semantics

static void test_r4j_rate_at_threshold_opens(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 10, .calls_min = 10);
  calls(&b, 5, NINES_SUCCESS);
  calls(&b, 4, NINES_FAILURE);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  calls(&b, 1, NINES_FAILURE);
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
  assert_int_equal(last_move(&b).cause, CIRCUIT_BY_FAILURES);
  assert_int_equal(last_move(&b).from, NINES_BREAKER_CLOSED);
  assert_int_equal(last_move(&b).until_ns, b.now_ns + 60 * S);
  nines_permit refused = ask(&b);
  assert_false(nines_permitted(refused));
  assert_int_equal(refused.at_ns, b.now_ns + 60 * S);
}

static void test_r4j_success_that_reaches_the_minimum_opens(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 100, .calls_min = 4);
  calls(&b, 3, NINES_FAILURE);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  calls(&b, 1, NINES_SUCCESS);
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
}

static void test_r4j_slow_rate_opens(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 4, .calls_min = 4, .slow_rate = 75);
  for (int i = 0; i < 2; i++) tell_slow(&b, ask(&b));
  calls(&b, 1, NINES_SUCCESS);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  tell_slow(&b, ask(&b));
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
  assert_int_equal(last_move(&b).cause, CIRCUIT_BY_SLOW);
}

static void test_r4j_ignored_is_not_counted_and_frees_its_probe(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 2, .probes = 1);
  for (int i = 0; i < 10; i++) assert_int_equal(tell(&b, ask(&b), NINES_IGNORED), CIRCUIT_UNSEEN);
  assert_int_equal(circuit_window(&b.circuit, &b.rule).total, 0);
  put(&b, NINES_BREAKER_HALF_OPEN);
  nines_permit probe = ask(&b);
  assert_true(circuit_permit_probe(probe));
  assert_false(nines_permitted(ask(&b)));
  assert_int_equal(tell(&b, probe, NINES_IGNORED), CIRCUIT_UNSEEN);
  assert_int_equal(state_of(&b), NINES_BREAKER_HALF_OPEN);
  assert_true(nines_permitted(ask(&b)));
  assert_int_equal(tell(&b, probe, NINES_FAILURE), CIRCUIT_LATE); // given back already
}

static void test_r4j_half_open_closes_below_and_opens_at_the_rate(void **state)
{
  (void)state;
  for (int failures = 0; failures <= 4; failures++) {
    struct bench b = BENCH(.window_calls = 10, .calls_min = 10, .probes = 4);
    put(&b, NINES_BREAKER_HALF_OPEN);
    for (int i = 0; i < 3; i++) calls(&b, 1, i < failures ? NINES_FAILURE : NINES_SUCCESS);
    assert_int_equal(state_of(&b), NINES_BREAKER_HALF_OPEN); // below the minimum, whatever they were
    calls(&b, 1, failures == 4 ? NINES_FAILURE : NINES_SUCCESS);
    assert_int_equal(state_of(&b), failures < 2 ? NINES_BREAKER_CLOSED : NINES_BREAKER_OPEN);
    assert_int_equal(last_move(&b).cause, failures < 2 ? CIRCUIT_BY_PROBES : CIRCUIT_BY_FAILURES);
    assert_int_equal(circuit_window(&b.circuit, &b.rule).total, 0);
  }
}

static void test_r4j_half_open_minimum_is_the_lesser(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 10, .calls_min = 2, .probes = 5);
  put(&b, NINES_BREAKER_HALF_OPEN);
  calls(&b, 2, NINES_SUCCESS);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
}

static void test_r4j_states_by_hand(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 2, .calls_min = 2);
  put(&b, NINES_BREAKER_FORCED_OPEN);
  b.now_ns += 10000 * S;
  fold(&b);
  assert_false(nines_permitted(ask(&b)));
  assert_int_equal(ask(&b).at_ns, INT64_MAX);
  put(&b, NINES_BREAKER_DISABLED);
  for (int i = 0; i < 10; i++) assert_int_equal(tell(&b, ask(&b), NINES_FAILURE), CIRCUIT_UNSEEN);
  assert_int_equal(state_of(&b), NINES_BREAKER_DISABLED);
  circuit_put(&b.circuit, &b.rule, NINES_BREAKER_OPEN, 5 * S, b.now_ns);
  assert_int_equal(ask(&b).at_ns, b.now_ns + 5 * S);
  circuit_put(&b.circuit, &b.rule, 17, 0, b.now_ns); // no such state
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
  put(&b, NINES_BREAKER_CLOSED);
  assert_int_equal(last_move(&b).cause, CIRCUIT_BY_HAND);
  assert_true(nines_permitted(ask(&b)));
}

// What a person says now outranks what is: longer or shorter, it is another opening.
static void test_open_by_hand_replaces_an_opening(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 2, .calls_min = 2, .open_ns = 60 * S);
  calls(&b, 2, NINES_FAILURE);
  static const int64_t hold_ns[] = { 600 * S, 5 * S, 5 * S, 0 };
  for (int i = 0; i < 4; i++) {
    uint32_t before = circuit_word_generation(circuit_load(&b.circuit));
    b.now_ns += S;
    circuit_put(&b.circuit, &b.rule, NINES_BREAKER_OPEN, hold_ns[i], b.now_ns);
    assert_int_equal(circuit_word_generation(circuit_load(&b.circuit)), before + 1);
    assert_int_equal(ask(&b).at_ns, b.now_ns + (hold_ns[i] ? hold_ns[i] : 60 * S));
  }
  assert_int_equal(last_move(&b).from, NINES_BREAKER_OPEN);
}

static void test_r4j_metrics_only_tells_each_crossing_once(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 4, .calls_min = 4, .initial_state = NINES_BREAKER_METRICS_ONLY);
  struct circuit_move would, again;
  assert_false(circuit_move_would(&b.circuit, &would));
  calls(&b, 20, NINES_FAILURE);
  assert_int_equal(state_of(&b), NINES_BREAKER_METRICS_ONLY);
  assert_true(circuit_move_would(&b.circuit, &would));
  assert_int_equal(would.cause, CIRCUIT_BY_FAILURES);
  assert_int_equal(would.from, NINES_BREAKER_METRICS_ONLY);
  assert_int_equal(would.to, NINES_BREAKER_OPEN);
  b.now_ns += S;
  calls(&b, 4, NINES_FAILURE);
  assert_true(circuit_move_would(&b.circuit, &again));
  assert_int_equal(again.at_ns, would.at_ns);
  calls(&b, 4, NINES_SUCCESS);
  calls(&b, 4, NINES_FAILURE);
  assert_true(circuit_move_would(&b.circuit, &again));
  assert_int_equal(again.at_ns, b.now_ns);
  assert_int_equal(circuit_window(&b.circuit, &b.rule).bad, 4); // counts went on
}

// ---- What users asked for in vain

static void test_r4j_903_935_polly_2381_probe_that_never_returns(void **state)
{
  (void)state;
  for (int folded = 0; folded < 2; folded++) {
    struct bench b = BENCH(.window_calls = 10, .probes = 2, .probe_lease_ns = 30 * S);
    put(&b, NINES_BREAKER_HALF_OPEN);
    nines_permit hung = ask(&b), good = ask(&b);
    assert_int_equal(tell(&b, good, NINES_SUCCESS), CIRCUIT_PROBED);
    b.now_ns += 30 * S - 1;
    assert_false(nines_permitted(ask(&b)));
    b.now_ns += 1;
    if (folded) fold(&b);
    nines_permit next = ask(&b);
    assert_true(nines_permitted(next));
    assert_int_equal(tell(&b, hung, NINES_FAILURE), CIRCUIT_LATE);
    assert_int_equal(tell(&b, next, NINES_SUCCESS), CIRCUIT_PROBED);
    assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  }
}

static void test_r4j_1432_2028_polly_216_239_254_gobreaker_49_63_exact_probes(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 10, .probes = 3);
  put(&b, NINES_BREAKER_OPEN);
  b.now_ns += 60 * S;
  nines_permit permit[3];
  for (int i = 0; i < 3; i++) assert_true(nines_permitted(permit[i] = ask(&b)));
  for (int i = 0; i < 100; i++) assert_false(nines_permitted(ask(&b)));
  assert_int_equal(tell(&b, permit[0], NINES_SUCCESS), CIRCUIT_PROBED);
  assert_int_equal(tell(&b, permit[0], NINES_SUCCESS), CIRCUIT_LATE); // told twice
  assert_false(nines_permitted(ask(&b)));                             // used up, not free
  assert_int_equal(circuit_trial(&b.circuit).total, 1);
}

static void test_r4j_343_half_open_does_not_last_for_ever(void **state)
{
  (void)state;
  for (int closes = 0; closes < 2; closes++)
    for (int way = 0; way < 3; way++) { // found by an ask, a result, the fold
      struct bench b = BENCH(.window_calls = 10, .half_open_max_ns = 5 * S, .half_open_then = closes ? -1 : 0);
      put(&b, NINES_BREAKER_HALF_OPEN);
      nines_permit probe = ask(&b);
      b.now_ns += 5 * S;
      if (way == 0) assert_int_equal(nines_permitted(ask(&b)), closes);
      if (way == 1) assert_int_equal(tell(&b, probe, NINES_SUCCESS), CIRCUIT_LATE);
      if (way == 2) fold(&b);
      assert_int_equal(state_of(&b), closes ? NINES_BREAKER_CLOSED : NINES_BREAKER_OPEN);
      assert_int_equal(last_move(&b).cause, CIRCUIT_BY_TIME);
    }
}

static void test_gobreaker_53_late_results_of_another_state_are_dropped(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 2, .calls_min = 2, .probes = 2);
  nines_permit old = ask(&b);
  calls(&b, 2, NINES_FAILURE);
  assert_int_equal(tell(&b, old, NINES_FAILURE), CIRCUIT_LATE);
  b.now_ns += 60 * S;
  nines_permit probe = ask(&b);
  assert_int_equal(state_of(&b), NINES_BREAKER_HALF_OPEN);
  assert_int_equal(tell(&b, old, NINES_FAILURE), CIRCUIT_LATE);
  assert_int_equal(circuit_trial(&b.circuit).total, 0);
  put(&b, NINES_BREAKER_CLOSED);
  assert_int_equal(tell(&b, probe, NINES_FAILURE), CIRCUIT_LATE);
  assert_int_equal(circuit_window(&b.circuit, &b.rule).total, 0);
}

static void test_polly_1895_open_time_grows_is_capped_and_jitters(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 1, .probes = 1, .open_ns = S, .open_factor = 2, .open_max_ns = 5 * S);
  const int64_t spans[] = { S, 2 * S, 4 * S, 5 * S, 5 * S };
  for (int i = 0; i < 5; i++) {
    calls(&b, 1, NINES_FAILURE);
    assert_int_equal(last_move(&b).until_ns - b.now_ns, spans[i]);
    assert_int_equal(atomic_load(&b.circuit.opened_in_a_row), i + 1);
    b.now_ns += spans[i];
  }
  calls(&b, 1, NINES_SUCCESS);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  assert_int_equal(atomic_load(&b.circuit.opened_in_a_row), 0);
  change(&b, (nines_breaker_config){ .window_calls = 1, .open_ns = 100 * S, .open_jitter = 0.5 });
  int64_t least = INT64_MAX, most = 0;
  for (int i = 0; i < 1000; i++) {
    calls(&b, 1, NINES_FAILURE);
    int64_t span = last_move(&b).until_ns - b.now_ns;
    if (span < least) least = span;
    if (span > most) most = span;
    put(&b, NINES_BREAKER_CLOSED);
  }
  assert_true(least >= 50 * S && least < 52 * S && most > 148 * S && most <= 150 * S);
}

static void test_polly_1854_failures_in_a_row(void **state)
{
  (void)state;
  struct bench b = BENCH(.failure_rate = -1, .failures_in_a_row = 3, .probes = 2); // over a time window: told here too
  for (int i = 0; i < 50; i++) {
    calls(&b, 2, NINES_FAILURE);
    calls(&b, 1, NINES_SUCCESS);
  }
  calls(&b, 2, NINES_FAILURE);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  calls(&b, 1, NINES_FAILURE);
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
  assert_int_equal(last_move(&b).cause, CIRCUIT_BY_ROW);
  b.now_ns += 60 * S;
  calls(&b, 2, NINES_FAILURE); // both probes
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
  b.now_ns += 60 * S;
  calls(&b, 2, NINES_SUCCESS);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
}

static void test_r4j_2325_850_975_settings_change_counts_stay(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 100, .calls_min = 50, .failure_rate = 90);
  calls(&b, 20, NINES_SUCCESS);
  calls(&b, 20, NINES_FAILURE);
  change(&b, (nines_breaker_config){ .window_calls = 500, .calls_min = 30, .failure_rate = 60 });
  assert_int_equal(circuit_window(&b.circuit, &b.rule).total, 40);
  assert_int_equal(circuit_window(&b.circuit, &b.rule).bad, 20);
  fold(&b);
  assert_int_equal(state_of(&b), NINES_BREAKER_CLOSED);
  change(&b, (nines_breaker_config){ .window_calls = 500, .calls_min = 30, .failure_rate = 50 });
  fold(&b); // without another call
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
  int64_t until_ns = last_move(&b).until_ns;
  change(&b, (nines_breaker_config){ .window_calls = 10, .open_ns = S });
  assert_int_equal(ask(&b).at_ns, until_ns); // the wait under way stays
}

static void test_half_open_itself(void **state)
{
  (void)state;
  for (int itself = 0; itself < 2; itself++) {
    struct bench b = BENCH(.half_open_itself = itself);
    put(&b, NINES_BREAKER_OPEN);
    b.now_ns += 60 * S - 1;
    fold(&b);
    assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
    b.now_ns += 1;
    fold(&b);
    assert_int_equal(state_of(&b), itself ? NINES_BREAKER_HALF_OPEN : NINES_BREAKER_OPEN);
  }
}

static void test_ramp_admits_more_and_more(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 1, .probes = 1, .ramp_ns = 10 * S);
  put(&b, NINES_BREAKER_HALF_OPEN);
  calls(&b, 1, NINES_SUCCESS);
  for (int part = 0; part < 10; part++, b.now_ns += S) {
    int admitted = 0;
    for (int i = 0; i < 10000; i++) admitted += nines_permitted(ask(&b));
    assert_in_range(admitted, 1000 + part * 900 - 200, 1000 + part * 900 + 200);
  }
  assert_true(circuit_word_until_ns(circuit_load(&b.circuit)) != 0);
  assert_true(nines_permitted(ask(&b)));
  assert_int_equal(circuit_word_until_ns(circuit_load(&b.circuit)), 0); // plainly closed now
  put(&b, NINES_BREAKER_HALF_OPEN);
  calls(&b, 1, NINES_SUCCESS);
  nines_permit permit = { 0 };
  while (!nines_permitted(permit)) permit = ask(&b);
  tell(&b, permit, NINES_FAILURE); // ramping is closed: it opens
  assert_int_equal(state_of(&b), NINES_BREAKER_OPEN);
}

static void test_rebase(void **state)
{
  (void)state;
  struct bench b = BENCH(.probes = 1, .probe_lease_ns = 30 * S);
  put(&b, NINES_BREAKER_OPEN);
  circuit_rebase(&b.circuit, b.now_ns, 7 * S);
  b.now_ns = 7 * S;
  assert_int_equal(ask(&b).at_ns, 67 * S);
  b.now_ns = 67 * S;
  assert_true(nines_permitted(ask(&b)));
  circuit_rebase(&b.circuit, b.now_ns, 1000 * S);
  b.now_ns = 1000 * S + 30 * S - 1;
  assert_false(nines_permitted(ask(&b)));
  b.now_ns++;
  assert_true(nines_permitted(ask(&b)));
  assert_int_equal(last_move(&b).at_ns, 1000 * S);
  assert_true(circuit_valid(&b.circuit));
}

// A step's time is for telling only: an absurd one wraps.
static void test_a_damaged_log_is_rebased(void **state)
{
  (void)state;
  struct bench b = BENCH(.window_calls = 2, .calls_min = 2);
  calls(&b, 2, NINES_FAILURE);
  atomic_store(&b.circuit.log[1].at_ns, INT64_MAX);
  circuit_rebase(&b.circuit, 0, 7 * S);
  assert_int_equal(last_move(&b).to, NINES_BREAKER_OPEN);
  assert_int_equal(ask(&b).at_ns, b.now_ns + 67 * S);
}

static void test_damage_is_seen_and_survived(void **state)
{
  (void)state;
  struct rng rng = seed_stream("circuit damage");
  struct bench b = BENCH(.window_calls = 10);
  atomic_store(&b.circuit.word, 7);
  assert_false(circuit_valid(&b.circuit));
  for (int i = 0; i < 20000; i++) {
    for (size_t at = 0; at < sizeof b.circuit; at += 8)
      if (rng_below(&rng, 4) == 0) {
        uint64_t word = rng_next(&rng);
        memcpy((char *)&b.circuit + at, &word, 8);
      }
    for (int k = 0; k < 4; k++) {
      nines_permit permit = ask(&b);
      if (rng_below(&rng, 2)) permit.token = rng_next(&rng);
      tell(&b, permit, (int)rng_below(&rng, 3));
      fold(&b);
      circuit_window(&b.circuit, &b.rule);
    }
    put(&b, (int)rng_below(&rng, 6));
  }
  struct circuit_move move;
  for (uint32_t g = 0; g < 10; g++) circuit_move_of(&b.circuit, g, &move);
  assert_string_equal(circuit_cause_text(CIRCUIT_BY_ROW), "failures in a row");
  assert_string_equal(circuit_cause_text(99), "none");
  assert_string_equal(circuit_state_text(NINES_BREAKER_HALF_OPEN), "half_open");
  assert_string_equal(circuit_state_text(99), "unknown");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_r4j_rate_at_threshold_opens),
    cmocka_unit_test(test_r4j_success_that_reaches_the_minimum_opens),
    cmocka_unit_test(test_r4j_slow_rate_opens),
    cmocka_unit_test(test_r4j_ignored_is_not_counted_and_frees_its_probe),
    cmocka_unit_test(test_r4j_half_open_closes_below_and_opens_at_the_rate),
    cmocka_unit_test(test_r4j_half_open_minimum_is_the_lesser),
    cmocka_unit_test(test_r4j_states_by_hand),
    cmocka_unit_test(test_open_by_hand_replaces_an_opening),
    cmocka_unit_test(test_r4j_metrics_only_tells_each_crossing_once),
    cmocka_unit_test(test_r4j_903_935_polly_2381_probe_that_never_returns),
    cmocka_unit_test(test_r4j_1432_2028_polly_216_239_254_gobreaker_49_63_exact_probes),
    cmocka_unit_test(test_r4j_343_half_open_does_not_last_for_ever),
    cmocka_unit_test(test_gobreaker_53_late_results_of_another_state_are_dropped),
    cmocka_unit_test(test_polly_1895_open_time_grows_is_capped_and_jitters),
    cmocka_unit_test(test_polly_1854_failures_in_a_row),
    cmocka_unit_test(test_r4j_2325_850_975_settings_change_counts_stay),
    cmocka_unit_test(test_half_open_itself),
    cmocka_unit_test(test_ramp_admits_more_and_more),
    cmocka_unit_test(test_rebase),
    cmocka_unit_test(test_a_damaged_log_is_rebased),
    cmocka_unit_test(test_damage_is_seen_and_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
