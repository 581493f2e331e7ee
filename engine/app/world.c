// Virtual time around the engine.
//
// A step goes to the next moment on the grid of beats at which anything is due: a completion, a timer of the engine, or
// traffic. There, what has ended outside comes back first, then the users' requests are drawn and the beat is made, as
// in a live engine. A crash closes the engine between two beats and opens another one on the same arena and on what the
// store had taken.

#include "world.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "condition.h"
#include "duration.h"
#include "hash.h"
#include "mem.h"
#include "overview.h"
#include "path.h"
#include "service.h"
#include "world_state.h"

enum { SERIES_MAX = 2000 };
#define ANSWER_MAX_NS (10 * NS_PER_MIN)
static const char first_version[] = "v0";

nines *world_engine(struct world *world)
{
  return world->engine;
}

int64_t world_now_ns(const struct world *world)
{
  return world->clock.now_ns;
}

int64_t world_wall_ns(const struct world *world)
{
  return world->clock.now_ns + world->clock.wall_offset_ns;
}

static void feed(struct world *world, struct input input)
{
  input.now_ns = world_now_ns(world);
  input.wall_ns = world_wall_ns(world);
  engine_input(world->engine, &input);
}

// --- settings

static int default_settings(struct world *world, struct status *status)
{
  struct settings *settings = world->settings = settings_default("");
  struct notifier_settings *notifier = pool_alloc(&settings->pool, sizeof *notifier);
  struct route_settings *route = pool_alloc(&settings->pool, sizeof *route);
  const char **to = pool_alloc(&settings->pool, 2 * sizeof *to);
  if (!notifier || !route || !to) return status_set(status, NINES_ENOMEM, "out of memory");
  to[0] = "world";
  *notifier = (struct notifier_settings){ .name = to[0], .type = NOTIFIER_WEBHOOK, .timeout_ns = 10 * NS_PER_S };
  notifier->url = "";
  *route = (struct route_settings){ .to = to };
  settings->notifiers = notifier;
  settings->notifier_count = 1;
  settings->routes = route;
  settings->route_count = 1;
  return 0;
}

static int open_settings(struct world *world, const struct world_config *config, struct status *status)
{
  int code;
  if (config->config) {
    const char *slash = strrchr(config->config, '/');
    char *dir = slash ? mem_must_copy_n(config->config, (size_t)(slash - config->config)) : mem_must_copy(".");
    code = settings_load(&world->settings, dir, status);
    mem_free(dir);
  } else {
    code = default_settings(world, status);
  }
  if (code < 0) return code;
  if (config->observe) world->settings->observe = true;
  if (config->page_after_ns >= 0) world->settings->page_after_ns = config->page_after_ns;
  return 0;
}

// The service gets commands, which the simulated door understands.
static int add_service(struct world *world, const char *name, struct status *status)
{
  struct settings *settings = world->settings;
  if (settings_service(settings, name)) return 0;
  size_t count = settings->service_count;
  struct service_settings *services = pool_alloc(&settings->pool, (count + 1) * sizeof *services);
  const char **argv = pool_alloc(&settings->pool, 4 * sizeof *argv);
  char *copy = pool_copy(&settings->pool, view_of(name));
  if (!services || !argv || !copy) return status_set(status, NINES_ENOMEM, "out of memory");
  if (count) memcpy(services, settings->services, count * sizeof *services);
  argv[0] = "deploy";
  argv[2] = "current";
  services[count] = (struct service_settings){
    .name = copy, .tier = "", .deploy = argv, .current = argv + 2, .timeout_ns = 5 * NS_PER_MIN
  };
  settings->services = services;
  settings->service_count++;
  return 0;
}

// --- services

const char *world_version(const struct world *world, const char *service)
{
  return map_get(&world->services, view_of(service));
}

static void set_version(struct world *world, const char *name, const char *version)
{
  mem_free(map_get(&world->services, view_of(name)));
  CHECK(map_put(&world->services, view_of(name), mem_must_copy(version)) == 0);
  world->versions_changed++;
}

// Services that policies name run something, also before the engine has deployed anything.
static void know_services(struct world *world)
{
  size_t at = 0;
  struct status ignored = { 0 };
  for (struct map_entry *entry; (entry = map_next(&world->engine->services, &at));) {
    struct service *service = entry->value;
    add_service(world, service->name, &ignored);
    if (!world_version(world, service->name))
      set_version(world, service->name, service->version[0] ? service->version : first_version);
    if (service->version[0]) continue;
    mem_free(service->version);
    service->version = mem_must_copy(world_version(world, service->name));
  }
}

int world_service(struct world *world, const char *name, const char *version, struct status *status)
{
  int code = add_service(world, name, status);
  struct service *service = code == 0 ? service_get(world->engine, name, status) : NULL;
  if (!service) return status->code;
  if (version && service->deployment_count == 0) {
    set_version(world, name, version);
    mem_free(service->version);
    service->version = mem_must_copy(version);
  }
  know_services(world);
  return 0;
}

// --- policies

static void announce(struct world *world, const char *file, struct view text)
{
  feed(world, (struct input){ .kind = INPUT_SOURCE, .name = view_of(file), .body = text, .code = text.data ? 0 : 1 });
}

static void reload(struct world *world)
{
  feed(world, (struct input){ .kind = INPUT_RELOAD });
  know_services(world);
}

static int first_rejection(const struct world *world, const char *file, struct status *status)
{
  struct script_info info;
  for (uint32_t i = 0; i < scripts_count(world->engine->scripts); i++) {
    if (!scripts_info(world->engine->scripts, i, &info) || !info.error[0]) continue;
    if (!file || strcmp(file, info.file) == 0) return status_set(status, NINES_ESCRIPT, "%s", info.error);
  }
  return 0;
}

int world_load(struct world *world, const char *file, struct view text, struct status *status)
{
  if (world_file_check(file, status) < 0) return status->code;
  mem_free(map_remove(&world->sources, view_of(file)));
  if (text.data) CHECK(map_put(&world->sources, view_of(file), mem_must_copy_n(text.data, text.size)) == 0);
  announce(world, file, text);
  reload(world);
  return first_rejection(world, file, status);
}

// --- life

static int open_engine(struct world *world, struct status *status)
{
  struct engine_config config = { .settings = world->settings,
                                  .door = world_door(world),
                                  .seed = world->seed,
                                  .virtual_time = true,
                                  .simulated = true,
                                  .arena_path = world->arena_path,
                                  .now_ns = world_now_ns(world),
                                  .wall_ns = world_wall_ns(world) };
  int code = engine_open(&world->engine, &config, status);
  if (code < 0) return code;
  world->engine->series = world->series;
  events_subscribe(world->engine->events, "*", world_record_event, world);
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->sources, &at));)
    announce(world, entry->key, view_of(entry->value));
  reload(world);
  world_users_attach(world);
  return 0;
}

static int open_world(struct world *world, const struct world_config *config, struct status *status)
{
  int code = open_settings(world, config, status);
  for (size_t i = 0; i < config->policy_count && code == 0; i++)
    code = world_files_read(world, config->policies[i], status);
  if (code < 0) return code;
  world->arena_fd = memfd_create("nines-world", MFD_CLOEXEC);
  if (world->arena_fd < 0) return status_set(status, NINES_EIO, "cannot get memory for the arena of a world");
  snprintf(world->arena_path, sizeof world->arena_path, "/proc/self/fd/%d", world->arena_fd);
  code = open_engine(world, status);
  return code < 0 ? code : first_rejection(world, NULL, status);
}

int world_open(struct world **out, const struct world_config *config, struct status *status)
{
  struct world *world = mem_must(sizeof *world);
  *out = NULL;
  clock_virtual_init(&world->clock);
  world->seed = config->seed;
  world->beat_ns = config->beat_ns ? config->beat_ns : BEAT_NS;
  world->latency_ns = config->latency_ns > world->beat_ns ? config->latency_ns : world->beat_ns;
  world->arena_fd = -1;
  world->store = memory_store_open();
  world->series = series_open(SERIES_MAX, 400 * NS_PER_DAY);
  CHECK(world->series);
  rng_init(&world->chance, world->seed, "world.chance");
  int code = open_world(world, config, status);
  if (code < 0) {
    world_close(world);
    return code;
  }
  *out = world;
  return 0;
}

static void free_map(struct map *map)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(map, &at));) mem_free(entry->value);
  map_fini(map);
}

void world_close(struct world *world)
{
  if (!world) return;
  engine_close(world->engine);
  series_close(world->series);
  world_door_close(world);
  world_users_close(world);
  world_files_close(world);
  free_map(&world->services);
  free_map(&world->versions);
  pool_fini(&world->answer_pool);
  buf_free(&world->beat);
  memory_store_close(world->store);
  settings_free(world->settings);
  if (world->arena_fd >= 0) close(world->arena_fd);
  mem_free(world);
}

int world_crash(struct world *world, int64_t down_ns, struct status *status)
{
  world->past_hash = world_hash(world);
  engine_close(world->engine);
  world->engine = NULL;
  world_door_crash(world);
  world->clock.now_ns += (down_ns + world->beat_ns - 1) / world->beat_ns * world->beat_ns;
  world->drawn_ns = world_now_ns(world);
  return open_engine(world, status);
}

uint64_t world_hash(const struct world *world)
{
  uint64_t hash = events_hash(world->engine->events);
  return world->past_hash ? hash_add(world->past_hash, &hash, sizeof hash) : hash;
}

int world_send(struct world *world, struct view key, bool counter, double value, struct status *status)
{
  struct condition *condition; // reads `name{labels}` as conditions do
  struct buf text = { 0 };
  buf_printf(&text, "%.*s == %.*s", (int)key.size, key.data, (int)key.size, key.data);
  int code = condition_compile(&condition, world->engine, (struct subject){ 0 }, buf_view(&text), status);
  buf_free(&text);
  if (code < 0) return code;
  const struct expr_field *field = expr_field_at(condition_expr(condition), 0);
  struct series *series = series_get(world->series, view_of(field->name), view_of(field->labels ? field->labels : ""),
                                     counter ? SERIES_COUNTER : SERIES_GAUGE, world_now_ns(world));
  if (!series)
    code = status_set(status, NINES_ELIMIT, "%.*s is of another type, or one series too many", (int)key.size, key.data);
  else if (counter)
    series_add(series, value, 1, world_now_ns(world));
  else
    series_set(series, value, false, world_now_ns(world));
  condition_free(condition);
  return code;
}

void world_store_fail(struct world *world, bool fail)
{
  world->store_fails = fail;
}

// --- time

static void beat(struct world *world)
{
  for (struct heap_node *node; (node = heap_top(&world->pending)) && node->due_ns <= world_now_ns(world);) {
    heap_remove(&world->pending, node);
    struct world_pending *pending = (struct world_pending *)(void *)node;
    struct input input = { .kind = pending->kind, .op = pending->op, .code = pending->code };
    struct buf body = pending->body;
    pending->body = (struct buf){ 0 };
    if (pending->kind == INPUT_COMMIT && pending->code == 0) memory_store_apply(world->store, &pending->txn);
    if (pending->service) set_version(world, pending->service, pending->version);
    if (pending->command) {
      struct world_command *command = map_get(&world->commands, view_of(pending->command));
      command->pending = NULL;
      command->code = pending->code;
      buf_add(&command->body, body.data, body.size);
    }
    world_pending_free(pending);
    input.body = buf_view(&body);
    if (input.op) feed(world, input);
    buf_free(&body);
  }
  world_users_draw(world);
  buf_clear(&world->beat);
  engine_collect(world->engine, world_now_ns(world), &world->beat);
  feed(world, (struct input){ .kind = INPUT_BEAT, .body = buf_view(&world->beat) });
}

// To the next moment at which something is due, but not past `end_ns`.
static void step(struct world *world, int64_t end_ns)
{
  int64_t now_ns = world_now_ns(world), next_ns = end_ns;
  const struct heap_node *node = heap_top(&world->pending);
  int64_t engine_ns = engine_due_ns(world->engine);
  if (node && node->due_ns < next_ns) next_ns = node->due_ns;
  if (engine_ns < next_ns) next_ns = engine_ns;
  if (world_users_active(world) || next_ns <= now_ns) next_ns = now_ns + world->beat_ns;
  next_ns = (next_ns + world->beat_ns - 1) / world->beat_ns * world->beat_ns;
  world->clock.now_ns = next_ns;
  beat(world);
}

static int64_t end_of(const struct world *world, int64_t span_ns)
{
  int64_t end_ns = world_now_ns(world) + (span_ns > 0 ? span_ns : 0);
  return (end_ns + world->beat_ns - 1) / world->beat_ns * world->beat_ns;
}

void world_advance(struct world *world, int64_t span_ns)
{
  for (int64_t end_ns = end_of(world, span_ns); world_now_ns(world) < end_ns;) step(world, end_ns);
}

bool world_advance_until(struct world *world, int64_t span_ns, bool (*done)(void *userdata), void *userdata)
{
  if (done(userdata)) return true;
  for (int64_t end_ns = end_of(world, span_ns); world_now_ns(world) < end_ns;) {
    step(world, end_ns);
    if (done(userdata)) return true;
  }
  return false;
}

// --- requests

int world_call(struct world *world, const char *verb, const struct value *arguments, const struct value **document)
{
  struct buf json = { 0 };
  value_to_json(arguments, &json);
  uint64_t exchange = ++world->next_exchange;
  pool_fini(&world->answer_pool);
  world->answer = value_table();
  *document = &world->answer;
  feed(world, (struct input){ .kind = INPUT_CALL, .op = exchange, .name = view_of(verb), .body = buf_view(&json) });
  buf_free(&json);
  know_services(world);
  for (int64_t end_ns = world_now_ns(world) + ANSWER_MAX_NS; world->answered != exchange;) {
    if (world_now_ns(world) >= end_ns) return 504;
    step(world, end_ns);
  }
  return world->answer_status;
}

struct deploying {
  const struct world *world;
  const char *id;
  const struct service *service;
};

static bool is_deployed(void *userdata)
{
  const struct deploying *deploying = userdata;
  for (uint32_t i = 0; i < deploying->service->deployment_count; i++) {
    const struct deployment *deployment = deploying->service->deployments[i];
    if (strcmp(deployment->id, deploying->id) == 0) return deployment->state != DEPLOYMENT_STARTED;
  }
  return true;
}

int world_deploy(struct world *world, const char *service, const char *version, const char *actor,
                 const struct world_version *details, const struct value **document)
{
  struct status status = { 0 };
  struct pool pool = { 0 };
  struct buf key = { 0 };
  struct value arguments = value_table();
  if (world_service(world, service, NULL, &status) == 0) {
    buf_printf(&key, "%s\n%s", service, version);
    struct world_version *known = map_get(&world->versions, buf_view(&key));
    if (!known) {
      known = mem_must(sizeof *known);
      CHECK(map_put(&world->versions, buf_view(&key), known) == 0);
    }
    *known = *details;
    world->versions_changed++;
  }
  value_put_text(&pool, &arguments, "service", service);
  value_put_text(&pool, &arguments, "version", version);
  value_put_text(&pool, &arguments, "actor", actor);
  int code = world_call(world, "deploy", &arguments, document);
  if (code == 200) {
    char *id = mem_must_copy_n(value_get_text(*document, "id").data, value_get_text(*document, "id").size);
    struct deploying deploying = { world, id, service_find(world->engine, service) };
    world_advance_until(world, details->takes_ns + ANSWER_MAX_NS, is_deployed, &deploying);
    mem_free(id);
  }
  buf_free(&key);
  pool_fini(&pool);
  return code;
}
