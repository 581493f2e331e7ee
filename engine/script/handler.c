// Handlers and when they run.
//
// An interval keeps its phase from the moment the file was taken over: a late run does not shift the next. What is due
// while the last run still goes is skipped and counted; an event that repeats while its handler still runs joins that
// run. A handler that cannot start (too many tasks) has ended in failure, so that whoever relies on it hears of it.
#include "handler.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "interval.h"
#include "mem.h"
#include "nearest.h"
#include "script.h"
#include "task.h"

static void due(struct timer *timer);

// The function at `index` becomes a handler. May raise.
static struct handler *add(lua_State *L, const char *word, enum handler_kind kind, int index)
{
  struct script *script = script_of(L);
  script_only_loading(L, word);
  luaL_checktype(L, index, LUA_TFUNCTION);
  if (script->handler_count == SCRIPT_HANDLERS_MAX)
    luaL_error(L, "more than %d handlers in one file", SCRIPT_HANDLERS_MAX);
  lua_pushvalue(L, index);
  int function = luaL_ref(L, LUA_REGISTRYINDEX);
  struct handler *handler = mem_must(sizeof *handler);
  handler->script = script;
  handler->kind = kind;
  handler->number = script->handler_count++;
  handler->function = function;
  handler->timer.fire = due;
  list_append(&script->handlers, &handler->in_script);
  return handler;
}

static const struct noun *noun_of_topic(const struct script *script, const char *pattern)
{
  const struct noun *const *nouns = script->scheduler->config->nouns;
  const char *dot = strrchr(pattern, '.');
  if (!dot) return NULL;
  for (; nouns && *nouns; nouns++) {
    size_t size = strlen((*nouns)->kind);
    if ((size_t)(dot - pattern) == size && memcmp(pattern, (*nouns)->kind, size) == 0) return *nouns;
  }
  return NULL;
}

static void check_topic(lua_State *L, const struct noun *noun, const char *what)
{
  if (!noun || !noun->topics || strcmp(what, "*") == 0) return;
  struct nearest nearest;
  nearest_init(&nearest, view_of(what));
  for (const char *const *topic = noun->topics; *topic; topic++) {
    if (strcmp(*topic, what) == 0) return;
    nearest_try(&nearest, *topic);
  }
  if (nearest.best) luaL_error(L, "%s has no event \"%s\" (did you mean \"%s\"?)", noun->kind, what, nearest.best);
  luaL_error(L, "%s has no event \"%s\"", noun->kind, what);
}

int handler_on(lua_State *L)
{
  const char *pattern = luaL_checkstring(L, 1);
  const char *star = strchr(pattern, '*');
  if (pattern[0] == '\0' || strlen(pattern) > SCRIPT_NAME_MAX || (star && star[1] != '\0') ||
      (star && star != pattern && star[-1] != '.'))
    return luaL_error(L, "on: a topic is \"kind.what\", \"kind.*\" or \"*\", not \"%s\"", pattern);
  const struct noun *noun = noun_of_topic(script_of(L), pattern);
  if (noun) check_topic(L, noun, strrchr(pattern, '.') + 1);
  struct handler *handler = add(L, "on", HANDLER_ON, 2);
  handler->pattern = mem_must_copy(pattern);
  return 0;
}

int handler_on_object(lua_State *L, const struct object *object)
{
  const char *what = luaL_checkstring(L, 2);
  char pattern[2 * SCRIPT_NAME_MAX];
  if (!object->name[0])
    return luaL_error(L, "%s has no name to listen to; write on(\"%s.%s\", ...)", object->noun->kind,
                      object->noun->kind, what);
  check_topic(L, object->noun, what);
  int size = snprintf(pattern, sizeof pattern, "%s.%s", object->noun->kind, what);
  if (size >= (int)sizeof pattern) return luaL_error(L, "on: a topic has at most %d bytes", SCRIPT_NAME_MAX);
  struct handler *handler = add(L, "on", HANDLER_ON, 3);
  handler->pattern = mem_must_copy(pattern);
  handler->object = mem_must_copy(object->name);
  return 0;
}

int handler_every(lua_State *L)
{
  int64_t interval_ns = interval_check(L, 1, "every");
  if (interval_ns < NS_PER_MS) return luaL_error(L, "every: the interval is at least 1ms");
  add(L, "every", HANDLER_EVERY, 2)->interval_ns = interval_ns;
  return 0;
}

int handler_at(lua_State *L)
{
  struct calendar calendar;
  struct status status;
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  if (calendar_parse((struct view){ text, size }, &calendar, &status) != 0) return luaL_error(L, "%s", status.text);
  add(L, "at", HANDLER_AT, 2)->calendar = calendar;
  return 0;
}

void handler_free(struct handler *handler)
{
  timer_stop(handler->script->scheduler, &handler->timer);
  list_remove(&handler->in_script);
  mem_free(handler->pattern);
  mem_free(handler->object);
  mem_free(handler);
}

static struct task *start(struct handler *handler, struct status *status)
{
  struct script *script = handler->script;
  struct task *task = task_open(script, script->sandbox.L, handler->function, status);
  if (!task) return NULL;
  task->handler = handler;
  task->origin = handler->number;
  return task;
}

static void aim(struct handler *handler, int64_t after_wall_ns)
{
  struct scheduler *scheduler = handler->script->scheduler;
  int64_t offset_ns = scheduler->config->utc_offset_ns;
  handler->target_wall_ns = calendar_next(&handler->calendar, after_wall_ns + offset_ns) - offset_ns;
  handler_retime(handler);
}

void handler_retime(struct handler *handler)
{
  struct scheduler *scheduler = handler->script->scheduler;
  if (handler->kind != HANDLER_AT || !handler->script->running) return;
  timer_start(scheduler, &handler->timer, scheduler->now_ns + (handler->target_wall_ns - scheduler->wall_ns));
}

void handler_start(struct handler *handler)
{
  struct scheduler *scheduler = handler->script->scheduler;
  if (handler->kind == HANDLER_EVERY)
    timer_start(scheduler, &handler->timer, scheduler->now_ns + handler->interval_ns);
  else if (handler->kind == HANDLER_AT)
    aim(handler, scheduler->wall_ns);
}

static void due(struct timer *timer)
{
  struct handler *handler = list_entry(timer, struct handler, timer);
  struct scheduler *scheduler = handler->script->scheduler;
  struct status status;
  if (handler->kind == HANDLER_EVERY) {
    // Missed intervals (a clock that jumped) are one run, not many.
    int64_t next_ns = timer->node.due_ns + handler->interval_ns;
    if (next_ns <= scheduler->now_ns)
      next_ns += (scheduler->now_ns - next_ns) / handler->interval_ns * handler->interval_ns + handler->interval_ns;
    timer_start(scheduler, timer, next_ns);
  } else {
    aim(handler, scheduler->wall_ns > handler->target_wall_ns ? scheduler->wall_ns : handler->target_wall_ns);
  }
  if (handler->running) {
    handler->script->record->skipped++;
    return;
  }
  struct task *task = start(handler, &status);
  if (task) {
    handler->running = task;
    task_ready(task);
  } else {
    handler->script->record->skipped++;
    scheduler_log(scheduler, "warn", handler->script->record->file, status.text);
  }
}

bool handler_matches(const struct handler *handler, const char *topic, const char *name)
{
  if (handler->kind != HANDLER_ON || !event_matches(handler->pattern, topic)) return false;
  return !handler->object || strcmp(handler->object, name) == 0;
}

struct task *handler_task(const struct handler *handler, const char *topic, const char *name)
{
  list_each (node, &handler->script->tasks) {
    struct task *task = list_entry(node, struct task, in_script);
    if (task->handler == handler && strcmp(task->caller.topic, topic) == 0 && strcmp(task->caller.name, name) == 0)
      return task;
  }
  return NULL;
}

void handler_event(struct handler *handler, const struct event *event)
{
  struct script *script = handler->script;
  const struct scripts_hooks *hooks = &script->scheduler->config->hooks;
  struct status status;
  if (handler_task(handler, event->topic, event->name)) {
    script->record->joined++;
    return;
  }
  struct task *task = start(handler, &status);
  if (task) {
    task_set_event(task, event);
    task_ready(task);
    return;
  }
  script->record->errors++;
  scheduler_log(script->scheduler, "error", script->record->file, status.text);
  struct caller caller = { script->record->file, 0, event->topic, event->name, event->sequence, 0 };
  if (hooks->handler_end) hooks->handler_end(hooks->app, &caller, TASK_FAILED, status.text);
}

void handler_ended(struct handler *handler, const struct task *task, enum task_end end, const char *why)
{
  const struct scripts_hooks *hooks = &handler->script->scheduler->config->hooks;
  if (handler->running == task) handler->running = NULL;
  if (handler->kind == HANDLER_ON && hooks->handler_end) hooks->handler_end(hooks->app, &task->caller, end, why);
}
