// nines.yaml from the outside in: text to values (yaml.h), values to keys (reading.h), keys to what they mean.
//
// The tree of values lives only while it is read; what is kept is copied into the settings' own pool. Reading stops at
// the first error, which says file, line, key, what was found and what is allowed.

#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "mem.h"
#include "notifier.h"
#include "reading.h"
#include "secret.h"
#include "yaml.h"

enum { FILE_BYTES_MAX = 4 << 20, TREE_BYTES_MAX = 32 << 20, SERVICES_READ_MAX = 500, SHOWN_MAX = 60 };

#define RECORD_DEFAULT_BYTES (64LL << 20)

struct keys {
  const struct value *listen, *record, *services, *notify, *routes;
  const char *statsd, *data, *timezone, *public_url;
  struct view_list policies;
  int64_t page_after_ns;
  int mode;
};

static const char *const modes[] = { "act", "observe", NULL };

static const struct schema_field fields[] = {
  { .key = "listen", .type = SCHEMA_VALUE, .offset = offsetof(struct keys, listen) },
  { .key = "statsd", .type = SCHEMA_TEXT, .offset = offsetof(struct keys, statsd), .fallback = "off" },
  { .key = "data", .type = SCHEMA_TEXT, .offset = offsetof(struct keys, data), .fallback = "./nines-data" },
  { .key = "mode", .type = SCHEMA_CHOICE, .offset = offsetof(struct keys, mode), .choices = modes, .fallback = "act" },
  { .key = "timezone", .type = SCHEMA_TEXT, .offset = offsetof(struct keys, timezone), .fallback = "UTC" },
  { .key = "policies", .type = SCHEMA_WORDS, .offset = offsetof(struct keys, policies), .fallback = "policies" },
  { .key = "page_after",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct keys, page_after_ns),
    .max = 86400e9,
    .fallback = "2m" },
  { .key = "public_url", .type = SCHEMA_TEXT, .offset = offsetof(struct keys, public_url) },
  { .key = "record", .type = SCHEMA_VALUE, .offset = offsetof(struct keys, record) },
  { .key = "services", .type = SCHEMA_VALUE, .offset = offsetof(struct keys, services) },
  { .key = "notify", .type = SCHEMA_VALUE, .offset = offsetof(struct keys, notify) },
  { .key = "routes", .type = SCHEMA_VALUE, .offset = offsetof(struct keys, routes) },
  { 0 },
};
static const char *const later[] = { "otlp", "toxiproxy", "sources", "playbooks", "tokens", NULL };

// --- addresses

static int expand(const struct reading *reading, uint32_t line, const char *key, const char *text, const char **out)
{
  struct status inner = { 0 };
  int code = secret_expand_environment(reading->pool, text, out, &inner);
  return code < 0 ? reading_fail(reading, line, key, "%s", inner.text) : 0;
}

// DIR/PATH, or the path alone when it is absolute.
static const char *join(const struct reading *reading, const char *prefix, const char *path)
{
  struct buf joined = { 0 };
  if (strncmp(path, "./", 2) == 0 && path[2]) path += 2;
  buf_printf(&joined, "%s%s%s%s", prefix, path[0] != '/' ? reading->dir : "",
             path[0] != '/' && reading->dir[0] ? "/" : "", path);
  const char *copy = joined.failed ? NULL : pool_copy(reading->pool, buf_view(&joined));
  buf_free(&joined);
  return copy;
}

// "127.0.0.1:9999", "[::1]:9999" or "localhost:9999".
static bool parse_address(const char *text, bool *loopback)
{
  char host[INET6_ADDRSTRLEN + 1];
  unsigned char bytes[16];
  static const unsigned char own[16] = { [15] = 1 };
  const char *colon = strrchr(text, ':');
  if (!colon || strspn(colon + 1, "0123456789") != strlen(colon + 1)) return false;
  if (!colon[1] || strlen(colon + 1) > 5 || atoi(colon + 1) > 65535) return false;
  bool v6 = text[0] == '[';
  if (v6 && (colon == text || colon[-1] != ']')) return false;
  size_t size = (size_t)(colon - text) - (v6 ? 2 : 0);
  if (size >= sizeof host) return false;
  memcpy(host, text + v6, size);
  host[size] = '\0';
  if (strcmp(host, "localhost") == 0) return *loopback = true;
  if (inet_pton(v6 ? AF_INET6 : AF_INET, host, bytes) != 1) return false;
  *loopback = v6 ? memcmp(bytes, own, 16) == 0 : bytes[0] == 127;
  return true;
}

// An address in numbers: the layers below resolve no names.
static const char *numeric(const struct reading *reading, const char *text)
{
  if (strncmp(text, "localhost:", 10) != 0) return text;
  struct buf address = { 0 };
  buf_printf(&address, "127.0.0.1:%s", text + 10);
  const char *copy = address.failed ? NULL : pool_copy(reading->pool, buf_view(&address));
  buf_free(&address);
  return copy;
}

static int read_listen(const struct reading *reading, const struct value *value, const char **out)
{
  const char *text = "127.0.0.1:9999";
  uint32_t line = value ? value->line : 0;
  *out = NULL;
  if (value && value->type == VALUE_BOOL && !value->boolean) return 0;
  if (value && value->type != VALUE_TEXT)
    return reading_fail(reading, line, "listen", "%s is not an address; write 127.0.0.1:9999, or off",
                        value_type_name(value));
  if (value) text = value->text.data;
  int code = expand(reading, line, "listen", text, &text);
  if (code < 0 || strcmp(text, "off") == 0) return code;
  bool loopback = false;
  if (!parse_address(text, &loopback))
    return reading_fail(reading, line, "listen", "\"%.*s\" is not an address; write 127.0.0.1:9999, [::1]:9999 or off",
                        SHOWN_MAX, text);
  if (!loopback)
    return reading_fail(reading, line, "listen",
                        "\"%s\" can be reached from other machines, which needs tokens, and those come with a later "
                        "release; write 127.0.0.1:PORT",
                        text);
  *out = numeric(reading, text);
  return *out ? 0 : reading_no_memory(reading);
}

static int read_statsd(const struct reading *reading, uint32_t line, const char *text, const char **out)
{
  bool loopback;
  *out = NULL;
  int code = expand(reading, line, "statsd", text, &text);
  if (code < 0 || strcmp(text, "off") == 0) return code;
  if (strncmp(text, "unix:", 5) == 0 && text[5])
    *out = join(reading, "unix:", text + 5);
  else if (!parse_address(text, &loopback))
    return reading_fail(reading, line, "statsd", "\"%.*s\" is not an address; write 127.0.0.1:8125, unix:/path or off",
                        SHOWN_MAX, text);
  else
    *out = numeric(reading, text);
  return *out ? 0 : reading_no_memory(reading);
}

// --- scalars

// "+02:00" to its offset; false for everything else.
static bool parse_offset(const char *text, int64_t *out_ns)
{
  if ((text[0] != '+' && text[0] != '-') || strlen(text) != 6 || text[3] != ':') return false;
  for (int i = 1; i < 6; i++)
    if (i != 3 && (text[i] < '0' || text[i] > '9')) return false;
  int hours = (text[1] - '0') * 10 + text[2] - '0', minutes = (text[4] - '0') * 10 + text[5] - '0';
  if (hours > 14 || minutes > 59) return false;
  *out_ns = (hours * NS_PER_H + minutes * NS_PER_MIN) * (text[0] == '-' ? -1 : 1);
  return true;
}

static int read_timezone(const struct reading *reading, uint32_t line, const char *text, int64_t *out_ns)
{
  *out_ns = 0;
  if (strcmp(text, "UTC") == 0 || parse_offset(text, out_ns)) return 0;
  return reading_fail(reading, line, "timezone",
                      "\"%.*s\" is neither UTC nor a fixed offset such as \"+02:00\" (at most 14 hours); this release "
                      "does not know zones by name, so daylight saving is yours to follow",
                      SHOWN_MAX, text);
}

static int read_record(const struct reading *reading, const struct value *value, int64_t *out)
{
  static const struct {
    const char *name;
    int64_t bytes;
  } units[] = { { "KB", 1000 },       { "MB", 1000000 },    { "GB", 1000000000 },
                { "KiB", 1LL << 10 }, { "MiB", 1LL << 20 }, { "GiB", 1LL << 30 } };
  *out = RECORD_DEFAULT_BYTES;
  if (!value) return 0;
  const char *text = value->type == VALUE_TEXT ? value->text.data : "";
  size_t digits = strspn(text, "0123456789");
  const char *unit = text + digits + strspn(text + digits, " ");
  for (size_t i = 0; i < sizeof units / sizeof units[0] && digits > 0 && digits < 9; i++) {
    if (strcmp(unit, units[i].name) != 0) continue;
    *out = strtoll(text, NULL, 10) * units[i].bytes;
    if (*out >= 1000000 && *out <= 1000000000000) return 0;
    return reading_fail(reading, value->line, "record", "\"%.*s\" is out of range (1MB to 1000GB)", SHOWN_MAX, text);
  }
  return reading_fail(reading, value->line, "record",
                      "%s%.*s%s is not a size; write \"64MB\" (KB, MB, GB, KiB, MiB, GiB)", text[0] ? "\"" : "",
                      SHOWN_MAX, text[0] ? text : value_type_name(value), text[0] ? "\"" : "");
}

static int read_public_url(const struct reading *reading, uint32_t line, const char *text, const char **out)
{
  const char *url;
  int code = reading_url(reading, line, "public_url", text, &url);
  if (code < 0) return code;
  size_t size = strlen(url);
  while (url[size - 1] == '/') size--;
  *out = pool_copy(reading->pool, (struct view){ url, size });
  return *out ? 0 : reading_no_memory(reading);
}

// --- services

struct service_keys {
  const char *tier;
  struct view_list dependencies;
  const struct value *deploy;
};
struct deploy_keys {
  const struct value *command, *current;
  int64_t timeout_ns;
};

static const struct schema_field service_fields[] = {
  { .key = "tier", .type = SCHEMA_TEXT, .offset = offsetof(struct service_keys, tier), .fallback = "" },
  { .key = "dependencies", .type = SCHEMA_WORDS, .offset = offsetof(struct service_keys, dependencies) },
  { .key = "deploy", .type = SCHEMA_VALUE, .offset = offsetof(struct service_keys, deploy) },
  { 0 },
};
static const char *const service_later[] = { "regions", "route", NULL };
static const struct schema_field deploy_fields[] = {
  { .key = "command", .type = SCHEMA_VALUE, .offset = offsetof(struct deploy_keys, command), .required = true },
  { .key = "current", .type = SCHEMA_VALUE, .offset = offsetof(struct deploy_keys, current) },
  { .key = "timeout",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct deploy_keys, timeout_ns),
    .min = 1e9,
    .max = 86400e9,
    .fallback = "5m" },
  { 0 },
};

static int read_command(const struct reading *reading, const char *path, const char *key, const struct value *value,
                        const char *const **out)
{
  path = reading_path(reading, path, view_of(key));
  return path ? reading_argv(reading, path, value, out) : reading_no_memory(reading);
}

static int read_service(const struct reading *reading, const struct member *member, struct service_settings *service)
{
  struct service_keys keys = { 0 };
  struct deploy_keys deploy = { .timeout_ns = 5 * NS_PER_MIN };
  const char *path = reading_path(reading, "services", member->key);
  const char *deploy_path = path ? reading_path(reading, path, view_of("deploy")) : NULL;
  if (!deploy_path) return reading_no_memory(reading);
  int code = reading_table(reading, path, &member->value, service_fields, service_later, &keys);
  if (code == 0 && keys.deploy) {
    code = reading_table(reading, deploy_path, keys.deploy, deploy_fields, NULL, &deploy);
    if (code == 0) code = read_command(reading, deploy_path, "command", deploy.command, &service->deploy);
    if (code == 0 && deploy.current)
      code = read_command(reading, deploy_path, "current", deploy.current, &service->current);
  }
  if (code < 0) return code;
  service->name = pool_copy(reading->pool, member->key);
  service->tier = keys.tier;
  service->dependencies = reading_words(reading, keys.dependencies);
  service->timeout_ns = deploy.timeout_ns;
  return service->name && service->dependencies ? 0 : reading_no_memory(reading);
}

static int read_services(const struct reading *reading, const struct value *table, struct settings *settings)
{
  int code = reading_names(reading, "services", table, SERVICES_READ_MAX);
  if (code < 0 || !table || table->type != VALUE_TABLE) return code;
  settings->services = pool_alloc(reading->pool, (table->table.count + 1) * sizeof *settings->services);
  if (!settings->services) return reading_no_memory(reading);
  for (size_t i = 0; code == 0 && i < table->table.count; i++) {
    code = read_service(reading, &table->table.members[i], &settings->services[i]);
    if (code == 0) settings->service_count++;
  }
  return code;
}

// --- the whole

static uint32_t line_of(const struct value *root, const char *key)
{
  const struct value *value = value_get(root, key);
  return value ? value->line : 0;
}

static int read_policies(const struct reading *reading, uint32_t line, struct view_list words, const char *const **out)
{
  for (size_t i = 0; i < words.count; i++)
    if (words.items[i].size == 0) return reading_fail(reading, line, "policies", "a path is empty");
  *out = reading_words(reading, words);
  return *out ? 0 : reading_no_memory(reading);
}

static int read_root(const struct reading *reading, const struct value *root, struct settings *settings)
{
  struct keys keys = { 0 };
  int code = reading_table(reading, "", root, fields, later, &keys);
  if (code == 0) code = read_listen(reading, keys.listen, &settings->listen);
  if (code == 0) code = read_statsd(reading, line_of(root, "statsd"), keys.statsd, &settings->statsd);
  if (code == 0) code = expand(reading, line_of(root, "data"), "data", keys.data, &settings->data);
  if (code == 0 && !settings->data[0])
    code = reading_fail(reading, line_of(root, "data"), "data", "the path is empty; write ./nines-data");
  if (code == 0) code = read_timezone(reading, line_of(root, "timezone"), keys.timezone, &settings->utc_offset_ns);
  if (code == 0) code = read_policies(reading, line_of(root, "policies"), keys.policies, &settings->policies);
  if (code == 0 && keys.public_url)
    code = read_public_url(reading, line_of(root, "public_url"), keys.public_url, &settings->public_url);
  if (code == 0) code = read_record(reading, keys.record, &settings->record_bytes_max);
  if (code == 0) code = read_services(reading, keys.services, settings);
  if (code == 0) code = notifiers_read(reading, keys.notify, settings);
  if (code == 0) code = routes_read(reading, keys.routes, settings);
  if (code < 0) return code;
  settings->observe = keys.mode == 1;
  settings->page_after_ns = keys.page_after_ns;
  settings->data = join(reading, "", settings->data);
  return settings->data ? 0 : reading_no_memory(reading);
}

int settings_parse(struct settings **out, struct view text, const char *file, const char *dir, struct status *status)
{
  *out = NULL;
  struct settings *settings = mem_must(sizeof *settings);
  struct pool tree = { .limit_bytes = TREE_BYTES_MAX };
  struct value root;
  struct status inner = { 0 };
  int code = yaml_parse(&tree, text, file, &root, &inner);
  settings->file = pool_copy(&settings->pool, view_of(file));
  settings->dir = pool_copy(&settings->pool, view_of(dir));
  const struct reading reading = { .file = file, .dir = settings->dir, .pool = &settings->pool, .status = &inner };
  if (code == 0 && (!settings->file || !settings->dir)) code = reading_no_memory(&reading);
  if (code == 0) code = read_root(&reading, &root, settings);
  pool_fini(&tree);
  if (code < 0) {
    settings_free(settings);
    return status_set(status, code, "%s", inner.text);
  }
  *out = settings;
  return 0;
}

static int read_whole(const char *path, struct buf *text, struct status *status)
{
  FILE *file = fopen(path, "re");
  if (!file) {
    int code = errno == ENOENT ? NINES_ENOTFOUND : NINES_EIO;
    return status_set(status, code, "cannot read %s: %s%s", path, strerror(errno),
                      errno == ENOENT ? "; `nines init DIR` makes a project" : "");
  }
  char chunk[4096];
  size_t got;
  while (text->size <= FILE_BYTES_MAX && (got = fread(chunk, 1, sizeof chunk, file)) > 0) buf_add(text, chunk, got);
  int error = ferror(file) ? errno : 0;
  fclose(file);
  if (error) return status_set(status, NINES_EIO, "cannot read %s: %s", path, strerror(error));
  return text->failed ? status_set(status, NINES_ENOMEM, "%s: out of memory", path) : 0;
}

int settings_load(struct settings **out, const char *dir, struct status *status)
{
  *out = NULL;
  bool here = !dir || !dir[0] || strcmp(dir, ".") == 0;
  struct buf path = { 0 }, text = { 0 };
  buf_printf(&path, "%s%snines.yaml", here ? "" : dir, here ? "" : "/");
  int code = path.failed ? status_set(status, NINES_ENOMEM, "out of memory") : read_whole(path.data, &text, status);
  if (code == 0) code = settings_parse(out, buf_view(&text), path.data, dir ? dir : "", status);
  buf_free(&path);
  buf_free(&text);
  return code;
}

struct settings *settings_default(const char *dir)
{
  struct settings *settings;
  CHECK(settings_parse(&settings, view_of(""), "", dir ? dir : "", NULL) == 0);
  return settings;
}

void settings_free(struct settings *settings)
{
  if (!settings) return;
  pool_fini(&settings->pool);
  mem_free(settings);
}

const struct notifier_settings *settings_notifier(const struct settings *settings, const char *name)
{
  for (uint32_t i = 0; i < settings->notifier_count; i++)
    if (strcmp(settings->notifiers[i].name, name) == 0) return &settings->notifiers[i];
  return NULL;
}

const struct service_settings *settings_service(const struct settings *settings, const char *name)
{
  for (uint32_t i = 0; i < settings->service_count; i++)
    if (strcmp(settings->services[i].name, name) == 0) return &settings->services[i];
  return NULL;
}
