// From the call to its answer.
//
// A guarded call is in engine->guardeds from the ask to the answer. It ends in exactly one of four ways: its function
// ended (guarded_end), its gate gave it up (guarded_refuse), its caller is gone (guarded_cancel), or it never began.
// Each passes through `release`, which is where permits are given back, so none is ever kept. A caller that is
// cancelled takes the function along: the functions between a timeout and what is slow inside it would otherwise go on
// holding their places.

#include "guarded.h"

#include "check.h"
#include "gate.h"
#include "mem.h"
#include "nearest.h"

static const char *const criticalities[] = { "sheddable", "sheddable_plus", "critical", "critical_plus" };

int criticality_of(const struct value *name, struct status *status)
{
  struct nearest nearest;
  if (name->type != VALUE_TEXT)
    return status_set(status, NINES_EINVAL,
                      "a criticality is \"critical_plus\", \"critical\", \"sheddable_plus\" or \"sheddable\", not %s",
                      value_type_name(name));
  nearest_init(&nearest, name->text);
  for (int i = 0; i < 4; i++) {
    if (view_equal(name->text, view_of(criticalities[i]))) return i;
    nearest_try(&nearest, criticalities[i]);
  }
  return status_set(status, NINES_EINVAL,
                    "a criticality is \"critical_plus\", \"critical\", \"sheddable_plus\" or \"sheddable\", not "
                    "\"%.*s\"%s%s%s",
                    (int)name->text.size, name->text.data, nearest.best ? " (did you mean \"" : "",
                    nearest.best ? nearest.best : "", nearest.best ? "\"?)" : "");
}

// --- the end

// Gives back what is held; the caller still waits for the answer.
static void release(struct guarded *guarded, int outcome)
{
  engine_timer_stop(guarded->engine, &guarded->timer);
  if (guarded->gate->done) guarded->gate->done(guarded, outcome);
}

static void dismiss(struct guarded *guarded)
{
  list_remove(&guarded->node);
  pool_fini(&guarded->pool);
  mem_free(guarded);
}

static void answer(struct guarded *guarded, const struct value *results, uint32_t count)
{
  if (guarded->token) scripts_wake(guarded->engine->scripts, guarded->token, results, count);
  dismiss(guarded);
}

static void answer_failure(struct guarded *guarded, const char *code, const char *sentence)
{
  const struct value failure[] = { value_nil(), value_text(sentence), value_text(code) };
  answer(guarded, failure, 3);
}

// Its end is not heard of: the call is not found by the task any more.
static void stop_function(struct guarded *guarded)
{
  uint64_t task = guarded->task;
  guarded->task = 0;
  if (task) scripts_stop(guarded->engine->scripts, task);
}

void guarded_refuse(struct guarded *guarded, const char *code, const char *sentence)
{
  stop_function(guarded);
  release(guarded, NINES_IGNORED);
  answer_failure(guarded, code, sentence);
}

void guarded_cancel(nines *engine, uint64_t token)
{
  list_each (node, &engine->guardeds) {
    struct guarded *guarded = list_entry(node, struct guarded, node);
    if (guarded->token != token) continue;
    guarded->token = 0;
    stop_function(guarded);
    release(guarded, NINES_IGNORED);
    dismiss(guarded);
    return;
  }
}

static bool is_ignored(const struct protection *protection, const struct value *results, uint32_t count)
{
  if (count < 3 || results[2].type != VALUE_TEXT) return false;
  for (size_t i = 0; i < protection->ignore.count; i++)
    if (view_equal(protection->ignore.items[i], results[2].text)) return true;
  return false;
}

// As path:track judges: it failed when it raised, or returned nil or false first with a reason.
static int outcome_of(const struct protection *protection, enum task_end end, const struct value *results,
                      uint32_t count)
{
  if (end == TASK_CANCELLED) return NINES_IGNORED;
  if (end != TASK_DONE) return NINES_FAILURE;
  bool nothing = count > 1 && (results[0].type == VALUE_NIL || (results[0].type == VALUE_BOOL && !results[0].boolean));
  if (!nothing || results[1].type == VALUE_NIL) return NINES_SUCCESS;
  return is_ignored(protection, results, count) ? NINES_IGNORED : NINES_FAILURE;
}

// True: the call goes on, with another function or another attempt, or was answered.
static bool goes_on(struct guarded *guarded, enum task_end end, const struct value *reason)
{
  struct gate_refusal refusal = { 0 };
  if (!guarded->token || !guarded->gate->failed) return false;
  if (guarded->protection->observe) {
    engine_observed(guarded->engine, guarded->protection->kind->noun, guarded->protection->guard->name, NULL);
    return false;
  }
  if (guarded->gate->failed(guarded, end, reason, &refusal)) return true;
  if (!refusal.code) return false;
  answer_failure(guarded, refusal.code, refusal.sentence);
  return true;
}

void guarded_end(nines *engine, uint64_t task, enum task_end end, const struct value *results, uint32_t count,
                 const char *why)
{
  struct guarded *guarded = NULL;
  list_each (node, &engine->guardeds)
    if (list_entry(node, struct guarded, node)->task == task) guarded = list_entry(node, struct guarded, node);
  if (!guarded) return;
  guarded->task = 0;
  int outcome = outcome_of(guarded->protection, end, results, count);
  release(guarded, outcome);
  const struct value failure[] = { value_nil(), value_text(why), value_text(end == TASK_KILLED ? "killed" : "failed") };
  if (end != TASK_DONE) {
    results = failure;
    count = 3;
  }
  if (outcome == NINES_FAILURE && goes_on(guarded, end, &results[1])) return;
  answer(guarded, results, count);
}

void guardeds_close(nines *engine)
{
  if (!engine->guardeds.next) return;
  list_each (node, &engine->guardeds) {
    struct guarded *guarded = list_entry(node, struct guarded, node);
    pool_fini(&guarded->pool);
    mem_free(guarded);
  }
}

// --- the beginning

// Of a call that a protection in observe mode would have refused.
static const struct gate open_gate = { 0 };

static int start(struct guarded *guarded, struct status *status)
{
  guarded->task =
      scripts_start(guarded->engine->scripts, guarded->function, guarded->arguments, guarded->argument_count, status);
  if (guarded->task) return 0;
  release(guarded, NINES_IGNORED);
  return status->code;
}

void guarded_run(struct guarded *guarded)
{
  struct status status = { 0 };
  if (start(guarded, &status) < 0) answer_failure(guarded, "limit", status.text);
}

static int ask(struct guarded *guarded, struct call *call)
{
  struct gate_refusal refusal = { 0 };
  enum gate_answer said = guarded->gate->ask(guarded, &refusal);
  if (said == GATE_LATER) return CALL_WAIT;
  if (said == GATE_REFUSED && !guarded->protection->observe) {
    dismiss(guarded);
    return call_fail(call, refusal.code, "%s", refusal.sentence);
  }
  if (said == GATE_REFUSED) {
    engine_observed(guarded->engine, "refuse", guarded->protection->guard->name, refusal.sentence);
    guarded->gate = &open_gate;
  }
  if (start(guarded, &call->status) == 0) return CALL_WAIT;
  dismiss(guarded);
  return call_fail(call, "limit", "%s", call->status.text);
}

// The deadline of the nearest call around that has one: the caller itself is a function of it.
static int64_t deadline_around(const nines *engine, const struct caller *caller)
{
  list_each (node, &engine->guardeds) {
    const struct guarded *guarded = list_entry(node, struct guarded, node);
    if (guarded->task == caller->task) return guarded->deadline_ns;
  }
  return 0;
}

static int takes(const struct protection *protection, struct status *status)
{
  static const char *const forms[PROTECTION_KINDS] = {
    [PROTECTION_SHEDDER] = "a criticality (or nothing) and a function: shedder:call(\"sheddable\", function() ... end)",
    [PROTECTION_FALLBACK] = "two functions: fallback:call(function() ... end, function(why) ... end)",
  };
  const char *form = forms[protection->kind - protection_kinds];
  if (form) return status_set(status, NINES_EINVAL, "takes %s", form);
  return status_set(status, NINES_EINVAL, "takes a function: %s:call(function() ... end)", protection->kind->noun);
}

// Takes apart what was handed over: [criticality,] function [, alternative], arguments of the function.
static int take_arguments(struct guarded *guarded, struct call *call)
{
  const struct protection *protection = guarded->protection;
  const struct value *next = call->arguments, *end = next + call->argument_count;
  bool sheds = protection->kind == &protection_kinds[PROTECTION_SHEDDER];
  guarded->criticality = NINES_CRITICAL;
  if (sheds && next < end && next->type == VALUE_TEXT) {
    guarded->criticality = criticality_of(next++, &call->status);
    if (guarded->criticality < 0) return guarded->criticality;
  }
  if (next == end || next->type != VALUE_FUNCTION) return takes(protection, &call->status);
  guarded->function = next++->integer;
  if (protection->kind == &protection_kinds[PROTECTION_FALLBACK]) {
    if (next == end || next->type != VALUE_FUNCTION) return takes(protection, &call->status);
    guarded->alternative = next++->integer;
  }
  for (; next < end; next++)
    if (!value_copy(&guarded->pool, &guarded->arguments[guarded->argument_count++], next))
      return status_set(&call->status, NINES_ENOMEM, "out of memory for the arguments");
  return 0;
}

int guarded_call(nines *engine, struct protection *protection, struct call *call)
{
  struct guarded *guarded = mem_must(sizeof *guarded);
  *guarded = (struct guarded){ .engine = engine,
                               .protection = protection,
                               .gate = &gates[protection->kind - protection_kinds],
                               .began_ns = engine->now_ns,
                               .deadline_ns = deadline_around(engine, call->caller) };
  list_append(&engine->guardeds, &guarded->node);
  int code = take_arguments(guarded, call);
  if (code < 0) {
    dismiss(guarded);
    return code;
  }
  guarded->token = call->wait_token = scripts_token(engine->scripts);
  return ask(guarded, call);
}
