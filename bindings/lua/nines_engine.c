// nines.open(dir): the whole engine in this interpreter's loop.
//
// The engine runs while engine:turn runs; its events call the host's function there. A function that raises is not
// allowed to unwind the engine: the error is kept, and raised when the turn is over.

#include <lauxlib.h>
#include <string.h>

#include "duration.h"
#include "nines.h"
#include "nines_attach.h"
#include "nines_options.h"

static const char engine_type[] = "nines.engine";

struct host {
  nines *engine; // NULL: closed
  lua_State *L;  // of the turn under way; events of other moments are not told
  int on_event;  // reference; LUA_NOREF: none
  bool failed;   // on_event raised: its error is on top of the stack of the turn
};

static void on_event(void *userdata, const char *topic, const char *name, const char *json)
{
  struct host *host = userdata;
  if (!host->L || host->on_event == LUA_NOREF || host->failed) return;
  lua_rawgeti(host->L, LUA_REGISTRYINDEX, host->on_event);
  lua_pushstring(host->L, topic);
  lua_pushstring(host->L, name);
  lua_pushstring(host->L, json);
  host->failed = lua_pcall(host->L, 3, 0, 0) != LUA_OK;
}

struct wanted {
  bool observe;
  int64_t seed;
};

static const struct schema_field fields[] = {
  { .key = "observe", .type = SCHEMA_BOOL, .offset = offsetof(struct wanted, observe) },
  { .key = "seed", .type = SCHEMA_INTEGER, .offset = offsetof(struct wanted, seed), .max = 9e15 },
  { 0 },
};

// nines.open(dir[, options[, on_event]]): the engine; nil and a sentence. dir nil: no files.
static int open(lua_State *L)
{
  const char *dir = luaL_optstring(L, 1, NULL);
  struct wanted wanted = { 0 };
  struct pool pool = { 0 };
  options_decode(L, 2, "nines.open", fields, &wanted, &pool);
  pool_fini(&pool);
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  struct host *host = lua_newuserdatauv(L, sizeof *host, 0);
  *host = (struct host){ .on_event = LUA_NOREF };
  luaL_setmetatable(L, engine_type);
  if (!lua_isnil(L, 3)) {
    lua_pushvalue(L, 3);
    host->on_event = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  nines_config config = NINES_CONFIG_INIT;
  config.dir = dir;
  config.observe = wanted.observe;
  config.seed = (uint64_t)wanted.seed;
  config.on_event = on_event;
  config.userdata = host;
  char error[512];
  if (nines_open(&host->engine, &config, error, sizeof error) == 0) return 1;
  lua_pushnil(L);
  lua_pushstring(L, error);
  return 2;
}

static struct host *host_of(lua_State *L)
{
  struct host *host = luaL_checkudata(L, 1, engine_type);
  if (!host->engine) luaL_error(L, "this engine is closed");
  return host;
}

static int close(lua_State *L)
{
  struct host *host = luaL_checkudata(L, 1, engine_type);
  if (!host->engine) return 0;
  host->failed = false;
  host->L = L;
  nines_close(host->engine);
  host->L = NULL;
  host->engine = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, host->on_event);
  host->on_event = LUA_NOREF;
  return host->failed ? lua_error(L) : 0;
}

// engine:turn([wait]): runs what there is to do, waiting for it at most so long ("50ms", seconds; 0). True once it was
// stopped and is done.
static int turn(lua_State *L)
{
  struct host *host = host_of(L);
  int64_t wait_ns = lua_isnoneornil(L, 2) ? 50 * NS_PER_MS : options_interval(L, 2, "engine:turn");
  host->L = L;
  host->failed = false;
  int code = nines_turn(host->engine, wait_ns);
  host->L = NULL;
  if (host->failed) return lua_error(L);
  if (code < 0) return luaL_error(L, "%s", nines_errmsg(host->engine));
  lua_pushboolean(L, code == 1);
  return 1;
}

static int stop(lua_State *L)
{
  nines_stop(host_of(L)->engine);
  return 0;
}

// engine:load(path): true; nil and a sentence
static int load(lua_State *L)
{
  struct host *host = host_of(L);
  if (nines_load(host->engine, luaL_checkstring(L, 2)) < 0) {
    lua_pushnil(L);
    lua_pushstring(L, nines_errmsg(host->engine));
    return 2;
  }
  lua_pushboolean(L, true);
  return 1;
}

// engine:record(path, ok[, duration])
static int record(lua_State *L)
{
  struct host *host = host_of(L);
  nines_path *path;
  luaL_checktype(L, 3, LUA_TBOOLEAN);
  int64_t duration_ns = lua_isnoneornil(L, 4) ? -1 : options_interval(L, 4, "engine:record");
  if (nines_path_get(host->engine, luaL_checkstring(L, 2), &path) < 0)
    return luaL_error(L, "%s", nines_errmsg(host->engine));
  nines_path_record(path, lua_toboolean(L, 3), duration_ns);
  return 0;
}

static int fd(lua_State *L)
{
  lua_pushinteger(L, nines_fd(host_of(L)->engine));
  return 1;
}

void engine_open_module(lua_State *L)
{
  static const luaL_Reg methods[] = { { "turn", turn }, { "stop", stop },   { "load", load }, { "record", record },
                                      { "fd", fd },     { "close", close }, { NULL, NULL } };
  luaL_newmetatable(L, engine_type);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
  lua_pushcfunction(L, open);
  lua_setfield(L, -2, "open");
}
