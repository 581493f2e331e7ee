// What a script keeps.
//
// The table is an ordinary one; it is written as JSON (keys in order) after each turn and compared with what it was, so
// that any way of changing it is noticed. Restoring walks the defaults: a key keeps its stored value while the types
// agree, takes its default when they do not, and says so. Without that, an edit of a policy could hand it a text where
// it counts.
#include "keep.h"

#include <stdio.h>

#include <lauxlib.h>

#include "json.h"
#include "lua_value.h"

enum { PATH_MAX_BYTES = 128 };

// Tells of a key whose type changed.
static void say_changed(lua_State *L, const char *path, const struct value *stored, int index)
{
  struct script *script = script_of(L);
  char text[PATH_MAX_BYTES + 128];
  if (script->checking) return;
  snprintf(text, sizeof text, "%s was %s and is a %s now: it takes its default", path, value_type_name(stored),
           luaL_typename(L, index));
  scheduler_log(script->scheduler, "warn", script->record->file, text);
}

static bool has_text_key(lua_State *L, int index)
{
  lua_pushnil(L);
  if (!lua_next(L, index)) return false;
  bool text = lua_type(L, -2) == LUA_TSTRING;
  lua_pop(L, 2);
  return text;
}

static bool is_empty(const struct value *value)
{
  return value->type == VALUE_TABLE && value->table.count == 0;
}

static void merge(lua_State *L, const char *path, int defaults, const struct value *stored);

// The default is on top of the stack; pushes what the key shall have, or nothing when the default stays.
static bool push_restored(lua_State *L, const char *path, const struct value *stored)
{
  int index = lua_gettop(L);
  int type = lua_type(L, index);
  double number;
  if (type == LUA_TNIL || (type == LUA_TBOOLEAN && stored->type == VALUE_BOOL) ||
      (type == LUA_TSTRING && stored->type == VALUE_TEXT)) {
    lua_value_push(L, stored);
    return true;
  }
  if (type == LUA_TNUMBER && value_as_number(stored, &number)) {
    if (lua_isinteger(L, index))
      lua_value_push(L, stored);
    else
      lua_pushnumber(L, number);
    return true;
  }
  if (type == LUA_TTABLE && (stored->type == VALUE_TABLE || stored->type == VALUE_LIST)) {
    bool fields = has_text_key(L, index);
    if (fields && stored->type == VALUE_TABLE) {
      merge(L, path, index, stored);
      return false;
    }
    if (!fields && (stored->type == VALUE_LIST || is_empty(stored) || lua_rawlen(L, index) == 0)) {
      lua_value_push(L, stored);
      return true;
    }
  }
  say_changed(L, path, stored, index);
  return false;
}

static void merge(lua_State *L, const char *path, int defaults, const struct value *stored)
{
  char longer[PATH_MAX_BYTES];
  luaL_checkstack(L, 8, NULL);
  for (size_t i = 0; i < stored->table.count; i++) {
    const struct member *member = &stored->table.members[i];
    lua_pushlstring(L, member->key.data, member->key.size);
    lua_pushvalue(L, -1);
    lua_rawget(L, defaults);
    snprintf(longer, sizeof longer, "%s.%.*s", path, (int)(member->key.size < 32 ? member->key.size : 32),
             member->key.data);
    if (push_restored(L, longer, &member->value)) {
      lua_remove(L, -2);
      lua_rawset(L, defaults);
    } else {
      lua_pop(L, 2);
    }
  }
}

static struct value stored_value(struct script *script)
{
  struct scheduler *scheduler = script->scheduler;
  const struct scripts_hooks *hooks = &scheduler->config->hooks;
  struct value value = value_nil();
  struct status status;
  pool_reset(&scheduler->call_pool);
  if (script->record->kept.size > 0) {
    if (json_parse(&scheduler->call_pool, buf_view(&script->record->kept), &value, &status) != 0) return value_nil();
  } else if (hooks->kept) {
    value = hooks->kept(hooks->app, script->record->file, &scheduler->call_pool);
  }
  return value;
}

static bool write_json(struct script *script, lua_State *L, int index, struct buf *out, struct status *status)
{
  struct scheduler *scheduler = script->scheduler;
  struct lua_reader reader;
  struct value value;
  pool_reset(&scheduler->call_pool);
  lua_reader_init(&reader, &scheduler->call_pool);
  if (!lua_value_read(L, index, &reader, &value)) {
    status_set(status, NINES_EINVAL, "keep%s: %s", reader.path, reader.why);
    return false;
  }
  buf_clear(out);
  value_to_json(&value, out);
  if (!out->failed && out->size <= KEEP_BYTES_MAX) return true;
  status_set(status, NINES_ELIMIT, "keep: %zu bytes of JSON, at most %d can be kept", out->size, KEEP_BYTES_MAX);
  return false;
}

int keep_call(lua_State *L)
{
  struct script *script = script_of(L);
  struct status status;
  script_only_loading(L, "keep");
  luaL_checktype(L, 1, LUA_TTABLE);
  if (script->keep) return luaL_error(L, "keep: one table a file");
  if (!write_json(script, L, 1, &script->scheduler->scratch, &status)) return luaL_error(L, "%s", status.text);
  struct value stored = stored_value(script);
  if (stored.type == VALUE_TABLE) merge(L, "keep", 1, &stored);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  script->keep = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

// True when the table differs from `kept_seen`, which then holds its JSON.
static bool take_change(struct script *script)
{
  lua_State *L = script->sandbox.L;
  struct buf *scratch = &script->scheduler->scratch;
  struct status status;
  if (!lua_checkstack(L, 8)) return false;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->keep);
  bool written = write_json(script, L, -1, scratch, &status);
  lua_pop(L, 1);
  if (!written && !script->keep_refused) {
    script->record->errors++;
    scheduler_log(script->scheduler, "error", script->record->file, status.text);
  }
  script->keep_refused = !written;
  if (!written || view_equal(buf_view(scratch), buf_view(&script->keep_seen))) return false;
  struct buf seen = *scratch;
  *scratch = script->keep_seen;
  script->keep_seen = seen;
  return true;
}

void keep_begin(struct script *script)
{
  if (script->keep) take_change(script);
}

void keep_save(struct script *script)
{
  const struct scripts_hooks *hooks = &script->scheduler->config->hooks;
  if (!script->keep || !take_change(script)) return;
  struct view json = buf_view(&script->keep_seen);
  buf_clear(&script->record->kept);
  buf_add(&script->record->kept, json.data, json.size);
  if (hooks->keep) hooks->keep(hooks->app, script->record->file, json);
}
