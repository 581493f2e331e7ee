// Simulated users: a Poisson stream of requests to each path, drawn beat by beat.
//
// Latencies are log-normal around the given median, taken from 64 equally likely classes, so that a busy beat costs a
// few draws and not one for each request. What the running version of the path's service says overrides what was asked
// for the path; a rollback restores the rest.

#include <math.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "mem.h"
#include "path.h"
#include "world_state.h"

static struct world_behaviour over(struct world_behaviour base, const struct world_behaviour *top)
{
  if (top->rps >= 0) base.rps = top->rps;
  if (top->success >= 0) base.success = top->success;
  if (top->latency_ns >= 0) base.latency_ns = top->latency_ns;
  if (top->jitter_ns >= 0) base.jitter_ns = top->jitter_ns;
  return base;
}

// The z of which a share p of normal draws is below, by bisection: 64 of them at each change of behaviour.
static double normal_quantile(double p)
{
  double low = -8, high = 8;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    if (0.5 * erfc(-middle / M_SQRT2) < p)
      low = middle;
    else
      high = middle;
  }
  return (low + high) / 2;
}

static void set_latency(struct world_users *users)
{
  int64_t median_ns = users->now.latency_ns, jitter_ns = users->now.jitter_ns;
  if (jitter_ns < 0) jitter_ns = median_ns / 4;
  users->exact = median_ns <= 0 || jitter_ns == 0;
  double sigma = median_ns > 0 ? log1p((double)jitter_ns / (double)median_ns) : 0;
  for (int i = 0; i < WORLD_CLASSES && !users->exact; i++) {
    double z = normal_quantile((i + 0.5) / WORLD_CLASSES);
    users->latency_ns[i] = (int64_t)((double)median_ns * exp(sigma * z));
  }
}

static void update(struct world *world, struct world_users *users)
{
  uint64_t paths = world->engine->paths_changed;
  if (users->paths_seen == paths && users->versions_seen == world->versions_changed) return;
  users->paths_seen = paths;
  users->versions_seen = world->versions_changed;
  users->now = users->asked;
  const char *service = users->handle->settings.service;
  const char *version = service ? world_version(world, service) : NULL;
  if (version) {
    struct buf key = { 0 };
    buf_printf(&key, "%s\n%s", service, version);
    const struct world_version *known = map_get(&world->versions, buf_view(&key));
    if (known) users->now = over(users->now, &known->behaviour);
    buf_free(&key);
  }
  set_latency(users);
}

static void record(struct world_users *users, struct meter *meter, bool ok, uint64_t count, int64_t slow_over_ns)
{
  if (users->exact) {
    if (count) meter_record(meter, ok, users->now.latency_ns, slow_over_ns, (uint32_t)count);
    return;
  }
  if (count <= WORLD_CLASSES) {
    for (uint64_t i = 0; i < count; i++)
      meter_record(meter, ok, users->latency_ns[rng_next(&users->random) % WORLD_CLASSES], slow_over_ns, 1);
    return;
  }
  for (int i = 0; i < WORLD_CLASSES && count; i++) {
    uint64_t here = rng_binomial(&users->random, count, 1.0 / (WORLD_CLASSES - i));
    if (here) meter_record(meter, ok, users->latency_ns[i], slow_over_ns, (uint32_t)here);
    count -= here;
  }
}

static void draw(struct world *world, struct world_users *users, double seconds)
{
  update(world, users);
  if (!(users->now.rps > 0)) return;
  uint64_t total = rng_poisson(&users->random, users->now.rps * seconds);
  uint64_t bad = rng_binomial(&users->random, total, 1 - users->now.success / 100);
  int64_t slow_over_ns = path_slow_ns(users->handle->recorded);
  struct meter *meter = path_meter_of(users->handle->recorded, WRITER_LOOP);
  record(users, meter, true, total - bad, slow_over_ns);
  record(users, meter, false, bad, slow_over_ns);
}

void world_users_draw(struct world *world)
{
  double seconds = (double)(world_now_ns(world) - world->drawn_ns) / NS_PER_S;
  world->drawn_ns = world_now_ns(world);
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->users, &at));) draw(world, entry->value, seconds);
}

bool world_users_active(const struct world *world)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->users, &at));)
    if (((const struct world_users *)entry->value)->asked.rps > 0) return true;
  return false;
}

int world_traffic(struct world *world, const char *path, const struct world_behaviour *behaviour, struct status *status)
{
  struct path *handle = path_get(world->engine, path, status);
  if (!handle) return status->code;
  struct world_users *users = map_get(&world->users, view_of(path));
  if (!users) {
    users = mem_must(sizeof *users);
    users->path = mem_must_copy(path);
    struct buf stream = { 0 };
    buf_printf(&stream, "world.users.%s", path);
    rng_init(&users->random, world->seed, stream.data);
    buf_free(&stream);
    CHECK(map_put(&world->users, view_of(path), users) == 0);
    users->asked = (struct world_behaviour){ .rps = 10, .success = 100, .latency_ns = -1, .jitter_ns = -1 };
  }
  users->handle = handle;
  users->asked = over(users->asked, behaviour);
  users->paths_seen = UINT64_MAX;
  world->drawn_ns = world_now_ns(world);
  return 0;
}

void world_users_attach(struct world *world)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->users, &at));) {
    struct world_users *users = entry->value;
    struct status status = { 0 };
    users->handle = path_get(world->engine, users->path, &status);
    CHECK(users->handle); // it was there before
    users->paths_seen = UINT64_MAX;
  }
}

void world_users_close(struct world *world)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->users, &at));) {
    struct world_users *users = entry->value;
    mem_free(users->path);
    mem_free(users);
  }
  map_fini(&world->users);
}
