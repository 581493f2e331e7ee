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
