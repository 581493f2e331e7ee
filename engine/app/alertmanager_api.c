// Shapes: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml. Members that it requires are always
// there.

#include "alertmanager_api.h"

#include <stdlib.h>
#include <string.h>

#include "alert.h"
#include "clock.h"
#include "duration.h"
#include "hash.h"
#include "silence.h"

static int compare(const void *a, const void *b)
{
  const struct view x = (*(const struct member *const *)a)->key, y = (*(const struct member *const *)b)->key;
  int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
  return order ? order : (x.size > y.size) - (x.size < y.size);
}

uint64_t labels_fingerprint(const struct value *labels)
{
  const struct member *sorted[64];
  size_t count = labels->table.count < 64 ? labels->table.count : 64;
  uint64_t hash = HASH_START;
  for (size_t i = 0; i < count; i++) sorted[i] = &labels->table.members[i];
  qsort(sorted, count, sizeof *sorted, compare);
  for (size_t i = 0; i < count; i++) {
    struct view value = sorted[i]->value.type == VALUE_TEXT ? sorted[i]->value.text : view_of("");
    hash = hash_add(hash, sorted[i]->key.data, sorted[i]->key.size);
    hash = hash_add(hash, "\xff", 1);
    hash = hash_add(hash, value.data, value.size);
    hash = hash_add(hash, "\xff", 1);
  }
  return hash;
}

static void put_time(struct pool *pool, struct value *out, const char *key, int64_t wall_ns)
{
  char text[CLOCK_TEXT_MAX];
  value_put_text(pool, out, key, clock_format(wall_ns, text));
}

void alertmanager_status(nines *engine, struct pool *pool, struct value *out)
{
  struct value cluster = value_table(), config = value_table(), version = value_table();
  value_put_text(pool, &cluster, "status", "disabled");
  value_put(pool, &cluster, "peers", value_list());
  value_put_text(pool, &config, "original", "");
  static const char *const keys[] = { "branch", "buildDate", "buildUser", "goVersion", "revision" };
  value_put_text(pool, &version, "version", NINES_VERSION);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) value_put_text(pool, &version, keys[i], "");
  value_put(pool, out, "cluster", cluster);
  value_put(pool, out, "config", config);
  value_put(pool, out, "versionInfo", version);
  put_time(pool, out, "uptime", engine->wall_ns - (engine->now_ns - engine->started_ns));
}

static struct value receivers_of(nines *engine, struct pool *pool)
{
  struct value list = value_list();
  for (uint32_t i = 0; i < engine->settings->notifier_count; i++) {
    struct value item = value_table();
    value_put_text(pool, &item, "name", engine->settings->notifiers[i].name);
    value_append(pool, &list, item);
  }
  return list;
}

void alertmanager_receivers(nines *engine, struct pool *pool, struct value *out)
{
  *out = receivers_of(engine, pool);
}

static bool wanted(const struct alertmanager_filter *filter, const struct value *labels)
{
  for (uint32_t i = 0; i < filter->count; i++)
    if (!matcher_matches(filter->matchers[i], value_get_text(labels, matcher_name(filter->matchers[i])))) return false;
  return true;
}

static struct value alert_item(const struct alert *alert, const struct value *labels, const struct silence *silence,
                               struct pool *pool)
{
  nines *engine = alert->engine;
  struct value item = value_table(), annotations = value_table(), status = value_table(), by = value_list();
  value_put_text(pool, &annotations, "summary", alert->summary);
  value_put_text(pool, &annotations, "alert_id", alert->id);
  if (alert->runbook[0]) value_put_text(pool, &annotations, "runbook_url", alert->runbook);
  if (silence) value_append(pool, &by, value_text(pool_copy(pool, view_of(silence_id(silence)))));
  value_put_text(pool, &status, "state", silence ? "suppressed" : "active");
  value_put(pool, &status, "silencedBy", by);
  value_put(pool, &status, "inhibitedBy", value_list());
  value_put(pool, &item, "labels", *labels);
  value_put(pool, &item, "annotations", annotations);
  value_put(pool, &item, "status", status);
  value_put(pool, &item, "receivers", receivers_of(engine, pool));
  put_time(pool, &item, "startsAt", alert->opened_wall_ns);
  put_time(pool, &item, "endsAt", engine->wall_ns + 4 * NS_PER_MIN);
  put_time(pool, &item, "updatedAt", engine->wall_ns);
  value_put_format(pool, &item, "fingerprint", "%016llx", (unsigned long long)labels_fingerprint(labels));
  value_put_text(pool, &item, "generatorURL", engine->settings->public_url ? engine->settings->public_url : "");
  return item;
}

void alertmanager_alerts(nines *engine, const struct alertmanager_filter *filter, struct pool *pool, struct value *out)
{
  size_t at = 0;
  *out = value_list();
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));) {
    const struct alert *alert = entry->value;
    if (alert->resolved_wall_ns) continue;
    struct value *labels = alert_labels(alert, pool);
    const struct silence *silence = silence_of(engine, labels);
    if (!(silence ? filter->silenced : filter->active) || !wanted(filter, labels)) continue;
    value_append(pool, out, alert_item(alert, labels, silence, pool));
  }
}

// Those whose matchers' own names and values the filter matches, as in Alertmanager.
static bool silence_wanted(const struct value *document, const struct alertmanager_filter *filter, struct pool *pool)
{
  struct value labels = value_table();
  const struct value *matchers = value_get(document, "matchers");
  for (size_t i = 0; i < matchers->list.count; i++)
    value_put(pool, &labels, value_get_text(&matchers->list.items[i], "name").data,
              *value_get(&matchers->list.items[i], "value"));
  return wanted(filter, &labels);
}

void alertmanager_silences(nines *engine, const struct alertmanager_filter *filter, struct pool *pool,
                           struct value *out)
{
  size_t at = 0;
  *out = value_list();
  for (struct map_entry *entry; (entry = map_next(&engine->silences, &at));) {
    struct value item = value_table();
    silence_describe(entry->value, pool, &item);
    if (silence_wanted(&item, filter, pool)) value_append(pool, out, item);
  }
}
