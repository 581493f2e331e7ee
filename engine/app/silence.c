// A timer stands at the next beginning or end of any silence; then alerts are looked at again.

#include "silence.h"

#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "check.h"
#include "clock.h"
#include "duration.h"
#include "json.h"
#include "matcher.h"
#include "mem.h"

#define KEPT_NS (5 * NS_PER_DAY)

struct silence {
  nines *engine;
  char id[40];
  struct pool pool;
  struct value body; // as it was put, in the pool: what is described and stored
  struct matcher *matchers[MATCHERS_MAX];
  uint32_t count;
  int64_t starts_wall_ns, ends_wall_ns, updated_wall_ns;
};

static void silence_free(struct silence *silence)
{
  for (uint32_t i = 0; i < silence->count; i++) matcher_free(silence->matchers[i]);
  pool_fini(&silence->pool);
  mem_free(silence);
}

const struct silence *silence_find(const nines *engine, const char *id)
{
  return map_get(&engine->silences, view_of(id));
}

const char *silence_id(const struct silence *silence)
{
  return silence->id;
}

static bool is_active(const struct silence *silence)
{
  int64_t now_ns = silence->engine->wall_ns;
  return silence->starts_wall_ns <= now_ns && now_ns < silence->ends_wall_ns;
}

static void on_change(nines *engine, struct engine_timer *timer);

static void set_timer(nines *engine)
{
  int64_t next_ns = INT64_MAX;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->silences, &at));) {
    const struct silence *silence = entry->value;
    int64_t due_ns = silence->starts_wall_ns > engine->wall_ns ? silence->starts_wall_ns
                     : silence->ends_wall_ns > engine->wall_ns ? silence->ends_wall_ns
                                                               : silence->ends_wall_ns + KEPT_NS;
    if (due_ns < next_ns) next_ns = due_ns;
  }
  engine->silences_timer.fn = on_change;
  engine_timer_stop(engine, &engine->silences_timer);
  if (next_ns == INT64_MAX) return;
  int64_t wait_ns = next_ns - engine->wall_ns;
  engine_timer_set(engine, &engine->silences_timer, engine->now_ns + (wait_ns > 0 ? wait_ns : 0));
}

static void on_change(nines *engine, struct engine_timer *timer)
{
  (void)timer;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->silences, &at));) {
    struct silence *silence = entry->value;
    if (engine->wall_ns < silence->ends_wall_ns + KEPT_NS) continue;
    engine_delete(engine, "silence", silence->id);
    map_remove(&engine->silences, view_of(silence->id));
    silence_free(silence);
  }
  alerts_unsilenced(engine);
  set_timer(engine);
}

void silences_stepped(nines *engine)
{
  on_change(engine, &engine->silences_timer);
}

static int read_matcher(struct silence *silence, const struct value *item, struct status *status)
{
  struct view name = value_get_text(item, "name"), value = value_get_text(item, "value");
  int code = matcher_make(&silence->matchers[silence->count], name, value, value_get_bool(item, "isRegex", false),
                          value_get_bool(item, "isEqual", true), status);
  if (code == 0) silence->count++;
  return code;
}

static int read_matchers(struct silence *silence, struct status *status)
{
  const struct value *list = value_get(&silence->body, "matchers");
  if (!list || list->type != VALUE_LIST || list->list.count < 1 || list->list.count > MATCHERS_MAX)
    return status_set(status, NINES_EINVAL, "a silence has 1 to %d matchers", MATCHERS_MAX);
  bool some = false; // one at least that not everything matches
  for (size_t i = 0; i < list->list.count; i++) {
    int code = read_matcher(silence, &list->list.items[i], status);
    if (code < 0) return code;
    some = some || !matcher_matches(silence->matchers[i], (struct view){ 0 });
  }
  return some ? 0 : status_set(status, NINES_EINVAL, "at least one matcher must not match an empty label");
}

static int read_body(struct silence *silence, struct status *status)
{
  const struct value *body = &silence->body;
  struct view starts = value_get_text(body, "startsAt"), ends = value_get_text(body, "endsAt");
  int code = read_matchers(silence, status);
  if (code < 0) return code;
  if (!value_get_text(body, "comment").size || !value_get_text(body, "createdBy").size)
    return status_set(status, NINES_EINVAL, "a silence says who made it and why: createdBy and comment");
  if (!starts.size || !ends.size || !clock_parse(starts, &silence->starts_wall_ns) ||
      !clock_parse(ends, &silence->ends_wall_ns))
    return status_set(status, NINES_EINVAL, "startsAt and endsAt are times as 2026-01-05T09:00:00Z");
  if (silence->ends_wall_ns <= silence->starts_wall_ns)
    return status_set(status, NINES_EINVAL, "a silence must end after it begins");
  return 0;
}

static struct silence *silence_make(nines *engine, const char *id, const struct value *body, struct status *status)
{
  struct silence *silence = mem_must(sizeof *silence);
  silence->engine = engine;
  snprintf(silence->id, sizeof silence->id, "%s", id);
  if (!value_copy(&silence->pool, &silence->body, body)) status_set(status, NINES_ENOMEM, "out of memory");
  if (status->code == 0 && read_body(silence, status) == 0) return silence;
  silence_free(silence);
  return NULL;
}

static void save(struct silence *silence)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  silence_describe(silence, &pool, &document);
  engine_put(silence->engine, "silence", silence->id, &document);
  pool_fini(&pool);
}

static void tell(struct silence *silence, const char *topic, const char *actor)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  silence_describe(silence, &pool, &document);
  engine_audit(silence->engine, actor, topic, silence->id, &document);
  engine_publish(silence->engine, topic, silence->id, &document);
  pool_fini(&pool);
}

// A random UUID, of the engine's own numbers, so that a replay has the same.
static void new_id(nines *engine, char out[static 40])
{
  uint64_t high = rng_next(&engine->random), low = rng_next(&engine->random);
  snprintf(out, 40, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
           (unsigned)(high & 0xfff), (unsigned)(0x8000 | (low >> 48 & 0x3fff)),
           (unsigned long long)(low & 0xffffffffffffULL));
}

int silence_put(nines *engine, const struct value *body, const char *actor, char out[static 40], struct status *status)
{
  struct view id = value_get_text(body, "id");
  struct silence *old = id.size ? map_get(&engine->silences, id) : NULL;
  if (id.size && !old) return status_set(status, NINES_ENOTFOUND, "there is no silence %.*s", (int)id.size, id.data);
  if (engine->silences.count >= SILENCES_MAX)
    return status_set(status, NINES_ELIMIT, "there are %d silences already", SILENCES_MAX);
  new_id(engine, out);
  status->code = 0;
  struct silence *silence = silence_make(engine, out, body, status);
  if (!silence) return status->code;
  if (silence->ends_wall_ns <= engine->wall_ns) {
    silence_free(silence);
    return status_set(status, NINES_EINVAL, "endsAt is in the past");
  }
  if (silence->starts_wall_ns < engine->wall_ns) silence->starts_wall_ns = engine->wall_ns;
  silence->updated_wall_ns = engine->wall_ns;
  CHECK(map_put(&engine->silences, view_of(silence->id), silence) == 0);
  save(silence);
  tell(silence, "silence.created", actor);
  if (old) silence_expire(engine, old->id, actor, status);
  status->code = 0;
  set_timer(engine);
  return 0;
}

int silence_expire(nines *engine, const char *id, const char *actor, struct status *status)
{
  struct silence *silence = map_get(&engine->silences, view_of(id));
  if (!silence) return status_set(status, NINES_ENOTFOUND, "there is no silence %s", id);
  if (silence->ends_wall_ns <= engine->wall_ns)
    return status_set(status, NINES_ESTATE, "silence %s is expired already", id);
  silence->ends_wall_ns = silence->updated_wall_ns = engine->wall_ns;
  if (silence->starts_wall_ns > engine->wall_ns) silence->starts_wall_ns = engine->wall_ns;
  save(silence);
  tell(silence, "silence.expired", actor);
  on_change(engine, &engine->silences_timer);
  return 0;
}

static bool covers(const struct silence *silence, const struct value *labels)
{
  for (uint32_t i = 0; i < silence->count; i++)
    if (!matcher_matches(silence->matchers[i], value_get_text(labels, matcher_name(silence->matchers[i]))))
      return false;
  return true;
}

const struct silence *silence_of(const nines *engine, const struct value *labels)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->silences, &at));)
    if (is_active(entry->value) && covers(entry->value, labels)) return entry->value;
  return NULL;
}

static void put_time(struct pool *pool, struct value *out, const char *key, int64_t wall_ns)
{
  char text[CLOCK_TEXT_MAX];
  value_put_text(pool, out, key, clock_format(wall_ns, text));
}

static void put_copy(const struct silence *silence, struct pool *pool, struct value *out, const char *key)
{
  struct view text = value_get_text(&silence->body, key);
  value_put_format(pool, out, key, "%.*s", (int)text.size, text.data ? text.data : "");
}

void silence_describe(const struct silence *silence, struct pool *pool, struct value *out)
{
  struct value state = value_table(), matchers = value_list();
  int64_t now_ns = silence->engine->wall_ns;
  value_put_text(pool, &state, "state",
                 now_ns < silence->starts_wall_ns ? "pending"
                 : is_active(silence)             ? "active"
                                                  : "expired");
  for (uint32_t i = 0; i < silence->count; i++) {
    struct value item = value_table();
    value_put_text(pool, &item, "name", matcher_name(silence->matchers[i]));
    value_put_text(pool, &item, "value", matcher_value(silence->matchers[i]));
    value_put(pool, &item, "isRegex", value_bool(matcher_is_regex(silence->matchers[i])));
    value_put(pool, &item, "isEqual", value_bool(matcher_is_equal(silence->matchers[i])));
    value_append(pool, &matchers, item);
  }
  value_put_text(pool, out, "id", silence->id);
  value_put(pool, out, "status", state);
  value_put(pool, out, "matchers", matchers);
  put_time(pool, out, "startsAt", silence->starts_wall_ns);
  put_time(pool, out, "endsAt", silence->ends_wall_ns);
  put_time(pool, out, "updatedAt", silence->updated_wall_ns);
  put_copy(silence, pool, out, "createdBy");
  put_copy(silence, pool, out, "comment");
}

static void load(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  struct silence *silence = NULL;
  if (json_parse(&pool, json, &document, &status) == 0) silence = silence_make(engine, id, &document, &status);
  if (silence) {
    if (!clock_parse(value_get_text(&document, "updatedAt"), &silence->updated_wall_ns)) silence->updated_wall_ns = 0;
    CHECK(map_put(&engine->silences, view_of(silence->id), silence) == 0);
  } else {
    // An expired one begins and ends at one moment when it was expired before it began.
    engine_log(engine, "warn", "silence %s in the store is left out: %s", id, status.text);
  }
  pool_fini(&pool);
}

void silences_load(nines *engine)
{
  engine->door.documents(engine->door.self, "silence", load, engine);
  set_timer(engine);
}

void silences_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->silences, &at));) save(entry->value);
}

void silences_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->silences, &at));) silence_free(entry->value);
  map_fini(&engine->silences);
}
