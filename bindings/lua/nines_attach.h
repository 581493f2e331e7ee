// What stock Lua does with an engine: attach to one in another process, or run one in this interpreter.
#ifndef NINES_LUA_ATTACH_H
#define NINES_LUA_ATTACH_H

#include <lua.h>

// Adds attach, engine_state, path and flag to the module's table on top of the stack.
void attach_open(lua_State *L);
void engine_open_module(lua_State *L); // adds open

#endif
