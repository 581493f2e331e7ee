// A circuit under many threads: never more probes than allowed, every call counted, the last failure opens.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "circuit.h"
#include "rng.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

struct bench {
  struct circuit circuit;
  struct circuit_rule rule;
};

static struct bench bench_of(nines_breaker_config config)
{
  struct bench b = { 0 };
  config.size = sizeof config;
  assert_int_equal(circuit_rule_set(&b.rule, &config, NULL), 0);
  circuit_init(&b.circuit, &b.rule, config.initial_state, 100 * S);
  return b;
}
#define BENCH(...) bench_of((nines_breaker_config){ __VA_ARGS__ })

enum { THREADS = 4, ROUNDS = 150, GENERATIONS = 1 << 18, STEPS = 60000 };

struct crowd {
  struct bench b;
  uint32_t threads;
  _Atomic uint32_t arrived, round;
  _Atomic int64_t now_ns;
  _Atomic uint32_t failed;
  _Atomic int32_t out[GENERATIONS], ended[GENERATIONS];
  _Atomic uint32_t over, granted;
};

struct member {
  struct crowd *crowd;
  uint64_t random;
};

// Waits for all, awake, so that they go on at the same moment. True for the last to come.
static bool meet(struct crowd *crowd)
{
  uint32_t round = atomic_load(&crowd->round);
  if (atomic_fetch_add(&crowd->arrived, 1) + 1 == crowd->threads) {
    atomic_store(&crowd->arrived, 0);
    atomic_store(&crowd->round, round + 1);
    return true;
  }
  for (int i = 1; atomic_load(&crowd->round) == round; i++)
    if (i % 256 == 0) sched_yield();
  return false;
}

static void run_crowd(struct crowd *crowd, uint32_t threads, void *(*body)(void *))
{
  pthread_t thread[THREADS];
  struct member member[THREADS];
  crowd->threads = threads;
  for (uint32_t i = 0; i < threads; i++) {
    member[i] = (struct member){ crowd, 0x9e3779b97f4a7c15u * (i + 1) };
    assert_int_equal(pthread_create(&thread[i], NULL, body, &member[i]), 0);
  }
  for (uint32_t i = 0; i < threads; i++) pthread_join(thread[i], NULL);
}

static void *probe_storm(void *data)
{
  struct member *m = data;
  struct crowd *crowd = m->crowd;
  struct bench *b = &crowd->b;
  for (int i = 0; i < STEPS; i++) {
    int64_t now_ns = atomic_fetch_add(&crowd->now_ns, MS / 8);
    uint32_t dice = rng_quick(&m->random) % 64;
    if (dice == 0) circuit_fold(&b->circuit, &b->rule, now_ns, &m->random);
    nines_permit permit = circuit_ask(&b->circuit, &b->rule, now_ns, &m->random);
    if (!nines_permitted(permit)) continue;
    uint32_t g = circuit_permit_generation(permit) % GENERATIONS;
    bool probe = circuit_permit_probe(permit);
    if (probe) {
      atomic_fetch_add(&crowd->granted, 1);
      if (atomic_fetch_add(&crowd->out[g], 1) >= 3) atomic_fetch_add(&crowd->over, 1);
    }
    int outcome = dice < 24 ? NINES_FAILURE : dice < 32 ? NINES_IGNORED : NINES_SUCCESS;
    if (probe && outcome == NINES_IGNORED) atomic_fetch_sub(&crowd->out[g], 1); // before: its slot may go at once
    enum circuit_told told = circuit_tell(&b->circuit, &b->rule, permit, outcome, false, now_ns, &m->random);
    if (told == CIRCUIT_PROBED && atomic_fetch_add(&crowd->ended[g], 1) >= 3) atomic_fetch_add(&crowd->over, 1);
  }
  return NULL;
}

static void test_threads_never_more_than_the_probes(void **state)
{
  (void)state;
  static struct crowd crowd;
  crowd.b = BENCH(.window_calls = 4, .calls_min = 4, .probes = 3, .open_ns = MS);
  crowd.now_ns = 100 * S;
  run_crowd(&crowd, 4, probe_storm);
  assert_int_equal(atomic_load(&crowd.over), 0);
  assert_true(atomic_load(&crowd.granted) > 1000);
  assert_true(circuit_valid(&crowd.b.circuit));
}

static void *count_storm(void *data)
{
  struct member *m = data;
  struct bench *b = &m->crowd->b;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < 125; i++) {
      bool bad = rng_quick(&m->random) % 4 == 0;
      nines_permit permit = circuit_ask(&b->circuit, &b->rule, 100 * S, &m->random);
      circuit_tell(&b->circuit, &b->rule, permit, bad ? NINES_FAILURE : NINES_SUCCESS, false, 100 * S, &m->random);
      if (bad) atomic_fetch_add(&m->crowd->failed, 1);
    }
    if (meet(m->crowd)) {
      struct tally window = circuit_window(&b->circuit, &b->rule);
      if (window.total != THREADS * 125 || window.bad != atomic_load(&m->crowd->failed))
        atomic_fetch_add(&m->crowd->over, 1);
      atomic_store(&m->crowd->failed, 0);
      circuit_put(&b->circuit, &b->rule, NINES_BREAKER_CLOSED, 0, 100 * S);
    }
    meet(m->crowd);
  }
  return NULL;
}

static void test_threads_count_exactly(void **state)
{
  (void)state;
  static struct crowd crowd;
  crowd.b = BENCH(.window_calls = 512, .failure_rate = -1);
  run_crowd(&crowd, 4, count_storm);
  assert_int_equal(atomic_load(&crowd.over), 0);
}

static void *trip_storm(void *data)
{
  struct member *m = data;
  struct bench *b = &m->crowd->b;
  for (int round = 0; round < 20000; round++) {
    for (int i = 0; i < 2; i++) {
      nines_permit permit = circuit_ask(&b->circuit, &b->rule, 100 * S, &m->random);
      circuit_tell(&b->circuit, &b->rule, permit, NINES_FAILURE, false, 100 * S, &m->random);
    }
    if (meet(m->crowd)) {
      if (circuit_word_state(circuit_load(&b->circuit)) != NINES_BREAKER_OPEN) atomic_fetch_add(&m->crowd->over, 1);
      circuit_put(&b->circuit, &b->rule, NINES_BREAKER_CLOSED, 0, 100 * S);
    }
    meet(m->crowd);
  }
  return NULL;
}

static void test_threads_last_failure_opens_without_a_fold(void **state)
{
  (void)state;
  static struct crowd crowd;
  crowd.b = BENCH(.window_calls = 100, .calls_min = 4, .failure_rate = 100);
  run_crowd(&crowd, 2, trip_storm);
  assert_int_equal(atomic_load(&crowd.over), 0);
}

static void *stampede(void *data)
{
  struct member *m = data;
  struct bench *b = &m->crowd->b;
  for (int round = 0; round < 20000; round++) {
    for (int i = 0; i < 3; i++) {
      nines_permit permit = circuit_ask(&b->circuit, &b->rule, 200 * S, &m->random);
      if (nines_permitted(permit)) atomic_fetch_add(&m->crowd->granted, 1);
    }
    if (meet(m->crowd)) {
      if (atomic_exchange(&m->crowd->granted, 0) != 3) atomic_fetch_add(&m->crowd->over, 1);
      circuit_put(&b->circuit, &b->rule, NINES_BREAKER_OPEN, MS, 100 * S);
    }
    meet(m->crowd);
  }
  return NULL;
}

static void test_threads_r4j_1432_polly_216_no_stampede(void **state)
{
  (void)state;
  static struct crowd crowd;
  crowd.b = BENCH(.window_calls = 10, .probes = 3);
  circuit_put(&crowd.b.circuit, &crowd.b.rule, NINES_BREAKER_OPEN, MS, 100 * S);
  run_crowd(&crowd, 2, stampede);
  assert_int_equal(atomic_load(&crowd.over), 0); // never more, and never fewer
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_threads_never_more_than_the_probes),
    cmocka_unit_test(test_threads_r4j_1432_polly_216_no_stampede),
    cmocka_unit_test(test_threads_count_exactly),
    cmocka_unit_test(test_threads_last_failure_opens_without_a_fold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
