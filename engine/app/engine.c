// The turn: one input, everything it leads to, one txn.
//
// Determinism rests on this file: time is the input's, completions come back as inputs, numbers for operations and
// tickets are counted here, and whatever is ready runs before the turn ends. What must not happen before it is durable
// waits in `waiting` for its ticket; when the store fails, the waiting learn it, and everything that lives is put again
// until a commit succeeds.

#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert.h"
#include "check.h"
#include "clients.h"
#include "clock.h"
#include "condition.h"
#include "duration.h"
#include "effect.h"
#include "flag.h"
#include "guarded.h"
#include "kept.h"
#include "letter.h"
#include "mem.h"
#include "path.h"
#include "protection.h"
#include "request.h"
#include "rule.h"
#include "service.h"
#include "silence.h"
#include "slo.h"
#include "track.h"
#include "verbs.h"

enum { GAUGES_MAX = 1000, TURN_ROUNDS_MAX = 1000 };
#define SAVE_RETRY_NS (2 * NS_PER_S)

// In the arena: what the engine's monotonic time was at some wall time, for arenas that outlive a boot.
struct arena_clock {
  int64_t now_ns;
  int64_t wall_ns;
};

struct operation {
  operation_fn *fn;
  void *userdata;
};

struct after {
  struct list node; // first
  uint64_t ticket;
  after_fn *fn;
  void *userdata;
};

static struct view number_key(uint64_t number, char out[static 24])
{
  snprintf(out, 24, "%llu", (unsigned long long)number);
  return view_of(out);
}

static void on_event(void *userdata, const struct event *event)
{
  nines *engine = userdata;
  scripts_event(engine->scripts, event);
}

static void hook_publish(void *app, const char *topic, const char *name, const char *json)
{
  nines *engine = app;
  events_publish(engine->events, engine->now_ns, engine->wall_ns, topic, name, json);
}

static void hook_handler_end(void *app, const struct caller *caller, enum task_end end, const char *why)
{
  alert_handler_end(app, caller, end, why);
}

static void hook_function_end(void *app, uint64_t task, enum task_end end, const struct value *results, uint32_t count,
                              const char *why)
{
  track_end(app, task, end, results, count, why);
  guarded_end(app, task, end, results, count, why);
}

static void hook_cancel(void *app, uint64_t token)
{
  effect_unwait(app, token);
  path_unwait(app, token);
  verbs_cancel(app, token);
  track_cancel(app, token);
  guarded_cancel(app, token);
}

static void hook_log(void *app, const char *level, const char *script, const char *text)
{
  engine_log(app, level, "%s: %s", script, text);
}

static bool hook_library(void *app, const char *name, struct view *text)
{
  nines *engine = app;
  return engine->door.library && engine->door.library(engine->door.self, name, text);
}

static void hook_wall_kill(void *app, uint64_t task, uint64_t instructions)
{
  nines *engine = app;
  if (engine->door.wall_kill) engine->door.wall_kill(engine->door.self, task, instructions);
}

static void load_meta(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  if (strcmp(id, "id") == 0) engine->next_id = strtoull(json.data, NULL, 10);
}

static int open_arena(nines *engine, const struct engine_config *config, struct status *status)
{
  struct status notice = { 0 };
  int code = arena_open(&engine->arena, &(struct arena_config){ .path = config->arena_path }, &notice, status);
  if (code < 0) return code;
  if (notice.text[0]) engine_log(engine, "warn", "%s", notice.text);
  struct arena_slot slot;
  code = arena_object(engine->arena, ARENA_CLOCK, view_of("clock"), sizeof(struct arena_clock), &slot, status);
  if (code < 0) return code;
  engine->clock = arena_at(engine->arena, slot.offset);
  if (slot.fresh) *engine->clock = (struct arena_clock){ config->now_ns, config->wall_ns };
  int64_t then_ns = engine->clock->now_ns;
  int64_t shift_ns = (config->now_ns - then_ns) - (config->wall_ns - engine->clock->wall_ns);
  // Within the same boot both clocks agree; after another boot monotonic time has a new origin.
  engine->rebase =
      !slot.fresh && engine->clock->wall_ns != 0 && (then_ns > config->now_ns || llabs(shift_ns) > 5 * NS_PER_S);
  engine->rebase_then_ns = then_ns;
  int64_t gap_ns = config->wall_ns - engine->clock->wall_ns;
  engine->rebase_now_ns = config->now_ns - (gap_ns > 0 ? gap_ns : 0);
  struct writer_claims *claims = NULL;
  if (config->attachable && arena_path(engine->arena) && !(claims = clients_claims(engine->arena, status)))
    return status->code;
  writers_init(&engine->writers, claims);
  writers_bind_loop(&engine->writers);
  guards_init(&engine->guards, engine->arena, &engine->writers, config->seed, config->now_ns);
  engine->guards.rebase = engine->rebase;
  engine->guards.rebase_then_ns = engine->rebase_then_ns;
  engine->guards.rebase_now_ns = engine->rebase_now_ns;
  return claims ? clients_open(&engine->guards, config->now_ns, status) : 0;
}

static int open_scripts(nines *engine, const struct engine_config *config, struct status *status)
{
  struct scripts_config scripts = {
    .hooks = { .app = engine,
               .publish = hook_publish,
               .handler_end = hook_handler_end,
               .function_end = hook_function_end,
               .cancel = hook_cancel,
               .log = hook_log,
               .keep = keep_changed,
               .kept = keep_stored,
               .library = hook_library,
               .wall_kill = hook_wall_kill },
    .nouns = nouns,
    .verbs = verbs,
    .limits = { .wall_ns_max = config->virtual_time ? -1 : 0 },
    .seed = config->seed,
    .now_ns = config->now_ns,
    .wall_ns = config->wall_ns,
    .utc_offset_ns = config->settings->utc_offset_ns,
  };
  return scripts_open(&engine->scripts, &scripts, status);
}

static void save_everything(nines *engine, struct engine_timer *timer)
{
  (void)timer;
  if (!engine->store_failing) return;
  engine_timer_set(engine, &engine->save_timer, engine->now_ns + SAVE_RETRY_NS);
  if (engine->save_ticket) return; // what changed since is in later txns
  engine->save_ticket = engine->next_ticket + 1;
  char text[24];
  txn_put(&engine->txn, engine->wall_ns, "meta", "id", number_key(engine->next_id, text));
  silences_save(engine);
  alerts_save(engine);
  letters_save(engine);
  effects_save(engine);
  services_save(engine);
  flags_save(engine);
  protections_save(engine);
  keeps_save(engine);
}

int engine_open(nines **out, const struct engine_config *config, struct status *status)
{
  nines *engine = mem_must(sizeof *engine);
  *out = NULL;
  engine->settings = config->settings;
  engine->door = config->door;
  engine->seed = config->seed;
  engine->replay = config->replay;
  engine->virtual_time = config->virtual_time;
  engine->simulated = config->simulated;
  engine->hosted = config->hosted;
  engine->observe = config->settings->observe;
  engine->now_ns = engine->started_ns = config->now_ns;
  engine->wall_ns = config->wall_ns;
  engine->next_id = 1;
  engine->save_timer.fn = save_everything;
  list_init(&engine->after);
  list_init(&engine->waiting);
  list_init(&engine->waits);
  list_init(&engine->tracks);
  list_init(&engine->guardeds);
  rng_init(&engine->random, config->seed, "engine");
  engine->events = events_open();
  int code = open_arena(engine, config, status);
  if (code == 0) code = open_scripts(engine, config, status);
  if (code < 0) {
    engine_close(engine);
    return code;
  }
  events_subscribe(engine->events, "*", on_event, engine);
  engine->door.documents(engine->door.self, "meta", load_meta, engine);
  effects_load(engine);
  services_load(engine);
  flags_load(engine);
  protections_load(engine);
  keeps_load(engine);
  silences_load(engine);
  alerts_load(engine);
  letters_load(engine);
  *out = engine;
  return 0;
}

static void free_map(struct map *map)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(map, &at));) mem_free(entry->value);
  map_fini(map);
}

static void run_afters(nines *engine, struct list *list, uint64_t through, int code, const char *why)
{
  list_each (node, list) {
    struct after *after = list_entry(node, struct after, node);
    if (after->ticket > through) break;
    list_remove(node);
    after->fn(engine, after->userdata, code, why);
    mem_free(after);
  }
}

void engine_close(nines *engine)
{
  if (!engine) return;
  if (engine->scripts) scripts_close(engine->scripts);
  run_afters(engine, &engine->waiting, UINT64_MAX, NINES_ECANCELED, "");
  run_afters(engine, &engine->after, UINT64_MAX, NINES_ECANCELED, "");
  heap_fini(&engine->timers); // writes to the timers: before their owners go
  verbs_close(engine);
  tracks_close(engine);
  guardeds_close(engine);
  condition_drafts_clear(engine);
  rules_close(engine);
  slos_close(engine);
  alerts_close(engine);
  silences_close(engine);
  letters_close(engine);
  effects_close(engine);
  services_close(engine);
  flags_close(engine);
  protections_close(engine);
  keeps_close(engine);
  paths_close(engine);
  free_map(&engine->gauges);
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->held, &at));) mem_free(((struct held *)entry->value)->why);
  free_map(&engine->held);
  free_map(&engine->operations);
  clients_close(&engine->guards);
  guards_fini(&engine->guards);
  txn_fini(&engine->txn);
  if (engine->writers.id) writers_fini(&engine->writers);
  if (engine->events) events_close(engine->events);
  arena_close(engine->arena);
  mem_free(engine);
}

// `ticket` 0: the txn was not even taken, and stays.
static void store_result(nines *engine, uint64_t ticket, int code, const char *why)
{
  if (code == 0) {
    if (!engine->store_failing) return;
    if (!engine->save_ticket) engine_timer_set(engine, &engine->save_timer, engine->now_ns);
    // A txn that failed is lost, whatever succeeds after it: only when everything was put again it is as before.
    if (!engine->save_ticket || ticket < engine->save_ticket) return;
    engine_log(engine, "info", "the store works again");
    engine->store_failing = false;
    engine->save_ticket = 0;
    engine_timer_stop(engine, &engine->save_timer);
    return;
  }
  if (ticket && ticket >= engine->save_ticket) engine->save_ticket = 0;
  engine->figures.store_failures++;
  if (!engine->store_failing)
    engine_log(engine, "error", "cannot remember: %s; deciding and paging go on, nothing is acknowledged", why);
  engine->store_failing = true;
  snprintf(engine->store_error, sizeof engine->store_error, "%s", why);
  if (!engine->save_timer.node.place) engine_timer_set(engine, &engine->save_timer, engine->now_ns + SAVE_RETRY_NS);
}

static void finish_turn(nines *engine)
{
  // What runs after a commit that needs none may ask for another: a few rounds at most.
  for (int round = 0; round < TURN_ROUNDS_MAX; round++) {
    if (engine->txn.count == 0) {
      if (list_empty(&engine->after)) return;
      run_afters(engine, &engine->after, UINT64_MAX, 0, "");
      continue;
    }
    uint64_t ticket = engine->next_ticket + 1;
    if (!engine->door.commit(engine->door.self, ticket, &engine->txn)) {
      // Nothing was taken: the ops stay for the next turn, and nobody is told that they are durable.
      store_result(engine, 0, NINES_ELIMIT, "the store's queue is full");
      run_afters(engine, &engine->after, UINT64_MAX, NINES_ELIMIT, "the store's queue is full");
      return;
    }
    engine->next_ticket = ticket;
    list_each (node, &engine->after) {
      list_remove(node);
      list_entry(node, struct after, node)->ticket = ticket;
      list_append(&engine->waiting, node);
    }
  }
}

static void apply_result(nines *engine, const struct input *input)
{
  char text[24];
  struct operation *operation = map_remove(&engine->operations, number_key(input->op, text));
  if (!operation) return; // cancelled meanwhile
  struct operation copy = *operation;
  mem_free(operation);
  copy.fn(engine, copy.userdata, input->code, input->body);
}

static void apply_reload(nines *engine)
{
  struct status status = { 0 };
  int rejected = scripts_reload(engine->scripts, &status);
  if (rejected > 0) engine_log(engine, "error", "%s", status.text);
  if (!engine->settled) {
    engine->settled = true;
    alerts_reconcile(engine);
    services_settle(engine);
    verbs_settle(engine);
  } else {
    alerts_adopt(engine);
  }
  paths_republish(engine);
  alerts_republish(engine);
  condition_drafts_clear(engine);
}

static void apply(nines *engine, const struct input *input)
{
  struct status status = { 0 };
  switch (input->kind) {
  case INPUT_BEAT:
    engine->figures.beats++;
    engine->clock->now_ns = engine->now_ns;
    engine->clock->wall_ns = engine->wall_ns;
    if (engine->replay) nines_arena_fold(&engine->guards, engine->now_ns);
    if (paths_fold(engine, input->body, &status) < 0) engine_log(engine, "error", "%s", status.text);
    break;
  case INPUT_SOURCE: {
    char *file = mem_must_copy_n(input->name.data, input->name.size);
    struct view text = input->code == 1 ? (struct view){ 0 } : input->body;
    struct held *held = map_get(&engine->held, view_of(file));
    if (held) {
      mem_free(held->why);
      held->why = NULL;
    }
    if (scripts_source(engine->scripts, file, text, &status) < 0) engine_log(engine, "error", "%s", status.text);
    mem_free(file);
    break;
  }
  case INPUT_RELOAD:
    apply_reload(engine);
    break;
  case INPUT_CALL:
    request_apply(engine, input);
    break;
  case INPUT_RESULT:
    apply_result(engine, input);
    break;
  case INPUT_COMMIT: {
    char *why = mem_must_copy_n(input->body.data ? input->body.data : "", input->body.size);
    store_result(engine, input->op, input->code, why);
    run_afters(engine, &engine->waiting, input->op, input->code, why);
    mem_free(why);
    break;
  }
  case INPUT_KILL:
    scripts_kill_at(engine->scripts, input->op, (uint64_t)input->code);
    break;
  case INPUT_STEP:
    engine_log(engine, "warn", "the system's wall clock was stepped by %lld ms",
               (long long)((int64_t)input->op / NS_PER_MS));
    silences_stepped(engine);
    break;
  case INPUT_DOCUMENT:
  case INPUT_START:
  case INPUT_KIND_END:
    break;
  }
}

static void run_timers(nines *engine)
{
  for (struct heap_node *node; (node = heap_top(&engine->timers)) && node->due_ns <= engine->now_ns;) {
    heap_remove(&engine->timers, node);
    struct engine_timer *timer = (struct engine_timer *)(void *)node;
    timer->fn(engine, timer);
  }
}

void engine_input(nines *engine, const struct input *input)
{
  int64_t cpu_ns = engine->virtual_time ? 0 : clock_thread_cpu_ns();
  if (input->now_ns > engine->now_ns) engine->now_ns = input->now_ns;
  engine->wall_ns = input->wall_ns;
  engine->figures.turns++;
  apply(engine, input);
  run_timers(engine);
  scripts_run(engine->scripts, engine->now_ns, engine->wall_ns);
  finish_turn(engine);
  if (engine->virtual_time) return;
  cpu_ns = clock_thread_cpu_ns() - cpu_ns;
  if (cpu_ns > engine->figures.turn_ns_max) engine->figures.turn_ns_max = cpu_ns;
}

int64_t engine_due_ns(const nines *engine)
{
  const struct heap_node *node = heap_top(&engine->timers);
  int64_t scripts_ns = scripts_due_ns(engine->scripts);
  return node && node->due_ns < scripts_ns ? node->due_ns : scripts_ns;
}

void engine_settings(nines *engine, const struct settings *settings)
{
  engine->settings = settings;
  engine->observe = settings->observe;
}

struct gauge *engine_gauge(nines *engine, const char *name, const char *labels)
{
  struct buf key = { 0 };
  buf_printf(&key, "%s\n%s", name, labels ? labels : "");
  struct gauge *gauge = map_get(&engine->gauges, buf_view(&key));
  if (!gauge && engine->gauges.count < GAUGES_MAX) {
    gauge = mem_must(sizeof *gauge);
    gauge->value = gauge->seen = NAN;
    if (map_put(&engine->gauges, buf_view(&key), gauge) < 0) {
      mem_free(gauge);
      gauge = NULL;
    }
  }
  buf_free(&key);
  return gauge;
}

void engine_timer_set(nines *engine, struct engine_timer *timer, int64_t due_ns)
{
  CHECK(heap_insert(&engine->timers, &timer->node, due_ns) == 0);
}

void engine_timer_stop(nines *engine, struct engine_timer *timer)
{
  heap_remove(&engine->timers, &timer->node);
}

uint64_t engine_operation(nines *engine, operation_fn *fn, void *userdata)
{
  struct operation *operation = mem_must(sizeof *operation);
  *operation = (struct operation){ fn, userdata };
  char text[24];
  uint64_t op = ++engine->next_operation;
  CHECK(map_put(&engine->operations, number_key(op, text), operation) == 0);
  return op;
}

void engine_operation_drop(nines *engine, uint64_t op)
{
  char text[24];
  mem_free(map_remove(&engine->operations, number_key(op, text)));
}

void engine_after(nines *engine, after_fn *fn, void *userdata)
{
  struct after *after = mem_must(sizeof *after);
  *after = (struct after){ .fn = fn, .userdata = userdata };
  list_append(&engine->after, &after->node);
}

struct reply {
  uint64_t op;
  int status;
  struct pool pool;
  struct value document;
};

static void send_reply(nines *engine, void *userdata, int code, const char *why)
{
  struct reply *reply = userdata;
  if (code < 0 && code != NINES_ECANCELED) {
    reply->status = 503;
    reply->document = value_table();
    value_put_format(&reply->pool, &reply->document, "detail", "not stored: %s; nothing was acknowledged, try again",
                     why);
  }
  if (code != NINES_ECANCELED) engine->door.reply(engine->door.self, reply->op, reply->status, &reply->document);
  pool_fini(&reply->pool);
  mem_free(reply);
}

void engine_reply(nines *engine, uint64_t op, int status, const struct value *document)
{
  if (op == 0) return; // nobody waits
  struct reply *reply = mem_must(sizeof *reply);
  reply->op = op;
  reply->status = status;
  if (!value_copy(&reply->pool, &reply->document, document)) reply->document = value_table();
  engine_after(engine, send_reply, reply);
}

void engine_publish(nines *engine, const char *topic, const char *name, const struct value *payload)
{
  struct buf json = { 0 };
  if (payload)
    value_to_json(payload, &json);
  else
    buf_text(&json, "{}");
  events_publish(engine->events, engine->now_ns, engine->wall_ns, topic, name, json.failed ? "{}" : json.data);
  buf_free(&json);
}

void engine_log(nines *engine, const char *level, const char *format, ...)
{
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (engine->door.log) engine->door.log(engine->door.self, level, text);
}

void engine_put(nines *engine, const char *kind, const char *id, const struct value *document)
{
  struct buf json = { 0 };
  value_to_json(document, &json);
  txn_put(&engine->txn, engine->wall_ns, kind, id, buf_view(&json));
  buf_free(&json);
}

void engine_delete(nines *engine, const char *kind, const char *id)
{
  txn_delete(&engine->txn, engine->wall_ns, kind, id);
}

void engine_audit(nines *engine, const char *actor, const char *action, const char *target, const struct value *details)
{
  struct buf json = { 0 };
  if (details)
    value_to_json(details, &json);
  else
    buf_text(&json, "{}");
  txn_audit(&engine->txn, engine->wall_ns, actor, action, target, buf_view(&json));
  buf_free(&json);
}

char *engine_new_id(nines *engine, const char *prefix, char out[static 24])
{
  char text[24];
  snprintf(out, 24, "%s%llu", prefix, (unsigned long long)engine->next_id++);
  txn_put(&engine->txn, engine->wall_ns, "meta", "id", number_key(engine->next_id, text));
  return out;
}

void engine_observed(nines *engine, const char *effect, const char *target, const char *why)
{
  struct pool pool = { 0 };
  struct value payload = value_table();
  value_put_text(&pool, &payload, "effect", effect);
  value_put_text(&pool, &payload, "why", why ? why : "");
  engine_publish(engine, "effect.observed", target, &payload);
  engine_log(engine, "info", "observe: would have done %s %s (%s)", effect, target, why ? why : "");
  pool_fini(&pool);
}
