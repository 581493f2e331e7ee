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
  engine_publish(alert->engine, topic, alert->object, &document);
  pool_fini(&pool);
}

struct alert *alert_of(const nines *engine, const char *kind, const char *object)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    struct alert *alert = entry->value;
    if (!alert->resolved_wall_ns && strcmp(alert->kind, kind) == 0 && strcmp(alert->object, object) == 0) return alert;
  }
  return NULL;
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

struct alert *alert_open(nines *engine, struct path *path)
{
  struct alert *alert = alert_of(engine, "critical_path", path->name);
  if (alert) return alert;
  struct pool pool = { 0 };
  const struct path_settings *settings = &path->settings;
  alert = mem_must(sizeof *alert);
  engine_new_id(engine, "a", alert->id);
  alert->engine = engine;
  alert->name = mem_must_copy(path_alert);
  alert->kind = mem_must_copy("critical_path");
  alert->object = mem_must_copy(path->name);
  alert->service = mem_must_copy(settings->service ? settings->service : "");
  alert->severity = settings->severity;
  alert->episode = path->state->episode;
  alert->summary = mem_must_copy(path_summary(path, &pool));
  alert->runbook = mem_must_copy(settings->runbook ? settings->runbook : "");
  alert->opened_wall_ns = engine->wall_ns;
  alert->observe = settings->observe || engine->observe;
  pool_fini(&pool);
  CHECK(map_put(&engine->alerts, view_of(alert->id), alert) == 0);
  forget_closed(engine);
  if (scripts_handles(engine->scripts, "critical_path.breached", path->name)) {
    int64_t hold_ns = settings->page_after_ns >= 0 ? settings->page_after_ns : engine->settings->page_after_ns;
    alert->hold_wall_ns = engine->wall_ns + hold_ns;
    set_hold(alert);
  }
  engine_log(engine, "warn", "%s %s", severity_name(alert->severity), alert->summary);
  alert_publish(alert, "alert.firing");
  if (alert->hold_wall_ns)
    alert_save(alert);
  else
    alert_page(engine, alert, NULL, NULL, NULL, "no handler");
  return alert;
}

struct value *alert_labels(const struct alert *alert, struct pool *pool)
{
  struct value *labels = pool_alloc(pool, sizeof *labels);
  CHECK(labels);
  *labels = value_table();
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

bool alert_page(nines *engine, struct alert *alert, const char *severity, const char *title, const char *text,
                const char *why)
{
  if (alert->paged_wall_ns || alert->resolved_wall_ns) return false;
  struct pool pool = { 0 };
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

void alert_recovered(nines *engine, struct path *path)
{
  struct alert *alert = alert_of(engine, "critical_path", path->name);
  if (!alert) return;
  alert->resolved_wall_ns = engine->wall_ns;
  engine_timer_stop(engine, &alert->timer);
  if (alert->paged_wall_ns && !alert->observe) {
    struct pool pool = { 0 };
    struct value *annotations = alert_annotations(alert, NULL, &pool);
    value_put_text(&pool, annotations, "resolution", path_recovery(path, &pool));
    struct letter_draft draft = { .kind = "page",
                                  .status = "resolved",
                                  .alert = alert->id,
                                  .severity = severity_name(alert->severity),
                                  .title = path_recovery(path, &pool),
                                  .text = "recovered",
                                  .service = alert->service,
                                  .labels = alert_labels(alert, &pool),
                                  .annotations = annotations,
                                  .started_wall_ns = alert->opened_wall_ns,
                                  .ended_wall_ns = alert->resolved_wall_ns };
    letters_resolve(engine, &draft);
    pool_fini(&pool);
  }
  engine_log(engine, "info", "%s has recovered", alert->object);
  alert_publish(alert, "alert.resolved");
  alert_save(alert);
}

void alert_handler_end(nines *engine, const struct caller *caller, enum task_end end, const char *why)
{
  if (end == TASK_DONE || strcmp(caller->topic, "critical_path.breached") != 0) return;
  struct alert *alert = alert_of(engine, "critical_path", caller->name);
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
                                         : "held");
  value_put(pool, out, "episode", value_integer(alert->episode));
  value_put_text(pool, out, "summary", alert->summary);
  value_put_text(pool, out, "runbook", alert->runbook);
  put_time(pool, out, "opened_ns", alert->opened_wall_ns);
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
  if (value_get(&document, "acked_by")) alert->acked_by = copy_text(&document, "acked_by");
  if (value_get(&document, "why_paged")) alert->why_paged = copy_text(&document, "why_paged");
  CHECK(map_put(&engine->alerts, view_of(alert->id), alert) == 0);
  pool_fini(&pool);
}

void alerts_load(nines *engine)
{
  engine->door.documents(engine->door.self, "alert", load_alert, engine);
}

// An open alert of an earlier life: does its breach last, who pages when?
static void take_up(nines *engine, struct alert *alert)
{
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
  engine_log(engine, "info", "resumed: alert %s (%s) is still open", alert->id, alert->object);
  if (alert->paged_wall_ns) return;
  alert->rerun = scripts_handles(engine->scripts, "critical_path.breached", alert->object);
  if (alert->rerun)
    set_hold(alert);
  else
    alert_page(engine, alert, NULL, NULL, NULL, "no handler");
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
