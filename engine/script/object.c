// Objects: references, declarations, methods.
//
// `noun "name"` makes one userdata a name and state, so that objects are equal when they are the same and can be keys
// of tables; it holds the name, and the handle is asked for at every use, because objects come and go under their
// names. The metatable of a noun, with its methods, is made when its first object is: most files use few of the nouns.
#include "object.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "call.h"
#include "handler.h"
#include "nearest.h"
#include "script.h"
#include "verb.h"

static const char proof[] = "object";

struct object *object_at(lua_State *L, int index)
{
  struct object *object = lua_touserdata(L, index);
  if (!object || lua_type(L, index) != LUA_TUSERDATA || lua_rawlen(L, index) <= sizeof *object) return NULL;
  return object->proof == proof ? object : NULL;
}

uint64_t object_handle(lua_State *L, const struct object *object)
{
  if (!object->noun->find) return object->handle;
  return object->noun->find(script_of(L)->scheduler->config->hooks.app, object->name);
}

// Methods

static int gone(lua_State *L, const struct object *object)
{
  lua_pushnil(L);
  lua_pushfstring(L, "%s \"%s\" does not exist any more", object->noun->kind, object->name);
  lua_pushstring(L, "gone");
  return 3;
}

static int call_method(lua_State *L)
{
  const struct noun *noun = lua_touserdata(L, lua_upvalueindex(1));
  const struct noun_method *method = lua_touserdata(L, lua_upvalueindex(2));
  const struct object *object = object_at(L, 1);
  if (!object || object->noun != noun)
    return luaL_error(L, "call it with a colon: %s:%s(...)", noun->kind, method->name);
  if (script_of(L)->loading) script_only_running(L, lua_pushfstring(L, "%s:%s", noun->kind, method->name));
  uint64_t handle = object_handle(L, object);
  if (handle == 0) return gone(L, object);
  return call_enter(L, noun, method->name, method->call, handle, 2);
}

static int read_property(lua_State *L, const struct object *object, const struct noun_method *method)
{
  if (script_of(L)->loading) script_only_running(L, lua_pushfstring(L, "%s.%s", object->noun->kind, method->name));
  uint64_t handle = object_handle(L, object);
  if (handle == 0) return gone(L, object);
  int top = lua_gettop(L);
  return call_enter(L, object->noun, method->name, method->call, handle, top + 1);
}

static int unknown_method(lua_State *L, const struct noun *noun)
{
  const char *key = luaL_tolstring(L, 2, NULL);
  struct nearest nearest;
  nearest_init(&nearest, view_of(key));
  nearest_try(&nearest, "on");
  for (const struct noun_method *method = noun->methods; method && method->name; method++)
    nearest_try(&nearest, method->name);
  if (nearest.best) return luaL_error(L, "%s has no \"%s\" (did you mean \"%s\"?)", noun->kind, key, nearest.best);
  return luaL_error(L, "%s has no \"%s\"", noun->kind, key);
}

// upvalue 1: the table of methods (functions, and properties as light userdata)
static int object_index(lua_State *L)
{
  const struct object *object = object_at(L, 1);
  if (!object) return luaL_error(L, "not an object");
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  int type = lua_rawget(L, lua_upvalueindex(1));
  if (type == LUA_TFUNCTION) return 1;
  if (type == LUA_TLIGHTUSERDATA) return read_property(L, object, lua_touserdata(L, -1));
  return unknown_method(L, object->noun);
}

static int object_newindex(lua_State *L)
{
  const struct object *object = object_at(L, 1);
  return luaL_error(L, "%s \"%s\" cannot be changed by assignment; its methods or its declaration do that",
                    object ? object->noun->kind : "object", object ? object->name : "?");
}

static int object_tostring(lua_State *L)
{
  const struct object *object = object_at(L, 1);
  if (!object) return luaL_error(L, "not an object");
  if (object->name[0])
    lua_pushfstring(L, "%s \"%s\"", object->noun->kind, object->name);
  else
    lua_pushfstring(L, "%s %I", object->noun->kind, (LUAI_UACINT)object->handle);
  return 1;
}

static int object_equal(lua_State *L)
{
  const struct object *a = object_at(L, 1), *b = object_at(L, 2);
  bool same = a && b && a->noun == b->noun && strcmp(a->name, b->name) == 0 && a->handle == b->handle;
  lua_pushboolean(L, same);
  return 1;
}

static int object_declare(lua_State *L)
{
  const struct object *object = object_at(L, 1);
  if (!object) return luaL_error(L, "not an object");
  if (lua_type(L, 2) != LUA_TTABLE || lua_gettop(L) != 2)
    return luaL_error(L, "%s \"%s\" is declared with a table: %s \"%s\" { ... }", object->noun->kind, object->name,
                      object->noun->kind, object->name);
  script_declare(L, object, 2);
  lua_settop(L, 1);
  return 1;
}

static int object_on(lua_State *L)
{
  const struct object *object = object_at(L, 1);
  if (!object) return luaL_error(L, "call it with a colon: object:on(\"topic\", function)");
  return handler_on_object(L, object);
}

static void push_methods(lua_State *L, const struct noun *noun)
{
  lua_newtable(L);
  lua_pushcfunction(L, object_on);
  lua_setfield(L, -2, "on");
  for (const struct noun_method *method = noun->methods; method && method->name; method++) {
    if (method->property) {
      lua_pushlightuserdata(L, (void *)method);
    } else {
      lua_pushlightuserdata(L, (void *)noun);
      lua_pushlightuserdata(L, (void *)method);
      lua_pushcclosure(L, call_method, 2);
    }
    lua_setfield(L, -2, method->name);
  }
}

// The metatable of a noun's objects; field 1 has the objects by name.
static void push_metatable(lua_State *L, const struct noun *noun)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, noun) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 1, 8);
  push_methods(L, noun);
  lua_pushcclosure(L, object_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, object_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, object_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, object_equal);
  lua_setfield(L, -2, "__eq");
  lua_pushcfunction(L, object_declare);
  lua_setfield(L, -2, "__call");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_newtable(L);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, noun);
}

// The metatable is on top of the stack; it is replaced by the object.
static struct object *push_new(lua_State *L, const struct noun *noun, const char *name, uint64_t handle)
{
  size_t size = strlen(name) + 1;
  struct object *object = lua_newuserdatauv(L, sizeof *object + size, 0);
  object->proof = proof;
  object->noun = noun;
  object->handle = handle;
  memcpy(object->name, name, size);
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  return object;
}

// Pushes the one object of this name; true when it was made now.
static bool push_named(lua_State *L, const struct noun *noun, const char *name)
{
  luaL_checkstack(L, 8, NULL);
  push_metatable(L, noun);
  lua_rawgeti(L, -1, 1);
  if (lua_getfield(L, -1, name) == LUA_TUSERDATA) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return false;
  }
  lua_pop(L, 1);
  lua_insert(L, -2);
  push_new(L, noun, name, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, name);
  lua_remove(L, -2);
  return true;
}

void object_push_handle(lua_State *L, const struct noun *noun, uint64_t handle)
{
  void *app = script_of(L)->scheduler->config->hooks.app;
  const char *name = noun->name && handle ? noun->name(app, handle) : NULL;
  if (handle == 0 || (noun->find && !name)) {
    lua_pushnil(L);
  } else if (noun->find) {
    push_named(L, noun, name);
  } else {
    luaL_checkstack(L, 8, NULL);
    push_metatable(L, noun);
    push_new(L, noun, name ? name : "", handle);
  }
}

// Nouns

static void try_name(void *userdata, const char *name)
{
  nearest_try(userdata, name);
}

void object_nearest(const struct noun *noun, void *app, const char *name, char *out, size_t size)
{
  struct nearest nearest;
  nearest_init(&nearest, view_of(name));
  if (noun->names) noun->names(app, try_name, &nearest);
  snprintf(out, size, "%s", nearest.best ? nearest.best : "");
}

static void must_live(lua_State *L, const struct noun *noun, const char *name)
{
  void *app = script_of(L)->scheduler->config->hooks.app;
  char near[SCRIPT_NAME_MAX + 1];
  if (noun->find(app, name)) return;
  object_nearest(noun, app, name, near, sizeof near);
  if (near[0]) luaL_error(L, "unknown %s \"%s\" (did you mean \"%s\"?)", noun->kind, name, near);
  luaL_error(L, "unknown %s \"%s\"", noun->kind, name);
}

// upvalue 1: the noun; called as the __call of its global
static int noun_call(lua_State *L)
{
  const struct noun *noun = lua_touserdata(L, lua_upvalueindex(1));
  size_t size = 0;
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &size) : NULL;
  if (!name || size == 0) return luaL_error(L, "%s needs a name: %s \"name\"", noun->kind, noun->kind);
  if (size > SCRIPT_NAME_MAX || strlen(name) != size)
    return luaL_error(L, "a name of %s has at most %d bytes, none of them zero", noun->kind, SCRIPT_NAME_MAX);
  if (lua_gettop(L) > 2) return luaL_error(L, "write %s \"%s\" { ... } to declare it", noun->kind, name);
  bool loading = script_of(L)->loading;
  if (!loading) must_live(L, noun, name);
  bool made = push_named(L, noun, name);
  if (made && loading) script_refer(L, object_at(L, -1));
  return 1;
}

static int noun_tostring(lua_State *L)
{
  const struct noun *noun = lua_touserdata(L, lua_upvalueindex(1));
  lua_pushstring(L, noun->kind);
  return 1;
}

void object_install(lua_State *L, const struct noun *const *nouns)
{
  for (; nouns && *nouns; nouns++) {
    const struct noun *noun = *nouns;
    if (!noun->find) continue;
    const char *dot = strchr(noun->kind, '.');
    const char *last = dot ? dot + 1 : noun->kind;
    if (dot) {
      verb_push_group(L, noun->kind, (size_t)(dot - noun->kind));
      lua_pushstring(L, last);
      lua_newtable(L);
      lua_newtable(L);
      lua_pushboolean(L, 0);
      lua_setfield(L, -2, "__metatable");
      lua_pushvalue(L, -1);
      lua_setmetatable(L, -3);
      lua_insert(L, -4); // metatable, group, key, table
      lua_rawset(L, -3);
      lua_pop(L, 1);
    } else {
      verb_push_group(L, last, strlen(last));
      lua_getmetatable(L, -1);
      lua_remove(L, -2);
    }
    lua_pushlightuserdata(L, (void *)noun);
    lua_pushcclosure(L, noun_call, 1);
    lua_setfield(L, -2, "__call");
    lua_pushlightuserdata(L, (void *)noun);
    lua_pushcclosure(L, noun_tostring, 1);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
  }
}
