// The application's nouns as globals of a script, and their objects.
#ifndef NINES_SCRIPT_OBJECT_H
#define NINES_SCRIPT_OBJECT_H

#include <lua.h>

#include "noun.h"

struct object {      // a userdata
  const void *proof; // that it is one
  const struct noun *noun;
  uint64_t handle; // only of nouns without `find`
  char name[];     // "" when it is known by its handle alone
};

void object_install(lua_State *L, const struct noun *const *nouns);
struct object *object_at(lua_State *L, int index); // NULL: something else
// The handle to call methods with; 0: the object does not live.
uint64_t object_handle(lua_State *L, const struct object *object);
void object_push_handle(lua_State *L, const struct noun *noun, uint64_t handle); // nil when it is gone
// The known name most like `name`, or NULL. Valid until the application changes.
void object_nearest(const struct noun *noun, void *app, const char *name, char *out, size_t size);

#endif
