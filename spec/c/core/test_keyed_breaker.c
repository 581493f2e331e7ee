// Keyed breakers: each key its own; invented keys flush nothing that fails; a permit never counts for another key.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "keyed_breaker.h"

#define S INT64_C(1000000000)

enum { KEYS = 64 };

static uint64_t random_word = 88172645463325252;

static struct keyed_breaker *make(nines_breaker_config config)
{
  struct status status;
  config.size = sizeof config;
  size_t size = (keyed_breaker_size(config.keys) + 63) & ~(size_t)63;
  struct keyed_breaker *table = aligned_alloc(64, size);
  memset(table, 0, size);
  if (keyed_breaker_set(table, &config, 4711, true, 100 * S, &status)) fail_msg("%s", status.text);
  assert_true(keyed_breaker_valid(table, config.keys));
  return table;
}
#define MAKE(...) make((nines_breaker_config){ __VA_ARGS__ })

static nines_permit ask(struct keyed_breaker *table, uint64_t key, int64_t now_ns)
{
  return keyed_breaker_ask(table, &key, sizeof key, now_ns, &random_word);
}

static int state_of(const struct keyed_breaker *table, uint64_t key)
{
  return keyed_breaker_state(table, &key, sizeof key);
}

static enum circuit_told call(struct keyed_breaker *table, uint64_t key, int outcome, int64_t now_ns)
{
  nines_permit permit = ask(table, key, now_ns);
  assert_true(nines_permitted(permit) && keyed_breaker_permit(permit));
  return keyed_breaker_done(table, permit, outcome, now_ns, &random_word);
}

static void test_each_key_has_its_own(void **state)
{
  (void)state;
  struct keyed_breaker *table = MAKE(.keys = KEYS, .window_calls = 4, .calls_min = 4);
  assert_int_equal(keyed_breaker_state(table, "eu", 2), -1);
  for (int i = 0; i < 4; i++) {
    nines_permit bad = keyed_breaker_ask(table, "eu", 2, 100 * S, &random_word);
    nines_permit good = keyed_breaker_ask(table, "us-with-a-longer-name", 21, 100 * S, &random_word);
    keyed_breaker_done(table, bad, NINES_FAILURE, 100 * S, &random_word);
    keyed_breaker_done(table, good, NINES_SUCCESS, 100 * S, &random_word);
  }
  assert_int_equal(keyed_breaker_state(table, "eu", 2), NINES_BREAKER_OPEN);
  assert_int_equal(keyed_breaker_state(table, "us-with-a-longer-name", 21), NINES_BREAKER_CLOSED);
  assert_false(nines_permitted(keyed_breaker_ask(table, "eu", 2, 100 * S, &random_word)));
  struct keyed_breaker_usage usage = keyed_breaker_usage(table);
  assert_int_equal(usage.keys, 2);
  assert_int_equal(usage.keys_max, KEYS);
  assert_int_equal(usage.open, 1);
  assert_int_equal(usage.refused, 1);
  nines_permit probe = keyed_breaker_ask(table, "eu", 2, 160 * S, &random_word);
  assert_true(circuit_permit_probe(probe));
  assert_int_equal(keyed_breaker_done(table, probe, NINES_SUCCESS, 160 * S, &random_word), CIRCUIT_PROBED);
  nines_permit slow = keyed_breaker_ask(table, "us-with-a-longer-name", 21, 160 * S, &random_word);
  keyed_breaker_done(table, slow, NINES_SUCCESS, 221 * S, &random_word); // over slow_ns: 1 of 4, not 100 %
  assert_int_equal(keyed_breaker_state(table, "us-with-a-longer-name", 21), NINES_BREAKER_CLOSED);
  free(table);
}

static void test_a_million_invented_keys_flush_nothing_that_fails(void **state)
{
  (void)state;
  struct keyed_breaker *table = MAKE(.keys = KEYS, .window_calls = 4, .calls_min = 4, .open_ns = 3600 * S);
  for (int i = 0; i < 4; i++) call(table, 1, NINES_FAILURE, 100 * S); // open
  call(table, 2, NINES_FAILURE, 100 * S);                             // one failure in its window
  nines_permit out = ask(table, 3, 100 * S);                          // a call in flight
  assert_int_equal(state_of(table, 1), NINES_BREAKER_OPEN);
  for (uint64_t key = 0; key < 1000000; key++) {
    nines_permit permit = ask(table, 1000 + key, 100 * S + (int64_t)key);
    if (nines_permitted(permit)) keyed_breaker_done(table, permit, NINES_SUCCESS, 100 * S, &random_word);
    if (key % 1024 == 0) {
      assert_false(nines_permitted(ask(table, 1, 100 * S + (int64_t)key)));
      keyed_breaker_fold(table, 100 * S + (int64_t)key, &random_word);
    }
  }
  assert_int_equal(state_of(table, 1), NINES_BREAKER_OPEN);
  assert_int_equal(state_of(table, 2), NINES_BREAKER_CLOSED);
  assert_int_equal(keyed_breaker_done(table, out, NINES_FAILURE, 100 * S, &random_word), CIRCUIT_COUNTED);
  for (int i = 0; i < 3; i++) call(table, 2, NINES_FAILURE, 100 * S);
  assert_int_equal(state_of(table, 2), NINES_BREAKER_OPEN); // its first failure was kept
  struct keyed_breaker_usage usage = keyed_breaker_usage(table);
  assert_int_equal(usage.keys, KEYS);
  assert_true(usage.evicted > 900000);
  free(table);
}

static void test_crowded_keys_share_the_last_entry(void **state)
{
  (void)state;
  struct keyed_breaker *table = MAKE(.keys = 8, .window_calls = 4, .calls_min = 4, .open_ns = 3600 * S);
  uint64_t key = 1;
  for (; keyed_breaker_usage(table).crowded == 0; key++) // fails once each: none may go
    call(table, key, NINES_FAILURE, 100 * S);
  assert_int_equal(keyed_breaker_usage(table).keys, 8);
  for (int i = 0; i < 3; i++) call(table, ++key, NINES_FAILURE, 100 * S);
  assert_false(nines_permitted(ask(table, ++key, 100 * S))); // the shared one is open now
  assert_int_equal(state_of(table, key), -1);
  call(table, 1, NINES_SUCCESS, 100 * S); // those with an entry are not concerned
  assert_int_equal(keyed_breaker_usage(table).evicted, 0);
  // Forgotten after ten minutes without a call, so a table does not stay crowded for ever.
  for (int64_t now_ns = 100 * S; now_ns < 800 * S; now_ns += 10 * S) {
    call(table, 1, NINES_SUCCESS, now_ns);
    for (int i = 0; i < 20; i++) keyed_breaker_fold(table, now_ns, &random_word);
  }
  uint64_t crowded = keyed_breaker_usage(table).crowded;
  call(table, 999, NINES_FAILURE, 800 * S);
  assert_int_equal(keyed_breaker_usage(table).crowded, crowded);
  assert_int_equal(keyed_breaker_usage(table).evicted, 1);
  assert_int_equal(state_of(table, 999), NINES_BREAKER_CLOSED);
  free(table);
}

static void test_a_permit_of_the_former_key_is_late(void **state)
{
  (void)state;
  struct keyed_breaker *table = MAKE(.keys = 1, .window_calls = 1, .calls_min = 1);
  nines_permit old = ask(table, 1, 100 * S);
  for (int i = 0; i < 20; i++) keyed_breaker_fold(table, 800 * S, &random_word); // forgotten, though in flight
  call(table, 2, NINES_SUCCESS, 800 * S);
  assert_int_equal(keyed_breaker_usage(table).evicted, 1);
  nines_permit mine = ask(table, 2, 800 * S);
  assert_int_equal(keyed_breaker_done(table, old, NINES_FAILURE, 800 * S, &random_word), CIRCUIT_LATE);
  assert_int_equal(state_of(table, 2), NINES_BREAKER_CLOSED);
  call(table, 3, NINES_SUCCESS, 800 * S); // the old permit did not count down key 2's call in flight
  assert_int_equal(keyed_breaker_usage(table).evicted, 1);
  assert_int_equal(keyed_breaker_usage(table).crowded, 1);
  assert_int_equal(keyed_breaker_done(table, mine, NINES_FAILURE, 800 * S, &random_word), CIRCUIT_COUNTED);
  assert_int_equal(state_of(table, 2), NINES_BREAKER_OPEN);
  for (uint64_t token = 1; token < 64; token += 2) // not ours: no harm
    keyed_breaker_done(table, (nines_permit){ 0, token << 38 | 1 }, NINES_FAILURE, 800 * S, &random_word);
  free(table);
}

static void test_a_restart_frees_what_the_dead_held(void **state)
{
  (void)state;
  struct keyed_breaker *table = MAKE(.keys = KEYS, .window_calls = 4, .calls_min = 4, .probes = 1);
  for (int i = 0; i < 4; i++) call(table, 7, NINES_FAILURE, 100 * S);
  nines_permit probe = ask(table, 7, 161 * S);
  assert_true(nines_permitted(probe));
  assert_false(nines_permitted(ask(table, 7, 162 * S)));
  keyed_breaker_orphan(table);
  assert_int_equal(keyed_breaker_done(table, probe, NINES_FAILURE, 162 * S, &random_word), CIRCUIT_LATE);
  assert_int_equal(call(table, 7, NINES_SUCCESS, 162 * S), CIRCUIT_PROBED);
  assert_int_equal(state_of(table, 7), NINES_BREAKER_CLOSED);
  for (int i = 0; i < KEYS; i++) ask(table, 1000 + (uint64_t)i, 163 * S); // in flight in all that is left
  keyed_breaker_orphan(table);
  uint64_t crowded = keyed_breaker_usage(table).crowded;
  for (int i = 0; i < KEYS; i++) call(table, 2000 + (uint64_t)i, NINES_SUCCESS, 164 * S);
  assert_int_equal(keyed_breaker_usage(table).crowded, crowded); // room was made of them
  free(table);
}

static void test_settings_and_restart(void **state)
{
  (void)state;
  struct keyed_breaker *table = MAKE(.keys = KEYS, .window_calls = 10, .calls_min = 10);
  struct status status;
  for (int i = 0; i < 4; i++) call(table, 1, NINES_FAILURE, 100 * S);
  nines_breaker_config config = { .size = sizeof config, .keys = KEYS, .calls_min = 4 };
  assert_int_equal(keyed_breaker_set(table, &config, 1, false, 100 * S, &status), 0);
  for (int i = 0; i < 20; i++) keyed_breaker_fold(table, 100 * S, &random_word);
  assert_int_equal(state_of(table, 1), NINES_BREAKER_OPEN); // counts stayed, the new minimum holds
  config.keys = KEYS + 1;
  assert_int_equal(keyed_breaker_set(table, &config, 1, false, 100 * S, &status), NINES_EINVAL);
  assert_string_equal(status.text, "keys is 65, but the table was made for 64: it keeps its size until the next start");
  config.keys = 5000;
  assert_int_equal(keyed_breaker_set(table, &config, 1, true, 100 * S, &status), NINES_EINVAL);
  keyed_breaker_rebase(table, 100 * S, 5 * S);
  assert_int_equal(ask(table, 1, 5 * S).at_ns, 65 * S);
  assert_true(nines_permitted(ask(table, 1, 65 * S)));
  assert_true(keyed_breaker_valid(table, KEYS));
  assert_false(keyed_breaker_valid(table, KEYS - 1));
  free(table);
}

// What all who ask may write holds anything: no harm is done by it.
static void test_damage_is_survived(void **state)
{
  (void)state;
  struct rng rng = seed_stream("keyed breaker damage");
  struct keyed_breaker *table = MAKE(.keys = KEYS, .window_calls = 4, .calls_min = 4);
  size_t bytes = keyed_breaker_open_size(KEYS);
  unsigned char *open = (unsigned char *)table + keyed_breaker_size(KEYS) - bytes;
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < bytes; i++) open[i] = (unsigned char)rng_next(&rng);
    for (int i = 0; i < 20; i++) keyed_breaker_fold(table, 100 * S, &random_word);
    for (uint64_t key = 0; key < 100; key++)
      keyed_breaker_done(table, ask(table, key, 100 * S), NINES_FAILURE, 100 * S, &random_word);
    keyed_breaker_rebase(table, 100 * S, 5 * S);
    keyed_breaker_usage(table);
    keyed_breaker_orphan(table);
  }
  free(table);
}

// ---- A model: with room for all, each key is a circuit of its own

static void test_model(void **state)
{
  (void)state;
  struct rng rng = seed_stream("keyed breaker model");
  enum { MODELS = 40, STEPS = 500000, OUT = 64 };
  const nines_breaker_config config = {
    .size = sizeof config, .keys = 4096, .window_calls = 12, .calls_min = 6, .probes = 3, .open_ns = S / 10
  };
  struct keyed_breaker *table = make(config);
  static struct circuit circuit[MODELS];
  struct circuit_rule rule = { 0 };
  struct {
    nines_permit keyed, plain;
    uint32_t key;
  } out[OUT] = { 0 };
  uint64_t random = 1;
  int64_t now_ns = 100 * S;
  assert_int_equal(circuit_rule_set(&rule, &config, NULL), 0);
  for (int i = 0; i < MODELS; i++) circuit_init(&circuit[i], &rule, NINES_BREAKER_CLOSED, now_ns);
  for (int i = 0; i < STEPS; i++, now_ns += (int64_t)rng_below(&rng, 1000000)) {
    uint32_t which = (uint32_t)rng_below(&rng, OUT), key = (uint32_t)rng_below(&rng, MODELS);
    if (nines_permitted(out[which].keyed)) {
      int outcome = rng_below(&rng, 100) < out[which].key * 2 ? NINES_FAILURE : NINES_SUCCESS;
      struct circuit *plain = &circuit[out[which].key];
      assert_int_equal(keyed_breaker_done(table, out[which].keyed, outcome, now_ns, &random),
                       circuit_tell(plain, &rule, out[which].plain, outcome, false, now_ns, &random));
      assert_int_equal(state_of(table, out[which].key), circuit_word_state(circuit_load(plain)));
      out[which].keyed.token = 0;
    } else {
      out[which].key = key;
      out[which].plain = circuit_ask(&circuit[key], &rule, now_ns, &random);
      out[which].keyed = ask(table, key, now_ns);
      assert_int_equal(nines_permitted(out[which].keyed), nines_permitted(out[which].plain));
      assert_int_equal(out[which].keyed.at_ns, out[which].plain.at_ns);
    }
    if (i % 5000 == 0) keyed_breaker_fold(table, now_ns, &random);
  }
  assert_int_equal(keyed_breaker_usage(table).keys, MODELS);
  assert_int_equal(keyed_breaker_usage(table).evicted, 0);
  free(table);
}

// ---- Threads: a failing key, keys that come and go, and nobody's calls in flight are left over

struct member {
  struct keyed_breaker *table;
  uint64_t random;
  _Atomic uint32_t *wrong;
};

static void *storm(void *data)
{
  struct member *m = data;
  for (int i = 0; i < 30000; i++) {
    uint64_t key = rng_quick(&m->random) % 4 ? 100 + rng_quick(&m->random) % 5000 : 1;
    nines_permit permit = keyed_breaker_ask(m->table, &key, sizeof key, 100 * S, &m->random);
    if (key == 1 && nines_permitted(permit)) atomic_fetch_add(m->wrong, 1);
    if (nines_permitted(permit)) keyed_breaker_done(m->table, permit, NINES_SUCCESS, 100 * S, &m->random);
  }
  return NULL;
}

static void test_threads(void **state)
{
  (void)state;
  enum { THREADS = 4 };
  struct keyed_breaker *table = MAKE(.keys = 32, .window_calls = 4, .calls_min = 4, .open_ns = 3600 * S);
  _Atomic uint32_t wrong = 0;
  pthread_t thread[THREADS];
  struct member member[THREADS];
  for (int i = 0; i < 4; i++) call(table, 1, NINES_FAILURE, 100 * S);
  for (int i = 0; i < THREADS; i++) {
    member[i] = (struct member){ table, 0x9e3779b97f4a7c15u * (uint64_t)(i + 1), &wrong };
    assert_int_equal(pthread_create(&thread[i], NULL, storm, &member[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  assert_int_equal(atomic_load(&wrong), 0);
  assert_int_equal(state_of(table, 1), NINES_BREAKER_OPEN);
  uint64_t crowded = keyed_breaker_usage(table).crowded;
  for (uint64_t key = 10000; key < 11000; key++) call(table, key, NINES_SUCCESS, 100 * S);
  assert_int_equal(keyed_breaker_usage(table).crowded, crowded); // nothing leaked in flight: all healthy ones make room
  free(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_each_key_has_its_own),
    cmocka_unit_test(test_a_million_invented_keys_flush_nothing_that_fails),
    cmocka_unit_test(test_crowded_keys_share_the_last_entry),
    cmocka_unit_test(test_a_permit_of_the_former_key_is_late),
    cmocka_unit_test(test_a_restart_frees_what_the_dead_held),
    cmocka_unit_test(test_settings_and_restart),
    cmocka_unit_test(test_damage_is_survived),
    cmocka_unit_test(test_model),
    cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
