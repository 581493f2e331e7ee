// A task: one coroutine of one script, from the start of a handler to its end.
#ifndef NINES_SCRIPT_TASK_H
#define NINES_SCRIPT_TASK_H

#include <lua.h>

#include "event.h"
#include "lua_value.h"
#include "scheduler.h"

enum task_state { TASK_IDLE, TASK_READY, TASK_RUNNING, TASK_SLEEPING, TASK_WAITING, TASK_JOINING };
enum { TASKS_MAX = 64, TASKS_IDLE_MAX = 16 };

struct handler;
struct task {
  struct list in_script; // among script->tasks or script->idle
  struct list in_queue;  // ready, or waiting for a token
  struct timer timer;    // sleeping
  enum task_state state;
  struct script *script;
  lua_State *L;
  int thread;       // the registry's reference that keeps L
  int arguments;    // on L's stack, for the first turn
  bool for_host;    // scripts_start: its end is reported through hooks.function_end
  uint32_t origin;  // number of the handler it stems from; UINT32_MAX: none
  uint64_t kill_at; // replay
  uint64_t token;   // waiting
  struct caller caller;
  struct handler *handler; // whose run it is, or NULL
  struct task *parent;     // waits for it in all { }
  uint32_t children;
  char *children_why; // the first failure among them
  char *texts;        // topic, name and payload of the event, one after the other
  const char *json;
  double event_at;                         // Unix seconds
  struct pool pool;                        // of `values`
  struct value values[CALL_ARGUMENTS_MAX]; // arguments of scripts_start, or results of the wait that is over
  uint32_t value_count;
  int64_t functions[LUA_VALUE_FUNCTIONS_MAX]; // handed to the call that waits
  uint32_t function_count;
};

// A task that will call the function under `reference` in the registry, ready to be started; NULL with the reason.
// `L` is any thread of the script that may be used now.
struct task *task_open(struct script *script, lua_State *L, int reference, struct status *status);
// The same for the function on top of L's stack, which is popped.
struct task *task_open_top(struct script *script, lua_State *L, struct status *status);
// The handler's argument will be the event as a table.
void task_set_event(struct task *task, const struct event *event);
void task_inherit(struct task *task, const struct task *from); // event and origin of the task that makes it
bool task_set_values(struct task *task, const struct value *values, uint32_t count); // false: out of memory
void task_ready(struct task *task);
void task_start_at(struct task *task, int64_t due_ns);
void task_turn(struct task *task); // runs it until it waits or ends
void task_cancel(struct task *task);
// The same for one whose script goes on: children in all { } go first; `why` is what its end is told with.
void task_stop(struct task *task, const char *why);
void tasks_free_idle(struct script *script);

// For C functions called from a script's handler: the end of the function. They raise "WORD cannot wait inside ...".
void task_may_wait(lua_State *L, const char *word);
int task_sleep(lua_State *L, int64_t due_ns, lua_KContext context, lua_KFunction then);
int task_wait(lua_State *L, uint64_t token); // the results of scripts_wake are returned to the script
int task_join(lua_State *L, lua_KFunction then);

#endif
