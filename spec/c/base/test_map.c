// map: against an array kept in order of insertion.
#include "map.h"

#include "mem.h"
#include "nines.h"
#include "spec.h"

enum { KEYS = 300 };

struct oracle {
  int keys[KEYS];
  size_t count;
  intptr_t values[KEYS];
};

static size_t oracle_find(const struct oracle *oracle, int key)
{
  size_t i = 0;
  while (i < oracle->count && oracle->keys[i] != key) i++;
  return i;
}

static void oracle_remove(struct oracle *oracle, size_t at)
{
  oracle->count--;
  memmove(&oracle->keys[at], &oracle->keys[at + 1], (oracle->count - at) * sizeof oracle->keys[0]);
  memmove(&oracle->values[at], &oracle->values[at + 1], (oracle->count - at) * sizeof oracle->values[0]);
}

static void compare(const struct map *map, const struct oracle *oracle)
{
  size_t at = 0, i = 0;
  for (const struct map_entry *entry = map_next(map, &at); entry; entry = map_next(map, &at), i++) {
    char name[32];
    snprintf(name, sizeof name, "key-%d", oracle->keys[i]);
    assert_string_equal(entry->key, name);
    assert_int_equal((intptr_t)entry->value, oracle->values[i]);
  }
  assert_int_equal(i, oracle->count);
}

static void test_random_operations(void **state)
{
  (void)state;
  struct rng rng = spec_rng("map", 6);
  static struct oracle oracle;
  oracle.count = 0;
  struct map map = { 0 };
  for (int i = 0; i < 20000; i++) {
    int key = (int)rng_below(&rng, KEYS);
    char name[32];
    snprintf(name, sizeof name, "key-%d", key);
    size_t at = oracle_find(&oracle, key);
    intptr_t known = at < oracle.count ? oracle.values[at] : 0;
    assert_int_equal((intptr_t)map_get(&map, view_of(name)), known);
    // Phases of growth and of decline.
    if (rng_below(&rng, 10) < (i / 2000 % 2 == 0 ? 8u : 2u)) {
      intptr_t value = i + 1;
      assert_int_equal(map_put(&map, view_of(name), (void *)value), 0);
      if (at == oracle.count) oracle.keys[oracle.count++] = key;
      oracle.values[at] = value;
    } else {
      assert_int_equal((intptr_t)map_remove(&map, view_of(name)), known);
      if (at < oracle.count) oracle_remove(&oracle, at);
    }
    assert_int_equal(map.count, oracle.count);
    if (i % 50 == 0) compare(&map, &oracle);
  }
  compare(&map, &oracle);
  map_fini(&map);
}

static void test_churn_stays_small(void **state)
{
  (void)state;
  struct map map = { 0 };
  for (int i = 0; i < 10000; i++) {
    char name[32];
    snprintf(name, sizeof name, "%d", i);
    assert_int_equal(map_put(&map, view_of(name), &map), 0);
    if (i >= 4) {
      snprintf(name, sizeof name, "%d", i - 4);
      assert_ptr_equal(map_remove(&map, view_of(name)), &map);
    }
  }
  assert_int_equal(map.count, 4);
  assert_true(map.capacity <= 16);
  map_fini(&map);
}

static void test_removal_during_a_walk(void **state)
{
  (void)state;
  struct map map = { 0 };
  const char *const names[] = { "a", "b", "c", "d" };
  for (size_t i = 0; i < 4; i++) map_put(&map, view_of(names[i]), &map);
  size_t at = 0, seen = 0;
  for (struct map_entry *entry = map_next(&map, &at); entry; entry = map_next(&map, &at)) {
    assert_string_equal(entry->key, names[seen++]);
    map_remove(&map, (struct view){ entry->key, entry->key_size });
  }
  assert_int_equal(seen, 4);
  assert_int_equal(map.count, 0);
  map_fini(&map);
}

static void test_out_of_memory_changes_nothing(void **state)
{
  (void)state;
  for (long n = 1;; n++) {
    struct map map = { 0 };
    long put = 0;
    char name[32];
    mem_fail_at(n, 0);
    for (; put < 40; put++) {
      snprintf(name, sizeof name, "%ld", put);
      if (map_put(&map, view_of(name), &map) != 0) break;
    }
    mem_fail_at(0, 0);
    assert_int_equal(map.count, put);
    for (long i = 0; i < put; i++) {
      snprintf(name, sizeof name, "%ld", i);
      assert_ptr_equal(map_get(&map, view_of(name)), &map);
    }
    map_fini(&map);
    if (put == 40) break;
  }
}

static void test_nearest(void **state)
{
  (void)state;
  struct map map = { 0 };
  map_put(&map, view_of("payments"), &map);
  map_put(&map, view_of("orders"), &map);
  assert_string_equal(map_nearest(&map, view_of("paymnets")), "payments");
  assert_null(map_nearest(&map, view_of("search")));
  map_fini(&map);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_random_operations),
    cmocka_unit_test(test_churn_stays_small),
    cmocka_unit_test(test_removal_during_a_walk),
    cmocka_unit_test(test_out_of_memory_changes_nothing),
    cmocka_unit_test(test_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
