// Libraries are text: compiled into the state of the file that uses them and charged to it, run once in it, their value
// returned each time. The script notes their names, so that a changed library reloads the files that use it.
#include "library.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "mem.h"
#include "script.h"
#include "vocabulary.h"

static const char loaded; // its address is the registry's key of the table of loaded libraries

static void check_name(lua_State *L, const char *name)
{
  bool good = isalpha((unsigned char)name[0]) && strlen(name) <= LIBRARY_NAME_MAX;
  for (const char *at = name; good && *at; at++)
    good = isalnum((unsigned char)*at) || *at == '_' || *at == '-' || (*at == '/' && at[1] != '/' && at[1] != '\0');
  if (!good) luaL_error(L, "use: \"%s\" is no name of a library; write use \"detection/two_sided\"", name);
}

static void note(lua_State *L, struct script *script, const char *name)
{
  if (script->library_count == SCRIPT_LIBRARIES_MAX)
    luaL_error(L, "use: more than %d libraries in one file", SCRIPT_LIBRARIES_MAX);
  script->libraries[script->library_count++] = mem_must_copy(name);
}

// Pushes the library's function.
static void compile(lua_State *L, struct script *script, const char *name)
{
  struct view text;
  struct status status;
  char file[LIBRARY_NAME_MAX + 16];
  if (!script->scheduler->library(script->scheduler, name, &text))
    luaL_error(L, "use: there is no library \"%s\"", name);
  snprintf(file, sizeof file, "lib/%s.lua", name);
  if (sandbox_compile(&script->sandbox, text.data, text.size, file, &status) != 0) {
    lua_pushstring(L, status.text);
    lua_error(L);
  }
  if (L != script->sandbox.L) lua_xmove(script->sandbox.L, L, 1);
  vocabulary_check(L, file);
}

int library_use(lua_State *L)
{
  struct script *script = script_of(L);
  const char *name = luaL_checkstring(L, 1);
  script_only_loading(L, "use");
  check_name(L, name);
  lua_settop(L, 1);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded);
  }
  int type = lua_getfield(L, 2, name);
  if (type == LUA_TLIGHTUSERDATA) return luaL_error(L, "use: library \"%s\" uses itself", name);
  if (type != LUA_TNIL) return 1;
  note(L, script, name);
  lua_pushlightuserdata(L, (void *)&loaded);
  lua_setfield(L, 2, name);
  compile(L, script, name);
  lua_call(L, 0, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, 2, name);
  return 1;
}
