// path:track(fn, ...): runs a function as a task and records how long it took and whether it went well.
#ifndef NINES_APP_TRACK_H
#define NINES_APP_TRACK_H

#include "engine.h"
#include "path.h"

// The call of a method: arguments are the function and what to hand to it. Results are the function's. It went well
// when it did not raise and did not return nil or false first with a reason.
int track_call(nines *engine, struct path *path, struct call *call);
void track_end(nines *engine, uint64_t task, enum task_end end, const struct value *results, uint32_t count,
               const char *why);
void track_cancel(nines *engine, uint64_t token); // whoever waits for it is gone; the function itself goes on
void tracks_close(nines *engine);

#endif
