// Txns keep their ops whole; the memory store keeps documents in order of creation, checked against a plain list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "memory_store.h"
#include "rng.h"
#include "txn.h"

static void test_ops_are_copies(void **state)
{
  (void)state;
  struct txn txn = { 0 };
  char id[] = "a";
  txn_put(&txn, 5, "alert", id, view_of("{\"n\":1}"));
  id[0] = 'x';
  txn_delete(&txn, 6, "flag", "old");
  txn_audit(&txn, 7, "person:ann", "deploy.rollback", "payments", (struct view){ "{}garbage", 2 });
  assert_int_equal(txn.count, 3);
  assert_string_equal(txn.ops[0].kind, "alert");
  assert_string_equal(txn.ops[0].id, "a");
  assert_string_equal(txn.ops[0].json, "{\"n\":1}");
  assert_null(txn.ops[0].actor);
  assert_null(txn.ops[1].json);
  assert_int_equal(txn.ops[1].wall_ns, 6);
  assert_string_equal(txn.ops[2].actor, "person:ann");
  assert_string_equal(txn.ops[2].json, "{}");
  assert_int_equal(txn_bytes(&txn), 5 + 1 + 7 + 4 + 3 + 15 + 8 + 2 + 10);
  txn_fini(&txn);
  assert_int_equal(txn.count, 0);
  assert_int_equal(txn_bytes(&txn), 0);
  txn_put(&txn, 8, "alert", "", (struct view){ NULL, 0 }); // usable again; empty texts are texts
  assert_string_equal(txn.ops[0].json, "");
  txn_fini(&txn);
}

struct seen {
  char text[4096];
};

static void note(void *userdata, const char *id, struct view json)
{
  struct seen *seen = userdata;
  size_t used = strlen(seen->text);
  snprintf(seen->text + used, sizeof(seen->text) - used, "%s=%.*s;", id, (int)json.size, json.data);
}

static void test_order_of_creation(void **state)
{
  (void)state;
  struct memory_store *store = memory_store_open();
  struct txn txn = { 0 };
  txn_put(&txn, 1, "k", "b", view_of("1"));
  txn_put(&txn, 1, "k", "a", view_of("2"));
  txn_put(&txn, 1, "other", "b", view_of("9"));
  txn_put(&txn, 1, "k", "b", view_of("3"));
  txn_audit(&txn, 1, "a", "b", "c", view_of("{}"));
  memory_store_apply(store, &txn);
  txn_fini(&txn);
  struct seen seen = { "" };
  memory_store_each(store, "k", note, &seen);
  assert_string_equal(seen.text, "b=3;a=2;");
  txn_delete(&txn, 1, "k", "b");
  txn_delete(&txn, 1, "none", "b");
  txn_put(&txn, 1, "k", "b", view_of("4"));
  memory_store_apply(store, &txn);
  txn_fini(&txn);
  seen.text[0] = '\0';
  memory_store_each(store, "k", note, &seen);
  assert_string_equal(seen.text, "a=2;b=4;");
  assert_int_equal(memory_store_audits(store), 1);
  memory_store_each(store, "none", note, &seen);
  memory_store_close(store);
  memory_store_close(NULL);
}

// The oracle: documents in an array, in order of creation.
struct oracle {
  int ids[64];
  int values[64];
  int count;
};

static void oracle_put(struct oracle *oracle, int id, int value)
{
  for (int i = 0; i < oracle->count; i++) {
    if (oracle->ids[i] != id) continue;
    oracle->values[i] = value;
    return;
  }
  oracle->ids[oracle->count] = id;
  oracle->values[oracle->count++] = value;
}

static void oracle_delete(struct oracle *oracle, int id)
{
  int kept = 0;
  for (int i = 0; i < oracle->count; i++) {
    if (oracle->ids[i] == id) continue;
    oracle->ids[kept] = oracle->ids[i];
    oracle->values[kept++] = oracle->values[i];
  }
  oracle->count = kept;
}

static void test_like_a_list(void **state)
{
  (void)state;
  const uint64_t seed = 20261123;
  print_message("seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "txn");
  struct memory_store *store = memory_store_open();
  struct oracle oracle = { 0 };
  for (int step = 0; step < 5000; step++) {
    struct txn txn = { 0 };
    for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
      int id = (int)rng_below(&rng, 20);
      char name[8], json[16];
      snprintf(name, sizeof(name), "d%d", id);
      snprintf(json, sizeof(json), "%d", step);
      if (rng_below(&rng, 3) == 0) {
        txn_delete(&txn, step, "k", name);
        oracle_delete(&oracle, id);
      } else {
        txn_put(&txn, step, "k", name, view_of(json));
        oracle_put(&oracle, id, step);
      }
    }
    memory_store_apply(store, &txn);
    txn_fini(&txn);
    struct seen seen = { "" }, expected = { "" };
    memory_store_each(store, "k", note, &seen);
    for (int i = 0; i < oracle.count; i++) {
      char name[8], json[16];
      snprintf(name, sizeof(name), "d%d", oracle.ids[i]);
      snprintf(json, sizeof(json), "%d", oracle.values[i]);
      note(&expected, name, view_of(json));
    }
    assert_string_equal(seen.text, expected.text);
  }
  memory_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_ops_are_copies),
    cmocka_unit_test(test_order_of_creation),
    cmocka_unit_test(test_like_a_list),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
