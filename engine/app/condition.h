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

// What a declaration of this load promises, for those that look at its object before it is made.
struct draft {
  enum subject_kind kind;
  double objective;     // percent; 0: none
  int64_t window_ns;    // a path's own; the longest of an SLO
  int64_t quantiles[4]; // further windows of a path's quantiles
  uint32_t quantile_count;
};
void condition_draft(nines *engine, const char *name, const struct draft *draft);
void condition_drafts_clear(nines *engine); // the load is over

// Checks without making anything: grammar, windows, reach of burn rates. `own`: name of the subject, drafted or made;
// NULL: none. Objects that are neither are left to condition_compile, because a later file may declare them.
int condition_check(nines *engine, const char *own, int64_t window_ns, struct view text, struct status *status);

// Errors name the column: an unknown object, a window that the subject does not keep, a grammar fault.
int condition_compile(struct condition **out, nines *engine, struct subject own, struct view text,
                      struct status *status);
void condition_free(struct condition *condition);
enum truth condition_eval(const struct condition *condition); // ignores a trailing `for`
const struct expr *condition_expr(const struct condition *condition);
// Field `index` of the expression, as condition_eval reads it. False: no data; NAN never.
bool condition_read(const struct condition *condition, uint32_t index, double *out);

#endif
