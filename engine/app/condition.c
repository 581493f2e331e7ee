// Names are looked up when a condition is compiled, so that evaluating it is arithmetic over pointers.

#include "condition.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "path.h"
#include "slo.h"

struct bound {
  enum { BOUND_PATH, BOUND_SLO, BOUND_SERIES } kind;
  int field; // of a path or an SLO
  int64_t window_ns;
  const void *object; // struct path, slo, gauge
};

struct condition {
  struct expr *expr;
  uint32_t count;
  struct bound bound[];
};

static int field_of(struct subject subject, const char *name)
{
  if (subject.kind == SUBJECT_PATH) return path_field_number(name);
  return subject.kind == SUBJECT_SLO ? slo_field_number(name) : -1;
}

static bool find_subject(const nines *engine, const char *name, struct subject *out)
{
  struct path *path = path_find(engine, name);
  struct slo *slo = path ? NULL : slo_find(engine, name);
  *out = (struct subject){ .kind = path  ? SUBJECT_PATH
                                   : slo ? SUBJECT_SLO
                                         : SUBJECT_NONE,
                           .object = path ? (void *)path : (void *)slo };
  return out->kind != SUBJECT_NONE;
}

static int bind_series(nines *engine, const struct expr_field *field, struct bound *out, struct status *status)
{
  *out = (struct bound){ .kind = BOUND_SERIES, .object = engine_gauge(engine, field->name, field->labels) };
  if (out->object) return 0;
  return status_set(status, NINES_ELIMIT,
                    "column %u: conditions mention too many series already; \"%s\" is one too many", field->column,
                    field->name);
}

static int bind(nines *engine, struct subject own, const struct expr_field *field, struct bound *out,
                struct status *status)
{
  struct subject subject = own;
  if (field->object && !find_subject(engine, field->object, &subject))
    return status_set(status, NINES_EINVAL, "column %u: there is no critical_path or slo \"%s\"", field->column,
                      field->object);
  int number = field->labels ? -1 : field_of(subject, field->name);
  if (number < 0 && field->object)
    return status_set(status, NINES_EINVAL, "column %u: \"%s\" has no field \"%s\"", field->column, field->object,
                      field->name);
  if (number < 0) return bind_series(engine, field, out, status);
  struct expr_field windowed = *field;
  if (!windowed.window_ns) windowed.window_ns = subject.window_ns;
  int code = subject.kind == SUBJECT_PATH ? path_field_check(subject.object, &windowed, status)
                                          : slo_field_check(subject.object, &windowed, status);
  *out = (struct bound){ .kind = subject.kind == SUBJECT_PATH ? BOUND_PATH : BOUND_SLO,
                         .field = number,
                         .window_ns = windowed.window_ns,
                         .object = subject.object };
  return code;
}

int condition_compile(struct condition **out, nines *engine, struct subject own, struct view text,
                      struct status *status)
{
  struct expr *expr;
  *out = NULL;
  int code = expr_compile(&expr, text, status);
  if (code < 0) return code;
  uint32_t count = expr_field_count(expr);
  struct condition *condition = mem_must(sizeof *condition + count * sizeof condition->bound[0]);
  condition->expr = expr;
  condition->count = count;
  for (uint32_t i = 0; i < count && code == 0; i++)
    code = bind(engine, own, expr_field_at(expr, i), &condition->bound[i], status);
  if (code < 0) {
    condition_free(condition);
    return code;
  }
  *out = condition;
  return 0;
}

void condition_free(struct condition *condition)
{
  if (!condition) return;
  expr_free(condition->expr);
  mem_free(condition);
}

static bool read_bound(void *userdata, uint32_t index, double *out)
{
  const struct bound *bound = &((const struct condition *)userdata)->bound[index];
  if (bound->kind == BOUND_PATH) return path_read(bound->object, bound->field, bound->window_ns, out);
  if (bound->kind == BOUND_SLO) return slo_read(bound->object, bound->field, bound->window_ns, out);
  *out = ((const struct gauge *)bound->object)->value;
  return !isnan(*out);
}

enum truth condition_eval(const struct condition *condition)
{
  return expr_eval(condition->expr, read_bound, (void *)(uintptr_t)condition);
}

int condition_reachable(const struct condition *condition, double burn_max, struct status *status)
{
  for (uint32_t i = 0; i < condition->count; i++) {
    const struct expr_field *field = expr_field_at(condition->expr, i);
    double demanded = expr_demands(condition->expr, i);
    if (!field->object && strcmp(field->name, "burn") == 0 && demanded >= burn_max)
      return status_set(
          status, NINES_EINVAL,
          "column %u: it can never be true: when everything fails the burn rate is %.4g, not over %.4g; lower the "
          "factor or raise the objective",
          field->column, burn_max, demanded);
  }
  return 0;
}

const struct expr *condition_expr(const struct condition *condition)
{
  return condition->expr;
}

bool condition_read(const struct condition *condition, uint32_t index, double *out)
{
  return read_bound((void *)(uintptr_t)condition, index, out);
}
