// /metrics: the seed's names for what users look at, nines_* for the engine itself. Every limit is also a gauge.

#include <string.h>

#include "alert.h"
#include "duration.h"
#include "flag.h"
#include "letter.h"
#include "overview.h"
#include "path.h"
#include "protection_overview.h"
#include "rule.h"
#include "service.h"
#include "slo.h"

static void one(struct expose *expose, const char *name, enum expose_type type, const char *help, double value)
{
  expose_family(expose, name, type, help);
  expose_sample(expose, "", NULL, value);
}

static void path_metrics(nines *engine, struct expose *expose)
{
  double value;
  expose_family(expose, "detection_critical_path_success_rate", EXPOSE_GAUGE,
                "Percent of requests that succeeded, over the path's window.");
  for (uint32_t i = 0; i < engine->path_count; i++) {
    const struct path *path = engine->path_index[i];
    if (path_field(path, "success_rate", 0, &value))
      expose_sample(expose, "", (struct expose_label[]){ { "path", path->name }, { 0 } }, value);
  }
  expose_family(expose, "detection_critical_path_latency_ms", EXPOSE_SUMMARY,
                "Latency over the path's window, in milliseconds.");
  for (uint32_t i = 0; i < engine->path_count; i++) {
    const struct path *path = engine->path_index[i];
    static const char *const fields[] = { "p50", "p95", "p99" };
    static const char *const quantiles[] = { "0.5", "0.95", "0.99" };
    for (int q = 0; q < 3; q++)
      if (path_field(path, fields[q], 0, &value))
        expose_sample(expose, "",
                      (struct expose_label[]){ { "path", path->name }, { "quantile", quantiles[q] }, { 0 } },
                      value * 1000);
    struct expose_label labels[] = { { "path", path->name }, { 0 } };
    expose_sample(expose, "_sum", labels, (double)path->seen_sum_us / 1000);
    expose_sample(expose, "_count", labels, (double)path->seen_timed);
  }
  expose_family(expose, "nines_path_requests_total", EXPOSE_COUNTER, "Observations of the path.");
  for (uint32_t i = 0; i < engine->path_count; i++)
    expose_sample(expose, "", (struct expose_label[]){ { "path", engine->path_index[i]->name }, { 0 } },
                  (double)engine->path_index[i]->seen.total);
  expose_family(expose, "nines_path_failures_total", EXPOSE_COUNTER, "Observations of the path that failed.");
  for (uint32_t i = 0; i < engine->path_count; i++)
    expose_sample(expose, "", (struct expose_label[]){ { "path", engine->path_index[i]->name }, { 0 } },
                  (double)engine->path_index[i]->seen.bad);
  expose_family(expose, "nines_path_breached", EXPOSE_GAUGE, "1 while an objective of the path is breached.");
  for (uint32_t i = 0; i < engine->path_count; i++)
    expose_sample(expose, "", (struct expose_label[]){ { "path", engine->path_index[i]->name }, { 0 } },
                  engine->path_index[i]->state->breached);
  expose_family(expose, "nines_path_burn_rate", EXPOSE_GAUGE,
                "Error budget spent over the window, 1 = exactly the budget.");
  for (uint32_t i = 0; i < engine->path_count; i++)
    if (path_field(engine->path_index[i], "burn", 0, &value))
      expose_sample(expose, "", (struct expose_label[]){ { "path", engine->path_index[i]->name }, { 0 } }, value);
}

static void mitigation_metrics(nines *engine, struct expose *expose)
{
  size_t at = 0;
  expose_family(expose, "mitigation_rollbacks_total", EXPOSE_COUNTER, "Rollbacks done since the start.");
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    const struct service *service = entry->value;
    expose_sample(expose, "", (struct expose_label[]){ { "service", service->name }, { 0 } },
                  (double)service->rollbacks);
  }
  expose_family(expose, "mitigation_feature_flags_disabled", EXPOSE_GAUGE,
                "1 while the flag is off although its default is on.");
  at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->flags, &at));) {
    const struct flag *flag = entry->value;
    expose_sample(expose, "", (struct expose_label[]){ { "feature", flag->name }, { 0 } }, flag->standard && !flag->on);
  }
}

static void slo_family(nines *engine, struct expose *expose, const char *name, const char *help, const char *field)
{
  size_t at = 0;
  expose_family(expose, name, EXPOSE_GAUGE, help);
  for (struct map_entry *entry; (entry = map_next(&engine->slos, &at));) {
    const struct slo *slo = entry->value;
    double value;
    if (slo->declared_by && slo_read(slo, slo_field_number(field), 0, &value))
      expose_sample(expose, "", (struct expose_label[]){ { "slo", slo->name }, { 0 } }, value);
  }
}

static void slo_metrics(nines *engine, struct expose *expose)
{
  size_t at = 0;
  expose_family(expose, "nines_slo_objective_percent", EXPOSE_GAUGE, "What was promised.");
  for (struct map_entry *entry; (entry = map_next(&engine->slos, &at));) {
    const struct slo *slo = entry->value;
    if (slo->declared_by)
      expose_sample(expose, "", (struct expose_label[]){ { "slo", slo->name }, { 0 } }, slo->settings.objective);
  }
  slo_family(engine, expose, "nines_slo_success_percent", "Good ones of the last hour.", "success_rate");
  slo_family(engine, expose, "nines_slo_burn_rate", "Of the last hour; 1 spends exactly the budget.", "burn");
  slo_family(engine, expose, "nines_slo_budget_left_percent", "Of the error budget of the window.", "budget_left");
  one(expose, "nines_slos", EXPOSE_GAUGE, "SLOs.", (double)engine->slos.count);
  one(expose, "nines_slos_max", EXPOSE_GAUGE, "Limit of SLOs.", SLOS_MAX);
}

static void alert_metrics(nines *engine, struct expose *expose)
{
  double open[3] = { 0 };
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    const struct alert *alert = entry->value;
    if (!alert->resolved_wall_ns && alert->severity >= 0 && alert->severity < 3) open[alert->severity]++;
  }
  expose_family(expose, "nines_alerts_open", EXPOSE_GAUGE, "Alerts that are not resolved.");
  for (int i = 0; i < 3; i++)
    expose_sample(expose, "", (struct expose_label[]){ { "severity", severity_name(i) }, { 0 } }, open[i]);
  double mttd_s = alerts_mttd_s(engine);
  if (mttd_s >= 0)
    one(expose, "reliability_mttd_seconds", EXPOSE_GAUGE,
        "Mean time from onset, as estimated, to alert, of the alerts that are still held.", mttd_s);
  one(expose, "nines_alert_rules", EXPOSE_GAUGE, "Alert rules.", (double)engine->rules.count);
  one(expose, "nines_alert_rules_max", EXPOSE_GAUGE, "Limit of alert rules.", RULES_MAX);
  one(expose, "nines_pages_total", EXPOSE_COUNTER, "Pages that policies or the engine asked for.",
      (double)engine->figures.pages);
  one(expose, "nines_notifications_total", EXPOSE_COUNTER, "Notifications that policies asked for.",
      (double)engine->figures.notifications);
  one(expose, "nines_deliveries_total", EXPOSE_COUNTER, "Letters delivered to notifiers.",
      (double)engine->figures.deliveries);
  one(expose, "nines_delivery_failures_total", EXPOSE_COUNTER, "Attempts to deliver that failed.",
      (double)engine->figures.delivery_failures);
  one(expose, "nines_outbox_letters", EXPOSE_GAUGE, "Letters not delivered yet.", letters_pending(engine));
  one(expose, "nines_outbox_letters_max", EXPOSE_GAUGE, "Limit of letters in the outbox.", LETTERS_MAX);
}

static double kills_of(const struct script_info *info, int kind)
{
  return (double)info->usage.kills[kind];
}

static void script_family(nines *engine, struct expose *expose, const char *name, enum expose_type type,
                          const char *help, double (*read)(const struct script_info *info))
{
  expose_family(expose, name, type, help);
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    if (!scripts_info(engine->scripts, i, &info)) continue;
    expose_sample(expose, "", (struct expose_label[]){ { "policy", info.file }, { 0 } }, read(&info));
  }
}

static double read_bytes(const struct script_info *info)
{
  return (double)info->usage.bytes;
}
static double read_bytes_max(const struct script_info *info)
{
  return (double)info->usage.bytes_max;
}
static double read_instructions(const struct script_info *info)
{
  return (double)info->usage.instructions_peak;
}
static double read_instructions_max(const struct script_info *info)
{
  return (double)info->usage.instructions_max;
}
static double read_cpu(const struct script_info *info)
{
  return (double)info->usage.wall_ns_peak / NS_PER_S;
}
static double read_loads(const struct script_info *info)
{
  return (double)info->loads;
}
static double read_errors(const struct script_info *info)
{
  return (double)info->errors;
}
static double read_skipped(const struct script_info *info)
{
  return (double)info->skipped;
}
static double read_tasks(const struct script_info *info)
{
  return (double)info->tasks;
}

static void policy_metrics(nines *engine, struct expose *expose)
{
  static const char *const kills[] = { NULL, "instructions", "time", "memory", "stopped" };
  script_family(engine, expose, "nines_policy_bytes", EXPOSE_GAUGE, "Memory of the policy.", read_bytes);
  script_family(engine, expose, "nines_policy_bytes_max", EXPOSE_GAUGE, "Limit of the policy's memory.",
                read_bytes_max);
  script_family(engine, expose, "nines_policy_instructions_peak", EXPOSE_GAUGE, "Most instructions in one turn.",
                read_instructions);
  script_family(engine, expose, "nines_policy_instructions_max", EXPOSE_GAUGE, "Limit of instructions in one turn.",
                read_instructions_max);
  script_family(engine, expose, "nines_policy_turn_seconds_peak", EXPOSE_GAUGE, "Longest turn of the policy.",
                read_cpu);
  script_family(engine, expose, "nines_policy_loads_total", EXPOSE_COUNTER, "Versions loaded.", read_loads);
  expose_family(expose, "nines_policy_rejections_total", EXPOSE_COUNTER, "Versions refused.");
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    if (!scripts_info(engine->scripts, i, &info)) continue;
    const struct held *held = map_get(&engine->held, view_of(info.file));
    expose_sample(expose, "", (struct expose_label[]){ { "policy", info.file }, { 0 } },
                  (double)(info.rejections + (held ? held->count : 0)));
  }
  script_family(engine, expose, "nines_policy_errors_total", EXPOSE_COUNTER, "Handlers that failed.", read_errors);
  script_family(engine, expose, "nines_policy_skipped_total", EXPOSE_COUNTER,
                "Timer runs skipped, the last one still running.", read_skipped);
  script_family(engine, expose, "nines_policy_tasks", EXPOSE_GAUGE, "Tasks of the policy.", read_tasks);
  expose_family(expose, "nines_policy_kills_total", EXPOSE_COUNTER, "Turns stopped, by limit.");
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    if (!scripts_info(engine->scripts, i, &info)) continue;
    for (int kind = 1; kind < 5; kind++)
      expose_sample(expose, "", (struct expose_label[]){ { "policy", info.file }, { "limit", kills[kind] }, { 0 } },
                    kills_of(&info, kind));
  }
}

void overview_metrics(nines *engine, struct expose *expose)
{
  struct arena_usage usage = arena_usage(engine->arena);
  path_metrics(engine, expose);
  mitigation_metrics(engine, expose);
  slo_metrics(engine, expose);
  alert_metrics(engine, expose);
  policy_metrics(engine, expose);
  protection_overview_metrics(engine, expose);
  one(expose, "nines_turns_total", EXPOSE_COUNTER, "Turns of the engine.", (double)engine->figures.turns);
  one(expose, "nines_beats_total", EXPOSE_COUNTER, "Beats of the engine.", (double)engine->figures.beats);
  one(expose, "nines_turn_seconds_max", EXPOSE_GAUGE, "Longest turn since the start, in CPU time of the loop thread.",
      (double)engine->figures.turn_ns_max / NS_PER_S);
  one(expose, "nines_uptime_seconds", EXPOSE_GAUGE, "Since the start.",
      (double)(engine->now_ns - engine->started_ns) / NS_PER_S);
  one(expose, "nines_paths", EXPOSE_GAUGE, "Critical paths.", engine->path_count);
  one(expose, "nines_paths_max", EXPOSE_GAUGE, "Limit of critical paths.", PATHS_MAX);
  one(expose, "nines_arena_bytes", EXPOSE_GAUGE, "Used of the arena.", (double)usage.used_bytes);
  one(expose, "nines_arena_bytes_max", EXPOSE_GAUGE, "Size of the arena.", (double)usage.size_bytes);
  one(expose, "nines_store_failures_total", EXPOSE_COUNTER, "Commits that failed.",
      (double)engine->figures.store_failures);
  one(expose, "nines_store_failing", EXPOSE_GAUGE, "1 while the engine cannot remember.", engine->store_failing);
}
