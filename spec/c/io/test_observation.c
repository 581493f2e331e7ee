// Observations from JSON: the grammar, refusals that name their place, and random documents against jansson's reading.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "observation.h"
#include "rng.h"

static struct observations parsed;
static char *body;

static int parse(const char *text, struct status *status)
{
  size_t size = strlen(text);
  free(body);
  body = malloc(size > 0 ? size : 1); // without a NUL, so that a sanitizer sees a byte too far
  memcpy(body, text, size);
  *status = (struct status){ 0 };
  return observations_parse(body, size, &parsed, status);
}

static int free_all(void **state)
{
  (void)state;
  observations_fini(&parsed);
  free(body);
  body = NULL;
  return 0;
}

struct good {
  const char *text;
  size_t count;
  const char *path, *service, *version, *region; // of the last one
  int64_t duration_ns, wall_ns;
  bool ok;
};

static const struct good goods[] = {
  { "{\"path\":\"checkout\"}", 1, "checkout", "", "", "", -1, 0, true },
  { "{\"path\":\"checkout\",\"duration_ms\":12.5,\"ok\":true}", 1, "checkout", "", "", "", 12500000, 0, true },
  { "{\"path\":\"a\",\"ok\":false}", 1, "a", "", "", "", -1, 0, false },
  { "{\"path\":\"a\",\"status\":500}", 1, "a", "", "", "", -1, 0, false },
  { "{\"path\":\"a\",\"status\":499}", 1, "a", "", "", "", -1, 0, true },
  { "{\"status\":503,\"path\":\"a\",\"ok\":true}", 1, "a", "", "", "", -1, 0, true },
  { "{\"ok\":false,\"path\":\"a\",\"status\":200}", 1, "a", "", "", "", -1, 0, false },
  { "{\"path\":\"a\",\"ok\":null,\"status\":503,\"duration_ms\":null,\"ts\":null}", 1, "a", "", "", "", -1, 0, false },
  { " \n{ \"path\" : \"a\" , \"service\":\"s\",\"version\":\"v1\",\"region\":\"eu\" }\r\n", 1, "a", "s", "v1", "eu", -1,
    0, true },
  { "[]", 0, NULL, NULL, NULL, NULL, 0, 0, true },
  { "[{\"path\":\"a\"},{\"path\":\"b\",\"duration_ms\":0}]", 2, "b", "", "", "", 0, 0, true },
  { "{\"path\":\"a\"}\n{\"path\":\"b\"}\r\n\n{\"path\":\"c\"}\n", 3, "c", "", "", "", -1, 0, true },
  { "{\"path\":\"a\",\n\"ok\":true}\n{\"path\":\"b\"}", 2, "b", "", "", "", -1, 0, true },
  { "{\"path\":\"a\",\"x\":{\"y\":[1,-2.5e3,null,true,false,\"\\u00e9\",{}],\"z\":[]}}", 1, "a", "", "", "", -1, 0,
    true },
  { "{\"path\":\"a\\u0062\\/\\\"\\\\c\"}", 1, "ab/\"\\c", "", "", "", -1, 0, true },
  { "{\"path\":\"k\xc3\xb6ln\\u00f6\\ud83d\\ude00\"}", 1, "k\xc3\xb6ln\xc3\xb6\xf0\x9f\x98\x80", "", "", "", -1, 0,
    true },
  { "{\"p\\u0061th\":\"escaped key\"}", 1, "escaped key", "", "", "", -1, 0, true },
  { "{\"path\":\"a\",\"ts\":1767571200.5}", 1, "a", "", "", "", -1, 1767571200500000000, true },
  { "{\"path\":\"a\",\"ts\":\"2026-01-05T00:00:00Z\"}", 1, "a", "", "", "", -1, 1767571200000000000, true },
  { "{\"path\":\"a\",\"ts\":\"2026-01-05T01:30:00.123456789+01:30\"}", 1, "a", "", "", "", -1, 1767571200123456789,
    true },
  { "{\"path\":\"a\",\"ts\":\"2024-02-29t23:59:60.5-00:00\"}", 1, "a", "", "", "", -1, 1709251200500000000, true },
  { "{\"path\":\"a\",\"duration_ms\":1e3}", 1, "a", "", "", "", 1000000000, 0, true },
  { "{\"path\":\"a\",\"\":1}", 1, "a", "", "", "", -1, 0, true },
};

static void test_grammar(void **state)
{
  (void)state;
  struct status status;
  for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
    const struct good *good = &goods[i];
    if (parse(good->text, &status) != 0) fail_msg("%s: %s", good->text, status.text);
    assert_int_equal(parsed.count, good->count);
    if (good->count == 0) continue;
    const struct observation *last = &parsed.items[parsed.count - 1];
    if (!view_is(last->path, good->path) || !view_is(last->service, good->service) ||
        !view_is(last->version, good->version) || !view_is(last->region, good->region) ||
        last->duration_ns != good->duration_ns || last->wall_ns != good->wall_ns || last->ok != good->ok) {
      fail_msg("%s: path %.*s duration %lld wall %lld ok %d", good->text, (int)last->path.size, last->path.data,
               (long long)last->duration_ns, (long long)last->wall_ns, last->ok);
    }
  }
}

struct bad {
  const char *text;
  size_t index;
  const char *field, *sentence;
};

static const struct bad bads[] = {
  { "", 0, NULL, "observation 0: byte 0: expected an object or an array, found nothing" },
  { "17", 0, NULL, "observation 0: byte 0: expected an object" },
  { "{}", 0, "path", "observation 0: path: missing" },
  { "{\"path\":null}", 0, "path", "observation 0: path: expected a text" },
  { "{\"path\":\"\"}", 0, "path", "observation 0: path: empty" },
  { "{\"path\":7}", 0, "path", "observation 0: path: expected a text" },
  { "{\"path\":\"a\\nb\"}", 0, "path", "observation 0: path: contains a control character" },
  { "[{\"path\":\"a\"},{\"path\":\"b\",\"duration_ms\":-3}]", 1, "duration_ms",
    "observation 1: duration_ms: -3 is negative" },
  { "{\"path\":\"a\",\"duration_ms\":\"3\"}", 0, "duration_ms", "observation 0: duration_ms: expected a number" },
  { "{\"path\":\"a\",\"duration_ms\":1e99}", 0, "duration_ms", "observation 0: duration_ms: 1e+99 is over 100 years" },
  { "{\"path\":\"a\",\"duration_ms\":1e999}", 0, NULL, "observation 0: byte 26: a number out of range" },
  { "{\"path\":\"a\",\"ok\":1}", 0, "ok", "observation 0: ok: expected true or false" },
  { "{\"path\":\"a\",\"ok\":tru}", 0, NULL, "observation 0: byte 17: expected a value" },
  { "{\"path\":\"a\",\"status\":600}", 0, "status", "observation 0: status: 600 is no HTTP status (100 to 599)" },
  { "{\"path\":\"a\",\"status\":200.5}", 0, "status", "observation 0: status: 200.5 is no HTTP status (100 to 599)" },
  { "{\"path\":\"a\",\"path\":\"b\"}", 0, "path", "observation 0: path: given twice" },
  { "{\"path\":\"a\",\"ts\":1767571200000}", 0, "ts",
    "observation 0: ts: 1767571200000 is too far ahead; Unix seconds are expected, not milliseconds" },
  { "{\"path\":\"a\",\"ts\":\"yesterday\"}", 0, "ts",
    "observation 0: ts: no time of RFC 3339, as 2026-01-05T10:00:00Z" },
  { "{\"path\":\"a\",\"ts\":\"2026-02-29T10:00:00Z\"}", 0, "ts",
    "observation 0: ts: no time of RFC 3339, as 2026-01-05T10:00:00Z" },
  { "{\"path\":\"a\",\"ts\":\"2026-01-05T10:00:00\"}", 0, "ts",
    "observation 0: ts: no time of RFC 3339, as 2026-01-05T10:00:00Z" },
  { "{\"path\":\"a\"} {\"path\":\"b\"}", 1, NULL,
    "observation 1: byte 13: expected the end or a new line; several objects go in an array or one a line" },
  { "{\"path\":\"a\"}\n[]", 1, NULL, "observation 1: byte 13: expected an object" },
  { "[{\"path\":\"a\"}] x", 1, NULL, "observation 1: byte 15: text after the array" },
  { "[{\"path\":\"a\"},]", 1, NULL, "observation 1: byte 14: expected an object" },
  { "[{\"path\":\"a\"}", 1, NULL, "observation 1: byte 13: expected ',' or ']'" },
  { "{\"path\":\"a\"", 0, NULL, "observation 0: byte 11: expected ',' or '}'" },
  { "{\"path\":\"a\",}", 0, NULL, "observation 0: byte 12: expected a text in quotes" },
  { "{\"path\" \"a\"}", 0, NULL, "observation 0: byte 8: expected ':'" },
  { "{\"path\":", 0, NULL, "observation 0: byte 8: expected a value" },
  { "{\"path\":\"a", 0, NULL, "observation 0: byte 10: a text without its closing quote" },
  { "{\"path\":\"a\tb\"}", 0, NULL, "observation 0: byte 10: a control character in a text" },
  { "{\"path\":\"\\x\"}", 0, NULL, "observation 0: byte 11: a bad escape in a text" },
  { "{\"path\":\"\\ud800\"}", 0, NULL, "observation 0: byte 15: a bad escape in a text" },
  { "{\"path\":\"\\u0000\"}", 0, NULL, "observation 0: byte 15: a bad escape in a text" },
  { "{\"path\":\"\xff\"}", 0, NULL, "observation 0: byte 11: a text that is not UTF-8" },
  { "{\"path\":\"a\",\"x\":01}", 0, NULL, "observation 0: byte 16: a number with a leading zero" },
  { "{\"path\":\"a\",\"x\":1.}", 0, NULL, "observation 0: byte 16: a number without a digit after ." },
  { "{\"path\":\"a\",\"x\":1e}", 0, NULL, "observation 0: byte 16: a number with a bad exponent" },
  { "{\"path\":\"a\",\"x\":+1}", 0, NULL, "observation 0: byte 16: expected a value" },
};

static void test_refusals_name_their_place(void **state)
{
  (void)state;
  struct status status;
  for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
    const struct bad *bad = &bads[i];
    if (parse(bad->text, &status) != NINES_EINVAL) fail_msg("%s: taken", bad->text);
    assert_string_equal(status.text, bad->sentence);
    assert_int_equal(parsed.bad_index, bad->index);
    if (bad->field != NULL) {
      assert_string_equal(parsed.field, bad->field);
    } else {
      assert_null(parsed.field);
    }
  }
}

static void test_limits(void **state)
{
  (void)state;
  struct status status;
  struct buf text = { 0 };
  buf_text(&text, "{\"path\":\"");
  for (int i = 0; i < OBSERVATION_NAME_MAX; i++) buf_byte(&text, 'a');
  buf_text(&text, "\"}");
  assert_int_equal(parse(text.data, &status), 0);
  buf_clear(&text);
  buf_text(&text, "{\"path\":\"a\",\"region\":\"");
  for (int i = 0; i < OBSERVATION_NAME_MAX + 1; i++) buf_byte(&text, 'a');
  buf_text(&text, "\"}");
  assert_int_equal(parse(text.data, &status), NINES_EINVAL);
  assert_string_equal(status.text, "observation 0: region: longer than 200 bytes");
  for (int depth = OBSERVATION_DEPTH_MAX; depth <= OBSERVATION_DEPTH_MAX + 1; depth++) {
    buf_clear(&text);
    buf_text(&text, "{\"path\":\"a\",\"x\":");
    for (int i = 0; i < depth; i++) buf_byte(&text, '[');
    for (int i = 0; i < depth; i++) buf_byte(&text, ']');
    buf_text(&text, "}");
    assert_int_equal(parse(text.data, &status), depth > OBSERVATION_DEPTH_MAX ? NINES_EINVAL : 0);
  }
  for (int extra = 0; extra < 2; extra++) {
    buf_clear(&text);
    for (int i = 0; i < OBSERVATIONS_MAX + extra; i++) buf_text(&text, "{\"path\":\"a\"}\n");
    assert_int_equal(parse(text.data, &status), extra ? NINES_ELIMIT : 0);
    assert_int_equal(parsed.count, OBSERVATIONS_MAX);
  }
  buf_free(&text);
}

static void test_out_of_memory(void **state)
{
  (void)state;
  struct status status;
  struct buf text = { 0 };
  for (int i = 0; i < 1000; i++) buf_text(&text, "{\"path\":\"a\"}\n");
  observations_fini(&parsed);
  for (long n = 1; n <= 5; n++) {
    mem_fail_at(n, 0);
    assert_int_equal(parse(text.data, &status), NINES_ENOMEM);
    mem_fail_at(0, 0);
    observations_fini(&parsed);
  }
  buf_free(&text);
}

static const char *pick(struct rng *rng, const char *const *list, size_t count)
{
  return list[rng_below(rng, count)];
}
#define PICK(rng, list) pick(rng, list, sizeof(list) / sizeof *(list))

static void random_object(struct rng *rng, struct buf *out)
{
  static const char *const texts[] = {
    "\"a\"",    "\"checkout\"", "\"\"", "\"\\u00e9\\n\"",     "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\xc3\xa9\"",
    "\"\xc3\"", "null",         "3",    "\"a\\\"b\\\\c\\/d\""
  };
  static const char *const numbers[] = { "0",     "-0",
                                         "12.5",  "1e3",
                                         "1E-2",  "-4",
                                         "01",    "1.",
                                         ".5",    "999999999999999999999",
                                         "200",   "503",
                                         "600",   "null",
                                         "\"1\"", "0.30000000000000004",
                                         "1e400", "1767571200.25" };
  static const char *const words[] = { "true", "false", "null", "True", "1" };
  static const char *const others[] = {
    "{}",  "[]",       "[1,2,{\"a\":[null]}]", "{\"path\":\"inner\"}", "\"x\"", "-1.5e-3", "[1,]", "{\"a\" 1}", "true",
    "nul", "\"\\u12\""
  };
  static const char *const spaces[] = { "", "", "", " ", "\t", " \n " };
  unsigned used = 0;
  bool first = true;
  buf_text(out, "{");
  if (rng_below(rng, 20) != 0) {
    buf_text(out, "\"path\":\"p\"");
    used |= 1;
    first = false;
  }
  for (uint64_t i = rng_below(rng, 6); i > 0; i--) {
    static const char *const keys[] = { "path", "duration_ms", "ok", "status", "service", "version", "region", "ts" };
    uint64_t key = rng_below(rng, 10);
    if (key < 8 && (used & 1u << key) != 0) continue;
    if (key < 8) used |= 1u << key;
    if (!first) buf_text(out, ",");
    first = false;
    buf_text(out, PICK(rng, spaces));
    if (key < 8) {
      buf_printf(out, "\"%s\"", keys[key]);
    } else {
      buf_printf(out, "\"x%d\"", (int)i);
    }
    buf_printf(out, "%s:%s", PICK(rng, spaces), PICK(rng, spaces));
    bool stray = rng_below(rng, 12) == 0;
    if (stray || key >= 8) {
      buf_text(out, PICK(rng, others));
    } else if (key == 1 || key == 3 || key == 7) {
      // Mostly values that are fine, so that batches get through.
      buf_text(out, rng_below(rng, 2) ? (key == 3 ? "404" : "12.5") : PICK(rng, numbers));
    } else if (key == 2) {
      buf_text(out, rng_below(rng, 2) ? "false" : PICK(rng, words));
    } else {
      buf_text(out, rng_below(rng, 2) ? "\"t\"" : PICK(rng, texts));
    }
    buf_text(out, PICK(rng, spaces));
  }
  buf_text(out, "}");
}

static bool naive_text(const json_t *object, const char *key, bool required, struct view *out)
{
  const json_t *value = json_object_get(object, key);
  *out = (struct view){ NULL, 0 };
  if (value == NULL || (json_is_null(value) && !required)) return !required;
  if (!json_is_string(value)) return false;
  *out = (struct view){ json_string_value(value), json_string_length(value) };
  for (size_t i = 0; i < out->size; i++)
    if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f) return false;
  return out->size <= OBSERVATION_NAME_MAX && (!required || out->size > 0);
}

static bool naive_number(const json_t *object, const char *key, double least, double most, double *out)
{
  const json_t *value = json_object_get(object, key);
  *out = -1;
  if (value == NULL || json_is_null(value)) return true;
  *out = json_number_value(value);
  return json_is_number(value) && *out >= least && *out <= most;
}

// What the header says, on jansson's tree; texts point into the tree.
static bool naive_read(const json_t *object, struct observation *out)
{
  double duration_ms, status, ts;
  const json_t *ok = json_object_get(object, "ok");
  bool ok_given = ok != NULL && !json_is_null(ok);
  if (!json_is_object(object) || !naive_text(object, "path", true, &out->path) ||
      !naive_text(object, "service", false, &out->service) || !naive_text(object, "version", false, &out->version) ||
      !naive_text(object, "region", false, &out->region) ||
      !naive_number(object, "duration_ms", 0, 36525.0 * 86400e3, &duration_ms) ||
      !naive_number(object, "status", 100, 599, &status) || !naive_number(object, "ts", 0, 9e9, &ts) ||
      (ok_given && !json_is_boolean(ok)) || floor(status) != status) {
    return false;
  }
  out->duration_ns = duration_ms < 0 ? -1 : (int64_t)(duration_ms * 1e6 + 0.5);
  out->wall_ns = ts < 0 ? 0 : (int64_t)(ts * 1e9 + 0.5);
  out->ok = ok_given ? json_is_true(ok) : status < 500;
  return true;
}

static void compare(const char *text, const json_t *root, int code)
{
  size_t count = json_is_array(root) ? json_array_size(root) : 1;
  for (size_t i = 0; i < count; i++) {
    struct observation naive;
    bool good = naive_read(json_is_array(root) ? json_array_get(root, i) : root, &naive);
    if (!good) {
      if (code == 0 || parsed.bad_index != i)
        fail_msg("%s: %zu should be refused (code %d, index %zu)", text, i, code, parsed.bad_index);
      return;
    }
    if (code != 0) continue;
    const struct observation *got = &parsed.items[i];
    if (!view_equal(got->path, naive.path) || !view_equal(got->service, naive.service) ||
        !view_equal(got->version, naive.version) || !view_equal(got->region, naive.region) ||
        got->duration_ns != naive.duration_ns || got->wall_ns != naive.wall_ns || got->ok != naive.ok)
      fail_msg("%s: %zu differs", text, i);
  }
  if (code != 0 || parsed.count != count) fail_msg("%s: should be taken (%d)", text, code);
}

static void test_equals_jansson(void **state)
{
  (void)state;
  uint64_t seed = rng_system_seed();
  print_message("seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "observation");
  struct buf text = { 0 };
  int taken = 0, refused = 0;
  for (int i = 0; i < 60000; i++) {
    struct status status;
    buf_clear(&text);
    uint64_t count = rng_below(&rng, 4);
    if (count > 0) buf_text(&text, "[");
    for (uint64_t k = 0; k < (count > 0 ? count : 1); k++) {
      if (k > 0) buf_text(&text, ",");
      random_object(&rng, &text);
    }
    if (count > 0) buf_text(&text, "]");
    if (rng_below(&rng, 4) == 0) text.data[rng_below(&rng, text.size)] = "{}[],:\"\\0ae \x01\xc3"[rng_below(&rng, 14)];
    if (strlen(text.data) != text.size) continue;
    const size_t flags = JSON_DECODE_INT_AS_REAL;
    json_t *root = json_loadb(text.data, text.size, flags, NULL);
    json_t *strict = json_loadb(text.data, text.size, flags | JSON_REJECT_DUPLICATES, NULL);
    bool judged = (root == NULL) == (strict == NULL); // of duplicates only known ones are refused
    int code = parse(text.data, &status);
    if (judged && root == NULL && code == 0) fail_msg("%s: taken", text.data);
    if (judged && root != NULL) compare(text.data, root, code);
    taken += code == 0;
    refused += code != 0;
    json_decref(root);
    json_decref(strict);
  }
  print_message("%d taken, %d refused\n", taken, refused);
  assert_true(taken > 5000 && refused > 5000);
  buf_free(&text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_grammar),        cmocka_unit_test(test_refusals_name_their_place),
    cmocka_unit_test(test_limits),         cmocka_unit_test(test_out_of_memory),
    cmocka_unit_test(test_equals_jansson),
  };
  return cmocka_run_group_tests(tests, NULL, free_all);
}
