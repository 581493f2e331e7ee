// Conditions: what the grammar takes and refuses (with the sentence), what the units make of it, and random conditions
// against a tree that is evaluated the plain way.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "duration.h"
#include "expr.h"
#include "mem.h"
#include "rng.h"

static struct expr *compile(const char *text)
{
  struct expr *expr;
  struct status status = { 0 };
  if (expr_compile(&expr, view_of(text), &status) != 0) fail_msg("%s: %s", text, status.text);
  return expr;
}

// Fields for the tables below: a name and its value; NaN is no data.
struct fact {
  const char *name;
  double value;
};
static const struct fact facts[] = {
  { "one", 1 },        { "two", 2 },     { "three", 3 },           { "zero", 0 },       { "none", NAN },
  { "p95", 0.5 },      { "p50", 0.1 },   { "success_rate", 99.5 }, { "error_rate", 4 }, { "budget_left", 80 },
  { "requests", 100 }, { "burn", 14.4 }, { "usage", 0.8 },
};

struct reading {
  const struct expr *expr;
  int reads;
};

static bool read_fact(void *userdata, uint32_t index, double *out)
{
  struct reading *reading = userdata;
  const struct expr_field *field = expr_field_at(reading->expr, index);
  reading->reads++;
  for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
    if (strcmp(facts[i].name, field->name) != 0) continue;
    // A baseline is half of the present.
    *out = field->object != NULL ? facts[i].value / 2 : facts[i].value;
    return !isnan(facts[i].value);
  }
  fail_msg("no fact %s", field->name);
  return false;
}

static enum truth eval_counting(const char *text, int *reads)
{
  struct expr *expr = compile(text);
  struct reading reading = { expr, 0 };
  enum truth truth = expr_eval(expr, read_fact, &reading);
  *reads = reading.reads;
  expr_free(expr);
  return truth;
}

static const char *const truth_words[] = { "false", "true", "unknown" };

static void expect_truth(const char *text, enum truth expected)
{
  int reads;
  enum truth truth = eval_counting(text, &reads);
  if (truth != expected) fail_msg("%s: %s instead of %s", text, truth_words[truth], truth_words[expected]);
}

static void test_values(void **state)
{
  (void)state;
  static const char *const holds[] = {
    "true",
    "not false",
    "1 < 2",
    "2 <= 2",
    "2>1",
    "2 >= 2",
    "0.1 + 0.2 != 0.3",
    "0.5 == 0.5",
    "1 + 2 * 3 == 7",
    "(1 + 2) * 3 == 9",
    "10 - 4 - 3 == 3",
    "100 / 10 / 2 == 5",
    "-2 * 3 == -6",
    "3 - -2 == 5",
    "-(one + two) == -3",
    "-one < zero",
    "1e3 == 1000 and 2.5E-1 == 0.25",
    "one + two * three == 7",
    "one < two and two < three",
    "one > two or two < three",
    "false and false or true",
    "true or false and false",
    "not one > two and true",
    "not (one < two and false)",
    "(one < two) and ((three)) > 2",
    "\n one\t< \r\n two ",
    "p95 > 499ms and p95 < 501ms",
    "p95 == 0.5s",
    "p95 > 0.1s + 300ms",
  };
  for (size_t i = 0; i < sizeof holds / sizeof holds[0]; i++) expect_truth(holds[i], TRUTH_TRUE);
  expect_truth("one + one == three", TRUTH_FALSE);
  expect_truth("not true", TRUTH_FALSE);
  expect_truth("1h 30m == 5400s", TRUTH_TRUE);
  expect_truth("5min == 300s", TRUTH_TRUE);
}

static void test_units(void **state)
{
  (void)state;
  static const char *const holds[] = {
    "success_rate == 99.5",
    "success_rate == 99.5%",
    "99.5 % == success_rate",
    "success_rate < 100% - 0.4%",
    "success_rate == 2 * 49.75%",
    "success_rate == 199% / 2",
    "budget_left < 80% + 1%",
    "usage == 80%",
    "usage >= 80% and usage > 79.9%",
    "usage - 5% < 0.76",
    "50% * requests == 50",
    "requests * 50% == 50",
    "requests / 50% == 200",
    "50% == 0.5 * 100%",
    "40% / 20% == 2",
    "40% * 50% == 20%",
    "error_rate == 2 * baseline.error_rate",
    "error_rate > 150% * baseline.error_rate",
    "error_rate / baseline.error_rate == 2",
    "error_rate / baseline.error_rate > 150%",
    "error_rate - 1 == 3%",
    "-error_rate == -4%",
    "p95 == 2 * baseline.p95",
    "p95 / 2 == 250ms",
    "p95 - p50 > 399ms",
    "p95 / p50 > 4.9",
    "p95 / 1s == 0.5",
    "p95 > 50% * 900ms",
    "usage > 700ms",
    "usage * 1s == 800ms",
    "p95 < usage",
    "burn > 14.3",
    "-40% == 0 - usage / 2",
  };
  for (size_t i = 0; i < sizeof holds / sizeof holds[0]; i++) expect_truth(holds[i], TRUTH_TRUE);
}

static void test_kleene(void **state)
{
  (void)state;
  static const char *const words[] = { "zero == 1", "zero == 0", "none == 0" };
  static const enum truth and[3][3] = { { TRUTH_FALSE, TRUTH_FALSE, TRUTH_FALSE },
                                        { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN },
                                        { TRUTH_FALSE, TRUTH_UNKNOWN, TRUTH_UNKNOWN } };
  static const enum truth or [3][3] = { { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN },
                                        { TRUTH_TRUE, TRUTH_TRUE, TRUTH_TRUE },
                                        { TRUTH_UNKNOWN, TRUTH_TRUE, TRUTH_UNKNOWN } };
  static const enum truth not [3] = { TRUTH_TRUE, TRUTH_FALSE, TRUTH_UNKNOWN };
  char text[100];
  for (int a = 0; a < 3; a++) {
    snprintf(text, sizeof text, "not %s", words[a]);
    expect_truth(text, not [a]);
    for (int b = 0; b < 3; b++) {
      snprintf(text, sizeof text, "%s and %s", words[a], words[b]);
      expect_truth(text, and[a][b]);
      snprintf(text, sizeof text, "%s or %s", words[a], words[b]);
      expect_truth(text, or [a][b]);
    }
  }
}

static void test_unknown_spreads(void **state)
{
  (void)state;
  static const char *const unknown[] = {
    "none > 1",       "none == none",     "none != none", "none + 1 > 0",    "0 * none == 0",   "-none < 0",
    "one / zero > 0", "zero / zero == 0", "1 / 0 > 0",    "40% / 0 > usage", "one - none == 1",
  };
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) expect_truth(unknown[i], TRUTH_UNKNOWN);
}

static void test_reads_what_it_needs(void **state)
{
  (void)state;
  int reads;
  assert_int_equal(eval_counting("zero > one and two > three", &reads), TRUTH_FALSE);
  assert_int_equal(reads, 2);
  assert_int_equal(eval_counting("zero < one or two > three", &reads), TRUTH_TRUE);
  assert_int_equal(reads, 2);
  assert_int_equal(eval_counting("none > one and two > three", &reads), TRUTH_FALSE);
  assert_int_equal(reads, 4);
  assert_int_equal(eval_counting("zero > 1 and one > 1 and two > 1 or three > 1", &reads), TRUTH_TRUE);
  assert_int_equal(reads, 2);
}

static void expect_field(const struct expr *expr, uint32_t index, struct expr_field expected)
{
  const struct expr_field *field = expr_field_at(expr, index);
  assert_string_equal(field->name, expected.name);
  assert_string_equal(field->object != NULL ? field->object : "-", expected.object != NULL ? expected.object : "-");
  assert_string_equal(field->labels != NULL ? field->labels : "-", expected.labels != NULL ? expected.labels : "-");
  assert_int_equal(field->window_ns, expected.window_ns);
  assert_int_equal(field->column, expected.column);
}

static void test_fields(void **state)
{
  (void)state;
  struct expr *expr = compile("p95(1m) > 500ms and payment_processing.error_rate > 2 * baseline.error_rate and "
                              "cpu{region=\"eu\", az = \"a\\\"}\"}(1h30m) > 1 and p95 > 1s and p95 ( 1min ) < 2s and "
                              "cpu{az=\"a\\\"}\",region=\"eu\"}(90m) < 5 for 5m");
  assert_int_equal(expr_field_count(expr), 5);
  expect_field(expr, 0, (struct expr_field){ NULL, "p95", NULL, NS_PER_MIN, 1 });
  expect_field(expr, 1, (struct expr_field){ "payment_processing", "error_rate", NULL, 0, 21 });
  expect_field(expr, 2, (struct expr_field){ "baseline", "error_rate", NULL, 0, 57 });
  expect_field(expr, 3, (struct expr_field){ NULL, "cpu", "az=\"a\\\"}\",region=\"eu\"", 90 * NS_PER_MIN, 81 });
  expect_field(expr, 4, (struct expr_field){ NULL, "p95", NULL, 0, 126 });
  assert_int_equal(expr_for_ns(expr), 5 * NS_PER_MIN);
  expr_free(expr);
  expr = compile("true");
  assert_int_equal(expr_field_count(expr), 0);
  assert_int_equal(expr_for_ns(expr), 0);
  assert_string_equal(expr_text(expr), "true");
  expr_free(expr);
  expr_free(NULL);
}

static void test_sentences(void **state)
{
  (void)state;
  static const struct {
    const char *text, *sentence;
  } cases[] = {
    { "p95 > 500", "column 1: \"p95 > 500\" compares a latency with a bare number; write 500ms" },
    { "true and 0.5 < p95", "column 10: \"0.5 < p95\" compares a bare number with a latency; write 0.5s" },
    { "p95 > 80%", "column 1: \"p95 > 80%\" compares a latency with a percentage; both sides need the same unit" },
    { "p95 > requests", "column 1: \"p95 > requests\" compares a latency with a number; both sides need the same unit; "
                        "divide by 1s to get a plain number" },
    { "requests > 5s", "column 1: \"requests > 5s\" compares a number with a duration; both sides need the same unit; "
                       "divide by 1s to get a plain number" },
    { "p95 > error_rate",
      "column 1: \"p95 > error_rate\" compares a latency with a percentage; both sides need the same unit" },
    { "p95 + 5 > 1s", "column 1: \"p95 + 5\" mixes a latency and a bare number; write 5s" },
    { "p95 * p50 > 1s",
      "column 1: \"p95 * p50\" multiplies a latency by a latency; one of them must be a plain number" },
    { "requests / 60s > 5",
      "column 1: \"requests / 60s\" divides a number by a duration; divide by a plain number or by the same" },
    { "error_rate / 50% > 1", "column 1: \"error_rate / 50%\" divides a percentage by a percentage; write the literal "
                              "as a bare number: it could mean 80 or 0.8" },
    { "success_rate < 100% - 0.5",
      "column 16: \"100% - 0.5\" mixes a percentage and a bare number; write both with % or both without" },
    { "p95", "column 1: \"p95\" is a number where a truth is needed; compare it, with one of < <= > >= == !=" },
    { "one > 1 and (two + 1)",
      "column 13: \"(two + 1)\" is a number where a truth is needed; compare it, with one of < <= > >= == !=" },
    { "not one", "column 5: \"one\" is a number where a truth is needed; compare it, with one of < <= > >= == !=" },
    { "(one > 1) + 1 > 2",
      "column 1: \"(one > 1)\" is a truth where a number is needed; join truths with and, or, not" },
    { "-(one > 1) > 2", "column 2: \"(one > 1)\" is a truth where a number is needed; join truths with and, or, not" },
    { "1 < one < 3", "column 9: comparisons do not chain; write \"a < b and b < c\" instead of \"a < b < c\"" },
    { "", "column 1: the condition ends here; expected a number, a field or (" },
    { "one >", "column 6: the condition ends here; expected a number, a field or (" },
    { "one > > 2", "column 7: found >; expected a number, a field or (" },
    { "one > 1 adn two > 1",
      "column 9: found adn; expected an operator, and, or, for, or the end (did you mean \"and\"?)" },
    { "one > 1 OR two > 1",
      "column 9: found OR; expected an operator, and, or, for, or the end (did you mean \"or\"?)" },
    { "one > 1 && two > 1", "column 9: && is not known here; write and" },
    { "one > 1 || two > 1", "column 9: || is not known here; write or" },
    { "!one > 1", "column 1: ! is not known here; write not" },
    { "one <> 1", "column 5: <> is not known here; write !=" },
    { "one = 1", "column 5: found =; expected an operator, and, or, for, or the end; a comparison is written ==" },
    { "one ~ 1", "column 5: the character ~ has no meaning here" },
    { "one \xff 1", "column 5: the byte 0xff has no meaning outside a label's text" },
    { "(one > 1", "column 9: the condition ends here; expected an operator or )" },
    { "one > 1)", "column 8: found ); expected an operator, and, or, for, or the end" },
    { "p95(60) > 1s", "column 5: a window needs a unit; write (60s) or (60m)" },
    { "p95(0s) > 1s", "column 5: a window must be longer than nothing; write 1m" },
    { "p95(x) > 1s", "column 5: found x; expected a window as (5m)" },
    { "p95(5m > 1s", "column 8: found >; expected ) after the window" },
    { "a. > 1", "column 4: found >; expected the name of a field after the dot" },
    { "a{} > 1", "column 3: found }; expected the name of a label, as in {region=\"eu\"}" },
    { "a{b} > 1", "column 4: found }; expected = after the label's name" },
    { "a{b=c} > 1", "column 5: found c; expected the label's text in double quotes" },
    { "a{b=\"c\" > 1", "column 9: found >; expected a comma or }" },
    { "a{b=\"c} > 1", "column 5: the text has no closing \"" },
    { "a{b=\"\\x\"} > 1", "column 6: an unknown escape; allowed are \\\" \\\\ and \\n" },
    { "a{b=\"\n\"} > 1", "column 6: a control character in a label's text; write \\n for a newline" },
    { "a{b=\"1\",b=\"2\"} > 1", "column 2: the label b stands here twice" },
    { "one > 1 for", "column 12: the condition ends here; expected a duration as 5m after \"for\"" },
    { "one > 1 for 5", "column 13: \"for\" needs a unit; write for 5s or for 5m" },
    { "one > 1 for 5m and two > 1", "column 16: found and; expected nothing after the duration: \"for\" holds for the "
                                    "whole condition and comes last" },
    { "one > 1e999", "column 7: the number is too large" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct expr *expr;
    struct status status = { 0 };
    assert_int_equal(expr_compile(&expr, view_of(cases[i].text), &status), NINES_EINVAL);
    assert_null(expr);
    assert_string_equal(status.text, cases[i].sentence);
  }
  struct expr *expr;
  struct status status = { 0 };
  assert_int_equal(expr_compile(&expr, view_of("p95 > 5parsecs"), &status), NINES_EINVAL);
  assert_memory_equal(status.text, "column 7: ", 10);
  assert_int_equal(expr_compile(&expr, (struct view){ "one\0> 1", 7 }, &status), NINES_EINVAL);
  // Without a place for the sentence.
  assert_int_equal(expr_compile(&expr, view_of("p95 > 5parsecs"), NULL), NINES_EINVAL);
  assert_int_equal(expr_compile(&expr, view_of("p95 > 500"), NULL), NINES_EINVAL);
}

static int compile_repeated(const char *first, const char *repeated, int count, const char *last)
{
  struct buf text = { 0 };
  struct status status;
  struct expr *expr;
  buf_text(&text, first);
  for (int i = 0; i < count; i++) buf_text(&text, repeated);
  buf_text(&text, last);
  int code = expr_compile(&expr, buf_view(&text), &status);
  if (code == 0) (void)expr_eval(expr, read_fact, &(struct reading){ expr, 0 });
  expr_free(expr);
  buf_free(&text);
  return code;
}

static void test_limits(void **state)
{
  (void)state;
  assert_int_equal(compile_repeated("true", " ", 996, ""), 0);
  assert_int_equal(compile_repeated("true", " ", 997, ""), NINES_ELIMIT);
  assert_int_equal(compile_repeated("", "(", 32, "true))))))))))))))))))))))))))))))))"), 0);
  assert_int_equal(compile_repeated("", "(", 33, "true)))))))))))))))))))))))))))))))))"), NINES_EINVAL);
  assert_int_equal(compile_repeated("", "(", 1000, ""), NINES_EINVAL);
  assert_int_equal(compile_repeated("", "one+", 62, "1 > 2"), 0); // 64 + 62 + 2 = 127 nodes and one spare
  assert_int_equal(compile_repeated("", "one+", 63, "1 > 2"), NINES_EINVAL);
  assert_int_equal(compile_repeated("true", " or true", 63, ""), 0);
  assert_int_equal(compile_repeated("true", " or true", 64, ""), NINES_EINVAL);
  assert_int_equal(compile_repeated("a{", "b=\"\",", 16, "c=\"\"} > 1"), NINES_EINVAL);
  // The longest strings a text can hold.
  assert_int_equal(compile_repeated("a", "a", 990, ".one > 1"), 0);
}

static void test_out_of_memory(void **state)
{
  (void)state;
  struct expr *expr;
  struct status status;
  mem_fail_at(1, 0);
  assert_int_equal(expr_compile(&expr, view_of("one > 1"), &status), NINES_ENOMEM);
  assert_null(expr);
  mem_fail_at(0, 0);
}

static void test_hold(void **state)
{
  (void)state;
  struct expr *expr = compile("one > 1 for 10s");
  int64_t since = EXPR_HOLD_START, s = NS_PER_S;
  assert_int_equal(expr_hold(expr, TRUTH_FALSE, 1 * s, &since), TRUTH_FALSE);
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 2 * s, &since), TRUTH_FALSE);
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 12 * s - 1, &since), TRUTH_FALSE);
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 12 * s, &since), TRUTH_TRUE);
  assert_int_equal(expr_hold(expr, TRUTH_UNKNOWN, 13 * s, &since), TRUTH_UNKNOWN);
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 14 * s, &since), TRUTH_TRUE);
  assert_int_equal(expr_hold(expr, TRUTH_FALSE, 15 * s, &since), TRUTH_FALSE);
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 16 * s, &since), TRUTH_FALSE);
  // Time that was stored before a restart of the machine, and rubbish.
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 3 * s, &since), TRUTH_FALSE);
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 13 * s, &since), TRUTH_TRUE);
  since = INT64_MIN + 1;
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, INT64_MAX, &since), TRUTH_TRUE);
  expr_free(expr);
  expr = compile("one > 1");
  since = EXPR_HOLD_START;
  assert_int_equal(expr_hold(expr, TRUTH_TRUE, 0, &since), TRUTH_TRUE);
  expr_free(expr);
}

// The oracle: a random condition is written out and evaluated at the same time, number by number. `known` is false for
// unknown. Parentheses are written everywhere but where precedence is to be shown, so the two agree on the tree.
struct oracle {
  struct rng rng;
  struct buf text;
  double values[8];
  bool known[8];
  int room; // operators that may still be written
};
struct value {
  bool known;
  double number;
};

struct oracle_reading {
  const struct expr *expr;
  const struct oracle *oracle;
};

static bool read_oracle(void *userdata, uint32_t index, double *out)
{
  const struct oracle_reading *reading = userdata;
  int field = expr_field_at(reading->expr, index)->name[1] - '0';
  *out = reading->oracle->values[field];
  return reading->oracle->known[field];
}

static struct value random_leaf(struct oracle *oracle)
{
  if (rng_below(&oracle->rng, 3) == 0) {
    unsigned number = (unsigned)rng_below(&oracle->rng, 5);
    buf_printf(&oracle->text, "%u", number);
    return (struct value){ true, number };
  }
  unsigned index = (unsigned)rng_below(&oracle->rng, 8);
  buf_printf(&oracle->text, "f%u", index);
  return (struct value){ oracle->known[index], oracle->values[index] };
}

static struct value random_number(struct oracle *oracle, int level);

static struct value random_factor(struct oracle *oracle)
{
  if (rng_below(&oracle->rng, 6) == 0 && oracle->room-- > 0) {
    buf_text(&oracle->text, "-");
    struct value value = random_leaf(oracle);
    value.number = -value.number;
    return value;
  }
  if (rng_below(&oracle->rng, 4) == 0 && oracle->room > 0) {
    buf_text(&oracle->text, "(");
    struct value value = random_number(oracle, 0);
    buf_text(&oracle->text, ")");
    return value;
  }
  return random_leaf(oracle);
}

// Level 0: a sum of products; level 1: a product.
static struct value random_number(struct oracle *oracle, int level)
{
  struct value left = level == 0 ? random_number(oracle, 1) : random_factor(oracle);
  while (rng_below(&oracle->rng, 3) == 0 && oracle->room-- > 0) {
    bool second = rng_below(&oracle->rng, 2) == 0;
    buf_text(&oracle->text, level == 0 ? second ? " - " : " + " : second ? "/" : "*");
    struct value right = level == 0 ? random_number(oracle, 1) : random_factor(oracle);
    left.known = left.known && right.known;
    if (level == 0)
      left.number = second ? left.number - right.number : left.number + right.number;
    else if (!second)
      left.number = left.number * right.number;
    else if (right.number == 0)
      left.known = false;
    else
      left.number = left.number / right.number;
  }
  return left;
}

static enum truth random_truth(struct oracle *oracle, int level);

static enum truth random_comparison(struct oracle *oracle)
{
  static const char *const ops[] = { " < ", "<=", ">", " >= ", "==", " != " };
  if (rng_below(&oracle->rng, 4) == 0 && oracle->room > 0) {
    buf_text(&oracle->text, "(");
    enum truth truth = random_truth(oracle, 0);
    buf_text(&oracle->text, ")");
    return truth;
  }
  oracle->room--;
  struct value a = random_number(oracle, 0);
  unsigned op = (unsigned)rng_below(&oracle->rng, 6);
  buf_text(&oracle->text, ops[op]);
  struct value b = random_number(oracle, 0);
  if (!a.known || !b.known) return TRUTH_UNKNOWN;
  double x = a.number, y = b.number;
  bool results[] = { x<y, x <= y, x> y, x >= y, x == y, x != y };
  return results[op] ? TRUTH_TRUE : TRUTH_FALSE;
}

// Level 0: or; 1: and; 2: not.
static enum truth random_truth(struct oracle *oracle, int level)
{
  if (level == 2) {
    bool negate = rng_below(&oracle->rng, 4) == 0 && oracle->room-- > 0;
    if (negate) buf_text(&oracle->text, "not ");
    enum truth truth = random_comparison(oracle);
    if (!negate || truth == TRUTH_UNKNOWN) return truth;
    return truth == TRUTH_TRUE ? TRUTH_FALSE : TRUTH_TRUE;
  }
  enum truth decides = level == 0 ? TRUTH_TRUE : TRUTH_FALSE;
  enum truth left = random_truth(oracle, level + 1);
  while (rng_below(&oracle->rng, 3) == 0 && oracle->room-- > 0) {
    buf_text(&oracle->text, level == 0 ? " or " : " and ");
    enum truth right = random_truth(oracle, level + 1);
    if (left == decides || right == decides)
      left = decides;
    else if (left == TRUTH_UNKNOWN || right == TRUTH_UNKNOWN)
      left = TRUTH_UNKNOWN;
  }
  return left;
}

static void test_like_the_oracle(void **state)
{
  (void)state;
  const char *given = getenv("NINES_TEST_SEED");
  uint64_t seed = given != NULL ? strtoul(given, NULL, 10) : (unsigned)getpid();
  print_message("NINES_TEST_SEED=%lu\n", (unsigned long)seed);
  struct oracle oracle = { 0 };
  rng_init(&oracle.rng, seed, "test");
  int seen[3] = { 0 }, too_large = 0;
  for (int round = 0; round < 20000; round++) {
    buf_clear(&oracle.text);
    oracle.room = (int)rng_below(&oracle.rng, 40);
    for (int i = 0; i < 8; i++) {
      oracle.values[i] = (double)rng_below(&oracle.rng, 7) - 3;
      oracle.known[i] = rng_below(&oracle.rng, 8) != 0;
    }
    enum truth expected = random_truth(&oracle, 0);
    struct expr *expr;
    struct status status = { 0 };
    if (expr_compile(&expr, buf_view(&oracle.text), &status) != 0) {
      if (strstr(status.text, "more than 128") == NULL && strstr(status.text, "bytes; at most") == NULL)
        fail_msg("%s: %s", oracle.text.data, status.text);
      too_large++;
      continue;
    }
    struct oracle_reading reading = { expr, &oracle };
    enum truth truth = expr_eval(expr, read_oracle, &reading);
    if (truth != expected)
      fail_msg("%s: %s instead of %s", oracle.text.data, truth_words[truth], truth_words[expected]);
    seen[truth]++;
    expr_free(expr);
  }
  print_message("%d true, %d false, %d unknown, %d over the limits\n", seen[TRUTH_TRUE], seen[TRUTH_FALSE],
                seen[TRUTH_UNKNOWN], too_large);
  buf_free(&oracle.text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_values),
    cmocka_unit_test(test_units),
    cmocka_unit_test(test_kleene),
    cmocka_unit_test(test_unknown_spreads),
    cmocka_unit_test(test_fields),
    cmocka_unit_test(test_reads_what_it_needs),
    cmocka_unit_test(test_sentences),
    cmocka_unit_test(test_limits),
    cmocka_unit_test(test_hold),
    cmocka_unit_test(test_out_of_memory),
    cmocka_unit_test(test_like_the_oracle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
