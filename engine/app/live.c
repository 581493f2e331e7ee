// The living host: opening in the order of need, the beat, the way down.
//
// Callbacks of the loop become inputs. One that arrives while a turn runs (an effect that fails at once) waits in the
// queue until the turn is over, so that turns never nest. The way down: stop listening, answer what is under way,
// commit, write the recording; in under a second.

#include "live.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beat.h"
#include "check.h"
#include "clients.h"
#include "clock.h"
#include "duration.h"
#include "live_host.h"
#include "mem.h"
#include "path.h"

#define STOP_NS (800 * NS_PER_MS)
#define STEP_NS (500 * NS_PER_MS)

struct live_input {
  struct list node;
  struct input input;
  char *name, *body;
};

void live_log(struct live *live, const char *level, const char *format, ...)
{
  char text[1200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (live->config.on_log) {
    live->config.on_log(live->config.userdata, level, text);
    return;
  }
  char time[CLOCK_TEXT_MAX];
  fprintf(stderr, "%s %-5s %s\n", clock_format(live->clock->wall_ns(live->clock), time), level, text);
}

// --- inputs

static void apply(struct live *live, struct input *input)
{
  live_record(live, input);
  live->in_turn = true;
  engine_input(live->engine, input);
  live->in_turn = false;
}

static void drain_queue(struct live *live)
{
  while (!list_empty(&live->queue)) {
    struct live_input *queued = list_entry(live->queue.next, struct live_input, node);
    list_remove(&queued->node);
    apply(live, &queued->input);
    mem_free(queued->name);
    mem_free(queued->body);
    mem_free(queued);
  }
}

void live_input(struct live *live, struct input input)
{
  if (live->in_turn) {
    struct live_input *queued = mem_must(sizeof *queued);
    queued->input = input;
    queued->name = mem_must_copy_n(input.name.data ? input.name.data : "", input.name.size);
    queued->body = mem_must_copy_n(input.body.data ? input.body.data : "", input.body.size);
    queued->input.name.data = queued->name;
    queued->input.body.data = queued->body;
    list_append(&live->queue, &queued->node);
    return;
  }
  apply(live, &input);
  drain_queue(live);
}

// --- the beat

static void tell_routes(struct live *live)
{
  nines *engine = live->engine;
  if (!live->statsd || live->routes_version == engine->paths_changed) return;
  live->routes_version = engine->paths_changed;
  struct statsd_route *routes = mem_must((size_t)engine->path_count * 2 * sizeof *routes + 1);
  uint32_t count = 0;
  for (uint32_t i = 0; i < engine->path_count; i++) {
    struct path *path = engine->path_index[i];
    struct meter *meter = path->declared_by ? path_meter(path, WRITER_STATSD) : NULL;
    if (!meter) continue;
    int64_t slow_ns = path_slow_ns(path->recorded);
    routes[count++] = (struct statsd_route){ path->name, meter, slow_ns };
    if (path->settings.statsd) routes[count++] = (struct statsd_route){ path->settings.statsd, meter, slow_ns };
  }
  if (statsd_set_routes(live->statsd, routes, count) < 0) live->routes_version = UINT64_MAX; // again at the next beat
  mem_free(routes);
}

static void check_clock(struct live *live)
{
  int64_t step_ns = clock_step_ns(live->clock);
  if (llabs(step_ns) < STEP_NS) return;
  clock_reanchor(live->clock);
  live_input(live, (struct input){ .kind = INPUT_STEP, .op = (uint64_t)step_ns });
}

static void each_second(struct live *live, int64_t now_ns, int64_t wall_ns)
{
  live->second_wall_ns = wall_ns;
  check_clock(live);
  live_record_second(live, now_ns, wall_ns);
}

void live_declare_path(struct live *live, const char *name)
{
  struct buf arguments = { 0 };
  buf_text(&arguments, "{\"actor\":\"host\",\"path\":");
  buf_json_text(&arguments, view_of(name));
  buf_printf(&arguments, ",\"number\":%u}", live->engine->path_count);
  live_input(live, (struct input){ .kind = INPUT_CALL, .name = view_of("path.declare"), .body = buf_view(&arguments) });
  buf_free(&arguments);
}

// Paths that attached processes record to, and nobody here knew.
static void meet_paths(struct live *live)
{
  const struct nines_arena *guards = &live->engine->guards;
  for (; live->paths_met < guards->count; live->paths_met++) {
    const struct guard *guard = guards->guards[live->paths_met];
    if (guard->kind == &path_kind && !((const nines_path *)guard)->owner) live_declare_path(live, guard->name);
  }
}

// A process that is attached, or wants to be.
static void on_ring(void *userdata, const char *path)
{
  struct live *live = userdata;
  (void)path;
  clients_serve(&live->engine->guards, live->clock->now_ns(live->clock));
  meet_paths(live);
}

static void beat(struct live *live)
{
  int64_t now_ns = live->clock->now_ns(live->clock), wall_ns = live->clock->wall_ns(live->clock);
  int64_t late_ns = live->last_beat_ns ? now_ns - live->last_beat_ns - BEAT_NS : 0;
  live->last_beat_ns = now_ns;
  if (late_ns > live->late_ns_max) live->late_ns_max = late_ns;
  buf_clear(&live->beat);
  engine_collect(live->engine, now_ns, &live->beat);
  live_input(live, (struct input){ .kind = INPUT_BEAT, .body = buf_view(&live->beat) });
  live_host_beat(live->host);
  meet_paths(live);
  tell_routes(live);
  live_record_flush(live, now_ns, wall_ns);
  if (wall_ns / NS_PER_S != live->second_wall_ns / NS_PER_S) each_second(live, now_ns, wall_ns);
}

static void on_tick(void *userdata)
{
  struct live *live = userdata;
  if (!live->config.clock) beat(live); // else the tick has only ended the wait: live_turn looks at the host's clock
}

// One beat, however many are due, on the grid of the first.
static void keep_time(struct live *live)
{
  int64_t now_ns = live->clock->now_ns(live->clock), late_ns = now_ns - live->next_beat_ns;
  if (late_ns < 0) return;
  live->next_beat_ns += (late_ns / BEAT_NS + 1) * BEAT_NS;
  beat(live);
}

static void on_wake(void *userdata)
{
  struct live *live = userdata;
  live_store_poll(live);
  if (atomic_exchange(&live->reload_asked, 0)) {
    struct status status = { 0 };
    if (live_sources(live, &status) < 0) live_log(live, "error", "reload: %s", status.text);
  }
}

static void store_wake(void *userdata)
{
  loop_wake(((struct live *)userdata)->loop);
}

static void on_signal(void *userdata, int signal)
{
  struct live *live = userdata;
  if (signal == SIGHUP)
    live_reload(live);
  else
    live_stop(live);
}

static void on_event(void *userdata, const struct event *event)
{
  struct live *live = userdata;
  live_record_event(live, event);
  api_event(live, event);
  if (live->config.on_event) live->config.on_event(live->config.userdata, event);
}

// --- opening

static int make_dir(const char *dir, struct status *status)
{
  if (mkdir(dir, 0700) == 0 || access(dir, W_OK | X_OK) == 0) return 0;
  return status_set(status, NINES_EIO, "cannot make or write the data directory %s: %m", dir);
}

char *live_in_data(const struct live *live, const char *name)
{
  struct buf path = { 0 };
  buf_printf(&path, "%s/%s", live->settings->data, name);
  return path.data;
}

static int open_data(struct live *live, struct status *status)
{
  struct status notice = { 0 };
  if (!live->dir) return 0;
  int code = make_dir(live->settings->data, status);
  if (code < 0) return code;
  struct store_config store = { .dir = live->settings->data, .wake = store_wake, .userdata = live };
  code = store_open(&live->store, &store, &notice, status);
  if (code < 0) return code;
  if (notice.text[0]) live_log(live, "warn", "%s", notice.text);
  return live_record_open(live, status);
}

static int open_effects(struct live *live, struct status *status)
{
  int code = live->dir ? live_commander(live, status) : 0;
  if (code < 0) return code;
  live->fetcher = fetcher_open(live->loop);
  live->courier = courier_open(live->loop, live->fetcher, live->commander, live_delivered, live);
  return 0;
}

static int open_engine(struct live *live, struct status *status)
{
  char *arena = live->dir ? live_in_data(live, "arena") : NULL;
  struct engine_config config = { .settings = live->settings,
                                  .door = live_door(live),
                                  .seed = live->seed,
                                  .arena_path = arena,
                                  .attachable = !live->config.clock,
                                  .hosted = live->config.hosted,
                                  .virtual_time = live->config.clock,
                                  .now_ns = live->clock->now_ns(live->clock),
                                  .wall_ns = live->clock->wall_ns(live->clock) };
  int code = engine_open(&live->engine, &config, status);
  mem_free(arena);
  if (code < 0) return code;
  live->series = series_open(20000, NS_PER_H);
  live->engine->series = live->series;
  live->engine->host = live;
  if (live->config.observe) live->engine->observe = true;
  events_subscribe(live->engine->events, "*", on_event, live);
  return 0;
}

static int open_ears(struct live *live, struct status *status)
{
  if (!live->dir) return 0;
  char *socket = live_in_data(live, "nines.sock");
  struct serve_config serve = {
    .address = live->settings->listen, .socket = socket, .handle = api_handle, .userdata = live
  };
  int code = serve_open(&live->serve, live->loop, &serve, status);
  mem_free(socket);
  if (code < 0) return code;
  live_public_url(live);
  if (live->settings->statsd && live->config.clock)
    live_log(live, "warn", "statsd is off: its time is the system's, and this engine's is its host's");
  else if (live->settings->statsd) {
    struct statsd_config statsd = { .address = live->settings->statsd,
                                    .series = live->series,
                                    .now_ns = clock_coarse_ns };
    code = statsd_open(&live->statsd, &statsd, status);
  }
  return code;
}

static int open_signals(struct live *live, struct status *status)
{
  static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
  // A limit on file sizes has to fail one write, not to end the engine.
  if (live->config.signals) signal(SIGXFSZ, SIG_IGN);
  for (size_t i = 0; live->config.signals && i < sizeof signals / sizeof *signals; i++) {
    int code = loop_on_signal(live->loop, signals[i], on_signal, live, status);
    if (code < 0) return code;
  }
  return 0;
}

static void start_input(struct live *live)
{
  struct buf body = { 0 };
  buf_printf(&body, "{\"seed\":\"%llu\",\"observe\":%s,\"hosted\":%u,\"version\":\"%s\"}",
             (unsigned long long)live->seed, live->engine->observe ? "true" : "false", live->config.hosted,
             NINES_VERSION);
  live_input(live, (struct input){ .kind = INPUT_START, .body = buf_view(&body) });
  buf_free(&body);
}

static int open_all(struct live *live, struct status *status)
{
  int code = loop_open(&live->loop, status);
  if (code == 0) code = live_settings(live, status);
  if (code == 0) code = open_data(live, status);
  if (code == 0) code = open_effects(live, status);
  if (code == 0) code = open_engine(live, status);
  // Ears before policies: a taken port is found before a crashed deployment is settled.
  if (code == 0) code = open_ears(live, status);
  if (code == 0) code = open_signals(live, status);
  if (code < 0) return code;
  loop_on_wake(live->loop, on_wake, live);
  start_input(live);
  code = live_sources(live, status);
  if (code < 0) return code;
  code = live_watch(live, status);
  if (code == 0 && arena_path(live->engine->arena) && !live->config.clock)
    code = loop_watch(live->loop, arena_path(live->engine->arena), NS_PER_MS, on_ring, live, &live->door, status);
  if (code < 0) return code;
  live->next_beat_ns = live->clock->now_ns(live->clock) + BEAT_NS;
  return loop_every(live->loop, BEAT_NS, BEAT_NS, on_tick, live) ? 0
                                                                 : status_set(status, NINES_ENOMEM, "out of memory");
}

int live_open(struct live **out, const struct live_config *config, struct status *status)
{
  struct live *live = mem_must(sizeof *live);
  *out = NULL;
  live->config = *config;
  live->clock = config->clock ? config->clock : clock_system_open();
  live->host = live_host_open(live);
  live->seed = config->seed ? config->seed : rng_system_seed();
  list_init(&live->queue);
  list_init(&live->tickets);
  list_init(&live->streams);
  list_init(&live->backups);
  list_init(&live->watches);
  if (config->dir) {
    char *absolute = realpath(config->dir, NULL);
    if (!absolute) {
      int code = status_set(status, NINES_ENOTFOUND, "there is no project directory %s; `nines init %s` makes one",
                            config->dir, config->dir);
      live_close(live);
      return code;
    }
    live->dir = mem_must_copy(absolute);
    free(absolute);
  }
  int code = open_all(live, status);
  if (code == 0) code = loop_turn(live->loop, 0); // from now on the loop's descriptor tells
  if (code < 0) {
    live_close(live);
    return code;
  }
  *out = live;
  return 0;
}

void live_close(struct live *live)
{
  if (!live) return;
  if (live->statsd) statsd_close(live->statsd);
  api_close(live);
  if (live->serve) serve_close(live->serve);
  if (live->engine) beat(live); // what was observed last belongs to this life's recording
  api_fini(live);
  engine_close(live->engine);
  live->engine = NULL;
  live_door_close(live);
  if (live->fetcher) fetcher_close(live->fetcher);
  if (live->courier) courier_close(live->courier);
  if (live->store) store_close(live->store);
  recorder_close(live->beats);
  recorder_close(live->seconds);
  live_files_close(live);
  if (live->series) series_close(live->series);
  if (live->loop) loop_close(live->loop);
  live_host_close(live->host);
  list_each (node, &live->queue) {
    struct live_input *queued = list_entry(node, struct live_input, node);
    mem_free(queued->name);
    mem_free(queued->body);
    mem_free(queued);
  }
  observations_fini(&live->observations);
  buf_free(&live->beat);
  settings_free(live->settings);
  if (!live->config.clock) clock_system_close(live->clock);
  mem_free(live->dir);
  mem_free(live);
}

// --- turning

void live_stop(struct live *live)
{
  atomic_store(&live->stop_asked, 1);
  loop_wake(live->loop);
}

void live_reload(struct live *live)
{
  atomic_store(&live->reload_asked, 1);
  loop_wake(live->loop);
}

static bool drained(const struct live *live)
{
  return (!live->serve || serve_idle(live->serve)) && list_empty(&live->tickets) && list_empty(&live->queue);
}

int live_turn(struct live *live, int64_t wait_max_ns)
{
  int code = loop_turn(live->loop, wait_max_ns);
  if (code < 0) return code;
  if (live->config.clock) keep_time(live);
  live_host_turn(live->host);
  if (!atomic_load(&live->stop_asked)) return 0;
  int64_t now_ns = clock_now_ns(); // what is drained takes real time
  if (!live->stopping) {
    live->stopping = true;
    live->stop_deadline_ns = now_ns + STOP_NS;
    api_close(live);
    if (live->serve) serve_drain(live->serve);
  }
  return drained(live) || now_ns >= live->stop_deadline_ns;
}
