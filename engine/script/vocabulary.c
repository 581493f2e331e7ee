// All words together, and the check that a text uses no other. A typo inside a handler is found when the file loads,
// not in the night when the handler runs.
#include "vocabulary.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "flow.h"
#include "globals.h"
#include "nearest.h"
#include "object.h"
#include "script.h"
#include "verb.h"

void vocabulary_install(lua_State *L)
{
  const struct scripts_config *config = script_of(L)->scheduler->config;
  object_install(L, config->nouns);
  verb_install(L, config->verbs);
  flow_install(L);
}

struct check {
  lua_State *L;
  int own; // stack index of the set of names that the text defines
  int line;
  bool is_write;
  char name[64];
};

static bool is_global(lua_State *L, const char *name)
{
  lua_pushglobaltable(L);
  lua_pushstring(L, name);
  bool known = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 2);
  return known;
}

static void note(struct check *check, const struct globals_use *use)
{
  if (check->name[0]) return;
  snprintf(check->name, sizeof check->name, "%s", use->name);
  check->line = use->line;
  check->is_write = use->is_write;
}

static void collect_write(void *userdata, const struct globals_use *use)
{
  struct check *check = userdata;
  if (!use->is_write) return;
  if (is_global(check->L, use->name)) {
    note(check, use);
    return;
  }
  lua_pushboolean(check->L, 1);
  lua_setfield(check->L, check->own, use->name);
}

static void judge_read(void *userdata, const struct globals_use *use)
{
  struct check *check = userdata;
  if (use->is_write || is_global(check->L, use->name)) return;
  bool own = lua_getfield(check->L, check->own, use->name) != LUA_TNIL;
  lua_pop(check->L, 1);
  if (!own) note(check, use);
}

static void try_keys(lua_State *L, int index, struct nearest *nearest)
{
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING) nearest_try(nearest, lua_tostring(L, -2));
}

static void refuse(struct check *check, const char *file)
{
  lua_State *L = check->L;
  struct nearest nearest;
  if (check->is_write) {
    lua_pushfstring(L, "%s:%d: %s is a word of the language and cannot be assigned; write local %s = ...", file,
                    check->line, check->name, check->name);
    lua_error(L);
  }
  nearest_init(&nearest, view_of(check->name));
  lua_pushglobaltable(L);
  try_keys(L, lua_gettop(L), &nearest);
  try_keys(L, check->own, &nearest);
  if (nearest.best)
    lua_pushfstring(L, "%s:%d: unknown name \"%s\" (did you mean \"%s\"?)", file, check->line, check->name,
                    nearest.best);
  else
    lua_pushfstring(L, "%s:%d: unknown name \"%s\"", file, check->line, check->name);
  lua_error(L);
}

void vocabulary_check(lua_State *L, const char *file)
{
  struct check check = { .L = L };
  struct status status;
  luaL_checkstack(L, 10, NULL);
  lua_newtable(L);
  lua_insert(L, -2);
  check.own = lua_gettop(L) - 1;
  int rc = globals_check_function(L, collect_write, &check, &status);
  if (rc == 0 && !check.name[0]) rc = globals_check_function(L, judge_read, &check, &status);
  if (rc != 0) luaL_error(L, "%s: %s", file, status.text);
  if (check.name[0]) refuse(&check, file);
  lua_remove(L, check.own);
}
