// A condition bound to what it reads: compiled once, evaluated without a lookup.
//
// The language is base/expr.h. A plain field belongs to the condition's own subject (a critical path, an SLO);
// `other.field` to the object of that name, a critical path before an SLO; every name that is no field of the subject
// is a series, read as of the last beat. Subjects and series live as long as the engine, so a bound condition never
// dangles.
#ifndef NINES_APP_CONDITION_H
#define NINES_APP_CONDITION_H

#include "engine.h"
#include "expr.h"

enum subject_kind { SUBJECT_NONE, SUBJECT_PATH, SUBJECT_SLO };

struct subject {
  enum subject_kind kind;
  void *object;      // struct path *, struct slo *
  int64_t window_ns; // of its fields where the condition names none; 0: the object's own
};

struct condition;

// Errors name the column: an unknown object, a window that the subject does not keep, a grammar fault.
int condition_compile(struct condition **out, nines *engine, struct subject own, struct view text,
                      struct status *status);
void condition_free(struct condition *condition);
enum truth condition_eval(const struct condition *condition); // ignores a trailing `for`
// Its own subject's burn rate is at most `burn_max` (everything fails): can it ever be true? NINES_EINVAL with a
// sentence.
int condition_reachable(const struct condition *condition, double burn_max, struct status *status);
const struct expr *condition_expr(const struct condition *condition);
// Field `index` of the expression, as condition_eval reads it. False: no data; NAN never.
bool condition_read(const struct condition *condition, uint32_t index, double *out);

#endif
