// A handler: what a file asked to be run on events, at intervals, at times of the day.
#ifndef NINES_SCRIPT_HANDLER_H
#define NINES_SCRIPT_HANDLER_H

#include <lua.h>

#include "calendar.h"
#include "object.h"
#include "scheduler.h"

enum handler_kind { HANDLER_ON, HANDLER_EVERY, HANDLER_AT };

struct handler {
  struct list in_script;
  struct script *script;
  enum handler_kind kind;
  uint32_t number; // in order of declaration, from 0
  int function;    // the registry's reference
  // on
  char *pattern;
  char *object; // NULL: any
  // every, at
  struct timer timer;
  struct task *running; // a run that is not over
  int64_t interval_ns;
  struct calendar calendar;
  int64_t target_wall_ns;
};

// Both are C functions of the language: on(pattern, fn), and object:on(what, fn) with the object at index 1.
int handler_on(lua_State *L);
int handler_on_object(lua_State *L, const struct object *object);
int handler_every(lua_State *L);
int handler_at(lua_State *L);

void handler_start(struct handler *handler); // its timer begins
void handler_free(struct handler *handler);  // its function goes with the state
bool handler_matches(const struct handler *handler, const char *topic, const char *name);
struct task *handler_task(const struct handler *handler, const char *topic, const char *name); // that runs for it
void handler_event(struct handler *handler, const struct event *event);
void handler_ended(struct handler *handler, const struct task *task, enum task_end end, const char *why);
void handler_retime(struct handler *handler); // the wall clock was set: at() is due at another moment

#endif
