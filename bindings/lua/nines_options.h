// Arguments of the module's functions: options by schema, durations, errors that raise with position.
#ifndef NINES_LUA_OPTIONS_H
#define NINES_LUA_OPTIONS_H

#include <lua.h>

#include "schema.h"

// Raises the sentence after the pool is gone.
int options_raise(lua_State *L, struct pool *pool, const struct status *status);
// The options at `index` as a value in the pool; nothing is an empty table. `what` begins the sentence of an error.
struct value options_at(lua_State *L, int index, const char *what, struct pool *pool);
void options_decode(lua_State *L, int index, const char *what, const struct schema_field *fields, void *target,
                    struct pool *pool);
// A duration as "10m", or a number of seconds, in ns.
int64_t options_interval(lua_State *L, int index, const char *what);

#endif
