// One interpreter's arena of primitives, its clock, and the objects that stand for what is in it.
#ifndef NINES_LUA_SPACE_H
#define NINES_LUA_SPACE_H

#include <lua.h>

#include "protection.h"

// The arena is opened with the module (or an engine's is attached in its place), folded by whoever uses it 50 ms or
// more after the last time, and closed with the interpreter.
struct space {
  nines_arena *arena; // NULL: closed
  int64_t folded_ns;
  int clock; // reference to a function that gives seconds; LUA_NOREF: the system's
};

// A primitive by name. The protection's kind is an index of protection_kinds; other nouns come after them.
enum {
  NOUN_CANARY = PROTECTION_KINDS,
  NOUN_FAULT,
  NOUN_COUNTER,
  NOUN_HISTOGRAM,
  NOUN_BASELINE,
  NOUN_PATH,
  NOUN_FLAG,
  NOUN_KINDS
};
struct box {
  struct space *space;
  int noun;
  void *handle; // nines_breaker *, ...; NULL: yet to be configured
  char name[GUARD_NAME_MAX + 1];
};

struct space *space_of(lua_State *L);
int64_t space_now(lua_State *L, struct space *space); // folds when it is time
// The object at index 1, as a noun of this kind; raises.
struct box *box_at(lua_State *L, int noun, const char *what);
// The object at index 1, of any of the first so many nouns; raises.
struct box *box_any(lua_State *L, int nouns);
// Adds nines.NOUN(name) with these methods to the module's table on top of the stack. `configure` gets the options at
// index 2 of box{...}.
struct luaL_Reg;
void noun_open(lua_State *L, int noun, const char *name, const struct luaL_Reg *methods,
               int (*configure)(lua_State *L));
int box_fail(lua_State *L, const char *code, const char *sentence); // nil, sentence, code: 3 results
_Noreturn void box_refused(lua_State *L, struct space *space);      // raises what the arena says

#endif
