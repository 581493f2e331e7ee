// Lua values in and out.
//
// Reading uses only calls that neither allocate in Lua nor raise (but for functions, which are registered), so that it
// also works outside of a protected call: `keep` is read between turns. Everything is raw: metatables of the script
// are not asked. A bad value is reported with its path, which is put together while the recursion unwinds, so that good
// values pay nothing for it.
#include "lua_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "object.h"
#include "script.h"

void lua_reader_init(struct lua_reader *reader, struct pool *pool)
{
  reader->pool = pool;
  reader->bytes_left = LUA_VALUE_BYTES_MAX;
  reader->copy_text = reader->allow_objects = reader->objects_by_name = reader->allow_functions = false;
  reader->function_count = 0;
  reader->path[0] = reader->why[0] = '\0';
}

static bool refuse(struct lua_reader *reader, const char *why)
{
  snprintf(reader->why, sizeof reader->why, "%s", why);
  return false;
}

// Puts a step before the path of the error.
static bool step(struct lua_reader *reader, const char *key, size_t index)
{
  char longer[LUA_VALUE_PATH_MAX + 48];
  if (key)
    snprintf(longer, sizeof longer, ".%.32s%s", key, reader->path);
  else
    snprintf(longer, sizeof longer, "[%zu]%s", index, reader->path);
  memcpy(reader->path, longer, sizeof reader->path - 1);
  return false;
}

static bool charge(struct lua_reader *reader, size_t bytes)
{
  if (bytes > reader->bytes_left) return refuse(reader, "too large (all in all, 256 KiB at most)");
  reader->bytes_left -= bytes;
  return true;
}

static bool read_text(lua_State *L, int index, struct lua_reader *reader, struct view *out)
{
  out->data = lua_tolstring(L, index, &out->size);
  if (!charge(reader, out->size)) return false;
  if (!reader->copy_text) return true;
  out->data = pool_copy(reader->pool, *out);
  return out->data || refuse(reader, "out of memory");
}

static bool read_any(lua_State *L, int index, struct lua_reader *reader, struct value *out, int depth);

static bool read_list(lua_State *L, int index, struct lua_reader *reader, struct value *out, size_t count, int depth)
{
  out->type = VALUE_LIST;
  out->list.count = count;
  out->list.items = pool_alloc(reader->pool, count * sizeof *out->list.items);
  if (!out->list.items) return refuse(reader, "out of memory");
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (lua_Integer)(i + 1));
    bool ok = read_any(L, lua_gettop(L), reader, &out->list.items[i], depth + 1);
    lua_pop(L, 1);
    if (!ok) return step(reader, NULL, i + 1);
  }
  return true;
}

static int by_key(const void *a, const void *b)
{
  const struct view *left = &((const struct member *)a)->key, *right = &((const struct member *)b)->key;
  size_t shorter = left->size < right->size ? left->size : right->size;
  int order = memcmp(left->data, right->data, shorter);
  if (order != 0) return order;
  return left->size < right->size ? -1 : left->size > right->size;
}

static void sort_members(struct member *members, size_t count)
{
  if (count > 8) {
    qsort(members, count, sizeof *members, by_key);
    return;
  }
  for (size_t i = 1; i < count; i++) {
    struct member member = members[i];
    size_t at = i;
    for (; at > 0 && by_key(&members[at - 1], &member) > 0; at--) members[at] = members[at - 1];
    members[at] = member;
  }
}

static bool read_members(lua_State *L, int index, struct lua_reader *reader, struct value *out, size_t count, int depth)
{
  out->type = VALUE_TABLE;
  out->table.count = count;
  out->table.members = NULL;
  if (count == 0) return true;
  out->table.members = pool_alloc(reader->pool, count * sizeof *out->table.members);
  if (!out->table.members) return refuse(reader, "out of memory");
  size_t at = 0;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    struct member *member = &out->table.members[at++];
    int top = lua_gettop(L);
    if (!read_text(L, top - 1, reader, &member->key) || !read_any(L, top, reader, &member->value, depth + 1)) {
      step(reader, lua_tostring(L, top - 1), 0);
      lua_pop(L, 2);
      return false;
    }
    lua_pop(L, 1);
  }
  sort_members(out->table.members, count);
  return true;
}

static bool read_table(lua_State *L, int index, struct lua_reader *reader, struct value *out, int depth)
{
  if (depth >= VALUE_DEPTH_MAX) return refuse(reader, "nested deeper than 16 tables (or within itself)");
  if (!lua_checkstack(L, 6)) return refuse(reader, "out of memory");
  size_t texts = 0, integers = 0, length = lua_rawlen(L, index);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    int type = lua_type(L, -2);
    lua_pop(L, 1);
    if (type == LUA_TSTRING)
      texts++;
    else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && (lua_Unsigned)lua_tointeger(L, -1) <= length)
      integers++;
    else {
      lua_pop(L, 1);
      return refuse(reader, "keys must be texts, or 1, 2, 3, ... without holes");
    }
  }
  if (!charge(reader, (texts + integers) * sizeof(struct member))) return false;
  if (texts > 0 && integers > 0) return refuse(reader, "a table with both named fields and list items");
  if (integers != length) return refuse(reader, "a list with holes");
  if (integers > 0) return read_list(L, index, reader, out, integers, depth);
  return read_members(L, index, reader, out, texts, depth);
}

static bool read_object(lua_State *L, int index, struct lua_reader *reader, struct value *out)
{
  const struct object *object = object_at(L, index);
  if (!object || !reader->allow_objects) return refuse(reader, "objects cannot be stored here");
  out->type = VALUE_OBJECT;
  out->object.noun = object->noun;
  out->object.name = object->name[0] ? pool_copy(reader->pool, view_of(object->name)) : NULL;
  out->object.handle = reader->objects_by_name ? (uint64_t)(uintptr_t)object : object_handle(L, object);
  return true;
}

static bool read_function(lua_State *L, int index, struct lua_reader *reader, struct value *out)
{
  if (!reader->allow_functions) return refuse(reader, "a function cannot be stored here");
  if (reader->function_count == LUA_VALUE_FUNCTIONS_MAX) return refuse(reader, "more than 16 functions");
  out->type = VALUE_FUNCTION;
  out->integer = script_register(L, index);
  reader->functions[reader->function_count++] = out->integer;
  return true;
}

static bool read_any(lua_State *L, int index, struct lua_reader *reader, struct value *out, int depth)
{
  *out = value_nil();
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    return true;
  case LUA_TBOOLEAN:
    *out = value_bool(lua_toboolean(L, index));
    return true;
  case LUA_TNUMBER:
    *out = lua_isinteger(L, index) ? value_integer(lua_tointeger(L, index)) : value_number(lua_tonumber(L, index));
    return true;
  case LUA_TSTRING:
    out->type = VALUE_TEXT;
    return read_text(L, index, reader, &out->text);
  case LUA_TTABLE:
    return read_table(L, index, reader, out, depth);
  case LUA_TUSERDATA:
    return read_object(L, index, reader, out);
  case LUA_TFUNCTION:
    return read_function(L, index, reader, out);
  default:
    return refuse(reader, "not a plain value");
  }
}

bool lua_value_read(lua_State *L, int index, struct lua_reader *reader, struct value *out)
{
  return read_any(L, lua_absindex(L, index), reader, out, 0);
}

static void push_list(lua_State *L, const struct value *value)
{
  lua_createtable(L, (int)value->list.count, 0);
  for (size_t i = 0; i < value->list.count; i++) {
    lua_value_push(L, &value->list.items[i]);
    lua_rawseti(L, -2, (lua_Integer)(i + 1));
  }
}

static void push_table(lua_State *L, const struct value *value)
{
  lua_createtable(L, 0, (int)value->table.count);
  for (size_t i = 0; i < value->table.count; i++) {
    const struct member *member = &value->table.members[i];
    lua_pushlstring(L, member->key.data, member->key.size);
    lua_value_push(L, &member->value);
    lua_rawset(L, -3);
  }
}

void lua_value_push(lua_State *L, const struct value *value)
{
  luaL_checkstack(L, 4, "values nested too deeply");
  switch ((enum value_type)value->type) {
  case VALUE_NIL:
    lua_pushnil(L);
    return;
  case VALUE_BOOL:
    lua_pushboolean(L, value->boolean);
    return;
  case VALUE_INTEGER:
    lua_pushinteger(L, value->integer);
    return;
  case VALUE_NUMBER:
    lua_pushnumber(L, value->number);
    return;
  case VALUE_TEXT:
    lua_pushlstring(L, value->text.data ? value->text.data : "", value->text.size);
    return;
  case VALUE_LIST:
    push_list(L, value);
    return;
  case VALUE_TABLE:
    push_table(L, value);
    return;
  case VALUE_FUNCTION:
    if (!script_push_function(L, value->integer)) lua_pushnil(L);
    return;
  case VALUE_OBJECT:
    object_push_handle(L, value->object.noun, value->object.handle);
    return;
  }
}
