// Ordered iteration. `pairs` follows the hash seed of the process; each(t) takes numbers first, in order, then texts by
// their bytes, then false and true, then objects by kind and name. The keys are those at the start; one whose value is
// gone by the time it is reached is left out.
#include "each.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "object.h"
#include "sandbox.h"

struct key {
  int rank;
  double number;
  const char *text;
  size_t size;
  lua_Integer place; // in the array of keys; also orders what is otherwise equal
};

static int by_order(const void *a, const void *b)
{
  const struct key *left = a, *right = b;
  if (left->rank != right->rank) return left->rank - right->rank;
  if (left->number != right->number) return left->number < right->number ? -1 : 1;
  size_t shorter = left->size < right->size ? left->size : right->size;
  int order = shorter > 0 ? memcmp(left->text, right->text, shorter) : 0;
  if (order != 0) return order;
  if (left->size != right->size) return left->size < right->size ? -1 : 1;
  return left->place < right->place ? -1 : 1;
}

static struct key key_at(lua_State *L, int index, lua_Integer place)
{
  struct key key = { .place = place };
  const struct object *object;
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
    key.number = lua_tonumber(L, index);
    break;
  case LUA_TSTRING:
    key.rank = 1;
    key.text = lua_tolstring(L, index, &key.size);
    break;
  case LUA_TBOOLEAN:
    key.rank = 2;
    key.number = lua_toboolean(L, index);
    break;
  default:
    if (!(object = object_at(L, index)) || !object->name[0])
      luaL_error(L, "each: a key that is a %s has no order", luaL_typename(L, index));
    key.rank = 3;
    key.text = object->name;
    key.size = strlen(object->name);
  }
  return key;
}

// upvalues: the table, its keys in order, how many were seen
static int next_pair(lua_State *L)
{
  lua_Integer at = lua_tointeger(L, lua_upvalueindex(3));
  for (;;) {
    lua_settop(L, 0);
    if (lua_rawgeti(L, lua_upvalueindex(2), ++at) == LUA_TNIL) return 1;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) break;
  }
  lua_pushinteger(L, at);
  lua_replace(L, lua_upvalueindex(3));
  return 2;
}

int each_call(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_newtable(L);
  lua_Integer count = 0;
  for (lua_pushnil(L); lua_next(L, 1);) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, ++count);
  }
  sandbox_charge(L, (uint64_t)count * 16);
  struct key *keys = lua_newuserdatauv(L, (size_t)count * sizeof *keys + 1, 0);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    keys[i - 1] = key_at(L, -1, i);
    lua_pop(L, 1);
  }
  qsort(keys, (size_t)count, sizeof *keys, by_order);
  lua_pushvalue(L, 1);
  lua_createtable(L, (int)count, 0);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, keys[i - 1].place);
    lua_rawseti(L, -2, i);
  }
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_pair, 3);
  return 1;
}
