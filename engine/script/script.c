// One life of one file.
//
// Everything a file says at its top level is collected here (declarations, names, handlers, tasks) and takes effect
// only when the whole set of files fits together and this life is started: a file that fails leaves no trace. What
// prepares the state (words, compiling, the check of names) runs in one protected call, the top level in a turn under
// the script's limits.
#include "script.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "check.h"
#include "handler.h"
#include "keep.h"
#include "lua_value.h"
#include "mem.h"
#include "object.h"
#include "task.h"
#include "vocabulary.h"

enum { SETTINGS_BYTES_MAX = 1024 * 1024, SERIAL_SHIFT = 40 };
// Loading only declares; it happens on the loop's thread while traffic goes on, so it gets less than a turn.
#define LOAD_INSTRUCTIONS_MAX 300000u

struct script *script_of(lua_State *L)
{
  return sandbox_of(L)->owner;
}

void script_where(lua_State *L, int level, char *out, size_t size)
{
  lua_Debug frame;
  if (!lua_getstack(L, level, &frame)) {
    snprintf(out, size, "%s", script_of(L)->record->file);
    return;
  }
  lua_getinfo(L, "Sl", &frame);
  if (frame.currentline > 0)
    snprintf(out, size, "%s:%d", frame.short_src, frame.currentline);
  else
    snprintf(out, size, "%s", script_of(L)->record->file);
}

void script_only_running(lua_State *L, const char *word)
{
  if (script_of(L)->loading) luaL_error(L, "%s cannot be called while the file loads; put it into a handler", word);
}

void script_only_loading(lua_State *L, const char *word)
{
  if (!script_of(L)->loading) luaL_error(L, "%s belongs to the top of the file, not into a handler", word);
}

// Functions

static const char functions; // its address is the registry's key of the table of registered functions

int64_t script_register(lua_State *L, int index)
{
  struct script *script = script_of(L);
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, NULL);
  int64_t number = (int64_t)(script->serial << SERIAL_SHIFT | ++script->last_function);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &functions);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, number);
  lua_pop(L, 1);
  return number;
}

bool script_push_function(lua_State *L, int64_t function)
{
  struct script *script = script_of(L);
  if ((uint64_t)function >> SERIAL_SHIFT != script->serial || !lua_checkstack(L, 2)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &functions);
  lua_rawgeti(L, -1, function);
  lua_remove(L, -2);
  if (lua_isfunction(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

void script_drop_functions(struct script *script, const int64_t *numbers, uint32_t count)
{
  lua_State *L = script->sandbox.L;
  if (count == 0 || !lua_checkstack(L, 3)) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &functions);
  for (uint32_t i = 0; i < count; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, numbers[i]); // the key is there: nothing is allocated
  }
  lua_pop(L, 1);
}

// Names

// Arrays here grow at powers of two.
static void *grow(void *array, uint32_t count, size_t size)
{
  if ((count & (count - 1)) != 0) return array;
  return mem_must_resize(array, (count ? 2 * (size_t)count : 1) * size);
}

void script_refer(lua_State *L, const struct object *object)
{
  struct script *script = script_of(L);
  char where[SCRIPT_NAME_MAX * 2];
  if (script->reference_count == SCRIPT_REFERENCES_MAX)
    luaL_error(L, "more than %d names in one file", SCRIPT_REFERENCES_MAX);
  script_where(L, 1, where, sizeof where);
  script->references = grow(script->references, script->reference_count, sizeof *script->references);
  script->references[script->reference_count++] =
      (struct reference){ object->noun, mem_must_copy(object->name), mem_must_copy(where) };
}

static void add_fixup(struct script *script, struct value *value)
{
  const struct object *object = (const struct object *)(uintptr_t)value->object.handle;
  script->fixups = grow(script->fixups, script->fixup_count, sizeof *script->fixups);
  script->fixups[script->fixup_count++] = (struct fixup){ value, object, script->declaration_count - 1 };
}

static void collect_fixups(struct script *script, struct value *value)
{
  if (value->type == VALUE_OBJECT) {
    add_fixup(script, value);
  } else if (value->type == VALUE_LIST) {
    for (size_t i = 0; i < value->list.count; i++) collect_fixups(script, &value->list.items[i]);
  } else if (value->type == VALUE_TABLE) {
    for (size_t i = 0; i < value->table.count; i++) collect_fixups(script, &value->table.members[i].value);
  }
}

static void look_up(struct script *script, uint32_t from)
{
  for (uint32_t i = from; i < script->fixup_count; i++) {
    const struct fixup *fixup = &script->fixups[i];
    fixup->value->object.handle = object_handle(script->sandbox.L, fixup->object);
    if (!fixup->value->object.handle) script->declarations[fixup->declaration].is_incomplete = true;
  }
}

static void refuse_second(lua_State *L, const struct object *object)
{
  const struct script *script = script_of(L);
  for (uint32_t i = 0; i < script->declaration_count; i++) {
    const struct declaration *declaration = &script->declarations[i];
    if (declaration->noun == object->noun && strcmp(declaration->name, object->name) == 0)
      luaL_error(L, "%s \"%s\" is declared twice, first at %s", object->noun->kind, object->name, declaration->where);
  }
}

void script_declare(lua_State *L, const struct object *object, int index)
{
  struct script *script = script_of(L);
  const struct noun *noun = object->noun;
  char place[SCRIPT_NAME_MAX * 2], where[SCRIPT_NAME_MAX * 4];
  script_only_loading(L, noun->kind);
  if (!noun->check) luaL_error(L, "%s \"%s\" cannot be declared in a policy", noun->kind, object->name);
  if (script->declaration_count == SCRIPT_DECLARATIONS_MAX)
    luaL_error(L, "more than %d declarations in one file", SCRIPT_DECLARATIONS_MAX);
  refuse_second(L, object);
  struct lua_reader reader;
  struct declaration declaration = { .noun = noun };
  lua_reader_init(&reader, &script->settings);
  reader.copy_text = reader.allow_objects = reader.objects_by_name = reader.allow_functions = true;
  if (!lua_value_read(L, index, &reader, &declaration.settings)) {
    const char *path = reader.path[0] == '.' ? reader.path + 1 : reader.path;
    luaL_error(L, "%s \"%s\": %s%s%s", noun->kind, object->name, path, path[0] ? ": " : "", reader.why);
  }
  script_where(L, 1, place, sizeof place);
  snprintf(where, sizeof where, "%s: %s \"%s\"", place, noun->kind, object->name);
  script->declarations = grow(script->declarations, script->declaration_count, sizeof *script->declarations);
  declaration.name = mem_must_copy(object->name);
  declaration.where = mem_must_copy(place);
  script->declarations[script->declaration_count++] = declaration;
  uint32_t first = script->fixup_count;
  collect_fixups(script, &script->declarations[script->declaration_count - 1].settings);
  look_up(script, first);
  struct status status = { .text = "" };
  if (noun->check(script->scheduler->config->hooks.app, where, object->name,
                  &script->declarations[script->declaration_count - 1].settings, &status) < 0) {
    lua_pushstring(L, status.text);
    lua_error(L);
  }
}

int script_apply(struct script *script, const struct noun *noun, bool again, struct status *status)
{
  void *app = script->scheduler->config->hooks.app;
  int first = 0;
  for (uint32_t i = 0; !again && i < script->declaration_count; i++) script->declarations[i].is_incomplete = false;
  look_up(script, 0);
  for (uint32_t i = 0; i < script->declaration_count; i++) {
    struct declaration *declaration = &script->declarations[i];
    struct status why = { .text = "" };
    if (declaration->noun != noun || !noun->apply || (again && !declaration->is_incomplete)) continue;
    int rc = noun->apply(app, script->record->file, declaration->name, &declaration->settings, &why);
    if (rc < 0 && first == 0) first = status_set(status, rc, "%s: %s", declaration->where, why.text);
  }
  return first;
}

// Life

struct loader {
  struct view text;
  lua_State *thread;
  int reference;
  struct status status;
};

// Protected: words, compiling, the check of names, the thread that will run the top level.
static int prepare(lua_State *L)
{
  struct loader *loader = lua_touserdata(L, 1);
  struct script *script = script_of(L);
  const char *file = script->record->file;
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &functions);
  vocabulary_install(L);
  if (sandbox_compile(&script->sandbox, loader->text.data, loader->text.size, file, &loader->status) != 0) return 0;
  vocabulary_check(L, file);
  loader->thread = lua_newthread(L);
  loader->reference = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_xmove(L, loader->thread, 1);
  return 0;
}

static int first_line(struct status *status, int code, const char *trace)
{
  return status_set(status, code, "%.*s", (int)strcspn(trace, "\n"), trace);
}

static int load(struct script *script, struct view text, struct status *status)
{
  lua_State *L = script->sandbox.L;
  struct loader loader = { .text = text };
  lua_pushcfunction(L, prepare);
  lua_pushlightuserdata(L, &loader);
  script->loading = true;
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    const char *why = lua_tostring(L, -1);
    status_set(&loader.status, NINES_ESCRIPT, "%s", why ? why : "out of memory");
    lua_pop(L, 1);
  }
  int rc = loader.status.code;
  if (rc != 0) {
    if (status) *status = loader.status;
  } else {
    struct status trace;
    int results = 0;
    uint64_t turn_max = script->sandbox.limits.instructions_max;
    script->sandbox.limits.instructions_max = turn_max < LOAD_INSTRUCTIONS_MAX ? turn_max : LOAD_INSTRUCTIONS_MAX;
    int end = sandbox_resume(&script->sandbox, loader.thread, 0, &results, &trace);
    script->sandbox.limits.instructions_max = turn_max;
    CHECK(end != LUA_YIELD); // every waiting word refuses while loading
    if (end != LUA_OK) rc = first_line(status, NINES_ESCRIPT, trace.text);
    luaL_unref(L, LUA_REGISTRYINDEX, loader.reference);
  }
  script->loading = false;
  return rc;
}

int script_open(struct script **out, struct scheduler *scheduler, struct script_record *record, struct view text,
                bool checking, struct status *status)
{
  struct script *script = mem_must(sizeof *script);
  *out = NULL;
  script->scheduler = scheduler;
  script->record = record;
  script->serial = ++scheduler->last_script;
  script->checking = checking;
  script->settings.limit_bytes = SETTINGS_BYTES_MAX;
  list_init(&script->tasks);
  list_init(&script->idle);
  list_init(&script->handlers);
  int rc = sandbox_open(&script->sandbox, &scheduler->config->limits, &scheduler->budget, scheduler->config->seed,
                        record->file, script, status);
  if (rc != 0) {
    mem_free(script);
    return rc;
  }
  rc = load(script, text, status);
  if (rc != 0)
    script_close(script);
  else
    *out = script;
  return rc;
}

static void free_names(struct script *script)
{
  for (uint32_t i = 0; i < script->declaration_count; i++) {
    mem_free(script->declarations[i].name);
    mem_free(script->declarations[i].where);
  }
  for (uint32_t i = 0; i < script->reference_count; i++) {
    mem_free(script->references[i].name);
    mem_free(script->references[i].where);
  }
  for (uint32_t i = 0; i < script->library_count; i++) mem_free(script->libraries[i]);
  mem_free(script->declarations);
  mem_free(script->references);
  mem_free(script->fixups);
  pool_fini(&script->settings);
}

void script_stop(struct script *script)
{
  if (!script->sandbox.L) return;
  script->running = false;
  while (!list_empty(&script->tasks)) {
    struct task *task = list_entry(script->tasks.next, struct task, in_script);
    task->parent = NULL; // it goes too, and must not be woken
    task_cancel(task);
  }
  tasks_free_idle(script);
  list_each (node, &script->handlers) handler_free(list_entry(node, struct handler, in_script));
  sandbox_close(&script->sandbox);
}

void script_close(struct script *script)
{
  if (!script) return;
  script_stop(script);
  free_names(script);
  buf_free(&script->keep_seen);
  mem_free(script);
}

void script_start(struct script *script)
{
  script->running = true;
  list_each (node, &script->handlers) handler_start(list_entry(node, struct handler, in_script));
  list_each (node, &script->tasks) {
    struct task *task = list_entry(node, struct task, in_script);
    if (task->state == TASK_SLEEPING)
      task_start_at(task, task->timer.node.due_ns);
    else
      task_ready(task);
  }
  keep_begin(script);
}

void script_turn_over(struct script *script)
{
  keep_save(script);
}
