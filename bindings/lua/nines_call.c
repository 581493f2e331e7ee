// Calls under a protection, in stock Lua.
//
// The stack of a call: 1 the protection, 2 the run, 3 fn, then its arguments, then, while fn runs or has run, what it
// left. The run is to be closed (lua_toclose), so that an error or coroutine.close ends it at once; a coroutine that is
// thrown away while fn waits ends it when it is collected.

#include "nines_call.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "duration.h"

enum { RUN = 2, FUNCTION = 3, SPARE = 8, HOOK_INSTRUCTIONS = 1000, SENTENCE_MAX = GUARD_NAME_MAX + 120 };
static const char run_type[] = "nines.run";
static const char timeouts_key; // registry: coroutine -> its innermost timeout's run, weak

struct run {
  const struct box *box;
  nines_permit permit; // token 0: nothing to give back
  uint32_t attempt;
  int argument_count;
  int64_t deadline_ns; // of a timeout
  bool timed;          // a timeout that is its coroutine's innermost, with the hook set
  struct run *outer;   // the timeout around it on the same coroutine, further down on its stack
  lua_Hook hook;       // of before the outermost timeout's
  int hook_mask, hook_count;
  bool alternative; // a fallback's second function runs
};

static void sleep_ns(const struct space *space, int64_t ns)
{
  if (space->clock != LUA_NOREF || ns <= 0) return;
  struct timespec rest = { ns / NS_PER_S, ns % NS_PER_S };
  while (nanosleep(&rest, &rest) != 0) {
  }
}

// The time comes from outside: a clock that raises must not find the permit half given back.
static void give_back(struct run *run, int outcome, int64_t now_ns)
{
  const struct box *box = run->box;
  if (run->permit.token == 0) return;
  nines_permit permit = run->permit;
  run->permit.token = 0;
  switch (box->noun) {
  case PROTECTION_BREAKER:
    nines_breaker_done(box->handle, permit, outcome, now_ns);
    break;
  case PROTECTION_BULKHEAD:
    nines_bulkhead_leave(box->handle, permit, now_ns);
    break;
  case PROTECTION_ADAPTIVE_LIMIT:
    nines_adaptive_limit_done(box->handle, permit, outcome, now_ns);
    break;
  case PROTECTION_SHEDDER:
    nines_shedder_done(box->handle, permit, outcome, now_ns);
    break;
  case PROTECTION_FALLBACK:
    nines_fallback_leave(box->handle, permit);
    break;
  default:
    break;
  }
}

static int read_time(lua_State *L)
{
  lua_pushinteger(L, space_now(L, lua_touserdata(L, 1)));
  return 1;
}

// The time after fn. A clock of the user's that raises: the permit goes back first, uncounted (a coroutine that dies of
// an error closes nothing).
static int64_t run_now(lua_State *L, struct run *run)
{
  struct space *space = run->box->space;
  if (space->clock == LUA_NOREF) return space_now(L, space);
  lua_pushcfunction(L, read_time);
  lua_pushlightuserdata(L, space);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    give_back(run, NINES_IGNORED, run->permit.at_ns);
    lua_error(L);
  }
  int64_t now_ns = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return now_ns;
}

static int run_gc(lua_State *L)
{
  struct run *run = lua_touserdata(L, 1);
  if (run->box && run->box->space->arena) give_back(run, NINES_IGNORED, run->permit.at_ns);
  return 0;
}

// Puts the run under the function; `first`: index of fn.
static struct run *run_begin(lua_State *L, int noun, int first)
{
  const struct box *box = box_at(L, noun, "this protection");
  luaL_checktype(L, first, LUA_TFUNCTION);
  luaL_checkstack(L, lua_gettop(L) + SPARE, "arguments"); // for fn's too: nothing is refused once a permit is held
  struct run *run = lua_newuserdatauv(L, sizeof *run, 2);
  *run = (struct run){ .box = box, .attempt = 1, .argument_count = lua_gettop(L) - first - 1 };
  luaL_setmetatable(L, run_type);
  lua_pushvalue(L, 1); // the box lives as long as the run
  lua_setiuservalue(L, -2, 1);
  lua_insert(L, first);
  while (first > RUN) lua_remove(L, --first); // what stood before fn
  lua_toclose(L, RUN);
  return run;
}

static int finish(lua_State *L, int status, lua_KContext context);

// Calls the function at `index` with `before` values on top and the arguments.
static int run_call(lua_State *L, struct run *run, int skip)
{
  int base = FUNCTION + 1 + run->argument_count;
  lua_settop(L, base - 1);
  lua_pushvalue(L, FUNCTION);
  for (int i = skip; i < run->argument_count; i++) lua_pushvalue(L, FUNCTION + 1 + i);
  int status = lua_pcallk(L, run->argument_count - skip, LUA_MULTRET, 0, 0, finish);
  return finish(L, status, 0);
}

// Does this coroutine run, or wait for another to yield? Not one that is suspended, closed or dead.
static bool is_active(lua_State *thread)
{
  lua_Debug frame;
  return lua_status(thread) == LUA_OK && lua_getstack(thread, 0, &frame);
}

// Is a timeout over for what runs here? Its own, or that of a coroutine that waits for this one.
static bool is_late(lua_State *L)
{
  const struct run *first = NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &timeouts_key);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const struct run *run = lua_touserdata(L, -1);
    if (is_active(lua_tothread(L, -2)) && (!first || run->deadline_ns < first->deadline_ns)) first = run;
  }
  lua_pop(L, 1);
  return first && space_now(L, first->box->space) >= first->deadline_ns;
}

static void timeout_hook(lua_State *L, lua_Debug *where)
{
  (void)where;
  luaL_checkstack(L, 8, "timeout");
  if (is_late(L)) luaL_error(L, "timeout");
}

static int refuse(lua_State *L, const struct box *box, const char *why, int64_t wait_ns, const char *code)
{
  char text[SENTENCE_MAX];
  snprintf(text, sizeof text, "%s \"%s\" %s; asking again makes sense in %.3g s", protection_kinds[box->noun].noun,
           box->name, why, (double)(wait_ns > 0 ? wait_ns : 0) / (double)NS_PER_S);
  return box_fail(L, code, text);
}

int call_limited(lua_State *L, const struct box *box, int64_t refused_ns)
{
  if (refused_ns == INT64_MIN) return box_fail(L, "limited", "the cost is above the limiter's burst: never");
  return refuse(L, box, "has no more for now", -refused_ns, "limited");
}

// After fn: nil or false with a reason is a failure, as an error is.
static bool went_well(lua_State *L, int status, int base)
{
  if (status != LUA_OK && status != LUA_YIELD) return false;
  return lua_toboolean(L, base) || lua_gettop(L) < base + 1 || lua_isnil(L, base + 1);
}

// Turns what is above the arguments into results; an error becomes nil, message, "failed".
static int results(lua_State *L, int status, int base)
{
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - base + 1;
  luaL_tolstring(L, base, NULL);
  lua_pushnil(L);
  lua_insert(L, -2);
  lua_pushliteral(L, "failed");
  return 3;
}

// `at`: index of the run that is this coroutine's innermost from now on; 0: none.
static void timeout_put(lua_State *L, int at)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &timeouts_key);
  lua_pushthread(L);
  if (at)
    lua_pushvalue(L, at);
  else
    lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static struct run *timeout_now(lua_State *L) // leaves the run, or nil, on the stack
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &timeouts_key);
  lua_pushthread(L);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return lua_touserdata(L, -1);
}

static void timeout_end(lua_State *L, struct run *run, int at)
{
  run->timed = false;
  if (run->outer) {
    lua_getiuservalue(L, at, 2);
    timeout_put(L, lua_gettop(L));
    lua_pop(L, 1);
  } else {
    lua_sethook(L, run->hook, run->hook_mask, run->hook_count);
    timeout_put(L, 0);
  }
}

// An error passes through the call, or its coroutine is closed.
static int run_close(lua_State *L)
{
  struct run *run = lua_touserdata(L, 1);
  lua_settop(L, 1);
  if (run->timed) timeout_end(L, run, 1);
  return run_gc(L);
}

static int finish_timeout(lua_State *L, struct run *run, int status, int base)
{
  timeout_end(L, run, RUN);
  bool late = space_now(L, run->box->space) >= run->deadline_ns;
  nines_timeout_done(run->box->handle, late);
  if (!late) return results(L, status, base);
  char text[SENTENCE_MAX];
  snprintf(text, sizeof text, "timeout \"%s\" after its time was over", run->box->name);
  return box_fail(L, "timeout", text);
}

static int finish_retry(lua_State *L, struct run *run, int status, int base)
{
  if (went_well(L, status, base)) return results(L, status, base);
  int64_t wait_ns = nines_retry_next(run->box->handle, run->attempt, space_now(L, run->box->space));
  if (wait_ns < 0) return results(L, status, base);
  sleep_ns(run->box->space, wait_ns);
  run->attempt++;
  return run_call(L, run, 0);
}

static int finish_fallback(lua_State *L, struct run *run, int status, int base)
{
  if (run->alternative || went_well(L, status, base)) {
    give_back(run, NINES_SUCCESS, run_now(L, run));
    return results(L, status, base);
  }
  int count = results(L, status, base); // nil, why ...
  run->permit = nines_fallback_enter(run->box->handle, space_now(L, run->box->space));
  if (!nines_permitted(run->permit)) return refuse(L, run->box, "has too many fallbacks at once", 0, "full");
  run->alternative = true;
  lua_pushvalue(L, -count + 1); // why
  lua_insert(L, base);
  lua_settop(L, base);
  lua_pushvalue(L, FUNCTION + 1); // the alternative
  lua_insert(L, base);
  for (int i = 1; i < run->argument_count; i++) lua_pushvalue(L, FUNCTION + 1 + i);
  status = lua_pcallk(L, run->argument_count, LUA_MULTRET, 0, 0, finish);
  return finish(L, status, 0);
}

static int finish(lua_State *L, int status, lua_KContext context)
{
  (void)context;
  struct run *run = lua_touserdata(L, RUN);
  int base = FUNCTION + 1 + run->argument_count;
  if (run->box->noun == PROTECTION_TIMEOUT) return finish_timeout(L, run, status, base);
  if (run->box->noun == PROTECTION_RETRY) return finish_retry(L, run, status, base);
  if (run->box->noun == PROTECTION_FALLBACK) return finish_fallback(L, run, status, base);
  int64_t now_ns = run_now(L, run);
  give_back(run, went_well(L, status, base) ? NINES_SUCCESS : NINES_FAILURE, now_ns);
  return results(L, status, base);
}

int call_breaker(lua_State *L)
{
  struct run *run = run_begin(L, PROTECTION_BREAKER, 2);
  int64_t now_ns = space_now(L, run->box->space);
  run->permit = nines_breaker_ask(run->box->handle, now_ns);
  if (!nines_permitted(run->permit)) {
    char why[40];
    snprintf(why, sizeof why, "is %s", circuit_state_text(nines_breaker_state(run->box->handle)));
    return refuse(L, run->box, why, run->permit.at_ns - now_ns, "open");
  }
  return run_call(L, run, 0);
}

int call_limiter(lua_State *L)
{
  struct run *run = run_begin(L, PROTECTION_LIMITER, 2);
  int64_t wait_ns = nines_limiter_ask(run->box->handle, 1, space_now(L, run->box->space));
  if (wait_ns < 0) return call_limited(L, run->box, wait_ns);
  sleep_ns(run->box->space, wait_ns);
  return run_call(L, run, 0);
}

int call_bulkhead(lua_State *L)
{
  struct run *run = run_begin(L, PROTECTION_BULKHEAD, 2);
  run->permit = nines_bulkhead_enter(run->box->handle, space_now(L, run->box->space));
  if (!nines_permitted(run->permit)) return refuse(L, run->box, "is full", 0, "full");
  return run_call(L, run, 0);
}

int call_adaptive_limit(lua_State *L)
{
  struct run *run = run_begin(L, PROTECTION_ADAPTIVE_LIMIT, 2);
  run->permit = nines_adaptive_limit_ask(run->box->handle, space_now(L, run->box->space));
  if (!nines_permitted(run->permit)) return refuse(L, run->box, "is full", 0, "full");
  return run_call(L, run, 0);
}

int call_criticality(lua_State *L, int index)
{
  static const char *const names[] = { "sheddable", "sheddable_plus", "critical", "critical_plus", NULL };
  return luaL_checkoption(L, index, "critical", names);
}

int call_shedder(lua_State *L)
{
  bool named = lua_type(L, 2) == LUA_TSTRING;
  int criticality = named ? call_criticality(L, 2) : NINES_CRITICAL;
  struct run *run = run_begin(L, PROTECTION_SHEDDER, named ? 3 : 2);
  int64_t now_ns = space_now(L, run->box->space);
  run->permit = nines_shedder_ask(run->box->handle, criticality, now_ns);
  if (!nines_permitted(run->permit)) return refuse(L, run->box, "sheds this call", run->permit.at_ns - now_ns, "shed");
  return run_call(L, run, 0);
}

int call_retry(lua_State *L)
{
  struct run *run = run_begin(L, PROTECTION_RETRY, 2);
  nines_retry_call(run->box->handle, space_now(L, run->box->space));
  return run_call(L, run, 0);
}

int call_timeout(lua_State *L)
{
  struct run *run = run_begin(L, PROTECTION_TIMEOUT, 2);
  int64_t now_ns = space_now(L, run->box->space);
  run->outer = timeout_now(L);
  lua_setiuservalue(L, RUN, 2);
  run->deadline_ns = nines_timeout_deadline(run->box->handle, run->outer ? run->outer->deadline_ns : 0, now_ns);
  run->timed = true;
  if (!run->outer) {
    run->hook = lua_gethook(L);
    run->hook_mask = lua_gethookmask(L);
    run->hook_count = lua_gethookcount(L);
    lua_sethook(L, timeout_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
  }
  timeout_put(L, RUN);
  return run_call(L, run, 0);
}

int call_fallback(lua_State *L)
{
  luaL_checktype(L, 3, LUA_TFUNCTION);
  struct run *run = run_begin(L, PROTECTION_FALLBACK, 2);
  nines_fallback_call(run->box->handle, space_now(L, run->box->space));
  return run_call(L, run, 1);
}

void call_open(lua_State *L)
{
  luaL_newmetatable(L, run_type);
  lua_pushcfunction(L, run_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, run_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &timeouts_key);
}
