// Intervals: one reading for sleep, every, after and wait_for, so that all say the same about a bad one.
#include "interval.h"

#include <lauxlib.h>

int64_t interval_check(lua_State *L, int index, const char *word)
{
  struct status status;
  int64_t ns;
  if (lua_type(L, index) == LUA_TNUMBER) {
    double seconds = lua_tonumber(L, index);
    if (seconds >= 0 && seconds * 1e9 <= (double)DURATION_MAX_NS) return (int64_t)(seconds * 1e9 + 0.5);
    return luaL_error(L, "%s: %f is no interval; write seconds, 0 or more, or a text as \"30s\"", word, seconds);
  }
  if (lua_type(L, index) == LUA_TSTRING) {
    struct view text;
    text.data = lua_tolstring(L, index, &text.size);
    if (duration_parse(text, &ns, &status) == 0) return ns;
    return luaL_error(L, "%s: %s", word, status.text);
  }
  return luaL_error(L, "%s: an interval is a text as \"30s\" or a number of seconds, not %s", word,
                    luaL_typename(L, index));
}
