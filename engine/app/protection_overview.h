// Protections for people and programs: lists, the explanation of one, what the status page says of them, metrics.
#ifndef NINES_APP_PROTECTION_OVERVIEW_H
#define NINES_APP_PROTECTION_OVERVIEW_H

#include "engine.h"
#include "expose.h"
#include "nearest.h"
#include "protection.h"

// In order of creation; those of a noun, or all (NULL).
void protection_overview_list(const nines *engine, const char *noun, struct pool *pool, struct value *out);
// NINES_ENOTFOUND with "did you mean".
int protection_overview_one(const nines *engine, const char *noun, const char *name, struct pool *pool,
                            struct value *out, struct status *status);
struct protection *protection_overview_find(const nines *engine, int kind, const char *name, struct status *status);
// Breakers that are not closed, shedders that shed, and whatever a person has set.
void protection_overview_active(const nines *engine, struct pool *pool, struct value *out);
// Puts a member for each protection of this name, by noun: its document with a rule and a summary. False: there is
// none.
bool protection_overview_explain(const nines *engine, const char *name, struct pool *pool, struct value *out);
void protection_overview_nearest(const nines *engine, struct nearest *nearest);
void protection_overview_metrics(const nines *engine, struct expose *expose);

#endif
