// Verbs: `page`, `http.get`. A dot makes a group, a global table whose unknown fields raise with a "did you mean"; the
// group may be a noun's global at the same time (`incident "x"`, `incident.open`).
#include "verb.h"

#include <string.h>

#include <lauxlib.h>

#include "call.h"
#include "nearest.h"
#include "script.h"

static int call_verb(lua_State *L)
{
  const struct verb *verb = lua_touserdata(L, lua_upvalueindex(1));
  if (!verb->at_load) script_only_running(L, verb->name);
  return call_enter(L, NULL, verb->name, verb->call, 0, 1);
}

static int unknown_field(lua_State *L)
{
  const char *group = lua_tostring(L, lua_upvalueindex(1)), *key = luaL_tolstring(L, 2, NULL);
  struct nearest nearest;
  nearest_init(&nearest, view_of(key));
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) nearest_try(&nearest, lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  if (nearest.best) return luaL_error(L, "unknown %s.%s (did you mean \"%s.%s\"?)", group, key, group, nearest.best);
  return luaL_error(L, "unknown %s.%s", group, key);
}

static int refuse_field(lua_State *L)
{
  return luaL_error(L, "%s belongs to nines and cannot be changed", lua_tostring(L, lua_upvalueindex(1)));
}

void verb_push_group(lua_State *L, const char *name, size_t size)
{
  lua_pushglobaltable(L);
  lua_pushlstring(L, name, size);
  if (lua_rawget(L, -2) == LUA_TTABLE) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 4);
  lua_pushlstring(L, name, size);
  lua_pushcclosure(L, unknown_field, 1);
  lua_setfield(L, -2, "__index");
  lua_pushlstring(L, name, size);
  lua_pushcclosure(L, refuse_field, 1);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_pushlstring(L, name, size);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_remove(L, -2);
}

void verb_install(lua_State *L, const struct verb *verbs)
{
  for (const struct verb *verb = verbs; verb && verb->name; verb++) {
    const char *dot = strchr(verb->name, '.');
    if (dot)
      verb_push_group(L, verb->name, (size_t)(dot - verb->name));
    else
      lua_pushglobaltable(L);
    lua_pushstring(L, dot ? dot + 1 : verb->name);
    lua_pushlightuserdata(L, (void *)verb);
    lua_pushcclosure(L, call_verb, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
}
