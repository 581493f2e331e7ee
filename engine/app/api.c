// The HTTP API under /v1, with /metrics, /healthz and /readyz.
//
//   POST   /v1/observations                      one object, an array, or NDJSON: 202
//   GET    /v1/status  /v1/alerts[?all=1]  /v1/explain/NAME  /v1/services/NAME  /metrics  /healthz  /readyz
//   GET    /v1/events[?after=N][&topic=PATTERN]  the kept ones; with Accept: text/event-stream (Last-Event-ID) a stream
//   GET    /v1/slos  and, in Prometheus' shapes, /api/v1/rules  /api/v1/alerts
//   GET    /api/v2/status  receivers  alerts  silences  silence/ID; POST silences; DELETE silence/ID: Alertmanager's
//   GET    /v1/protections                       all; /v1/breakers[/NAME] and so on: those of a noun
//   POST   /v1/alerts/ID/ack  /v1/services/NAME/deployments  /v1/services/NAME/rollback  /v1/policies/FILE/enable
//   PUT    /v1/flags/NAME {"on", "reason"}       DELETE: lifts what a person set
//   PUT    /v1/breakers/NAME {"state", "for", "reason"}  /v1/shedders/NAME {"percent", "for", "reason"}  DELETE: lifts
//   POST   /v1/breakers/NAME/reset  /v1/reload  /v1/backup {"file"}  /v1/stop
// Changes need Content-Type: application/json, and an actor: the header Nines-Actor, else "local" or the kind of peer.
// They are inputs, answered after their commit.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alertmanager_api.h"
#include "check.h"
#include "clock.h"
#include "duration.h"
#include "json.h"
#include "live.h"
#include "mem.h"
#include "overview.h"
#include "path.h"
#include "protection_overview.h"
#include "rules_api.h"
#include "silence.h"

static const char json_type[] = "application/json";

static void reply_value(struct exchange *exchange, int status, const struct value *document)
{
  struct buf out = { 0 };
  value_to_json(document, &out);
  buf_byte(&out, '\n');
  exchange_reply(exchange, status, json_type, buf_view(&out), NULL);
  buf_free(&out);
}

// --- observations

// Names of the batch that are no path yet. NINES_ELIMIT or NINES_EINVAL, with the first observation that cannot be,
// when they cannot all become one.
static int collect_names(struct live *live, const struct observations *batch, struct map *names, struct status *status)
{
  nines *engine = live->engine;
  struct view last = { 0 };
  for (size_t i = 0; i < batch->count; i++) {
    struct view name = batch->items[i].path;
    if (view_equal(name, last)) continue;
    last = name;
    if (map_get(&engine->paths, name) || map_get(names, name)) continue;
    if (name.size > PATH_NAME_MAX)
      return status_set(status, NINES_EINVAL, "observation %zu: a path's name has 1 to %d bytes", i, PATH_NAME_MAX);
    if (engine->path_count + names->count >= PATHS_MAX)
      return status_set(
          status, NINES_ELIMIT,
          "observation %zu: there are %u paths already, %d at most; \"%.*s\" is one too many (a changing part in the "
          "name?)",
          i, engine->path_count, PATHS_MAX, (int)name.size, name.data);
    CHECK(map_put(names, name, live) == 0);
  }
  return 0;
}

static void declare_names(struct live *live, const struct map *names)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(names, &at));) {
    struct buf arguments = { 0 };
    buf_text(&arguments, "{\"actor\":\"engine\",\"path\":");
    buf_json_text(&arguments, (struct view){ entry->key, entry->key_size });
    buf_printf(&arguments, ",\"number\":%u}", live->engine->path_count);
    live_input(live,
               (struct input){ .kind = INPUT_CALL, .name = view_of("path.declare"), .body = buf_view(&arguments) });
    buf_free(&arguments);
  }
}

static void take_observations(struct live *live, struct exchange *exchange)
{
  struct status status = { 0 };
  struct observations *batch = &live->observations;
  struct map names = { 0 };
  size_t size;
  char *body = exchange_body_mutable(exchange, &size);
  if (observations_parse(body, size, batch, &status) < 0) {
    live->observations_refused++;
    exchange_problem(exchange, status.code == NINES_ELIMIT ? 413 : 400, status.text, batch->field);
    return;
  }
  // First every name, so that a batch is taken or refused as a whole.
  int code = collect_names(live, batch, &names, &status);
  if (code == 0) declare_names(live, &names);
  map_fini(&names);
  struct path *path = NULL;
  for (size_t i = 0; i < batch->count && code == 0; i++) {
    struct view name = batch->items[i].path;
    if (path && view_is(name, path->name)) continue;
    path = map_get(&live->engine->paths, name);
    if (!path) code = status_set(&status, NINES_ELIMIT, "observation %zu: no room for another path in the arena", i);
  }
  if (code < 0) {
    live->observations_refused++;
    exchange_problem(exchange, 422, status.text, "path");
    return;
  }
  for (size_t i = 0; i < batch->count; i++) {
    const struct observation *observation = &batch->items[i];
    if (!path || !view_is(observation->path, path->name)) path = map_get(&live->engine->paths, observation->path);
    nines_path_record(path->recorded, observation->ok, observation->duration_ns);
  }
  live->observations_total += batch->count;
  exchange_reply(exchange, 202, NULL, (struct view){ 0 }, NULL);
}

// --- reading

// As configured, with the real port in place of 0.
static void put_address(struct pool *pool, struct value *document, const char *key, const char *configured, int port)
{
  const char *colon = configured ? strrchr(configured, ':') : NULL;
  if (!colon) return;
  struct buf address = { 0 };
  if (port > 0)
    buf_printf(&address, "%.*s:%d", (int)(colon - configured), configured, port);
  else
    buf_text(&address, configured); // a Unix socket
  const char *text = pool_copy(pool, buf_view(&address));
  if (text) value_put_text(pool, document, key, text);
  buf_free(&address);
}

static void get_status(struct live *live, struct exchange *exchange)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  if (live->serve) put_address(&pool, &document, "listen", live->settings->listen, serve_port(live->serve));
  if (live->statsd) put_address(&pool, &document, "statsd", live->settings->statsd, statsd_port(live->statsd));
  overview_status(live->engine, &pool, &document);
  reply_value(exchange, 200, &document);
  pool_fini(&pool);
}

static void get_alerts(struct live *live, struct exchange *exchange)
{
  struct pool pool = { 0 };
  struct value document;
  char all[8];
  overview_alerts(live->engine, exchange_query(exchange, "all", all, sizeof all), &pool, &document);
  reply_value(exchange, 200, &document);
  pool_fini(&pool);
}

static void get_document(struct live *live, struct exchange *exchange,
                         void (*write)(nines *engine, struct pool *pool, struct value *out))
{
  struct pool pool = { 0 };
  struct value document = value_table();
  write(live->engine, &pool, &document);
  reply_value(exchange, 200, &document);
  pool_fini(&pool);
}

static void get_slos(struct live *live, struct exchange *exchange)
{
  get_document(live, exchange, overview_slos);
}

static void get_rules(struct live *live, struct exchange *exchange)
{
  get_document(live, exchange, rules_api_rules);
}

static void get_active_alerts(struct live *live, struct exchange *exchange)
{
  get_document(live, exchange, rules_api_alerts);
}

// ?filter=MATCHER&filter=...&active=false&silenced=false
static bool read_filter(struct exchange *exchange, struct alertmanager_filter *filter)
{
  char text[512];
  struct status status = { 0 };
  *filter = (struct alertmanager_filter){ .active = true, .silenced = true };
  if (exchange_query(exchange, "active", text, sizeof text)) filter->active = strcmp(text, "false") != 0;
  if (exchange_query(exchange, "silenced", text, sizeof text)) filter->silenced = strcmp(text, "false") != 0;
  for (uint32_t i = 0; i < MATCHERS_MAX && exchange_query_at(exchange, "filter", i, text, sizeof text); i++) {
    if (matcher_parse(&filter->matchers[i], view_of(text), &status) < 0) {
      exchange_problem(exchange, 400, status.text, "filter");
      return false;
    }
    filter->count++;
  }
  return true;
}

static void get_filtered(struct live *live, struct exchange *exchange,
                         void (*write)(nines *engine, const struct alertmanager_filter *filter, struct pool *pool,
                                       struct value *out))
{
  struct pool pool = { 0 };
  struct value document = value_list();
  struct alertmanager_filter filter;
  if (read_filter(exchange, &filter)) {
    write(live->engine, &filter, &pool, &document);
    reply_value(exchange, 200, &document);
  }
  for (uint32_t i = 0; i < filter.count; i++) matcher_free(filter.matchers[i]);
  pool_fini(&pool);
}

static void get_alertmanager_alerts(struct live *live, struct exchange *exchange)
{
  get_filtered(live, exchange, alertmanager_alerts);
}

static void get_silences(struct live *live, struct exchange *exchange)
{
  get_filtered(live, exchange, alertmanager_silences);
}

static void get_alertmanager_status(struct live *live, struct exchange *exchange)
{
  get_document(live, exchange, alertmanager_status);
}

static void get_receivers(struct live *live, struct exchange *exchange)
{
  get_document(live, exchange, alertmanager_receivers);
}

static void get_silence(struct live *live, struct exchange *exchange, const char *id)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  const struct silence *silence = silence_find(live->engine, id);
  if (silence) silence_describe(silence, &pool, &document);
  if (silence)
    reply_value(exchange, 200, &document);
  else
    exchange_problem(exchange, 404, "there is no such silence", "id");
  pool_fini(&pool);
}

static void get_explain(struct live *live, struct exchange *exchange, const char *name)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  struct status status = { 0 };
  if (overview_explain(live->engine, name, &pool, &document, &status) < 0)
    exchange_problem(exchange, 404, status.text, NULL);
  else
    reply_value(exchange, 200, &document);
  pool_fini(&pool);
}

// All of a noun (NULL: of all), or the one of this name.
static void get_protections(struct live *live, struct exchange *exchange, const char *noun, const char *name)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  struct status status = { 0 };
  int code = 0;
  if (name)
    code = protection_overview_one(live->engine, noun, name, &pool, &document, &status);
  else
    protection_overview_list(live->engine, noun, &pool, &document);
  if (code < 0)
    exchange_problem(exchange, 404, status.text, NULL);
  else
    reply_value(exchange, 200, &document);
  pool_fini(&pool);
}

static void get_all_protections(struct live *live, struct exchange *exchange)
{
  get_protections(live, exchange, NULL, NULL);
}

static void one(struct expose *expose, const char *name, enum expose_type type, const char *help, double value)
{
  expose_family(expose, name, type, help);
  expose_sample(expose, "", NULL, value);
}

static void statsd_metrics(struct live *live, struct expose *expose)
{
  struct statsd_usage usage = statsd_usage(live->statsd);
  one(expose, "nines_statsd_packets_total", EXPOSE_COUNTER, "Packets received.", (double)usage.packets);
  one(expose, "nines_statsd_lines_total", EXPOSE_COUNTER, "Lines received.", (double)usage.lines);
  one(expose, "nines_statsd_observations_total", EXPOSE_COUNTER, "Lines that were observations of a path.",
      (double)usage.observations);
  one(expose, "nines_statsd_dropped_packets_total", EXPOSE_COUNTER, "Packets the kernel had no room for.",
      (double)usage.kernel_drops);
  one(expose, "nines_statsd_receive_buffer_bytes", EXPOSE_GAUGE, "Socket buffer granted by the kernel.",
      usage.receive_buffer_bytes);
  expose_family(expose, "nines_statsd_bad_lines_total", EXPOSE_COUNTER, "Lines refused, by reason.");
  for (int fault = STATSD_OK + 1; fault < STATSD_FAULTS; fault++)
    expose_sample(expose, "",
                  (struct expose_label[]){ { "reason", statsd_fault_name((enum statsd_fault)fault) }, { 0 } },
                  (double)usage.faults[fault]);
}

static void serve_metrics(struct live *live, struct expose *expose)
{
  const struct serve_usage *usage = serve_usage(live->serve);
  one(expose, "nines_http_connections", EXPOSE_GAUGE, "Open connections.", (double)usage->connections);
  one(expose, "nines_http_requests_total", EXPOSE_COUNTER, "Requests answered.", (double)usage->requests_total);
  expose_family(expose, "nines_http_refused_total", EXPOSE_COUNTER, "Requests refused, by reason.");
  struct {
    const char *reason;
    uint64_t count;
  } reasons[] = { { "bad_syntax", usage->bad_syntax },
                  { "header_too_large", usage->header_too_large },
                  { "body_too_large", usage->body_too_large },
                  { "too_many_connections", usage->too_many_connections },
                  { "timeout", usage->timeouts },
                  { "bad_host", usage->bad_host },
                  { "bad_origin", usage->bad_origin } };
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    expose_sample(expose, "", (struct expose_label[]){ { "reason", reasons[i].reason }, { 0 } },
                  (double)reasons[i].count);
}

static void host_metrics(struct live *live, struct expose *expose)
{
  one(expose, "nines_observations_total", EXPOSE_COUNTER, "Observations taken over HTTP.",
      (double)live->observations_total);
  one(expose, "nines_observation_batches_refused_total", EXPOSE_COUNTER, "Batches of observations refused.",
      (double)live->observations_refused);
  one(expose, "nines_beat_late_seconds_max", EXPOSE_GAUGE, "Most that a beat was late.",
      (double)live->late_ns_max / NS_PER_S);
  if (live->store) {
    struct store_usage usage = store_usage(live->store);
    one(expose, "nines_store_commits_total", EXPOSE_COUNTER, "Transactions made durable.", (double)usage.commits);
    one(expose, "nines_store_queue", EXPOSE_GAUGE, "Transactions waiting.", (double)usage.queued);
    one(expose, "nines_store_queue_max", EXPOSE_GAUGE, "Limit of transactions waiting.", (double)usage.queue_max);
    one(expose, "nines_store_bytes", EXPOSE_GAUGE, "Size of the database and its log.", (double)usage.bytes);
    one(expose, "nines_store_commit_seconds_max", EXPOSE_GAUGE, "Slowest commit.",
        (double)usage.commit_ns_max / NS_PER_S);
  }
  if (live->beats) {
    struct recorder_usage usage = recorder_usage(live->beats);
    one(expose, "nines_recording_bytes", EXPOSE_GAUGE, "Size of the recording of beats.", (double)usage.bytes);
    one(expose, "nines_recording_bytes_max", EXPOSE_GAUGE, "Limit of the recording of beats.",
        (double)live->settings->record_bytes_max);
    one(expose, "nines_recording_failed_writes_total", EXPOSE_COUNTER, "Writes of the recording that failed.",
        (double)usage.failed_writes);
  }
  struct series_usage series = series_usage(live->series);
  one(expose, "nines_series", EXPOSE_GAUGE, "Series from StatsD.", series.count);
  one(expose, "nines_series_max", EXPOSE_GAUGE, "Limit of series.", series.limit);
  one(expose, "nines_series_dropped_total", EXPOSE_COUNTER, "Samples of new series while the table was full.",
      (double)series.dropped);
  one(expose, "nines_commands_running", EXPOSE_GAUGE, "Commands under way.", command_count(live->commander));
  one(expose, "nines_commands_running_max", EXPOSE_GAUGE, "Limit of commands under way.", COMMANDS_MAX);
  if (live->serve) serve_metrics(live, expose);
  if (live->statsd) statsd_metrics(live, expose);
}

static void get_metrics(struct live *live, struct exchange *exchange)
{
  struct expose expose;
  struct view accept = exchange_header(exchange, "accept");
  bool open_metrics = accept.size && memmem(accept.data, accept.size, "application/openmetrics-text", 28);
  expose_begin(&expose, open_metrics);
  overview_metrics(live->engine, &expose);
  host_metrics(live, &expose);
  expose_end(&expose);
  exchange_reply(exchange, 200, open_metrics ? EXPOSE_TYPE_OPEN : EXPOSE_TYPE_TEXT, buf_view(&expose.out), NULL);
  expose_fini(&expose);
}

// --- events

struct stream {
  struct list node;
  struct exchange *exchange;
  char pattern[64];
};

static void write_event(const struct event *event, bool sse, struct buf *out)
{
  char time[CLOCK_TEXT_MAX];
  if (sse) buf_printf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)event->sequence, event->topic);
  buf_printf(out, "{\"sequence\":%llu,\"time\":\"%s\",\"topic\":", (unsigned long long)event->sequence,
             clock_format(event->wall_ns, time));
  buf_json_text(out, view_of(event->topic));
  buf_text(out, ",\"name\":");
  buf_json_text(out, view_of(event->name));
  buf_printf(out, ",\"event\":%s}\n%s", event->json, sse ? "\n" : "");
}

void api_event(struct live *live, const struct event *event)
{
  if (list_empty(&live->streams)) return;
  struct buf out = { 0 };
  write_event(event, true, &out);
  list_each (node, &live->streams) {
    struct stream *stream = list_entry(node, struct stream, node);
    if (event_matches(stream->pattern, event->topic)) exchange_stream_write(stream->exchange, buf_view(&out));
  }
  buf_free(&out);
}

static void stream_closed(void *userdata)
{
  struct stream *stream = userdata;
  list_remove(&stream->node);
  mem_free(stream);
}

static void get_events(struct live *live, struct exchange *exchange)
{
  char after_text[24], pattern[64];
  struct view last = exchange_header(exchange, "last-event-id"), accept = exchange_header(exchange, "accept");
  uint64_t after =
      exchange_query(exchange, "after", after_text, sizeof after_text) ? strtoull(after_text, NULL, 10) : 0;
  if (last.size && last.size < sizeof after_text) {
    snprintf(after_text, sizeof after_text, "%.*s", (int)last.size, last.data);
    after = strtoull(after_text, NULL, 10);
  }
  if (!exchange_query(exchange, "topic", pattern, sizeof pattern)) snprintf(pattern, sizeof pattern, "*");
  bool sse = accept.size && memmem(accept.data, accept.size, "text/event-stream", 17);
  struct buf out = { 0 };
  for (const struct event *event; (event = events_after(live->engine->events, after)); after = event->sequence)
    if (event_matches(pattern, event->topic)) write_event(event, sse, &out);
  if (sse) {
    struct stream *stream = mem_must(sizeof *stream);
    stream->exchange = exchange;
    memcpy(stream->pattern, pattern, sizeof pattern);
    list_append(&live->streams, &stream->node);
    exchange_on_close(exchange, stream_closed, stream);
    exchange_stream(exchange, "text/event-stream");
    exchange_stream_write(exchange, out.size ? buf_view(&out) : view_of(":\n\n"));
  } else {
    exchange_reply(exchange, 200, "application/x-ndjson", buf_view(&out), NULL);
  }
  buf_free(&out);
}

// --- changes

static struct view exchange_key(uint64_t op, char out[static 24])
{
  snprintf(out, 24, "%llu", (unsigned long long)op);
  return view_of(out);
}

struct pending {
  struct live *live;
  struct exchange *exchange; // NULL: the peer went away
  uint64_t op;
};

static void peer_gone(void *userdata)
{
  struct pending *pending = userdata;
  pending->exchange = NULL;
}

void api_reply(struct live *live, uint64_t op, int status, const struct value *document)
{
  char text[24];
  struct pending *pending = map_remove(&live->exchanges, exchange_key(op, text));
  if (!pending) return;
  if (pending->exchange) exchange_on_close(pending->exchange, NULL, NULL);
  if (pending->exchange && status >= 400) {
    struct view detail = value_get_text(document, "detail"), field = value_get_text(document, "field");
    exchange_problem(pending->exchange, status, detail.data ? detail.data : "", field.size ? field.data : NULL);
  } else if (pending->exchange) {
    reply_value(pending->exchange, status, document);
  }
  mem_free(pending);
}

static void actor_of(const struct exchange *exchange, struct buf *out)
{
  struct view named = exchange_header(exchange, "nines-actor");
  buf_text(out, "person:");
  if (named.size && named.size <= 64)
    buf_add(out, named.data, named.size);
  else
    buf_text(out, exchange_is_local(exchange) ? "local" : "http");
}

// The body's members, with the ones that the path and the headers give; then an input whose answer comes after its
// commit.
static void change(struct live *live, struct exchange *exchange, const char *verb, const char *key, const char *name)
{
  struct pool pool = { 0 };
  struct value body = value_table();
  struct status status = { 0 };
  struct view text = exchange_body(exchange);
  if (text.size && json_parse(&pool, text, &body, &status) < 0) {
    exchange_problem(exchange, 400, status.text, NULL);
    pool_fini(&pool);
    return;
  }
  if (body.type != VALUE_TABLE) {
    exchange_problem(exchange, 400, "the body must be a JSON object", NULL);
    pool_fini(&pool);
    return;
  }
  if (value_get(&body, "actor")) { // who acts is not what a body claims
    exchange_problem(exchange, 400, "actor: name the person in the header nines-actor instead", NULL);
    pool_fini(&pool);
    return;
  }
  struct buf actor = { 0 }, json = { 0 };
  actor_of(exchange, &actor);
  value_put(&pool, &body, "actor", value_view(buf_view(&actor)));
  if (name) value_put(&pool, &body, key, value_text(name));
  value_to_json(&body, &json);
  struct pending *pending = mem_must(sizeof *pending);
  char op[24];
  *pending = (struct pending){ live, exchange, ++live->next_exchange };
  CHECK(map_put(&live->exchanges, exchange_key(pending->op, op), pending) == 0);
  exchange_on_close(exchange, peer_gone, pending);
  live_input(live,
             (struct input){ .kind = INPUT_CALL, .name = view_of(verb), .op = pending->op, .body = buf_view(&json) });
  buf_free(&actor);
  buf_free(&json);
  pool_fini(&pool);
}

static void reload(struct live *live, struct exchange *exchange)
{
  struct status status = { 0 };
  struct pool pool = { 0 };
  struct value document = value_table();
  int changed = live_sources(live, &status);
  if (changed < 0) {
    exchange_problem(exchange, 422, status.text, NULL);
    return;
  }
  struct value rejected = value_list();
  for (uint32_t i = 0; i < scripts_count(live->engine->scripts); i++) {
    struct script_info info;
    struct value item = value_table();
    if (!scripts_info(live->engine->scripts, i, &info) || !info.error[0]) continue;
    value_put_text(&pool, &item, "file", info.file);
    value_put_text(&pool, &item, "error", info.error);
    value_append(&pool, &rejected, item);
  }
  value_put(&pool, &document, "changed", value_integer(changed));
  value_put(&pool, &document, "rejected", rejected);
  reply_value(exchange, rejected.list.count ? 422 : 200, &document);
  pool_fini(&pool);
}

struct backup {
  struct list node;
  struct exchange *exchange; // NULL: the peer went away
  uint64_t ticket;
};

static void backup_peer_gone(void *userdata)
{
  ((struct backup *)userdata)->exchange = NULL;
}

static void start_backup(struct live *live, struct exchange *exchange)
{
  struct pool pool = { 0 };
  struct value body;
  struct status status = { 0 };
  if (json_parse(&pool, exchange_body(exchange), &body, &status) < 0) {
    exchange_problem(exchange, 400, status.text, NULL);
  } else if (!value_get_text(&body, "file").size || value_get_text(&body, "file").data[0] != '/') {
    exchange_problem(exchange, 422, "\"file\" must be an absolute path", "file");
  } else {
    uint64_t ticket = store_backup(live->store, value_get_text(&body, "file").data);
    if (ticket == 0) {
      exchange_problem(exchange, 503, "the store's queue is full; try again", NULL);
    } else {
      struct backup *backup = mem_must(sizeof *backup);
      *backup = (struct backup){ .exchange = exchange, .ticket = ticket };
      list_append(&live->backups, &backup->node);
      exchange_on_close(exchange, backup_peer_gone, backup);
    }
  }
  pool_fini(&pool);
}

void api_backup_done(struct live *live, uint64_t ticket, int code, const char *error)
{
  list_each (node, &live->backups) {
    struct backup *backup = list_entry(node, struct backup, node);
    if (backup->ticket != ticket) continue;
    if (backup->exchange) {
      exchange_on_close(backup->exchange, NULL, NULL);
      if (code < 0)
        exchange_problem(backup->exchange, 422, error, "file");
      else
        exchange_reply(backup->exchange, 200, json_type, view_of("{}\n"), NULL);
    }
    list_remove(node);
    mem_free(backup);
    return;
  }
}

// --- routes

struct route {
  const char *method;
  const char *path; // "*" stands for one part, handed over decoded
  void (*get)(struct live *live, struct exchange *exchange);
  const char *verb, *key; // of a change; a key alone is the noun of protections
};

static void health(struct live *live, struct exchange *exchange)
{
  (void)live;
  exchange_reply(exchange, 200, "text/plain", view_of("ok\n"), NULL);
}

static void ready(struct live *live, struct exchange *exchange)
{
  if (live->engine->store_failing)
    exchange_problem(exchange, 503, live->engine->store_error, NULL);
  else
    exchange_reply(exchange, 200, "text/plain", view_of("ready\n"), NULL);
}

static void stop(struct live *live, struct exchange *exchange)
{
  exchange_reply(exchange, 202, json_type, view_of("{}\n"), NULL);
  live_stop(live);
}

static const struct route routes[] = {
  { "POST", "/v1/observations", take_observations, NULL, NULL },
  { "GET", "/v1/status", get_status, NULL, NULL },
  { "GET", "/v1/alerts", get_alerts, NULL, NULL },
  { "GET", "/v1/slos", get_slos, NULL, NULL },
  { "GET", "/api/v1/rules", get_rules, NULL, NULL },
  { "GET", "/api/v1/alerts", get_active_alerts, NULL, NULL },
  { "GET", "/api/v2/status", get_alertmanager_status, NULL, NULL },
  { "GET", "/api/v2/receivers", get_receivers, NULL, NULL },
  { "GET", "/api/v2/alerts", get_alertmanager_alerts, NULL, NULL },
  { "GET", "/api/v2/silences", get_silences, NULL, NULL },
  { "POST", "/api/v2/silences", NULL, "silence.put", "path" },
  { "GET", "/api/v2/silence/*", NULL, NULL, "silence" },
  { "DELETE", "/api/v2/silence/*", NULL, "silence.expire", "id" },
  { "GET", "/v1/events", get_events, NULL, NULL },
  { "GET", "/metrics", get_metrics, NULL, NULL },
  { "GET", "/healthz", health, NULL, NULL },
  { "GET", "/readyz", ready, NULL, NULL },
  { "POST", "/v1/reload", reload, NULL, NULL },
  { "POST", "/v1/backup", start_backup, NULL, NULL },
  { "POST", "/v1/stop", stop, NULL, NULL },
  { "GET", "/v1/explain/*", NULL, NULL, NULL },
  { "GET", "/v1/services/*", NULL, NULL, NULL },
  { "GET", "/v1/alerts/*", NULL, NULL, NULL },
  { "POST", "/v1/alerts/*/ack", NULL, "alert.ack", "id" },
  { "POST", "/v1/services/*/deployments", NULL, "deploy", "service" },
  { "POST", "/v1/services/*/rollback", NULL, "rollback", "service" },
  { "POST", "/v1/policies/*/enable", NULL, "policy.enable", "file" },
  { "PUT", "/v1/flags/*", NULL, "flag.set", "flag" },
  { "DELETE", "/v1/flags/*", NULL, "flag.lift", "flag" },
  { "GET", "/v1/protections", get_all_protections, NULL, NULL },
  { "GET", "/v1/breakers", NULL, NULL, "breaker" },
  { "GET", "/v1/breakers/*", NULL, NULL, "breaker" },
  { "GET", "/v1/limiters", NULL, NULL, "limiter" },
  { "GET", "/v1/limiters/*", NULL, NULL, "limiter" },
  { "GET", "/v1/bulkheads", NULL, NULL, "bulkhead" },
  { "GET", "/v1/bulkheads/*", NULL, NULL, "bulkhead" },
  { "GET", "/v1/adaptive_limits", NULL, NULL, "adaptive_limit" },
  { "GET", "/v1/adaptive_limits/*", NULL, NULL, "adaptive_limit" },
  { "GET", "/v1/shedders", NULL, NULL, "shedder" },
  { "GET", "/v1/shedders/*", NULL, NULL, "shedder" },
  { "GET", "/v1/retries", NULL, NULL, "retry" },
  { "GET", "/v1/retries/*", NULL, NULL, "retry" },
  { "GET", "/v1/timeouts", NULL, NULL, "timeout" },
  { "GET", "/v1/timeouts/*", NULL, NULL, "timeout" },
  { "GET", "/v1/fallbacks", NULL, NULL, "fallback" },
  { "GET", "/v1/fallbacks/*", NULL, NULL, "fallback" },
  { "PUT", "/v1/breakers/*", NULL, "breaker.set", "breaker" },
  { "DELETE", "/v1/breakers/*", NULL, "breaker.lift", "breaker" },
  { "POST", "/v1/breakers/*/reset", NULL, "breaker.reset", "breaker" },
  { "PUT", "/v1/shedders/*", NULL, "shedder.set", "shedder" },
  { "DELETE", "/v1/shedders/*", NULL, "shedder.lift", "shedder" },
};

// Matches a path to a route's; the part under "*" goes to `part`.
static bool route_matches(const char *pattern, struct view path, char part[static 256])
{
  const char *star = strchr(pattern, '*');
  if (!star) return view_is(path, pattern);
  size_t head = (size_t)(star - pattern), tail = strlen(star + 1);
  if (path.size < head + tail + 1 || memcmp(path.data, pattern, head) != 0) return false;
  if (memcmp(path.data + path.size - tail, star + 1, tail) != 0) return false;
  size_t size = path.size - head - tail;
  if (size >= 256) return false;
  memcpy(part, path.data + head, size);
  part[size] = '\0';
  return tail > 0 || !memchr(path.data + head, '\n', size);
}

static bool changes(const struct route *route)
{
  return strcmp(route->method, "GET") != 0;
}

static void dispatch(struct live *live, struct exchange *exchange, const struct route *route, const char *part)
{
  struct view type = exchange_header(exchange, "content-type");
  bool observations = route->get == take_observations;
  bool is_json = type.size >= 16 && strncasecmp(type.data, json_type, 16) == 0;
  if (observations) is_json = is_json || (type.size >= 20 && strncasecmp(type.data, "application/x-ndjson", 20) == 0);
  // Browsers send no DELETE of another site's unasked, and it has no body to tell the type of.
  if (strcmp(route->method, "DELETE") == 0 && exchange_body(exchange).size == 0) is_json = true;
  if (changes(route) && !is_json)
    exchange_problem(exchange, 415,
                     observations ? "Content-Type must be application/json or application/x-ndjson"
                                  : "Content-Type must be application/json",
                     NULL);
  else if (changes(route) && live->stopping)
    exchange_problem(exchange, 503, "the engine is stopping", NULL);
  else if (route->get)
    route->get(live, exchange);
  else if (route->verb)
    change(live, exchange, route->verb, route->key, strchr(route->path, '*') ? part : NULL);
  else if (route->key && strcmp(route->key, "silence") == 0)
    get_silence(live, exchange, part);
  else if (route->key)
    get_protections(live, exchange, route->key, strchr(route->path, '*') ? part : NULL);
  else
    get_explain(live, exchange, part);
}

void api_handle(void *userdata, struct exchange *exchange)
{
  struct live *live = userdata;
  struct view path = exchange_path(exchange), method = exchange_method(exchange);
  char part[256] = "";
  bool known = false;
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    if (!route_matches(routes[i].path, path, part)) continue;
    known = true;
    bool head = view_is(method, "HEAD") && strcmp(routes[i].method, "GET") == 0;
    if (!head && !view_is(method, routes[i].method)) continue;
    dispatch(live, exchange, &routes[i], part);
    return;
  }
  exchange_problem(exchange, known ? 405 : 404,
                   known ? "this path does not take that method" : "there is nothing at this path", NULL);
}

void api_close(struct live *live)
{
  if (!live->streams.next) return;
  list_each (node, &live->streams) {
    struct stream *stream = list_entry(node, struct stream, node);
    struct exchange *exchange = stream->exchange;
    list_remove(node);
    exchange_on_close(exchange, NULL, NULL);
    exchange_stream_end(exchange);
    mem_free(stream);
  }
}

void api_fini(struct live *live)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&live->exchanges, &at));) mem_free(entry->value);
  map_fini(&live->exchanges);
  if (!live->backups.next) return;
  list_each (node, &live->backups) mem_free(list_entry(node, struct backup, node));
}
