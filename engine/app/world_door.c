// The door of a world: what goes out is remembered, and comes back later as a script says, or as things go well.
//
// Commits, deliveries, requests and commands all end a latency after they began, in the order in which they were made.
// A crash ends what only the engine knew of; commands go on under their helpers, as they do on a real machine, and an
// engine that asks for one again by its id gets its outcome.

#include <string.h>

#include "check.h"
#include "duration.h"
#include "json.h"
#include "mem.h"
#include "world_state.h"

// --- what is remembered

static void record_free(struct world_record *record)
{
  pool_fini(&record->pool);
}

struct world_record *world_record(struct world *world, enum world_list list)
{
  struct world_records *records = &world->records[list];
  if (records->count == WORLD_RECORDS_MAX) {
    uint32_t half = WORLD_RECORDS_MAX / 2;
    for (uint32_t i = 0; i < half; i++) record_free(&records->items[i]);
    memmove(records->items, records->items + half, (records->count - half) * sizeof *records->items);
    records->count -= half;
  }
  if (records->count == records->capacity) {
    records->capacity = records->capacity ? 2 * records->capacity : 16;
    records->items = mem_must_resize(records->items, records->capacity * sizeof *records->items);
  }
  struct world_record *record = &records->items[records->count++];
  *record = (struct world_record){ .value = value_table(), .deliveries = 1 };
  value_put(&record->pool, &record->value, "at", value_number((double)world_now_ns(world) / NS_PER_S));
  return record;
}

static void put_text(struct world_record *record, const char *key, const char *text)
{
  value_put_text(&record->pool, &record->value, key, text ? text : "");
}

static void put_copy(struct world_record *record, const char *key, const struct value *from)
{
  struct value copy;
  if (from && value_copy(&record->pool, &copy, from)) value_put(&record->pool, &record->value, key, copy);
}

uint32_t world_count(const struct world *world, enum world_list list)
{
  return world->records[list].count;
}

const struct value *world_at(const struct world *world, enum world_list list, uint32_t index)
{
  return index < world->records[list].count ? &world->records[list].items[index].value : NULL;
}

void world_record_event(void *userdata, const struct event *event)
{
  struct world *world = userdata;
  struct world_record *record = world_record(world, WORLD_EVENTS);
  struct value payload;
  struct status status = { 0 };
  if (json_parse(&record->pool, view_of(event->json), &payload, &status) == 0 && payload.type == VALUE_TABLE) {
    double at = value_get_number(&record->value, "at", 0);
    record->value = payload;
    value_put(&record->pool, &record->value, "at", value_number(at));
  }
  put_text(record, "topic", event->topic);
  put_text(record, "name", event->name);
}

// --- what is under way

static struct world_pending *begin(enum input_kind kind, uint64_t op)
{
  struct world_pending *pending = mem_must(sizeof *pending);
  pending->kind = kind;
  pending->op = op;
  return pending;
}

static void end_later(struct world *world, struct world_pending *pending, int64_t latency_ns)
{
  if (latency_ns < world->latency_ns) latency_ns = world->latency_ns;
  CHECK(heap_insert(&world->pending, &pending->node, world_now_ns(world) + latency_ns) == 0);
}

void world_pending_free(struct world_pending *pending)
{
  txn_fini(&pending->txn);
  buf_free(&pending->body);
  mem_free(pending->command);
  mem_free(pending->service);
  mem_free(pending->version);
  mem_free(pending);
}

static bool commit(void *self, uint64_t ticket, struct txn *txn)
{
  struct world *world = self;
  struct world_pending *pending = begin(INPUT_COMMIT, ticket);
  pending->txn = *txn;
  *txn = (struct txn){ 0 };
  if (world->store_fails) {
    pending->code = NINES_EIO;
    buf_text(&pending->body, "the world's store fails on purpose");
  }
  end_later(world, pending, 0);
  return true;
}

static void reply(void *self, uint64_t op, int status, const struct value *document)
{
  struct world *world = self;
  world->answered = op;
  world->answer_status = status;
  if (!value_copy(&world->answer_pool, &world->answer, document)) world->answer = value_table();
}

// --- scripted replies

static bool target_matches(const char *pattern, const char *target)
{
  return event_matches(pattern, target);
}

static struct world_script *find_reply(struct world *world, const char *method, const char *target)
{
  for (uint32_t i = world->script_count; i-- > 0;) { // the newest counts
    struct world_script *script = &world->scripts[i];
    if (strcmp(script->method, method) != 0 || !target_matches(script->target, target)) continue;
    if (script->reply.times < 0) continue;
    if (script->reply.times > 0 && --script->reply.times == 0) script->reply.times = -1; // used up
    return script;
  }
  return NULL;
}

void world_reply(struct world *world, const char *method, const char *target, const struct world_reply *wanted)
{
  world->scripts = mem_must_resize(world->scripts, (world->script_count + 1) * sizeof *world->scripts);
  struct world_script *script = &world->scripts[world->script_count++];
  *script = (struct world_script){ .method = mem_must_copy(method), .target = mem_must_copy(target) };
  script->reply = *wanted;
  script->body = mem_must_copy_n(wanted->body.data ? wanted->body.data : "", wanted->body.size);
  script->reply.body = (struct view){ script->body, wanted->body.size };
  if (wanted->error) script->reply.error = script->error = mem_must_copy(wanted->error);
}

// Ends it as the script says; false: there is no script for it.
static bool end_by_script(struct world *world, struct world_pending *pending, const struct world_script *script)
{
  if (!script || !script->error) return false;
  pending->code = script->reply.code < 0 ? script->reply.code : NINES_EIO;
  buf_text(&pending->body, script->error);
  end_later(world, pending, script->reply.latency_ns);
  return true;
}

// --- deliveries

static enum world_list list_of(const struct message *message)
{
  if (strcmp(message->status, "resolved") == 0) return WORLD_RESOLUTIONS;
  return strcmp(message->kind, "page") == 0 ? WORLD_PAGES : WORLD_NOTIFICATIONS;
}

// A receiver knows letters by their alert, or by their own id.
static struct world_record *delivered_before(struct world *world, enum world_list list, const struct message *message)
{
  struct world_records *records = &world->records[list];
  const char *key = message->alert[0] ? "alert" : "id";
  const char *id = message->alert[0] ? message->alert : message->id;
  for (uint32_t i = records->count; i-- > 0;) {
    struct world_record *record = &records->items[i];
    if (view_is(value_get_text(&record->value, key), id) &&
        view_is(value_get_text(&record->value, "notifier"), message->notifier))
      return record;
  }
  return NULL;
}

static void deliver(void *self, uint64_t op, const struct message *message)
{
  struct world *world = self;
  struct world_pending *pending = begin(INPUT_RESULT, op);
  events_mix(world->engine->events, message->title, strlen(message->title));
  struct world_script *script = find_reply(world, "deliver", message->notifier);
  if (end_by_script(world, pending, script)) return;
  enum world_list list = list_of(message);
  struct world_record *record = delivered_before(world, list, message);
  if (record) {
    record->deliveries++;
  } else {
    record = world_record(world, list);
    put_text(record, "id", message->id);
    put_text(record, "notifier", message->notifier);
    put_text(record, "kind", message->kind);
    put_text(record, "status", message->status);
    put_text(record, "alert", message->alert);
    put_text(record, "severity", message->severity);
    put_text(record, "title", message->title);
    put_text(record, "text", message->text);
    put_copy(record, "labels", message->labels);
    put_copy(record, "annotations", message->annotations);
  }
  value_put(&record->pool, &record->value, "deliveries", value_integer(record->deliveries));
  end_later(world, pending, script ? script->reply.latency_ns : 0);
}

// --- commands

static const char *environment(const struct door_command *command, const char *name)
{
  size_t size = strlen(name);
  for (const char *const *entry = command->env; entry && *entry; entry++)
    if (strncmp(*entry, name, size) == 0 && (*entry)[size] == '=') return *entry + size + 1;
  return NULL;
}

static void exited(struct buf *out, int status, struct view output)
{
  buf_printf(out, "{\"end\":\"exited\",\"status\":%d,\"describe\":\"exited with status %d\",\"output\":", status,
             status);
  buf_json_text(out, output);
  buf_text(out, "}");
}

static void words_of(const struct door_command *command, struct buf *out)
{
  for (const char *const *word = command->argv; word && *word; word++)
    buf_printf(out, "%s%s", word == command->argv ? "" : " ", *word);
}

// The command that prints what runs: an observation, not remembered.
static const char *probed_service(const struct world *world, const struct door_command *command)
{
  for (uint32_t i = 0; i < world->settings->service_count; i++)
    if (command->argv && world->settings->services[i].current == command->argv)
      return world->settings->services[i].name;
  return NULL;
}

static void resume(struct world *world, uint64_t op, const struct door_command *asked)
{
  struct world_command *command = map_get(&world->commands, view_of(asked->id));
  if (command && command->pending) {
    command->pending->op = op;
    return;
  }
  struct world_pending *pending = begin(INPUT_RESULT, op);
  pending->code = command ? command->code : NINES_ENOTFOUND;
  if (command)
    buf_add(&pending->body, command->body.data, command->body.size);
  else
    buf_text(&pending->body, "no trace of it");
  end_later(world, pending, 0);
}

static void record_command(struct world *world, const struct door_command *command, const char *words)
{
  struct world_record *record = world_record(world, WORLD_COMMANDS);
  struct value argv = value_list();
  for (const char *const *word = command->argv; word && *word; word++)
    value_append(&record->pool, &argv, value_text(pool_copy(&record->pool, view_of(*word))));
  put_text(record, "id", command->id);
  put_text(record, "command", words);
  value_put(&record->pool, &record->value, "argv", argv);
  if (!environment(command, "NINES_TO")) return;
  put_text(record, "service", environment(command, "NINES_SERVICE"));
  put_text(record, "version", environment(command, "NINES_TO"));
  put_text(record, "reason", environment(command, "NINES_REASON"));
}

// What a deployment of this version does; the rest of the outcome is in `pending`.
static int64_t deploy(struct world *world, const struct door_command *command, struct world_pending *pending)
{
  const char *service = environment(command, "NINES_SERVICE"), *version = environment(command, "NINES_TO");
  struct buf key = { 0 };
  buf_printf(&key, "%s\n%s", service, version);
  const struct world_version *known = map_get(&world->versions, buf_view(&key));
  buf_free(&key);
  exited(&pending->body, known && known->fails ? 1 : 0, view_of(""));
  if (!(known && known->fails)) {
    pending->service = mem_must_copy(service);
    pending->version = mem_must_copy(version);
  }
  return known ? known->takes_ns : 0;
}

static void run_command(void *self, uint64_t op, const struct door_command *command)
{
  struct world *world = self;
  const char *probed = probed_service(world, command);
  if (command->resume) {
    resume(world, op, command);
    return;
  }
  struct world_pending *pending = begin(INPUT_RESULT, op);
  struct buf words = { 0 };
  words_of(command, &words);
  if (probed) {
    const char *version = world_version(world, probed);
    exited(&pending->body, 0, view_of(version ? version : ""));
    end_later(world, pending, 0);
    buf_free(&words);
    return;
  }
  events_mix(world->engine->events, words.data, words.size);
  record_command(world, command, words.data ? words.data : "");
  pending->command = mem_must_copy(command->id);
  struct world_command *entry = mem_must(sizeof *entry);
  entry->pending = pending;
  CHECK(!map_get(&world->commands, view_of(command->id))); // the engine starts each at most once
  CHECK(map_put(&world->commands, view_of(command->id), entry) == 0);
  const struct world_script *script = find_reply(world, "exec", words.data ? words.data : "");
  if (!end_by_script(world, pending, script)) {
    int64_t takes_ns = script ? script->reply.latency_ns : 0;
    if (!script && environment(command, "NINES_TO"))
      takes_ns = deploy(world, command, pending);
    else
      exited(&pending->body, script ? script->reply.status : 0, script ? script->reply.body : view_of(""));
    end_later(world, pending, takes_ns);
  }
  buf_free(&words);
}

// --- requests of policies

static void http(void *self, uint64_t op, const struct door_http *request)
{
  struct world *world = self;
  struct world_pending *pending = begin(INPUT_RESULT, op);
  struct world_record *record = world_record(world, WORLD_HTTP);
  events_mix(world->engine->events, request->url, strlen(request->url));
  put_text(record, "method", request->method);
  put_text(record, "url", request->url);
  char *body = pool_copy(&record->pool, request->body);
  if (body) value_put(&record->pool, &record->value, "body", value_view((struct view){ body, request->body.size }));
  const struct world_script *script = find_reply(world, request->method, request->url);
  int64_t latency_ns = script ? script->reply.latency_ns : 0;
  if (!(script && script->error) && latency_ns > request->timeout_ns && request->timeout_ns > 0) {
    char limit[DURATION_TEXT_MAX];
    pending->code = NINES_ETIMEOUT;
    buf_printf(&pending->body, "timeout after %s", duration_format(request->timeout_ns, limit));
    end_later(world, pending, request->timeout_ns);
    return;
  }
  if (end_by_script(world, pending, script)) return;
  buf_printf(&pending->body, "{\"status\":%d,\"body\":", script && script->reply.status ? script->reply.status : 200);
  buf_json_text(&pending->body, script ? script->reply.body : view_of(""));
  buf_text(&pending->body, "}");
  end_later(world, pending, latency_ns);
}

static void cancel(void *self, uint64_t op)
{
  struct world *world = self;
  for (size_t i = 1; i <= world->pending.count; i++) {
    struct world_pending *pending = (struct world_pending *)(void *)world->pending.nodes[i];
    if (pending->kind == INPUT_RESULT && pending->op == op) pending->op = 0;
  }
}

static void log_line(void *self, const char *level, const char *text)
{
  struct world_record *record = world_record(self, WORLD_LOG);
  put_text(record, "level", level);
  put_text(record, "text", text);
}

static bool library(void *self, const char *name, struct view *text)
{
  return world_library(self, name, text);
}

static void documents(void *self, const char *kind, txn_each_fn *each, void *userdata)
{
  struct world *world = self;
  memory_store_each(world->store, kind, each, userdata);
}

struct door world_door(struct world *world)
{
  return (struct door){ .self = world,
                        .commit = commit,
                        .reply = reply,
                        .deliver = deliver,
                        .command = run_command,
                        .http = http,
                        .cancel = cancel,
                        .log = log_line,
                        .library = library,
                        .documents = documents };
}

void world_door_crash(struct world *world)
{
  uint32_t commits = 0;
  for (size_t i = 1; i <= world->pending.count; i++)
    commits += ((struct world_pending *)(void *)world->pending.nodes[i])->kind == INPUT_COMMIT;
  uint64_t stored = rng_below(&world->chance, commits + 1);
  struct heap kept = { 0 };
  for (struct heap_node *node; (node = heap_top(&world->pending));) {
    struct world_pending *pending = (struct world_pending *)(void *)node;
    int64_t due_ns = node->due_ns;
    heap_remove(&world->pending, node);
    if (pending->kind == INPUT_COMMIT && pending->code == 0 && stored > 0) {
      memory_store_apply(world->store, &pending->txn);
      stored--;
    }
    pending->op = 0;
    if (pending->command)
      CHECK(heap_insert(&kept, node, due_ns) == 0);
    else
      world_pending_free(pending);
  }
  heap_fini(&world->pending);
  world->pending = kept;
}

void world_door_close(struct world *world)
{
  for (struct heap_node *node; (node = heap_top(&world->pending));) {
    heap_remove(&world->pending, node);
    world_pending_free((struct world_pending *)(void *)node);
  }
  heap_fini(&world->pending);
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->commands, &at));) {
    buf_free(&((struct world_command *)entry->value)->body);
    mem_free(entry->value);
  }
  map_fini(&world->commands);
  for (uint32_t i = 0; i < world->script_count; i++) {
    mem_free(world->scripts[i].method);
    mem_free(world->scripts[i].target);
    mem_free(world->scripts[i].body);
    mem_free(world->scripts[i].error);
  }
  mem_free(world->scripts);
  for (int list = 0; list < WORLD_LISTS; list++) {
    for (uint32_t i = 0; i < world->records[list].count; i++) record_free(&world->records[list].items[i]);
    mem_free(world->records[list].items);
  }
}
