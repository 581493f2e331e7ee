// One call from a script into the application: arguments in, results out, or a wait.
#ifndef NINES_SCRIPT_CALL_H
#define NINES_SCRIPT_CALL_H

#include <lua.h>

#include "noun.h"

// Calls `fn` with the values from stack index `first` up; returns the number of results or yields. `noun` and `name`
// label messages: "thing:mend", or "http.get" when noun is NULL.
int call_enter(lua_State *L, const struct noun *noun, const char *name, call_fn *fn, uint64_t handle, int first);

#endif
