// The application's verbs as globals of a script.
#ifndef NINES_SCRIPT_VERB_H
#define NINES_SCRIPT_VERB_H

#include <lua.h>

#include "noun.h"

void verb_install(lua_State *L, const struct verb *verbs); // after object_install
// Pushes the global table of this name; makes it, with reads of unknown fields refused, when there is none.
void verb_push_group(lua_State *L, const char *name, size_t size);

#endif
