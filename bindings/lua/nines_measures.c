// Canary, fault points and measures for stock Lua.
//
//   local canary = nines.canary "checkout v2" { share = 10 }     canary:begin()   canary:record("canary", ok, 0.12)
//   canary:verdict() -> "pass" | "fail" | "inconclusive", numbers
// Durations are in seconds or as "120ms".

#include "nines_measures.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

#include "duration.h"
#include "nines_options.h"
#include "nines_space.h"

static int made(lua_State *L, struct box *box, int code, void *handle)
{
  if (code < 0) box_refused(L, box->space);
  box->handle = handle;
  lua_settop(L, 1);
  return 1;
}

// What takes no settings says so.
static struct box *plain(lua_State *L, const char *what)
{
  if (!lua_isnoneornil(L, 2)) luaL_error(L, "%s takes no settings", what);
  struct box *box = lua_touserdata(L, 1);
  space_now(L, box->space);
  return box;
}

// --- canary

static const struct schema_field canary_fields[] = {
  { .key = "alpha", .type = SCHEMA_FRACTION, .offset = offsetof(nines_canary_config, alpha) },
  { .key = "beta", .type = SCHEMA_FRACTION, .offset = offsetof(nines_canary_config, beta) },
  { .key = "margin", .type = SCHEMA_NUMBER, .offset = offsetof(nines_canary_config, margin), .min = 1, .max = 100 },
  { .key = "bad", .type = SCHEMA_NUMBER, .offset = offsetof(nines_canary_config, bad), .min = 1, .max = 1000 },
  { .key = "error_max", .type = SCHEMA_PERCENT, .offset = offsetof(nines_canary_config, error_max) },
  { .key = "latency_quantile", .type = SCHEMA_FRACTION, .offset = offsetof(nines_canary_config, latency_quantile) },
  { .key = "share", .type = SCHEMA_PERCENT, .offset = offsetof(nines_canary_config, share) },
  { .key = "dispersion",
    .type = SCHEMA_NUMBER,
    .offset = offsetof(nines_canary_config, dispersion),
    .min = 1,
    .max = 1000 },
  { 0 },
};

static int canary_configure(lua_State *L)
{
  struct box *box = lua_touserdata(L, 1);
  nines_canary *canary = NULL;
  nines_canary_config config = { .size = sizeof config };
  struct pool pool = { 0 };
  space_now(L, box->space);
  options_decode(L, 2, "canary", canary_fields, &config, &pool);
  pool_fini(&pool);
  bool given = !lua_isnoneornil(L, 2); // without settings it keeps those it has
  int code = nines_canary_get(box->space->arena, box->name, given ? &config : NULL, &canary);
  return made(L, box, code, canary);
}

static int canary_begin(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_CANARY, "this canary");
  nines_canary_begin(box->handle, space_now(L, box->space));
  return 0;
}

// canary:record("baseline"|"canary", ok[, duration])
static int canary_record(lua_State *L)
{
  static const char *const arms[] = { "baseline", "canary", NULL };
  const struct box *box = box_at(L, NOUN_CANARY, "this canary");
  int arm = luaL_checkoption(L, 2, NULL, arms);
  int64_t duration_ns = lua_isnoneornil(L, 4) ? -1 : options_interval(L, 4, "canary:record");
  space_now(L, box->space);
  nines_canary_record(box->handle, arm, lua_toboolean(L, 3) ? NINES_SUCCESS : NINES_FAILURE, duration_ns);
  return 0;
}

static void put_number(lua_State *L, const char *key, double number)
{
  lua_pushnumber(L, number);
  lua_setfield(L, -2, key);
}

static int canary_verdict(lua_State *L)
{
  static const char *const names[] = { "inconclusive", "pass", "fail" };
  const struct box *box = box_at(L, NOUN_CANARY, "this canary");
  nines_canary_reading reading;
  nines_arena_fold(box->space->arena, space_now(L, box->space)); // all that was recorded counts
  nines_canary_read(box->handle, &reading);
  lua_pushstring(L, names[reading.verdict]);
  lua_newtable(L);
  lua_pushstring(L, reading.why);
  lua_setfield(L, -2, "why");
  put_number(L, "baseline_total", (double)reading.total[NINES_BASELINE]);
  put_number(L, "canary_total", (double)reading.total[NINES_CANARY]);
  put_number(L, "baseline_bad", (double)reading.bad[NINES_BASELINE]);
  put_number(L, "canary_bad", (double)reading.bad[NINES_CANARY]);
  if (reading.ratio >= 0) put_number(L, "ratio", reading.ratio);
  put_number(L, "e_errors", reading.e_errors);
  put_number(L, "e_latency", reading.e_latency);
  put_number(L, "e_pass", reading.e_pass);
  put_number(L, "p_value", reading.p_value);
  put_number(L, "dispersion", reading.dispersion);
  if (reading.slow_ns >= 0) put_number(L, "slow", (double)reading.slow_ns / (double)NS_PER_S);
  return 2;
}

// --- fault

static int fault_configure(lua_State *L)
{
  struct box *box = plain(L, "a fault point");
  nines_fault *fault = NULL;
  int code = nines_fault_get(box->space->arena, box->name, &fault);
  return made(L, box, code, fault);
}

struct injection {
  int kind;
  double rate;
  int64_t latency_ns, jitter_ns, duration_ns, error;
  const char *match;
};

// fault:inject { kind = "latency", rate = "10%", latency = "2s", duration = "5m" }
static int fault_inject_now(lua_State *L)
{
  static const char *const kinds[] = { "none", "latency", "error", "abort", "drop", NULL };
  static const struct schema_field fields[] = {
    { .key = "kind",
      .type = SCHEMA_CHOICE,
      .choices = kinds,
      .offset = offsetof(struct injection, kind),
      .required = true },
    { .key = "rate", .type = SCHEMA_FRACTION, .offset = offsetof(struct injection, rate), .fallback = "1" },
    { .key = "latency", .type = SCHEMA_LATENCY, .offset = offsetof(struct injection, latency_ns) },
    { .key = "jitter", .type = SCHEMA_LATENCY, .offset = offsetof(struct injection, jitter_ns) },
    { .key = "error", .type = SCHEMA_INTEGER, .offset = offsetof(struct injection, error), .min = 0, .max = 1e6 },
    { .key = "match", .type = SCHEMA_TEXT, .offset = offsetof(struct injection, match) },
    { .key = "duration", .type = SCHEMA_INTERVAL, .offset = offsetof(struct injection, duration_ns), .required = true },
    { 0 },
  };
  const struct box *box = box_at(L, NOUN_FAULT, "this fault point");
  struct injection wanted = { 0 };
  struct pool pool = { 0 };
  options_decode(L, 2, "fault:inject", fields, &wanted, &pool);
  int64_t now_ns = space_now(L, box->space);
  nines_fault_config config = { .size = sizeof config,
                                .kind = wanted.kind,
                                .rate = wanted.rate,
                                .latency_ns = wanted.latency_ns,
                                .jitter_ns = wanted.jitter_ns,
                                .error = (int)wanted.error,
                                .match = wanted.match,
                                .until_ns = now_ns + wanted.duration_ns };
  int code = nines_fault_inject(box->handle, &config, now_ns);
  pool_fini(&pool);
  if (code < 0) box_refused(L, box->space);
  return 0;
}

// fault:ask([key]): nil, or what to do: "latency", seconds; "error", code; "abort"; "drop"
static int fault_ask_now(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_FAULT, "this fault point");
  nines_fault_action action = nines_fault_ask(box->handle, luaL_optstring(L, 2, NULL), space_now(L, box->space));
  switch (action.kind) {
  case NINES_FAULT_LATENCY:
    lua_pushliteral(L, "latency");
    lua_pushnumber(L, (lua_Number)action.latency_ns / (lua_Number)NS_PER_S);
    return 2;
  case NINES_FAULT_ERROR:
    lua_pushliteral(L, "error");
    lua_pushinteger(L, action.error);
    return 2;
  case NINES_FAULT_ABORT:
    lua_pushliteral(L, "abort");
    return 1;
  case NINES_FAULT_DROP:
    lua_pushliteral(L, "drop");
    return 1;
  default:
    lua_pushnil(L);
    return 1;
  }
}

static int fault_heal_now(lua_State *L)
{
  nines_fault_heal(box_at(L, NOUN_FAULT, "this fault point")->handle);
  return 0;
}

static int fault_count_now(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)nines_fault_count(box_at(L, NOUN_FAULT, "this fault point")->handle));
  return 1;
}

// --- counter, histogram, baseline

static int counter_configure(lua_State *L)
{
  struct box *box = plain(L, "a counter");
  nines_counter *counter = NULL;
  int code = nines_counter_get(box->space->arena, box->name, &counter);
  return made(L, box, code, counter);
}

static int counter_add(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_COUNTER, "this counter");
  lua_Integer n = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, n >= 0, 2, "counters only grow");
  nines_counter_add(box->handle, (uint64_t)n, space_now(L, box->space));
  return 0;
}

static int counter_total(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)nines_counter_total(box_at(L, NOUN_COUNTER, "this counter")->handle));
  return 1;
}

static int counter_rate(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_COUNTER, "this counter");
  lua_pushnumber(L, nines_counter_rate(box->handle, space_now(L, box->space)));
  return 1;
}

static int histogram_configure(lua_State *L)
{
  static const struct schema_field fields[] = {
    { .key = "window", .type = SCHEMA_INTERVAL, .min = (double)NS_PER_MS, .max = (double)NS_PER_DAY }, { 0 }
  };
  struct box *box = lua_touserdata(L, 1);
  nines_histogram *histogram = NULL;
  int64_t window_ns = 0;
  struct pool pool = { 0 };
  space_now(L, box->space);
  options_decode(L, 2, "histogram", fields, &window_ns, &pool);
  pool_fini(&pool);
  int code = nines_histogram_get(box->space->arena, box->name, window_ns, &histogram);
  return made(L, box, code, histogram);
}

static int histogram_record_now(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_HISTOGRAM, "this histogram");
  space_now(L, box->space);
  nines_histogram_record(box->handle, options_interval(L, 2, "histogram:record"));
  return 0;
}

// histogram:quantile(0.99): seconds, or nil without data
static int histogram_quantile_now(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_HISTOGRAM, "this histogram");
  double quantile = luaL_checknumber(L, 2);
  luaL_argcheck(L, quantile > 0 && quantile <= 1, 2, "above 0, at most 1");
  nines_arena_fold(box->space->arena, space_now(L, box->space)); // all that was recorded counts
  int64_t ns = nines_histogram_read(box->handle, quantile);
  if (ns < 0) return 0;
  lua_pushnumber(L, (lua_Number)ns / (lua_Number)NS_PER_S);
  return 1;
}

static int baseline_configure(lua_State *L)
{
  struct box *box = plain(L, "a baseline");
  nines_baseline *baseline = NULL;
  int code = nines_baseline_get(box->space->arena, box->name, &baseline);
  return made(L, box, code, baseline);
}

static int64_t wall_at(lua_State *L, int index)
{
  lua_Number seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0 && seconds < 9e9, index, "Unix time in seconds");
  return (int64_t)(seconds * (double)NS_PER_S);
}

// baseline:add(value, unix_seconds)
static int add_to_baseline(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_BASELINE, "this baseline");
  nines_baseline_add(box->handle, luaL_checknumber(L, 2), wall_at(L, 3));
  return 0;
}

// baseline:read(unix_seconds[, floor]): median, deviation; nothing while the hour is unknown
static int read_baseline(lua_State *L)
{
  const struct box *box = box_at(L, NOUN_BASELINE, "this baseline");
  double median, deviation;
  if (!nines_baseline_read(box->handle, wall_at(L, 2), luaL_optnumber(L, 3, 0), &median, &deviation)) return 0;
  lua_pushnumber(L, median);
  lua_pushnumber(L, deviation);
  return 2;
}

// --- ewma and change: plain memory, no name in the arena

static const char ewma_type[] = "nines.average";
struct average {
  nines_ewma ewma;
  int64_t half_life_ns;
};

// nines.ewma "1m": average:add(value[, seconds]) -> average
static int new_ewma(lua_State *L)
{
  int64_t half_life_ns = options_interval(L, 1, "nines.ewma");
  struct average *average = lua_newuserdatauv(L, sizeof *average, 0);
  *average = (struct average){ .half_life_ns = half_life_ns };
  luaL_setmetatable(L, ewma_type);
  return 1;
}

static int add_to_ewma(lua_State *L)
{
  struct average *average = luaL_checkudata(L, 1, ewma_type);
  int64_t now_ns = lua_isnoneornil(L, 3) ? space_now(L, space_of(L)) : wall_at(L, 3);
  nines_ewma_add(&average->ewma, luaL_checknumber(L, 2), average->half_life_ns, now_ns);
  lua_pushnumber(L, average->ewma.value);
  return 1;
}

static int ewma_value(lua_State *L)
{
  const struct average *average = luaL_checkudata(L, 1, ewma_type);
  if (average->ewma.at_ns == 0) return 0;
  lua_pushnumber(L, average->ewma.value);
  return 1;
}

static const char change_type[] = "nines.change";

static int new_change(lua_State *L)
{
  nines_change *change = lua_newuserdatauv(L, sizeof *change, 0);
  *change = (nines_change){ 0 };
  luaL_setmetatable(L, change_type);
  return 1;
}

// change:add(standardised[, seconds]): nil, or 1 | -1 and the onset in seconds
static int add_to_change(lua_State *L)
{
  nines_change *change = luaL_checkudata(L, 1, change_type);
  int64_t now_ns = lua_isnoneornil(L, 3) ? space_now(L, space_of(L)) : wall_at(L, 3), onset_ns;
  int direction = nines_change_add(change, luaL_checknumber(L, 2), now_ns, &onset_ns);
  if (direction == 0) return 0;
  lua_pushinteger(L, direction);
  lua_pushnumber(L, (lua_Number)onset_ns / (lua_Number)NS_PER_S);
  return 2;
}

static void type_open(lua_State *L, const char *type, const luaL_Reg *methods, const char *name, lua_CFunction maker)
{
  luaL_newmetatable(L, type);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, maker);
  lua_setfield(L, -2, name);
}

void measures_open(lua_State *L)
{
  static const luaL_Reg canary[] = {
    { "begin", canary_begin }, { "record", canary_record }, { "verdict", canary_verdict }, { NULL, NULL }
  };
  static const luaL_Reg fault[] = { { "inject", fault_inject_now },
                                    { "ask", fault_ask_now },
                                    { "heal", fault_heal_now },
                                    { "count", fault_count_now },
                                    { NULL, NULL } };
  static const luaL_Reg counter[] = {
    { "add", counter_add }, { "total", counter_total }, { "rate", counter_rate }, { NULL, NULL }
  };
  static const luaL_Reg histogram[] = { { "record", histogram_record_now },
                                        { "quantile", histogram_quantile_now },
                                        { NULL, NULL } };
  static const luaL_Reg baseline[] = { { "add", add_to_baseline }, { "read", read_baseline }, { NULL, NULL } };
  static const luaL_Reg ewma[] = { { "add", add_to_ewma }, { "value", ewma_value }, { NULL, NULL } };
  static const luaL_Reg change[] = { { "add", add_to_change }, { NULL, NULL } };
  noun_open(L, NOUN_CANARY, "canary", canary, canary_configure);
  noun_open(L, NOUN_FAULT, "fault", fault, fault_configure);
  noun_open(L, NOUN_COUNTER, "counter", counter, counter_configure);
  noun_open(L, NOUN_HISTOGRAM, "histogram", histogram, histogram_configure);
  noun_open(L, NOUN_BASELINE, "baseline", baseline, baseline_configure);
  type_open(L, ewma_type, ewma, "ewma", new_ewma);
  type_open(L, change_type, change, "change", new_change);
}
