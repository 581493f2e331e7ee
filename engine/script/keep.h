// keep { defaults }: a table that survives reloads and restarts.
#ifndef NINES_SCRIPT_KEEP_H
#define NINES_SCRIPT_KEEP_H

#include <lua.h>

#include "script.h"

enum { KEEP_BYTES_MAX = 64 * 1024 };

int keep_call(lua_State *L);            // a C function of the language
void keep_begin(struct script *script); // what the table holds now counts as stored
void keep_save(struct script *script);  // hands it to the application when it changed

#endif
