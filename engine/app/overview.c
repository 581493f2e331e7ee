// Status and explanations: the numbers, the rule, the history.

#include "overview.h"

#include <string.h>

#include "alert.h"
#include "clients.h"
#include "clock.h"
#include "duration.h"
#include "flag.h"
#include "json.h"
#include "letter.h"
#include "nearest.h"
#include "path.h"
#include "protection_overview.h"
#include "rule.h"
#include "service.h"
#include "slo.h"

void overview_alerts(nines *engine, bool all, struct pool *pool, struct value *out)
{
  *out = value_list();
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    const struct alert *alert = entry->value;
    if (alert->resolved_wall_ns && !all) continue;
    struct value item = value_table();
    alert_describe(alert, pool, &item);
    value_append(pool, out, item);
  }
}

static void list_paths(nines *engine, struct pool *pool, struct value *out)
{
  struct value list = value_list();
  for (uint32_t i = 0; i < engine->path_count; i++) {
    struct value item = value_table();
    path_describe(engine->path_index[i], pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "paths", list);
}

void overview_slos(nines *engine, struct pool *pool, struct value *out)
{
  *out = value_list();
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->slos, &at));) {
    struct value item = value_table();
    const struct slo *slo = entry->value;
    if (!slo->declared_by) continue;
    slo_describe(slo, pool, &item);
    value_append(pool, out, item);
  }
}

static void describe_script(const nines *engine, const struct script_info *info, struct pool *pool, struct value *out)
{
  const struct held *held = map_get(&engine->held, view_of(info->file));
  value_put_text(pool, out, "file", info->file);
  value_put_text(pool, out, "state", info->state);
  if (info->error[0]) value_put_text(pool, out, "error", info->error);
  if (held && held->why) value_put_format(pool, out, "error", "a new version waits, its spec fails: %s", held->why);
  value_put(pool, out, "loads", value_integer((int64_t)info->loads));
  value_put(pool, out, "rejections", value_integer((int64_t)(info->rejections + (held ? held->count : 0))));
  value_put(pool, out, "tasks", value_integer((int64_t)info->tasks));
  value_put(pool, out, "errors", value_integer((int64_t)info->errors));
  value_put(pool, out, "skipped", value_integer((int64_t)info->skipped));
  value_put(pool, out, "joined", value_integer((int64_t)info->joined));
  value_put(pool, out, "bytes", value_integer((int64_t)info->usage.bytes));
  value_put(pool, out, "bytes_max", value_integer((int64_t)info->usage.bytes_max));
  value_put(pool, out, "instructions_peak", value_integer((int64_t)info->usage.instructions_peak));
  uint64_t kills = 0;
  for (int i = 1; i < 5; i++) kills += info->usage.kills[i];
  value_put(pool, out, "kills", value_integer((int64_t)kills));
}

static void list_scripts(nines *engine, struct pool *pool, struct value *out)
{
  struct value list = value_list();
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    struct value item = value_table();
    if (!scripts_info(engine->scripts, i, &info)) continue;
    describe_script(engine, &info, pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "policies", list);
}

static void list_rest(nines *engine, struct pool *pool, struct value *out)
{
  struct value list = value_list();
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    struct value item = value_table();
    service_describe(entry->value, pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "services", list);
  list = value_list();
  at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->flags, &at));) {
    struct value item = value_table();
    flag_describe(entry->value, pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "flags", list);
}

void overview_status(nines *engine, struct pool *pool, struct value *out)
{
  struct value alerts;
  char text[CLOCK_TEXT_MAX];
  value_put_text(pool, out, "version", NINES_VERSION);
  value_put_text(pool, out, "mode", engine->observe ? "observe" : "act");
  value_put_text(pool, out, "time", clock_format(engine->wall_ns, text));
  value_put(pool, out, "uptime_s", value_number((double)(engine->now_ns - engine->started_ns) / NS_PER_S));
  value_put_text(pool, out, "store", engine->store_failing ? "failing" : "ok");
  if (engine->store_failing) value_put_text(pool, out, "store_error", engine->store_error);
  value_put(pool, out, "outbox", value_integer(letters_pending(engine)));
  value_put(pool, out, "attached_processes", value_integer(clients_usage(&engine->guards).processes));
  overview_alerts(engine, false, pool, &alerts);
  value_put(pool, out, "alerts", alerts);
  list_paths(engine, pool, out);
  struct value slos;
  overview_slos(engine, pool, &slos);
  value_put(pool, out, "slos", slos);
  list_scripts(engine, pool, out);
  list_rest(engine, pool, out);
  struct value active;
  protection_overview_active(engine, pool, &active);
  value_put(pool, out, "protections", active);
}

// What an event says of why, if it does.
static void put_why(const struct event *event, struct pool *pool, struct value *out)
{
  static const char *const keys[] = { "cause", "reason", "why" };
  struct value payload;
  struct status ignored = { 0 };
  if (json_parse(pool, view_of(event->json), &payload, &ignored) < 0) return;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    struct view text = value_get_text(&payload, keys[i]);
    if (!text.size) continue;
    value_put(pool, out, "why", value_view(text));
    return;
  }
}

// The events about `name` that are still in the ring, oldest first.
static void history(nines *engine, const char *name, struct pool *pool, struct value *out)
{
  struct value list = value_list();
  uint64_t after = 0;
  for (const struct event *event; (event = events_after(engine->events, after)); after = event->sequence) {
    if (strcmp(event->name, name) != 0) continue;
    struct value item = value_table();
    char text[CLOCK_TEXT_MAX];
    value_put_text(pool, &item, "time", clock_format(event->wall_ns, text));
    value_put_text(pool, &item, "topic", event->topic);
    put_why(event, pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "history", list);
}

static const char *path_rule(const struct path *path, struct pool *pool)
{
  struct buf out = { 0 };
  char window[DURATION_TEXT_MAX], recovery[DURATION_TEXT_MAX], limit[DURATION_TEXT_MAX];
  const struct path_settings *settings = &path->settings;
  duration_format(settings->window_ns, window);
  duration_format(settings->recovery_window_ns, recovery);
  if (settings->success_rate > 0)
    buf_printf(&out, "at least %.6g%% of requests succeed over %s", settings->success_rate, window);
  if (settings->latency_q > 0)
    buf_printf(&out, "%sat least %.4g%% are answered within %s over %s", out.size ? "; " : "",
               100 * settings->latency_q, duration_format(settings->latency_ns, limit), window);
  if (out.size)
    buf_printf(&out,
               ". Breached when it is worse and chance alone would give that with a probability of at most 1e-6; "
               "recovered when it is met over %s with at least %lld requests",
               recovery, (long long)settings->min_requests);
  else
    buf_text(&out, "no policy declares an objective for this path");
  const char *text = pool_copy(pool, buf_view(&out));
  buf_free(&out);
  return text;
}

static void try_map(struct nearest *nearest, const struct map *map)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(map, &at));) nearest_try(nearest, entry->key);
}

static bool explain_script(nines *engine, const char *name, struct pool *pool, struct value *out)
{
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    if (!scripts_info(engine->scripts, i, &info) || strcmp(info.file, name) != 0) continue;
    struct value item = value_table();
    describe_script(engine, &info, pool, &item);
    value_put(pool, out, "policy", item);
    return true;
  }
  return false;
}

int overview_explain(nines *engine, const char *name, struct pool *pool, struct value *out, struct status *status)
{
  bool found = explain_script(engine, name, pool, out);
  if (protection_overview_explain(engine, name, pool, out)) found = true;
  const struct path *path = path_find(engine, name);
  if (path) {
    struct value item = value_table();
    path_describe(path, pool, &item);
    value_put_text(pool, &item, "summary", path_summary(path, pool));
    value_put_text(pool, &item, "rule", path_rule(path, pool));
    value_put(pool, out, "critical_path", item);
    const struct alert *alert = alert_of(engine, "critical_path", name);
    if (alert) {
      struct value alert_item = value_table();
      alert_describe(alert, pool, &alert_item);
      value_put(pool, out, "alert", alert_item);
    }
    found = true;
  }
  const struct slo *slo = slo_find(engine, name);
  const struct rule *rule = rule_find(engine, name);
  if (slo) {
    struct value item = value_table();
    slo_describe(slo, pool, &item);
    value_put(pool, out, "slo", item);
    found = true;
  }
  if (rule && rule->declared_by) {
    struct value item = value_table();
    rule_describe(rule, pool, &item);
    value_put(pool, out, "rule", item);
    found = true;
  }
  const struct alert *alert = map_get(&engine->alerts, view_of(name));
  const struct service *service = service_find(engine, name);
  const struct flag *flag = flag_find(engine, name);
  struct value item = value_table();
  if (alert) {
    alert_describe(alert, pool, &item);
    value_put(pool, out, "alert", item);
    name = alert->object[0] ? alert->object : name;
  } else if (service) {
    service_describe(service, pool, &item);
    value_put(pool, out, "service", item);
  } else if (flag) {
    flag_describe(flag, pool, &item);
    value_put(pool, out, "flag", item);
  } else if (!found) {
    struct nearest nearest;
    nearest_init(&nearest, view_of(name));
    try_map(&nearest, &engine->paths);
    try_map(&nearest, &engine->services);
    try_map(&nearest, &engine->flags);
    try_map(&nearest, &engine->slos);
    try_map(&nearest, &engine->rules);
    protection_overview_nearest(engine, &nearest);
    return status_set(status, NINES_ENOTFOUND, "nothing here is called \"%s\"%s%s%s", name,
                      nearest.best ? " (did you mean \"" : "", nearest.best ? nearest.best : "",
                      nearest.best ? "\"?)" : "; `nines status` lists what there is");
  }
  history(engine, name, pool, out);
  return 0;
}
