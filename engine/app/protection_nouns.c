// Limiters, bulkheads, adaptive limits, shedders, retries, timeouts and fallbacks as policies see them.
//
// A declaration is decoded twice: when the file loads, for errors with a line, and when it is taken over. Getters ask
// at the turn's time, and say nil where there is nothing to say.

#include "protection_nouns.h"

#include <math.h>
#include <stdio.h>

#include "bulkhead.h"
#include "duration.h"
#include "guarded.h"
#include "limiter.h"

// --- what all share

int protection_check(int kind, const char *where, const struct value *settings, struct status *status)
{
  struct protection_settings scratch = { 0 };
  struct pool pool = { 0 };
  struct status reason = { 0 };
  int code = protection_kinds[kind].decode(settings, where, &scratch, &pool, status);
  // What no single setting shows: whether they agree with each other.
  if (code == 0 && (code = guards_check(protection_kinds[kind].guard, where, &scratch.breaker, &reason)) < 0)
    status_set(status, code, "%s: %s", where, reason.text);
  pool_fini(&pool);
  return code;
}

int protection_apply(nines *engine, int kind, const char *script, const char *name, const struct value *settings,
                     struct status *status)
{
  struct protection_settings decoded = { 0 };
  struct pool pool = { 0 };
  int code = protection_kinds[kind].decode(settings, name, &decoded, &pool, status);
  if (code == 0) code = protection_declare(engine, kind, script, name, &decoded, &pool, status);
  pool_fini(&pool);
  return code;
}

uint64_t protection_handle(const nines *engine, int kind, const char *name)
{
  struct protection *protection = protection_find(engine, kind, name);
  return protection && protection->declared_by ? (uint64_t)(uintptr_t)protection : 0;
}

void protection_names(const nines *engine, int kind, void (*each)(void *userdata, const char *name), void *userdata)
{
  const struct protection *protection;
  for (uint32_t i = 0; (protection = protection_at(engine, i)); i++)
    if (protection->kind == &protection_kinds[kind] && protection->declared_by) each(userdata, protection->guard->name);
}

const char *protection_name(void *app, uint64_t handle)
{
  (void)app;
  return protection_of(handle)->guard->name;
}

int protection_call(void *app, uint64_t handle, struct call *call)
{
  return guarded_call(app, protection_of(handle), call);
}

int protection_call_name(void *app, uint64_t handle, struct call *call)
{
  call_return(call, value_text(protection_name(app, handle)));
  return CALL_DONE;
}

int protection_call_put(nines *engine, uint64_t handle, double value, int64_t hold_ns, const struct value *reason,
                        struct call *call)
{
  struct buf actor = { 0 };
  char *why = reason && reason->type == VALUE_TEXT ? pool_copy(call->pool, reason->text) : NULL;
  buf_printf(&actor, "policy:%s", call->caller->script);
  bool changed = protection_put(engine, protection_of(handle), value, hold_ns, actor.data, why);
  buf_free(&actor);
  call_return(call, value_bool(changed));
  return CALL_DONE;
}

static const char *const no_topics[] = { NULL };

// --- limiter

// A limiter that paces would grant now what may only happen later; asking alone never waits, so it is not asked then.
static bool must_wait(uint64_t handle, double cost, int64_t now_ns)
{
  const struct limiter *shared = protection_of(handle)->guard->shared;
  return atomic_load_explicit(&shared->wait_max_ticks, memory_order_relaxed) > 0 &&
         nines_limiter_available(guard_at(handle), now_ns) < cost;
}

// limiter:ask([cost]) -> true, or nil, sentence, "limited"
static int limiter_call_ask(void *app, uint64_t handle, struct call *call)
{
  const nines *engine = app;
  double cost = 1;
  if (call->argument_count > 0 && call->arguments[0].type != VALUE_NIL &&
      (!value_as_number(&call->arguments[0], &cost) || !(cost > 0 && cost <= 1e9)))
    return status_set(&call->status, NINES_EINVAL, "takes the cost, a number above 0 (1 when it is left out)");
  const char *name = protection_name(app, handle);
  if (must_wait(handle, cost, engine->now_ns))
    return call_fail(call, "limited", "limiter \"%s\" is used up: %.3g left", name,
                     nines_limiter_available(guard_at(handle), engine->now_ns));
  int64_t wait_ns = nines_limiter_ask(guard_at(handle), cost, engine->now_ns);
  if (wait_ns == INT64_MIN)
    return call_fail(call, "limited", "limiter \"%s\" never grants %.3g at once, its burst is less", name, cost);
  if (wait_ns < 0) {
    char span[DURATION_TEXT_MAX];
    return call_fail(call, "limited", "limiter \"%s\" is used up, ask again in %s", name,
                     duration_brief(-wait_ns, span));
  }
  call_return(call, value_bool(true));
  return CALL_DONE;
}

static int limiter_call_available(void *app, uint64_t handle, struct call *call)
{
  call_return(call, value_number(nines_limiter_available(guard_at(handle), ((const nines *)app)->now_ns)));
  return CALL_DONE;
}

static const struct noun_method limiter_methods[] = {
  { "call", protection_call, false },
  { "ask", limiter_call_ask, false },
  { "available", limiter_call_available, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(limiter, PROTECTION_LIMITER, no_topics);

// --- bulkhead, adaptive limit

static int bulkhead_call_inside(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_integer(nines_bulkhead_inside(guard_at(handle))));
  return CALL_DONE;
}

static int bulkhead_call_limit(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_integer(bulkhead_limit(protection_of(handle)->guard->shared)));
  return CALL_DONE;
}

static const struct noun_method bulkhead_methods[] = {
  { "call", protection_call, false },
  { "inside", bulkhead_call_inside, false },
  { "limit", bulkhead_call_limit, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(bulkhead, PROTECTION_BULKHEAD, no_topics);

static int adaptive_limit_call_inside(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_integer(nines_adaptive_limit_inside(guard_at(handle))));
  return CALL_DONE;
}

static int adaptive_limit_call_limit(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_integer(nines_adaptive_limit_now(guard_at(handle))));
  return CALL_DONE;
}

static const struct noun_method adaptive_limit_methods[] = {
  { "call", protection_call, false },
  { "inside", adaptive_limit_call_inside, false },
  { "limit", adaptive_limit_call_limit, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(adaptive_limit, PROTECTION_ADAPTIVE_LIMIT, no_topics);

// --- shedder

// 20 or "20%"
static int percent_of(const struct value *value, double *out, struct status *status)
{
  static const struct schema_field fields[] = {
    { .key = "percent", .type = SCHEMA_PERCENT, .max = 100, .required = true },
    { 0 },
  };
  struct member member = { view_of("percent"), *value };
  struct value table = { .type = VALUE_TABLE, .table = { &member, 1 } };
  struct pool pool = { 0 };
  int code = schema_decode(fields, &table, out, "shedder:shed", &pool, status);
  pool_fini(&pool);
  return code;
}

// shedder:shed(20[, reason])
static int shedder_call_shed(void *app, uint64_t handle, struct call *call)
{
  double percent = 0;
  if (call->argument_count < 1)
    return status_set(&call->status, NINES_EINVAL, "takes how much to shed: shedder:shed(\"20%%\"); 0 for nothing");
  int code = percent_of(&call->arguments[0], &percent, &call->status);
  if (code < 0) return code;
  return protection_call_put(app, handle, percent, 0, call->argument_count > 1 ? &call->arguments[1] : NULL, call);
}

// shedder:share([criticality]): percent refused now, of what is critical unless said otherwise
static int shedder_call_share(void *app, uint64_t handle, struct call *call)
{
  int criticality = NINES_CRITICAL;
  (void)app;
  if (call->argument_count > 0 && call->arguments[0].type != VALUE_NIL)
    criticality = criticality_of(&call->arguments[0], &call->status);
  if (criticality < 0) return criticality;
  call_return(call, value_number(nines_shedder_share(guard_at(handle), criticality)));
  return CALL_DONE;
}

static const char *const shedder_topics[] = { "changed", NULL };
static const struct noun_method shedder_methods[] = {
  { "call", protection_call, false },
  { "shed", shedder_call_shed, false },
  { "share", shedder_call_share, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(shedder, PROTECTION_SHEDDER, shedder_topics);

// --- retry, timeout, fallback

// How many retries are left; math.huge without a budget.
static int retry_call_budget(void *app, uint64_t handle, struct call *call)
{
  call_return(call, value_number(nines_retry_budget(guard_at(handle), ((const nines *)app)->now_ns)));
  return CALL_DONE;
}

static const struct noun_method retry_methods[] = {
  { "call", protection_call, false },
  { "budget", retry_call_budget, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(retry, PROTECTION_RETRY, no_topics);

static int timeout_call_count(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_integer((int64_t)nines_timeout_count(guard_at(handle))));
  return CALL_DONE;
}

static const struct noun_method timeout_methods[] = {
  { "call", protection_call, false },
  { "count", timeout_call_count, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(timeout, PROTECTION_TIMEOUT, no_topics);

// Percent of the calls of the last 10 s that the alternative served; nil without calls.
static int fallback_call_share(void *app, uint64_t handle, struct call *call)
{
  double share = nines_fallback_share(guard_at(handle), ((const nines *)app)->now_ns);
  call_return(call, share < 0 ? value_nil() : value_number(share));
  return CALL_DONE;
}

static const struct noun_method fallback_methods[] = {
  { "call", protection_call, false },
  { "share", fallback_call_share, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(fallback, PROTECTION_FALLBACK, no_topics);
