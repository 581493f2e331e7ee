// The outbox.
//
// A letter is written into the turn's txn and sent after its commit, stored or not: a page does not wait for a disk.
// Delivered letters of a firing alert stay until its resolution was delivered too, because they are the list of who has
// to hear of it; Alertmanager gets its firing letters again each minute, since it forgets alerts that nobody repeats.

#include "letter.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "json.h"
#include "mem.h"

#define BACKOFF_FIRST_NS NS_PER_S
#define BACKOFF_MAX_NS   (60 * NS_PER_S)
#define GIVE_UP_NS       (24 * NS_PER_H)
#define REPEAT_NS        (60 * NS_PER_S)

static const char host[] = "host"; // where messages go that no route takes, when a host delivers them

enum letter_state { LETTER_WAITING, LETTER_SENDING, LETTER_SENT };

struct letter {
  char id[24];
  enum letter_state state;
  nines *engine;
  struct pool pool;
  struct message message; // texts in the pool
  int64_t written_wall_ns;
  uint32_t attempts; // since the last success
  uint64_t op;
  bool superseded; // a resolution has been written for it
  struct engine_timer timer;
};

static void letter_send(nines *engine, struct letter *letter);

static void letter_forget(struct letter *letter)
{
  nines *engine = letter->engine;
  engine_timer_stop(engine, &letter->timer);
  if (letter->op) engine_operation_drop(engine, letter->op);
  engine_delete(engine, "outbox", letter->id);
  map_remove(&engine->outbox, view_of(letter->id));
  pool_fini(&letter->pool);
  mem_free(letter);
}

static void letter_save(struct letter *letter)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  const struct message *message = &letter->message;
  value_put_text(&pool, &document, "notifier", message->notifier);
  value_put_text(&pool, &document, "kind", message->kind);
  value_put_text(&pool, &document, "status", message->status);
  value_put_text(&pool, &document, "alert", message->alert);
  value_put_text(&pool, &document, "severity", message->severity);
  value_put_text(&pool, &document, "title", message->title);
  value_put_text(&pool, &document, "text", message->text);
  value_put(&pool, &document, "labels", *message->labels);
  value_put(&pool, &document, "annotations", *message->annotations);
  value_put(&pool, &document, "started_ns", value_integer(message->started_wall_ns));
  value_put(&pool, &document, "ended_ns", value_integer(message->ended_wall_ns));
  value_put(&pool, &document, "written_ns", value_integer(letter->written_wall_ns));
  value_put(&pool, &document, "sent", value_bool(letter->state == LETTER_SENT));
  value_put(&pool, &document, "superseded", value_bool(letter->superseded));
  engine_put(letter->engine, "outbox", letter->id, &document);
  pool_fini(&pool);
}

// An earlier letter for the same notifier and alert that is still under way.
static bool must_wait(const struct letter *letter)
{
  size_t at = 0;
  if (!letter->message.alert[0]) return false;
  for (struct map_entry *entry; (entry = map_next(&letter->engine->outbox, &at));) {
    const struct letter *other = entry->value;
    if (other == letter) return false; // in order of creation
    if (other->state != LETTER_SENT && strcmp(other->message.alert, letter->message.alert) == 0 &&
        strcmp(other->message.notifier, letter->message.notifier) == 0)
      return true;
  }
  return false;
}

// Alertmanager; a host that delivers in its place remembers.
static bool forgets(const struct letter *letter)
{
  if (letter->engine->hosted & NINES_EFFECT_PAGES) return false;
  const struct notifier_settings *notifier = settings_notifier(letter->engine->settings, letter->message.notifier);
  return notifier && notifier->type == NOTIFIER_ALERTMANAGER;
}

static void letter_publish(struct letter *letter, const char *topic, const char *why)
{
  struct pool pool = { 0 };
  struct value payload = value_table();
  value_put_text(&pool, &payload, "notifier", letter->message.notifier);
  value_put_text(&pool, &payload, "kind", letter->message.kind);
  value_put_text(&pool, &payload, "status", letter->message.status);
  value_put_text(&pool, &payload, "alert", letter->message.alert);
  value_put_text(&pool, &payload, "title", letter->message.title);
  if (why) value_put_text(&pool, &payload, "why", why);
  engine_publish(letter->engine, topic, letter->message.notifier, &payload);
  pool_fini(&pool);
}

// The resolution was delivered: nobody has to be told any more.
static void forget_firing(nines *engine, const char *alert, const char *notifier)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->outbox, &at));) {
    struct letter *letter = entry->value;
    if (letter->superseded && letter->state == LETTER_SENT && strcmp(letter->message.alert, alert) == 0 &&
        strcmp(letter->message.notifier, notifier) == 0)
      letter_forget(letter);
  }
}

static void send_waiting(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->outbox, &at));) {
    struct letter *letter = entry->value;
    if (letter->state == LETTER_WAITING && !letter->timer.node.place && letter->attempts == 0)
      letter_send(engine, letter);
  }
}

static void delivered(nines *engine, struct letter *letter)
{
  engine->figures.deliveries++;
  bool first = letter->state != LETTER_SENT && letter->attempts > 0;
  letter->attempts = 0;
  letter->state = LETTER_SENT;
  if (first) letter_publish(letter, "notify.delivered", NULL);
  if (strcmp(letter->message.status, "firing") == 0) {
    letter_save(letter);
    if (forgets(letter) && !letter->superseded) engine_timer_set(engine, &letter->timer, engine->now_ns + REPEAT_NS);
  } else {
    if (letter->message.alert[0]) forget_firing(engine, letter->message.alert, letter->message.notifier);
    letter_forget(letter);
  }
  send_waiting(engine);
}

// How long the notifier asks to be left alone (courier.h).
static int64_t asked_ns(const char *why)
{
  static const char words[] = "retry after ";
  const char *end = strchr(why, ':');
  int64_t wait_ns;
  if (strncmp(why, words, sizeof words - 1) != 0 || !end) return 0;
  struct view text = { why + sizeof words - 1, (size_t)(end - why) - (sizeof words - 1) };
  return duration_parse(text, &wait_ns, NULL) == 0 ? wait_ns : 0;
}

static void on_result(nines *engine, void *userdata, int code, struct view body)
{
  struct letter *letter = userdata;
  letter->op = 0;
  if (code == 0) {
    delivered(engine, letter);
    return;
  }
  char why[200];
  snprintf(why, sizeof why, "%.*s", (int)(body.size < 199 ? body.size : 199), body.data ? body.data : "");
  engine->figures.delivery_failures++;
  bool repeat = letter->state == LETTER_SENT; // it has arrived before, and is tried as long as the alert fires
  if (repeat && letter->superseded) return;   // the resolution says the rest
  if (!repeat) letter->state = LETTER_WAITING;
  bool late = !repeat && engine->wall_ns - letter->written_wall_ns > GIVE_UP_NS;
  if (code == NINES_EINVAL || late) {
    engine_log(engine, "error", "%s \"%s\" to %s is given up: %s", letter->message.kind, letter->message.title,
               letter->message.notifier, why);
    letter_publish(letter, "notify.failed", why);
    letter_forget(letter);
    send_waiting(engine);
    return;
  }
  if (letter->attempts == 1) {
    engine_log(engine, "warn", "%s to %s not delivered yet: %s", letter->message.kind, letter->message.notifier, why);
    letter_publish(letter, "notify.retrying", why);
  }
  int64_t backoff_ns = BACKOFF_FIRST_NS << (letter->attempts < 7 ? letter->attempts - 1 : 6);
  if (backoff_ns > BACKOFF_MAX_NS) backoff_ns = BACKOFF_MAX_NS;
  backoff_ns = (int64_t)((double)backoff_ns * (0.8 + 0.4 * rng_unit(&engine->random)));
  int64_t asked = asked_ns(why);
  engine_timer_set(engine, &letter->timer, engine->now_ns + (asked > backoff_ns ? asked : backoff_ns));
}

static void letter_send(nines *engine, struct letter *letter)
{
  if (letter->op) return; // under way
  if (must_wait(letter)) return;
  if (letter->state == LETTER_WAITING) letter->state = LETTER_SENDING;
  letter->attempts++;
  letter->op = engine_operation(engine, on_result, letter);
  letter->message.wall_ns = engine->wall_ns;
  letter->message.attempt = letter->attempts;
  engine->door.deliver(engine->door.self, letter->op, &letter->message);
}

static void on_timer(nines *engine, struct engine_timer *timer)
{
  struct letter *letter = list_entry(timer, struct letter, timer);
  if (letter->state == LETTER_SENT && letter->superseded) return;
  letter_send(engine, letter);
}

static void after_commit(nines *engine, void *userdata, int code, const char *why)
{
  (void)why;
  char *id = userdata;
  struct letter *letter = map_get(&engine->outbox, view_of(id));
  // A page is sent whether it could be stored or not.
  if (letter && code != NINES_ECANCELED) letter_send(engine, letter);
  mem_free(id);
}

static const char *keep_text(struct letter *letter, const char *text)
{
  const char *copy = pool_copy(&letter->pool, view_of(text ? text : ""));
  CHECK(copy);
  return copy;
}

static const struct value *keep_table(struct letter *letter, const struct value *table)
{
  struct value *copy = pool_alloc(&letter->pool, sizeof *copy);
  CHECK(copy);
  if (!table || !value_copy(&letter->pool, copy, table)) *copy = value_table();
  return copy;
}

static struct letter *letter_make(nines *engine, const char *notifier, const struct letter_draft *draft)
{
  struct letter *letter = mem_must(sizeof *letter);
  letter->engine = engine;
  letter->timer.fn = on_timer;
  letter->message = (struct message){ .notifier = keep_text(letter, notifier),
                                      .kind = keep_text(letter, draft->kind),
                                      .status = keep_text(letter, draft->status),
                                      .alert = keep_text(letter, draft->alert),
                                      .severity = keep_text(letter, draft->severity),
                                      .title = keep_text(letter, draft->title),
                                      .text = keep_text(letter, draft->text),
                                      .labels = keep_table(letter, draft->labels),
                                      .annotations = keep_table(letter, draft->annotations),
                                      .started_wall_ns = draft->started_wall_ns,
                                      .ended_wall_ns = draft->ended_wall_ns };
  return letter;
}

static uint32_t letter_write(nines *engine, const char *notifier, const struct letter_draft *draft)
{
  // A resolution is always written: there is at most one for each letter that is kept.
  if (engine->outbox.count >= LETTERS_MAX && strcmp(draft->status, "resolved") != 0) {
    engine_log(engine, "error", "the outbox is full (%d letters); \"%s\" to %s is dropped", LETTERS_MAX, draft->title,
               notifier);
    return 0;
  }
  struct letter *letter = letter_make(engine, notifier, draft);
  engine_new_id(engine, "m", letter->id);
  letter->message.id = letter->id;
  letter->written_wall_ns = engine->wall_ns;
  CHECK(map_put(&engine->outbox, view_of(letter->id), letter) == 0);
  letter_save(letter);
  engine_after(engine, after_commit, mem_must_copy(letter->id));
  return 1;
}

// The host is somebody to write to, also by name.
static bool is_host(const nines *engine, const char *notifier)
{
  return engine->hosted & NINES_EFFECT_PAGES && strcmp(notifier, host) == 0;
}

static bool has_word(const char *words, const char *word)
{
  size_t size = strlen(word);
  for (const char *at = words; (at = strstr(at, word)); at += size)
    if ((at == words || at[-1] == ' ') && (at[size] == ' ' || !at[size])) return true;
  return false;
}

uint32_t letters_write(nines *engine, const struct letter_draft *draft)
{
  const struct settings *settings = engine->settings;
  if (draft->to && (settings_notifier(settings, draft->to) || is_host(engine, draft->to)))
    return letter_write(engine, draft->to, draft);
  if (draft->to)
    engine_log(engine, "error", "there is no notifier \"%s\" in nines.yaml; sent by the routes instead", draft->to);
  uint32_t written = 0;
  struct map told = { 0 }; // two routes that match may lead to the same notifier
  for (uint32_t i = 0; i < settings->route_count; i++) {
    const struct route_settings *route = &settings->routes[i];
    if (route->severities && !(draft->severity && has_word(route->severities, draft->severity))) continue;
    if (route->service && !(draft->service && strcmp(route->service, draft->service) == 0)) continue;
    for (const char *const *to = route->to; *to; to++)
      if (!map_get(&told, view_of(*to))) {
        CHECK(map_put(&told, view_of(*to), engine) == 0);
        written += letter_write(engine, *to, draft);
      }
    if (!route->go_on) break;
  }
  if (told.count == 0 && is_host(engine, host)) written = letter_write(engine, host, draft);
  map_fini(&told);
  return written;
}

uint32_t letters_resolve(nines *engine, const struct letter_draft *draft)
{
  struct pool pool = { 0 };
  struct value names = value_list(); // first the list: writing grows the map
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->outbox, &at));) {
    struct letter *letter = entry->value;
    if (letter->superseded || strcmp(letter->message.alert, draft->alert) != 0) continue;
    letter->superseded = true;
    if (letter->state == LETTER_SENT) engine_timer_stop(engine, &letter->timer);
    letter_save(letter);
    value_append(&pool, &names, value_text(pool_copy(&pool, view_of(letter->message.notifier))));
  }
  uint32_t written = 0;
  for (size_t i = 0; i < names.list.count; i++) written += letter_write(engine, names.list.items[i].text.data, draft);
  pool_fini(&pool);
  return written;
}

static void load_letter(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  if (json_parse(&pool, json, &document, &status) < 0) {
    engine_log(engine, "error", "letter %s in the store cannot be read: %s", id, status.text);
    pool_fini(&pool);
    return;
  }
  // Texts parsed from JSON end with a NUL in the pool.
  struct letter_draft draft = { .kind = value_get_text(&document, "kind").data,
                                .status = value_get_text(&document, "status").data,
                                .alert = value_get_text(&document, "alert").data,
                                .severity = value_get_text(&document, "severity").data,
                                .title = value_get_text(&document, "title").data,
                                .text = value_get_text(&document, "text").data,
                                .labels = value_get(&document, "labels"),
                                .annotations = value_get(&document, "annotations"),
                                .started_wall_ns = value_get_integer(&document, "started_ns", 0),
                                .ended_wall_ns = value_get_integer(&document, "ended_ns", 0) };
  const char *notifier = value_get_text(&document, "notifier").data;
  struct letter *letter = letter_make(engine, notifier ? notifier : "", &draft);
  snprintf(letter->id, sizeof letter->id, "%s", id);
  letter->message.id = letter->id;
  letter->written_wall_ns = value_get_integer(&document, "written_ns", 0);
  letter->superseded = value_get_bool(&document, "superseded", false);
  letter->state = value_get_bool(&document, "sent", false) ? LETTER_SENT : LETTER_WAITING;
  CHECK(map_put(&engine->outbox, view_of(letter->id), letter) == 0);
  if (letter->state == LETTER_WAITING || (forgets(letter) && !letter->superseded))
    engine_timer_set(engine, &letter->timer, engine->now_ns);
  pool_fini(&pool);
}

void letters_load(nines *engine)
{
  engine->door.documents(engine->door.self, "outbox", load_letter, engine);
  uint32_t pending = letters_pending(engine);
  if (pending) engine_log(engine, "info", "resumed: %u letters in the outbox", pending);
}

void letters_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->outbox, &at));) letter_save(entry->value);
}

uint32_t letters_pending(const nines *engine)
{
  uint32_t pending = 0;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->outbox, &at));)
    pending += ((struct letter *)entry->value)->state != LETTER_SENT;
  return pending;
}

void letters_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->outbox, &at));) {
    struct letter *letter = entry->value;
    pool_fini(&letter->pool);
    mem_free(letter);
  }
  map_fini(&engine->outbox);
}
