// protection:call(fn, ...) in stock Lua: runs fn under the protection and returns what it returned.
//
// Refused: nil, sentence, code. fn that raises: nil, its message, "failed". fn may yield. A limiter's or retry's wait
// blocks the thread (nanosleep), unless nines.clock is set: then time is the caller's, and nothing is waited for.
#ifndef NINES_LUA_CALL_H
#define NINES_LUA_CALL_H

#include <lua.h>

#include "nines_space.h"

int call_breaker(lua_State *L); // breaker:call(fn, ...), and so on
int call_limiter(lua_State *L);
int call_bulkhead(lua_State *L);
int call_adaptive_limit(lua_State *L);
int call_shedder(lua_State *L); // shedder:call([criticality,] fn, ...)
int call_retry(lua_State *L);
int call_timeout(lua_State *L);  // interrupts Lua code, not a C function that blocks
int call_fallback(lua_State *L); // fallback:call(fn, alternative, ...): alternative(why, ...) when fn failed
int call_limited(lua_State *L, const struct box *box, int64_t refused_ns); // nil, sentence, "limited"
int call_criticality(lua_State *L, int index);                             // by name; "critical" when there is none
void call_open(lua_State *L);

#endif
