// The metered matcher against the stock one: same results, or an error in both, on random patterns and texts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants these first
#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "pattern.h"
#include "rng.h"
#include "sandbox.h"

static void both(lua_State *L, const char *text)
{
  if (luaL_dostring(L, text) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
  lua_settop(L, 0);
}

// A stock state with the stock library as `string`, ours as `ours`. No turn: nothing is charged.
static lua_State *open_both(struct sandbox *sandbox)
{
  lua_State *L = luaL_newstate();
  memcpy(lua_getextraspace(L), &sandbox, sizeof sandbox);
  luaL_openlibs(L);
  static const luaL_Reg ours[] = { { "find", pattern_find },
                                   { "match", pattern_match },
                                   { "gmatch", pattern_gmatch },
                                   { "gsub", pattern_gsub },
                                   { NULL, NULL } };
  luaL_newlib(L, ours);
  lua_setglobal(L, "ours");
  both(L, "function all(lib, s, p, init, repl, n)\n"
          "  local function go(f, ...) return table.pack(pcall(f, ...)) end\n"
          "  local function each(...) local out = {} for a, b, c in lib.gmatch(...) do\n"
          "    out[#out + 1] = table.concat({tostring(a), tostring(b), tostring(c)}, '/') end return table.unpack(out) "
          "end\n"
          "  local r = {go(lib.find, s, p, init), go(lib.match, s, p, init), go(each, s, p, init), go(lib.gsub, s, p, "
          "repl, n),\n"
          "    go(lib.find, s, p, init, true), go(lib.gsub, s, p, {a = 'TABLE', b = false}), \n"
          "    go(lib.gsub, s, p, function(x, y) if x ~= 'c' then return tostring(x) .. tostring(y) end end)}\n"
          "  local out = {}\n"
          "  for i, t in ipairs(r) do for j = 1, t.n do\n"
          "    local v = tostring(t[j]):gsub('^.-:%d+: ', '') out[#out + 1] = i .. ':' .. v end end\n"
          "  return table.concat(out, '|')\n"
          "end\n"
          "function same(s, p, init, repl, n)\n"
          "  local a, b = all(string, s, p, init, repl, n), all(ours, s, p, init, repl, n)\n"
          "  if a ~= b then error(('%q %q %s %q %s\\n%s\\n%s'):format(s, p, init, repl, n, a, b)) end\n"
          "end");
  return L;
}

static void test_random_patterns(void **state)
{
  (void)state;
  struct sandbox sandbox = { .limits = { .bytes_max = 1 << 30 } };
  struct sandbox_budget budget = { .bytes_max = 1 << 30 };
  sandbox.budget = &budget;
  lua_State *L = open_both(&sandbox);
  const uint64_t seed = 20260105;
  printf("    seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "patterns");
  static const char *const pieces[] = { "a",  "b",  "c",  ".",   "%a",   "%d",    "%s",   "[ab]", "[^a]", "*",
                                        "+",  "-",  "?",  "(",   ")",    "()",    "^",    "$",    "%b()", "%f[a]",
                                        "%1", "%2", "%",  "[",   "]",    "[a-c]", "%%",   "[%a]", "[]]",  "%W",
                                        "x",  "%f", "%b", "[^]", "[a-]", "(a)",   "(.-)", "%u",   "[%",   "1" };
  static const char *const replacements[] = { "x", "%0", "%1", "<%0%0>", "%%", "%2", "%", "", "%x" };
  for (int round = 0; round < 20000; round++) {
    char text[16], pattern[64] = "";
    size_t length = rng_below(&rng, 12);
    for (size_t i = 0; i < length; i++) text[i] = "aabbc() 1x\0A"[rng_below(&rng, 12)];
    for (uint64_t i = rng_below(&rng, 6); i > 0; i--)
      strcat(pattern, pieces[rng_below(&rng, sizeof pieces / sizeof *pieces)]);
    lua_getglobal(L, "same");
    lua_pushlstring(L, text, length);
    lua_pushstring(L, pattern);
    lua_pushinteger(L, (lua_Integer)rng_below(&rng, 20) - 8);
    lua_pushstring(L, replacements[rng_below(&rng, sizeof replacements / sizeof *replacements)]);
    lua_pushinteger(L, (lua_Integer)rng_below(&rng, 6));
    if (lua_pcall(L, 5, 0, 0) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
  }
  lua_close(L);
}

static void test_known(void **state)
{
  (void)state;
  struct sandbox sandbox = { .limits = { .bytes_max = 1 << 30 } };
  struct sandbox_budget budget = { .bytes_max = 1 << 30 };
  sandbox.budget = &budget;
  lua_State *L = open_both(&sandbox);
  both(L, "same('key = value, other=2', '(%w+)%s*=%s*(%w+)', 1, '%2=%1', 9)\n"
          "same('THE (quick) fox', '%f[%a]%a+%f[%A]', 1, '<%0>', 9)\n"
          "same('f(a(b)c)d', '%b()', 1, '', 9)\n"
          "same('2026-01-05T00:00:00Z', '^(%d+)-(%d+)-(%d+)T', 1, '%3.%2.%1 ', 9)\n"
          "same(('a'):rep(300), ('a?'):rep(250), 1, '', 9)\n"
          "same('x', ('(x?)'):rep(40), 1, '', 9)\n"
          "same('hello', '', 1, '-', 9)\n"
          "same('a\\0b', '[^%z\\0]', 1, '.', 9)\n"
          "same('a.b', '.', 1, '%%', 1)\n"
          "assert(not pcall(ours.gsub, 'a', 'a'))\n"
          "assert(not pcall(ours.gsub, 'a', 'a', true))\n"
          "assert(not pcall(ours.gsub, 'a', 'a', function() return {} end))\n"
          "assert(ours.gsub(('ab'):rep(20000), 'b', 'cc') == ('acc'):rep(20000))\n"
          "local big = ('x'):rep(5000) assert(ours.gsub('abc', 'b', function() return big end) == 'a' .. big .. 'c')");
  lua_close(L);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_known), cmocka_unit_test(test_random_patterns) };
  return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
