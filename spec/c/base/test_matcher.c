// Matchers in the forms that amtool sends, and what they match.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "matcher.h"

static bool matches(const char *text, const char *value)
{
  struct matcher *matcher;
  struct status status = { 0 };
  assert_int_equal(matcher_parse(&matcher, view_of(text), &status), 0);
  bool result = matcher_matches(matcher, view_of(value));
  matcher_free(matcher);
  return result;
}

static void test_forms(void **state)
{
  (void)state;
  struct matcher *matcher;
  struct status status = { 0 };
  assert_int_equal(matcher_parse(&matcher, view_of("\"a.b\" !~ \"x=y\""), &status), 0);
  assert_string_equal(matcher_name(matcher), "a.b");
  assert_string_equal(matcher_value(matcher), "x=y");
  assert_true(matcher_is_regex(matcher));
  assert_false(matcher_is_equal(matcher));
  matcher_free(matcher);
  assert_true(matches("a=b", "b"));
  assert_true(matches("a=\"b\"", "b"));
  assert_false(matches("a!=b", "b"));
  assert_true(matches("a=", "")); // a missing label is an empty one
  assert_true(matches("a!=b", ""));
}

static void test_expressions_are_anchored(void **state)
{
  (void)state;
  assert_true(matches("a=~b|c", "c"));
  assert_false(matches("a=~b|c", "bc"));
  assert_false(matches("a=~b", "ab"));
  assert_true(matches("a=~.*", ""));
  assert_true(matches("a!~b.+", "b"));
  assert_true(matches("a=~", ""));
  assert_false(matches("a=~", "b"));
}

static void test_refused(void **state)
{
  (void)state;
  static const char *const wrong[] = { "", "a", "=b", "a!b", "a=~(", "a=~[", "\"\"=b" };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct matcher *matcher;
    struct status status = { 0 };
    assert_int_equal(matcher_parse(&matcher, view_of(wrong[i]), &status), NINES_EINVAL);
    assert_null(matcher);
    assert_true(status.text[0]);
  }
  char longer[MATCHER_REGEX_MAX + 10] = "a=~";
  memset(longer + 3, 'x', sizeof longer - 4);
  struct matcher *matcher;
  struct status status = { 0 };
  assert_int_equal(matcher_parse(&matcher, view_of(longer), &status), NINES_EINVAL);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms), cmocka_unit_test(test_expressions_are_anchored),
                                      cmocka_unit_test(test_refused) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
