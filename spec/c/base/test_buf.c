// buf: growth, sticky failure, JSON pieces, varints.
#include "buf.h"

#include <float.h>
#include <locale.h>
#include <math.h>

#include "mem.h"
#include "spec.h"

static void test_appends_match_oracle(void **state)
{
  (void)state;
  struct rng rng = spec_rng("buf", 2);
  static char oracle[200000];
  size_t size = 0;
  struct buf buf = { 0 };
  for (int i = 0; i < 4000; i++) {
    char piece[64];
    size_t length = rng_below(&rng, sizeof piece);
    for (size_t j = 0; j < length; j++) piece[j] = (char)rng_next(&rng);
    uint64_t what = rng_below(&rng, 10);
    if (what < 6) {
      buf_add(&buf, piece, length);
      memcpy(oracle + size, piece, length);
      size += length;
    } else if (what < 9) {
      buf_printf(&buf, "%0*d", (int)length + 1, i);
      size += (size_t)snprintf(oracle + size, sizeof oracle - size, "%0*d", (int)length + 1, i);
    } else {
      size_t drop = rng_below(&rng, 100);
      buf_drop_front(&buf, drop);
      drop = drop < size ? drop : size;
      memmove(oracle, oracle + drop, size - drop);
      size -= drop;
    }
    assert_int_equal(buf.size, size);
    if (buf.data) assert_int_equal(buf.data[size], 0);
  }
  assert_memory_equal(buf.data, oracle, size);
  buf_free(&buf);
  assert_true(view_is(buf_view(&buf), ""));
}

static void test_failure_is_sticky(void **state)
{
  (void)state;
  struct buf buf = { 0 };
  buf_text(&buf, "kept");
  mem_fail_at(1, 0);
  buf_printf(&buf, "%0200d", 1);
  assert_true(buf.failed);
  buf_text(&buf, "x");
  assert_string_equal(buf.data, "kept");
  buf_clear(&buf);
  buf_text(&buf, "again");
  assert_string_equal(buf.data, "again");
  assert_false(buf.failed);
  assert_false(buf_reserve(&buf, SIZE_MAX - 2));
  buf_free(&buf);
}

static void json_is(const char *bytes, size_t size, const char *expected)
{
  struct buf buf = { 0 };
  buf_json_text(&buf, (struct view){ bytes, size });
  assert_string_equal(buf.data, expected);
  buf_free(&buf);
}

static void test_json_text(void **state)
{
  (void)state;
  json_is("", 0, "\"\"");
  json_is("a\"b\\c\n\r\t\x01", 9, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\"");
  json_is("\0", 1, "\"\\u0000\"");
  json_is("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", 11, "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
  json_is("\xff", 1, "\"\xef\xbf\xbd\"");                                                 // never UTF-8
  json_is("\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");                                 // overlong
  json_is("\xe0\x80\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");                 // overlong
  json_is("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");                 // surrogate
  json_is("\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); // past U+10FFFF
  json_is("x\xc3", 2, "\"x\xef\xbf\xbd\"");                                               // cut short
}

static void number_is(double number, const char *expected)
{
  struct buf buf = { 0 };
  buf_json_number(&buf, number);
  assert_string_equal(buf.data, expected);
  buf_free(&buf);
}

static void test_json_number(void **state)
{
  (void)state;
  number_is(0, "0");
  number_is(3, "3");
  number_is(-2.5, "-2.5");
  number_is(0.1, "0.1");
  number_is(0.1 + 0.2, "0.30000000000000004");
  number_is(1e21, "1e+21");
  number_is(4.9406564584124654e-324, "5e-324");
  number_is((double)NAN, "null");
  number_is((double)INFINITY, "null");
  number_is(DBL_MAX, "1.7976931348623157e+308");
  struct rng rng = spec_rng("number", 3);
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = rng_next(&rng);
    double number;
    memcpy(&number, &bits, sizeof number);
    if (!isfinite(number)) continue;
    struct buf buf = { 0 };
    buf_json_number(&buf, number);
    assert_true(strtod(buf.data, NULL) == number);
    buf_free(&buf);
  }
  if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) number_is(2.5, "2.5");
  setlocale(LC_NUMERIC, "C");
}

static void test_varint(void **state)
{
  (void)state;
  struct rng rng = spec_rng("varint", 4);
  static uint64_t values[3000];
  struct buf buf = { 0 };
  for (size_t i = 0; i < 3000; i++) {
    values[i] = rng_next(&rng) >> rng_below(&rng, 64);
    if (i == 0) values[i] = UINT64_MAX;
    buf_varint(&buf, values[i]);
  }
  struct view rest = buf_view(&buf);
  uint64_t value;
  for (size_t i = 0; i < 3000; i++) {
    assert_true(view_varint(&rest, &value));
    assert_int_equal(value, values[i]);
  }
  assert_int_equal(rest.size, 0);
  assert_false(view_varint(&rest, &value));
  rest = (struct view){ buf.data, 9 }; // UINT64_MAX takes ten bytes
  assert_false(view_varint(&rest, &value));
  assert_int_equal(rest.size, 9);
  rest = (struct view){ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 }; // 65 bits
  assert_false(view_varint(&rest, &value));
  rest = (struct view){ "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11 };
  assert_false(view_varint(&rest, &value));
  buf_free(&buf);
}

static void test_take(void **state)
{
  (void)state;
  struct view rest = view_of("abc"), piece;
  assert_true(view_take(&rest, 2, &piece));
  assert_true(view_is(piece, "ab"));
  assert_false(view_take(&rest, 2, &piece));
  assert_true(view_is(rest, "c"));
  assert_true(view_equal(view_of(NULL), view_of("")));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_appends_match_oracle),
    cmocka_unit_test(test_failure_is_sticky),
    cmocka_unit_test(test_json_text),
    cmocka_unit_test(test_json_number),
    cmocka_unit_test(test_varint),
    cmocka_unit_test(test_take),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
