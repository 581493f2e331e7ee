// The words a policy may use.
#ifndef NINES_SCRIPT_VOCABULARY_H
#define NINES_SCRIPT_VOCABULARY_H

#include <lua.h>

void vocabulary_install(lua_State *L);
// The function on top of the stack reads only words that exist, or that its own text defines, and writes none of the
// language's; raises "FILE:LINE: unknown name ..." else.
void vocabulary_check(lua_State *L, const char *file);

#endif
