// Intervals as arguments of the language's words: "1h30m", or a number of seconds.
#ifndef NINES_SCRIPT_INTERVAL_H
#define NINES_SCRIPT_INTERVAL_H

#include <lua.h>

#include "duration.h"

int64_t interval_check(lua_State *L, int index, const char *word); // in ns; raises "WORD: ..."

#endif
