// Canary, fault points and measures for stock Lua.
#ifndef NINES_LUA_MEASURES_H
#define NINES_LUA_MEASURES_H

#include <lua.h>

void measures_open(lua_State *L); // adds canary, fault, counter, histogram, baseline, ewma, change

#endif
