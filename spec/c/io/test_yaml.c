// YAML: types, lines, copies, and one clear sentence for everything that is not taken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "yaml.h"

static int parse(struct pool *pool, const char *text, struct value *out, struct status *status)
{
  return yaml_parse(pool, view_of(text), "f.yaml", out, status);
}

static void assert_json(const char *text, const char *expected)
{
  struct pool pool = { 0 };
  struct value value;
  struct status status = { 0 };
  if (parse(&pool, text, &value, &status) != 0) fail_msg("%s", status.text);
  struct buf json = { 0 };
  value_to_json(&value, &json);
  assert_string_equal(json.data, expected);
  buf_free(&json);
  pool_fini(&pool);
}

static void assert_error(const char *text, const char *expected)
{
  struct pool pool = { .limit_bytes = 1 << 20 };
  struct value value;
  struct status status = { 0 };
  if (parse(&pool, text, &value, &status) == 0) fail_msg("taken: %s", text);
  if (strncmp(status.text, expected, strlen(expected)) != 0) fail_msg("%s", status.text);
  assert_int_equal(value.type, VALUE_NIL);
  pool_fini(&pool);
}

static void test_scalars(void **state)
{
  (void)state;
  assert_json("", "null");
  assert_json("# nothing\n", "null");
  assert_json("---\n", "null");
  assert_json("[~, null, Null, NULL, ]", "[null,null,null,null]");
  assert_json("[true, True, TRUE, false, yes, no, on]", "[true,true,true,false,\"yes\",\"no\",\"on\"]");
  assert_json("[1, -2, +3, 007, 0x1F, 0o17, 9223372036854775807, -9223372036854775808]",
              "[1,-2,3,7,31,15,9223372036854775807,-9223372036854775808]");
  assert_json("[1.5, -.5, 1., 1e3, 1.5E-3, 99.9, 1e400]", "[1.5,-0.5,1,1000,0.0015,99.9,null]");
  assert_json("[9223372036854775808]", "[9.223372036854776e+18]");
  assert_json("[.inf, -.INF, .nan]", "[null,null,null]");
  assert_json("['1', \"true\", 5min, 1.2.3, -, ., +, 1e, 0x, 0xg, 12:30, 2026-01-05]",
              "[\"1\",\"true\",\"5min\",\"1.2.3\",\"-\",\".\",\"+\",\"1e\",\"0x\",\"0xg\",\"12:30\",\"2026-01-05\"]");
  assert_json("a: |\n  two\n  lines\nb: >\n  one\n  line\n", "{\"a\":\"two\\nlines\\n\",\"b\":\"one line\\n\"}");
  assert_json("\"\\u00fc \xc3\xbc\"", "\"\xc3\xbc \xc3\xbc\"");
}

static void test_collections(void **state)
{
  (void)state;
  assert_json("a: 1\nb:\n  - x\n  - {c: d, e: [1, [2]]}\nf: {}\ng: []\n",
              "{\"a\":1,\"b\":[\"x\",{\"c\":\"d\",\"e\":[1,[2]]}],\"f\":{},\"g\":[]}");
  assert_json("'1': a\n\"\": b\n", "{\"1\":\"a\",\"\":\"b\"}");
}

static void test_aliases_and_merges(void **state)
{
  (void)state;
  assert_json("a: &x {n: 1}\nb: *x\nc: [*x, *x]\n", "{\"a\":{\"n\":1},\"b\":{\"n\":1},\"c\":[{\"n\":1},{\"n\":1}]}");
  assert_json("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\n",
              "{\"base\":{\"x\":1,\"y\":2},\"one\":{\"y\":3,\"x\":1}}");
  assert_json("- &a {x: 1}\n- &b {x: 2, y: 2}\n- <<: [*a, *b]\n", "[{\"x\":1},{\"x\":2,\"y\":2},{\"x\":1,\"y\":2}]");
  assert_json("[&a 1, *a, &a 2, *a]", "[1,1,2,2]");
  assert_json("'<<': text\n", "{\"<<\":\"text\"}");
}

static void test_lines(void **state)
{
  (void)state;
  struct pool pool = { 0 };
  struct value value;
  assert_int_equal(
      parse(&pool, "# first\na: 1\n\nb:\n  - x\n  -\n    c: |\n      t\nd: &k\n  e: 5\nf: *k\n", &value, NULL), 0);
  assert_int_equal(value.line, 2);
  assert_int_equal(value_get(&value, "a")->line, 2);
  const struct value *list = value_get(&value, "b");
  assert_int_equal(list->line, 5);
  assert_int_equal(list->list.items[0].line, 5);
  assert_int_equal(list->list.items[1].line, 7);
  assert_int_equal(value_get(&list->list.items[1], "c")->line, 7);
  assert_int_equal(value_get(value_get(&value, "d"), "e")->line, 10);
  assert_int_equal(value_get(&value, "f")->line, 11);
  assert_int_equal(value_get(value_get(&value, "f"), "e")->line, 10);
  pool_fini(&pool);
}

static void test_refused(void **state)
{
  (void)state;
  assert_error("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key \"a\" is here twice");
  assert_error("a: 1\n2: b\n", "f.yaml:2: the key 2 is no text; put it in quotes");
  assert_error("? [a]\n: b\n", "f.yaml:1: a key must be text");
  assert_error("true: b\n", "f.yaml:1: the key true is no text");
  assert_error("a: !!str 1\n", "f.yaml:1: tags (tag:yaml.org,2002:str) are not taken");
  assert_error("a:\n  - !x {}\n", "f.yaml:2: tags (!x) are not taken");
  assert_error("!!str a: 1\n", "f.yaml:1: tags");
  assert_error("a: 1\n---\nb: 2\n", "f.yaml:2: a second document");
  assert_error("a: *none\n", "f.yaml:1: *none: no such anchor above");
  assert_error("a: &a [*a]\n", "f.yaml:1: *a: no such anchor above");
  assert_error("a: 1\n<<: 5\n", "f.yaml:2: << takes a table");
  assert_error("a: 1\n\tb: 2\n", "f.yaml:2: a tab; indent with spaces");
  assert_error("a: [1, 2\nb: 3\n", "f.yaml:2: did not find expected ',' or ']'");
  assert_error("a: 'x\n", "f.yaml:2: found unexpected end of stream");
  assert_error("a: \"x\\0y\"\n", "f.yaml:1: a text must not contain a NUL");
  assert_error("a: 1\nb: \xff\xfe\n", "f.yaml:2: ");
  assert_error("a: 1\n  b: 2\n", "f.yaml:2: mapping values are not allowed");
}

static void test_bounds(void **state)
{
  (void)state;
  assert_json("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]");
  assert_error("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "f.yaml:1: nested deeper than 16 levels");
  assert_error("a: &a [[[[[[[[1]]]]]]]]\nb: &b [[[[[[[*a]]]]]]]\nc: [*b]\n", "f.yaml:3: *b: nested deeper than 16");
  // Billion laughs.
  struct buf text = { 0 };
  buf_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
  for (int i = 1; i < 10; i++) {
    buf_printf(&text, "a%d: &a%d [", i, i);
    for (int n = 0; n < 10; n++) buf_printf(&text, "%s*a%d", n ? ", " : "", i - 1);
    buf_text(&text, "]\n");
  }
  struct pool pool = { 0 };
  struct value value;
  struct status status;
  long before = mem_count();
  assert_int_equal(parse(&pool, text.data, &value, &status), NINES_EINVAL);
  assert_string_equal(status.text, "f.yaml:5: *a3: more than 100000 values when written out");
  assert_true(pool.used_bytes < (64 << 20));
  print_message("refused after %zu KiB and %ld allocations\n", pool.used_bytes >> 10, mem_count() - before);
  pool_fini(&pool);
  // The pool's limit.
  pool = (struct pool){ .limit_bytes = 10000 };
  buf_clear(&text);
  buf_text(&text, "[");
  for (int i = 0; i < 1000; i++) buf_text(&text, "1,");
  buf_text(&text, "]");
  assert_int_equal(parse(&pool, text.data, &value, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "too large"));
  pool_fini(&pool);
  pool = (struct pool){ 0 };
  buf_clear(&text);
  buf_text(&text, "[");
  for (int i = 0; i < 100001; i++) buf_text(&text, "1,");
  assert_int_equal(parse(&pool, text.data, &value, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "more than 100000 values"));
  pool_fini(&pool);
  // Many keys in reasonable time, many bytes not at all.
  buf_clear(&text);
  for (int i = 0; i < 40000; i++) buf_printf(&text, "key%d: 1\n", i);
  assert_int_equal(parse(&pool, text.data, &value, &status), 0);
  assert_int_equal(value.table.count, 40000);
  pool_fini(&pool);
  buf_clear(&text);
  for (int i = 0; i < 500000; i++) buf_text(&text, "# comment");
  assert_int_equal(parse(&pool, text.data, &value, &status), NINES_ELIMIT);
  pool_fini(&pool);
  buf_free(&text);
}

static void test_out_of_memory(void **state)
{
  (void)state;
  const char *text = "a: &a {x: [1, 2, 3]}\nb:\n  <<: *a\n  y: text\n";
  for (long n = 1; n < 100; n++) {
    struct pool pool = { 0 };
    struct value value;
    mem_fail_at(n, 1);
    int code = parse(&pool, text, &value, NULL);
    mem_fail_at(0, 0);
    pool_fini(&pool);
    if (code != 0) continue;
    print_message("%ld allocations\n", n - 1);
    return;
  }
  fail_msg("never succeeds");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_scalars),       cmocka_unit_test(test_collections), cmocka_unit_test(test_aliases_and_merges),
    cmocka_unit_test(test_lines),         cmocka_unit_test(test_refused),     cmocka_unit_test(test_bounds),
    cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
