// Copies between Lua values and struct value, within limits.
#ifndef NINES_SCRIPT_LUA_VALUE_H
#define NINES_SCRIPT_LUA_VALUE_H

#include <lua.h>

#include "value.h"

enum { LUA_VALUE_BYTES_MAX = 256 * 1024, LUA_VALUE_PATH_MAX = 96, LUA_VALUE_FUNCTIONS_MAX = 16 };

// What one reading may do, and what it used.
struct lua_reader {
  struct pool *pool;
  size_t bytes_left;    // texts and tables together
  bool copy_text;       // false: texts are borrowed from Lua, valid while it holds the value
  bool allow_objects;   // as VALUE_OBJECT
  bool objects_by_name; // the handle is a pointer to the struct object: the caller resolves it
  bool allow_functions; // as VALUE_FUNCTION, registered with the script; the only case in which reading raises
  int64_t functions[LUA_VALUE_FUNCTIONS_MAX]; // the registered numbers
  uint32_t function_count;
  char path[LUA_VALUE_PATH_MAX]; // of the error: ".counts[3]"
  char why[LUA_VALUE_PATH_MAX];
};

void lua_reader_init(struct lua_reader *reader, struct pool *pool);
// Tables with keys 1..n become lists; text keys are sorted by their bytes, so that the order is that of no hash seed;
// empty tables are VALUE_TABLE. False: `path` and `why` say what is wrong.
bool lua_value_read(lua_State *L, int index, struct lua_reader *reader, struct value *out);
// Pushes one value; raises when memory or stack are out.
void lua_value_push(lua_State *L, const struct value *value);

#endif
