// Crossing the border.
//
// Arguments are borrowed from the Lua stack for the time of the call and results live in one pool that is reset by the
// next call, so an ordinary call allocates nothing. Nothing on the C stack owns memory when Lua may raise.
#include "call.h"

#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

#include "check.h"
#include "lua_value.h"
#include "script.h"
#include "task.h"

void call_return(struct call *call, struct value value)
{
  CHECK(call->result_count < CALL_RESULTS_MAX);
  call->results[call->result_count++] = value;
}

int call_fail(struct call *call, const char *code, const char *format, ...)
{
  va_list arguments;
  char sentence[STATUS_TEXT_MAX];
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  char *copy = pool_copy(call->pool, view_of(sentence));
  call->result_count = 0;
  call_return(call, value_nil());
  call_return(call, value_text(copy ? copy : "out of memory"));
  call_return(call, value_text(code));
  return CALL_DONE;
}

static int caller_line(lua_State *L)
{
  lua_Debug frame;
  if (!lua_getstack(L, 1, &frame)) return 0;
  lua_getinfo(L, "l", &frame);
  return frame.currentline > 0 ? frame.currentline : 0;
}

static const char *label(lua_State *L, const struct noun *noun, const char *name)
{
  return noun ? lua_pushfstring(L, "%s:%s", noun->kind, name) : name;
}

static void read_arguments(lua_State *L, const struct noun *noun, const char *name, int first, int count,
                           struct lua_reader *reader, struct value *arguments)
{
  if (count > CALL_ARGUMENTS_MAX)
    luaL_error(L, "%s takes at most %d arguments", label(L, noun, name), CALL_ARGUMENTS_MAX);
  for (int i = 0; i < count; i++) {
    if (lua_value_read(L, first + i, reader, &arguments[i])) continue;
    script_drop_functions(script_of(L), reader->functions, reader->function_count);
    luaL_error(L, "%s: argument %d%s: %s", label(L, noun, name), i + 1, reader->path, reader->why);
  }
}

static int wait_for_host(lua_State *L, const struct noun *noun, const char *name, const struct lua_reader *reader,
                         uint64_t token)
{
  struct scheduler *scheduler = script_of(L)->scheduler;
  if (!lua_isyieldable(L)) {
    const struct scripts_hooks *hooks = &scheduler->config->hooks;
    if (hooks->cancel) hooks->cancel(hooks->app, token);
    script_drop_functions(script_of(L), reader->functions, reader->function_count);
    task_may_wait(L, label(L, noun, name));
  }
  struct task *task = scheduler->running;
  for (uint32_t i = 0; i < reader->function_count; i++) task->functions[i] = reader->functions[i];
  task->function_count = reader->function_count;
  return task_wait(L, token);
}

int call_enter(lua_State *L, const struct noun *noun, const char *name, call_fn *fn, uint64_t handle, int first)
{
  static const struct caller nobody = { .topic = "", .name = "" };
  struct script *script = script_of(L);
  struct scheduler *scheduler = script->scheduler;
  struct value arguments[CALL_ARGUMENTS_MAX];
  struct lua_reader reader;
  int count = lua_gettop(L) - first + 1;
  lua_reader_init(&reader, &scheduler->call_pool);
  reader.allow_objects = reader.allow_functions = true;
  pool_reset(&scheduler->call_pool);
  read_arguments(L, noun, name, first, count, &reader, arguments);

  struct caller caller = scheduler->running ? scheduler->running->caller : nobody;
  caller.script = script->record->file;
  caller.line = caller_line(L);
  struct call call;
  call.caller = &caller;
  call.pool = &scheduler->call_pool;
  call.arguments = arguments;
  call.argument_count = (uint32_t)count;
  call.result_count = 0;
  call.wait_token = 0;
  call.status.code = 0;
  call.status.text[0] = '\0';
  int rc = fn(scheduler->config->hooks.app, handle, &call);
  if (rc == CALL_WAIT) return wait_for_host(L, noun, name, &reader, call.wait_token);
  if (reader.function_count) script_drop_functions(script, reader.functions, reader.function_count);
  if (rc < 0) return luaL_error(L, "%s", call.status.text[0] ? call.status.text : label(L, noun, name));
  luaL_checkstack(L, CALL_RESULTS_MAX + 4, NULL);
  for (uint32_t i = 0; i < call.result_count; i++) lua_value_push(L, &call.results[i]);
  return (int)call.result_count;
}
