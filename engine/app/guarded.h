// breaker "x":call(fn, ...) and its kin: a function of a policy, run as a task under a protection.
//
// A guarded call asks its gate (gate.h), runs the function when it may, tells the outcome and answers the caller:
// with the function's results, with `nil, sentence, code` when it was refused, or when the function raised ("failed")
// or was killed ("killed"). Calls nest; when a caller is cancelled (a reload, a timeout around it, a kill of its
// policy), so are the functions that it waits for, and whatever was held for them is given back.
#ifndef NINES_APP_GUARDED_H
#define NINES_APP_GUARDED_H

#include "engine.h"
#include "protection.h"

struct gate;
struct guarded {
  struct list node; // in engine->guardeds
  nines *engine;
  struct protection *protection;
  const struct gate *gate;
  uint64_t token;            // of the caller who waits; 0: gone, or not waiting yet
  uint64_t task;             // of the function under way; 0: none
  int64_t function;          // the one to run next
  int64_t began_ns;          // of the call
  int64_t deadline_ns;       // the gate's own, or of the nearest timeout around; 0: none
  struct engine_timer timer; // limiter, retry: when the function runs; timeout: when it is stopped
  nines_permit permit;       // token 0: none is held
  nines_waiter waiter;       // bulkhead
  bool queued;               // the waiter waits
  int criticality;           // shedder
  uint32_t attempt;          // retry
  int64_t alternative;       // fallback: the function for a failure; 0: it is under way
  struct pool pool;          // of the arguments
  struct value arguments[CALL_ARGUMENTS_MAX];
  uint32_t argument_count;
};

// A call of the method: the results' place in `call`, CALL_WAIT, or a programmer's mistake.
int guarded_call(nines *engine, struct protection *protection, struct call *call);
// A task has ended, maybe one of ours.
void guarded_end(nines *engine, uint64_t task, enum task_end end, const struct value *results, uint32_t count,
                 const char *why);
void guarded_cancel(nines *engine, uint64_t token); // whoever waits for it is gone
void guardeds_close(nines *engine);

// For gates: runs the function that is next, now.
void guarded_run(struct guarded *guarded);
// Ends the call: stops the function if it is under way, gives back what is held, answers `nil, sentence, code`.
void guarded_refuse(struct guarded *guarded, const char *code, const char *sentence);
// NINES_SHEDDABLE by its name "sheddable"; negative: it is none, with the sentence in `status`.
int criticality_of(const struct value *name, struct status *status);

#endif
