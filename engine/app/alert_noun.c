// `alert "checkout slow" { on = critical_path "checkout", when = "p95 > 800ms for 5m", ... }`, and the same in
// alerts.yaml.

#include "rule.h"

#include <string.h>

#include "alert.h"
#include "duration.h"
#include "mem.h"
#include "path.h"
#include "schema.h"
#include "slo.h"

struct declared {
  struct rule_settings rule;
  const struct value *on, *labels;
  const char *name;
  int64_t for_ns, window_ns;
  bool flapping;
  int mode, no_data;
};

static const char *const severity_choices[] = { "P0", "P1", "P2", NULL };
static const char *const mode_choices[] = { "act", "observe", NULL };
static const char *const no_data_choices[] = { "ignore", "alert", "ok", "keep", NULL };

#define AT(field)      offsetof(struct declared, field)
#define RULE_AT(field) offsetof(struct declared, rule.field)
static const struct schema_field alert_fields[] = {
  { .key = "on", .type = SCHEMA_VALUE, .offset = AT(on) },
  { .key = "when", .alias = "condition", .type = SCHEMA_TEXT, .offset = RULE_AT(when), .required = true },
  { .key = "resolve_when", .type = SCHEMA_TEXT, .offset = RULE_AT(resolve_when) },
  { .key = "for", .type = SCHEMA_INTERVAL, .offset = AT(for_ns), .max = (double)(30 * NS_PER_DAY) },
  { .key = "window", .type = SCHEMA_INTERVAL, .offset = AT(window_ns), .min = (double)NS_PER_S },
  { .key = "keep_firing",
    .alias = "keep_firing_for",
    .type = SCHEMA_INTERVAL,
    .offset = RULE_AT(alarm.keep_firing_ns),
    .max = (double)(30 * NS_PER_DAY) },
  { .key = "no_data", .type = SCHEMA_CHOICE, .choices = no_data_choices, .offset = AT(no_data), .fallback = "ignore" },
  { .key = "flapping", .type = SCHEMA_BOOL, .offset = AT(flapping), .fallback = "true" },
  { .key = "severity",
    .alias = "alert_severity",
    .type = SCHEMA_CHOICE,
    .choices = severity_choices,
    .offset = RULE_AT(severity),
    .fallback = "P1" },
  { .key = "message", .type = SCHEMA_TEXT, .offset = RULE_AT(message) },
  { .key = "service", .type = SCHEMA_TEXT, .offset = RULE_AT(service) },
  { .key = "runbook", .type = SCHEMA_TEXT, .offset = RULE_AT(runbook) },
  { .key = "labels", .type = SCHEMA_VALUE, .offset = AT(labels) },
  { .key = "mode", .type = SCHEMA_CHOICE, .choices = mode_choices, .offset = AT(mode), .fallback = "act" },
  { .key = "name", .type = SCHEMA_TEXT, .offset = AT(name) },
  { 0 },
};

static int read_labels(const struct value *labels, const char *where, struct pool *pool, const struct value **out,
                       struct status *status)
{
  static const char *const own[] = { "alertname", "severity", "critical_path", "slo", "", NULL };
  if (!labels || labels->type == VALUE_NIL) return 0;
  if (labels->type != VALUE_TABLE || labels->table.count > RULE_LABELS_MAX)
    return status_set(status, NINES_EINVAL, "%s: labels: a table of at most %d texts, as { team = \"payments\" }",
                      where, RULE_LABELS_MAX);
  struct value *copy = pool_alloc(pool, sizeof *copy);
  if (!copy || !value_copy(pool, copy, labels)) return status_set(status, NINES_ENOMEM, "%s: out of memory", where);
  for (size_t i = 0; i < copy->table.count; i++) {
    const struct member *member = &copy->table.members[i];
    if (member->value.type != VALUE_TEXT)
      return status_set(status, NINES_EINVAL, "%s: labels.%.*s: %s; labels are texts, numbers belong into the message",
                        where, (int)member->key.size, member->key.data, value_type_name(&member->value));
    for (int k = 0; own[k]; k++)
      if (view_is(member->key, own[k]))
        return status_set(status, NINES_EINVAL, "%s: labels.%s: that label is the engine's own", where, own[k]);
  }
  *out = copy;
  return 0;
}

// The object that `on` names: an object of a policy, or in YAML a name.
static int read_on(nines *engine, const struct value *on, const char *where, struct rule_settings *rule, bool *later,
                   struct status *status)
{
  *later = false;
  if (on && on->type == VALUE_OBJECT) rule->object = on->object.name;
  if (!on || on->type == VALUE_NIL) return 0;
  struct path *path = NULL;
  struct slo *slo = NULL;
  if (on->type == VALUE_OBJECT && on->object.noun == &path_noun) {
    path = (struct path *)(uintptr_t)on->object.handle;
    *later = !path;
  } else if (on->type == VALUE_OBJECT && on->object.noun == &slo_noun) {
    slo = (struct slo *)(uintptr_t)on->object.handle;
    *later = !slo;
  } else if (on->type == VALUE_TEXT) {
    path = path_find(engine, on->text.data);
    slo = path ? NULL : slo_find(engine, on->text.data);
  }
  if (*later) return 0; // declared in the same load: checked when it is there
  if (!path && !slo)
    return status_set(status, NINES_EINVAL, "%s: on: takes a critical_path or an slo, not %s%s%s", where,
                      value_type_name(on), on->type == VALUE_TEXT ? " that names neither: " : "",
                      on->type == VALUE_TEXT ? on->text.data : "");
  rule->on.kind = path ? SUBJECT_PATH : SUBJECT_SLO;
  rule->on.object = path ? (void *)path : (void *)slo;
  rule->object = path ? path->name : slo->name;
  return 0;
}

static int read_times(struct declared *out, const char *where, struct status *status)
{
  struct expr *expr;
  struct status inner = { 0 };
  if (expr_compile(&expr, view_of(out->rule.when), &inner) < 0)
    return status_set(status, NINES_EINVAL, "%s: when: %s", where, inner.text);
  int64_t for_ns = expr_for_ns(expr);
  expr_free(expr);
  if (for_ns && out->for_ns && for_ns != out->for_ns)
    return status_set(status, NINES_EINVAL, "%s: \"for\" stands both in the condition and beside it; keep one", where);
  out->rule.alarm.for_ns = for_ns ? for_ns : out->for_ns;
  return 0;
}

static int decode(nines *engine, const struct value *settings, const char *where, struct declared *out, bool *later,
                  struct pool *pool, struct status *status)
{
  *out = (struct declared){ 0 };
  int code = schema_decode(alert_fields, settings, out, where, pool, status);
  if (code == 0) code = read_labels(out->labels, where, pool, &out->rule.labels, status);
  if (code == 0) code = read_on(engine, out->on, where, &out->rule, later, status);
  if (code == 0) code = read_times(out, where, status);
  if (code < 0) return code;
  out->rule.on.window_ns = out->window_ns;
  out->rule.alarm.no_data = out->no_data;
  out->rule.alarm.has_clear = out->rule.resolve_when != NULL;
  out->rule.alarm.flap_high = out->flapping ? 0.5 : 0;
  out->rule.alarm.flap_low = out->flapping ? 0.25 : 0;
  out->rule.observe = out->mode == 1;
  return 0;
}

static int check_name(const char *name, const char *where, struct status *status)
{
  if (name[0] && strlen(name) <= RULE_NAME_MAX) return 0;
  return status_set(status, NINES_EINVAL, "%s: an alert's name has 1 to %d bytes", where, RULE_NAME_MAX);
}

static int alert_check(void *app, const char *where, const char *name, const struct value *settings,
                       struct status *status)
{
  struct declared declared;
  struct pool pool = { 0 };
  bool later = false;
  int code = check_name(name, where, status);
  if (code == 0) code = decode(app, settings, where, &declared, &later, &pool, status);
  if (code == 0 && declared.name)
    code = status_set(status, NINES_EINVAL, "%s: name: it stands before the braces already", where);
  if (code == 0 && rule_check(app, &declared.rule, status) < 0) code = status_prefix(status, "%s", where);
  pool_fini(&pool);
  return code;
}

static int alert_apply(void *app, const char *script, const char *name, const struct value *settings,
                       struct status *status)
{
  struct declared declared;
  struct pool pool = { 0 };
  bool later = false;
  int code = decode(app, settings, name, &declared, &later, &pool, status);
  if (code == 0 && !later) code = rule_declare(app, script, name, &declared.rule, &pool, status);
  pool_fini(&pool);
  return code;
}

static void retire(void *app, const char *name)
{
  rule_retire(app, name);
}

static uint64_t handle_of(void *app, const char *name)
{
  struct rule *rule = rule_find(app, name);
  return rule && rule->declared_by && !rule->settings.burning ? (uint64_t)(uintptr_t)rule : 0;
}

static void names(void *app, void (*each)(void *userdata, const char *name), void *userdata)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&((nines *)app)->rules, &at));)
    if (handle_of(app, entry->key)) each(userdata, entry->key);
}

static struct rule *rule_at(uint64_t handle)
{
  return (struct rule *)(uintptr_t)handle;
}

// The worst of its instances: "inactive", "pending", "firing" or "flapping".
static int call_state(void *app, uint64_t handle, struct call *call)
{
  const struct rule *rule = rule_at(handle);
  const struct rule_instance *worst = NULL;
  (void)app;
  for (uint32_t i = 0; i < rule->count; i++)
    if (!worst || rule->instances[i].alarm->state > worst->alarm->state) worst = &rule->instances[i];
  call_return(call, value_text(worst ? rule_state_name(worst) : "inactive"));
  return CALL_DONE;
}

static int call_name(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_text(rule_at(handle)->name));
  return CALL_DONE;
}

static const struct noun_method methods[] = { { "state", call_state, false }, { "name", call_name, true }, { 0 } };

static const char *name_of(void *app, uint64_t handle)
{
  (void)app;
  return rule_at(handle)->name;
}

static const char *const topics[] = { "firing", "paged", "acknowledged", "resolved", NULL };

const struct noun alert_noun = { .kind = "alert",
                                 .check = alert_check,
                                 .apply = alert_apply,
                                 .retire = retire,
                                 .find = handle_of,
                                 .names = names,
                                 .methods = methods,
                                 .name = name_of,
                                 .topics = topics };
