// Clients killed at any instruction, and clients that write what they like.
//
// NINES_ATTACH_KILLS: how many kills (500; ./bootstrap soak: 10,000). Workers note in memory of their own, before and
// after each step, what they have done: the arena's totals must be between the two.
#include "attach_fixture.h"

enum { WORKERS = 4 };

struct worker_notes {
  _Alignas(64) _Atomic uint64_t begun, ended; // observations
  _Atomic uint64_t asked, answered;           // of the breaker
};

struct notes {
  struct worker_notes worker[WORKERS];
  _Atomic uint64_t too_many; // inside the bulkhead at once
};

struct job {
  struct notes *notes;
  uint32_t worker;
};

enum { PLACES = 3 };

static int work_until_killed(nines_arena *arena, void *userdata)
{
  const struct job *job = userdata;
  struct worker_notes *mine = &job->notes->worker[job->worker];
  const nines_bulkhead_config places_config = { .size = sizeof places_config, .concurrent_max = PLACES };
  const nines_breaker_config gateway_config = { .size = sizeof gateway_config, .slow_rate = -1, .failure_rate = -1 };
  nines_bulkhead *places;
  nines_breaker *gateway;
  nines_path *orders;
  nines_limiter *limiter;
  nines_adaptive_limit *limit;
  nines_shedder *door;
  nines_counter *counter;
  nines_breaker *half;
  const nines_limiter_config limiter_config = { .size = sizeof limiter_config, .rate = 1e6 };
  const nines_breaker_config half_config = {
    .size = sizeof half_config, .calls_min = 2, .open_ns = NS_PER_MS, .probes = 2, .probe_lease_ns = 20 * NS_PER_MS
  };
  EXPECT(nines_arena_path(arena, "orders", &orders) == 0);
  EXPECT(nines_bulkhead_get(arena, "places", &places_config, &places) == 0);
  EXPECT(nines_breaker_get(arena, "gateway", &gateway_config, &gateway) == 0);
  EXPECT(nines_limiter_get(arena, "limiter", &limiter_config, &limiter) == 0);
  EXPECT(nines_adaptive_limit_get(arena, "limit", NULL, &limit) == 0);
  EXPECT(nines_shedder_get(arena, "door", NULL, &door) == 0);
  EXPECT(nines_counter_get(arena, "counter", &counter) == 0);
  EXPECT(nines_breaker_get(arena, "half", &half_config, &half) == 0);
  for (uint64_t i = 0;; i++) {
    int64_t now_ns = clock_now_ns();
    atomic_fetch_add(&mine->begun, 1);
    nines_path_record(orders, i % 3 != 0, 1000);
    atomic_fetch_add(&mine->ended, 1);
    nines_permit place = nines_bulkhead_enter(places, now_ns);
    atomic_fetch_add(&mine->asked, 1);
    nines_permit call = nines_breaker_ask(gateway, now_ns);
    if (nines_bulkhead_inside(places) > PLACES + WORKERS) atomic_fetch_add(&job->notes->too_many, 1);
    nines_breaker_done(gateway, call, i % 5 ? NINES_SUCCESS : NINES_FAILURE, clock_now_ns());
    atomic_fetch_add(&mine->answered, 1);
    nines_bulkhead_leave(places, place, now_ns);
    nines_limiter_ask(limiter, 1, now_ns);
    nines_adaptive_limit_done(limit, nines_adaptive_limit_ask(limit, now_ns), NINES_SUCCESS, clock_now_ns());
    nines_shedder_done(door, nines_shedder_ask(door, (int)(i & 3), now_ns), NINES_SUCCESS, clock_now_ns());
    nines_counter_add(counter, 1, now_ns);
    nines_breaker_done(half, nines_breaker_ask(half, now_ns), i / 1000 % 2 ? NINES_SUCCESS : NINES_FAILURE, now_ns);
  }
}

static bool all_are_gone(void *userdata)
{
  struct engine *engine = userdata;
  pthread_mutex_lock(&engine->lock);
  bool gone = clients_usage(&engine->arena).processes == 0;
  pthread_mutex_unlock(&engine->lock);
  return gone;
}

static void kill_many(struct engine *engine, struct notes *notes, struct rng *rng, long kills)
{
  pid_t worker[WORKERS];
  struct job job[WORKERS];
  for (uint32_t i = 0; i < WORKERS; i++) {
    job[i] = (struct job){ notes, i };
    worker[i] = start(work_until_killed, &job[i]);
  }
  for (long killed = 0; killed < kills; killed++) {
    uint32_t next = (uint32_t)rng_below(rng, WORKERS);
    usleep((useconds_t)rng_below(rng, 6000)); // from the first steps of attaching on
    kill(worker[next], SIGKILL);
    assert_int_equal(ended(worker[next]), 200 + SIGKILL);
    worker[next] = start(work_until_killed, &job[next]);
  }
  for (uint32_t i = 0; i < WORKERS; i++) {
    kill(worker[i], SIGKILL);
    assert_int_equal(ended(worker[i]), 200 + SIGKILL);
  }
  wait_until(all_are_gone, engine);
}

static void killed_clients_leave_nothing_stuck(void **state)
{
  (void)state;
  const char *text = getenv("NINES_ATTACH_KILLS");
  long kills = text ? atol(text) : 500;
  struct rng rng = seed_stream("attach_kills");
  struct engine engine;
  struct notes *notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(notes, MAP_FAILED);
  engine_start(&engine);
  kill_many(&engine, notes, &rng, kills);
  pthread_mutex_lock(&engine.lock);
  int64_t now_ns = clock_now_ns();
  nines_arena_fold(&engine.arena, now_ns);
  uint64_t begun = 0, done = 0, asked = 0, answered = 0;
  for (uint32_t i = 0; i < WORKERS; i++) {
    begun += notes->worker[i].begun;
    done += notes->worker[i].ended;
    asked += notes->worker[i].asked;
    answered += notes->worker[i].answered;
  }
  struct tally sum = tally_of(&engine, "orders").sum;
  nines_breaker_reading reading;
  nines_breaker_read((nines_breaker *)guard_of(&engine, &breaker_kind, "gateway"), now_ns, &reading);
  print_message("%ld kills: %llu observations of %llu to %llu, %llu calls of %llu to %llu\n", kills,
                (unsigned long long)sum.total, (unsigned long long)done, (unsigned long long)begun,
                (unsigned long long)reading.total, (unsigned long long)answered, (unsigned long long)asked);
  assert_in_range(sum.total, done, begun);
  assert_in_range(reading.total, answered, asked);
  assert_int_equal(notes->too_many, 0);
  assert_int_equal(nines_bulkhead_inside((nines_bulkhead *)guard_of(&engine, &bulkhead_kind, "places")), 0);
  const struct guard *limit = guard_of(&engine, &adaptive_limit_kind, "limit");
  assert_int_equal(nines_adaptive_limit_inside((const nines_adaptive_limit *)limit), 0);
  // A probe that was under way when its process died costs its lease, no more.
  nines_breaker *half = (nines_breaker *)guard_of(&engine, &breaker_kind, "half");
  bool closed = false;
  for (int i = 0; i < 100 && !closed; i++) {
    now_ns += 25 * NS_PER_MS;
    nines_permit permit = nines_breaker_ask(half, now_ns);
    nines_breaker_done(half, permit, NINES_SUCCESS, now_ns);
    nines_arena_fold(&engine.arena, now_ns);
    closed = nines_breaker_state(half) == NINES_BREAKER_CLOSED;
  }
  assert_true(closed);
  struct clients_usage usage = clients_usage(&engine.arena);
  assert_int_equal(usage.processes, 0);
  assert_int_equal(usage.writers, 1); // the engine's own registration
  pthread_mutex_unlock(&engine.lock);
  engine_stop(&engine);
  munmap(notes, sizeof *notes);
}

// ---- a client that writes what it likes

// Random words over all pages that a client may write, for a while.
static int scribble(nines_arena *arena, void *userdata)
{
  const uint64_t *seed = userdata;
  struct rng rng;
  rng_init(&rng, *seed, "scribble");
  char line[256], *from = NULL, *to = NULL;
  (void)arena;
  FILE *maps = fopen("/proc/self/maps", "r");
  EXPECT(maps);
  while (fgets(line, sizeof line, maps)) {
    void *begin, *end;
    char mode[8];
    if (!strstr(line, path) || sscanf(line, "%p-%p %7s", &begin, &end, mode) != 3 || mode[1] != 'w') continue;
    from = begin;
    to = end;
  }
  fclose(maps);
  EXPECT(from);
  size_t used = 512 << 10; // what is handed out lies at the front
  if (used > (size_t)(to - from)) used = (size_t)(to - from);
  for (int i = 0; i < 20000; i++) {
    uint64_t word = rng_below(&rng, 3) ? rng_next(&rng) >> rng_below(&rng, 64) : 0;
    memcpy(from + rng_below(&rng, used - 8), &word, 8);
    if (i % 100 == 0) usleep(50);
  }
  return 0;
}

// An honest one beside it: what it is told may be wrong, but it must come back each time.
static int go_on(nines_arena *arena, void *userdata)
{
  struct notes notes = { 0 };
  struct job job = { &notes, 0 };
  (void)userdata;
  alarm(2); // ends it: SIGALRM is as good as any
  return work_until_killed(arena, &job);
}

static int check_settings(nines_arena *arena, void *userdata)
{
  nines_limiter *limiter;
  nines_bulkhead *places;
  (void)userdata;
  EXPECT(nines_bulkhead_get(arena, "places", NULL, &places) == 0);
  EXPECT(nines_limiter_get(arena, "limiter", NULL, &limiter) == 0);
  EXPECT(nines_bulkhead_limit(places) == PLACES);
  return 0;
}

static void a_hostile_client_harms_nobody(void **state)
{
  (void)state;
  struct engine engine;
  struct rng rng = seed_stream("attach_hostile");
  engine_start(&engine);
  for (int round = 0; round < 3; round++) {
    uint64_t seed = rng_next(&rng);
    pid_t honest = start(go_on, NULL);
    usleep(100000); // it has made its objects
    pid_t hostile = start(scribble, &seed);
    assert_int_equal(ended(hostile), 0);
    assert_int_equal(ended(honest), 200 + SIGALRM);
    pthread_mutex_lock(&engine.lock);
    for (uint32_t i = 0; i < engine.arena.count; i++) assert_non_null(engine.arena.guards[i]->shared);
    const struct guard *places = guard_of(&engine, &bulkhead_kind, "places");
    assert_int_equal(nines_bulkhead_limit((const nines_bulkhead *)places), PLACES);
    nines_breaker_reading reading;
    nines_breaker_read((nines_breaker *)guard_of(&engine, &breaker_kind, "gateway"), clock_now_ns(), &reading);
    struct status status;
    nines_breaker_config same = { .size = sizeof same, .slow_rate = -1, .failure_rate = -1 };
    struct guard *again;
    assert_int_equal(guards_declare(&engine.arena, &breaker_kind, "gateway", &same, &again, &status), 0);
    // Numbers that it claimed for processes that never were are taken back.
    pthread_mutex_unlock(&engine.lock);
    wait_until(all_are_gone, &engine);
  }
  assert_int_equal(ended(start(check_settings, NULL)), 0);
  engine_stop(&engine);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(killed_clients_leave_nothing_stuck, setup, teardown),
    cmocka_unit_test_setup_teardown(a_hostile_client_harms_nobody, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
