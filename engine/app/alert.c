// Alerts and their pages.
//
// The promise is that a page may be late by its stated hold and is never lost: an alert is opened before any script
// hears of the breach, its hold is a timer of the engine, and a handler that fails, is killed or ends without mending
// leaves the paging to this file.

#include "alert.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "json.h"
#include "letter.h"
#include "mem.h"
#include "silence.h"
#include "slo.h"

static const char *const severities[] = { "P0", "P1", "P2", NULL };
static const char path_alert[] = "critical_path_breached";

const char *severity_name(int severity)
{
  return severity >= 0 && severity < 3 ? severities[severity] : "P1";
}

int severity_number(const char *name)
{
  for (int i = 0; severities[i]; i++)
    if (name && strcmp(name, severities[i]) == 0) return i;
  return -1;
}

static void alert_free(struct alert *alert)
{
  mem_free(alert->name);
  mem_free(alert->kind);
  mem_free(alert->object);
  mem_free(alert->service);
  mem_free(alert->summary);
  mem_free(alert->runbook);
  mem_free(alert->acked_by);
  mem_free(alert->why_paged);
  mem_free(alert->evidence);
  pool_fini(&alert->pool);
  mem_free(alert);
}

static void alert_save(struct alert *alert)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  alert_describe(alert, &pool, &document);
  engine_put(alert->engine, "alert", alert->id, &document);
  pool_fini(&pool);
}

static void alert_publish(struct alert *alert, const char *topic)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  alert_describe(alert, &pool, &document);
  engine_publish(alert->engine, topic, alert->of_rule ? alert->name : alert->object, &document);
  pool_fini(&pool);
}

struct alert *alert_of(const nines *engine, const char *kind, const char *object)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (!alert->resolved_wall_ns && !alert->of_rule && strcmp(alert->kind, kind) == 0 &&
        strcmp(alert->object, object) == 0)
      return alert;
  }
  return NULL;
}

struct alert *alert_of_rule(const nines *engine, const char *rule, const char *object)
{
  size_t at = 0;
  struct alert *paged = NULL;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (alert->resolved_wall_ns || !alert->of_rule || strcmp(alert->name, rule) != 0) continue;
    if (object ? strcmp(alert->object, object) == 0 : !alert->paged_wall_ns) return alert;
    if (!object) paged = alert;
  }
  return paged;
}

bool alert_wants_handler(struct alert *alert)
{
  bool wanted = alert->rerun;
  alert->rerun = false;
  return wanted;
}

// The newest closed alerts are kept for people; older ones go.
static void forget_closed(nines *engine)
{
  size_t closed = 0, at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));)
    closed += ((struct alert *)entry->value)->resolved_wall_ns != 0;
  at = 0;
  for (struct map_entry *entry; closed > ALERTS_CLOSED_KEPT && (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (!alert->resolved_wall_ns) continue;
    engine_delete(engine, "alert", alert->id);
    map_remove(&engine->alerts, view_of(alert->id));
    alert_free(alert);
    closed--;
  }
}

static bool still_breached(const struct alert *alert)
{
  if (alert->of_rule) {
    const struct rule_instance *instance = rule_instance_of(alert->engine, alert->name, alert->object);
    return instance && instance->alarm->state == ALARM_FIRING;
  }
  const struct path *path = path_find(alert->engine, alert->object);
  return path && path->state->breached;
}

static void hold_over(nines *engine, struct engine_timer *timer)
{
  (void)engine;
  struct alert *alert = list_entry(timer, struct alert, timer);
  if (!alert->resolved_wall_ns && still_breached(alert))
    alert_page(alert->engine, alert, NULL, NULL, NULL, "the hold is over");
}

static void set_hold(struct alert *alert)
{
  nines *engine = alert->engine;
  int64_t wait_ns = alert->hold_wall_ns - engine->wall_ns;
  alert->timer.fn = hold_over;
  engine_timer_set(engine, &alert->timer, engine->now_ns + (wait_ns > 0 ? wait_ns : 0));
}

// The same for breaches and rules; `handled`: somebody may mend it before it is paged.
static void alert_begin(struct alert *alert, const char *name, const char *kind, const char *object,
                        const char *service, const char *summary, const char *runbook)
{
  nines *engine = alert->engine;
  engine_new_id(engine, "a", alert->id);
  alert->name = mem_must_copy(name);
  alert->kind = mem_must_copy(kind);
  alert->object = mem_must_copy(object);
  alert->service = mem_must_copy(service ? service : "");
  alert->summary = mem_must_copy(summary);
  alert->runbook = mem_must_copy(runbook ? runbook : "");
  alert->opened_wall_ns = engine->wall_ns;
  CHECK(map_put(&engine->alerts, view_of(alert->id), alert) == 0);
  forget_closed(engine);
}

static void alert_tell(struct alert *alert, bool handled, int64_t hold_ns)
{
  nines *engine = alert->engine;
  if (handled) {
    alert->hold_wall_ns = engine->wall_ns + hold_ns;
    set_hold(alert);
  }
  engine_log(engine, "warn", "%s %s", severity_name(alert->severity), alert->summary);
  alert_publish(alert, "alert.firing");
  if (alert->hold_wall_ns)
    alert_save(alert);
  else
    alert_page(engine, alert, NULL, NULL, NULL, "no handler");
}

static void put_onset(struct alert *alert, int64_t age_ns, const char *what)
{
  char text[DURATION_TEXT_MAX];
  struct buf evidence = { 0 };
  if (age_ns <= 0) return;
  alert->onset_wall_ns = alert->engine->wall_ns - age_ns;
  buf_printf(&evidence, "more %s than the objective allows, beginning %s before it was noticed (CUSUM)", what,
             duration_format(age_ns, text));
  mem_free(alert->evidence);
  alert->evidence = mem_must_copy(evidence.data ? evidence.data : "");
  buf_free(&evidence);
}

static void path_onset(struct alert *alert, const struct path *path, bool slow)
{
  int64_t now_ns = path->engine->now_ns;
  double healthy = slow ? 1 - path->settings.latency_q : 1 - path->settings.success_rate / 100;
  const struct breach *breach = slow ? &path->state->latency : &path->state->success;
  struct tally window = burn_sum(path->burn, now_ns, breach_span_ns(breach, now_ns, path->settings.window_ns));
  if (window.total == 0) return;
  struct onset onset;
  onset_start(&onset, healthy, (double)(slow ? window.slow : window.bad) / (double)window.total);
  // What was over before the last recovery is another story.
  burn_onset(path->burn, now_ns, breach_span_ns(breach, now_ns, BURN_SPAN_MAX_NS), slow, &onset);
  put_onset(alert, onset.age_ns, slow ? "slow ones" : "failures");
}

struct alert *alert_open(nines *engine, struct path *path)
{
  struct alert *alert = alert_of(engine, "critical_path", path->name);
  if (alert) return alert;
  struct pool pool = { 0 };
  const struct path_settings *settings = &path->settings;
  alert = mem_must(sizeof *alert);
  alert->engine = engine;
  alert->severity = settings->severity;
  alert->episode = path->state->episode;
  alert->observe = settings->observe || engine->observe;
  path_onset(alert, path, path->settings.success_rate <= 0 || path->state->success.state != BREACH_BREACHED);
  alert_begin(alert, path_alert, "critical_path", path->name, settings->service, path_summary(path, &pool),
              settings->runbook);
  pool_fini(&pool);
  int64_t hold_ns = settings->page_after_ns >= 0 ? settings->page_after_ns : engine->settings->page_after_ns;
  alert_tell(alert, scripts_handles(engine->scripts, "critical_path.breached", path->name), hold_ns);
  return alert;
}

// --- of rules

static const char *subject_noun(struct subject subject)
{
  return subject.kind == SUBJECT_PATH ? "critical_path" : subject.kind == SUBJECT_SLO ? "slo" : "";
}

static const char *service_of(const struct rule_instance *instance)
{
  if (instance->rule->settings.service) return instance->rule->settings.service;
  if (instance->subject.kind == SUBJECT_PATH) return ((const struct path *)instance->subject.object)->settings.service;
  return NULL;
}

static const char *rule_summary(const struct rule_instance *instance, struct pool *pool)
{
  const struct rule *rule = instance->rule;
  struct buf out = { 0 };
  struct template_words words = { rule->name, instance->object, service_of(instance),
                                  severity_name(rule->settings.severity) };
  buf_printf(&out, "%s%s%s: ", rule->name, instance->object[0] ? " on " : "", instance->object);
  if (instance->message) template_fill(instance->message, &words, &out);
  if (!instance->message) buf_text(&out, rule_text(rule, pool));
  // Without memory for the words the page still has a title.
  const char *text = out.failed ? NULL : pool_copy(pool, buf_view(&out));
  buf_free(&out);
  return text ? text : rule->name;
}

static void rule_onset(struct alert *alert, const struct rule_instance *instance)
{
  nines *engine = alert->engine;
  enum rule_burning burning = instance->rule->settings.burning;
  if (burning) put_onset(alert, slo_onset_ns(instance->subject.object, burning == RULE_PAGE_BURN), "failures");
  if (alert->onset_wall_ns) return;
  alert->onset_wall_ns = engine->wall_ns - (engine->now_ns - instance->alarm->active_ns);
  alert->evidence = mem_must_copy("when its condition became true");
}

void alert_rule_fired(nines *engine, struct rule_instance *instance)
{
  struct rule *rule = instance->rule;
  if (alert_of_rule(engine, rule->name, instance->object)) return;
  struct pool pool = { 0 };
  struct alert *alert = mem_must(sizeof *alert);
  alert->engine = engine;
  alert->of_rule = true;
  alert->severity = rule->settings.severity;
  alert->episode = instance->alarm->episode;
  alert->observe = rule->settings.observe || engine->observe;
  if (rule->settings.labels) value_copy(&alert->pool, &alert->labels, rule->settings.labels);
  rule_onset(alert, instance);
  alert_begin(alert, rule->name, subject_noun(instance->subject), instance->object, service_of(instance),
              rule_summary(instance, &pool), rule->settings.runbook);
  if (rule->settings.burning) alert_publish(alert, "slo.burning");
  pool_fini(&pool);
  alert_tell(alert, scripts_handles(engine->scripts, "alert.firing", rule->name), engine->settings->page_after_ns);
}

struct value *alert_labels(const struct alert *alert, struct pool *pool)
{
  struct value *labels = pool_alloc(pool, sizeof *labels);
  CHECK(labels);
  *labels = value_table();
  for (size_t i = 0; alert->labels.type == VALUE_TABLE && i < alert->labels.table.count; i++)
    value_put(pool, labels, alert->labels.table.members[i].key.data, alert->labels.table.members[i].value);
  value_put_text(pool, labels, "alertname", alert->name);
  value_put_text(pool, labels, "severity", severity_name(alert->severity));
  if (alert->service[0]) value_put_text(pool, labels, "service", alert->service);
  if (alert->object[0]) value_put_text(pool, labels, alert->kind, alert->object);
  return labels;
}

static struct value *alert_annotations(const struct alert *alert, const char *text, struct pool *pool)
{
  struct value *annotations = pool_alloc(pool, sizeof *annotations);
  CHECK(annotations);
  *annotations = value_table();
  value_put_text(pool, annotations, "summary", alert->summary);
  value_put_text(pool, annotations, "alert_id", alert->id);
  if (text) value_put_text(pool, annotations, "description", text);
  if (alert->runbook[0]) value_put_text(pool, annotations, "runbook_url", alert->runbook);
  return annotations;
}

// Kept quiet by a silence?
static bool alert_silence(struct alert *alert, struct pool *pool)
{
  nines *engine = alert->engine;
  const struct silence *silence = silence_of(engine, alert_labels(alert, pool));
  if (!silence) {
    alert->silenced[0] = '\0';
    return false;
  }
  if (strcmp(alert->silenced, silence_id(silence)) == 0) return true;
  snprintf(alert->silenced, sizeof alert->silenced, "%s", silence_id(silence));
  engine_timer_stop(engine, &alert->timer);
  alert_publish(alert, "alert.silenced");
  alert_save(alert);
  return true;
}

void alerts_unsilenced(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (alert->silenced[0] && !alert->resolved_wall_ns)
      alert_page(engine, alert, NULL, NULL, NULL, "the silence is over");
  }
}

bool alert_page(nines *engine, struct alert *alert, const char *severity, const char *title, const char *text,
                const char *why)
{
  if (alert->paged_wall_ns || alert->resolved_wall_ns) return false;
  struct pool pool = { 0 };
  if (alert_silence(alert, &pool)) {
    pool_fini(&pool);
    return false;
  }
  alert->paged_wall_ns = engine->wall_ns;
  mem_free(alert->why_paged);
  alert->why_paged = mem_must_copy(why);
  engine_timer_stop(engine, &alert->timer);
  if (severity && severity_number(severity) >= 0) alert->severity = severity_number(severity);
  if (alert->observe) {
    engine_observed(engine, "page", alert->object, title ? title : alert->summary);
  } else {
    struct letter_draft draft = { .kind = "page",
                                  .status = "firing",
                                  .alert = alert->id,
                                  .severity = severity_name(alert->severity),
                                  .title = title ? title : alert->summary,
                                  .text = text ? text : "",
                                  .service = alert->service,
                                  .labels = alert_labels(alert, &pool),
                                  .annotations = alert_annotations(alert, text, &pool),
                                  .started_wall_ns = alert->opened_wall_ns };
    engine->figures.pages++;
    if (letters_write(engine, &draft) == 0)
      engine_log(engine, "warn", "page for %s goes nowhere: no route of nines.yaml takes %s", alert->object,
                 severity_name(alert->severity));
  }
  struct value details = value_table();
  value_put_text(&pool, &details, "why", why);
  value_put_text(&pool, &details, "summary", alert->summary);
  engine_audit(engine, "engine", "alert.page", alert->id, &details);
  alert_publish(alert, "alert.paged");
  alert_save(alert);
  pool_fini(&pool);
  return true;
}

static void alert_resolve(struct alert *alert, const char *how)
{
  nines *engine = alert->engine;
  alert->resolved_wall_ns = engine->wall_ns;
  engine_timer_stop(engine, &alert->timer);
  if (alert->paged_wall_ns && !alert->observe) {
    struct pool pool = { 0 };
    struct value *annotations = alert_annotations(alert, NULL, &pool);
    value_put_text(&pool, annotations, "resolution", how);
    struct letter_draft draft = { .kind = "page",
                                  .status = "resolved",
                                  .alert = alert->id,
                                  .severity = severity_name(alert->severity),
                                  .title = how,
                                  .text = "recovered",
                                  .service = alert->service,
                                  .labels = alert_labels(alert, &pool),
                                  .annotations = annotations,
                                  .started_wall_ns = alert->opened_wall_ns,
                                  .ended_wall_ns = alert->resolved_wall_ns };
    letters_resolve(engine, &draft);
    pool_fini(&pool);
  }
  engine_log(engine, "info", "%s has recovered", alert->object[0] ? alert->object : alert->name);
  alert_publish(alert, "alert.resolved");
  alert_save(alert);
}

void alert_recovered(nines *engine, struct path *path)
{
  struct pool pool = { 0 };
  struct alert *alert = alert_of(engine, "critical_path", path->name);
  if (alert) alert_resolve(alert, path_recovery(path, &pool));
  pool_fini(&pool);
}

void alert_rule_resolved(nines *engine, struct rule_instance *instance, const char *why)
{
  struct alert *alert = alert_of_rule(engine, instance->rule->name, instance->object);
  if (!alert) return;
  struct buf how = { 0 };
  buf_printf(&how, "%s%s%s: %s", alert->name, alert->object[0] ? " on " : "", alert->object, why ? why : "resolved");
  alert_resolve(alert, how.data);
  buf_free(&how);
}

// Handlers of path alerts answer critical_path.breached, those of rules alert.firing.
static struct alert *alert_of_handler(nines *engine, const struct caller *caller)
{
  if (strcmp(caller->topic, "critical_path.breached") == 0) return alert_of(engine, "critical_path", caller->name);
  return strcmp(caller->topic, "alert.firing") == 0 ? alert_of_rule(engine, caller->name, NULL) : NULL;
}

void alert_handler_end(nines *engine, const struct caller *caller, enum task_end end, const char *why)
{
  struct alert *alert = end == TASK_DONE ? NULL : alert_of_handler(engine, caller);
  if (!alert || alert->paged_wall_ns) return;
  if (end == TASK_CANCELLED) {
    alert->rerun = true;
    return;
  }
  char text[STATUS_TEXT_MAX];
  snprintf(text, sizeof text, "the handler in %s %s: %.300s", caller->script,
           end == TASK_KILLED ? "was killed" : "failed", why);
  if (still_breached(alert)) alert_page(engine, alert, NULL, NULL, NULL, text);
}

int alert_ack(nines *engine, const char *id, const char *actor, struct status *status)
{
  struct alert *alert = map_get(&engine->alerts, view_of(id));
  if (!alert) return status_set(status, NINES_ENOTFOUND, "there is no alert %s; `nines alert list` shows them", id);
  if (alert->resolved_wall_ns) return status_set(status, NINES_ESTATE, "alert %s is resolved already", id);
  if (alert->acked_by)
    return status_set(status, NINES_ESTATE, "alert %s was acknowledged by %s already", id, alert->acked_by);
  alert->acked_by = mem_must_copy(actor);
  alert->acked_wall_ns = engine->wall_ns;
  engine_audit(engine, actor, "alert.ack", id, NULL);
  alert_publish(alert, "alert.acknowledged");
  alert_save(alert);
  return 0;
}

static void put_time(struct pool *pool, struct value *out, const char *key, int64_t wall_ns)
{
  if (wall_ns) value_put(pool, out, key, value_integer(wall_ns));
}

void alert_describe(const struct alert *alert, struct pool *pool, struct value *out)
{
  value_put_text(pool, out, "id", alert->id);
  value_put_text(pool, out, "name", alert->name);
  value_put_text(pool, out, "kind", alert->kind);
  value_put_text(pool, out, "object", alert->object);
  value_put_text(pool, out, "service", alert->service);
  value_put_text(pool, out, "severity", severity_name(alert->severity));
  value_put_text(pool, out, "state",
                 alert->resolved_wall_ns ? "resolved"
                 : alert->acked_by       ? "acknowledged"
                 : alert->paged_wall_ns  ? "paged"
                 : alert->silenced[0]    ? "silenced"
                                         : "held");
  value_put(pool, out, "episode", value_integer(alert->episode));
  value_put_text(pool, out, "summary", alert->summary);
  value_put_text(pool, out, "runbook", alert->runbook);
  if (alert->of_rule) value_put(pool, out, "of_rule", value_bool(true));
  if (alert->labels.type == VALUE_TABLE) value_put(pool, out, "labels", alert->labels);
  put_time(pool, out, "opened_ns", alert->opened_wall_ns);
  put_time(pool, out, "onset_ns", alert->onset_wall_ns);
  if (alert->evidence) value_put_text(pool, out, "evidence", alert->evidence);
  if (alert->silenced[0]) value_put_text(pool, out, "silenced", alert->silenced);
  put_time(pool, out, "hold_ns", alert->hold_wall_ns);
  put_time(pool, out, "paged_ns", alert->paged_wall_ns);
  put_time(pool, out, "acked_ns", alert->acked_wall_ns);
  put_time(pool, out, "resolved_ns", alert->resolved_wall_ns);
  if (alert->acked_by) value_put_text(pool, out, "acked_by", alert->acked_by);
  if (alert->why_paged) value_put_text(pool, out, "why_paged", alert->why_paged);
  if (alert->observe) value_put(pool, out, "observe", value_bool(true));
}

static char *copy_text(const struct value *document, const char *key)
{
  struct view text = value_get_text(document, key);
  return mem_must_copy_n(text.data ? text.data : "", text.size);
}

static void load_alert(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  if (json_parse(&pool, json, &document, &status) < 0) {
    engine_log(engine, "error", "alert %s in the store cannot be read: %s", id, status.text);
    pool_fini(&pool);
    return;
  }
  struct alert *alert = mem_must(sizeof *alert);
  snprintf(alert->id, sizeof alert->id, "%s", id);
  alert->engine = engine;
  alert->name = copy_text(&document, "name");
  alert->kind = copy_text(&document, "kind");
  alert->object = copy_text(&document, "object");
  alert->service = copy_text(&document, "service");
  alert->summary = copy_text(&document, "summary");
  alert->runbook = copy_text(&document, "runbook");
  char *severity = copy_text(&document, "severity");
  alert->severity = severity_number(severity) >= 0 ? severity_number(severity) : 1;
  mem_free(severity);
  alert->episode = (uint32_t)value_get_integer(&document, "episode", 0);
  alert->opened_wall_ns = value_get_integer(&document, "opened_ns", 0);
  alert->hold_wall_ns = value_get_integer(&document, "hold_ns", 0);
  alert->paged_wall_ns = value_get_integer(&document, "paged_ns", 0);
  alert->acked_wall_ns = value_get_integer(&document, "acked_ns", 0);
  alert->resolved_wall_ns = value_get_integer(&document, "resolved_ns", 0);
  alert->observe = value_get_bool(&document, "observe", false);
  alert->of_rule = value_get_bool(&document, "of_rule", false);
  struct view silenced = value_get_text(&document, "silenced");
  snprintf(alert->silenced, sizeof alert->silenced, "%.*s", (int)silenced.size, silenced.data ? silenced.data : "");
  alert->onset_wall_ns = value_get_integer(&document, "onset_ns", 0);
  if (value_get(&document, "evidence")) alert->evidence = copy_text(&document, "evidence");
  if (value_get(&document, "labels")) value_copy(&alert->pool, &alert->labels, value_get(&document, "labels"));
  if (value_get(&document, "acked_by")) alert->acked_by = copy_text(&document, "acked_by");
  if (value_get(&document, "why_paged")) alert->why_paged = copy_text(&document, "why_paged");
  CHECK(map_put(&engine->alerts, view_of(alert->id), alert) == 0);
  pool_fini(&pool);
}

void alerts_load(nines *engine)
{
  engine->door.documents(engine->door.self, "alert", load_alert, engine);
}

static void take_up_hold(nines *engine, struct alert *alert, bool handled)
{
  engine_log(engine, "info", "resumed: alert %s (%s) is still open", alert->id,
             alert->of_rule ? alert->name : alert->object);
  if (alert->paged_wall_ns) return;
  alert->rerun = handled;
  if (alert->rerun)
    set_hold(alert);
  else
    alert_page(engine, alert, NULL, NULL, NULL, "no handler");
}

static void take_up_rule(nines *engine, struct alert *alert)
{
  struct rule_instance *instance = rule_instance_of(engine, alert->name, alert->object);
  alert->orphan = !instance;
  if (!instance) return;
  if (instance->fresh && instance->alarm->state != ALARM_FIRING) { // the arena is new but the store remembers
    *instance->alarm = (struct alarm){ .state = ALARM_FIRING,
                                       .since_ns = engine->now_ns - (engine->wall_ns - alert->opened_wall_ns),
                                       .active_ns = engine->now_ns,
                                       .episode = alert->episode };
  }
  if (instance->alarm->state != ALARM_FIRING)
    alert_rule_resolved(engine, instance, NULL);
  else
    take_up_hold(engine, alert, scripts_handles(engine->scripts, "alert.firing", alert->name));
}

// An open alert of an earlier life: does its breach last, who pages when?
static void take_up(nines *engine, struct alert *alert)
{
  if (alert->of_rule) {
    take_up_rule(engine, alert);
    return;
  }
  struct path *path = path_find(engine, alert->object);
  alert->orphan = !path || !path->declared_by;
  if (alert->orphan) return; // not declared in this life: the alert waits for its policy, or for a person
  if (path->fresh && !path->state->breached) {
    // The arena is new but the store remembers: silence is no recovery.
    path->state->breached = 1;
    path->state->episode = alert->episode;
    path->state->since_ns = engine->now_ns;
    if (path->settings.success_rate > 0)
      path->state->success.state = BREACH_BREACHED;
    else
      path->state->latency.state = BREACH_BREACHED;
  }
  if (!path->state->breached) {
    alert_recovered(engine, path);
    return;
  }
  take_up_hold(engine, alert, scripts_handles(engine->scripts, "critical_path.breached", alert->object));
}

// Fired, but the alert was not stored yet when the engine died.
static void open_missing(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->rules, &at));) {
    struct rule *rule = entry->value;
    for (uint32_t i = 0; i < rule->count; i++)
      if (rule->instances[i].alarm->state == ALARM_FIRING) alert_rule_fired(engine, &rule->instances[i]);
  }
}

void alerts_reconcile(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (!alert->resolved_wall_ns) take_up(engine, alert);
  }
  for (uint32_t i = 0; i < engine->path_count; i++) {
    struct path *path = engine->path_index[i];
    if (!path->state->breached || alert_of(engine, "critical_path", path->name)) continue;
    struct alert *alert =
        alert_open(engine, path); // the breach was seen, the alert not yet stored, when the engine died
    alert->rerun = !alert->paged_wall_ns;
  }
  open_missing(engine);
}

void alerts_republish(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (alert->of_rule && !alert->resolved_wall_ns && alert_wants_handler(alert)) alert_publish(alert, "alert.firing");
  }
}

double alerts_mttd_s(const nines *engine)
{
  double sum = 0;
  uint32_t count = 0;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    const struct alert *alert = entry->value;
    if (!alert->onset_wall_ns) continue;
    sum += (double)(alert->opened_wall_ns - alert->onset_wall_ns) / NS_PER_S;
    count++;
  }
  return count ? sum / count : -1;
}

void alerts_adopt(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (!alert->resolved_wall_ns && alert->orphan) take_up(engine, alert);
  }
}

void alerts_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) alert_save(entry->value);
}

void alerts_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) alert_free(entry->value);
  map_fini(&engine->alerts);
}
