// schema: what is taken, what is refused, and in which words.
#include "schema.h"

#include <math.h>

#include "duration.h"
#include "mem.h"
#include "spec.h"

struct path {
  const char *name;
  double success_rate;
  int64_t latency, window, seed_ms, requests, handler;
  double share, weight;
  bool on;
  int severity;
  struct view_list tags;
  const struct value *extra;
};

static const char *const severities[] = { "low", "high", "critical", NULL };
static const struct schema_field fields[] = {
  { .key = "name", .type = SCHEMA_TEXT, .offset = offsetof(struct path, name) },
  { .key = "success_rate",
    .alias = "availability sr",
    .type = SCHEMA_PERCENT,
    .required = true,
    .min = 50,
    .max = 100,
    .offset = offsetof(struct path, success_rate) },
  { .key = "latency_p95", .type = SCHEMA_LATENCY, .offset = offsetof(struct path, latency) },
  { .key = "window",
    .type = SCHEMA_INTERVAL,
    .min = (double)NS_PER_S,
    .max = (double)NS_PER_DAY,
    .fallback = "5m",
    .offset = offsetof(struct path, window) },
  { .key = "timeout_ms", .type = SCHEMA_MS, .fallback = "250", .offset = offsetof(struct path, seed_ms) },
  { .key = "min_requests",
    .type = SCHEMA_INTEGER,
    .min = 1,
    .fallback = "100",
    .offset = offsetof(struct path, requests) },
  { .key = "share", .type = SCHEMA_FRACTION, .fallback = "25%", .offset = offsetof(struct path, share) },
  { .key = "weight", .type = SCHEMA_NUMBER, .offset = offsetof(struct path, weight) },
  { .key = "on", .type = SCHEMA_BOOL, .fallback = "true", .offset = offsetof(struct path, on) },
  { .key = "severity",
    .type = SCHEMA_CHOICE,
    .choices = severities,
    .fallback = "high",
    .offset = offsetof(struct path, severity) },
  { .key = "tags", .type = SCHEMA_WORDS, .offset = offsetof(struct path, tags) },
  { .key = "extra", .type = SCHEMA_VALUE, .offset = offsetof(struct path, extra) },
  { .key = "on_breach", .type = SCHEMA_FUNCTION, .offset = offsetof(struct path, handler) },
  { 0 },
};

#define WHERE "policies/pay.lua:3: critical_path \"payments\""

static struct pool pool;
static struct status status;
static struct path path;

static int fini(void **state)
{
  (void)state;
  pool_fini(&pool);
  return 0;
}

// Decodes { success_rate = 99.9, [key] = value }.
static int decode(const char *key, struct value value)
{
  struct value table = value_table();
  value_put(&pool, &table, "success_rate", value_number(99.9));
  if (key) value_put(&pool, &table, key, value);
  status = (struct status){ 0 };
  path = (struct path){ .weight = 7, .handler = 99 };
  return schema_decode(fields, &table, &path, WHERE, &pool, &status);
}

static void takes(const char *key, struct value value)
{
  if (decode(key, value) != 0) fail_msg("%s", status.text);
}

static void refuses(const char *key, struct value value, const char *expected)
{
  assert_int_equal(decode(key, value), NINES_EINVAL);
  char whole[STATUS_TEXT_MAX];
  snprintf(whole, sizeof whole, "%s: %s", WHERE, expected);
  assert_string_equal(status.text, whole);
  const struct path untouched = { .weight = 7, .handler = 99 };
  assert_memory_equal(&path, &untouched, sizeof path);
}

static void test_defaults(void **state)
{
  (void)state;
  takes(NULL, value_nil());
  assert_true(path.success_rate == 99.9);
  assert_null(path.name);
  assert_true(path.window == 5 * NS_PER_MIN && path.seed_ms == 250 * NS_PER_MS);
  assert_true(path.requests == 100 && path.share == 0.25 && path.weight == 7 && path.on && path.severity == 1);
  assert_int_equal(path.handler, 0);
  takes("min_requests", value_nil()); // a key without a value
  assert_int_equal(path.requests, 100);
}

static void test_types(void **state)
{
  (void)state;
  char text[] = "payments";
  takes("name", value_text(text));
  text[0] = 'X';
  assert_string_equal(path.name, "payments");
  takes("latency_p95", value_text("1.5s"));
  assert_int_equal(path.latency, 1500 * NS_PER_MS);
  takes("window", value_integer(90));
  assert_int_equal(path.window, 90 * NS_PER_S);
  takes("window", value_text("1.5"));
  assert_int_equal(path.window, 1500 * NS_PER_MS);
  takes("timeout_ms", value_number(0.5));
  assert_int_equal(path.seed_ms, 500 * NS_PER_US);
  takes("timeout_ms", value_text("2s"));
  assert_int_equal(path.seed_ms, 2 * NS_PER_S);
  takes("min_requests", value_text("9007199254740993"));
  assert_int_equal(path.requests, 9007199254740993);
  takes("min_requests", value_number(12));
  assert_int_equal(path.requests, 12);
  takes("share", value_text("2.5%"));
  assert_true(path.share == 0.025);
  takes("share", value_number(0.3));
  assert_true(path.share == 0.3);
  takes("on", value_text("off"));
  assert_false(path.on);
  takes("severity", value_text("critical"));
  assert_int_equal(path.severity, 2);
  takes("on_breach", (struct value){ .type = VALUE_FUNCTION, .integer = 5 });
  assert_int_equal(path.handler, 5);
  takes("extra", value_list());
  assert_int_equal(path.extra->type, VALUE_LIST);
}

static void test_percent_and_alias(void **state)
{
  (void)state;
  const struct value forms[] = { value_number(99.5), value_text("99.5"), value_text("99.5%") };
  const char *const names[] = { "success_rate", "availability", "sr" };
  for (int i = 0; i < 9; i++) {
    struct value table = value_table();
    value_put(&pool, &table, names[i % 3], forms[i / 3]);
    assert_int_equal(schema_decode(fields, &table, &path, WHERE, &pool, &status), 0);
    assert_true(path.success_rate == 99.5);
  }
  refuses("sr", value_number(99), "sr: given twice (\"success_rate\" is the same setting)");
}

static void test_words(void **state)
{
  (void)state;
  struct value list = value_list();
  value_append(&pool, &list, value_text("eu"));
  value_append(&pool, &list, value_text("card"));
  takes("tags", list);
  assert_int_equal(path.tags.count, 2);
  assert_true(view_is(path.tags.items[1], "card"));
  takes("tags", value_text("eu"));
  assert_int_equal(path.tags.count, 1);
  takes("tags", value_table());
  assert_int_equal(path.tags.count, 0);
  value_append(&pool, &list, value_integer(3));
  refuses("tags", list, "tags: 3 is not a text or a list of texts");
}

static void test_refusals(void **state)
{
  (void)state;
  refuses("latency_p95", value_integer(500), "latency_p95: 500 is not a latency (write \"500ms\")");
  refuses("latency_p95", value_text("500"), "latency_p95: \"500\" is not a latency (write \"500ms\")");
  refuses("latency_p95", value_number(0.25), "latency_p95: 0.25 is not a latency (write \"250ms\")");
  refuses("latency_p95", value_text("5x"),
          "latency_p95: \"5x\" is not a duration: unknown unit; the units are ns us ms s m h d w");
  refuses("succes_rate", value_number(99), "succes_rate: unknown key (did you mean \"success_rate\"?)");
  refuses("colour", value_number(99),
          "colour: unknown key (known: name, success_rate, latency_p95, window, timeout_ms, min_requests, share, "
          "weight, on, severity, tags, extra, on_breach)");
  refuses("window", value_text("10ms"), "window: \"10ms\" is out of range (1s to 1d)");
  refuses("window", value_integer(-5), "window: -5 is out of range (1s to 1d)");
  refuses("window", value_number(1e300), "window: 1e+300 is not a duration below 100 years");
  refuses("min_requests", value_integer(0), "min_requests: 0 is out of range (at least 1)");
  refuses("min_requests", value_number(1.5), "min_requests: 1.5 is not a whole number");
  refuses("min_requests", value_text("0x10"), "min_requests: \"0x10\" is not a whole number");
  refuses("share", value_integer(25), "share: 25 is out of range (0 to 1); write \"25%\" if percent was meant");
  refuses("weight", value_number((double)NAN), "weight: nan is not a number");
  refuses("weight", value_text("inf"), "weight: \"inf\" is not a number");
  refuses("on", value_text("maybe"), "on: \"maybe\" is not true or false");
  refuses("severity", value_text("hihg"),
          "severity: \"hihg\" is not one of low, high, critical (did you mean \"high\"?)");
  refuses("severity", value_integer(1), "severity: 1 is not one of low, high, critical");
  refuses("name", value_integer(5), "name: 5 is not a text (put it in quotes)");
  refuses("name", value_view((struct view){ "a\0b", 3 }), "name: the text has a NUL byte in it");
  refuses("on_breach", value_text("x"), "on_breach: \"x\" is not a function");
  refuses("success_rate", value_text("most"), "success_rate: \"most\" is not a percentage (write 99.9 or \"99.9%\")");
  refuses("success_rate", value_integer(10), "success_rate: 10 is out of range (50 to 100)");
}

static void test_lines_and_missing(void **state)
{
  (void)state;
  struct value late = value_integer(500);
  late.line = 12;
  refuses("latency_p95", late, "line 12: latency_p95: 500 is not a latency (write \"500ms\")");
  struct value table = value_table();
  table.line = 4;
  assert_int_equal(schema_decode(fields, &table, &path, "nines.yaml", &pool, &status), NINES_EINVAL);
  assert_string_equal(status.text, "nines.yaml: line 4: success_rate: missing, and required");
  assert_int_equal(schema_decode(fields, NULL, &path, "", &pool, &status), NINES_EINVAL);
  assert_string_equal(status.text, "success_rate: missing, and required");
  struct value number = value_integer(3);
  assert_int_equal(schema_decode(fields, &number, &path, "nines.yaml", &pool, NULL), NINES_EINVAL);
  assert_int_equal(schema_decode(fields, &number, &path, "nines.yaml", &pool, &status), NINES_EINVAL);
  assert_string_equal(status.text, "nines.yaml: 3 is not a table of settings");
}

static void test_out_of_memory(void **state)
{
  (void)state;
  struct pool small = { .limit_bytes = 32 };
  struct value table = value_table();
  value_put(&pool, &table, "success_rate", value_number(99));
  path = (struct path){ .weight = 3 };
  assert_int_equal(schema_decode(fields, &table, &path, WHERE, &small, &status), NINES_ENOMEM);
  assert_true(path.weight == 3 && path.success_rate == 0);
  pool_fini(&small);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(test_defaults, fini),          cmocka_unit_test_teardown(test_types, fini),
    cmocka_unit_test_teardown(test_percent_and_alias, fini), cmocka_unit_test_teardown(test_words, fini),
    cmocka_unit_test_teardown(test_refusals, fini),          cmocka_unit_test_teardown(test_lines_and_missing, fini),
    cmocka_unit_test_teardown(test_out_of_memory, fini),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
