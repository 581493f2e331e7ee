// One life of one policy file: from its text to a running state, or to the sentence why not.
#ifndef NINES_SCRIPT_SCRIPT_H
#define NINES_SCRIPT_SCRIPT_H

#include "buf.h"
#include "list.h"
#include "noun.h"
#include "pool.h"
#include "sandbox.h"
#include "scheduler.h"

enum {
  SCRIPT_DECLARATIONS_MAX = 1000,
  SCRIPT_REFERENCES_MAX = 10000,
  SCRIPT_HANDLERS_MAX = 1000,
  SCRIPT_LIBRARIES_MAX = 64,
  SCRIPT_NAME_MAX = 128, // bytes of an object's name
};

// A use of a name, remembered until the names of all files are known.
struct reference {
  const struct noun *noun;
  char *name;
  char *where; // FILE:LINE
};

struct declaration {
  const struct noun *noun;
  char *name;
  char *where;
  struct value settings;
  bool is_incomplete; // it names an object that was not there yet when it was applied
};

struct object;
// An object inside settings, whose handle is looked up when the settings are applied.
struct fixup {
  struct value *value;
  const struct object *object;
  uint32_t declaration;
};

// What outlives a reload of the file.
struct script_record {
  char *file;
  uint64_t skipped, joined, errors;
  uint32_t kills;  // in a row: since a handler was killed, none of its runs has ended well
  uint32_t killer; // the last killed handler's number
  struct buf kept; // `keep` as it was last handed to the application
};

struct script {
  struct scheduler *scheduler;
  struct script_record *record;
  uint64_t serial; // tells the functions of one life from those of another
  uint64_t last_function;
  struct sandbox sandbox;
  bool loading;  // the top level of the file runs
  bool checking; // for scripts_check: nothing that can be seen outside
  bool running;  // taken over: timers and tasks go
  uint64_t run;  // number of the scheduler's run in which `turns_left` counts
  uint32_t turns_left;
  struct list tasks;
  struct list idle; // tasks that ended, kept for their coroutines
  uint32_t task_count, idle_count;
  struct list handlers;
  uint32_t handler_count;
  struct pool settings;
  struct declaration *declarations;
  uint32_t declaration_count;
  struct fixup *fixups;
  uint32_t fixup_count;
  struct reference *references;
  uint32_t reference_count;
  char *libraries[SCRIPT_LIBRARIES_MAX];
  uint32_t library_count;
  int keep;             // the registry's reference of the keep table; 0: none
  bool keep_refused;    // it could not be written the last time, and that was said
  struct buf keep_seen; // its JSON when last looked at
};

// Compiles the text and runs its top level. *out is NULL on failure, with "FILE:LINE: ..." in status.
int script_open(struct script **out, struct scheduler *scheduler, struct script_record *record, struct view text,
                bool checking, struct status *status);
// Cancels every task and closes the state; what it declared and named is still known.
void script_stop(struct script *script);
// Stops it and frees all. NULL is fine.
void script_close(struct script *script);
// Its timers and tasks begin.
void script_start(struct script *script);
// A turn of one of its tasks is over.
void script_turn_over(struct script *script);

struct script *script_of(lua_State *L);
// "FILE:LINE" of the code at this level of the call stack; "FILE" when it has no line.
void script_where(lua_State *L, int level, char *out, size_t size);
// Raises when the file is (not) loading: `word` belongs into handlers (to the top of the file).
void script_only_running(lua_State *L, const char *word);
void script_only_loading(lua_State *L, const char *word);

// Functions handed to the application.
int64_t script_register(lua_State *L, int index);
bool script_push_function(lua_State *L, int64_t function); // false: not one of this life; nothing is pushed
void script_drop_functions(struct script *script, const int64_t *functions, uint32_t count);

// While loading: a name is used; the settings at `index` declare an object. Both may raise.
void script_refer(lua_State *L, const struct object *object);
void script_declare(lua_State *L, const struct object *object, int index);
// Looks up the objects named in settings, then makes or changes what the file declares of this noun; `again`: only what
// was incomplete the last time. The first failure is in status; the rest is still applied.
int script_apply(struct script *script, const struct noun *noun, bool again, struct status *status);

#endif
