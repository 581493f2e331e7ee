// Copies between Lua and values: random trees there and back, kinds of numbers, limits and their paths.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua_value.h"
#include "rng.h"

static struct value random_value(struct rng *rng, struct pool *pool, int depth)
{
  char text[16];
  struct value value;
  switch (rng_below(rng, depth > 0 ? 6 : 4)) {
  case 0:
    return value_bool(rng_below(rng, 2));
  case 1:
    return value_integer((int64_t)rng_next(rng));
  case 2:
    return value_number(rng_normal(rng) * 1e9);
  case 3:
    snprintf(text, sizeof text, "t%llu", (unsigned long long)rng_below(rng, 1000));
    return value_text(pool_copy(pool, view_of(text)));
  case 4:
    value = value_list();
    for (uint64_t i = 1 + rng_below(rng, 6); i > 0; i--)
      assert_true(value_append(pool, &value, random_value(rng, pool, depth - 1)));
    return value;
  default:
    value = value_table();
    for (uint64_t i = rng_below(rng, 14); i > 0; i--) {
      snprintf(text, sizeof text, "k%llu", (unsigned long long)rng_below(rng, 30));
      assert_true(value_put(pool, &value, pool_copy(pool, view_of(text)), random_value(rng, pool, depth - 1)));
    }
    return value;
  }
}

static void comes_back_as_it_was(void **state)
{
  (void)state;
  const uint64_t seed = 20260105;
  struct rng rng;
  print_message("seed %llu\n", (unsigned long long)seed);
  rng_init(&rng, seed, "lua_value");
  lua_State *L = luaL_newstate();
  for (int round = 0; round < 2000; round++) {
    struct pool pool = { 0 };
    struct value value = random_value(&rng, &pool, 4), back;
    struct lua_reader reader;
    lua_value_push(L, &value);
    lua_reader_init(&reader, &pool);
    reader.copy_text = round & 1;
    assert_true(lua_value_read(L, -1, &reader, &back));
    assert_true(value_equal(&value, &back));
    assert_int_equal(value.type, back.type);
    for (size_t i = 1; back.type == VALUE_TABLE && i < back.table.count; i++)
      assert_true(strcmp(back.table.members[i - 1].key.data, back.table.members[i].key.data) < 0);
    lua_settop(L, 0);
    pool_fini(&pool);
  }
  lua_close(L);
}

static void read_fails(lua_State *L, const char *text, const char *path, const char *why)
{
  struct pool pool = { 0 };
  struct lua_reader reader;
  struct value value;
  assert_int_equal(luaL_dostring(L, text), LUA_OK);
  lua_reader_init(&reader, &pool);
  assert_false(lua_value_read(L, -1, &reader, &value));
  assert_string_equal(reader.path, path);
  assert_non_null(strstr(reader.why, why));
  assert_int_equal(lua_gettop(L), 1);
  lua_settop(L, 0);
  pool_fini(&pool);
}

static void refuses_with_the_path(void **state)
{
  (void)state;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  read_fails(L, "return { a = { { b = function() end } } }", ".a[1].b", "a function cannot be stored here");
  read_fails(L, "return { 1, 2, x = 3 }", "", "both named fields and list items");
  read_fails(L, "return { [1] = 1, [3] = 3 }", "", "without holes");
  read_fails(L, "return { [1.5] = 1 }", "", "keys must be texts");
  read_fails(L, "local t = {} t[1] = t return t", "[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]", "nested deeper");
  read_fails(L, "return { k = ('x'):rep(300000) }", ".k", "too large");
  read_fails(L, "local t = {} for i = 1, 100000 do t[i] = i end return t", "", "too large");
  lua_close(L);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(comes_back_as_it_was),
    cmocka_unit_test(refuses_with_the_path),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
