// `breaker "x" { ... }` and what one can ask of it and tell it.
//
// Telling goes through protection_put: a person's say outranks it, and observe mode only notes it. Opening by hand is
// for the breaker's own time unless a time is given; the word for "until further notice" is a person's.

#include "duration.h"
#include "protection_nouns.h"

static int call_state(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_text(circuit_state_text(nines_breaker_state(guard_at(handle)))));
  return CALL_DONE;
}

static const struct value *argument_of(const struct call *call, uint32_t index)
{
  return call->argument_count > index && call->arguments[index].type != VALUE_NIL ? &call->arguments[index] : NULL;
}

// A single text that does not begin with a digit is a reason.
static bool is_span(const struct call *call, const struct value *value)
{
  if (!value || value->type != VALUE_TEXT || call->argument_count > 1) return value != NULL;
  return value->text.size > 0 && value->text.data[0] >= '0' && value->text.data[0] <= '9';
}

static int span_of(const struct value *value, int64_t *out_ns, struct status *status)
{
  double seconds;
  if (value->type == VALUE_TEXT) {
    int code = duration_parse(value->text, out_ns, status);
    if (code < 0) return code;
  } else if (value_as_number(value, &seconds) && seconds >= 0 && seconds < 1e9) {
    *out_ns = (int64_t)(seconds * NS_PER_S);
  } else {
    return status_set(status, NINES_EINVAL, "takes for how long, as \"30s\", and a reason; both may be left out");
  }
  if (*out_ns > 0 && *out_ns <= NS_PER_DAY) return 0;
  return status_set(status, NINES_EINVAL, "a breaker is opened for a time above 0 and of at most a day");
}

// breaker:open([for][, reason])
static int call_open(void *app, uint64_t handle, struct call *call)
{
  const struct value *span = argument_of(call, 0), *reason = argument_of(call, 1);
  int64_t hold_ns = 0;
  if (is_span(call, span)) {
    int code = span_of(span, &hold_ns, &call->status);
    if (code < 0) return code;
  } else if (span) {
    reason = span;
  }
  return protection_call_put(app, handle, NINES_BREAKER_OPEN, hold_ns, reason, call);
}

// breaker:close([reason])
static int call_close(void *app, uint64_t handle, struct call *call)
{
  return protection_call_put(app, handle, NINES_BREAKER_CLOSED, 0, argument_of(call, 0), call);
}

// breaker:reset([reason]): closed, and all counts forgotten
static int call_reset(void *app, uint64_t handle, struct call *call)
{
  struct buf actor = { 0 };
  const struct value *reason = argument_of(call, 0);
  char *why = reason && reason->type == VALUE_TEXT ? pool_copy(call->pool, reason->text) : NULL;
  buf_printf(&actor, "policy:%s", call->caller->script);
  protection_reset(app, protection_of(handle), actor.data, why);
  buf_free(&actor);
  return CALL_DONE;
}

static nines_breaker_reading read_breaker(const nines *engine, uint64_t handle)
{
  nines_breaker_reading reading;
  nines_breaker_read(guard_at(handle), engine->now_ns, &reading);
  return reading;
}

// In the window that decides.
static int call_calls(void *app, uint64_t handle, struct call *call)
{
  call_return(call, value_integer((int64_t)read_breaker(app, handle).calls));
  return CALL_DONE;
}

// Percent of the window's calls; nil without any.
static int call_failure_rate(void *app, uint64_t handle, struct call *call)
{
  nines_breaker_reading reading = read_breaker(app, handle);
  call_return(call, reading.calls ? value_number(100.0 * (double)reading.failed / (double)reading.calls) : value_nil());
  return CALL_DONE;
}

// Unix seconds of the last change of state; nil when there was none.
static int call_since(void *app, uint64_t handle, struct call *call)
{
  const nines *engine = app;
  const struct breaker *breaker = protection_of(handle)->guard->shared;
  struct circuit_move move;
  bool moved =
      circuit_move_of(breaker_circuit(breaker), circuit_word_generation(circuit_load(breaker_circuit(breaker))), &move);
  call_return(call,
              moved ? value_number((double)(engine->wall_ns - engine->now_ns + move.at_ns) / NS_PER_S) : value_nil());
  return CALL_DONE;
}

static const char *const topics[] = { "opened", "half_open", "closed", NULL };
static const struct noun_method breaker_methods[] = {
  { "call", protection_call, false },
  { "state", call_state, false },
  { "open", call_open, false },
  { "close", call_close, false },
  { "reset", call_reset, false },
  { "calls", call_calls, false },
  { "failure_rate", call_failure_rate, false },
  { "since", call_since, false },
  { "name", protection_call_name, true },
  { 0 },
};
PROTECTION_NOUN(breaker, PROTECTION_BREAKER, topics);
