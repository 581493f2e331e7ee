// Tables of options from stock Lua, read by the schemas that read everything else.

#include "nines_options.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "duration.h"
#include "lua_value.h"

static const char cut_end[] = ", ...)";

// A list of known keys that was cut ends after a whole one.
static void end_list(char *text)
{
  char *list = strstr(text, "(known: "), *comma = list ? strrchr(list, ',') : NULL;
  if (comma && strlen(text) == STATUS_TEXT_MAX - 1) memcpy(comma, cut_end, sizeof cut_end);
}

int options_raise(lua_State *L, struct pool *pool, const struct status *status)
{
  char text[STATUS_TEXT_MAX + sizeof cut_end];
  snprintf(text, sizeof text, "%s", status->text);
  end_list(text);
  pool_fini(pool);
  return luaL_error(L, "%s", text);
}

struct value options_at(lua_State *L, int index, const char *what, struct pool *pool)
{
  struct value value = value_table();
  struct lua_reader reader;
  struct status status = { 0 };
  if (lua_isnoneornil(L, index)) return value;
  luaL_checktype(L, index, LUA_TTABLE);
  lua_reader_init(&reader, pool);
  reader.copy_text = true;
  if (!lua_value_read(L, index, &reader, &value)) {
    status_set(&status, NINES_EINVAL, "%s%s: %s", what, reader.path, reader.why);
    options_raise(L, pool, &status);
  }
  if (value.type == VALUE_LIST && value.list.count == 0) value = value_table();
  return value;
}

void options_decode(lua_State *L, int index, const char *what, const struct schema_field *fields, void *target,
                    struct pool *pool)
{
  struct status status = { 0 };
  struct value options = options_at(L, index, what, pool);
  if (schema_decode(fields, &options, target, what, pool, &status) < 0) options_raise(L, pool, &status);
}

int64_t options_interval(lua_State *L, int index, const char *what)
{
  int64_t interval_ns;
  struct status status = { 0 };
  if (lua_type(L, index) == LUA_TNUMBER) {
    lua_Number seconds = lua_tonumber(L, index);
    if (seconds >= 0 && seconds < 3.2e9) return (int64_t)(seconds * (double)NS_PER_S);
  } else if (lua_type(L, index) == LUA_TSTRING) {
    if (duration_parse(view_of(lua_tostring(L, index)), &interval_ns, &status) == 0) return interval_ns;
    luaL_error(L, "%s: %s", what, status.text);
  }
  return luaL_error(L, "%s takes a duration as \"10m\", or a number of seconds", what);
}
