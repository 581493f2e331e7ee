// use "detection/two_sided": library files inside a script's own state.
#ifndef NINES_SCRIPT_LIBRARY_H
#define NINES_SCRIPT_LIBRARY_H

#include <lua.h>

enum { LIBRARY_NAME_MAX = 100 };

int library_use(lua_State *L); // a C function of the language

#endif
