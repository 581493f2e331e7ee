// Once a second the counts of SLOs are folded and every instance is asked.
//
// Nothing is looked up while evaluating: conditions, messages and the words of the arena were bound when the instance
// was made. Instances are made anew when the rule changes or, for rules about every path, when the paths do; their
// alarms are found again by name.

#include "rule.h"

#include <string.h>

#include "alert.h"
#include "check.h"
#include "clock.h"
#include "duration.h"
#include "mem.h"
#include "path.h"
#include "slo.h"

#define TICK_NS NS_PER_S

struct rule *rule_find(const nines *engine, const char *name)
{
  return map_get(&engine->rules, view_of(name));
}

static void instance_fini(struct rule_instance *instance)
{
  condition_free(instance->when);
  condition_free(instance->resolve_when);
  template_free(instance->message);
}

static void instances_free(struct rule *rule)
{
  for (uint32_t i = 0; i < rule->count; i++) instance_fini(&rule->instances[i]);
  mem_free(rule->instances);
  rule->instances = NULL;
  rule->count = 0;
}

static int compile(nines *engine, const struct rule_settings *settings, struct subject subject,
                   struct rule_instance *out, struct status *status)
{
  int code = 0;
  if (settings->when) code = condition_compile(&out->when, engine, subject, view_of(settings->when), status);
  if (code < 0) return status_prefix(status, "when");
  if (settings->resolve_when)
    code = condition_compile(&out->resolve_when, engine, subject, view_of(settings->resolve_when), status);
  if (code < 0) return status_prefix(status, "resolve_when");
  if (settings->message) code = template_compile(&out->message, engine, subject, view_of(settings->message), status);
  return code < 0 ? status_prefix(status, "message") : 0;
}

// Does the condition ask for a path's fields without saying whose?
static bool asks_paths(const char *when)
{
  struct expr *expr;
  bool asks = false;
  if (!when || expr_compile(&expr, view_of(when), NULL) < 0) return false;
  for (uint32_t i = 0; i < expr_field_count(expr); i++) {
    const struct expr_field *field = expr_field_at(expr, i);
    asks = asks || (!field->object && !field->labels && path_field_number(field->name) >= 0);
  }
  expr_free(expr);
  return asks;
}

static int check_condition(nines *engine, const struct rule_settings *settings, const char *key, const char *text,
                           struct status *status)
{
  if (!text) return 0;
  int code = condition_check(engine, settings->object, settings->on.window_ns, view_of(text), status);
  return code < 0 ? status_prefix(status, "%s", key) : 0;
}

int rule_check(nines *engine, const struct rule_settings *settings, struct status *status)
{
  struct template *message = NULL;
  int code = check_condition(engine, settings, "when", settings->when, status);
  if (code == 0) code = check_condition(engine, settings, "resolve_when", settings->resolve_when, status);
  if (code == 0 && settings->message &&
      template_compile(&message, NULL, settings->on, view_of(settings->message), status) < 0)
    code = status_prefix(status, "message");
  template_free(message);
  return code;
}

static int place_alarm(struct rule *rule, struct rule_instance *instance, struct status *status)
{
  nines *engine = rule->engine;
  struct arena_slot slot;
  struct buf name = { 0 };
  buf_printf(&name, "%s\n%s", rule->name, instance->object);
  int code = arena_object(engine->arena, ARENA_ALARM, buf_view(&name), sizeof *instance->alarm, &slot, status);
  if (code == 0) {
    instance->alarm = arena_at(engine->arena, slot.offset);
    bool known = map_get(&engine->rebased, buf_view(&name)) != NULL;
    if (slot.fresh || !alarm_valid(instance->alarm)) {
      *instance->alarm = (struct alarm){ 0 };
      instance->fresh = true;
    } else if (engine->rebase && !known) {
      alarm_rebase(instance->alarm, engine->rebase_now_ns - engine->rebase_then_ns);
    }
    if (engine->rebase && !known) CHECK(map_put(&engine->rebased, buf_view(&name), engine) == 0);
  }
  buf_free(&name);
  return code;
}

static int add_instance(struct rule *rule, struct subject subject, const char *object, struct status *status)
{
  struct rule_instance instance = { .rule = rule, .subject = subject, .object = object, .truth = TRUTH_UNKNOWN };
  int code = compile(rule->engine, &rule->settings, subject, &instance, status);
  if (code == 0) code = place_alarm(rule, &instance, status);
  if (code < 0) {
    instance_fini(&instance);
    return code;
  }
  rule->instances = mem_must_resize(rule->instances, (rule->count + 1) * sizeof *rule->instances);
  rule->instances[rule->count++] = instance;
  return 0;
}

static int make_instances(struct rule *rule, struct status *status)
{
  nines *engine = rule->engine;
  const struct rule_settings *settings = &rule->settings;
  int code = 0;
  instances_free(rule);
  rule->paths_seen = engine->paths_changed;
  if (!settings->for_every_path)
    return add_instance(rule, settings->on, settings->on.kind == SUBJECT_NONE ? "" : settings->object, status);
  for (uint32_t i = 0; i < engine->path_count && code == 0; i++) {
    struct path *path = engine->path_index[i];
    if (path->declared_by)
      code = add_instance(rule, (struct subject){ SUBJECT_PATH, path, settings->on.window_ns }, path->name, status);
  }
  return code;
}

static int refresh(struct rule *rule, struct status *status)
{
  int code = make_instances(rule, status);
  if (code < 0) status_prefix(status, "alert \"%s\"", rule->name);
  return code;
}

static struct rule *rule_make(nines *engine, const char *name, struct status *status)
{
  if (engine->rules.count >= RULES_MAX) {
    status_set(status, NINES_ELIMIT, "there are %d alerts already; \"%s\" is one too many", RULES_MAX, name);
    return NULL;
  }
  struct rule *rule = mem_must(sizeof *rule);
  rule->engine = engine;
  rule->name = mem_must_copy(name);
  CHECK(map_put(&engine->rules, view_of(name), rule) == 0);
  return rule;
}

int rule_declare(nines *engine, const char *script, const char *name, const struct rule_settings *settings,
                 struct pool *pool, struct status *status)
{
  struct rule *rule = rule_find(engine, name);
  if (!rule) rule = rule_make(engine, name, status);
  if (!rule) return status->code;
  pool_fini(&rule->pool);
  rule->pool = *pool;
  *pool = (struct pool){ 0 };
  rule->settings = *settings;
  rule->settings.for_every_path = settings->on.kind == SUBJECT_NONE && asks_paths(settings->when);
  mem_free(rule->declared_by);
  rule->declared_by = mem_must_copy(script);
  rules_wake(engine);
  return refresh(rule, status);
}

void rule_retire(nines *engine, const char *name)
{
  struct rule *rule = rule_find(engine, name);
  if (!rule || !rule->declared_by) return;
  for (uint32_t i = 0; i < rule->count; i++) {
    *rule->instances[i].alarm = (struct alarm){ .episode = rule->instances[i].alarm->episode };
    alert_rule_resolved(engine, &rule->instances[i], "the alert is not declared any more");
  }
  instances_free(rule);
  mem_free(rule->declared_by);
  rule->declared_by = NULL;
}

struct rule_instance *rule_instance_of(const nines *engine, const char *name, const char *object)
{
  struct rule *rule = rule_find(engine, name);
  for (uint32_t i = 0; rule && i < rule->count; i++)
    if (strcmp(rule->instances[i].object, object) == 0) return &rule->instances[i];
  return NULL;
}

// --- evaluation

static enum truth ask(const struct rule_instance *instance)
{
  const struct rule_settings *settings = &instance->rule->settings;
  if (settings->burning == RULE_CONDITION) return condition_eval(instance->when);
  return slo_burning(instance->subject.object, settings->burning == RULE_PAGE_BURN);
}

static void evaluate(nines *engine, struct rule_instance *instance)
{
  instance->truth = ask(instance);
  enum truth clear = instance->resolve_when ? condition_eval(instance->resolve_when) : TRUTH_UNKNOWN;
  enum alarm_change change =
      alarm_feed(instance->alarm, &instance->rule->settings.alarm, engine->now_ns, instance->truth, clear);
  if (change == ALARM_FIRED)
    alert_rule_fired(engine, instance);
  else if (change == ALARM_RESOLVED)
    alert_rule_resolved(engine, instance, NULL);
}

static void evaluate_rule(nines *engine, struct rule *rule)
{
  struct status status = { 0 };
  if (rule->settings.for_every_path && rule->paths_seen != engine->paths_changed && refresh(rule, &status) < 0)
    engine_log(engine, "error", "%s", status.text);
  int64_t cpu_ns = engine->virtual_time ? 0 : clock_thread_cpu_ns();
  for (uint32_t i = 0; i < rule->count; i++) evaluate(engine, &rule->instances[i]);
  if (!engine->virtual_time) rule->evaluation_ns = clock_thread_cpu_ns() - cpu_ns;
  rule->evaluated_wall_ns = engine->wall_ns;
}

static void on_tick(nines *engine, struct engine_timer *timer)
{
  size_t at = 0;
  engine_timer_set(engine, timer, (engine->now_ns / TICK_NS + 1) * TICK_NS);
  if (!engine->settled) return; // restored alerts come first
  slos_fold(engine);
  for (struct map_entry *entry; (entry = map_next(&engine->rules, &at));) {
    struct rule *rule = entry->value;
    if (rule->declared_by) evaluate_rule(engine, rule);
  }
}

void rules_wake(nines *engine)
{
  engine->rules_timer.fn = on_tick;
  if (!engine->rules_timer.node.place)
    engine_timer_set(engine, &engine->rules_timer, (engine->now_ns / TICK_NS + 1) * TICK_NS);
}

// --- for people

const char *rule_text(const struct rule *rule, struct pool *pool)
{
  const struct rule_settings *settings = &rule->settings;
  struct buf out = { 0 };
  char over[DURATION_TEXT_MAX], still[DURATION_TEXT_MAX];
  if (settings->when) buf_text(&out, settings->when);
  const struct slo *slo = settings->burning ? settings->on.object : NULL;
  for (uint32_t i = 0; slo && i < slo->settings.burn_count; i++) {
    const struct slo_burn *burn = &slo->settings.burns[i];
    if (burn->page != (settings->burning == RULE_PAGE_BURN)) continue;
    buf_printf(&out, "%s(burn(%s) > %.4g and burn(%s) > %.4g)", out.size ? " or " : "",
               duration_format(burn->over_ns, over), burn->factor, duration_format(burn->still_ns, still),
               burn->factor);
  }
  const char *copy = pool_copy(pool, buf_view(&out));
  buf_free(&out);
  return copy ? copy : "";
}

const char *rule_state_name(const struct rule_instance *instance)
{
  static const char *const names[] = { "inactive", "pending", "firing" };
  return instance->alarm->flapping ? "flapping" : names[instance->alarm->state];
}

static void describe_instance(const struct rule_instance *instance, struct pool *pool, struct value *out)
{
  const nines *engine = instance->rule->engine;
  const struct alarm *alarm = instance->alarm;
  value_put_text(pool, out, "object", instance->object);
  value_put_text(pool, out, "state", rule_state_name(instance));
  value_put_text(pool, out, "condition",
                 instance->truth == TRUTH_UNKNOWN ? "no data"
                 : instance->truth == TRUTH_TRUE  ? "true"
                                                  : "false");
  value_put(pool, out, "episode", value_integer(alarm->episode));
  if (alarm->since_ns)
    value_put(pool, out, "since",
              value_number((double)(engine->wall_ns - engine->now_ns + alarm->since_ns) / NS_PER_S));
  value_put(pool, out, "flapping_share", value_number(alarm_flap_share(alarm)));
  const struct expr *expr = instance->when ? condition_expr(instance->when) : NULL;
  struct value numbers = value_table();
  for (uint32_t i = 0; expr && i < expr_field_count(expr); i++) {
    double number;
    if (condition_read(instance->when, i, &number))
      value_put(pool, &numbers, expr_field_at(expr, i)->name, value_number(number));
  }
  value_put(pool, out, "numbers", numbers);
}

void rule_describe(const struct rule *rule, struct pool *pool, struct value *out)
{
  const struct rule_settings *settings = &rule->settings;
  static const char *const no_data[] = { "ignore", "alert", "ok", "keep" };
  char text[DURATION_TEXT_MAX];
  value_put_text(pool, out, "alert", rule->name);
  value_put_text(pool, out, "rule", rule_text(rule, pool));
  value_put_text(pool, out, "severity", severity_name(settings->severity));
  if (settings->resolve_when) value_put_text(pool, out, "resolve_when", settings->resolve_when);
  if (settings->alarm.for_ns) value_put_text(pool, out, "for", duration_format(settings->alarm.for_ns, text));
  if (settings->alarm.keep_firing_ns)
    value_put_text(pool, out, "keep_firing", duration_format(settings->alarm.keep_firing_ns, text));
  value_put_text(pool, out, "no_data", no_data[settings->alarm.no_data]);
  if (settings->service) value_put_text(pool, out, "service", settings->service);
  if (settings->runbook) value_put_text(pool, out, "runbook", settings->runbook);
  if (rule->declared_by) value_put_text(pool, out, "policy", rule->declared_by);
  struct value list = value_list();
  for (uint32_t i = 0; i < rule->count; i++) {
    struct value item = value_table();
    describe_instance(&rule->instances[i], pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "instances", list);
}

void rules_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->rules, &at));) {
    struct rule *rule = entry->value;
    instances_free(rule);
    pool_fini(&rule->pool);
    mem_free(rule->declared_by);
    mem_free(rule->name);
    mem_free(rule);
  }
  map_fini(&engine->rules);
}
