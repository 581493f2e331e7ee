// Which globals a chunk uses: small texts, texts with so many constants that the compiler changes its instructions,
// and damaged dumps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants these first
#include <cmocka.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "globals.h"
#include "rng.h"

static void collect(void *userdata, const struct globals_use *use)
{
  buf_printf(userdata, "%s%s:%d ", use->name, use->is_write ? "=" : "", use->line);
}

static lua_State *compiled(const char *text)
{
  lua_State *L = luaL_newstate();
  if (luaL_loadbufferx(L, text, strlen(text), "@a.lua", "t") != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
  return L;
}

static void expect(const char *text, const char *uses)
{
  lua_State *L = compiled(text);
  struct buf found = { 0 };
  struct status status = { 0 };
  assert_int_equal(globals_check_function(L, collect, &found, &status), 0);
  assert_string_equal(found.data != NULL ? found.data : "", uses);
  assert_int_equal(lua_gettop(L), 1);
  buf_free(&found);
  lua_close(L);
}

static void test_reads_and_writes(void **state)
{
  (void)state;
  expect("", "");
  expect("local a = 1 return a", "");
  expect("local a = print", "print:1 ");
  expect("x = 1\ny = x", "x=:1 x:2 y=:2 ");
  expect("print(a.b.c)\nf:g(h)", "print:1 a:1 f:2 h:2 ");
  expect("x.y = z", "x:1 z:1 ");
  expect("function f() end", "f=:1 ");
  expect("local t = {}\nfunction t.f() end\nreturn t.g", "");
  expect("return _ENV.foo, _ENV['bar']", "foo:1 bar:1 ");
  expect("_ENV.foo = 1", "foo=:1 ");
}

static void test_lines(void **state)
{
  (void)state;
  expect("local a =\n\n  one\n\nthree()", "one:3 three:5 ");
  expect("local a = one\n + two", "one:2 two:2 "); // Lua's own attribution: where the operator has been read
  char text[4096] = "";
  strcat(text, "local a = first\n");
  for (int i = 0; i < 600; i++) strcat(text, "\n");
  strcat(text, "a = far\n");
  for (int i = 0; i < 300; i++) strcat(text, "a = a\n");
  strcat(text, "a = last\n");
  expect(text, "first:1 far:602 last:903 ");
}

static void test_nested(void **state)
{
  (void)state;
  expect("local function f()\n return function()\n  return deep\n end\nend\nreturn top", "deep:3 top:6 ");
  expect("local u = {}\nreturn function() return u.field, real end", "real:2 ");
  expect("return function() local _ENV = {} return x end, y", "y:1 "); // a local environment
  expect("local _ENV = {} return function() return x end", "");
  expect("return function(_ENV) return x end", "");
}

// Over 255 constants: GETUPVAL, LOADK, GETTABLE. Over 131071: LOADKX.
static void many_constants(int count, const char *rest, const char *uses)
{
  struct buf text = { 0 };
  buf_text(&text, "local t = {}\n");
  for (int i = 0; i < count; i++) buf_printf(&text, "t = %d.5%s", i, i % 50 == 49 ? "\n" : " ");
  buf_text(&text, "\n");
  buf_text(&text, rest);
  lua_State *L = compiled(text.data);
  struct buf found = { 0 };
  assert_int_equal(globals_check_function(L, collect, &found, NULL), 0);
  char expected[256];
  const int line = count / 50 + 3;
  snprintf(expected, sizeof expected, uses, line, line, line, line, line, line);
  assert_string_equal(found.data != NULL ? found.data : "", expected);
  buf_free(&found);
  buf_free(&text);
  lua_close(L);
}

static void test_many_constants(void **state)
{
  (void)state;
  const int counts[] = { 100, 250, 300, 1000, 70000, 140000 };
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    many_constants(counts[i], "t = alpha", "alpha:%d ");
    many_constants(counts[i], "alpha = t", "alpha=:%d ");
    many_constants(counts[i], "alpha = beta", "beta:%d alpha=:%d ");
    many_constants(counts[i], "alpha = beta and gamma or (delta == t)", "beta:%d gamma:%d delta:%d alpha=:%d ");
    many_constants(counts[i], "alpha = f(x, g())", "f:%d x:%d g:%d alpha=:%d ");
    many_constants(counts[i], "alpha, beta = t, gamma", "gamma:%d beta=:%d alpha=:%d ");
    many_constants(counts[i], "function alpha(...) return ... end", "alpha=:%d ");
    many_constants(counts[i], "if alpha then t.alpha, t['beta'] = 1 end", "alpha:%d ");
    many_constants(counts[i], "local e = t.alpha or t[t]", "");
  }
}

static void test_long_names(void **state)
{
  (void)state;
  char name[301], text[400], expected[400];
  memset(name, 'n', 300);
  name[300] = '\0';
  snprintf(text, sizeof text, "%.60s = 1", name); // over 40: not a short string
  snprintf(expected, sizeof expected, "%.60s=:1 ", name);
  expect(text, expected);
  snprintf(text, sizeof text, "return %s", name);
  snprintf(expected, sizeof expected, "%.255s:1 ", name); // cut
  expect(text, expected);
}

// ---- bytes that are no chunk ----

static int write_bytes(lua_State *L, const void *data, size_t size, void *buf)
{
  (void)L;
  buf_add(buf, data, size);
  return 0;
}

static struct buf dump_of(const char *text, int strip)
{
  lua_State *L = compiled(text);
  struct buf dumped = { 0 };
  assert_int_equal(lua_dump(L, write_bytes, &dumped, strip), 0);
  lua_close(L);
  return dumped;
}

static void ignore(void *userdata, const struct globals_use *use)
{
  assert_true(strlen(use->name) < 256);
  ++*(int *)userdata;
}

static int check_copy(const char *data, size_t size) // on the heap, so that ASan sees a byte too many
{
  char *copy = malloc(size + 1);
  memcpy(copy, data, size);
  int count = 0;
  copy = realloc(copy, size > 0 ? size : 1);
  int code = globals_check(copy, size, ignore, &count, NULL);
  free(copy);
  return code;
}

#define SAMPLE                                                                                                         \
  "local a = print\nlocal function f(...) for k, v in pairs(x) do y = k .. v end return ... end\nfunction z:w() "      \
  "return 1.5, 'long string that has more than forty bytes in it', nil, true end"

static void test_every_cut_is_refused(void **state)
{
  (void)state;
  struct buf dumped = dump_of(SAMPLE, 0);
  assert_int_equal(check_copy(dumped.data, dumped.size), 0);
  for (size_t size = 0; size < dumped.size; size++) assert_int_equal(check_copy(dumped.data, size), NINES_ECORRUPT);
  buf_byte(&dumped, 0);
  assert_int_equal(check_copy(dumped.data, dumped.size), NINES_ECORRUPT);
  buf_free(&dumped);
}

static void test_damage_never_crashes(void **state)
{
  (void)state;
  const uint64_t seed = 20260105;
  printf("    seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "damage");
  struct buf dumped = dump_of(SAMPLE, 0);
  char *copy = malloc(dumped.size);
  for (int round = 0; round < 20000; round++) {
    memcpy(copy, dumped.data, dumped.size);
    for (int flips = 0; flips < 3; flips++) copy[rng_below(&rng, dumped.size)] ^= (char)(1u << rng_below(&rng, 8));
    int code = check_copy(copy, dumped.size);
    assert_true(code == 0 || code == NINES_ECORRUPT);
    for (size_t i = 0; i < dumped.size; i++) copy[i] = (char)rng_next(&rng);
    assert_int_equal(check_copy(copy, dumped.size), NINES_ECORRUPT);
  }
  free(copy);
  buf_free(&dumped);
}

static void test_stripped_has_no_lines(void **state)
{
  (void)state;
  struct buf dumped = dump_of("x = y", 1);
  struct buf found = { 0 };
  assert_int_equal(globals_check(dumped.data, dumped.size, collect, &found, NULL), 0);
  assert_string_equal(found.data, "y:0 x=:0 ");
  buf_free(&found);
  buf_free(&dumped);
}

static void test_header_of_another_lua(void **state)
{
  (void)state;
  struct buf dumped = dump_of("x = y", 0);
  for (size_t i = 0; i < 31; i++) {
    dumped.data[i] ^= 1;
    struct status status = { 0 };
    int count = 0;
    assert_int_equal(globals_check(dumped.data, dumped.size, ignore, &count, &status), NINES_ECORRUPT);
    assert_string_equal(status.text, "not a chunk of Lua 5.4 as this build dumps them");
    dumped.data[i] ^= 1;
  }
  buf_free(&dumped);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reads_and_writes),
    cmocka_unit_test(test_lines),
    cmocka_unit_test(test_nested),
    cmocka_unit_test(test_many_constants),
    cmocka_unit_test(test_long_names),
    cmocka_unit_test(test_every_cut_is_refused),
    cmocka_unit_test(test_damage_never_crashes),
    cmocka_unit_test(test_stripped_has_no_lines),
    cmocka_unit_test(test_header_of_another_lua),
  };
  return cmocka_run_group_tests_name("globals", tests, NULL, NULL);
}
