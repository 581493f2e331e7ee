// page, notify, exec, http.*: from a script's arguments to the door, and the outcome back to the waiting task.

#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "check.h"
#include "duration.h"
#include "effect.h"
#include "flag.h"
#include "json.h"
#include "letter.h"
#include "mem.h"
#include "path.h"
#include "protection_nouns.h"
#include "schema.h"
#include "service.h"
#include "slo.h"

const struct noun *const nouns[] = { &path_noun,    &slo_noun,     &alert_noun,   &service_noun,  &deployment_noun,
                                     &flag_noun,    &breaker_noun, &limiter_noun, &bulkhead_noun, &adaptive_limit_noun,
                                     &shedder_noun, &retry_noun,   &timeout_noun, &fallback_noun, NULL };

static const struct value empty_table = { .type = VALUE_TABLE };

// --- page and notify

struct page_settings {
  const struct value *about;
  const char *title, *text, *to;
  int severity;
  int64_t at_most_every_ns;
};

static const char *const severity_choices[] = { "P0", "P1", "P2", NULL };
static const struct schema_field page_fields[] = {
  { .key = "about", .type = SCHEMA_VALUE, .offset = offsetof(struct page_settings, about) },
  { .key = "title", .type = SCHEMA_TEXT, .offset = offsetof(struct page_settings, title) },
  { .key = "text", .type = SCHEMA_TEXT, .offset = offsetof(struct page_settings, text) },
  { .key = "to", .type = SCHEMA_TEXT, .offset = offsetof(struct page_settings, to) },
  { .key = "severity",
    .type = SCHEMA_CHOICE,
    .choices = severity_choices,
    .offset = offsetof(struct page_settings, severity) },
  { .key = "at_most_every", .type = SCHEMA_INTERVAL, .offset = offsetof(struct page_settings, at_most_every_ns) },
  { 0 },
};

static int read_page(struct call *call, const char *verb, struct page_settings *out)
{
  static const struct value none = { .type = VALUE_TABLE };
  const struct value *settings = call->argument_count > 0 ? &call->arguments[0] : &none;
  struct value wrapped = value_table();
  if (settings->type == VALUE_TEXT) { // page "title"
    value_put(call->pool, &wrapped, "title", *settings);
    settings = &wrapped;
  }
  *out = (struct page_settings){ .severity = -1 };
  return schema_decode(page_fields, settings, out, verb, call->pool, &call->status);
}

// The open alert that a page is about: of the path it names, or of the handler's own.
static struct alert *alert_about(nines *engine, const struct call *call, const struct value *about)
{
  const char *name = strncmp(call->caller->topic, "critical_path.", 14) == 0 ? call->caller->name : NULL;
  if (about && about->type == VALUE_OBJECT && about->object.noun == &alert_noun)
    return alert_of_rule(engine, ((const struct rule *)(uintptr_t)about->object.handle)->name, NULL);
  if (!about && strncmp(call->caller->topic, "alert.", 6) == 0) return alert_of_rule(engine, call->caller->name, NULL);
  if (about && about->type == VALUE_OBJECT && about->object.noun == &path_noun)
    name = ((const struct path *)(uintptr_t)about->object.handle)->name;
  return name ? alert_of(engine, "critical_path", name) : NULL;
}

// True when the same words were sent by this script within `every_ns`.
static bool too_soon(nines *engine, const struct caller *caller, const char *title, int64_t every_ns)
{
  if (every_ns == 0) return false;
  struct buf key = { 0 };
  buf_printf(&key, "%s\n%s", caller->script, title);
  int64_t *last_ns = map_get(&engine->throttles, buf_view(&key));
  bool soon = last_ns && engine->wall_ns - *last_ns < every_ns;
  if (!last_ns && engine->throttles.count < 1000) {
    last_ns = mem_must(sizeof *last_ns);
    CHECK(map_put(&engine->throttles, buf_view(&key), last_ns) == 0);
  }
  if (!soon && last_ns) *last_ns = engine->wall_ns;
  buf_free(&key);
  return soon;
}

// A letter that is about no alert. Within an episode the same words are sent once.
static uint32_t send_letter(nines *engine, struct call *call, const char *kind, const struct page_settings *settings)
{
  const struct caller *caller = call->caller;
  const char *title = settings->title ? settings->title : settings->text ? settings->text : caller->script;
  if (too_soon(engine, caller, title, settings->at_most_every_ns)) return 0;
  struct buf asker = { 0 };
  bool fresh;
  buf_printf(&asker, "policy:%s", caller->script);
  char *key = effect_key(engine, caller, kind, settings->to ? settings->to : "", title, call->pool);
  if (key) {
    struct effect *effect =
        effect_get(engine, key, kind, settings->to ? settings->to : "routes", asker.data, title, &fresh);
    if (fresh) effect_end(engine, effect, EFFECT_DONE, "written");
    if (!fresh) {
      buf_free(&asker);
      return 0;
    }
  }
  struct value labels = value_table(), annotations = value_table();
  value_put_text(call->pool, &labels, "alertname", strcmp(kind, "page") == 0 ? "policy_page" : "policy_note");
  value_put_text(call->pool, &labels, "policy", caller->script);
  const struct path *path = strncmp(caller->topic, "critical_path.", 14) == 0 ? path_find(engine, caller->name) : NULL;
  if (path) value_put_text(call->pool, &labels, "critical_path", path->name);
  value_put_text(call->pool, &annotations, "summary", title);
  const char *severity = settings->severity >= 0     ? severity_name(settings->severity)
                         : strcmp(kind, "page") == 0 ? "P1"
                                                     : "";
  if (severity[0]) value_put_text(call->pool, &labels, "severity", severity);
  struct letter_draft draft = { .kind = kind,
                                .status = "",
                                .alert = "",
                                .severity = severity,
                                .title = title,
                                .text = settings->text,
                                .to = settings->to,
                                .service = path ? path->settings.service : NULL,
                                .labels = &labels,
                                .annotations = &annotations,
                                .started_wall_ns = engine->wall_ns };
  buf_free(&asker);
  return letters_write(engine, &draft);
}

static int verb_page(void *app, uint64_t handle, struct call *call)
{
  nines *engine = app;
  struct page_settings settings;
  (void)handle;
  if (read_page(call, "page", &settings) < 0) return call->status.code;
  struct alert *alert = alert_about(engine, call, settings.about);
  if (alert) {
    char why[300];
    snprintf(why, sizeof why, "policy %s", call->caller->script);
    const char *severity = settings.severity >= 0 ? severity_name(settings.severity) : NULL;
    call_return(call, value_bool(alert_page(engine, alert, severity, settings.title, settings.text, why)));
    return CALL_DONE;
  }
  if (engine->observe) {
    engine_observed(engine, "page", settings.title ? settings.title : "", call->caller->script);
    call_return(call, value_bool(true));
    call_return(call, value_text("observed"));
    return CALL_DONE;
  }
  engine->figures.pages++;
  call_return(call, value_bool(send_letter(engine, call, "page", &settings) > 0));
  return CALL_DONE;
}

static int verb_notify(void *app, uint64_t handle, struct call *call)
{
  nines *engine = app;
  struct page_settings settings;
  (void)handle;
  if (read_page(call, "notify", &settings) < 0) return call->status.code;
  if (engine->observe) {
    engine_observed(engine, "notify", settings.title ? settings.title : "", call->caller->script);
    call_return(call, value_bool(true));
    call_return(call, value_text("observed"));
    return CALL_DONE;
  }
  engine->figures.notifications++;
  call_return(call, value_bool(send_letter(engine, call, "notify", &settings) > 0));
  return CALL_DONE;
}

// --- operations that a task waits for

enum { OUTCOME_BYTES_MAX = 512 << 10 };

struct wait {
  struct list node;
  uint64_t token, op;
  nines *engine;
  struct effect *effect; // of exec and of http verbs that change something; NULL for reads
  bool http;
};

static void wait_end(struct wait *wait)
{
  list_remove(&wait->node);
  mem_free(wait);
}

static const char *code_word(int code)
{
  return code == NINES_ETIMEOUT    ? "timeout"
         : code == NINES_ELIMIT    ? "limit"
         : code == NINES_ENOTFOUND ? "unknown"
                                   : "io";
}

static void on_operation(nines *engine, void *userdata, int code, struct view body)
{
  struct wait *wait = userdata;
  struct pool pool = { 0 };
  struct status status = { 0 };
  struct value results[3] = { value_nil(), value_view(body), value_text(code_word(code)) };
  uint32_t count = 3;
  if (code == 0 && json_parse(&pool, body, &results[0], &status) == 0) count = 1;
  if (code == 0 && count == 3) results[1] = value_text(status.text);
  if (wait->effect) {
    // Whole, so that asking again gives the same; a longer one is only known to have ended.
    char *outcome = mem_must_copy_n(body.data ? body.data : "", body.size <= OUTCOME_BYTES_MAX ? body.size : 0);
    effect_end(engine, wait->effect,
               code == 0                 ? EFFECT_DONE
               : code == NINES_ENOTFOUND ? EFFECT_UNKNOWN
                                         : EFFECT_FAILED,
               outcome);
    mem_free(outcome);
  }
  if (wait->token) scripts_wake(engine->scripts, wait->token, results, count);
  pool_fini(&pool);
  wait_end(wait);
}

void verbs_cancel(nines *engine, uint64_t token)
{
  list_each (node, &engine->waits) {
    struct wait *wait = list_entry(node, struct wait, node);
    if (wait->token != token) continue;
    wait->token = 0;
    if (wait->effect || !wait->op) return; // it goes on: its outcome belongs to the ledger
    engine->door.cancel(engine->door.self, wait->op);
    engine_operation_drop(engine, wait->op);
    wait_end(wait);
    return;
  }
}

void verbs_close(nines *engine)
{
  if (engine->waits.next)
    list_each (node, &engine->waits) mem_free(list_entry(node, struct wait, node));
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->throttles, &at));) mem_free(entry->value);
  map_fini(&engine->throttles);
}

// The helper knows how a command ended; of a request nobody knows whether it arrived.
static void settle_command(nines *engine, struct effect *effect)
{
  struct wait *wait = mem_must(sizeof *wait);
  *wait = (struct wait){ .engine = engine, .effect = effect };
  list_append(&engine->waits, &wait->node);
  wait->op = engine_operation(engine, on_operation, wait);
  struct door_command command = {
    .id = effect->id, .kind = "exec", .target = effect->target, .subject = effect->why, .resume = true
  };
  engine->door.command(engine->door.self, wait->op, &command);
}

static void settle_request(nines *engine, struct effect *effect)
{
  effect_end(engine, effect, EFFECT_UNKNOWN, "the engine was interrupted before the answer came");
}

void verbs_settle(nines *engine)
{
  static const char *const requests[] = { "http.POST", "http.PUT", "http.DELETE" };
  effects_each_open(engine, "exec", settle_command);
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
    effects_each_open(engine, requests[i], settle_request);
}

static struct wait *wait_make(nines *engine, struct call *call, struct effect *effect)
{
  struct wait *wait = mem_must(sizeof *wait);
  *wait = (struct wait){ .engine = engine, .effect = effect };
  wait->token = call->wait_token = scripts_token(engine->scripts);
  list_append(&engine->waits, &wait->node);
  return wait;
}

// --- exec

struct exec_settings {
  int64_t timeout_ns;
  const char *input;
};

static const struct schema_field exec_fields[] = {
  { .key = "timeout",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct exec_settings, timeout_ns),
    .min = (double)NS_PER_MS,
    .max = (double)NS_PER_H,
    .fallback = "30s" },
  { .key = "input", .type = SCHEMA_TEXT, .offset = offsetof(struct exec_settings, input) },
  { 0 },
};

// Everything that a command or a changing request needs after its journal entry is durable.
struct prepared {
  struct wait *wait;
  struct pool pool;
  struct door_command command;
  struct door_http http;
};

static void start_prepared(nines *engine, void *userdata, int code, const char *why)
{
  struct prepared *prepared = userdata;
  struct wait *wait = prepared->wait;
  if (code < 0 && code != NINES_ECANCELED) {
    on_operation(engine, wait, NINES_EIO, view_of(why));
  } else if (code == 0) {
    wait->op = engine_operation(engine, on_operation, wait);
    if (wait->http)
      engine->door.http(engine->door.self, wait->op, &prepared->http);
    else
      engine->door.command(engine->door.self, wait->op, &prepared->command);
  }
  pool_fini(&prepared->pool);
  mem_free(prepared);
}

// exec { "kubectl", "get", "pods", timeout = "10s" } or exec("kubectl", "get", "pods"): { status, output } or nil, why,
// code.
static int collect_argv(struct call *call, struct pool *pool, const char ***out, const struct value **options)
{
  const struct value *words = call->arguments;
  uint32_t count = call->argument_count;
  *options = &empty_table;
  if (count > 0 && words[0].type == VALUE_LIST) {
    if (count > 1) *options = &call->arguments[1];
    count = (uint32_t)words[0].list.count;
    words = words[0].list.items;
  } else if (count > 1 && words[count - 1].type == VALUE_TABLE) {
    *options = &words[--count];
  }
  if (count == 0 || count > 64)
    return status_set(&call->status, NINES_EINVAL,
                      "exec takes the words of a command: exec { \"./restart.sh\", \"web\" }");
  const char **argv = pool_alloc(pool, (count + 1) * sizeof *argv);
  CHECK(argv);
  for (uint32_t i = 0; i < count; i++) {
    if (words[i].type != VALUE_TEXT)
      return status_set(&call->status, NINES_EINVAL, "exec: word %u is %s, not a text", i + 1,
                        value_type_name(&words[i]));
    argv[i] = pool_copy(pool, words[i].text);
  }
  *out = argv;
  return 0;
}

static int return_outcome(nines *engine, struct call *call, struct effect *effect)
{
  (void)engine;
  struct status status = { 0 };
  struct value document;
  if (effect->state == EFFECT_STARTED) {
    call->wait_token = scripts_token(engine->scripts);
    effect_wait(engine, effect, call->wait_token);
    return CALL_WAIT;
  }
  if (effect->state == EFFECT_DONE && json_parse(call->pool, view_of(effect->outcome), &document, &status) == 0) {
    call_return(call, document);
    return CALL_DONE;
  }
  if (effect->state == EFFECT_DONE) {
    call_return(call, value_bool(true));
    return CALL_DONE;
  }
  return call_fail(call, effect->state == EFFECT_UNKNOWN ? "unknown" : "failed", "%s",
                   effect->outcome ? effect->outcome : "");
}

static int start_once(nines *engine, struct call *call, const char *kind, const char *target, const char *arguments,
                      struct prepared *prepared)
{
  bool fresh;
  struct buf asker = { 0 };
  if (engine->observe) {
    engine_observed(engine, kind, target, call->caller->script);
    pool_fini(&prepared->pool);
    mem_free(prepared);
    call_return(call, value_bool(true));
    call_return(call, value_text("observed"));
    return CALL_DONE;
  }
  buf_printf(&asker, "policy:%s", call->caller->script);
  char *key = effect_key(engine, call->caller, kind, target, arguments, call->pool);
  struct effect *effect = effect_get(engine, key, kind, target, asker.data, arguments, &fresh);
  buf_free(&asker);
  if (!fresh) {
    pool_fini(&prepared->pool);
    mem_free(prepared);
    return return_outcome(engine, call, effect);
  }
  prepared->wait = wait_make(engine, call, effect);
  prepared->wait->http = strncmp(kind, "http.", 5) == 0;
  prepared->command.id = pool_copy(&prepared->pool, view_of(effect->id));
  engine_after(engine, start_prepared, prepared);
  return CALL_WAIT;
}

static int verb_exec(void *app, uint64_t handle, struct call *call)
{
  nines *engine = app;
  const struct value *options;
  const char **argv = NULL;
  struct exec_settings settings = { 0 };
  struct prepared *prepared = mem_must(sizeof *prepared);
  (void)handle;
  int code = collect_argv(call, &prepared->pool, &argv, &options);
  if (code == 0) code = schema_decode(exec_fields, options, &settings, "exec", &prepared->pool, &call->status);
  if (code < 0) {
    pool_fini(&prepared->pool);
    mem_free(prepared);
    return code;
  }
  struct buf words = { 0 };
  for (const char **word = argv; *word; word++) buf_printf(&words, "%s%s", word == argv ? "" : " ", *word);
  prepared->command = (struct door_command){ .kind = "exec",
                                             .target = argv[0],
                                             .subject = pool_copy(&prepared->pool, buf_view(&words)),
                                             .argv = argv,
                                             .timeout_ns = settings.timeout_ns,
                                             .input = view_of(settings.input) };
  if (settings.input) buf_printf(&words, "\n%s", settings.input); // another input is another effect
  code = start_once(engine, call, "exec", argv[0], words.data, prepared);
  buf_free(&words);
  return code;
}

// --- http

struct http_settings {
  int64_t timeout_ns;
  const struct value *headers;
  const char *body;
  const struct value *json;
};

static const struct schema_field http_fields[] = {
  { .key = "timeout",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct http_settings, timeout_ns),
    .min = (double)NS_PER_MS,
    .max = (double)(10 * NS_PER_MIN),
    .fallback = "10s" },
  { .key = "headers", .type = SCHEMA_VALUE, .offset = offsetof(struct http_settings, headers) },
  { .key = "body", .type = SCHEMA_TEXT, .offset = offsetof(struct http_settings, body) },
  { .key = "json", .type = SCHEMA_VALUE, .offset = offsetof(struct http_settings, json) },
  { 0 },
};

static int collect_headers(struct call *call, struct pool *pool, const struct http_settings *settings,
                           const char ***out)
{
  size_t count = settings->headers && settings->headers->type == VALUE_TABLE ? settings->headers->table.count : 0;
  if (count > 64) return status_set(&call->status, NINES_EINVAL, "http: at most 64 headers");
  const char **headers = pool_alloc(pool, (count + 2) * sizeof *headers);
  CHECK(headers);
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    const struct member *member = &settings->headers->table.members[i];
    if (member->value.type != VALUE_TEXT || memchr(member->value.text.data, '\n', member->value.text.size))
      return status_set(&call->status, NINES_EINVAL, "http: header %.*s must be one line of text",
                        (int)member->key.size, member->key.data);
    struct buf line = { 0 };
    buf_printf(&line, "%.*s: %.*s", (int)member->key.size, member->key.data, (int)member->value.text.size,
               member->value.text.data);
    headers[n++] = pool_copy(pool, buf_view(&line));
    buf_free(&line);
  }
  if (settings->json) headers[n++] = "Content-Type: application/json";
  *out = headers;
  return 0;
}

static int http_prepare(struct call *call, struct prepared *prepared, const char *method)
{
  struct http_settings settings = { 0 };
  const char **headers = NULL;
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_TEXT)
    return status_set(&call->status, NINES_EINVAL, "http: the first argument is a URL");
  char *url = pool_copy(&prepared->pool, call->arguments[0].text);
  if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
    return status_set(&call->status, NINES_EINVAL, "http: \"%.100s\" is not an http or https URL", url);
  const struct value *options = call->argument_count > 1 ? &call->arguments[1] : &empty_table;
  int code = schema_decode(http_fields, options, &settings, "http", &prepared->pool, &call->status);
  if (code == 0) code = collect_headers(call, &prepared->pool, &settings, &headers);
  if (code < 0) return code;
  struct view body = view_of(settings.body);
  if (settings.json) {
    struct buf json = { 0 };
    value_to_json(settings.json, &json);
    body = (struct view){ pool_copy(&prepared->pool, buf_view(&json)), json.size };
    buf_free(&json);
  } else if (body.size) {
    body.data = pool_copy(&prepared->pool, body);
  }
  prepared->http = (struct door_http){
    .method = method, .url = url, .headers = headers, .body = body, .timeout_ns = settings.timeout_ns
  };
  return 0;
}

static int http_call(nines *engine, struct call *call, const char *method, bool read)
{
  struct prepared *prepared = mem_must(sizeof *prepared);
  int code = http_prepare(call, prepared, method);
  if (code < 0) {
    pool_fini(&prepared->pool);
    mem_free(prepared);
    return code;
  }
  if (!read) {
    char kind[24];
    snprintf(kind, sizeof kind, "http.%s", method);
    struct buf arguments = { 0 };
    buf_add(&arguments, prepared->http.body.data, prepared->http.body.size);
    code = start_once(engine, call, kind, prepared->http.url, arguments.data ? arguments.data : "", prepared);
    buf_free(&arguments);
    return code;
  }
  prepared->wait = wait_make(engine, call, NULL);
  prepared->wait->http = true;
  prepared->wait->op = engine_operation(engine, on_operation, prepared->wait);
  engine->door.http(engine->door.self, prepared->wait->op, &prepared->http);
  pool_fini(&prepared->pool);
  mem_free(prepared);
  return CALL_WAIT;
}

static int verb_http_get(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  return http_call(app, call, "GET", true);
}
static int verb_http_head(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  return http_call(app, call, "HEAD", true);
}
static int verb_http_post(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  return http_call(app, call, "POST", false);
}
static int verb_http_put(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  return http_call(app, call, "PUT", false);
}
static int verb_http_delete(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  return http_call(app, call, "DELETE", false);
}

const struct verb verbs[] = {
  { .name = "page", .call = verb_page },
  { .name = "notify", .call = verb_notify },
  { .name = "exec", .call = verb_exec },
  { .name = "http.get", .call = verb_http_get },
  { .name = "http.head", .call = verb_http_head },
  { .name = "http.post", .call = verb_http_post },
  { .name = "http.put", .call = verb_http_put },
  { .name = "http.delete", .call = verb_http_delete },
  { 0 },
};
