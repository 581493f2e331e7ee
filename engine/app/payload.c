// Messages as bytes: pure functions, so that tests compare them to the byte.
//
// A page must not be lost to a formality. Alertmanager answers 400 to a label name with a dash, to a set of labels
// without a value and to an end before its start, and a 400 is final: all three are mended here. Whoever signs or
// deduplicates by the body gets the same bytes for the same message, which is why the tables are sorted.

#include "payload.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "digest.h"
#include "duration.h"

#define FIRING_FOR_NS (4 * NS_PER_MIN) // Alertmanager hears of a firing alert each minute

static void add_key(struct buf *out, const char *key)
{
  if (out->size && out->data[out->size - 1] != '{') buf_byte(out, ',');
  buf_json_text(out, view_of(key));
  buf_byte(out, ':');
}

static void add_text(struct buf *out, const char *key, const char *text)
{
  add_key(out, key);
  buf_json_text(out, view_of(text));
}

// 0: null.
static void add_time(struct buf *out, const char *key, int64_t wall_ns)
{
  char text[CLOCK_TEXT_MAX];
  add_key(out, key);
  if (wall_ns)
    buf_json_text(out, view_of(clock_format(wall_ns, text)));
  else
    buf_text(out, "null");
}

static int compare_members(const void *a, const void *b)
{
  const struct view x = (*(const struct member *const *)a)->key, y = (*(const struct member *const *)b)->key;
  int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
  return order ? order : (x.size > y.size) - (x.size < y.size);
}

// The members by name; an array of pointers in the pool. NULL: none, or no memory for them.
static const struct member **sorted(const struct value *table, struct pool *pool, size_t *count)
{
  *count = table && table->type == VALUE_TABLE ? table->table.count : 0;
  const struct member **members = *count ? pool_alloc(pool, *count * sizeof *members) : NULL;
  if (!members) *count = 0;
  for (size_t i = 0; i < *count; i++) members[i] = &table->table.members[i];
  if (members) qsort(members, *count, sizeof *members, compare_members);
  return members;
}

static void add_table(struct buf *out, const char *key, const struct value *table)
{
  struct pool pool = { 0 };
  size_t count;
  const struct member **members = sorted(table, &pool, &count);
  add_key(out, key);
  buf_byte(out, '{');
  for (size_t i = 0; i < count; i++) {
    if (i) buf_byte(out, ',');
    buf_json_text(out, members[i]->key);
    buf_byte(out, ':');
    value_to_json(&members[i]->value, out);
  }
  buf_byte(out, '}');
  pool_fini(&pool);
}

// --- Alertmanager's

static bool is_label_byte(char byte, bool first)
{
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
         (!first && byte >= '0' && byte <= '9');
}

static struct view label_name(struct view name, struct pool *pool)
{
  size_t add = name.size == 0 || (name.data[0] >= '0' && name.data[0] <= '9');
  char *copy = pool_alloc(pool, name.size + add + 1);
  if (!copy) return name;
  copy[0] = '_';
  for (size_t i = 0; i < name.size; i++) copy[i + add] = is_label_byte(name.data[i], i + add == 0) ? name.data[i] : '_';
  return (struct view){ copy, name.size + add };
}

static struct view as_text(const struct value *value, struct pool *pool)
{
  if (value->type == VALUE_TEXT) return value->text;
  if (value->type == VALUE_NIL) return view_of("");
  struct buf json = { 0 };
  value_to_json(value, &json);
  struct view text = { pool_copy(pool, buf_view(&json)), json.size };
  buf_free(&json);
  return text.data ? text : view_of("");
}

// A table of texts under valid names, without empty ones. Of two names that became one the first stays.
static struct value texts(const struct value *table, struct pool *pool)
{
  struct value out = value_table();
  size_t count = table && table->type == VALUE_TABLE ? table->table.count : 0;
  for (size_t i = 0; i < count; i++) {
    const struct member *member = &table->table.members[i];
    struct view text = as_text(&member->value, pool);
    const char *name = label_name(member->key, pool).data;
    if (text.size && !value_get(&out, name)) value_put(pool, &out, name, value_view(text));
  }
  return out;
}

// The alert's page, or the engine's own; empty without a public URL.
static void add_url(struct buf *out, const struct message *message, const char *public_url)
{
  if (!public_url || !public_url[0]) return;
  buf_text(out, public_url);
  if (message->alert && message->alert[0]) buf_printf(out, "/v1/alerts/%s", message->alert);
}

void payload_alertmanager(const struct message *message, const char *public_url, struct buf *out)
{
  struct pool pool = { 0 };
  struct value labels = texts(message->labels, &pool), annotations = texts(message->annotations, &pool);
  const char *title = message->title && message->title[0] ? message->title : "nines";
  if (!value_get(&labels, "alertname")) value_put(&pool, &labels, "alertname", value_text(title));
  value_put(&pool, &annotations, "summary", value_text(title));
  if (message->text && message->text[0] && !value_get(&annotations, "description"))
    value_put(&pool, &annotations, "description", value_text(message->text));

  int64_t starts_ns = message->started_wall_ns ? message->started_wall_ns : message->wall_ns;
  int64_t ends_ns = message->ended_wall_ns ? message->ended_wall_ns : message->wall_ns + FIRING_FOR_NS;
  if (ends_ns < starts_ns) ends_ns = starts_ns; // the system's clock was set back
  struct buf url = { 0 };
  add_url(&url, message, public_url);

  buf_text(out, "[{");
  add_table(out, "labels", &labels);
  add_table(out, "annotations", &annotations);
  add_time(out, "startsAt", starts_ns);
  add_time(out, "endsAt", ends_ns);
  if (url.size) add_text(out, "generatorURL", url.data);
  buf_text(out, "}]");
  buf_free(&url);
  pool_fini(&pool);
}

// --- ours

void payload_webhook(const struct message *message, const char *public_url, struct buf *out)
{
  bool of_alert = message->alert && message->alert[0];
  struct buf url = { 0 };
  add_url(&url, message, public_url);
  buf_text(out, "{\"version\":1");
  add_text(out, "id", message->id);
  add_text(out, "kind", message->kind);
  add_text(out, "status", message->status);
  add_text(out, "alert", message->alert);
  add_text(out, "severity", message->severity);
  add_text(out, "title", message->title);
  add_text(out, "text", message->text);
  add_table(out, "labels", message->labels);
  add_table(out, "annotations", message->annotations);
  add_time(out, "started_at", message->started_wall_ns);
  add_time(out, "ended_at", message->ended_wall_ns);
  add_time(out, "sent_at", message->wall_ns);
  add_key(out, "attempt");
  buf_printf(out, "%u", message->attempt);
  add_text(out, "dedup_key", of_alert ? message->alert : message->id);
  add_key(out, "url");
  if (url.size)
    buf_json_text(out, buf_view(&url));
  else
    buf_text(out, "null");
  buf_byte(out, '}');
  buf_free(&url);
}

// --- services

// At most `max` bytes, not cut within a character.
static struct view cut(const char *text, size_t max)
{
  size_t size = strlen(text ? text : "");
  if (size > max) {
    size = max;
    while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) size--;
  }
  return (struct view){ text ? text : "", size };
}

static const char *dedup_key(const struct message *message)
{
  return message->alert && message->alert[0] ? message->alert : message->id;
}

static bool is(const char *text, const char *word)
{
  return text && strcmp(text, word) == 0;
}

static const char *label(const struct message *message, const char *name)
{
  struct view text = value_get_text(message->labels, name);
  return text.size ? text.data : "";
}

static const char *annotation(const struct message *message, const char *name)
{
  struct view text = value_get_text(message->annotations, name);
  return text.size ? text.data : "";
}

static void add_view(struct buf *out, const char *key, struct view text)
{
  add_key(out, key);
  buf_json_text(out, text);
}

static const char *pagerduty_severity(const struct message *message)
{
  if (!is(message->kind, "page")) return "info";
  return is(message->severity, "P0") ? "critical" : is(message->severity, "P2") ? "warning" : "error";
}

static void add_pagerduty_event(struct buf *out, const struct message *message)
{
  const char *service = label(message, "service");
  const char *source = service[0] ? service : label(message, "critical_path");
  add_key(out, "payload");
  buf_byte(out, '{');
  add_view(out, "summary", cut(message->title, 1024));
  add_text(out, "source", source[0] ? source : "nines");
  add_text(out, "severity", pagerduty_severity(message));
  add_time(out, "timestamp", message->started_wall_ns ? message->started_wall_ns : message->wall_ns);
  if (service[0]) add_text(out, "component", service);
  if (label(message, "alertname")[0]) add_text(out, "class", label(message, "alertname"));
  add_key(out, "custom_details");
  buf_byte(out, '{');
  add_text(out, "text", message->text ? message->text : "");
  add_table(out, "labels", message->labels);
  add_table(out, "annotations", message->annotations);
  buf_text(out, "}}");
}

static void add_link(struct buf *out, const char *href, const char *text)
{
  if (strncmp(href, "http", 4) != 0) return; // PagerDuty refuses what is no URL
  if (out->data[out->size - 1] != '[') buf_byte(out, ',');
  buf_byte(out, '{');
  add_text(out, "href", href);
  add_text(out, "text", text);
  buf_byte(out, '}');
}

void payload_pagerduty(const struct message *message, const char *routing_key, const char *public_url, struct buf *out)
{
  struct buf url = { 0 };
  add_url(&url, message, public_url);
  buf_byte(out, '{');
  add_text(out, "routing_key", routing_key);
  add_text(out, "event_action", is(message->status, "resolved") ? "resolve" : "trigger");
  add_text(out, "dedup_key", dedup_key(message));
  add_text(out, "client", "nines");
  if (url.size) add_text(out, "client_url", url.data);
  add_pagerduty_event(out, message);
  add_key(out, "links");
  buf_byte(out, '[');
  if (url.size) add_link(out, url.data, "the alert");
  add_link(out, annotation(message, "runbook_url"), "runbook");
  buf_text(out, "]}");
  buf_free(&url);
}

// Slack's own mark-up needs three characters escaped.
static void add_escaped(struct buf *out, struct view text)
{
  for (size_t i = 0; i < text.size; i++) {
    char byte = text.data[i];
    if (byte == '&')
      buf_text(out, "&amp;");
    else if (byte == '<')
      buf_text(out, "&lt;");
    else if (byte == '>')
      buf_text(out, "&gt;");
    else
      buf_byte(out, byte);
  }
}

static void slack_line(const struct message *message, const char *mark, struct buf *out)
{
  const char *what = is(message->status, "resolved") ? "Resolved" : message->severity;
  if (what && what[0]) buf_printf(out, "%s%s%s ", mark, what, mark);
  add_escaped(out, cut(message->title, 500));
}

static void slack_section(const struct message *message, const char *url, struct buf *out)
{
  slack_line(message, "*", out);
  if (message->text && message->text[0]) {
    buf_byte(out, '\n');
    add_escaped(out, cut(message->text, 1800)); // escaped and with the rest still under 3,000
  }
  const char *runbook = annotation(message, "runbook_url");
  if (runbook[0]) {
    buf_text(out, "\nRunbook: ");
    add_escaped(out, cut(runbook, 200));
  }
  if (url) buf_printf(out, "\n<%s|the alert>", url);
}

void payload_slack(const struct message *message, const char *public_url, struct buf *out)
{
  struct buf url = { 0 }, line = { 0 }, section = { 0 };
  add_url(&url, message, public_url);
  slack_line(message, "", &line);
  slack_section(message, url.size ? url.data : NULL, &section);
  if (section.size > 3000) section.data[section.size = cut(section.data, 3000).size] = '\0';
  buf_byte(out, '{');
  add_text(out, "text", line.data ? line.data : "");
  add_key(out, "blocks");
  buf_text(out, "[{\"type\":\"section\",\"text\":{\"type\":\"mrkdwn\"");
  add_text(out, "text", section.data ? section.data : "");
  buf_text(out, "}}]}");
  out->failed = out->failed || line.failed || section.failed;
  buf_free(&url);
  buf_free(&line);
  buf_free(&section);
}

static void add_tags(struct buf *out, const struct message *message)
{
  struct pool pool = { 0 };
  size_t count;
  const struct member **members = sorted(message->labels, &pool, &count);
  add_key(out, "tags");
  buf_byte(out, '[');
  for (size_t i = 0; i < count; i++) {
    struct buf tag = { 0 };
    struct view text = as_text(&members[i]->value, &pool);
    buf_printf(&tag, "%.*s:%.*s", (int)members[i]->key.size, members[i]->key.data, (int)text.size, text.data);
    if (i) buf_byte(out, ',');
    buf_json_text(out, cut(tag.data, 200));
    buf_free(&tag);
  }
  buf_byte(out, ']');
  pool_fini(&pool);
}

void payload_datadog(const struct message *message, const char *public_url, struct buf *out)
{
  struct buf text = { 0 };
  if (message->text && message->text[0]) buf_printf(&text, "%s\n", message->text);
  if (annotation(message, "runbook_url")[0]) buf_printf(&text, "runbook: %s\n", annotation(message, "runbook_url"));
  add_url(&text, message, public_url);
  int64_t when_ns = message->ended_wall_ns     ? message->ended_wall_ns
                    : message->started_wall_ns ? message->started_wall_ns
                                               : message->wall_ns;
  buf_byte(out, '{');
  add_view(out, "title", cut(message->title, 100));
  add_view(out, "text", cut(text.size ? text.data : message->title, 4000));
  add_text(out, "alert_type",
           is(message->status, "resolved") ? "success"
           : !is(message->kind, "page")    ? "info"
           : is(message->severity, "P2")   ? "warning"
                                           : "error");
  add_view(out, "aggregation_key", cut(dedup_key(message), 100));
  add_key(out, "date_happened");
  buf_printf(out, "%lld", (long long)(when_ns / NS_PER_S));
  add_text(out, "priority", "normal");
  add_text(out, "source_type_name", "nines");
  add_tags(out, message);
  buf_byte(out, '}');
  buf_free(&text);
}

void payload_signature(const char *secret, int64_t wall_ns, struct view body, struct buf *header)
{
  struct buf signed_text = { 0 };
  buf_printf(&signed_text, "%lld.", (long long)(wall_ns / NS_PER_S));
  size_t seconds = signed_text.size;
  buf_add(&signed_text, body.data, body.size);
  CHECK(!signed_text.failed);
  char hex[DIGEST_HEX];
  digest_hmac_sha256(view_of(secret), buf_view(&signed_text), hex);
  buf_printf(header, "Nines-Signature: t=%.*s,v1=%s", (int)(seconds - 1), signed_text.data, hex);
  buf_free(&signed_text);
}
