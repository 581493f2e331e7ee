// value: building, reading, copying, comparing, JSON.
#include "value.h"

#include <math.h>

#include "mem.h"
#include "spec.h"

static struct pool pool;

static int fini(void **state)
{
  (void)state;
  pool_fini(&pool);
  return 0;
}

static void json_is(const struct value *value, const char *expected)
{
  struct buf buf = { 0 };
  value_to_json(value, &buf);
  assert_string_equal(buf.data, expected);
  buf_free(&buf);
}

static struct value sample(void)
{
  struct value table = value_table(), list = value_list();
  assert_true(value_append(&pool, &list, value_integer(1)));
  assert_true(value_append(&pool, &list, value_number(2.5)));
  assert_true(value_append(&pool, &list, value_nil()));
  assert_true(value_put(&pool, &table, "name", value_text("pay\"ments")));
  assert_true(value_put(&pool, &table, "on", value_bool(true)));
  assert_true(value_put(&pool, &table, "list", list));
  assert_true(value_put(&pool, &table, "call", (struct value){ .type = VALUE_FUNCTION, .integer = 3 }));
  assert_true(value_put_format(&pool, &table, "note", "%d of %s", 7, "nine"));
  return table;
}

static void test_build_and_read(void **state)
{
  (void)state;
  struct value table = sample();
  json_is(&table, "{\"name\":\"pay\\\"ments\",\"on\":true,\"list\":[1,2.5,null],\"call\":\"<function>\","
                  "\"note\":\"7 of nine\"}");
  assert_true(view_is(value_get_text(&table, "name"), "pay\"ments"));
  assert_true(view_is(value_get_text(&table, "on"), ""));
  assert_true(value_get_bool(&table, "on", false));
  assert_true(value_get_bool(&table, "name", true));
  assert_null(value_get(&table, "absent"));
  assert_null(value_get(NULL, "absent"));
  assert_null(value_get(value_get(&table, "list"), "x"));
  assert_true(value_put(&pool, &table, "on", value_number(4)));
  assert_int_equal(table.table.count, 5);
  assert_int_equal(value_get_integer(&table, "on", -1), 4);
  assert_true(value_put(&pool, &table, "on", value_number(4.5)));
  assert_int_equal(value_get_integer(&table, "on", -1), -1);
  assert_true(value_put(&pool, &table, "on", value_number(0x1p63)));
  assert_int_equal(value_get_integer(&table, "on", -1), -1);
  assert_true(value_get_number(&table, "on", 0) == 0x1p63);
  assert_string_equal(value_type_name(&table), "a table");
  assert_int_equal(value_text(NULL).type, VALUE_NIL);
}

static void test_growth(void **state)
{
  (void)state;
  struct value list = value_list();
  for (int i = 0; i < 1000; i++) assert_true(value_append(&pool, &list, value_integer(i)));
  for (int i = 0; i < 1000; i++) assert_int_equal(list.list.items[i].integer, i);
  assert_false(value_put(&pool, &list, "x", value_nil()));
}

// An array that somebody else made must not be written past its end.
static void test_growth_of_a_literal(void **state)
{
  (void)state;
  struct value items[4] = { value_integer(1), value_integer(2), value_integer(3), value_text("guard") };
  struct value list = { .type = VALUE_LIST, .list = { items, 3 } };
  assert_true(value_append(&pool, &list, value_integer(4)));
  assert_ptr_not_equal(list.list.items, items);
  assert_int_equal(items[3].type, VALUE_TEXT);
  struct value copy;
  assert_true(value_copy(&pool, &copy, &list));
  assert_true(value_append(&pool, &copy, value_integer(5)));
  json_is(&copy, "[1,2,3,4,5]");
  json_is(&list, "[1,2,3,4]");
}

static void test_copy_is_deep(void **state)
{
  (void)state;
  struct pool other = { 0 };
  struct value copy;
  struct value table = sample();
  assert_true(value_copy(&other, &copy, &table));
  assert_true(value_equal(&copy, &table));
  pool_fini(&pool);
  json_is(&copy, "{\"name\":\"pay\\\"ments\",\"on\":true,\"list\":[1,2.5,null],\"call\":\"<function>\","
                 "\"note\":\"7 of nine\"}");
  pool_fini(&other);
}

static void test_depth(void **state)
{
  (void)state;
  struct value nested = value_list(), copy = value_integer(1);
  for (int i = 0; i < 40; i++) {
    struct value outer = value_list();
    value_append(&pool, &outer, nested);
    nested = outer;
    bool fits = i + 1 <= VALUE_DEPTH_MAX;
    copy = value_integer(1);
    assert_int_equal(value_copy(&pool, &copy, &nested), fits);
    assert_int_equal(copy.type, fits ? VALUE_LIST : VALUE_INTEGER);
  }
  struct buf buf = { 0 };
  value_to_json(&nested, &buf);
  assert_non_null(strstr(buf.data, "null"));
  buf_free(&buf);
}

static void test_equal(void **state)
{
  (void)state;
  struct value a = value_table(), b = value_table();
  value_put(&pool, &a, "x", value_integer(1));
  value_put(&pool, &a, "y", value_number((double)NAN));
  value_put(&pool, &b, "y", value_number((double)NAN));
  assert_false(value_equal(&a, &b));
  value_put(&pool, &b, "x", value_integer(1));
  assert_true(value_equal(&a, &b));
  value_put(&pool, &b, "x", value_number(1));
  assert_false(value_equal(&a, &b)); // a counter is not a measure
  value_put(&pool, &b, "x", value_text("1"));
  assert_false(value_equal(&a, &b));
}

static void test_out_of_memory(void **state)
{
  (void)state;
  struct pool small = { .limit_bytes = 4 * sizeof(struct value) + 15 };
  struct value list = value_list();
  for (int i = 0; i < 4; i++) assert_true(value_append(&small, &list, value_integer(i)));
  assert_false(value_append(&small, &list, value_integer(4)));
  json_is(&list, "[0,1,2,3]");
  struct value copy = value_nil();
  assert_false(value_copy(&small, &copy, &list));
  assert_int_equal(copy.type, VALUE_NIL);
  pool_fini(&small);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(test_build_and_read, fini),
    cmocka_unit_test_teardown(test_growth, fini),
    cmocka_unit_test_teardown(test_growth_of_a_literal, fini),
    cmocka_unit_test_teardown(test_copy_is_deep, fini),
    cmocka_unit_test_teardown(test_depth, fini),
    cmocka_unit_test_teardown(test_equal, fini),
    cmocka_unit_test_teardown(test_out_of_memory, fini),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
