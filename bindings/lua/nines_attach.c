// nines.attach(path): from here on every object of this interpreter is the engine's of that name; and the two nouns
// that only make sense with an engine, critical paths and flags.

#include "nines_attach.h"

#include <lauxlib.h>

#include "duration.h"
#include "nines_options.h"
#include "nines_space.h"

struct wanted {
  int64_t wait_ns, keep_ns;
  bool without_engine;
};

static const struct schema_field fields[] = {
  { .key = "wait", .type = SCHEMA_INTERVAL, .offset = offsetof(struct wanted, wait_ns), .max = (double)NS_PER_H },
  { .key = "keep",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct wanted, keep_ns),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_DAY },
  { .key = "without_engine", .type = SCHEMA_BOOL, .offset = offsetof(struct wanted, without_engine) },
  { 0 },
};

// nines.attach(path[, { wait = "1s", keep = "10s", without_engine = false }]): true; nil and a sentence.
static int attach(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  struct wanted wanted = { .wait_ns = -1 };
  struct pool pool = { 0 };
  options_decode(L, 2, "nines.attach", fields, &wanted, &pool);
  pool_fini(&pool);
  struct space *space = space_of(L);
  if (space->arena->count > 0 || space->arena->attachment)
    return luaL_error(L, "nines.attach comes first: there are objects in this interpreter's arena already");
  if (space->clock != LUA_NOREF) return luaL_error(L, "nines.attach: an engine's arena has the system's clock");
  const nines_attach_config config = { .size = sizeof config,
                                       .wait_ns = wanted.wait_ns < 0    ? 0
                                                  : wanted.wait_ns == 0 ? -1
                                                                        : wanted.wait_ns,
                                       .keep_ns = wanted.keep_ns,
                                       .without_engine = wanted.without_engine };
  nines_arena *arena;
  char error[512];
  if (nines_attach(&arena, path, &config, error, sizeof error) < 0) {
    lua_pushnil(L);
    lua_pushstring(L, error);
    return 2;
  }
  nines_arena_close(space->arena);
  space->arena = arena;
  lua_pushboolean(L, true);
  return 1;
}

// nines.engine_state(): "there", "gone" (its last decisions hold), "lost"; nil when not attached.
static int engine_state(lua_State *L)
{
  static const char *const states[] = { "there", "gone", "lost" };
  struct space *space = space_of(L);
  int64_t now_ns = space_now(L, space);
  if (!space->arena->attachment) return 0;
  lua_pushstring(L, states[nines_arena_engine(space->arena, now_ns)]);
  return 1;
}

static int settle(lua_State *L, struct box *box, int code, void *handle)
{
  if (code < 0) box_refused(L, box->space);
  box->handle = handle;
  lua_settop(L, 1);
  return 1;
}

// --- path

static int path_configure_now(lua_State *L)
{
  struct box *box = lua_touserdata(L, 1);
  nines_path *path = NULL;
  space_now(L, box->space);
  int code = nines_arena_path(box->space->arena, box->name, &path);
  return settle(L, box, code, path);
}

// path:record(ok[, duration])
static int path_record(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_PATH, "this path");
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  int64_t duration_ns = lua_isnoneornil(L, 3) ? -1 : options_interval(L, 3, "path:record");
  space_now(L, box->space);
  nines_path_record(box->handle, lua_toboolean(L, 2), duration_ns);
  return 0;
}

enum { BEGUN = 2, FUNCTION = 3 }; // the stack of path:track's function: the path, when it began, fn, its results

static int track_end(lua_State *L, int status, lua_KContext context)
{
  (void)context;
  const struct box *box = lua_touserdata(L, 1);
  bool ok = status == LUA_OK || status == LUA_YIELD;
  int count = lua_gettop(L) - BEGUN;
  // nil and a reason is a failure, as an error is.
  if (ok && count >= 2 && lua_isnil(L, BEGUN + 1) && !lua_isnil(L, BEGUN + 2)) ok = false;
  nines_path_record(box->handle, ok, space_now(L, box->space) - (int64_t)lua_tointeger(L, BEGUN));
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return count;
}

// path:track(fn, ...): what fn returns; recorded with how long it took. An error is recorded and raised again.
static int path_track(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_PATH, "this path");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushinteger(L, (lua_Integer)space_now(L, box->space));
  lua_insert(L, BEGUN);
  int status = lua_pcallk(L, lua_gettop(L) - FUNCTION, LUA_MULTRET, 0, 0, track_end);
  return track_end(L, status, 0);
}

// --- flag

// flag{...} takes no settings; nines.flag(name, otherwise) is the flag's value while nobody declares it.
static int flag_configure(lua_State *L)
{
  struct box *box = lua_touserdata(L, 1);
  nines_flag *flag = NULL;
  space_now(L, box->space);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TBOOLEAN);
  int code = nines_flag_get(box->space->arena, box->name, lua_toboolean(L, 2), &flag);
  return settle(L, box, code, flag);
}

static int flag_on(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_FLAG, "this flag");
  lua_pushboolean(L, nines_flag_on(box->handle, space_now(L, box->space)));
  return 1;
}

void attach_open(lua_State *L)
{
  static const luaL_Reg path[] = { { "record", path_record }, { "track", path_track }, { NULL, NULL } };
  static const luaL_Reg flag[] = { { "on", flag_on }, { NULL, NULL } };
  noun_open(L, NOUN_PATH, "path", path, path_configure_now);
  noun_open(L, NOUN_FLAG, "flag", flag, flag_configure);
  lua_pushcfunction(L, attach);
  lua_setfield(L, -2, "attach");
  lua_pushcfunction(L, engine_state);
  lua_setfield(L, -2, "engine_state");
}
