// duration: the grammar, its refusals, and round trips over random nanoseconds.
#include "duration.h"

#include "spec.h"

static void reads(const char *text, int64_t expected)
{
  struct status status = { 0 };
  int64_t ns = -1;
  if (duration_parse(view_of(text), &ns, &status) != 0) fail_msg("%s", status.text);
  if (ns != expected) fail_msg("%s reads as %lld", text, (long long)ns);
}

static void refuses(const char *text, const char *why)
{
  struct status status = { 0 };
  int64_t ns = -1;
  assert_int_equal(duration_parse(view_of(text), &ns, &status), NINES_EINVAL);
  assert_int_equal(ns, -1);
  if (!strstr(status.text, why)) fail_msg("\"%s\" does not say \"%s\"", status.text, why);
}

static void test_parse(void **state)
{
  (void)state;
  reads("1h30m", 90 * NS_PER_MIN);
  reads("1h 30m", 90 * NS_PER_MIN);
  reads("250ms", 250 * NS_PER_MS);
  reads("0s", 0);
  reads("1.5h", 90 * NS_PER_MIN);
  reads("0.1s", 100 * NS_PER_MS);
  reads("2w", 14 * NS_PER_DAY);
  reads("5minutes", 5 * NS_PER_MIN);
  reads("1day2hours", 26 * NS_PER_H);
  reads("0.5ns", 1);
  reads("0.4999999999999999999999999ns", 0);
  reads("36525d", DURATION_MAX_NS);
  reads("3155760000000000000ns", DURATION_MAX_NS);
}

static void test_refusals(void **state)
{
  (void)state;
  refuses("", "empty");
  refuses("30", "unit is missing");
  refuses("-5s", "sign");
  refuses("5 s", "space before the unit");
  refuses("5s ", "a number with a unit");
  refuses("1h  30m", "a number with a unit");
  refuses("h", "a number with a unit");
  refuses(".5s", "a number with a unit");
  refuses("5.s", "a number with a unit");
  refuses("5x", "unknown unit");
  refuses("5S", "unknown unit");
  refuses("1e3s", "unknown unit");
  refuses("36525d1ns", "100 years");
  refuses("99999999999999999999999999999999w", "100 years");
  refuses("3155760000000000001ns", "100 years");
  refuses("1h\n", "a number with a unit");
}

static void writes(int64_t ns, const char *expected, const char *brief)
{
  char text[DURATION_TEXT_MAX];
  assert_string_equal(duration_format(ns, text), expected);
  assert_string_equal(duration_brief(ns, text), brief);
}

static void test_format(void **state)
{
  (void)state;
  writes(0, "0s", "0s");
  writes(1, "1ns", "1ns");
  writes(90 * NS_PER_MIN, "1h30m", "1.5h");
  writes(250 * NS_PER_MS, "250ms", "250ms");
  writes(1500 * NS_PER_MS, "1.5s", "1.5s");
  writes(1523 * NS_PER_MS, "1.523s", "1.52s");
  writes(NS_PER_H + 500 * NS_PER_MS, "1h500ms", "1h");
  writes(30 * NS_PER_DAY, "30d", "30d");
  writes(1200, "1.2us", "1.2us");
  writes(-90 * NS_PER_S, "-1m30s", "-1.5m");
  writes(999900 * NS_PER_US, "999.9ms", "1s");
  writes(59990 * NS_PER_MS, "59.99s", "1m");
  writes(9996, "9.996us", "10us");
  writes(36525 * NS_PER_DAY, "36525d", "36525d");
  writes(INT64_MIN, "-106751d23h47m16.854775808s", "-106752d");
}

static void test_round_trip(void **state)
{
  (void)state;
  struct rng rng = spec_rng("duration", 13);
  for (int i = 0; i < 200000; i++) {
    int64_t ns = (int64_t)rng_below(&rng, (uint64_t)DURATION_MAX_NS >> rng_below(&rng, 62));
    static const int64_t steps[] = { 1, NS_PER_MS, NS_PER_S, NS_PER_MIN, NS_PER_H };
    ns -= ns % steps[rng_below(&rng, 5)];
    char text[DURATION_TEXT_MAX], brief[DURATION_TEXT_MAX];
    reads(duration_format(ns, text), ns);
    int64_t near;
    assert_int_equal(duration_parse(view_of(duration_brief(ns, brief)), &near, NULL), 0);
    int64_t off = near > ns ? near - ns : ns - near;
    if (off > ns / 198 + 1) fail_msg("%s is given as %s", text, brief);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_parse),
    cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_format),
    cmocka_unit_test(test_round_trip),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
