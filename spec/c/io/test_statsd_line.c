// Every quirk of every client, by name: a line, and what it is read as.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "rng.h"
#include "statsd.h"
#include "statsd_key.h"

// `sum`: of the values, NAN for sets and events. `tags` canonical.
struct quirk {
  const char *name, *line;
  enum statsd_fault fault;
  enum statsd_type type;
  const char *key, *values;
  double sum, rate;
  const char *tags;
  bool dogstatsd;
  int64_t timestamp_s;
};

#define BAD(label, text, fault)                                                                                        \
  {                                                                                                                    \
    label, text, fault, 0, NULL, NULL, 0, 0, NULL, false, 0                                                            \
  }
#define C STATSD_COUNTER
#define G STATSD_GAUGE
#define T STATSD_TIMER
#define S STATSD_SET
#define E STATSD_EVENT
#define K STATSD_CHECK

static const struct quirk quirks[] = {
  { "counter", "hits:1|c", 0, C, "hits", "1", 1, 1, "", false, 0 },
  { "counter, sampled", "hits:2|c|@0.1", 0, C, "hits", "2", 2, 0.1, "", false, 0 },
  { "counter, negative", "hits:-3|c", 0, C, "hits", "-3", -3, 1, "", false, 0 },
  { "counter, fraction", "hits:.5|c", 0, C, "hits", ".5", .5, 1, "", false, 0 },
  { "gauge", "depth:12|g", 0, G, "depth", "12", 12, 1, "", false, 0 },
  { "gauge, plus", "depth:+5|g", 0, G, "depth", "+5", 5, 1, "", false, 0 },
  { "gauge, minus", "depth:-5|g", 0, G, "depth", "-5", -5, 1, "", false, 0 },
  { "gauge, tagged minus is absolute", "depth:-5|g|#a:b", 0, G, "depth", "-5", -5, 1, "a=\"b\"", true, 0 },
  { "timer ms", "t:12.5|ms", 0, T, "t", "12.5", 12.5, 1, "", false, 0 },
  { "timer h", "t:3|h", 0, T, "t", "3", 3, 1, "", false, 0 },
  { "timer d", "t:3|d|@0.5", 0, T, "t", "3", 3, 0.5, "", false, 0 },
  { "set", "users:bob|s", 0, S, "users", "bob", NAN, 1, "", false, 0 },
  { "set, ':' and '|' in the member", "s:a:b|c|s", 0, S, "s", "a:b|c", NAN, 1, "", false, 0 },
  { "set, '|' and tags", "s:a|b|s|#x:y", 0, S, "s", "a|b", NAN, 1, "x=\"y\"", true, 0 },
  { "set, a member that looks like a counter", "s:1|c|s", 0, S, "s", "1|c", NAN, 1, "", false, 0 },
  { "set, never packed", "s:1:2:3|s", 0, S, "s", "1:2:3", NAN, 1, "", false, 0 },
  { "packed v1.1 distribution", "d:1:2:32|d", 0, T, "d", "1:2:32", 35, 1, "", false, 0 },
  { "packed counter", "c:1:2|c|#a:b", 0, C, "c", "1:2", 3, 1, "a=\"b\"", true, 0 },
  { "packed gauge", "g:1:-2|g", 0, G, "g", "1:-2", -1, 1, "", false, 0 },
  { "exponent 1e+21", "x:1e+21|g", 0, G, "x", "1e+21", 1e21, 1, "", false, 0 },
  { "exponent 1e-7", "x:1e-7|c", 0, C, "x", "1e-7", 1e-7, 1, "", false, 0 },
  { "exponent E", "x:2.5E3|c", 0, C, "x", "2.5E3", 2500, 1, "", false, 0 },
  { "many digits", "x:0.1000000000000000055511151231257827|g", 0, G, "x", "0.1000000000000000055511151231257827", 0.1,
    1, "", false, 0 },
  { "hot-shots: T before #", "ts:1|g|T1700000000|#env:prod", 0, G, "ts", "1", 1, 1, "env=\"prod\"", true, 1700000000 },
  { "datadog-go: T last", "ts:1|c|#env:prod|T1656581400", 0, C, "ts", "1", 1, 1, "env=\"prod\"", true, 1656581400 },
  { "container", "x:1|c|c:ci-83c0a99c", 0, C, "x", "1", 1, 1, "", true, 0 },
  { "external data and cardinality", "x:1|c|e:it-false|card:low", 0, C, "x", "1", 1, 1, "", true, 0 },
  { "all sections, any order", "x:1|ms|card:high|#a:b|c:id|T12|e:y|@0.25", 0, T, "x", "1", 1, .25, "a=\"b\"", true,
    12 },
  { "unknown section", "x:1|c|zz:9|@0.5", 0, C, "x", "1", 1, 0.5, "", false, 0 },
  { "empty section", "x:1|c|", 0, C, "x", "1", 1, 1, "", false, 0 },
  { "tags sorted", "x:1|c|#b:2,a:1", 0, C, "x", "1", 1, 1, "a=\"1\",b=\"2\"", true, 0 },
  { "tag without value", "x:1|c|#canary", 0, C, "x", "1", 1, 1, "canary=\"true\"", true, 0 },
  { "tag with an empty value", "x:1|c|#a:", 0, C, "x", "1", 1, 1, "a=\"\"", true, 0 },
  { "tag value with ':'", "x:1|c|#url:http://a:80", 0, C, "x", "1", 1, 1, "url=\"http://a:80\"", true, 0 },
  { "tag twice: the last", "x:1|c|#a:1,b:2,a:3", 0, C, "x", "1", 1, 1, "a=\"3\",b=\"2\"", true, 0 },
  { "tag names become labels", "x:1|c|#http.code:5,9x:1", 0, C, "x", "1", 1, 1, "_x=\"1\",http_code=\"5\"", true, 0 },
  { "tag names equal as labels", "x:1|c|#a.b:1,a-b:2", 0, C, "x", "1", 1, 1, "a_b=\"2\"", true, 0 },
  { "quotes and backslashes", "x:1|c|#a:\"\\", 0, C, "x", "1", 1, 1, "a=\"\\\"\\\\\"", true, 0 },
  { "empty tags", "x:1|c|#,,a:b,", 0, C, "x", "1", 1, 1, "a=\"b\"", true, 0 },
  { "no tags after #", "x:1|c|#", 0, C, "x", "1", 1, 1, "", true, 0 },
  { "UTF-8 tags", "x:1|c|#stadt:k\xc3\xb6ln", 0, C, "x", "1", 1, 1, "stadt=\"k\xc3\xb6ln\"", true, 0 },
  { "telegraf", "n,a=b,c=d:1|c", 0, C, "n", "1", 1, 1, "a=\"b\",c=\"d\"", false, 0 },
  { "librato", "n#a=b:1|c", 0, C, "n", "1", 1, 1, "a=\"b\"", false, 0 },
  { "signalfx", "n[a=b,c=d]:1|ms", 0, T, "n", "1", 1, 1, "a=\"b\",c=\"d\"", false, 0 },
  { "',' and '#' without '=' belong to the name", "a,b#c:1|c", 0, C, "a,b#c", "1", 1, 1, "", false, 0 },
  { "'=' alone belongs to the name", "a=b:1|c", 0, C, "a=b", "1", 1, 1, "", false, 0 },
  { "client self metric", "datadog.dogstatsd.client.metrics:7|c|#client:go", 0, C, "datadog.dogstatsd.client.metrics",
    "7", 7, 1, "client=\"go\"", true, 0 },
  { "event", "_e{2,4}:hi|text", 0, E, "hi", "text", NAN, 1, "", true, 0 },
  { "event with '|' in the title", "_e{5,11}:ti|tl|text\\nline2|#a:b|t:error", 0, E, "ti|tl", "text\\nline2", NAN, 1,
    "a=\"b\"", true, 0 },
  { "event with a time", "_e{1,1}:a|b|d:1700000000|p:low", 0, E, "a", "b", NAN, 1, "", true, 1700000000 },
  { "event, lengths in bytes (datadog-go)", "_e{4,3}:t\xc3\xbct|\xe2\x82\xac", 0, E, "t\xc3\xbct", "\xe2\x82\xac", NAN,
    1, "", true, 0 },
  { "event, lengths in UTF-16 units (hot-shots)", "_e{3,7}:t\xc3\xbct|\xc5\xb5\xc3\xb6rld \xe2\x82\xac", 0, E,
    "t\xc3\xbct", "\xc5\xb5\xc3\xb6rld \xe2\x82\xac", NAN, 1, "", true, 0 },
  { "event, surrogate pair in UTF-16 units", "_e{2,1}:\xf0\x9f\x98\x80|x|#a:b", 0, E, "\xf0\x9f\x98\x80", "x", NAN, 1,
    "a=\"b\"", true, 0 },
  { "event with an empty text", "_e{1,0}:a|", 0, E, "a", "", NAN, 1, "", true, 0 },
  { "check", "_sc|db|2|d:1700000000|#a:b|m:down | out", 0, K, "db", "2", NAN, 1, "a=\"b\"", true, 1700000000 },
  { "check, short", "_sc|db|0", 0, K, "db", "0", NAN, 1, "", true, 0 },
  { "check, sections after the message are the message's", "_sc|db|0|m:x|c:id|#a:b", 0, K, "db", "0", NAN, 1, "", true,
    0 },
  { "a name that begins as an event's", "_e:1|c", 0, C, "_e", "1", 1, 1, "", false, 0 },
  BAD("empty", "", STATSD_NO_NAME),
  BAD("no name", ":1|c", STATSD_NO_NAME),
  BAD("only a pipe", "|c", STATSD_NO_NAME),
  BAD("only a name", "abc", STATSD_NO_VALUE),
  BAD("no value", "abc:|c", STATSD_NO_VALUE),
  BAD("no colon", "abc|c", STATSD_NO_VALUE),
  BAD("empty set member", "abc:|s", STATSD_NO_VALUE),
  BAD("no type", "abc:1", STATSD_BAD_TYPE),
  BAD("empty type", "abc:1|", STATSD_BAD_TYPE),
  BAD("unknown type", "abc:1|kv", STATSD_BAD_TYPE),
  BAD("meter", "abc:1|m", STATSD_BAD_TYPE),
  BAD("hot-shots array", "d:1,2,3|d", STATSD_BAD_VALUE),
  BAD("NaN", "x:NaN|g", STATSD_BAD_VALUE),
  BAD("Inf", "x:Infinity|g", STATSD_BAD_VALUE),
  BAD("-Inf", "x:-Inf|g", STATSD_BAD_VALUE),
  BAD("overflow", "x:1e999|g", STATSD_BAD_VALUE),
  BAD("hexadecimal", "x:0x10|g", STATSD_BAD_VALUE),
  BAD("undefined", "x:undefined|c", STATSD_BAD_VALUE),
  BAD("space", "x: 1|c", STATSD_BAD_VALUE),
  BAD("one bad of several", "x:1:x:3|d", STATSD_BAD_VALUE),
  BAD("empty last of several", "x:1:|d", STATSD_BAD_VALUE),
  BAD("sign alone", "x:-|g", STATSD_BAD_VALUE),
  BAD("exponent alone", "x:1e|g", STATSD_BAD_VALUE),
  BAD("rate 0", "x:1|c|@0", STATSD_BAD_RATE),
  BAD("rate over 1", "x:1|c|@2", STATSD_BAD_RATE),
  BAD("rate negative", "x:1|c|@-0.5", STATSD_BAD_RATE),
  BAD("rate no number", "x:1|c|@half", STATSD_BAD_RATE),
  BAD("rate NaN", "x:1|c|@NaN", STATSD_BAD_RATE),
  BAD("rate next to nothing", "x:1|c|@1e-300", STATSD_BAD_RATE),
  BAD("mixed styles of tags", "n,a=b:1|c|#c:d", STATSD_BAD_TAGS),
  BAD("tags twice", "n:1|c|#a:b|#c:d", STATSD_BAD_TAGS),
  BAD("signalfx inside the name", "n[a=b]x:1|c", STATSD_BAD_TAGS),
  BAD("event with a short text", "_e{2,9}:hi|text", STATSD_BAD_EVENT),
  BAD("event without lengths", "_e{}:hi|text", STATSD_BAD_EVENT),
  BAD("event with huge lengths", "_e{99999999999999999999,1}:a|b", STATSD_BAD_EVENT),
  BAD("event without a title", "_e{0,1}:|b", STATSD_BAD_EVENT),
  BAD("event whose length splits the text", "_e{1,1}:a|bb", STATSD_BAD_EVENT),
  BAD("check with status 4", "_sc|db|4", STATSD_BAD_VALUE),
  BAD("check with a long status", "_sc|db|00", STATSD_BAD_VALUE),
  BAD("check without a name", "_sc||0", STATSD_NO_NAME),
  BAD("check without a status", "_sc|db", STATSD_NO_VALUE),
};

static struct view exact_copy(const char *text, char **block)
{
  size_t size = strlen(text); // without its NUL, so that a sanitizer sees a byte too far
  *block = malloc(size > 0 ? size : 1);
  memcpy(*block, text, size);
  return (struct view){ *block, size };
}

static void check(const struct quirk *quirk)
{
  struct statsd_line line;
  char *block;
  struct view text = exact_copy(quirk->line, &block);
  enum statsd_fault fault = statsd_parse(text, &line);
  if (fault != quirk->fault) fail_msg("%s: fault %s", quirk->name, statsd_fault_name(fault));
  if (fault == STATSD_OK) {
    struct statsd_key key;
    struct view values = line.values;
    double sum = 0, value;
    bool is_signed;
    if (line.type != quirk->type || !view_is(line.name, quirk->key) || !view_is(line.values, quirk->values) ||
        line.rate != quirk->rate || line.dogstatsd != quirk->dogstatsd || line.timestamp_s != quirk->timestamp_s) {
      fail_msg("%s: type %d name %.*s values %.*s rate %g dogstatsd %d T%lld", quirk->name, line.type,
               (int)line.name.size, line.name.data, (int)line.values.size, line.values.data, line.rate, line.dogstatsd,
               (long long)line.timestamp_s);
    }
    assert_int_equal(statsd_key_make(&line, &key), STATSD_OK);
    if (!view_is((struct view){ key.tags, key.size }, quirk->tags))
      fail_msg("%s: tags %.*s", quirk->name, (int)key.size, key.tags);
    if (!isnan(quirk->sum)) {
      while (statsd_next_value(&values, &value, &is_signed)) sum += value;
      if (fabs(sum - quirk->sum) > 1e-12 * fabs(sum)) fail_msg("%s: sum %.17g", quirk->name, sum);
      assert_int_equal(line.packed, memchr(line.values.data, ':', line.values.size) != NULL);
    }
  }
  free(block);
}

static void test_quirks(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof quirks / sizeof *quirks; i++) check(&quirks[i]);
  print_message("%zu quirks\n", sizeof quirks / sizeof *quirks);
}

static void test_lengths(void **state)
{
  (void)state;
  static char text[5000];
  struct statsd_line line;
  struct statsd_key key;
  memset(text, 'a', sizeof text);
  memcpy(text + SERIES_NAME_MAX, ":1|c", 4);
  assert_int_equal(statsd_parse((struct view){ text, SERIES_NAME_MAX + 4 }, &line), STATSD_OK);
  memset(text, 'a', sizeof text);
  memcpy(text + SERIES_NAME_MAX + 1, ":1|c", 4);
  assert_int_equal(statsd_parse((struct view){ text, SERIES_NAME_MAX + 5 }, &line), STATSD_TOO_LONG);
  size_t size = (size_t)snprintf(text, sizeof text, "n:1|c|#");
  memset(text + size, 'a', SERIES_TAGS_MAX + 1);
  assert_int_equal(statsd_parse((struct view){ text, size + SERIES_TAGS_MAX + 1 }, &line), STATSD_TOO_LONG);
  assert_int_equal(statsd_parse((struct view){ text, size + SERIES_TAGS_MAX }, &line), STATSD_OK);
  assert_int_equal(statsd_key_make(&line, &key), STATSD_TOO_LONG); // with quotes
  for (int i = 0; i < 100; i++) size += (size_t)snprintf(text + size, sizeof text - size, "%d:,", i);
  line.tags = (struct view){ text + 7, size - 7 };
  assert_int_equal(statsd_key_make(&line, &key), STATSD_OK); // all are _ or _N: few labels
}

static void test_names_are_printable(void **state)
{
  (void)state;
  struct statsd_line line;
  struct statsd_key key;
  assert_int_equal(statsd_parse(view_of("a\x01:1|c"), &line), STATSD_OK);
  assert_int_equal(statsd_key_make(&line, &key), STATSD_NO_NAME);
  assert_int_equal(statsd_parse(view_of("a\xff:1|c"), &line), STATSD_OK);
  assert_int_equal(statsd_key_make(&line, &key), STATSD_NO_NAME);
  assert_int_equal(statsd_parse(view_of("a:1|c|#k:\xc0\x80"), &line), STATSD_OK);
  assert_int_equal(statsd_key_make(&line, &key), STATSD_BAD_TAGS);
}

static void test_tags_tell_of_failures(void **state)
{
  (void)state;
  static const char *const bad[] = { "ok:false",      "success:False", "error:true",           "status:500",
                                     "status:5xx",    "code:503",      "http.status_code:599", "outcome:failure",
                                     "result:failed", "status:error",  "a:b,result:fail" };
  static const char *const good[] = { "ok:true",     "error:false",     "status:404",
                                      "status:5000", "outcome:success", "ok",
                                      "code:50",     "failed:true",     "" };
  struct statsd_line line = { .tag_separator = ':' };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    line.tags = view_of(bad[i]);
    if (!statsd_tags_failed(&line)) fail_msg("%s", bad[i]);
  }
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    line.tags = view_of(good[i]);
    if (statsd_tags_failed(&line)) fail_msg("%s", good[i]);
  }
}

// decimal_take against strtod, on random decimals of every shape.
static void test_decimals_equal_strtod(void **state)
{
  (void)state;
  uint64_t seed = rng_system_seed();
  print_message("seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "decimal");
  for (int i = 0; i < 200000; i++) {
    char text[128];
    size_t size = 0;
    if (rng_below(&rng, 3) == 0) text[size++] = rng_below(&rng, 2) ? '-' : '+';
    uint64_t whole = rng_below(&rng, 22), fraction = rng_below(&rng, 3) ? rng_below(&rng, 24) : 0;
    if (whole + fraction == 0) whole = 1;
    for (uint64_t k = 0; k < whole; k++) text[size++] = (char)('0' + rng_below(&rng, 10));
    if (fraction > 0 || rng_below(&rng, 8) == 0) text[size++] = '.';
    for (uint64_t k = 0; k < fraction; k++) text[size++] = (char)('0' + rng_below(&rng, 10));
    if (rng_below(&rng, 4) == 0) size += (size_t)snprintf(text + size, 8, "e%d", (int)rng_below(&rng, 600) - 300);
    text[size] = '\0';
    double expected = strtod(text, NULL), got = 0;
    const char *end = decimal_take(text, text + size, &got);
    if (!isfinite(expected)) {
      assert_null(end);
    } else if (end != text + size || memcmp(&got, &expected, sizeof got) != 0) {
      fail_msg("%s: %.17g, not %.17g", text, got, expected);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_quirks),
    cmocka_unit_test(test_lengths),
    cmocka_unit_test(test_names_are_printable),
    cmocka_unit_test(test_tags_tell_of_failures),
    cmocka_unit_test(test_decimals_equal_strtod),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
