// Flow: on, every, at, after, spawn, all, sleep, wait_for, now, each, keep, use, log.*, seconds, minutes, hours, days.
//
// Waiting words are state machines: a C function that yields with a continuation, its state in its own stack slots.
#include "flow.h"

#include <string.h>

#include <lauxlib.h>

#include "each.h"
#include "handler.h"
#include "interval.h"
#include "keep.h"
#include "library.h"
#include "mem.h"
#include "script.h"
#include "task.h"
#include "verb.h"

enum { LOG_TEXT_MAX = 4096, ALL_MAX = 64 };

static const int64_t wait_for_interval_ns = 100 * NS_PER_MS;

static int sleep_over(lua_State *L, int status, lua_KContext context)
{
  (void)L;
  (void)status;
  (void)context;
  return 0;
}

static int flow_sleep(lua_State *L)
{
  int64_t interval_ns = interval_check(L, 1, "sleep");
  task_may_wait(L, "sleep");
  return task_sleep(L, script_of(L)->scheduler->now_ns + interval_ns, 0, sleep_over);
}

// Stack: the function, the deadline, the interval. Context 0: ask now; 1: the answer is on top.
static int wait_for_step(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  if (context == 0) {
    lua_settop(L, 3);
    lua_pushvalue(L, 1);
    lua_callk(L, 0, 1, 1, wait_for_step);
  }
  int64_t now_ns = script_of(L)->scheduler->now_ns, deadline_ns = lua_tointeger(L, 2);
  bool done = lua_toboolean(L, -1);
  if (done || now_ns >= deadline_ns) {
    lua_pushboolean(L, done);
    return 1;
  }
  int64_t next_ns = now_ns + lua_tointeger(L, 3);
  return task_sleep(L, next_ns < deadline_ns ? next_ns : deadline_ns, 0, wait_for_step);
}

static int flow_wait_for(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  int64_t timeout_ns = interval_check(L, 2, "wait_for");
  int64_t interval_ns = lua_isnoneornil(L, 3) ? wait_for_interval_ns : interval_check(L, 3, "wait_for");
  task_may_wait(L, "wait_for");
  lua_settop(L, 1);
  lua_pushinteger(L, script_of(L)->scheduler->now_ns + timeout_ns);
  lua_pushinteger(L, interval_ns);
  return wait_for_step(L, LUA_OK, 0);
}

// A task for the function on top of the stack.
static struct task *open_task(lua_State *L, const char *word)
{
  struct script *script = script_of(L);
  struct status status;
  struct task *task = task_open_top(script, L, &status);
  if (!task) luaL_error(L, "%s: %s", word, status.text);
  task_inherit(task, script->scheduler->running);
  return task;
}

static int flow_spawn(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  task_ready(open_task(L, "spawn"));
  return 0;
}

static int flow_after(lua_State *L)
{
  int64_t interval_ns = interval_check(L, 1, "after");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  task_start_at(open_task(L, "after"), script_of(L)->scheduler->now_ns + interval_ns);
  return 0;
}

static int all_over(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  struct task *task = script_of(L)->scheduler->running;
  if (!task->children_why) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, task->children_why);
  lua_pushstring(L, "failed");
  mem_free(task->children_why);
  task->children_why = NULL;
  return 3;
}

static void cancel_children(struct task *parent)
{
  struct scheduler *scheduler = parent->script->scheduler;
  list_each (node, &parent->script->tasks) {
    struct task *task = list_entry(node, struct task, in_script);
    if (task->parent != parent) continue;
    task->parent = NULL;
    task_cancel(task);
  }
  parent->children = 0;
  scheduler->running = parent;
}

static int flow_all(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  task_may_wait(L, "all");
  lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
  if (count > ALL_MAX) return luaL_error(L, "all: at most %d functions", ALL_MAX);
  for (lua_Integer i = 1; i <= count; i++) {
    if (lua_rawgeti(L, 1, i) != LUA_TFUNCTION)
      return luaL_error(L, "all: item %I is not a function but %s", (LUAI_UACINT)i, luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  struct task *parent = script_of(L)->scheduler->running;
  for (lua_Integer i = 1; i <= count; i++) {
    struct status status;
    lua_rawgeti(L, 1, i);
    struct task *child = task_open_top(parent->script, L, &status);
    if (!child) {
      cancel_children(parent);
      return luaL_error(L, "all: %s", status.text);
    }
    task_inherit(child, parent);
    child->parent = parent;
    parent->children++;
    task_ready(child);
  }
  if (count == 0) return all_over(L, LUA_OK, 0);
  return task_join(L, all_over);
}

static int flow_now(lua_State *L)
{
  lua_pushnumber(L, (double)script_of(L)->scheduler->wall_ns / 1e9);
  return 1;
}

// upvalue 1: the unit in seconds
static int flow_unit(lua_State *L)
{
  lua_Integer unit = lua_tointeger(L, lua_upvalueindex(1));
  if (lua_isinteger(L, 1))
    lua_pushinteger(L, lua_tointeger(L, 1) * unit);
  else
    lua_pushnumber(L, luaL_checknumber(L, 1) * (double)unit);
  return 1;
}

// upvalue 1: the level
static int flow_log(lua_State *L)
{
  struct script *script = script_of(L);
  int count = lua_gettop(L);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addchar(&buffer, ' ');
    luaL_tolstring(L, i, NULL);
    luaL_addvalue(&buffer);
  }
  luaL_pushresult(&buffer);
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  if (size > LOG_TEXT_MAX) text = lua_pushlstring(L, text, LOG_TEXT_MAX);
  if (!script->checking)
    scheduler_log(script->scheduler, lua_tostring(L, lua_upvalueindex(1)), script->record->file, text);
  return 0;
}

void flow_install(lua_State *L)
{
  static const luaL_Reg words[] = {
    { "on", handler_on },    { "every", handler_every }, { "at", handler_at },    { "after", flow_after },
    { "spawn", flow_spawn }, { "all", flow_all },        { "sleep", flow_sleep }, { "wait_for", flow_wait_for },
    { "now", flow_now },     { "each", each_call },      { "keep", keep_call },   { "use", library_use },
  };
  static const struct {
    const char *name;
    lua_Integer seconds;
  } units[] = { { "seconds", 1 }, { "minutes", 60 }, { "hours", 3600 }, { "days", 86400 } };
  static const char *const levels[] = { "debug", "info", "warn", "error" };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    lua_pushcfunction(L, words[i].func);
    lua_setglobal(L, words[i].name);
  }
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    lua_pushinteger(L, units[i].seconds);
    lua_pushcclosure(L, flow_unit, 1);
    lua_setglobal(L, units[i].name);
  }
  verb_push_group(L, "log", 3);
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    lua_pushstring(L, levels[i]);
    lua_pushstring(L, levels[i]);
    lua_pushcclosure(L, flow_log, 1);
    lua_rawset(L, -3);
  }
  lua_pop(L, 1);
}
