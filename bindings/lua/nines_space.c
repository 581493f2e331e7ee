// The arena behind the nouns of stock Lua.
//
// Objects are small userdata that name a primitive; making one again gives the same primitive. Everything runs on the
// interpreter's thread, which is the arena's folding thread.

#include "nines_space.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "duration.h"

static const char space_key;
static const char *const type_names[NOUN_KINDS] = { "nines.breaker",        "nines.limiter",  "nines.bulkhead",
                                                    "nines.adaptive_limit", "nines.shedder",  "nines.retry",
                                                    "nines.timeout",        "nines.fallback", "nines.canary",
                                                    "nines.fault",          "nines.counter",  "nines.histogram",
                                                    "nines.baseline",       "nines.path",     "nines.flag" };

static int space_close(lua_State *L)
{
  struct space *space = lua_touserdata(L, 1);
  nines_arena_close(space->arena);
  space->arena = NULL;
  return 0;
}

struct space *space_of(lua_State *L)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &space_key);
  struct space *space = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (space) return space;
  space = lua_newuserdatauv(L, sizeof *space, 0);
  *space = (struct space){ .clock = LUA_NOREF, .folded_ns = INT64_MIN };
  lua_newtable(L);
  lua_pushcfunction(L, space_close);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (nines_arena_open(&space->arena, 0) < 0) luaL_error(L, "out of memory for an arena");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &space_key);
  return space;
}

int64_t space_now(lua_State *L, struct space *space)
{
  if (!space->arena) luaL_error(L, "the interpreter is closing");
  int64_t now_ns;
  if (space->clock != LUA_NOREF) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, space->clock);
    lua_call(L, 0, 1);
    lua_Number seconds = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    if (!(seconds >= 0 && seconds < 9e9)) luaL_error(L, "nines.clock: seconds from 0 to 9e9, not %f", seconds);
    now_ns = (int64_t)(seconds * (double)NS_PER_S);
  } else {
    now_ns = nines_now_ns();
  }
  if (space->folded_ns == INT64_MIN || now_ns - space->folded_ns >= BEAT_NS) {
    nines_arena_fold(space->arena, now_ns);
    space->folded_ns = now_ns;
  }
  return now_ns;
}

// Used before it got settings: it has those of before, or its defaults. What has none (a limiter) stays without.
static void settle(lua_State *L, int index)
{
  lua_pushvalue(L, index);
  luaL_getmetafield(L, -1, "__call");
  lua_insert(L, -2);
  lua_call(L, 1, 0);
}

struct box *box_at(lua_State *L, int noun, const char *what)
{
  struct box *box = luaL_checkudata(L, 1, type_names[noun]);
  if (!box->handle) settle(L, 1);
  if (!box->handle)
    luaL_error(L, "%s has no settings yet: nines.%s \"%s\" { ... }", what, type_names[noun] + 6, box->name);
  return box;
}

struct box *box_any(lua_State *L, int nouns)
{
  for (int noun = 0; noun < nouns; noun++) {
    if (luaL_testudata(L, 1, type_names[noun])) return lua_touserdata(L, 1);
  }
  luaL_argerror(L, 1, "one of the module's objects (object:method(), with a colon)");
  return NULL;
}

int box_fail(lua_State *L, const char *code, const char *sentence)
{
  lua_pushnil(L);
  lua_pushstring(L, sentence);
  lua_pushstring(L, code);
  return 3;
}

_Noreturn void box_refused(lua_State *L, struct space *space)
{
  luaL_error(L, "%s", nines_arena_errmsg(space->arena));
  __builtin_unreachable();
}

// nines.NOUN(name): the object; its settings follow as box { ... }, or as a second argument.
static int make(lua_State *L)
{
  int noun = (int)lua_tointeger(L, lua_upvalueindex(1));
  struct space *space = space_of(L);
  size_t size;
  const char *name = luaL_checklstring(L, 1, &size);
  if (size == 0 || size > GUARD_NAME_MAX || strlen(name) != size)
    return luaL_error(L, "a name has 1 to %d bytes and no zero", GUARD_NAME_MAX);
  lua_settop(L, 2);
  struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (struct box){ .space = space, .noun = noun };
  memcpy(box->name, name, size);
  luaL_setmetatable(L, type_names[noun]);
  if (lua_isnoneornil(L, 2)) return 1;
  lua_replace(L, 1);
  luaL_getmetafield(L, 1, "__call");
  lua_CFunction configure = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  return configure(L); // not lua_call: errors name the line that called us
}

static int box_text(lua_State *L)
{
  const struct box *box = lua_touserdata(L, 1);
  lua_pushfstring(L, "%s \"%s\"", type_names[box->noun] + 6, box->name);
  return 1;
}

void noun_open(lua_State *L, int noun, const char *name, const struct luaL_Reg *methods, int (*configure)(lua_State *L))
{
  luaL_newmetatable(L, type_names[noun]);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, configure);
  lua_setfield(L, -2, "__call");
  lua_pushcfunction(L, box_text);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  lua_pushinteger(L, noun);
  lua_pushcclosure(L, make, 1);
  lua_setfield(L, -2, name);
}
