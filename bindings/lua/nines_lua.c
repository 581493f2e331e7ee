// nines for stock Lua 5.4: `require "nines"`, so that policies are tested where the rest of the world tests its Lua.
//
// Policies run in sandboxed states of their own inside the engine; nothing is shared with the interpreter that loaded
// this module but values, copied. Options are read by the same schemas as everything else, so a misspelt key is an
// error that says what was meant. A programmer's mistakes raise with position.

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "duration.h"
#include "flag.h"
#include "lua_value.h"
#include "nines_attach.h"
#include "nines_guards.h"
#include "nines_options.h"
#include "overview.h"
#include "path.h"
#include "schema.h"
#include "service.h"
#include "world.h"

static const char world_type[] = "nines.world";

struct world_box {
  struct world *world; // NULL: closed
};

static struct world *world_of(lua_State *L)
{
  struct world_box *box = luaL_checkudata(L, 1, world_type);
  if (!box->world) luaL_error(L, "this world is closed");
  return box->world;
}

// --- nines.world { ... }

struct world_options {
  struct view_list policies;
  const char *config;
  int64_t seed, beat_ns, latency_ns, page_after_ns;
  bool observe;
  const struct value *services;
};

static const struct schema_field world_fields[] = {
  { .key = "policies", .type = SCHEMA_WORDS, .offset = offsetof(struct world_options, policies) },
  { .key = "config", .type = SCHEMA_TEXT, .offset = offsetof(struct world_options, config) },
  { .key = "seed",
    .type = SCHEMA_INTEGER,
    .offset = offsetof(struct world_options, seed),
    .max = 9e15,
    .fallback = "1" },
  { .key = "beat",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct world_options, beat_ns),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H,
    .fallback = "50ms" },
  { .key = "latency",
    .type = SCHEMA_LATENCY,
    .offset = offsetof(struct world_options, latency_ns),
    .max = (double)NS_PER_H },
  { .key = "page_after",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct world_options, page_after_ns),
    .max = (double)NS_PER_DAY },
  { .key = "observe", .type = SCHEMA_BOOL, .offset = offsetof(struct world_options, observe) },
  { .key = "services", .type = SCHEMA_VALUE, .offset = offsetof(struct world_options, services) },
  { 0 },
};

static int add_services(struct world *world, const struct value *services, struct status *status)
{
  if (!services || services->type == VALUE_NIL) return 0;
  if (services->type != VALUE_TABLE)
    return status_set(status, NINES_EINVAL, "nines.world: services: a table of versions by name, as { web = \"v1\" }");
  for (size_t i = 0; i < services->table.count; i++) {
    const struct member *member = &services->table.members[i];
    if (member->value.type != VALUE_TEXT)
      return status_set(status, NINES_EINVAL, "nines.world: services.%s: a version, not %s", member->key.data,
                        value_type_name(&member->value));
    int code = world_service(world, member->key.data, member->value.text.data, status);
    if (code < 0) return code;
  }
  return 0;
}

static int new_world(lua_State *L)
{
  struct world_options options = { .page_after_ns = -1 };
  struct pool pool = { 0 };
  struct status status = { 0 };
  options_decode(L, 1, "nines.world", world_fields, &options, &pool);
  struct world_config config = { .policies = options.policies.items,
                                 .policy_count = options.policies.count,
                                 .config = options.config,
                                 .seed = (uint64_t)options.seed,
                                 .beat_ns = options.beat_ns,
                                 .latency_ns = options.latency_ns,
                                 .page_after_ns = options.page_after_ns,
                                 .observe = options.observe };
  struct world_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  box->world = NULL;
  luaL_setmetatable(L, world_type);
  if (world_open(&box->world, &config, &status) < 0) return options_raise(L, &pool, &status);
  if (add_services(box->world, options.services, &status) < 0) return options_raise(L, &pool, &status);
  pool_fini(&pool);
  return 1;
}

static int close_world(lua_State *L)
{
  struct world_box *box = luaL_checkudata(L, 1, world_type);
  world_close(box->world);
  box->world = NULL;
  return 0;
}

// --- users and deployments

#define BEHAVIOUR_FIELDS(at)                                                                                           \
  { .key = "rps", .type = SCHEMA_NUMBER, .offset = (at) + offsetof(struct world_behaviour, rps), .max = 1e7 },         \
      { .key = "success", .type = SCHEMA_PERCENT, .offset = (at) + offsetof(struct world_behaviour, success) },        \
      { .key = "latency",                                                                                              \
        .type = SCHEMA_LATENCY,                                                                                        \
        .offset = (at) + offsetof(struct world_behaviour, latency_ns),                                                 \
        .max = (double)NS_PER_H },                                                                                     \
  {                                                                                                                    \
    .key = "jitter", .type = SCHEMA_LATENCY, .offset = (at) + offsetof(struct world_behaviour, jitter_ns),             \
    .max = (double)NS_PER_H                                                                                            \
  }

static const struct world_behaviour unsaid = { -1, -1, -1, -1 };
static const struct schema_field traffic_fields[] = { BEHAVIOUR_FIELDS(0), { 0 } };

// world:traffic(path, { rps, success, latency, jitter })
static int traffic(lua_State *L)
{
  struct world *world = world_of(L);
  const char *path = luaL_checkstring(L, 2);
  struct world_behaviour behaviour = unsaid;
  struct pool pool = { 0 };
  struct status status = { 0 };
  options_decode(L, 3, "world:traffic", traffic_fields, &behaviour, &pool);
  if (world_traffic(world, path, &behaviour, &status) < 0) return options_raise(L, &pool, &status);
  pool_fini(&pool);
  return 0;
}

struct deploy_options {
  struct world_version version;
  const char *actor;
};

static const struct schema_field deploy_fields[] = {
  BEHAVIOUR_FIELDS(offsetof(struct deploy_options, version.behaviour)),
  { .key = "takes",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct deploy_options, version.takes_ns),
    .max = (double)NS_PER_DAY },
  { .key = "fails", .type = SCHEMA_BOOL, .offset = offsetof(struct deploy_options, version.fails) },
  { .key = "actor", .type = SCHEMA_TEXT, .offset = offsetof(struct deploy_options, actor), .fallback = "person:test" },
  { 0 },
};

static int push_answer(lua_State *L, int status, const struct value *document)
{
  if (status < 300) {
    lua_value_push(L, document);
    return 1;
  }
  lua_pushnil(L);
  struct view detail = value_get_text(document, "detail");
  lua_pushlstring(L, detail.data ? detail.data : "no answer", detail.data ? detail.size : 9);
  lua_pushinteger(L, status);
  return 3;
}

// world:deploy(service, version, { success, latency, takes, fails, actor }): the deployment as it was begun, or nil,
// why, HTTP status.
static int deploy(lua_State *L)
{
  struct world *world = world_of(L);
  const char *service = luaL_checkstring(L, 2), *version = luaL_checkstring(L, 3);
  struct deploy_options options = { .version.behaviour = unsaid };
  struct pool pool = { 0 };
  const struct value *document;
  options_decode(L, 4, "world:deploy", deploy_fields, &options, &pool);
  int status = world_deploy(world, service, version, options.actor, &options.version, &document);
  pool_fini(&pool);
  return push_answer(L, status, document);
}

// --- time

static int advance(lua_State *L)
{
  world_advance(world_of(L), options_interval(L, 2, "world:advance"));
  lua_settop(L, 1);
  return 1;
}

struct asking {
  lua_State *L;
  bool failed; // the error is on the stack
};

static bool ask(void *userdata)
{
  struct asking *asking = userdata;
  lua_State *L = asking->L;
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 1);
  asking->failed = lua_pcall(L, 1, 1, 0) != LUA_OK;
  if (asking->failed) return true;
  bool done = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return done;
}

// world:advance_until(span, fn): true as soon as fn(world) is, false after the span.
static int advance_until(lua_State *L)
{
  struct world *world = world_of(L);
  int64_t span_ns = options_interval(L, 2, "world:advance_until");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  struct asking asking = { .L = L };
  bool done = world_advance_until(world, span_ns, ask, &asking);
  if (asking.failed) return lua_error(L);
  lua_pushboolean(L, done);
  return 1;
}

// --- what one can do to it

static int call(lua_State *L)
{
  struct world *world = world_of(L);
  const char *verb = luaL_checkstring(L, 2);
  const struct value *document;
  struct pool pool = { 0 };
  struct value arguments = options_at(L, 3, "world:call", &pool);
  int status = world_call(world, verb, &arguments, &document);
  pool_fini(&pool);
  lua_pushinteger(L, status);
  lua_value_push(L, document);
  return 2;
}

struct load_options {
  const char *name, *text;
  bool gone;
};

static const struct schema_field load_fields[] = {
  { .key = "name", .type = SCHEMA_TEXT, .offset = offsetof(struct load_options, name), .required = true },
  { .key = "text", .type = SCHEMA_TEXT, .offset = offsetof(struct load_options, text) },
  { .key = "gone", .type = SCHEMA_BOOL, .offset = offsetof(struct load_options, gone) },
  { 0 },
};

// world:load "policies/x.lua", world:load { name = "x.lua", text = "..." } or { name = "x.lua", gone = true }: true, or
// nil and why the edit was rejected.
static int load_policy(lua_State *L)
{
  struct world *world = world_of(L);
  struct status status = { 0 };
  struct pool pool = { 0 };
  int code;
  if (lua_type(L, 2) == LUA_TSTRING) {
    code = world_load_file(world, lua_tostring(L, 2), &status);
  } else {
    struct load_options options = { 0 };
    options_decode(L, 2, "world:load", load_fields, &options, &pool);
    if (!options.text && !options.gone) {
      status_set(&status, NINES_EINVAL, "world:load: needs a text, or gone = true");
      return options_raise(L, &pool, &status);
    }
    code = world_load(world, options.name, options.gone ? (struct view){ 0 } : view_of(options.text), &status);
  }
  pool_fini(&pool);
  if (code == 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, status.text);
  return 2;
}

static int crash(lua_State *L)
{
  struct world *world = world_of(L);
  struct status status = { 0 };
  int64_t down_ns = lua_isnoneornil(L, 2) ? 0 : options_interval(L, 2, "world:crash");
  if (world_crash(world, down_ns, &status) == 0) return 0;
  close_world(L);
  return luaL_error(L, "the engine does not start again: %s", status.text);
}

static int store_fail(lua_State *L)
{
  world_store_fail(world_of(L), lua_isnone(L, 2) || lua_toboolean(L, 2));
  return 0;
}

struct reply_options {
  int64_t status, latency_ns, times;
  const struct value *body;
  const char *error;
  int code;
};

static const char *const code_names[] = { "io", "timeout", "limit", "refused", NULL };
static const int codes[] = { NINES_EIO, NINES_ETIMEOUT, NINES_ELIMIT, NINES_EINVAL };
static const struct schema_field reply_fields[] = {
  { .key = "status", .type = SCHEMA_INTEGER, .offset = offsetof(struct reply_options, status), .max = 999 },
  { .key = "body", .alias = "output", .type = SCHEMA_VALUE, .offset = offsetof(struct reply_options, body) },
  { .key = "error", .type = SCHEMA_TEXT, .offset = offsetof(struct reply_options, error) },
  { .key = "code",
    .type = SCHEMA_CHOICE,
    .choices = code_names,
    .offset = offsetof(struct reply_options, code),
    .fallback = "io" },
  { .key = "latency",
    .type = SCHEMA_LATENCY,
    .offset = offsetof(struct reply_options, latency_ns),
    .max = (double)NS_PER_DAY },
  { .key = "times", .type = SCHEMA_INTEGER, .offset = offsetof(struct reply_options, times), .min = 1, .max = 1e9 },
  { 0 },
};

// world:reply("GET", url, { status, body, latency, times }) or { error, code }; "exec" with a command's words,
// "deliver" with a notifier. A table as body goes out as JSON. A target that ends with * is a beginning.
static int reply(lua_State *L)
{
  struct world *world = world_of(L);
  const char *method = luaL_checkstring(L, 2), *target = luaL_checkstring(L, 3);
  struct reply_options options = { 0 };
  struct pool pool = { 0 };
  struct buf body = { 0 };
  options_decode(L, 4, "world:reply", reply_fields, &options, &pool);
  if (options.body && options.body->type == VALUE_TEXT)
    buf_add(&body, options.body->text.data, options.body->text.size);
  else if (options.body && options.body->type != VALUE_NIL)
    value_to_json(options.body, &body);
  world_reply(world, method, target,
              &(struct world_reply){ .status = (int)options.status,
                                     .body = buf_view(&body),
                                     .error = options.error,
                                     .code = codes[options.code],
                                     .latency_ns = options.latency_ns,
                                     .times = options.times });
  buf_free(&body);
  pool_fini(&pool);
  return 0;
}

// --- what one can see of it

static int push_list(lua_State *L, const struct world *world, enum world_list list, const char *pattern)
{
  lua_Integer index = 0;
  lua_newtable(L);
  for (uint32_t i = 0; i < world_count(world, list); i++) {
    const struct value *value = world_at(world, list, i);
    if (pattern && !event_matches(pattern, value_get_text(value, "topic").data)) continue;
    lua_value_push(L, value);
    lua_rawseti(L, -2, ++index);
  }
  return 1;
}

static int list_events(lua_State *L)
{
  return push_list(L, world_of(L), WORLD_EVENTS, luaL_optstring(L, 2, "*"));
}

static int list_log(lua_State *L)
{
  return push_list(L, world_of(L), WORLD_LOG, NULL);
}

static int push_built(lua_State *L, struct pool *pool, const struct value *value)
{
  lua_value_push(L, value);
  pool_fini(pool);
  return 1;
}

static int show_path(lua_State *L)
{
  const struct path *path = path_find(world_engine(world_of(L)), luaL_checkstring(L, 2));
  struct pool pool = { 0 };
  struct value value = value_table();
  if (!path) return 0;
  path_describe(path, &pool, &value);
  value_put_text(&pool, &value, "summary", path_summary(path, &pool));
  value_put(&pool, &value, "episode", value_integer(path->state->episode));
  return push_built(L, &pool, &value);
}

static int show_service(lua_State *L)
{
  struct world *world = world_of(L);
  const char *name = luaL_checkstring(L, 2);
  const struct service *service = service_find(world_engine(world), name);
  struct pool pool = { 0 };
  struct value value = value_table();
  if (!service) return luaL_error(L, "nothing has named a service \"%s\"", name);
  service_describe(service, &pool, &value);
  // What runs, not what the engine believes: the two are compared in tests.
  value_put_text(&pool, &value, "believed", service->version);
  if (world_version(world, name)) value_put_text(&pool, &value, "version", world_version(world, name));
  return push_built(L, &pool, &value);
}

static int show_flag(lua_State *L)
{
  const char *name = luaL_checkstring(L, 2);
  const struct flag *flag = flag_find(world_engine(world_of(L)), name);
  struct pool pool = { 0 };
  struct value value = value_table();
  if (!flag) return luaL_error(L, "no policy declares a flag \"%s\"", name);
  flag_describe(flag, &pool, &value);
  return push_built(L, &pool, &value);
}

static int list_alerts(lua_State *L)
{
  struct pool pool = { 0 };
  struct value value = value_list();
  overview_alerts(world_engine(world_of(L)), true, &pool, &value);
  return push_built(L, &pool, &value);
}

static int show_status(lua_State *L)
{
  struct pool pool = { 0 };
  struct value value = value_table();
  overview_status(world_engine(world_of(L)), &pool, &value);
  return push_built(L, &pool, &value);
}

static int show_now(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)world_wall_ns(world_of(L)) / (lua_Number)NS_PER_S);
  return 1;
}

static int show_hash(lua_State *L)
{
  char text[24];
  snprintf(text, sizeof text, "%016llx", (unsigned long long)world_hash(world_of(L)));
  lua_pushstring(L, text);
  return 1;
}

// --- the module

static int send(lua_State *L, bool counter)
{
  struct world *world = world_of(L);
  struct status status = { 0 };
  size_t size;
  const char *key = luaL_checklstring(L, 2, &size);
  double value = luaL_checknumber(L, 3);
  if (world_send(world, (struct view){ key, size }, counter, value, &status) < 0)
    return luaL_error(L, "%s", status.text);
  return 0;
}

// world:gauge("queue_lag", 12): what a sender would send now.
static int gauge(lua_State *L)
{
  return send(L, false);
}

// world:count('orders{shop="north"}', 3)
static int count(lua_State *L)
{
  return send(L, true);
}

static const luaL_Reg methods[] = { { "traffic", traffic },
                                    { "gauge", gauge },
                                    { "count", count },
                                    { "deploy", deploy },
                                    { "advance", advance },
                                    { "advance_until", advance_until },
                                    { "call", call },
                                    { "load", load_policy },
                                    { "crash", crash },
                                    { "store_fail", store_fail },
                                    { "reply", reply },
                                    { "events", list_events },
                                    { "log", list_log },
                                    { "path", show_path },
                                    { "service", show_service },
                                    { "flag", show_flag },
                                    { "alerts", list_alerts },
                                    { "status", show_status },
                                    { "now", show_now },
                                    { "hash", show_hash },
                                    { "close", close_world },
                                    { NULL, NULL } };

static const struct {
  const char *name;
  enum world_list list;
} fields[] = { { "pages", WORLD_PAGES },
               { "notifications", WORLD_NOTIFICATIONS },
               { "resolutions", WORLD_RESOLUTIONS },
               { "commands", WORLD_COMMANDS },
               { "http", WORLD_HTTP } };

// Methods are in the upvalue; lists are made when they are asked for.
static int index_world(lua_State *L)
{
  const char *name = luaL_checkstring(L, 2);
  if (lua_getfield(L, lua_upvalueindex(1), name) != LUA_TNIL) return 1;
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (strcmp(fields[i].name, name) == 0) return push_list(L, world_of(L), fields[i].list, NULL);
  return luaL_error(L, "a world has no \"%s\"", name);
}

static int parse_duration(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)options_interval(L, 1, "nines.duration") / (lua_Number)NS_PER_S);
  return 1;
}

__attribute__((visibility("default"))) int luaopen_nines(lua_State *L);

int luaopen_nines(lua_State *L)
{
  luaL_checkversion(L);
  luaL_newmetatable(L, world_type);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, index_world, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, close_world);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close_world);
  lua_setfield(L, -2, "__close");
  lua_newtable(L);
  lua_pushcfunction(L, new_world);
  lua_setfield(L, -2, "world");
  lua_pushcfunction(L, parse_duration);
  lua_setfield(L, -2, "duration");
  lua_pushstring(L, NINES_VERSION);
  lua_setfield(L, -2, "version");
  guards_open(L);
  attach_open(L);
  engine_open_module(L);
  return 1;
}
