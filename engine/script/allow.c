// The allowlist.
//
// The stock libraries are opened once, into tables that nothing keeps; what the list names is copied over, guarded
// where a plain call could run long in C, hide a kill, or make two runs differ (addresses, the sign of NaN). A guard
// gets the stock function as its upvalue, so that scripts can neither reach nor replace it.
#include "allow.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <string.h>

#include "pattern.h"
#include "sandbox.h"

enum { RANGE_MAX = 1000000, CHARGE_BYTES = 16, CHARGE_COMPARE = 4, CHARGE_FLOAT = 100, CHARGE_CONVERSION = 10 };

static int stock(lua_State *L)
{
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// ---- base: calls that catch errors ----

static int pcall_done(lua_State *L, int status, lua_KContext below)
{
  sandbox_recheck(L, status);
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)below;
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

static int guard_pcall(lua_State *L)
{
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  return pcall_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, pcall_done), 0);
}

// The handler has run: false and its results, whether it failed or not.
static int handler_done(lua_State *L, int status, lua_KContext below)
{
  sandbox_recheck(L, status);
  return lua_gettop(L) - (int)below;
}

// The user's handler runs after unwinding, as ordinary code under the hook. Slot 1 is the handler, slot 2 true.
static int xpcall_done(lua_State *L, int status, lua_KContext context)
{
  (void)context;
  sandbox_recheck(L, status);
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 1;
  int below = lua_gettop(L);
  lua_pushboolean(L, 0);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, below); // the error
  return handler_done(L, lua_pcallk(L, 1, LUA_MULTRET, 0, below, handler_done), below);
}

static int guard_xpcall(lua_State *L)
{
  luaL_checktype(L, 2, LUA_TFUNCTION);
  int arguments = lua_gettop(L) - 2;
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_replace(L, 1);     // the handler
  lua_pushboolean(L, 1); // first result
  lua_replace(L, 2);
  lua_insert(L, 3); // the function, before its arguments
  return xpcall_done(L, lua_pcallk(L, arguments, LUA_MULTRET, 0, 0, xpcall_done), 0);
}

// ---- base: metatables and texts ----

static int guard_setmetatable(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_type(L, 2) == LUA_TTABLE) {
    static const char *const refused[] = { "__gc", "__mode" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
      lua_pushstring(L, refused[i]);
      if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "setmetatable: %s is not allowed in policies", refused[i]);
      lua_pop(L, 1);
    }
  }
  return stock(L);
}

static int guard_getmetatable(lua_State *L)
{
  luaL_checkany(L, 1);
  if (lua_type(L, 1) == LUA_TTABLE) return stock(L);
  lua_pushboolean(L, 0);
  return 1;
}

// Replaces what would print differently in another run: addresses, and the sign of NaN.
static void make_repeatable(lua_State *L, int index)
{
  int type = lua_type(L, index);
  if (type == LUA_TNUMBER && !lua_isinteger(L, index) && isnan(lua_tonumber(L, index))) {
    lua_pushstring(L, "nan");
    lua_replace(L, index);
  } else if (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA ||
             type == LUA_TTHREAD) {
    if (luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
      lua_pop(L, 1);
      return;
    }
    if (luaL_getmetafield(L, index, "__name") != LUA_TSTRING) lua_pushstring(L, lua_typename(L, type));
    lua_replace(L, index);
  }
}

static int guard_tostring(lua_State *L)
{
  luaL_checkany(L, 1);
  make_repeatable(L, 1);
  return stock(L);
}

// ---- math ----

static int guard_random(lua_State *L)
{
  struct rng *random = &sandbox_of(L)->random;
  lua_Integer low = 1, high = 0;
  switch (lua_gettop(L)) {
  case 0:
    lua_pushnumber(L, rng_unit(random));
    return 1;
  case 1:
    high = luaL_checkinteger(L, 1);
    if (high == 0) {
      lua_pushinteger(L, (lua_Integer)rng_next(random));
      return 1;
    }
    break;
  case 2:
    low = luaL_checkinteger(L, 1);
    high = luaL_checkinteger(L, 2);
    break;
  default:
    return luaL_error(L, "wrong number of arguments");
  }
  luaL_argcheck(L, low <= high, lua_gettop(L), "interval is empty");
  uint64_t span = (uint64_t)high - (uint64_t)low;
  uint64_t drawn = span == UINT64_MAX ? rng_next(random) : rng_below(random, span + 1);
  lua_pushinteger(L, (lua_Integer)((uint64_t)low + drawn));
  return 1;
}

static int guard_randomseed(lua_State *L)
{
  return luaL_error(L, "math.randomseed: nines seeds math.random itself, so that every run can be replayed");
}

// ---- string ----

// Charges for the text in the arguments, and keeps as much free for the result.
static size_t charge_text(lua_State *L)
{
  size_t bytes = 0;
  int count = lua_gettop(L);
  for (int i = 1; i <= count; i++) {
    if (lua_type(L, i) == LUA_TSTRING) bytes += lua_rawlen(L, i);
  }
  sandbox_charge(L, (uint64_t)count / 4 + bytes / CHARGE_BYTES);
  return bytes;
}

static int guard_text(lua_State *L)
{
  size_t bytes = charge_text(L);
  if (bytes >= LUAL_BUFFERSIZE) sandbox_room(L, 2 * bytes);
  return stock(L);
}

static int guard_rep(lua_State *L)
{
  size_t length, gap = 0;
  luaL_checklstring(L, 1, &length);
  lua_Integer copies = luaL_checkinteger(L, 2);
  luaL_optlstring(L, 3, "", &gap);
  if (copies > RANGE_MAX)
    return luaL_error(L, "string.rep: %I copies are too many (at most %d)", (LUAI_UACINT)copies, RANGE_MAX);
  if (copies > 0) {
    size_t bytes_max = sandbox_of(L)->limits.bytes_max;
    if (length + gap > bytes_max / (size_t)copies)
      return luaL_error(L, "string.rep: the result would be larger than a policy's memory (%I bytes)",
                        (LUAI_UACINT)bytes_max);
    size_t bytes = (length + gap) * (size_t)copies;
    sandbox_charge(L, (uint64_t)copies / 2 + bytes / CHARGE_BYTES);
    sandbox_room(L, 2 * bytes);
  }
  return stock(L);
}

static int guard_format(lua_State *L)
{
  size_t length;
  const char *format = luaL_checklstring(L, 1, &length);
  uint64_t cost = length / CHARGE_BYTES;
  int argument = 1;
  for (const char *p = format; (p = memchr(p, '%', length - (size_t)(p - format))) != NULL;) {
    p++;
    if (*p == '%') {
      p++;
      continue;
    }
    p += strspn(p, "-+ #0123456789.");
    argument++;
    cost += *p != '\0' && strchr("aAeEfFgG", *p) != NULL ? CHARGE_FLOAT : CHARGE_CONVERSION;
    if (*p == 'p')
      return luaL_error(L, "string.format: %%p is not allowed in policies: addresses change from run to run");
    if (*p == 's' && argument <= lua_gettop(L)) make_repeatable(L, argument);
    if (*p != '\0' && strchr("eEfFgG", *p) != NULL && lua_type(L, argument) == LUA_TNUMBER &&
        isnan(lua_tonumber(L, argument))) {
      lua_pushnumber(L, (lua_Number)NAN);
      lua_replace(L, argument);
    }
  }
  sandbox_charge(L, cost);
  return guard_text(L);
}

// ---- table ----

// The stock functions loop in C over what __len says, and call metamethods; here a table is a table.
static lua_Integer plain_length(lua_State *L, int index, const char *name)
{
  luaL_checktype(L, index, LUA_TTABLE);
  if (lua_getmetatable(L, index)) {
    static const char *const lies[] = { "__len", "__index", "__newindex" };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
      lua_pushstring(L, lies[i]);
      if (lua_rawget(L, -2) != LUA_TNIL)
        luaL_error(L, "table.%s: works on plain tables only, this one has %s", name, lies[i]);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  return (lua_Integer)lua_rawlen(L, index);
}

static void charge_range(lua_State *L, const char *name, lua_Integer first, lua_Integer last)
{
  if (last < first) return;
  uint64_t count = (uint64_t)last - (uint64_t)first;
  if (count >= RANGE_MAX) luaL_error(L, "table.%s: a range of more than %d elements", name, RANGE_MAX);
  sandbox_charge(L, (count + 1) / 4 + 1);
}

static int guard_insert(lua_State *L)
{
  lua_Integer length = plain_length(L, 1, "insert");
  if (lua_gettop(L) == 3) charge_range(L, "insert", luaL_checkinteger(L, 2), length);
  return stock(L);
}

static int guard_remove(lua_State *L)
{
  lua_Integer length = plain_length(L, 1, "remove");
  if (lua_gettop(L) >= 2) charge_range(L, "remove", luaL_checkinteger(L, 2), length);
  return stock(L);
}

static int guard_move(lua_State *L)
{
  plain_length(L, 1, "move");
  if (!lua_isnoneornil(L, 5)) plain_length(L, 5, "move");
  charge_range(L, "move", luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
  return stock(L);
}

static int guard_unpack(lua_State *L)
{
  lua_Integer length = plain_length(L, 1, "unpack");
  charge_range(L, "unpack", luaL_optinteger(L, 2, 1), luaL_optinteger(L, 3, length));
  return stock(L);
}

static int guard_concat(lua_State *L)
{
  lua_Integer length = plain_length(L, 1, "concat");
  size_t gap, bytes = 0;
  luaL_optlstring(L, 2, "", &gap);
  lua_Integer first = luaL_optinteger(L, 3, 1), last = luaL_optinteger(L, 4, length);
  charge_range(L, "concat", first, last);
  for (lua_Integer i = first; i <= last; i++) {
    lua_rawgeti(L, 1, i);
    bytes += gap + (lua_type(L, -1) == LUA_TSTRING ? lua_rawlen(L, -1) : 24);
    lua_pop(L, 1);
    if (i == LUA_MAXINTEGER) break;
  }
  sandbox_charge(L, bytes / CHARGE_BYTES);
  if (bytes >= LUAL_BUFFERSIZE) sandbox_room(L, 4 * bytes);
  return stock(L);
}

// May the element on top stay before the one below it? Stack: table, comparator or nil, ..., left, right.
static bool right_first(lua_State *L)
{
  sandbox_charge(L, CHARGE_COMPARE);
  if (lua_isnil(L, 2)) return lua_compare(L, -1, -2, LUA_OPLT) != 0;
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_pushvalue(L, -4);
  lua_call(L, 2, 1);
  bool first = lua_toboolean(L, -1) != 0;
  lua_pop(L, 1);
  return first;
}

// Merges [low, middle) and [middle, high) of the table in slot `from` into slot `to`.
static void merge(lua_State *L, int from, int to, lua_Integer low, lua_Integer middle, lua_Integer high)
{
  lua_Integer left = low, right = middle;
  for (lua_Integer out = low; out < high; out++) {
    bool take_right = left >= middle;
    if (left < middle && right < high) {
      lua_rawgeti(L, from, left);
      lua_rawgeti(L, from, right);
      take_right = right_first(L);
      lua_pop(L, 2);
    }
    lua_rawgeti(L, from, take_right ? right++ : left++);
    lua_rawseti(L, to, out);
  }
}

// A merge sort of our own: stable, never more than n log n comparisons however the comparator lies, the same in every
// run (the stock one asks the clock for pivots), and the table is left alone when a comparison fails.
static int guard_sort(lua_State *L)
{
  lua_Integer length = plain_length(L, 1, "sort");
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  charge_range(L, "sort", 1, length);
  if (length < 2) return 0;
  lua_createtable(L, (int)length, 0);
  lua_createtable(L, (int)length, 0);
  for (lua_Integer i = 1; i <= length; i++) {
    lua_rawgeti(L, 1, i);
    lua_rawseti(L, 3, i);
  }
  int from = 3, to = 4;
  for (lua_Integer width = 1; width < length; width *= 2) {
    for (lua_Integer low = 1; low <= length; low += 2 * width) {
      lua_Integer middle = low + width <= length ? low + width : length + 1;
      lua_Integer high = middle + width <= length ? middle + width : length + 1;
      merge(L, from, to, low, middle, high);
    }
    int swap = from;
    from = to;
    to = swap;
    sandbox_charge(L, (uint64_t)length);
  }
  for (lua_Integer i = 1; i <= length; i++) {
    lua_rawgeti(L, from, i);
    lua_rawseti(L, 1, i);
  }
  return 0;
}

// ---- the list ----

struct allowed {
  const char *library; // "": base
  const char *name;
  lua_CFunction guard; // NULL: the stock value as it is
};

static const struct allowed list[] = {
  { "", "assert", NULL },
  { "", "error", NULL },
  { "", "getmetatable", guard_getmetatable },
  { "", "ipairs", NULL },
  { "", "next", NULL },
  { "", "pairs", NULL },
  { "", "pcall", guard_pcall },
  { "", "rawequal", NULL },
  { "", "rawget", NULL },
  { "", "rawlen", NULL },
  { "", "rawset", NULL },
  { "", "select", NULL },
  { "", "setmetatable", guard_setmetatable },
  { "", "tonumber", guard_text },
  { "", "tostring", guard_tostring },
  { "", "type", NULL },
  { "", "xpcall", guard_xpcall },
  { "", "_VERSION", NULL },
  { "math", "abs", NULL },
  { "math", "acos", NULL },
  { "math", "asin", NULL },
  { "math", "atan", NULL },
  { "math", "ceil", NULL },
  { "math", "cos", NULL },
  { "math", "deg", NULL },
  { "math", "exp", NULL },
  { "math", "floor", NULL },
  { "math", "fmod", NULL },
  { "math", "huge", NULL },
  { "math", "log", NULL },
  { "math", "max", NULL },
  { "math", "maxinteger", NULL },
  { "math", "min", NULL },
  { "math", "mininteger", NULL },
  { "math", "modf", NULL },
  { "math", "pi", NULL },
  { "math", "rad", NULL },
  { "math", "random", guard_random },
  { "math", "randomseed", guard_randomseed },
  { "math", "sin", NULL },
  { "math", "sqrt", NULL },
  { "math", "tan", NULL },
  { "math", "tointeger", NULL },
  { "math", "type", NULL },
  { "math", "ult", NULL },
  { "string", "byte", guard_text },
  { "string", "char", guard_text },
  { "string", "find", pattern_find },
  { "string", "format", guard_format },
  { "string", "gmatch", pattern_gmatch },
  { "string", "gsub", pattern_gsub },
  { "string", "len", NULL },
  { "string", "lower", guard_text },
  { "string", "match", pattern_match },
  { "string", "pack", guard_text },
  { "string", "packsize", guard_text },
  { "string", "rep", guard_rep },
  { "string", "reverse", guard_text },
  { "string", "sub", guard_text },
  { "string", "unpack", guard_text },
  { "string", "upper", guard_text },
  { "table", "concat", guard_concat },
  { "table", "insert", guard_insert },
  { "table", "move", guard_move },
  { "table", "pack", NULL },
  { "table", "remove", guard_remove },
  { "table", "sort", guard_sort },
  { "table", "unpack", guard_unpack },
  { "utf8", "char", guard_text },
  { "utf8", "charpattern", NULL },
  { "utf8", "codepoint", guard_text },
  { "utf8", "codes", guard_text },
  { "utf8", "len", guard_text },
  { "utf8", "offset", guard_text },
};

static lua_CFunction opener(const char *library)
{
  static const luaL_Reg openers[] = { { "", luaopen_base },         { "math", luaopen_math },
                                      { "string", luaopen_string }, { "table", luaopen_table },
                                      { "utf8", luaopen_utf8 },     { NULL, NULL } };
  const luaL_Reg *found = openers;
  while (strcmp(found->name, library) != 0) found++;
  return found->func;
}

// Stack: the new globals, the stock library. Leaves the table of what is allowed of it: the globals for base.
static size_t copy_library(lua_State *L, size_t i)
{
  const char *library = list[i].library;
  if (library[0] == '\0') {
    lua_pushvalue(L, 1);
  } else {
    lua_newtable(L);
  }
  for (; i < sizeof list / sizeof *list && strcmp(list[i].library, library) == 0; i++) {
    lua_getfield(L, 2, list[i].name);
    if (list[i].guard != NULL) lua_pushcclosure(L, list[i].guard, 1);
    lua_setfield(L, 3, list[i].name);
  }
  return i;
}

// Strings find their methods in the allowed table, and nobody finds the metatable.
static void string_methods(lua_State *L)
{
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
}

int allow_open(lua_State *L)
{
  lua_newtable(L);
  for (size_t i = 0; i < sizeof list / sizeof *list;) {
    const char *library = list[i].library;
    lua_pushcfunction(L, opener(library));
    lua_call(L, 0, 1);
    i = copy_library(L, i);
    if (strcmp(library, "string") == 0) string_methods(L);
    if (library[0] != '\0') lua_setfield(L, 1, library);
    lua_settop(L, 1);
  }
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  return 0;
}
