// A notifier is a name with exactly one kind under it; a route is a filter and names of notifiers. A route to nobody
// known is an error here, at start-up, because later it would be a page to nobody.

#include "notifier.h"

#include <stdio.h>
#include <string.h>

#include "duration.h"
#include "nearest.h"
#include "secret.h"

enum { TO_MAX = 50, SHOWN_MAX = 60 };

static const char *const severities[] = { "P0", "P1", "P2", NULL };

struct http_keys {
  const char *url;
  const struct value *secret;
  int64_t timeout_ns;
};

#define TIMEOUT_FIELD(type_, member)                                                                                   \
  {                                                                                                                    \
    .key = "timeout", .type = SCHEMA_INTERVAL, .offset = offsetof(type_, member), .min = 1e8, .max = 6e11              \
  }

static const struct schema_field alertmanager_fields[] = {
  { .key = "url", .type = SCHEMA_TEXT, .offset = offsetof(struct http_keys, url), .required = true },
  TIMEOUT_FIELD(struct http_keys, timeout_ns),
  { 0 },
};
static const struct schema_field webhook_fields[] = {
  { .key = "url", .type = SCHEMA_TEXT, .offset = offsetof(struct http_keys, url), .required = true },
  { .key = "secret", .type = SCHEMA_VALUE, .offset = offsetof(struct http_keys, secret) },
  TIMEOUT_FIELD(struct http_keys, timeout_ns),
  { 0 },
};

static int read_secret(const struct reading *reading, const char *path, const char *key, const struct value *value,
                       const char **out)
{
  path = reading_path(reading, path, view_of(key));
  if (!path) return reading_no_memory(reading);
  if (value->type != VALUE_TEXT) // not shown: it may be one that only looks like a number
    return reading_fail(reading, value->line, path, "%s is no text; put it in quotes", value_type_name(value));
  struct status inner = { 0 };
  if (secret_expand(reading->pool, value->text.data, reading->dir, out, &inner) < 0)
    return reading_fail(reading, value->line, path, "%s", inner.text);
  if (!(*out)[0]) return reading_fail(reading, value->line, path, "it is empty");
  return 0;
}

static int read_http(const struct reading *reading, const char *path, const struct value *table,
                     struct notifier_settings *notifier)
{
  bool webhook = notifier->type == NOTIFIER_WEBHOOK;
  struct http_keys keys = { .timeout_ns = notifier->timeout_ns };
  int code = reading_table(reading, path, table, webhook ? webhook_fields : alertmanager_fields, NULL, &keys);
  if (code < 0) return code;
  const char *url_path = reading_path(reading, path, view_of("url"));
  if (!url_path) return reading_no_memory(reading);
  uint32_t line = value_get(table, "url")->line;
  code = reading_url(reading, line, url_path, keys.url, &notifier->url);
  if (code < 0) return code;
  if (!webhook && strstr(notifier->url, "/api/v"))
    return reading_fail(reading, line, url_path, "has /api/... in it; write Alertmanager's base URL alone");
  notifier->timeout_ns = keys.timeout_ns;
  return keys.secret ? read_secret(reading, path, "secret", keys.secret, &notifier->secret) : 0;
}

// Services that have an address of their own; `url` is for tests and relays.
struct service_keys {
  const char *url, *site;
  const struct value *key;
  int64_t timeout_ns;
};

static const struct schema_field pagerduty_fields[] = {
  { .key = "routing_key", .type = SCHEMA_VALUE, .offset = offsetof(struct service_keys, key), .required = true },
  { .key = "url", .type = SCHEMA_TEXT, .offset = offsetof(struct service_keys, url) },
  TIMEOUT_FIELD(struct service_keys, timeout_ns),
  { 0 },
};
static const struct schema_field slack_fields[] = {
  { .key = "url", .type = SCHEMA_TEXT, .offset = offsetof(struct service_keys, url), .required = true },
  TIMEOUT_FIELD(struct service_keys, timeout_ns),
  { 0 },
};
static const struct schema_field datadog_fields[] = {
  { .key = "api_key", .type = SCHEMA_VALUE, .offset = offsetof(struct service_keys, key), .required = true },
  { .key = "site", .type = SCHEMA_TEXT, .offset = offsetof(struct service_keys, site), .fallback = "datadoghq.com" },
  { .key = "url", .type = SCHEMA_TEXT, .offset = offsetof(struct service_keys, url) },
  TIMEOUT_FIELD(struct service_keys, timeout_ns),
  { 0 },
};

static int read_url(const struct reading *reading, const char *path, const struct value *table,
                    const struct service_keys *keys, struct notifier_settings *notifier)
{
  const struct value *given = value_get(table, "url");
  const char *url_path = reading_path(reading, path, view_of("url"));
  struct buf standard = { 0 };
  if (notifier->type == NOTIFIER_PAGERDUTY) buf_text(&standard, "https://events.pagerduty.com/v2/enqueue");
  if (notifier->type == NOTIFIER_DATADOG) buf_printf(&standard, "https://api.%s", keys->site);
  const char *url = keys->url ? keys->url : pool_copy(reading->pool, buf_view(&standard));
  buf_free(&standard);
  if (!url_path || !url) return reading_no_memory(reading);
  return reading_url(reading, given ? given->line : table->line, url_path, url, &notifier->url);
}

static int read_service(const struct reading *reading, const char *path, const struct value *table,
                        struct notifier_settings *notifier)
{
  struct service_keys keys = { .timeout_ns = notifier->timeout_ns };
  const struct schema_field *fields = notifier->type == NOTIFIER_PAGERDUTY ? pagerduty_fields
                                      : notifier->type == NOTIFIER_SLACK   ? slack_fields
                                                                           : datadog_fields;
  int code = reading_table(reading, path, table, fields, NULL, &keys);
  if (code == 0) code = read_url(reading, path, table, &keys, notifier);
  if (code < 0) return code;
  notifier->timeout_ns = keys.timeout_ns;
  const char *key = notifier->type == NOTIFIER_PAGERDUTY ? "routing_key" : "api_key";
  return keys.key ? read_secret(reading, path, key, keys.key, &notifier->secret) : 0;
}

struct notifier_keys {
  const struct value *kinds[NOTIFIER_TYPES]; // by enum notifier_type
  int64_t timeout_ns;
};

static const struct schema_field notifier_fields[] = {
  { .key = "alertmanager", .type = SCHEMA_VALUE, .offset = offsetof(struct notifier_keys, kinds[0]) },
  { .key = "webhook", .type = SCHEMA_VALUE, .offset = offsetof(struct notifier_keys, kinds[1]) },
  { .key = "command", .type = SCHEMA_VALUE, .offset = offsetof(struct notifier_keys, kinds[2]) },
  { .key = "pagerduty", .type = SCHEMA_VALUE, .offset = offsetof(struct notifier_keys, kinds[3]) },
  { .key = "slack", .type = SCHEMA_VALUE, .offset = offsetof(struct notifier_keys, kinds[4]) },
  { .key = "datadog", .type = SCHEMA_VALUE, .offset = offsetof(struct notifier_keys, kinds[5]) },
  TIMEOUT_FIELD(struct notifier_keys, timeout_ns),
  { 0 },
};

static int read_notifier(const struct reading *reading, const struct member *member, const char *path,
                         struct notifier_settings *notifier)
{
  static const char *const later[] = { "email", NULL };
  static const char *const kinds[] = { "alertmanager", "webhook", "command", "pagerduty", "slack", "datadog" };
  struct notifier_keys keys = { 0 };
  int code = reading_table(reading, path, &member->value, notifier_fields, later, &keys);
  if (code < 0) return code;
  int found = 0;
  for (int i = 0; i < NOTIFIER_TYPES; i++) {
    if (!keys.kinds[i]) continue;
    notifier->type = (enum notifier_type)i;
    found++;
  }
  if (found != 1)
    return reading_fail(
        reading, member->value.line, path,
        "%s of alertmanager, pagerduty, slack, datadog, webhook and command; a notifier has exactly one",
        found ? "several" : "none");
  notifier->name = pool_copy(reading->pool, member->key);
  notifier->timeout_ns = keys.timeout_ns ? keys.timeout_ns : 10 * NS_PER_S;
  const char *kind_path = reading_path(reading, path, view_of(kinds[notifier->type]));
  if (!notifier->name || !kind_path) return reading_no_memory(reading);
  const struct value *kind = keys.kinds[notifier->type];
  if (notifier->type == NOTIFIER_COMMAND) return reading_argv(reading, kind_path, kind, &notifier->argv);
  if (keys.timeout_ns)
    return reading_fail(reading, value_get(&member->value, "timeout")->line, path,
                        "timeout stands beside %s; write it inside", kinds[notifier->type]);
  if (notifier->type >= NOTIFIER_PAGERDUTY) return read_service(reading, kind_path, kind, notifier);
  return read_http(reading, kind_path, kind, notifier);
}

int notifiers_read(const struct reading *reading, const struct value *notify, struct settings *settings)
{
  int code = reading_names(reading, "notify", notify, NOTIFIERS_MAX);
  if (code < 0 || !notify || notify->type != VALUE_TABLE) return code;
  settings->notifiers = pool_alloc(reading->pool, (notify->table.count + 1) * sizeof *settings->notifiers);
  if (!settings->notifiers) return reading_no_memory(reading);
  for (size_t i = 0; i < notify->table.count; i++) {
    const struct member *member = &notify->table.members[i];
    const char *path = reading_path(reading, "notify", member->key);
    if (!path) return reading_no_memory(reading);
    code = read_notifier(reading, member, path, &settings->notifiers[i]);
    if (code < 0) return code;
    settings->notifier_count++;
  }
  return 0;
}

// --- routes

struct route_keys {
  struct view_list severity, to;
  const char *service;
  bool go_on;
};

static const struct schema_field route_fields[] = {
  { .key = "severity", .type = SCHEMA_WORDS, .offset = offsetof(struct route_keys, severity) },
  { .key = "service", .type = SCHEMA_TEXT, .offset = offsetof(struct route_keys, service) },
  { .key = "to", .type = SCHEMA_WORDS, .offset = offsetof(struct route_keys, to), .required = true },
  { .key = "continue", .type = SCHEMA_BOOL, .offset = offsetof(struct route_keys, go_on) },
  { 0 },
};

static bool is_severity(struct view word)
{
  for (const char *const *known = severities; *known; known++)
    if (view_is(word, *known)) return true;
  return false;
}

static int read_severities(const struct reading *reading, const char *path, const struct value *value,
                           struct view_list words, const char **out)
{
  struct buf joined = { 0 };
  path = reading_path(reading, path, view_of("severity"));
  if (!path) return reading_no_memory(reading);
  if (words.count == 0) return reading_fail(reading, value->line, path, "an empty list; remove the key for all");
  for (size_t i = 0; i < words.count; i++) {
    if (!is_severity(words.items[i])) {
      buf_free(&joined);
      return reading_fail(reading, value->line, path, "\"%.*s\" is not one of P0, P1, P2",
                          words.items[i].size < SHOWN_MAX ? (int)words.items[i].size : SHOWN_MAX, words.items[i].data);
    }
    buf_printf(&joined, "%s%s", i ? " " : "", words.items[i].data);
  }
  *out = joined.failed ? NULL : pool_copy(reading->pool, buf_view(&joined));
  buf_free(&joined);
  return *out ? 0 : reading_no_memory(reading);
}

static int check_to(const struct reading *reading, const char *path, const struct value *value, struct view_list to,
                    const struct settings *settings)
{
  path = reading_path(reading, path, view_of("to"));
  if (!path) return reading_no_memory(reading);
  if (to.count == 0 || to.count > TO_MAX)
    return reading_fail(reading, value->line, path, "%zu notifiers; a route has 1 to %d", to.count, TO_MAX);
  for (size_t i = 0; i < to.count; i++) {
    if (settings_notifier(settings, to.items[i].data)) continue;
    struct nearest nearest;
    nearest_init(&nearest, to.items[i]);
    for (uint32_t j = 0; j < settings->notifier_count; j++) nearest_try(&nearest, settings->notifiers[j].name);
    bool one = settings->notifier_count > 0;
    return reading_fail(reading, value->line, path, "there is no notifier \"%.*s\" under `notify:`%s%s%s",
                        to.items[i].size < SHOWN_MAX ? (int)to.items[i].size : SHOWN_MAX, to.items[i].data,
                        nearest.best ? " (did you mean \"" : "", nearest.best ? nearest.best : "",
                        nearest.best ? "\"?)"
                        : one        ? ""
                                     : ", which has none");
  }
  return 0;
}

static int read_route(const struct reading *reading, const char *path, const struct value *table,
                      const struct settings *settings, struct route_settings *route)
{
  static const char *const later[] = { "group_by", "group_wait", "group_interval", "repeat_interval", NULL };
  struct route_keys keys = { 0 };
  int code = reading_table(reading, path, table, route_fields, later, &keys);
  const struct value *severity = value_get(table, "severity");
  if (code == 0 && severity && severity->type != VALUE_NIL)
    code = read_severities(reading, path, severity, keys.severity, &route->severities);
  if (code == 0) code = check_to(reading, path, value_get(table, "to"), keys.to, settings);
  if (code < 0) return code;
  route->service = keys.service;
  route->go_on = keys.go_on;
  route->to = reading_words(reading, keys.to);
  return route->to ? 0 : reading_no_memory(reading);
}

static int route_to_all(const struct reading *reading, struct settings *settings)
{
  settings->routes = pool_alloc(reading->pool, sizeof *settings->routes);
  const char **to = pool_alloc(reading->pool, (settings->notifier_count + 1) * sizeof *to);
  if (!settings->routes || !to) return reading_no_memory(reading);
  for (uint32_t i = 0; i < settings->notifier_count; i++) to[i] = settings->notifiers[i].name;
  settings->routes[0].to = to;
  settings->route_count = 1;
  return 0;
}

int routes_read(const struct reading *reading, const struct value *routes, struct settings *settings)
{
  if (!routes || routes->type == VALUE_NIL) return settings->notifier_count ? route_to_all(reading, settings) : 0;
  if (routes->type != VALUE_LIST)
    return reading_fail(reading, routes->line, "routes", "%s is not a list; write - { severity: P0, to: [NAME] }",
                        value_type_name(routes));
  if (routes->list.count > ROUTES_MAX)
    return reading_fail(reading, routes->line, "routes", "%zu routes; at most %d", routes->list.count, ROUTES_MAX);
  settings->routes = pool_alloc(reading->pool, (routes->list.count + 1) * sizeof *settings->routes);
  if (!settings->routes) return reading_no_memory(reading);
  for (size_t i = 0; i < routes->list.count; i++) {
    char number[32];
    snprintf(number, sizeof number, "[%zu]", i + 1);
    const char *path = reading_path(reading, "routes", view_of(number));
    if (!path) return reading_no_memory(reading);
    int code = read_route(reading, path, &routes->list.items[i], settings, &settings->routes[i]);
    if (code < 0) return code;
    settings->route_count++;
  }
  return 0;
}
