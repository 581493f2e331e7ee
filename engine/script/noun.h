// What scripts can talk about: nouns (kinds of objects) and verbs (functions), as tables that the application fills.
//
// No Lua here. The script layer turns each noun into a global that makes, declares and looks up objects, and each
// method into a Lua method; a new pillar adds a table, not a binding. Arguments and results cross as values
// (base/value.h).
#ifndef NINES_SCRIPT_NOUN_H
#define NINES_SCRIPT_NOUN_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"
#include "value.h"

enum { CALL_RESULTS_MAX = 4, CALL_ARGUMENTS_MAX = 8 };

// Who calls: for effects, audit and keys.
struct caller {
  const char *script;      // file name as in "payments.lua"
  uint64_t task;           // number of the task
  const char *topic;       // of the event that its handler answers; "" in timers and at load
  const char *name;        // the event's object
  uint64_t event_sequence; // 0: no event
  int line;                // of the call in the script
};

// One call of a method or verb. Functions among the arguments can be run with scripts_start until the call is over,
// that is until it returned, or was woken or cancelled if it waits. Returns CALL_DONE with results, CALL_WAIT, or a
// negative code with a sentence for a programmer's mistake (raised with file and line). A failure of the world is
// CALL_DONE with results nil, "sentence", "code".
enum { CALL_DONE = 0, CALL_WAIT = 1 };
struct call {
  const struct caller *caller;
  struct pool *pool; // for results; kept until they were copied
  const struct value *arguments;
  uint32_t argument_count;
  struct value results[CALL_RESULTS_MAX];
  uint32_t result_count;
  // CALL_WAIT: the call made up a token (unique among waits; scripts_token gives one) and will hand it to scripts_wake,
  // or the task is cancelled first and `cancel` is told.
  uint64_t wait_token;
  struct status status;
};

typedef int call_fn(void *app, uint64_t handle, struct call *call);

struct noun_method {
  const char *name;
  call_fn *call;
  bool property; // read as object.name
};

struct noun {
  const char *kind; // also the first part of its topics: "critical_path"
  // Checks a declaration without side effects that matter; called while the file loads, so that errors have a line.
  // Objects in the settings have handle 0 when they are yet to be made; that they will be is the script layer's care.
  // `where` is `FILE:LINE: kind "name"`. NULL: objects of this noun cannot be declared in policies.
  int (*check)(void *app, const char *where, const char *name, const struct value *settings, struct status *status);
  // Makes or changes the object, after the whole file was accepted; also when nothing changed. Noun by noun in the
  // order of the application's table, so that objects named in settings are there; one that names a later one of its
  // own noun (handle 0 at first) is applied twice. Never fails on what `check` accepted but for limits and memory.
  int (*apply)(void *app, const char *script, const char *name, const struct value *settings, struct status *status);
  // The object is not declared any more.
  void (*retire)(void *app, const char *name);
  // The handle of a living object; 0: nobody has declared it (yet).
  uint64_t (*find)(void *app, const char *name);
  // "Did you mean": tries every known name.
  void (*names)(void *app, void (*each)(void *userdata, const char *name), void *userdata);
  const struct noun_method *methods; // ends with a NULL name; `on` is built in
  // The name of a living object, for objects that calls return; NULL: it is gone. Nouns without `find` (a deployment)
  // have no global: scripts hold their objects by handle, and `name` only labels them.
  const char *(*name)(void *app, uint64_t handle);
  const char *const *topics; // what `on` may name ("breached", ...), NULL-terminated; NULL: anything
};

struct verb {
  const char *name; // "page", "http.get": at most one dot
  call_fn *call;    // handle is 0
  bool at_load;     // may be called while a file loads: it has no effects and never waits
};

// Helpers for calls.
void call_return(struct call *call, struct value value);                    // appends a result
int call_fail(struct call *call, const char *code, const char *format, ...) // nil, sentence, code; returns CALL_DONE
    __attribute__((format(printf, 3, 4)));

#endif
