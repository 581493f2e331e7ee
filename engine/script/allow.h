// The allowlist: what a sandboxed script can call, as one table.
#ifndef NINES_SCRIPT_ALLOW_H
#define NINES_SCRIPT_ALLOW_H

#include <lua.h>

// A lua_CFunction: replaces the state's globals with the allowed ones. The state's sandbox must be set. `print` is left
// to the caller, who knows where logs go.
int allow_open(lua_State *L);

#endif
