// Which global names a compiled chunk reads and writes, and where.
//
// Lua resolves globals when they are used, so a typo in a handler would show only in the night it runs. The loader
// asks here instead, right after compiling, and refuses names that nobody defines.
#ifndef NINES_SCRIPT_GLOBALS_H
#define NINES_SCRIPT_GLOBALS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "status.h"

struct globals_use {
  const char *name; // until the callback returns
  int line;
  bool is_write;
};

typedef void globals_each(void *userdata, const struct globals_use *use);

// Every access to a global name in a chunk as lua_dump writes it (not stripped), nested functions included, inner ones
// first. Fields of a `local _ENV` are not globals. Names are cut at 255 bytes. NINES_ECORRUPT when the bytes are not a
// chunk of this Lua; then some uses may have been reported already.
int globals_check(const void *dumped, size_t size, globals_each *each, void *userdata, struct status *status);

// The same for the Lua function on top of the stack, which stays there.
int globals_check_function(lua_State *L, globals_each *each, void *userdata, struct status *status);

#endif
