// The protections for stock Lua: settings, asking by hand, numbers. `:call` is in nines_call.c.
//
// Settings are read by the schemas of the policy language, so that a line moves between a policy and a program
// unchanged.

#include "nines_guards.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "duration.h"
#include "lua_value.h"
#include "nines_call.h"
#include "nines_measures.h"
#include "nines_options.h"
#include "nines_space.h"

// What policies and C programs can set, and what would do nothing here.
struct idle_option {
  int noun; // PROTECTION_KINDS: of every one
  const char *keys[7], *why;
};
static const struct idle_option idle_options[] = {
  { PROTECTION_KINDS, { "ignore", "mode" }, "is for policies, not for stock Lua" },
  { PROTECTION_BULKHEAD,
    { "queue", "queueCapacity", "wait", "maxWaitDuration", "target", "interval" },
    "nothing can wait in stock Lua; who finds it full is refused" },
  { PROTECTION_BREAKER, { "keys" }, "stock Lua asks no breaker by key; give each key a breaker of its own name" },
  { PROTECTION_RETRY, { "hedge_after" }, "stock Lua makes one call at a time, and sends no second beside it" },
};

static int refuse_idle(int noun, const struct value *options, const char *where, struct status *status)
{
  for (size_t i = 0; i < sizeof idle_options / sizeof *idle_options; i++) {
    const struct idle_option *idle = &idle_options[i];
    if (idle->noun != noun && idle->noun != PROTECTION_KINDS) continue;
    for (const char *const *key = idle->keys; *key; key++) {
      if (value_get(options, *key)) return status_set(status, NINES_EINVAL, "%s: %s: %s", where, *key, idle->why);
    }
  }
  return 0;
}

// Settings in the interpreter's own arena always hold; an engine's policies outrank them.
static int declare(const struct box *box, const struct protection_settings *settings, struct guard **guard,
                   struct status *status)
{
  nines_arena *arena = box->space->arena;
  const struct guard_kind *kind = protection_kinds[box->noun].guard;
  if (!arena->attachment) return guards_declare(arena, kind, box->name, &settings->breaker, guard, status);
  int code = guards_get(arena, kind, box->name, &settings->breaker, guard);
  return code < 0 ? status_set(status, code, "%s", nines_arena_errmsg(arena)) : 0;
}

// box { ... }, and box without: makes it with its defaults where there are any. Returns the box.
static int configure(lua_State *L)
{
  struct box *box = lua_touserdata(L, 1);
  const struct protection_kind *kind = &protection_kinds[box->noun];
  space_now(L, box->space); // what is made begins at the time of nines.clock
  struct guard *guard = guards_find(box->space->arena, kind->guard, box->name);
  bool given = !lua_isnoneornil(L, 2);
  char where[GUARD_NAME_MAX + 40];
  snprintf(where, sizeof where, "%s \"%s\"", kind->noun, box->name);
  if (given || (!guard && box->noun != PROTECTION_LIMITER)) {
    struct pool pool = { 0 };
    struct status status = { 0 };
    struct protection_settings settings;
    struct value options = options_at(L, 2, where, &pool);
    if (refuse_idle(box->noun, &options, where, &status) < 0 ||
        kind->decode(&options, where, &settings, &pool, &status) < 0 || declare(box, &settings, &guard, &status) < 0)
      return options_raise(L, &pool, &status);
    pool_fini(&pool);
  } else if (!guard && box->space->arena->attachment) { // the engine may know it
    if (guards_get(box->space->arena, kind->guard, box->name, NULL, &guard) < 0) box_refused(L, box->space);
  }
  box->handle = guard;
  lua_settop(L, 1);
  return 1;
}

static int name_of(lua_State *L)
{
  lua_pushstring(L, box_any(L, PROTECTION_KINDS)->name);
  return 1;
}

// Its numbers as a table: what `nines explain` shows.
static int numbers(lua_State *L)
{
  const struct box *box = box_any(L, PROTECTION_KINDS);
  box = box_at(L, box->noun, "this protection");
  int64_t now_ns = space_now(L, box->space);
  struct pool pool = { 0 };
  struct value out = value_table();
  protection_kinds[box->noun].describe(box->handle, now_ns, &pool, &out);
  lua_value_push(L, &out);
  pool_fini(&pool);
  return 1;
}

// --- breaker

static const struct box *breaker(lua_State *L)
{
  return box_at(L, PROTECTION_BREAKER, "this breaker");
}

static int breaker_state(lua_State *L)
{
  const struct box *box = breaker(L);
  space_now(L, box->space);
  lua_pushstring(L, circuit_state_text(nines_breaker_state(box->handle)));
  return 1;
}

static int put_state(lua_State *L, int state, int64_t hold_ns)
{
  const struct box *box = breaker(L);
  nines_breaker_put(box->handle, state, hold_ns, space_now(L, box->space));
  return 0;
}

static int breaker_open(lua_State *L)
{
  return put_state(L, NINES_BREAKER_OPEN, lua_isnoneornil(L, 2) ? 0 : options_interval(L, 2, "breaker:open"));
}

static int breaker_close(lua_State *L)
{
  return put_state(L, NINES_BREAKER_CLOSED, 0);
}

static int breaker_force(lua_State *L)
{
  return put_state(L, NINES_BREAKER_FORCED_OPEN, 0);
}

static int breaker_disable(lua_State *L)
{
  return put_state(L, NINES_BREAKER_DISABLED, 0);
}

static int reset_breaker(lua_State *L)
{
  const struct box *box = breaker(L);
  nines_breaker_reset(box->handle, space_now(L, box->space));
  return 0;
}

// --- limiter, bulkhead, adaptive limit

// limiter:ask([cost]): seconds to wait (0: go on); nil, sentence, "limited".
static int limiter_ask_now(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_LIMITER, "this limiter");
  double cost = luaL_optnumber(L, 2, 1);
  if (!(cost > 0)) return luaL_error(L, "limiter:ask: a cost above 0, not %f", cost);
  int64_t wait_ns = nines_limiter_ask(box->handle, cost, space_now(L, box->space));
  if (wait_ns < 0) return call_limited(L, box, wait_ns);
  lua_pushnumber(L, (lua_Number)wait_ns / (lua_Number)NS_PER_S);
  return 1;
}

static int limiter_available_now(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_LIMITER, "this limiter");
  lua_pushnumber(L, nines_limiter_available(box->handle, space_now(L, box->space)));
  return 1;
}

static int limiter_drain_now(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_LIMITER, "this limiter");
  nines_limiter_drain(box->handle, space_now(L, box->space));
  return 0;
}

static int bulkhead_inside_now(lua_State *L)
{
  lua_pushinteger(L, nines_bulkhead_inside(box_at(L, PROTECTION_BULKHEAD, "this bulkhead")->handle));
  return 1;
}

static int adaptive_inside(lua_State *L)
{
  lua_pushinteger(L, nines_adaptive_limit_inside(box_at(L, PROTECTION_ADAPTIVE_LIMIT, "this limit")->handle));
  return 1;
}

static int adaptive_now(lua_State *L)
{
  lua_pushinteger(L, nines_adaptive_limit_now(box_at(L, PROTECTION_ADAPTIVE_LIMIT, "this limit")->handle));
  return 1;
}

// --- shedder, retry, timeout, fallback

static int shedder_shed(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_SHEDDER, "this shedder");
  static const struct schema_field fields[] = { { .key = "percent", .type = SCHEMA_PERCENT, .required = true }, { 0 } };
  double percent = 0;
  struct pool pool = { 0 };
  struct status status = { 0 };
  struct value options = value_table();
  const char *text = luaL_checkstring(L, 2);
  value_put_text(&pool, &options, "percent", text);
  if (schema_decode(fields, &options, &percent, "shedder:shed", &pool, &status) < 0)
    return options_raise(L, &pool, &status);
  pool_fini(&pool);
  nines_shedder_put(box->handle, percent);
  return 0;
}

static int shedder_share_now(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_SHEDDER, "this shedder");
  space_now(L, box->space);
  lua_pushnumber(L, nines_shedder_share(box->handle, call_criticality(L, 2)));
  return 1;
}

static int retry_budget_now(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_RETRY, "this retry");
  lua_pushnumber(L, nines_retry_budget(box->handle, space_now(L, box->space)));
  return 1;
}

static int timeout_count_now(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)nines_timeout_count(box_at(L, PROTECTION_TIMEOUT, "this timeout")->handle));
  return 1;
}

static int fallback_share_now(lua_State *L)
{
  const struct box *box = box_at(L, PROTECTION_FALLBACK, "this fallback");
  double share = nines_fallback_share(box->handle, space_now(L, box->space));
  if (share < 0) return 0;
  lua_pushnumber(L, share);
  return 1;
}

// nines.clock(fn): time from here on, in seconds that never go back; nil: the system's again.
static int set_clock(lua_State *L)
{
  struct space *space = space_of(L);
  luaL_unref(L, LUA_REGISTRYINDEX, space->clock);
  space->clock = LUA_NOREF;
  space->folded_ns = INT64_MIN;
  if (lua_isnoneornil(L, 1)) return 0;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (space->arena->attachment) return luaL_error(L, "nines.clock: an engine's arena has the system's clock");
  lua_settop(L, 1);
  space->clock = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

#define COMMON(call)                                                                                                   \
  { "call", call }, { "name", name_of },                                                                               \
  {                                                                                                                    \
    "numbers", numbers                                                                                                 \
  }

void guards_open(lua_State *L)
{
  static const luaL_Reg breaker_methods[] = { COMMON(call_breaker),
                                              { "state", breaker_state },
                                              { "open", breaker_open },
                                              { "close", breaker_close },
                                              { "force_open", breaker_force },
                                              { "disable", breaker_disable },
                                              { "reset", reset_breaker },
                                              { NULL, NULL } };
  static const luaL_Reg limiter_methods[] = { COMMON(call_limiter),
                                              { "ask", limiter_ask_now },
                                              { "available", limiter_available_now },
                                              { "drain", limiter_drain_now },
                                              { NULL, NULL } };
  static const luaL_Reg bulkhead_methods[] = { COMMON(call_bulkhead),
                                               { "inside", bulkhead_inside_now },
                                               { NULL, NULL } };
  static const luaL_Reg adaptive_methods[] = {
    COMMON(call_adaptive_limit), { "inside", adaptive_inside }, { "limit", adaptive_now }, { NULL, NULL }
  };
  static const luaL_Reg shedder_methods[] = {
    COMMON(call_shedder), { "shed", shedder_shed }, { "share", shedder_share_now }, { NULL, NULL }
  };
  static const luaL_Reg retry_methods[] = { COMMON(call_retry), { "budget", retry_budget_now }, { NULL, NULL } };
  static const luaL_Reg timeout_methods[] = { COMMON(call_timeout), { "count", timeout_count_now }, { NULL, NULL } };
  static const luaL_Reg fallback_methods[] = { COMMON(call_fallback), { "share", fallback_share_now }, { NULL, NULL } };
  static const luaL_Reg *const methods[PROTECTION_KINDS] = { breaker_methods,  limiter_methods, bulkhead_methods,
                                                             adaptive_methods, shedder_methods, retry_methods,
                                                             timeout_methods,  fallback_methods };
  for (int noun = 0; noun < PROTECTION_KINDS; noun++)
    noun_open(L, noun, protection_kinds[noun].noun, methods[noun], configure);
  lua_pushcfunction(L, set_clock);
  lua_setfield(L, -2, "clock");
  call_open(L);
  measures_open(L);
}
