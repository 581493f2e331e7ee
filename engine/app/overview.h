// What is going on, for people and programs: the status page, the explanation of one object, the metrics.
#ifndef NINES_APP_OVERVIEW_H
#define NINES_APP_OVERVIEW_H

#include "engine.h"
#include "expose.h"

void overview_status(nines *engine, struct pool *pool, struct value *out);
// Everything named so: critical path, alert id, service, flag, protection, policy file. NINES_ENOTFOUND with "did you
// mean".
int overview_explain(nines *engine, const char *name, struct pool *pool, struct value *out, struct status *status);
void overview_alerts(nines *engine, bool all, struct pool *pool, struct value *out); // open ones, or with the closed
void overview_slos(nines *engine, struct pool *pool, struct value *out);
void overview_metrics(nines *engine, struct expose *expose); // families of the engine itself; hosts add theirs

#endif
