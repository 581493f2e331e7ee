// Names are looked up when a condition is compiled, so that evaluating it is arithmetic over pointers.

#include "condition.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "duration.h"
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

const struct expr *condition_expr(const struct condition *condition)
{
  return condition->expr;
}

bool condition_read(const struct condition *condition, uint32_t index, double *out)
{
  return read_bound((void *)(uintptr_t)condition, index, out);
}

// --- before anything is made

void condition_draft(nines *engine, const char *name, const struct draft *draft)
{
  struct draft *known = map_get(&engine->drafts, view_of(name));
  if (!known) {
    known = mem_must(sizeof *known);
    CHECK(map_put(&engine->drafts, view_of(name), known) == 0);
  }
  *known = *draft;
}

void condition_drafts_clear(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->drafts, &at));) mem_free(entry->value);
  map_fini(&engine->drafts);
  engine->drafts = (struct map){ 0 };
}

// What is known of the object of this name: its draft, or else itself as a draft.
static bool find_draft(const nines *engine, const char *name, struct draft *out)
{
  const struct draft *draft = map_get(&engine->drafts, view_of(name));
  const struct path *path = path_find(engine, name);
  const struct slo *slo = slo_find(engine, name);
  if (draft) {
    *out = *draft;
  } else if (path) {
    *out = (struct draft){ .kind = SUBJECT_PATH,
                           .objective = path->settings.success_rate,
                           .window_ns = path->settings.window_ns };
    for (uint32_t i = 0; i < path->quantile_count; i++)
      out->quantiles[out->quantile_count++] = path->quantiles[i].window_ns;
  } else if (slo) {
    *out = (struct draft){ .kind = SUBJECT_SLO,
                           .objective = slo->settings.objective,
                           .window_ns = slo->settings.window_ns };
  }
  return draft || path || slo;
}

static bool keeps(const struct draft *draft, const char *field, int64_t window_ns)
{
  if (draft->kind == SUBJECT_SLO) return window_ns >= NS_PER_S && window_ns <= draft->window_ns;
  if (field[0] != 'p') return window_ns >= NS_PER_S && window_ns <= BURN_SPAN_MAX_NS;
  for (uint32_t i = 0; i < draft->quantile_count; i++)
    if (draft->quantiles[i] == window_ns) return true;
  return window_ns == draft->window_ns;
}

static int check_field(const struct draft *draft, const char *name, const struct expr_field *field, int64_t window_ns,
                       struct status *status)
{
  char text[DURATION_TEXT_MAX];
  if (field_of((struct subject){ .kind = draft->kind }, field->name) < 0) {
    if (!field->object) return 0; // a series
    return status_set(status, NINES_EINVAL, "column %u: \"%s\" has no field \"%s\"", field->column, name, field->name);
  }
  if (field->window_ns) window_ns = field->window_ns;
  if (!window_ns || keeps(draft, field->name, window_ns)) return 0;
  duration_format(window_ns, text);
  if (draft->kind == SUBJECT_PATH && field->name[0] == 'p')
    return status_set(status, NINES_EINVAL,
                      "column %u: %s over %s is not kept; write windows = { \"%s\" } in critical_path \"%s\"",
                      field->column, field->name, text, text, name);
  return status_set(status, NINES_EINVAL, "column %u: %s over %s is not kept; \"%s\" keeps 1s to %s", field->column,
                    field->name, text, name, draft->kind == SUBJECT_PATH ? "1h" : "its window");
}

static int check_reach(const struct draft *draft, const struct expr *expr, uint32_t index, struct status *status)
{
  const struct expr_field *field = expr_field_at(expr, index);
  double demanded = expr_demands(expr, index), budget = 1 - draft->objective / 100;
  if (strcmp(field->name, "burn") != 0 || draft->objective <= 0 || budget <= 0 || demanded * budget < 1) return 0;
  return status_set(
      status, NINES_EINVAL,
      "column %u: it can never be true: when everything fails the burn rate is %.4g, not over %.4g; lower "
      "the factor or raise the objective",
      field->column, 1 / budget, demanded);
}

int condition_check(nines *engine, const char *own, int64_t window_ns, struct view text, struct status *status)
{
  struct expr *expr;
  int code = expr_compile(&expr, text, status);
  if (code < 0) return code;
  for (uint32_t i = 0; i < expr_field_count(expr) && code == 0; i++) {
    const struct expr_field *field = expr_field_at(expr, i);
    const char *name = field->object ? field->object : own;
    struct draft draft;
    if (!name || field->labels || !find_draft(engine, name, &draft)) continue;
    code = check_field(&draft, name, field, field->object ? 0 : window_ns, status);
    if (code == 0) code = check_reach(&draft, expr, i, status);
  }
  expr_free(expr);
  return code;
}
