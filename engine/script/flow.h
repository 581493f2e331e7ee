// The words of the language that are about time and order.
#ifndef NINES_SCRIPT_FLOW_H
#define NINES_SCRIPT_FLOW_H

#include <lua.h>

void flow_install(lua_State *L);

#endif
