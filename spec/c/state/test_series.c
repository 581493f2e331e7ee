// Series: types, limits, reuse of idle slots, and readers beside the writer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "rng.h"
#include "series.h"

#define S 1000000000LL

static struct view V(const char *text) {
  return view_of(text);
}

static struct series_reading
read_key(struct series_table *table, const char *name, const char *tags)
{
  static struct series_reading reading;
  assert_true(series_find(table, V(name), V(tags), &reading));
  return reading;
}

static void test_counter_adds_by_weight(void **state)
{
  (void)state;
  struct series_table *table = series_open(4, 60 * S);
  struct series *series = series_get(table, V("hits"), V("a=\"b\""), SERIES_COUNTER, S);
  series_add(series, 2, 1, S);
  series_add(series, 3, 10, 2 * S);
  struct series_reading reading;
  assert_true(series_read(table, 0, &reading));
  assert_true(view_is(reading.name, "hits"));
  assert_true(view_is(reading.tags, "a=\"b\""));
  assert_int_equal(reading.type, SERIES_COUNTER);
  assert_true(reading.value == 32);
  assert_int_equal(reading.count, 11);
  assert_int_equal(reading.last_ns, 2 * S);
  series_close(table);
}

static void test_gauge_sets_and_moves(void **state)
{
  (void)state;
  struct series_table *table = series_open(4, 60 * S);
  struct series *series = series_get(table, V("depth"), V(""), SERIES_GAUGE, S);
  series_set(series, 10, false, S);
  series_set(series, -4, true, S);
  assert_true(read_key(table, "depth", "").value == 6);
  series_set(series, -3, false, S);
  assert_true(read_key(table, "depth", "").value == -3);
  series_set(series, 1e308, false, S);
  series_set(series, 1e308, true, S); // would be infinite: stays
  assert_true(read_key(table, "depth", "").value == 1e308);
  series_close(table);
}

static void test_timer_keeps_sum_min_max(void **state)
{
  (void)state;
  struct series_table *table = series_open(4, 60 * S);
  struct series *series = series_get(table, V("t"), V(""), SERIES_TIMER, S);
  assert_true(read_key(table, "t", "").min == 0);
  series_add(series, 0.5, 1, S);
  series_add(series, 0.25, 4, S);
  struct series_reading reading = read_key(table, "t", "");
  assert_true(reading.value == 1.5 && reading.min == 0.25 && reading.max == 0.5);
  assert_int_equal(reading.count, 5);
  series_close(table);
}

static void test_set_estimates(void **state)
{
  (void)state;
  static const int sizes[] = { 1, 10, 100, 1000, 50000 };
  struct series_table *table = series_open(8, 60 * S);
  for (int k = 0; k < 5; k++) {
    char name[16], member[32];
    snprintf(name, sizeof name, "set%d", k);
    struct series *series = series_get(table, V(name), V(""), SERIES_SET, S);
    for (int twice = 0; twice < 2; twice++)
      for (int i = 0; i < sizes[k]; i++)
        series_insert(series, hash_add(HASH_START, member, (size_t)snprintf(member, sizeof member, "user-%d", i)), S);
    double error = fabs(read_key(table, name, "").value / sizes[k] - 1);
    assert_true(error < 3 * 0.065);
  }
  series_close(table);
}

static void test_key_has_one_type_until_idle(void **state)
{
  (void)state;
  struct series_table *table = series_open(4, 60 * S);
  struct series *series = series_get(table, V("x"), V(""), SERIES_COUNTER, S);
  uint32_t generation = series_generation(series);
  assert_null(series_get(table, V("x"), V(""), SERIES_GAUGE, 2 * S));
  assert_int_equal(series_usage(table).conflicts, 1);
  assert_ptr_equal(series_get(table, V("x"), V(""), SERIES_GAUGE, 61 * S), series);
  assert_int_not_equal(series_generation(series), generation);
  assert_int_equal(series_usage(table).count, 1);
  series_close(table);
}

static void test_full_table_drops_and_reuses_idle(void **state)
{
  (void)state;
  char name[32];
  struct series_table *table = series_open(100, 60 * S);
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "old.%d", i);
    series_add(series_get(table, V(name), V(""), SERIES_COUNTER, S), 1, 1, i == 42 ? S : 50 * S);
  }
  assert_null(series_get(table, V("new"), V(""), SERIES_COUNTER, 50 * S));
  assert_int_equal(series_usage(table).dropped, 1);
  struct series *series = series_get(table, V("new"), V("k=\"v\""), SERIES_SET, 62 * S);
  assert_non_null(series);
  struct series_reading reading;
  assert_false(series_find(table, V("old.42"), V(""), &reading));
  assert_true(series_find(table, V("new"), V("k=\"v\""), &reading));
  assert_int_equal(reading.count, 0);
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "old.%d", i);
    assert_int_equal(series_find(table, V(name), V(""), &reading), i != 42);
  }
  assert_null(series_get(table, V("newer"), V(""), SERIES_COUNTER, 62 * S));
  assert_int_equal(series_usage(table).count, 100);
  series_close(table);
}

static void test_keys_have_limits(void **state)
{
  (void)state;
  static char long_text[SERIES_TAGS_MAX + 1];
  memset(long_text, 'a', sizeof long_text);
  struct series_table *table = series_open(4, 60 * S);
  struct view name = { long_text, SERIES_NAME_MAX }, tags = { long_text, SERIES_TAGS_MAX };
  assert_non_null(series_get(table, name, tags, SERIES_COUNTER, S));
  struct series_reading reading;
  assert_true(series_find(table, name, tags, &reading));
  assert_null(series_get(table, (struct view){ long_text, SERIES_NAME_MAX + 1 }, V(""), SERIES_COUNTER, S));
  assert_null(series_get(table, V("x"), (struct view){ long_text, SERIES_TAGS_MAX + 1 }, SERIES_COUNTER, S));
  assert_null(series_get(table, V(""), V(""), SERIES_COUNTER, S));
  assert_int_equal(series_usage(table).dropped, 3);
  series_close(table);
}

// Names of several lengths, so that a slot's next key may need more room than its last.
static void name_key(int key, char name[static 64], char tags[static 64])
{
  snprintf(name, 64, "key.%0*d", key % 3 * 20 + 1, key);
  tags[0] = '\0';
  if (key % 2 != 0) snprintf(tags, 64, "k=\"%d\"", key);
}

// Against a plain list: any order of keys and times gives the same members and sums.
static void test_equals_naive_list(void **state)
{
  (void)state;
  enum { LIMIT = 16, KEYS = 40, STEPS = 20000 };
  uint64_t seed = rng_system_seed();
  print_message("seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "series");
  struct {
    double sum;
    int64_t last_ns;
    bool alive;
  } naive[KEYS] = { 0 };
  struct series_table *table = series_open(LIMIT, 10 * S);
  struct series_reading reading;
  int64_t now_ns = S;
  for (int step = 0; step < STEPS; step++) {
    now_ns += (int64_t)rng_below(&rng, (uint64_t)S);
    uint64_t key = rng_below(&rng, KEYS);
    char name[64], tags[64];
    name_key((int)key, name, tags);
    struct series *series = series_get(table, V(name), V(tags), SERIES_COUNTER, now_ns);
    if (series == NULL) {
      assert_false(naive[key].alive);
      continue;
    }
    series_add(series, 1, 1, now_ns);
    if (!naive[key].alive) { // may have taken a slot that was idle
      for (int other = 0; other < KEYS; other++) {
        name_key(other, name, tags);
        if (!naive[other].alive || series_find(table, V(name), V(tags), &reading)) continue;
        assert_true(now_ns - naive[other].last_ns >= 10 * S);
        naive[other].alive = false;
      }
      naive[key].alive = true;
      naive[key].sum = 0;
    }
    naive[key].sum += 1;
    naive[key].last_ns = now_ns;
    name_key((int)key, name, tags);
    assert_true(read_key(table, name, tags).value == naive[key].sum);
  }
  series_close(table);
}

struct race {
  struct series_table *table;
  _Atomic int stop;
  uint64_t read;
};

// What a reader sees is consistent: value equals count, and the value's digits are in the key's.
static void *read_all(void *userdata)
{
  struct race *race = userdata;
  struct series_reading reading;
  while (!race->stop) {
    for (uint32_t i = 0; i < series_count(race->table); i++) {
      if (!series_read(race->table, i, &reading)) continue;
      if (reading.value != (double)reading.count) return "torn numbers";
      if (reading.name.size < 5 || memcmp(reading.name.data, "name.", 5) != 0) return "torn name";
      // name.N{N} with the same N
      if (reading.name.size - 5 != reading.tags.size ||
          memcmp(reading.name.data + 5, reading.tags.data, reading.tags.size) != 0)
        return "torn key";
      race->read++;
    }
    series_find(race->table, view_of("name.7"), view_of("7"), &reading);
  }
  return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
  (void)state;
  struct race race = { .table = series_open(8, 1) };
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, read_all, &race), 0);
  struct rng rng;
  rng_init(&rng, 1, "race");
  int64_t now_ns = 1;
  for (int i = 0; i < 100000; i++) {
    char name[256], tags[256];
    uint64_t key = rng_below(&rng, 24);
    int width = (int)(key * 6 + 1);
    snprintf(name, sizeof name, "name.%0*d", width, (int)key);
    snprintf(tags, sizeof tags, "%0*d", width, (int)key);
    now_ns += 200000000;
    struct series *series = series_get(race.table, V(name), V(tags), SERIES_COUNTER, now_ns);
    for (int k = 0; series != NULL && k < 5; k++) series_add(series, 1, 1, now_ns);
  }
  race.stop = 1;
  void *complaint = "";
  pthread_join(thread, &complaint);
  if (complaint != NULL) fail_msg("%s", (char *)complaint);
  series_close(race.table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_counter_adds_by_weight),
    cmocka_unit_test(test_gauge_sets_and_moves),
    cmocka_unit_test(test_timer_keeps_sum_min_max),
    cmocka_unit_test(test_set_estimates),
    cmocka_unit_test(test_key_has_one_type_until_idle),
    cmocka_unit_test(test_full_table_drops_and_reuses_idle),
    cmocka_unit_test(test_keys_have_limits),
    cmocka_unit_test(test_equals_naive_list),
    cmocka_unit_test(test_readers_beside_the_writer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
