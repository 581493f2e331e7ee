// The primitives for stock Lua: the nouns of nines.h as objects, in an arena of the interpreter's own.
#ifndef NINES_LUA_GUARDS_H
#define NINES_LUA_GUARDS_H

#include <lua.h>

// Adds breaker, limiter, bulkhead, adaptive_limit, shedder, retry, timeout, fallback, canary, fault, counter,
// histogram, ewma, change, baseline and clock to the module's table on top of the stack.
void guards_open(lua_State *L);

#endif
