// The gates: what each protection is asked and told for a call of a policy.
//
// Time is the turn's. What a gate holds between ask and done is in the guarded call: a permit, a place in a line, a
// timer. Timers fire with the beats, so waits have a grain of 50 ms; on average rates hold, because the next ask counts
// from the time that was due. A protection in observe mode counts, says what it would have done, and lets pass.

#include "gate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bulkhead.h"
#include "duration.h"

static void *guard_of(const struct guarded *guarded)
{
  return guarded->protection->guard;
}

__attribute__((format(printf, 4, 5))) static enum gate_answer
refuse(const struct guarded *guarded, struct gate_refusal *refusal, const char *code, const char *format, ...)
{
  const struct protection *protection = guarded->protection;
  va_list arguments;
  int size = snprintf(refusal->sentence, sizeof refusal->sentence, "%s \"%s\" ", protection->kind->noun,
                      protection->guard->name);
  va_start(arguments, format);
  vsnprintf(refusal->sentence + size, sizeof refusal->sentence - (size_t)size, format, arguments);
  va_end(arguments);
  refusal->code = code;
  return GATE_REFUSED;
}

// ", asks again in 12s"; nothing when that is unknown or never.
static const char *again_text(const struct guarded *guarded, const char *words, int64_t at_ns, char out[static 96])
{
  char span[DURATION_TEXT_MAX];
  int64_t wait_ns = at_ns - guarded->engine->now_ns;
  out[0] = '\0';
  if (wait_ns > 0 && wait_ns < DURATION_MAX_NS) snprintf(out, 96, ", %s %s", words, duration_brief(wait_ns, span));
  return out;
}

static void run_now(nines *engine, struct engine_timer *timer)
{
  (void)engine;
  guarded_run(list_entry(timer, struct guarded, timer));
}

static void run_in(struct guarded *guarded, int64_t wait_ns)
{
  guarded->timer.fn = run_now;
  engine_timer_set(guarded->engine, &guarded->timer, guarded->engine->now_ns + wait_ns);
}

// --- breaker

static enum gate_answer breaker_enter(struct guarded *guarded, struct gate_refusal *refusal)
{
  static const char *const states[] = { "is closing step by step",
                                        "is open",
                                        "is half open, its probes are under way",
                                        "is disabled",
                                        "is held open",
                                        "is watched" };
  char again[96];
  guarded->permit = nines_breaker_ask(guard_of(guarded), guarded->engine->now_ns);
  if (nines_permitted(guarded->permit)) return GATE_GO;
  int state = nines_breaker_state(guard_of(guarded));
  return refuse(guarded, refusal, "open", "%s%s", states[state >= 0 && state < 6 ? state : 1],
                again_text(guarded, "asks again in", guarded->permit.at_ns, again));
}

static void breaker_leave(struct guarded *guarded, int outcome)
{
  nines_breaker_done(guard_of(guarded), guarded->permit, outcome, guarded->engine->now_ns);
}

// --- limiter

static enum gate_answer limiter_enter(struct guarded *guarded, struct gate_refusal *refusal)
{
  char again[96];
  int64_t now_ns = guarded->engine->now_ns, wait_ns = nines_limiter_ask(guard_of(guarded), 1, now_ns);
  if (wait_ns == 0 || (wait_ns > 0 && guarded->protection->observe)) return GATE_GO;
  if (wait_ns > 0) {
    run_in(guarded, wait_ns);
    return GATE_LATER;
  }
  return refuse(guarded, refusal, "limited", "is used up%s",
                again_text(guarded, "ask again in", wait_ns == INT64_MIN ? 0 : now_ns - wait_ns, again));
}

// --- bulkhead

static void bulkhead_ready(nines_waiter *waiter, nines_permit permit)
{
  struct guarded *guarded = waiter->userdata;
  guarded->queued = false;
  engine_timer_stop(guarded->engine, &guarded->timer);
  guarded->permit = permit;
  if (nines_permitted(permit)) {
    guarded_run(guarded);
    return;
  }
  struct gate_refusal refusal;
  char span[DURATION_TEXT_MAX];
  refuse(guarded, &refusal, "full", "is full: no place within %s",
         duration_brief(permit.at_ns > guarded->began_ns ? permit.at_ns - guarded->began_ns : 0, span));
  guarded_refuse(guarded, refusal.code, refusal.sentence);
}

static void time_is_up(nines *engine, struct engine_timer *timer)
{
  (void)engine;
  (void)timer;
}

static enum gate_answer bulkhead_queue(struct guarded *guarded, struct gate_refusal *refusal)
{
  const struct bulkhead *shared = guarded->protection->guard->shared;
  int64_t now_ns = guarded->engine->now_ns;
  guarded->waiter = (nines_waiter){ .ready = bulkhead_ready, .userdata = guarded, .since_ns = now_ns };
  if (nines_bulkhead_wait(guard_of(guarded), &guarded->waiter, now_ns) < 0)
    return refuse(guarded, refusal, "full", "is full: %" PRIu32 " inside", nines_bulkhead_inside(guard_of(guarded)));
  guarded->queued = true;
  // The fold of the beat refuses whose time is up; the timer only sees to it that there is a beat (in a world there
  // would be none while nothing else is due).
  guarded->timer.fn = time_is_up;
  engine_timer_set(guarded->engine, &guarded->timer,
                   now_ns + atomic_load_explicit(&shared->wait_max_ns, memory_order_relaxed));
  return GATE_LATER;
}

static enum gate_answer bulkhead_go_in(struct guarded *guarded, struct gate_refusal *refusal)
{
  guarded->permit = nines_bulkhead_enter(guard_of(guarded), guarded->engine->now_ns);
  if (nines_permitted(guarded->permit)) return GATE_GO;
  if (!guarded->protection->observe) return bulkhead_queue(guarded, refusal);
  return refuse(guarded, refusal, "full", "is full: %" PRIu32 " inside", nines_bulkhead_inside(guard_of(guarded)));
}

static void bulkhead_go_out(struct guarded *guarded, int outcome)
{
  (void)outcome;
  if (guarded->queued) nines_bulkhead_cancel(guard_of(guarded), &guarded->waiter);
  guarded->queued = false;
  nines_permit permit = guarded->permit;
  guarded->permit.token = 0;
  if (nines_permitted(permit)) nines_bulkhead_leave(guard_of(guarded), permit, guarded->engine->now_ns);
}

// --- adaptive limit

static enum gate_answer adaptive_limit_enter(struct guarded *guarded, struct gate_refusal *refusal)
{
  guarded->permit = nines_adaptive_limit_ask(guard_of(guarded), guarded->engine->now_ns);
  if (nines_permitted(guarded->permit)) return GATE_GO;
  return refuse(guarded, refusal, "full", "is full: %" PRIu32 " inside, the limit is %" PRIu32,
                nines_adaptive_limit_inside(guard_of(guarded)), nines_adaptive_limit_now(guard_of(guarded)));
}

static void adaptive_limit_leave(struct guarded *guarded, int outcome)
{
  nines_adaptive_limit_done(guard_of(guarded), guarded->permit, outcome, guarded->engine->now_ns);
}

// --- shedder

static enum gate_answer shedder_enter(struct guarded *guarded, struct gate_refusal *refusal)
{
  static const char *const names[] = { "sheddable", "sheddable_plus", "critical", "critical_plus" };
  char again[96];
  guarded->permit = nines_shedder_ask(guard_of(guarded), guarded->criticality, guarded->engine->now_ns);
  if (nines_permitted(guarded->permit)) return GATE_GO;
  return refuse(guarded, refusal, "shed", "sheds %.0f%% of what is %s%s",
                nines_shedder_share(guard_of(guarded), guarded->criticality), names[guarded->criticality],
                again_text(guarded, "ask again in", guarded->permit.at_ns, again));
}

static void shedder_leave(struct guarded *guarded, int outcome)
{
  nines_shedder_done(guard_of(guarded), guarded->permit, outcome, guarded->engine->now_ns);
}

// --- retry

static enum gate_answer retry_enter(struct guarded *guarded, struct gate_refusal *refusal)
{
  (void)refusal;
  guarded->attempt = 1;
  nines_retry_call(guard_of(guarded), guarded->engine->now_ns);
  return GATE_GO;
}

// What was killed would be killed again.
static bool retry_failed(struct guarded *guarded, enum task_end end, const struct value *reason,
                         struct gate_refusal *refusal)
{
  (void)reason;
  (void)refusal;
  if (end == TASK_KILLED) return false;
  int64_t wait_ns = nines_retry_next(guard_of(guarded), guarded->attempt, guarded->engine->now_ns);
  if (wait_ns < 0) return false;
  guarded->attempt++;
  run_in(guarded, wait_ns);
  return true;
}

// --- timeout

static void timeout_struck(nines *engine, struct engine_timer *timer)
{
  struct guarded *guarded = list_entry(timer, struct guarded, timer);
  char sentence[DURATION_TEXT_MAX + 16], span[DURATION_TEXT_MAX];
  (void)engine;
  nines_timeout_done(guard_of(guarded), 1);
  guarded->permit.token = 0;
  snprintf(sentence, sizeof sentence, "timeout after %s",
           duration_brief(guarded->deadline_ns - guarded->began_ns, span));
  if (!guarded->protection->observe)
    guarded_refuse(guarded, "timeout", sentence);
  else
    engine_observed(guarded->engine, "stop", guarded->protection->guard->name, sentence);
}

static enum gate_answer timeout_enter(struct guarded *guarded, struct gate_refusal *refusal)
{
  (void)refusal;
  int64_t now_ns = guarded->engine->now_ns;
  guarded->deadline_ns = nines_timeout_deadline(guard_of(guarded), guarded->deadline_ns, now_ns);
  guarded->permit = (nines_permit){ now_ns, 1 }; // not told yet
  guarded->timer.fn = timeout_struck;
  engine_timer_set(guarded->engine, &guarded->timer, guarded->deadline_ns);
  return GATE_GO;
}

static void timeout_leave(struct guarded *guarded, int outcome)
{
  if (nines_permitted(guarded->permit) && outcome != NINES_IGNORED) nines_timeout_done(guard_of(guarded), 0);
}

// --- fallback

static enum gate_answer fallback_begin(struct guarded *guarded, struct gate_refusal *refusal)
{
  (void)refusal;
  nines_fallback_call(guard_of(guarded), guarded->engine->now_ns);
  return GATE_GO;
}

// The alternative gets the reason, then the arguments.
static bool fallback_failed(struct guarded *guarded, enum task_end end, const struct value *reason,
                            struct gate_refusal *refusal)
{
  (void)end;
  if (!guarded->alternative) return false;
  guarded->permit = nines_fallback_enter(guard_of(guarded), guarded->engine->now_ns);
  if (!nines_permitted(guarded->permit)) {
    refuse(guarded, refusal, "full", "is full, and the call failed: %.*s",
           reason->type == VALUE_TEXT ? (int)reason->text.size : 0,
           reason->type == VALUE_TEXT ? reason->text.data : "");
    return false;
  }
  memmove(guarded->arguments + 1, guarded->arguments, guarded->argument_count * sizeof *guarded->arguments);
  if (!value_copy(&guarded->pool, &guarded->arguments[0], reason)) guarded->arguments[0] = value_text("out of memory");
  guarded->argument_count++;
  guarded->function = guarded->alternative;
  guarded->alternative = 0;
  run_in(guarded, 0); // not from within the end of a function that was killed, whose state may go
  return true;
}

static void fallback_end(struct guarded *guarded, int outcome)
{
  (void)outcome;
  if (nines_permitted(guarded->permit)) nines_fallback_leave(guard_of(guarded), guarded->permit);
}

const struct gate gates[PROTECTION_KINDS] = {
  [PROTECTION_BREAKER] = { breaker_enter, breaker_leave, NULL },
  [PROTECTION_LIMITER] = { limiter_enter, NULL, NULL },
  [PROTECTION_BULKHEAD] = { bulkhead_go_in, bulkhead_go_out, NULL },
  [PROTECTION_ADAPTIVE_LIMIT] = { adaptive_limit_enter, adaptive_limit_leave, NULL },
  [PROTECTION_SHEDDER] = { shedder_enter, shedder_leave, NULL },
  [PROTECTION_RETRY] = { retry_enter, NULL, retry_failed },
  [PROTECTION_TIMEOUT] = { timeout_enter, timeout_leave, NULL },
  [PROTECTION_FALLBACK] = { fallback_begin, fallback_end, fallback_failed },
};
