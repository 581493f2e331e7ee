// `slo "payments" { of = critical_path "payment_processing", objective = 99.9, window = "30d" }` and its other sources.

#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "duration.h"
#include "mem.h"
#include "path.h"
#include "schema.h"
#include "slo.h"

struct declared {
  struct slo_settings slo;
  const struct value *of, *burns;
  const char *measure; // a series or condition's left side, with `target` and `better`
  double target;
  int better, count, mode;
  bool alerts;
  const char *page, *ticket;
};

struct burn_keys {
  int64_t over_ns, still_ns;
  double factor, budget;
  int tells;
};

static const char *const count_choices[] = { "success", "latency", NULL };
static const char *const better_choices[] = { "higher", "lower", NULL };
static const char *const mode_choices[] = { "act", "observe", NULL };
static const char *const tells_choices[] = { "ticket", "page", NULL };

#define AT(field)     offsetof(struct declared, field)
#define SLO_AT(field) offsetof(struct declared, slo.field)
static const struct schema_field slo_fields[] = {
  { .key = "of", .alias = "on", .type = SCHEMA_VALUE, .offset = AT(of) },
  { .key = "count", .type = SCHEMA_CHOICE, .choices = count_choices, .offset = AT(count), .fallback = "success" },
  { .key = "good", .type = SCHEMA_TEXT, .offset = SLO_AT(good) },
  { .key = "bad", .type = SCHEMA_TEXT, .offset = SLO_AT(bad) },
  { .key = "total", .type = SCHEMA_TEXT, .offset = SLO_AT(total) },
  { .key = "when", .type = SCHEMA_TEXT, .offset = SLO_AT(when) },
  { .key = "measure", .type = SCHEMA_TEXT, .offset = AT(measure) },
  { .key = "target", .type = SCHEMA_NUMBER, .offset = AT(target) },
  { .key = "better", .type = SCHEMA_CHOICE, .choices = better_choices, .offset = AT(better), .fallback = "higher" },
  { .key = "objective", .type = SCHEMA_PERCENT, .offset = SLO_AT(objective), .min = 1, .max = 100, .required = true },
  { .key = "window",
    .type = SCHEMA_INTERVAL,
    .offset = SLO_AT(window_ns),
    .min = (double)NS_PER_DAY,
    .max = (double)BUDGET_PERIOD_MAX_NS,
    .fallback = "30d" },
  { .key = "calendar", .type = SCHEMA_BOOL, .offset = SLO_AT(calendar), .fallback = "false" },
  { .key = "min_bad", .type = SCHEMA_INTEGER, .offset = SLO_AT(min_bad), .min = 1, .max = 1e9, .fallback = "5" },
  { .key = "alerts", .type = SCHEMA_BOOL, .offset = AT(alerts), .fallback = "true" },
  { .key = "page", .type = SCHEMA_TEXT, .offset = AT(page), .fallback = "P0" },
  { .key = "ticket", .type = SCHEMA_TEXT, .offset = AT(ticket), .fallback = "P2" },
  { .key = "burns", .type = SCHEMA_VALUE, .offset = AT(burns) },
  { .key = "freeze_deploys", .type = SCHEMA_BOOL, .offset = SLO_AT(freeze), .fallback = "false" },
  { .key = "service", .type = SCHEMA_TEXT, .offset = SLO_AT(service) },
  { .key = "runbook", .type = SCHEMA_TEXT, .offset = SLO_AT(runbook) },
  { .key = "description", .type = SCHEMA_TEXT, .offset = SLO_AT(description) },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode), .fallback = "act" },
  { 0 },
};

static const struct schema_field burn_fields[] = {
  { .key = "over",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct burn_keys, over_ns),
    .min = (double)NS_PER_MIN,
    .max = (double)BUDGET_PERIOD_MAX_NS,
    .required = true },
  { .key = "still",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct burn_keys, still_ns),
    .min = (double)NS_PER_S,
    .max = (double)BUDGET_PERIOD_MAX_NS },
  { .key = "factor", .type = SCHEMA_NUMBER, .offset = offsetof(struct burn_keys, factor), .min = 0.001, .max = 1e6 },
  { .key = "budget", .type = SCHEMA_FRACTION, .offset = offsetof(struct burn_keys, budget) },
  { .key = "tells",
    .type = SCHEMA_CHOICE,
    .choices = tells_choices,
    .offset = offsetof(struct burn_keys, tells),
    .fallback = "page" },
  { 0 },
};

static int check_burn(const struct declared *declared, const struct slo_burn *burn, const char *where,
                      struct status *status)
{
  double budget = 1 - declared->slo.objective / 100;
  char text[DURATION_TEXT_MAX];
  if (burn->over_ns > declared->slo.window_ns || burn->still_ns > burn->over_ns)
    return status_set(status, NINES_EINVAL, "%s: burns: %s is longer than what it belongs to", where,
                      duration_format(burn->over_ns, text));
  if (burn->factor * budget < 1) return 0;
  return status_set(
      status, NINES_EINVAL,
      "%s: the burn alert over %s can never fire: with an objective of %.6g%% a total outage burns %.4g times "
      "the budget, not %.4g; write your own burns = { { over = \"%s\", factor = ... } }, or alerts = false",
      where, duration_format(burn->over_ns, text), declared->slo.objective, 1 / budget, burn->factor, text);
}

// The workbook's rows, as shares of the budget.
static int standard_burns(struct declared *declared, const char *where, struct status *status)
{
  static const struct {
    int64_t over_ns, still_ns;
    double share;
    bool page;
  } rows[] = { { NS_PER_H, 5 * NS_PER_MIN, 0.02, true },
               { 6 * NS_PER_H, 30 * NS_PER_MIN, 0.05, true },
               { NS_PER_DAY, 2 * NS_PER_H, 0.1, false },
               { 3 * NS_PER_DAY, 6 * NS_PER_H, 0.1, false } };
  struct slo_settings *slo = &declared->slo;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].over_ns > slo->window_ns) continue;
    struct slo_burn *burn = &slo->burns[slo->burn_count++];
    *burn = (struct slo_burn){ rows[i].over_ns, rows[i].still_ns,
                               budget_factor(rows[i].share, slo->window_ns, rows[i].over_ns), rows[i].page };
    int code = check_burn(declared, burn, where, status);
    if (code < 0) return code;
  }
  return 0;
}

static int read_burns(struct declared *declared, const char *where, struct pool *pool, struct status *status)
{
  const struct value *list = declared->burns;
  if (!declared->alerts) return 0;
  if (!list || list->type == VALUE_NIL) return standard_burns(declared, where, status);
  if (list->type != VALUE_LIST || list->list.count < 1 || list->list.count > SLO_BURNS_MAX)
    return status_set(status, NINES_EINVAL, "%s: burns: a list of 1 to %d tables { over, still, factor }", where,
                      SLO_BURNS_MAX);
  for (size_t i = 0; i < list->list.count; i++) {
    struct burn_keys keys = { 0 };
    int code = schema_decode(burn_fields, &list->list.items[i], &keys, where, pool, status);
    if (code < 0) return code;
    if ((keys.factor > 0) == (keys.budget > 0))
      return status_set(status, NINES_EINVAL, "%s: burns: each has either a factor or a share of the budget", where);
    struct slo_burn *burn = &declared->slo.burns[declared->slo.burn_count++];
    *burn = (struct slo_burn){ .over_ns = keys.over_ns,
                               .still_ns = keys.still_ns ? keys.still_ns : keys.over_ns / 12,
                               .factor = keys.factor,
                               .page = keys.tells == 1 };
    if (keys.budget > 0) burn->factor = budget_factor(keys.budget, declared->slo.window_ns, keys.over_ns);
    code = check_burn(declared, burn, where, status);
    if (code < 0) return code;
  }
  return 0;
}

static int read_severity(const char *text, const char *key, const char *where, int *out, struct status *status)
{
  *out = strcmp(text, "off") == 0 ? -1 : severity_number(text);
  if (*out >= 0 || strcmp(text, "off") == 0) return 0;
  return status_set(status, NINES_EINVAL, "%s: %s: \"%s\" is not one of P0, P1, P2, off", where, key, text);
}

// Exactly one source.
static int read_source(struct declared *declared, const char *where, bool *later, struct pool *pool,
                       struct status *status)
{
  struct slo_settings *slo = &declared->slo;
  bool of = declared->of && declared->of->type != VALUE_NIL, counters = slo->total || slo->good || slo->bad;
  int sources = of + counters + (slo->when != NULL) + (declared->measure != NULL);
  if (sources > 1)
    return status_set(status, NINES_EINVAL,
                      "%s: has several sources; keep one of `of`, `total` with good or bad, `when`, `measure`", where);
  slo->source = sources == 0 ? SLO_OF_POLICY : counters ? SLO_OF_COUNTERS : SLO_OF_CONDITION;
  if (counters && (!slo->total || (slo->good != NULL) == (slo->bad != NULL)))
    return status_set(status, NINES_EINVAL, "%s: counters are `total` and one of `good` and `bad`", where);
  if (declared->measure) {
    char text[400];
    snprintf(text, sizeof text, "%.300s %s %.17g", declared->measure, declared->better ? "<=" : ">=", declared->target);
    slo->when = pool_copy(pool, view_of(text));
    if (!slo->when) return status_set(status, NINES_ENOMEM, "%s: out of memory", where);
  }
  if (!of) return 0;
  if (declared->of->type != VALUE_OBJECT || declared->of->object.noun != &path_noun)
    return status_set(status, NINES_EINVAL, "%s: of: takes a critical_path, not %s", where,
                      value_type_name(declared->of));
  slo->path = (struct path *)(uintptr_t)declared->of->object.handle;
  slo->source = declared->count ? SLO_OF_LATENCY : SLO_OF_SUCCESS;
  *later = !slo->path;
  if (*later) return 0;
  if (!slo->service) slo->service = slo->path->settings.service;
  if (declared->count && slo->path->settings.latency_q <= 0)
    return status_set(status, NINES_EINVAL, "%s: counts latency, but critical_path \"%s\" has no latency objective",
                      where, slo->path->name);
  return 0;
}

static int decode(const struct value *settings, const char *where, struct declared *out, bool *later, struct pool *pool,
                  struct status *status)
{
  *out = (struct declared){ 0 };
  *later = false;
  int code = schema_decode(slo_fields, settings, out, where, pool, status);
  if (code == 0) code = read_source(out, where, later, pool, status);
  if (code == 0) code = read_severity(out->page, "page", where, &out->slo.page_severity, status);
  if (code == 0) code = read_severity(out->ticket, "ticket", where, &out->slo.ticket_severity, status);
  if (code == 0) code = read_burns(out, where, pool, status);
  out->slo.observe = out->mode == 1;
  return code;
}

static int slo_check(void *app, const char *where, const char *name, const struct value *settings,
                     struct status *status)
{
  struct declared declared;
  struct pool pool = { 0 };
  bool later;
  int code = decode(settings, where, &declared, &later, &pool, status);
  if (code == 0 && strlen(name) > SLO_NAME_MAX)
    code = status_set(status, NINES_EINVAL, "%s: an SLO's name has at most %d bytes", where, SLO_NAME_MAX);
  if (code == 0 && declared.slo.when && condition_check(app, NULL, 0, view_of(declared.slo.when), status) < 0)
    code = status_prefix(status, "%s: when", where);
  struct draft draft = { .kind = SUBJECT_SLO,
                         .objective = declared.slo.objective,
                         .window_ns = declared.slo.window_ns };
  if (code == 0) condition_draft(app, name, &draft);
  pool_fini(&pool);
  return code;
}

static int slo_apply(void *app, const char *script, const char *name, const struct value *settings,
                     struct status *status)
{
  struct declared declared;
  struct pool pool = { 0 };
  bool later;
  int code = decode(settings, name, &declared, &later, &pool, status);
  if (code == 0 && !later) {
    // Texts of the path belong to the path.
    if (declared.slo.service) declared.slo.service = pool_copy(&pool, view_of(declared.slo.service));
    code = slo_declare(app, script, name, &declared.slo, &pool, status);
  }
  pool_fini(&pool);
  return code;
}

static void retire(void *app, const char *name)
{
  struct slo *slo = slo_find(app, name);
  if (slo) slo_retire(slo);
}

static uint64_t handle_of(void *app, const char *name)
{
  struct slo *slo = slo_find(app, name);
  return slo && slo->declared_by ? (uint64_t)(uintptr_t)slo : 0;
}

static void names(void *app, void (*each)(void *userdata, const char *name), void *userdata)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&((nines *)app)->slos, &at));)
    if (handle_of(app, entry->key)) each(userdata, entry->key);
}

static struct slo *slo_at(uint64_t handle)
{
  return (struct slo *)(uintptr_t)handle;
}

// slo:record(good, bad): of an SLO without another source.
static int call_record(void *app, uint64_t handle, struct call *call)
{
  struct slo *slo = slo_at(handle);
  double number[2] = { 0 };
  (void)app;
  if (slo->settings.source != SLO_OF_POLICY)
    return status_set(&call->status, NINES_EINVAL,
                      "slo \"%s\" counts by itself; only one without a source is recorded to", slo->name);
  for (uint32_t i = 0; i < 2 && i < call->argument_count; i++)
    if (!value_as_number(&call->arguments[i], &number[i]) || !(number[i] >= 0 && number[i] < 1e15))
      return status_set(&call->status, NINES_EINVAL, "takes two counts: how many were good, how many bad");
  slo_add(slo, (uint64_t)number[0], (uint64_t)number[1]);
  return CALL_DONE;
}

static int return_field(uint64_t handle, struct call *call, const char *field)
{
  struct slo *slo = slo_at(handle);
  int64_t window_ns = 0;
  double number;
  if (call->argument_count > 0) {
    if (call->arguments[0].type != VALUE_TEXT)
      return status_set(&call->status, NINES_EINVAL, "takes a window as \"6h\"");
    int code = duration_parse(call->arguments[0].text, &window_ns, &call->status);
    struct expr_field asked = { .name = field, .window_ns = window_ns, .column = 1 };
    if (code == 0) code = slo_field_check(slo, &asked, &call->status);
    if (code < 0) return code;
  }
  bool known = slo_read(slo, slo_field_number(field), window_ns, &number);
  call_return(call, known ? value_number(number) : value_nil());
  return CALL_DONE;
}

#define FIELD_CALL(name)                                                                                               \
  static int call_##name(void *app, uint64_t handle, struct call *call)                                                \
  {                                                                                                                    \
    (void)app;                                                                                                         \
    return return_field(handle, call, #name);                                                                          \
  }
FIELD_CALL(success_rate)
FIELD_CALL(error_rate)
FIELD_CALL(requests)
FIELD_CALL(rate)
FIELD_CALL(burn)
FIELD_CALL(budget_left)

static int call_is(void *app, uint64_t handle, struct call *call)
{
  struct slo *slo = slo_at(handle);
  struct condition *condition;
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_TEXT)
    return status_set(&call->status, NINES_EINVAL, "takes a condition as \"budget_left < 10\"");
  struct subject own = { .kind = SUBJECT_SLO, .object = slo };
  int code = condition_compile(&condition, app, own, call->arguments[0].text, &call->status);
  if (code < 0) return code;
  enum truth truth = condition_eval(condition);
  condition_free(condition);
  call_return(call, truth == TRUTH_UNKNOWN ? value_nil() : value_bool(truth == TRUTH_TRUE));
  return CALL_DONE;
}

static int call_name(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_text(slo_at(handle)->name));
  return CALL_DONE;
}

static const struct noun_method methods[] = { { "record", call_record, false },
                                              { "is", call_is, false },
                                              { "success_rate", call_success_rate, false },
                                              { "error_rate", call_error_rate, false },
                                              { "requests", call_requests, false },
                                              { "rate", call_rate, false },
                                              { "burn", call_burn, false },
                                              { "budget_left", call_budget_left, false },
                                              { "name", call_name, true },
                                              { 0 } };

static const char *name_of(void *app, uint64_t handle)
{
  (void)app;
  return slo_at(handle)->name;
}

static const char *const topics[] = { "burning", "exhausted", "restored", NULL };

const struct noun slo_noun = { .kind = "slo",
                               .check = slo_check,
                               .apply = slo_apply,
                               .retire = retire,
                               .find = handle_of,
                               .names = names,
                               .methods = methods,
                               .name = name_of,
                               .topics = topics };
