// json_parse: types, order, limits, places of errors; and a round trip of random trees through value_to_json.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "rng.h"

static struct value must_parse(struct pool *pool, const char *text)
{
  struct value value;
  struct status status = { 0 };
  if (json_parse(pool, view_of(text), &value, &status) != 0) fail_msg("%s: %s", text, status.text);
  return value;
}

static void types_are_kept(void **state)
{
  (void)state;
  struct pool pool = { 0 };
  struct value value =
      must_parse(&pool, "{\"z\":1,\"a\":-9223372036854775808,\"n\":1.0,\"e\":1e2,\"t\":true,\"f\":false,"
                        "\"nil\":null,\"s\":\"\\u00e9\\n\\u0000x\",\"l\":[1,[2],{}],\"m\":9223372036854775807}");
  assert_int_equal(value.type, VALUE_TABLE);
  assert_int_equal(value.table.count, 10);
  assert_true(view_is(value.table.members[0].key, "z")); // in the order written
  assert_true(view_is(value.table.members[1].key, "a"));
  assert_int_equal(value_get(&value, "a")->type, VALUE_INTEGER);
  assert_true(value_get_integer(&value, "a", 0) == INT64_MIN);
  assert_true(value_get_integer(&value, "m", 0) == INT64_MAX);
  assert_int_equal(value_get(&value, "n")->type, VALUE_NUMBER);
  assert_true(value_get_number(&value, "e", 0) == 100);
  assert_true(value_get_bool(&value, "t", false));
  assert_false(value_get_bool(&value, "f", true));
  assert_int_equal(value_get(&value, "nil")->type, VALUE_NIL);
  assert_true(view_equal(value_get_text(&value, "s"), (struct view){ "\xc3\xa9\n\0x", 5 }));
  assert_int_equal(value_get(&value, "l")->list.count, 3);
  assert_int_equal(value_get(&value, "l")->list.items[1].list.items[0].integer, 2);
  assert_int_equal(must_parse(&pool, " 7 ").integer, 7);
  assert_int_equal(must_parse(&pool, "[]").list.count, 0);
  pool_fini(&pool);
}

static void errors_name_the_place(void **state)
{
  (void)state;
  static const struct {
    const char *text, *says;
    int code;
  } cases[] = {
    { "", "line 1, column 1", NINES_EINVAL },
    { "{\n  \"a\": 1,\n  \"a\": 2}", "line 3", NINES_EINVAL },
    { "{\"a\":}", "line 1", NINES_EINVAL },
    { "[1,2", "line 1", NINES_EINVAL },
    { "[1]x", "end of file expected", NINES_EINVAL },
    { "\"\xff\"", "line 1", NINES_EINVAL },
    { "\"\\ud800\"", "line 1", NINES_EINVAL },
    { "1e999", "line 1", NINES_EINVAL },
    { "99999999999999999999", "line 1", NINES_EINVAL },
    { "nul", "line 1", NINES_EINVAL },
    { "[\n[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "line 2, column 16: nested deeper than 16", NINES_ELIMIT },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct pool pool = { 0 };
    struct value value = { .type = VALUE_BOOL };
    struct status status = { 0 };
    assert_int_equal(json_parse(&pool, view_of(cases[i].text), &value, &status), cases[i].code);
    if (!strstr(status.text, cases[i].says)) fail_msg("%s: %s", cases[i].text, status.text);
    assert_int_equal(value.type, VALUE_BOOL); // untouched
    pool_fini(&pool);
  }
}

static void depth_and_memory_are_bounded(void **state)
{
  (void)state;
  struct pool pool = { 0 };
  must_parse(&pool, "[[[[[[[[[[[[[[[[\"[[[\\\"[[\"]]]]]]]]]]]]]]]]"); // 16 levels; brackets in texts do not count
  pool_fini(&pool);
  pool = (struct pool){ .limit_bytes = 1000 };
  char text[4000];
  memset(text, 'x', sizeof text);
  text[0] = text[sizeof text - 1] = '"';
  struct value value;
  struct status status;
  assert_int_equal(json_parse(&pool, (struct view){ text, sizeof text }, &value, &status), NINES_ELIMIT);
  pool_fini(&pool);
}

static struct value random_value(struct rng *rng, struct pool *pool, int depth)
{
  char text[8];
  switch (rng_below(rng, depth > 3 ? 5 : 7)) {
  case 0:
    return value_nil();
  case 1:
    return value_bool(rng_below(rng, 2) == 1);
  case 2:
    return value_integer((int64_t)rng_next(rng));
  case 3:
    return value_number(rng_normal(rng) * 1e10);
  case 4:
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)rng_below(rng, 128);
    return value_view((struct view){ pool_copy(pool, (struct view){ text, sizeof text }), rng_below(rng, 9) });
  case 5: {
    struct value list = value_list();
    for (uint64_t n = rng_below(rng, 5); n > 0; n--)
      assert_true(value_append(pool, &list, random_value(rng, pool, depth + 1)));
    return list;
  }
  default: {
    struct value table = value_table();
    for (uint64_t n = rng_below(rng, 5); n > 0; n--) {
      snprintf(text, sizeof text, "k%d", (int)n);
      assert_true(value_put(pool, &table, pool_copy(pool, view_of(text)), random_value(rng, pool, depth + 1)));
    }
    return table;
  }
  }
}

static void written_values_read_back(void **state)
{
  (void)state;
  struct rng rng;
  uint64_t seed = rng_system_seed();
  rng_init(&rng, seed, "json");
  for (int i = 0; i < 5000; i++) {
    struct pool pool = { 0 };
    struct buf text = { 0 };
    struct value value = random_value(&rng, &pool, 0), back;
    struct status status = { 0 };
    value_to_json(&value, &text);
    if (json_parse(&pool, buf_view(&text), &back, &status) != 0 || !value_equal(&value, &back))
      fail_msg("seed %llu: %s: %s", (unsigned long long)seed, text.data, status.text);
    buf_free(&text);
    pool_fini(&pool);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(types_are_kept),
    cmocka_unit_test(errors_name_the_place),
    cmocka_unit_test(depth_and_memory_are_bounded),
    cmocka_unit_test(written_values_read_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
