// Coroutines with a beginning, waits and an end.
//
// A task that ended well leaves its coroutine for the next one: starting an `every` handler costs a list operation and
// a push, not an allocation. What can raise (tables of events, results of waits) is built inside the coroutine, under
// the script's limits, never between turns. The order of ending: the application hears of it, a parent in all { } may
// go on, and a kill is reported last, because it may close the whole script.
#include "task.h"

#include <string.h>

#include <lauxlib.h>

#include "check.h"
#include "handler.h"
#include "json.h"
#include "mem.h"
#include "script.h"

static struct scheduler *scheduler_of(const struct task *task)
{
  return task->script->scheduler;
}

// Making

static int make_thread(lua_State *L)
{
  struct task *task = lua_touserdata(L, 1);
  task->L = lua_newthread(L);
  task->thread = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static void wake_up(struct timer *timer)
{
  struct task *task = list_entry(timer, struct task, timer);
  timer_stop(scheduler_of(task), timer);
  task_ready(task);
}

static struct task *make_task(struct script *script, lua_State *L, struct status *status)
{
  struct task *task = mem_must(sizeof *task);
  task->script = script;
  task->timer.fire = wake_up;
  list_init(&task->in_script);
  list_init(&task->in_queue);
  lua_pushcfunction(L, make_thread);
  lua_pushlightuserdata(L, task);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return task;
  const char *why = lua_tostring(L, -1);
  status_set(status, NINES_ENOMEM, "%s", why ? why : "out of memory");
  lua_pop(L, 1);
  mem_free(task);
  return NULL;
}

static struct task *take_task(struct script *script, lua_State *L, struct status *status)
{
  uint32_t configured = script->scheduler->config->tasks_max;
  uint32_t tasks_max = configured ? configured : TASKS_MAX;
  struct task *task;
  if (script->task_count >= tasks_max) {
    status_set(status, NINES_ELIMIT, "%u tasks of %s are under way already, the most there may be", tasks_max,
               script->record->file);
    return NULL;
  }
  if (!lua_checkstack(L, 4)) {
    status_set(status, NINES_ENOMEM, "out of memory");
    return NULL;
  }
  if (!list_empty(&script->idle)) {
    task = list_entry(script->idle.next, struct task, in_script);
    list_remove(&task->in_script);
    script->idle_count--;
  } else if (!(task = make_task(script, L, status))) {
    return NULL;
  }
  list_append(&script->tasks, &task->in_script);
  script->task_count++;
  task->state = TASK_IDLE;
  task->origin = UINT32_MAX;
  task->caller = (struct caller){
    .script = script->record->file, .task = ++script->scheduler->last_task, .topic = "", .name = ""
  };
  return task;
}

// The coroutine's body when there is more to do than to call a function: event and host arguments come from C.
static int body_over(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L);
}

static void push_event(lua_State *L, struct task *task)
{
  struct value payload;
  struct status status;
  int rc = json_parse(&task->pool, view_of(task->json), &payload, &status);
  if (rc == 0 && payload.type == VALUE_TABLE)
    lua_value_push(L, &payload);
  else
    lua_createtable(L, 0, 3);
  pool_reset(&task->pool);
  lua_pushstring(L, task->caller.topic);
  lua_setfield(L, -2, "topic");
  lua_pushstring(L, task->caller.name);
  lua_setfield(L, -2, "name");
  lua_pushnumber(L, task->event_at);
  lua_setfield(L, -2, "at");
}

static int push_values(lua_State *L, struct task *task)
{
  uint32_t count = task->value_count;
  luaL_checkstack(L, CALL_ARGUMENTS_MAX + 4, NULL);
  for (uint32_t i = 0; i < count; i++) lua_value_push(L, &task->values[i]);
  task->value_count = 0;
  pool_reset(&task->pool);
  return (int)count;
}

static int body(lua_State *L)
{
  struct task *task = script_of(L)->scheduler->running;
  int arguments = 1;
  if (task->for_host)
    arguments = push_values(L, task);
  else
    push_event(L, task);
  lua_callk(L, arguments, LUA_MULTRET, 0, body_over);
  return body_over(L, LUA_OK, 0);
}

// A function lies on the coroutine's stack; puts `body` below it.
static void wrap(struct task *task)
{
  lua_pushcfunction(task->L, body);
  lua_insert(task->L, 1);
  task->arguments = 1;
}

struct task *task_open(struct script *script, lua_State *L, int reference, struct status *status)
{
  struct task *task = take_task(script, L, status);
  if (task) lua_rawgeti(task->L, LUA_REGISTRYINDEX, reference);
  return task;
}

struct task *task_open_top(struct script *script, lua_State *L, struct status *status)
{
  struct task *task = take_task(script, L, status);
  if (task)
    lua_xmove(L, task->L, 1);
  else
    lua_pop(L, 1);
  return task;
}

static void set_texts(struct task *task, const char *topic, const char *name, const char *json)
{
  size_t topic_size = strlen(topic) + 1, name_size = strlen(name) + 1, json_size = strlen(json) + 1;
  task->texts = mem_must(topic_size + name_size + json_size);
  memcpy(task->texts, topic, topic_size);
  memcpy(task->texts + topic_size, name, name_size);
  memcpy(task->texts + topic_size + name_size, json, json_size);
  task->caller.topic = task->texts;
  task->caller.name = task->texts + topic_size;
  task->json = task->texts + topic_size + name_size;
}

void task_set_event(struct task *task, const struct event *event)
{
  set_texts(task, event->topic, event->name, event->json);
  task->caller.event_sequence = event->sequence;
  task->event_at = (double)event->wall_ns / 1e9;
  wrap(task);
}

void task_inherit(struct task *task, const struct task *from)
{
  if (!from) return;
  task->origin = from->origin;
  if (!from->texts) return;
  set_texts(task, from->caller.topic, from->caller.name, "");
  task->caller.event_sequence = from->caller.event_sequence;
}

bool task_set_values(struct task *task, const struct value *values, uint32_t count)
{
  CHECK(count <= CALL_ARGUMENTS_MAX);
  for (uint32_t i = 0; i < count; i++)
    if (!value_copy(&task->pool, &task->values[i], &values[i])) return false;
  task->value_count = count;
  if (task->state == TASK_IDLE) {
    task->for_host = true;
    wrap(task);
  }
  return true;
}

void task_ready(struct task *task)
{
  task->state = TASK_READY;
  if (task->script->running) list_append(&scheduler_of(task)->ready, &task->in_queue);
}

void task_start_at(struct task *task, int64_t due_ns)
{
  task->state = TASK_SLEEPING;
  task->timer.node.due_ns = due_ns;
  if (task->script->running) timer_start(scheduler_of(task), &task->timer, due_ns);
}

// Ending

static void forget(struct task *task)
{
  struct script *script = task->script;
  list_remove(&task->in_queue);
  list_remove(&task->in_script);
  script->task_count--;
  if (task->function_count) script_drop_functions(script, task->functions, task->function_count);
  task->function_count = 0;
  task->value_count = 0;
  if (task->texts) {
    mem_free(task->texts);
    task->texts = NULL;
  }
  if (task->children_why) {
    mem_free(task->children_why);
    task->children_why = NULL;
  }
  task->json = NULL;
  task->handler = NULL;
  task->parent = NULL;
  task->for_host = false;
  task->kill_at = 0;
  task->arguments = 0;
}

static void discard(struct task *task)
{
  luaL_unref(task->script->sandbox.L, LUA_REGISTRYINDEX, task->thread);
  pool_fini(&task->pool);
  mem_free(task);
}

// For another task; only one that ended well may keep its coroutine.
static void recycle(struct task *task)
{
  struct script *script = task->script;
  if (script->idle_count >= TASKS_IDLE_MAX) {
    discard(task);
    return;
  }
  lua_settop(task->L, 0);
  task->state = TASK_IDLE;
  list_append(&script->idle, &task->in_script);
  script->idle_count++;
}

void tasks_free_idle(struct script *script)
{
  while (!list_empty(&script->idle)) {
    struct task *task = list_entry(script->idle.next, struct task, in_script);
    list_remove(&task->in_script);
    discard(task);
  }
  script->idle_count = 0;
}

static void tell_host(struct task *task, enum task_end end, int results, const char *why)
{
  const struct scripts_hooks *hooks = &scheduler_of(task)->config->hooks;
  if (!hooks->function_end) return;
  struct value values[CALL_RESULTS_MAX];
  uint32_t count = 0;
  struct pool *pool = &scheduler_of(task)->call_pool;
  struct status bad = { .text = "" };
  pool_reset(pool);
  int first = lua_gettop(task->L) - results + 1;
  for (; end == TASK_DONE && count < CALL_RESULTS_MAX && (int)count < results; count++) {
    struct lua_reader reader;
    lua_reader_init(&reader, pool);
    reader.allow_objects = true;
    if (lua_value_read(task->L, first + (int)count, &reader, &values[count])) continue;
    status_set(&bad, NINES_ESCRIPT, "result %u%s: %s", count + 1, reader.path, reader.why);
    end = TASK_FAILED;
    why = bad.text;
    count = 0;
    break;
  }
  hooks->function_end(hooks->app, task->caller.task, end, values, end == TASK_DONE ? count : 0, why);
}

static void tell_parent(struct task *task, enum task_end end, const char *why)
{
  struct task *parent = task->parent;
  if (!parent) return;
  task->parent = NULL;
  if (end != TASK_DONE && !parent->children_why) parent->children_why = mem_must_copy(why);
  if (--parent->children == 0 && parent->state == TASK_JOINING) task_ready(parent);
}

static void tell(struct task *task, enum task_end end, int results, const char *why)
{
  if (task->handler) handler_ended(task->handler, task, end, why);
  if (task->for_host) tell_host(task, end, results, why);
  tell_parent(task, end, why);
}

static void end_badly(struct task *task, enum sandbox_kill kill, const char *trace)
{
  struct script *script = task->script;
  struct scheduler *scheduler = script->scheduler;
  char why[STATUS_TEXT_MAX];
  size_t length = strcspn(trace, "\n");
  memcpy(why, trace, length);
  why[length] = '\0';
  script->record->errors++;
  scheduler_log(scheduler, "error", script->record->file, trace);
  if (kill == KILL_WALL && scheduler->config->hooks.wall_kill)
    scheduler->config->hooks.wall_kill(scheduler->config->hooks.app, task->caller.task,
                                       script->sandbox.usage.instructions_last);
  uint32_t origin = task->origin;
  scheduler->running = NULL;
  tell(task, kill ? TASK_KILLED : TASK_FAILED, 0, why);
  forget(task);
  discard(task);
  if (kill) scheduler->killed(scheduler, script, origin, kill, why);
}

void task_turn(struct task *task)
{
  struct script *script = task->script;
  struct scheduler *scheduler = script->scheduler;
  struct status trace;
  int results = 0, arguments = task->arguments;
  trace.text[0] = '\0';
  task->arguments = 0;
  task->state = TASK_RUNNING;
  scheduler->running = task;
  script->sandbox.kill_at = task->kill_at;
  task->kill_at = 0;
  int rc = sandbox_resume(&script->sandbox, task->L, arguments, &results, &trace);
  enum sandbox_kill kill = script->sandbox.killed;
  if (kill != KILL_MEMORY) script_turn_over(script);
  if (rc == LUA_YIELD) {
    scheduler->running = NULL;
    CHECK(task->state != TASK_RUNNING);
    lua_pop(task->L, results);
  } else if (rc == LUA_OK) {
    scheduler->running = NULL;
    if (script->record->kills > 0 && script->record->killer == task->origin) script->record->kills = 0;
    tell(task, TASK_DONE, results, "");
    forget(task);
    recycle(task);
  } else {
    end_badly(task, kill, trace.text);
  }
}

static void cancel(struct task *task, const char *why)
{
  struct scheduler *scheduler = scheduler_of(task);
  struct task *running = scheduler->running;
  const struct scripts_hooks *hooks = &scheduler->config->hooks;
  timer_stop(scheduler, &task->timer);
  list_remove(&task->in_queue);
  if (task->state == TASK_WAITING && hooks->cancel) hooks->cancel(hooks->app, task->token);
  bool begun = task->arguments == 0 && lua_status(task->L) == LUA_YIELD;
  task->state = TASK_RUNNING;
  scheduler->running = task;
  if (begun) sandbox_cancel(&task->script->sandbox, task->L);
  scheduler->running = NULL;
  tell(task, TASK_CANCELLED, 0, why);
  forget(task);
  discard(task);
  scheduler->running = running;
}

void task_cancel(struct task *task)
{
  cancel(task, "cancelled by a reload of its file");
}

static struct task *child_of(const struct task *parent)
{
  list_each (node, &parent->script->tasks) {
    struct task *task = list_entry(node, struct task, in_script);
    if (task->parent == parent) return task;
  }
  return NULL;
}

// Each child's end may cancel others (functions that it waited for), so the list is looked through anew.
void task_stop(struct task *task, const char *why)
{
  for (struct task *child; (child = child_of(task));) {
    child->parent = NULL; // must not wake it
    task_stop(child, why);
  }
  task->children = 0;
  cancel(task, why);
}

// Waiting

// The function on top of the stack is one of this library: pushes "table.sort".
static bool push_member_name(lua_State *L, const char *library)
{
  int function = lua_gettop(L);
  lua_pushglobaltable(L);
  lua_pushstring(L, library);
  if (lua_rawget(L, -2) == LUA_TTABLE) {
    for (lua_pushnil(L); lua_next(L, function + 2); lua_pop(L, 1)) {
      if (!lua_rawequal(L, -1, function) || lua_type(L, -2) != LUA_TSTRING) continue;
      lua_pushfstring(L, "%s.%s", library, lua_tostring(L, -2));
      return true;
    }
  }
  lua_settop(L, function);
  return false;
}

// The name of the C function between the script and its coroutine's base that forbids a yield.
static void push_barrier(lua_State *L)
{
  lua_Debug frame;
  for (int level = 1; lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Snf", &frame);
    if (frame.what[0] == 'C') {
      if (push_member_name(L, "table") || push_member_name(L, "string")) return;
      // The coroutine's base has no name, and protected calls are no barrier.
      if (frame.name && strcmp(frame.name, "pcall") != 0 && strcmp(frame.name, "xpcall") != 0) {
        lua_pushstring(L, frame.name);
        return;
      }
    }
    lua_pop(L, 1);
  }
  lua_pushstring(L, "a <close> variable");
}

void task_may_wait(lua_State *L, const char *word)
{
  script_only_running(L, word);
  if (lua_isyieldable(L)) return;
  luaL_checkstack(L, 12, NULL);
  push_barrier(L);
  luaL_error(L, "%s cannot wait inside %s", word, lua_tostring(L, -1));
}

int task_sleep(lua_State *L, int64_t due_ns, lua_KContext context, lua_KFunction then)
{
  struct task *task = script_of(L)->scheduler->running;
  int64_t soon = scheduler_of(task)->now_ns + 1; // a sleep of nothing still ends the turn
  task_start_at(task, due_ns < soon ? soon : due_ns);
  return lua_yieldk(L, 0, context, then);
}

static int wait_over(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  struct task *task = script_of(L)->scheduler->running;
  if (task->function_count) script_drop_functions(task->script, task->functions, task->function_count);
  task->function_count = 0;
  return push_values(L, task);
}

int task_wait(lua_State *L, uint64_t token)
{
  struct task *task = script_of(L)->scheduler->running;
  task->state = TASK_WAITING;
  task->token = token;
  list_append(&scheduler_of(task)->waits[token % SCHEDULER_BUCKETS], &task->in_queue);
  return lua_yieldk(L, 0, 0, wait_over);
}

int task_join(lua_State *L, lua_KFunction then)
{
  script_of(L)->scheduler->running->state = TASK_JOINING;
  return lua_yieldk(L, 0, 0, then);
}
