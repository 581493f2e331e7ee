// each(t): pairs in an order that is the same in every run.
#ifndef NINES_SCRIPT_EACH_H
#define NINES_SCRIPT_EACH_H

#include <lua.h>

int each_call(lua_State *L); // a C function of the language

#endif
