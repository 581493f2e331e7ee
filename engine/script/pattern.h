// string.find, match, gmatch and gsub for sandboxes: Lua's patterns, metered.
#ifndef NINES_SCRIPT_PATTERN_H
#define NINES_SCRIPT_PATTERN_H

#include <lua.h>

// lua_CFunctions, the same in every documented way as the stock ones.
int pattern_find(lua_State *L);
int pattern_match(lua_State *L);
int pattern_gmatch(lua_State *L);
int pattern_gsub(lua_State *L);

#endif
