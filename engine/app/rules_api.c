// Shapes: https://prometheus.io/docs/prometheus/latest/querying/api/#rules and #alerts. States are Prometheus' own
// words: what flaps or is kept firing is "firing".

#include "rules_api.h"

#include <string.h>

#include "alert.h"
#include "clock.h"
#include "duration.h"
#include "rule.h"

static const char *const states[] = { "inactive", "pending", "firing" };

static void envelope(struct pool *pool, struct value *out, const char *key, struct value list)
{
  struct value data = value_table();
  value_put(pool, &data, key, list);
  *out = value_table();
  value_put_text(pool, out, "status", "success");
  value_put(pool, out, "data", data);
}

static void put_time(struct pool *pool, struct value *out, const char *key, int64_t wall_ns)
{
  char text[CLOCK_TEXT_MAX];
  value_put_text(pool, out, key, wall_ns ? clock_format(wall_ns, text) : "0001-01-01T00:00:00Z");
}

static struct value labels_of(const struct rule_instance *instance, struct pool *pool)
{
  const struct rule_settings *settings = &instance->rule->settings;
  struct value labels = value_table();
  for (size_t i = 0; settings->labels && i < settings->labels->table.count; i++)
    value_put(pool, &labels, settings->labels->table.members[i].key.data, settings->labels->table.members[i].value);
  value_put_text(pool, &labels, "alertname", instance->rule->name);
  value_put_text(pool, &labels, "severity", severity_name(settings->severity));
  if (settings->service) value_put_text(pool, &labels, "service", settings->service);
  if (instance->subject.kind == SUBJECT_PATH) value_put_text(pool, &labels, "critical_path", instance->object);
  if (instance->subject.kind == SUBJECT_SLO) value_put_text(pool, &labels, "slo", instance->object);
  return labels;
}

static struct value annotations_of(const struct rule *rule, struct pool *pool)
{
  struct value annotations = value_table();
  if (rule->settings.message) value_put_text(pool, &annotations, "summary", rule->settings.message);
  if (rule->settings.runbook) value_put_text(pool, &annotations, "runbook_url", rule->settings.runbook);
  return annotations;
}

// The first number of its condition, as Prometheus writes values.
static void put_value(const struct rule_instance *instance, struct pool *pool, struct value *out)
{
  double number;
  bool known = instance->when && expr_field_count(condition_expr(instance->when)) > 0 &&
               condition_read(instance->when, 0, &number);
  if (known)
    value_put_format(pool, out, "value", "%e", number);
  else
    value_put_text(pool, out, "value", "");
}

static struct value instance_alert(const struct rule_instance *instance, struct pool *pool)
{
  const nines *engine = instance->rule->engine;
  struct value item = value_table();
  value_put(pool, &item, "labels", labels_of(instance, pool));
  value_put(pool, &item, "annotations", annotations_of(instance->rule, pool));
  value_put_text(pool, &item, "state", states[instance->alarm->state]);
  put_time(pool, &item, "activeAt", engine->wall_ns - engine->now_ns + instance->alarm->active_ns);
  put_value(instance, pool, &item);
  return item;
}

static struct value rule_item(const struct rule *rule, struct pool *pool)
{
  const struct rule_settings *settings = &rule->settings;
  struct value item = value_table(), alerts = value_list(), labels = value_table();
  uint32_t worst = ALARM_INACTIVE;
  for (uint32_t i = 0; i < rule->count; i++) {
    uint32_t state = rule->instances[i].alarm->state;
    if (state > worst) worst = state;
    if (state != ALARM_INACTIVE) value_append(pool, &alerts, instance_alert(&rule->instances[i], pool));
  }
  value_put_text(pool, &labels, "severity", severity_name(settings->severity));
  value_put_text(pool, &item, "state", states[worst]);
  value_put_text(pool, &item, "name", rule->name);
  value_put_text(pool, &item, "query", rule_text(rule, pool));
  value_put(pool, &item, "duration", value_number((double)settings->alarm.for_ns / NS_PER_S));
  value_put(pool, &item, "keepFiringFor", value_number((double)settings->alarm.keep_firing_ns / NS_PER_S));
  value_put(pool, &item, "labels", labels);
  value_put(pool, &item, "annotations", annotations_of(rule, pool));
  value_put(pool, &item, "alerts", alerts);
  value_put_text(pool, &item, "health", rule->evaluated_wall_ns ? "ok" : "unknown");
  value_put(pool, &item, "evaluationTime", value_number((double)rule->evaluation_ns / NS_PER_S));
  put_time(pool, &item, "lastEvaluation", rule->evaluated_wall_ns);
  value_put_text(pool, &item, "type", "alerting");
  return item;
}

static struct value group_of(nines *engine, const char *file, struct pool *pool)
{
  struct value group = value_table(), rules = value_list();
  size_t at = 0;
  int64_t evaluation_ns = 0, evaluated_wall_ns = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->rules, &at));) {
    const struct rule *rule = entry->value;
    if (!rule->declared_by || strcmp(rule->declared_by, file) != 0) continue;
    value_append(pool, &rules, rule_item(rule, pool));
    evaluation_ns += rule->evaluation_ns;
    evaluated_wall_ns = rule->evaluated_wall_ns;
  }
  value_put_text(pool, &group, "name", file);
  value_put_text(pool, &group, "file", file);
  value_put(pool, &group, "rules", rules);
  value_put(pool, &group, "interval", value_integer(1));
  value_put(pool, &group, "limit", value_integer(0));
  value_put(pool, &group, "evaluationTime", value_number((double)evaluation_ns / NS_PER_S));
  put_time(pool, &group, "lastEvaluation", evaluated_wall_ns);
  return group;
}

void rules_api_rules(nines *engine, struct pool *pool, struct value *out)
{
  struct value groups = value_list();
  struct map files = { 0 };
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->rules, &at));) {
    const struct rule *rule = entry->value;
    if (!rule->declared_by || map_get(&files, view_of(rule->declared_by))) continue;
    if (map_put(&files, view_of(rule->declared_by), rule->declared_by) == 0)
      value_append(pool, &groups, group_of(engine, rule->declared_by, pool));
  }
  map_fini(&files);
  envelope(pool, out, "groups", groups);
}

void rules_api_alerts(nines *engine, struct pool *pool, struct value *out)
{
  struct value alerts = value_list();
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    const struct alert *alert = entry->value;
    struct value item = value_table(), annotations = value_table();
    if (alert->resolved_wall_ns || alert->of_rule) continue;
    value_put(pool, &item, "labels", *alert_labels(alert, pool));
    value_put_text(pool, &annotations, "summary", alert->summary);
    value_put(pool, &item, "annotations", annotations);
    value_put_text(pool, &item, "state", "firing");
    put_time(pool, &item, "activeAt", alert->opened_wall_ns);
    value_put_text(pool, &item, "value", "1e+00");
    value_append(pool, &alerts, item);
  }
  at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->rules, &at));) {
    const struct rule *rule = entry->value;
    for (uint32_t i = 0; i < rule->count; i++)
      if (rule->instances[i].alarm->state != ALARM_INACTIVE)
        value_append(pool, &alerts, instance_alert(&rule->instances[i], pool));
  }
  envelope(pool, out, "alerts", alerts);
}
