// Processes that share an engine's arena: what they do is seen by all, what the dead held comes back, nothing a client
// writes harms the engine.
#include "attach_fixture.h"

// ---- everything works attached

static int use_everything(nines_arena *arena, void *userdata)
{
  (void)userdata;
  int64_t now_ns;
  const nines_breaker_config breaker_config = {
    .size = sizeof breaker_config, .calls_min = 2, .keys = 16, .latency = 1
  };
  const nines_limiter_config limiter_config = { .size = sizeof limiter_config, .rate = 10 };
  nines_breaker *breaker;
  nines_limiter *limiter;
  nines_bulkhead *bulkhead;
  nines_adaptive_limit *adaptive_limit;
  nines_shedder *shedder;
  nines_retry *retry;
  nines_timeout *timeout;
  nines_fallback *fallback;
  nines_canary *canary;
  nines_fault *fault;
  nines_counter *counter;
  nines_histogram *histogram;
  nines_baseline *baseline;
  nines_path *checkout;
  nines_flag *flag;
  EXPECT(nines_breaker_get(arena, "b", &breaker_config, &breaker) == 0);
  EXPECT(nines_limiter_get(arena, "l", &limiter_config, &limiter) == 0);
  EXPECT(nines_bulkhead_get(arena, "bh", NULL, &bulkhead) == 0);
  EXPECT(nines_adaptive_limit_get(arena, "a", NULL, &adaptive_limit) == 0);
  EXPECT(nines_shedder_get(arena, "s", NULL, &shedder) == 0);
  EXPECT(nines_retry_get(arena, "r", NULL, &retry) == 0);
  EXPECT(nines_timeout_get(arena, "t", NULL, &timeout) == 0);
  EXPECT(nines_fallback_get(arena, "f", NULL, &fallback) == 0);
  EXPECT(nines_canary_get(arena, "c", NULL, &canary) == 0);
  EXPECT(nines_fault_get(arena, "p", &fault) == 0);
  EXPECT(nines_counter_get(arena, "n", &counter) == 0);
  EXPECT(nines_histogram_get(arena, "h", 0, &histogram) == 0);
  EXPECT(nines_arena_path(arena, "checkout", &checkout) == 0);
  EXPECT(nines_flag_get(arena, "new_ui", 1, &flag) == 0);
  EXPECT(nines_baseline_get(arena, "w", &baseline) == NINES_EDENIED);
  EXPECT(strstr(nines_arena_errmsg(arena), "learned by the engine"));
  now_ns = clock_now_ns();
  EXPECT(nines_flag_on(flag, now_ns) == 1); // nobody declared it
  for (int i = 0; i < 2; i++) nines_breaker_done(breaker, nines_breaker_ask(breaker, now_ns), NINES_FAILURE, now_ns);
  // Who has no stripe of his own yet is judged by the fold.
  for (int i = 0; i < 5000 && nines_breaker_state(breaker) != NINES_BREAKER_OPEN; i++) usleep(1000);
  EXPECT(nines_breaker_state(breaker) == NINES_BREAKER_OPEN);
  EXPECT(!nines_permitted(nines_breaker_ask(breaker, now_ns)));
  nines_permit keyed = nines_breaker_ask_key(breaker, "acme", 4, now_ns);
  EXPECT(nines_permitted(keyed));
  nines_breaker_done(breaker, keyed, NINES_SUCCESS, now_ns);
  EXPECT(nines_limiter_ask(limiter, 10, now_ns) == 0);
  EXPECT(nines_limiter_ask(limiter, 1, now_ns) < 0);
  nines_permit inside = nines_bulkhead_enter(bulkhead, now_ns);
  EXPECT(nines_permitted(inside) && nines_bulkhead_inside(bulkhead) == 1);
  nines_bulkhead_leave(bulkhead, inside, now_ns);
  EXPECT(nines_bulkhead_inside(bulkhead) == 0);
  nines_adaptive_limit_done(adaptive_limit, nines_adaptive_limit_ask(adaptive_limit, now_ns), NINES_SUCCESS, now_ns);
  EXPECT(nines_adaptive_limit_inside(adaptive_limit) == 0 && nines_adaptive_limit_now(adaptive_limit) == 20);
  nines_shedder_done(shedder, nines_shedder_ask(shedder, NINES_CRITICAL, now_ns), NINES_SUCCESS, now_ns);
  nines_shedder_load(shedder, 0.8);
  EXPECT(!nines_permitted(nines_shedder_ask(shedder, NINES_SHEDDABLE, now_ns)));
  nines_shedder_load(shedder, 0);
  nines_shedder_put(shedder, 100); // from the next fold on
  for (int i = 0; i < 5000 && nines_shedder_share(shedder, NINES_CRITICAL) < 100; i++) usleep(1000);
  EXPECT(!nines_permitted(nines_shedder_ask(shedder, NINES_CRITICAL, now_ns)));
  nines_retry_call(retry, now_ns);
  EXPECT(nines_retry_next(retry, 1, now_ns) > 0);
  EXPECT(nines_timeout_deadline(timeout, 0, now_ns) == now_ns + NS_PER_S);
  nines_timeout_done(timeout, 1);
  EXPECT(nines_timeout_count(timeout) == 1);
  nines_fallback_call(fallback, now_ns);
  nines_fallback_leave(fallback, nines_fallback_enter(fallback, now_ns));
  nines_canary_begin(canary, now_ns);
  nines_canary_record(canary, NINES_CANARY, NINES_SUCCESS, NS_PER_MS);
  EXPECT(nines_fault_ask(fault, "key", now_ns).kind == NINES_FAULT_NONE);
  nines_fault_config injected = { .size = sizeof injected, .kind = NINES_FAULT_DROP, .rate = 1, .until_ns = INT64_MAX };
  EXPECT(nines_fault_inject(fault, &injected, now_ns) == NINES_EDENIED);
  for (int i = 0; i < 1000; i++) {
    nines_counter_add(counter, 3, clock_now_ns());
    nines_histogram_record(histogram, 5 * NS_PER_MS);
    nines_path_record(checkout, i % 10 != 0, 7 * NS_PER_MS);
    if (i % 50 == 0) usleep(1000); // by and by this thread gets stripes of its own
  }
  EXPECT(nines_counter_total(counter) == 3000);
  fflush(NULL);
  pid_t other = fork(); // counts on a stripe of its own, which this process has not seen yet
  if (other == 0) {
    for (int i = 0; i < 100; i++) {
      nines_counter_add(counter, 1, clock_now_ns());
      if (i % 10 == 0) usleep(2000);
    }
    _exit(0);
  }
  EXPECT(ended(other) == 0 && nines_counter_total(counter) == 3100);
  return 0;
}

static void all_primitives_work_attached(void **state)
{
  (void)state;
  struct engine engine;
  engine_start(&engine);
  assert_int_equal(ended(start(use_everything, NULL)), 0);
  pthread_mutex_lock(&engine.lock);
  int64_t now_ns = clock_now_ns();
  nines_arena_fold(&engine.arena, now_ns);
  nines_breaker_reading reading;
  nines_breaker_read((nines_breaker *)guard_of(&engine, &breaker_kind, "b"), now_ns, &reading);
  assert_int_equal(reading.state, NINES_BREAKER_OPEN);
  assert_int_equal(reading.total, 2);
  assert_int_equal(reading.refused, 1);
  assert_int_equal(nines_counter_total((nines_counter *)guard_of(&engine, &counter_kind, "n")), 3100);
  assert_in_range(nines_histogram_read((nines_histogram *)guard_of(&engine, &histogram_kind, "h"), 0.5), 4 * NS_PER_MS,
                  6 * NS_PER_MS);
  struct tally_of_path checkout = tally_of(&engine, "checkout");
  assert_int_equal(checkout.sum.total, 1000);
  assert_int_equal(checkout.sum.bad, 100);
  assert_int_equal(checkout.own, 1);
  pthread_mutex_unlock(&engine.lock);
  engine_stop(&engine);
}

// ---- one opens, all refuse

struct shared { // between this process and its children
  _Atomic int ready, opened, go;
  _Atomic int64_t opened_ns, refused_ns[8];
  _Atomic uint64_t asked[64], errors;
};

static struct shared *share(void)
{
  void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(memory, MAP_FAILED);
  return memory;
}

static int refuses_soon(nines_arena *arena, void *userdata)
{
  struct shared *shared = userdata;
  nines_breaker *breaker;
  const nines_breaker_config config = { .size = sizeof config, .calls_min = 5 };
  EXPECT(nines_breaker_get(arena, "gateway", &config, &breaker) == 0);
  int mine = atomic_fetch_add(&shared->ready, 1);
  while (nines_permitted(nines_breaker_ask(breaker, clock_now_ns()))) sched_yield();
  atomic_store(&shared->refused_ns[mine], clock_now_ns());
  return 0;
}

static bool three_are_ready(void *userdata)
{
  return atomic_load(&((struct shared *)userdata)->ready) == 3;
}

static void an_opened_breaker_refuses_in_all_at_once(void **state)
{
  (void)state;
  struct engine engine;
  struct shared *shared = share();
  engine_start(&engine);
  pid_t child[3];
  for (int i = 0; i < 3; i++) child[i] = start(refuses_soon, shared);
  wait_until(three_are_ready, shared);
  nines_arena *arena = attach(); // in this very process too
  assert_non_null(arena);
  nines_breaker *breaker;
  assert_int_equal(nines_breaker_get(arena, "gateway", NULL, &breaker), 0);
  nines_breaker_put(breaker, NINES_BREAKER_OPEN, 0, clock_now_ns());
  int64_t opened_ns = clock_now_ns();
  for (int i = 0; i < 3; i++) assert_int_equal(ended(child[i]), 0);
  int64_t slowest_ns = 0;
  for (int i = 0; i < 3; i++)
    if (shared->refused_ns[i] - opened_ns > slowest_ns) slowest_ns = shared->refused_ns[i] - opened_ns;
  print_message("refused in the slowest of 3 processes %.3f ms after it was opened\n", (double)slowest_ns / 1e6);
  nines_arena_close(arena);
  engine_stop(&engine);
  munmap(shared, sizeof *shared);
}

// ---- the dead

static int hold_until_killed(nines_arena *arena, void *userdata)
{
  struct shared *shared = userdata;
  nines_bulkhead *bulkhead;
  nines_breaker *breaker;
  const nines_bulkhead_config config = { .size = sizeof config, .concurrent_max = 10 };
  EXPECT(nines_bulkhead_get(arena, "places", &config, &bulkhead) == 0);
  EXPECT(nines_breaker_get(arena, "calls", NULL, &breaker) == 0);
  for (int i = 0; i < 4; i++) {
    EXPECT(nines_permitted(nines_bulkhead_enter(bulkhead, clock_now_ns())));
    EXPECT(nines_permitted(nines_breaker_ask(breaker, clock_now_ns())));
    usleep(3000); // some on the shared stripe, some on its own
  }
  atomic_fetch_add(&shared->ready, 1);
  for (;;) pause();
}

static bool one_is_ready(void *userdata)
{
  return atomic_load(&((struct shared *)userdata)->ready) == 1;
}

static bool nobody_is_inside(void *userdata)
{
  struct engine *engine = userdata;
  pthread_mutex_lock(&engine->lock);
  uint32_t inside = nines_bulkhead_inside((nines_bulkhead *)guard_of(engine, &bulkhead_kind, "places"));
  struct clients_usage usage = clients_usage(&engine->arena);
  pthread_mutex_unlock(&engine->lock);
  return inside == 0 && usage.processes == 0;
}

static void the_dead_give_back_what_they_held(void **state)
{
  (void)state;
  struct engine engine;
  struct shared *shared = share();
  engine_start(&engine);
  pid_t child = start(hold_until_killed, shared);
  wait_until(one_is_ready, shared);
  pthread_mutex_lock(&engine.lock);
  assert_int_equal(nines_bulkhead_inside((nines_bulkhead *)guard_of(&engine, &bulkhead_kind, "places")), 4);
  assert_int_equal(clients_usage(&engine.arena).processes, 1);
  pthread_mutex_unlock(&engine.lock);
  kill(child, SIGKILL);
  wait_until(nobody_is_inside, &engine); // though nobody has waited for the child yet
  assert_int_equal(ended(child), 200 + SIGKILL);
  engine_stop(&engine);
  munmap(shared, sizeof *shared);
}

// ---- many threads in many processes: more than there are numbers

enum { CROWD_PROCESSES = 4, CROWD_THREADS = 8, CROWD_CALLS = 5000 };

struct crowd {
  nines_path *path;
  nines_counter *counter;
  nines_bulkhead *bulkhead;
  nines_breaker *breaker;
  nines_shedder *shedder;
};

static void *run_crowd(void *userdata)
{
  const struct crowd *crowd = userdata;
  for (int i = 0; i < CROWD_CALLS; i++) {
    int64_t now_ns = clock_now_ns();
    nines_path_record(crowd->path, i % 5 != 0, 1000);
    nines_counter_add(crowd->counter, 1, now_ns);
    nines_bulkhead_leave(crowd->bulkhead, nines_bulkhead_enter(crowd->bulkhead, now_ns), now_ns);
    nines_breaker_done(crowd->breaker, nines_breaker_ask(crowd->breaker, now_ns), NINES_SUCCESS, now_ns);
    nines_shedder_done(crowd->shedder, nines_shedder_ask(crowd->shedder, i & 3, now_ns), NINES_SUCCESS, now_ns);
    if (i % 500 == 0) usleep(1000);
  }
  return NULL;
}

static int crowd_process(nines_arena *arena, void *userdata)
{
  struct crowd crowd;
  pthread_t thread[CROWD_THREADS];
  (void)userdata;
  EXPECT(nines_arena_path(arena, "crowd", &crowd.path) == 0);
  EXPECT(nines_counter_get(arena, "crowd", &crowd.counter) == 0);
  EXPECT(nines_bulkhead_get(arena, "crowd", NULL, &crowd.bulkhead) == 0);
  EXPECT(nines_breaker_get(arena, "crowd", NULL, &crowd.breaker) == 0);
  EXPECT(nines_shedder_get(arena, "crowd", NULL, &crowd.shedder) == 0);
  for (int i = 0; i < CROWD_THREADS; i++) EXPECT(pthread_create(&thread[i], NULL, run_crowd, &crowd) == 0);
  for (int i = 0; i < CROWD_THREADS; i++) pthread_join(thread[i], NULL);
  return 0;
}

static void threads_of_all_processes_count_exactly(void **state)
{
  (void)state;
  struct engine engine;
  pid_t child[CROWD_PROCESSES];
  const uint64_t calls = CROWD_PROCESSES * CROWD_THREADS * CROWD_CALLS;
  engine_start(&engine);
  for (int i = 0; i < CROWD_PROCESSES; i++) child[i] = start(crowd_process, NULL);
  for (int i = 0; i < CROWD_PROCESSES; i++) assert_int_equal(ended(child[i]), 0);
  pthread_mutex_lock(&engine.lock);
  int64_t now_ns = clock_now_ns();
  nines_arena_fold(&engine.arena, now_ns);
  struct tally_of_path path_tally = tally_of(&engine, "crowd");
  assert_int_equal(path_tally.sum.total, calls);
  assert_int_equal(path_tally.sum.bad, calls / 5);
  assert_in_range(path_tally.own, 8, WRITERS_MAX - WRITER_FIRST);
  assert_int_equal(nines_counter_total((nines_counter *)guard_of(&engine, &counter_kind, "crowd")), calls);
  assert_int_equal(nines_bulkhead_inside((nines_bulkhead *)guard_of(&engine, &bulkhead_kind, "crowd")), 0);
  nines_breaker_reading reading;
  nines_breaker_read((nines_breaker *)guard_of(&engine, &breaker_kind, "crowd"), now_ns, &reading);
  assert_int_equal(reading.total + reading.late, calls);
  assert_int_equal(reading.in_flight, 0);
  pthread_mutex_unlock(&engine.lock);
  engine_stop(&engine);
}

// ---- forks

static int record_and_fork(nines_arena *arena, void *userdata)
{
  (void)userdata;
  nines_path *orders;
  EXPECT(nines_arena_path(arena, "orders", &orders) == 0);
  for (int i = 0; i < 100; i++) {
    nines_path_record(orders, 1, -1);
    usleep(100);
  }
  pid_t workers[4];
  for (int w = 0; w < 4; w++) {
    workers[w] = fork();
    if (workers[w] != 0) continue;
    for (int i = 0; i < 20000; i++) {
      nines_path_record(orders, i % 4 != 0, -1);
      if (i % 1000 == 0) usleep(1000);
    }
    nines_bulkhead *late; // objects of its own, too
    EXPECT(nines_bulkhead_get(arena, "late", NULL, &late) == 0);
    nines_permit permit = nines_bulkhead_enter(late, clock_now_ns());
    EXPECT(nines_permitted(permit));
    nines_bulkhead_leave(late, permit, clock_now_ns());
    _exit(0);
  }
  for (int i = 0; i < 1000; i++) nines_path_record(orders, 1, -1);
  for (int w = 0; w < 4; w++) EXPECT(ended(workers[w]) == 0);
  return 0;
}

static void forked_workers_never_share_a_stripe(void **state)
{
  (void)state;
  struct engine engine;
  engine_start(&engine);
  assert_int_equal(ended(start(record_and_fork, NULL)), 0);
  struct tally_of_path orders = tally_of(&engine, "orders");
  assert_int_equal(orders.sum.total, 100 + 4 * 20000 + 1000);
  assert_int_equal(orders.sum.bad, 4 * 5000);
  assert_true(orders.own >= 3); // numbers of the dead are handed on
  engine_stop(&engine);
}

// ---- without an engine

static bool is_there(void *arena)
{
  nines_arena_fold(arena, clock_now_ns());
  return nines_arena_engine(arena, clock_now_ns()) == NINES_ENGINE_THERE;
}

static bool is_open(void *breaker)
{
  return nines_breaker_state(breaker) == NINES_BREAKER_OPEN;
}

// Whatever is asked of objects that no engine has made comes back, and counts nothing.
static void use_unbound(nines_arena *arena, int64_t now_ns)
{
  nines_bulkhead *bulkhead;
  nines_adaptive_limit *limit;
  nines_shedder *shedder;
  nines_retry *retry;
  nines_timeout *timeout;
  nines_fallback *fallback;
  nines_canary *canary;
  nines_fault *fault;
  nines_counter *counter;
  nines_histogram *histogram;
  assert_int_equal(nines_bulkhead_get(arena, "b", NULL, &bulkhead), 0);
  assert_int_equal(nines_adaptive_limit_get(arena, "a", NULL, &limit), 0);
  assert_int_equal(nines_shedder_get(arena, "s", NULL, &shedder), 0);
  assert_int_equal(nines_retry_get(arena, "r", NULL, &retry), 0);
  assert_int_equal(nines_timeout_get(arena, "t", NULL, &timeout), 0);
  assert_int_equal(nines_fallback_get(arena, "f", NULL, &fallback), 0);
  assert_int_equal(nines_canary_get(arena, "c", NULL, &canary), 0);
  assert_int_equal(nines_fault_get(arena, "p", &fault), 0);
  assert_int_equal(nines_counter_get(arena, "n", &counter), 0);
  assert_int_equal(nines_histogram_get(arena, "h", 0, &histogram), 0);
  nines_permit permit = nines_bulkhead_enter(bulkhead, now_ns);
  assert_true(nines_permitted(permit));
  nines_bulkhead_leave(bulkhead, permit, now_ns);
  assert_int_equal(nines_bulkhead_inside(bulkhead), 0);
  nines_adaptive_limit_done(limit, nines_adaptive_limit_ask(limit, now_ns), NINES_SUCCESS, now_ns);
  nines_shedder_done(shedder, nines_shedder_ask(shedder, NINES_SHEDDABLE, now_ns), NINES_SUCCESS, now_ns);
  nines_shedder_load(shedder, 1);
  nines_shedder_put(shedder, 50);
  nines_retry_call(retry, now_ns);
  nines_retry_next(retry, 1, now_ns);
  assert_true(nines_timeout_deadline(timeout, 0, now_ns) > now_ns);
  nines_timeout_done(timeout, 1);
  nines_fallback_call(fallback, now_ns);
  nines_fallback_leave(fallback, nines_fallback_enter(fallback, now_ns));
  nines_canary_begin(canary, now_ns);
  nines_canary_record(canary, NINES_CANARY, NINES_FAILURE, NS_PER_MS);
  assert_int_equal(nines_fault_ask(fault, NULL, now_ns).kind, NINES_FAULT_NONE);
  nines_fault_heal(fault);
  nines_counter_add(counter, 1, now_ns);
  nines_histogram_record(histogram, NS_PER_MS);
  assert_int_equal(nines_histogram_read(histogram, 0.5), -1);
}

static void without_an_engine(void **state)
{
  (void)state;
  nines_arena *arena;
  char error[256];
  nines_attach_config config = { .size = sizeof config, .wait_ns = -1 };
  assert_int_equal(nines_attach(&arena, path, &config, error, sizeof error), NINES_ENOTFOUND);
  assert_non_null(strstr(error, "is its engine running?"));
  assert_null(arena);
  config.without_engine = 1;
  config.wait_ns = 200 * NS_PER_MS;
  config.keep_ns = 5 * NS_PER_S;
  assert_int_equal(nines_attach(&arena, path, &config, error, sizeof error), 0);
  const nines_breaker_config admits = { .size = sizeof admits, .calls_min = 2 };
  const nines_limiter_config refuses = { .size = sizeof refuses, .rate = 1000, .lost = NINES_LOST_REFUSE };
  nines_breaker *breaker;
  nines_limiter *limiter;
  nines_flag *flag;
  nines_path *orders;
  int64_t now_ns = clock_now_ns();
  assert_int_equal(nines_arena_engine(arena, now_ns), NINES_ENGINE_LOST);
  assert_int_equal(nines_breaker_get(arena, "b", &admits, &breaker), 0);
  assert_int_equal(nines_limiter_get(arena, "l", &refuses, &limiter), 0);
  assert_int_equal(nines_flag_get(arena, "f", 1, &flag), 0);
  assert_int_equal(nines_arena_path(arena, "orders", &orders), 0);
  nines_path_record(orders, 1, -1);
  for (int i = 0; i < 5; i++) {
    nines_permit permit = nines_breaker_ask(breaker, now_ns);
    assert_true(nines_permitted(permit));
    nines_breaker_done(breaker, permit, NINES_FAILURE, now_ns);
  }
  assert_true(nines_limiter_ask(limiter, 1, now_ns) < 0);
  assert_int_equal(nines_flag_on(flag, now_ns), 1);
  use_unbound(arena, now_ns);

  struct engine engine;
  engine_start(&engine);
  wait_until(is_there, arena);
  now_ns = clock_now_ns();
  assert_true(nines_limiter_ask(limiter, 1, now_ns) == 0);
  pthread_mutex_lock(&engine.lock);
  flag_publish(guard_of(&engine, &flag_kind, "f"), false);
  pthread_mutex_unlock(&engine.lock);
  assert_int_equal(nines_flag_on(flag, now_ns), 0);
  for (int i = 0; i < 2; i++) nines_breaker_done(breaker, nines_breaker_ask(breaker, now_ns), NINES_FAILURE, now_ns);
  wait_until(is_open, breaker); // with the settings of before
  now_ns = clock_now_ns();

  engine_stop(&engine);
  now_ns = clock_now_ns();
  assert_int_equal(nines_arena_engine(arena, now_ns), NINES_ENGINE_GONE);
  assert_false(nines_permitted(nines_breaker_ask(breaker, now_ns))); // its last decision, for a while
  now_ns += 6 * NS_PER_S;
  assert_int_equal(nines_arena_engine(arena, now_ns), NINES_ENGINE_LOST);
  assert_true(nines_permitted(nines_breaker_ask(breaker, now_ns)));
  assert_true(nines_limiter_ask(limiter, 1, now_ns) < 0);
  assert_int_equal(nines_flag_on(flag, now_ns), 1);

  engine_start(&engine); // the next life, of the same arena
  wait_until(is_there, arena);
  now_ns = clock_now_ns();
  assert_int_equal(nines_flag_on(flag, now_ns), 0);
  assert_false(nines_permitted(nines_breaker_ask(breaker, now_ns)));
  nines_arena_close(arena);
  engine_stop(&engine);
}

static int bad_wishes(nines_arena *arena, void *userdata)
{
  (void)userdata;
  nines_limiter *limiter;
  nines_path *orders;
  nines_breaker *breaker;
  EXPECT(nines_limiter_get(arena, "l", NULL, &limiter) == NINES_EINVAL && !limiter);
  EXPECT(strstr(nines_arena_errmsg(arena), "has no default rate"));
  EXPECT(nines_arena_path(arena, "", &orders) == NINES_EINVAL && !orders);
  EXPECT(nines_arena_path(arena, "two\nlines", &orders) == NINES_EINVAL);
  const nines_breaker_config wrong = { .size = sizeof wrong, .failure_rate = 101 };
  EXPECT(nines_breaker_get(arena, "b", &wrong, &breaker) == NINES_EINVAL && !breaker);
  EXPECT(strstr(nines_arena_errmsg(arena), "failure_rate"));
  char name[32];
  int code = 0;
  for (int i = 0; code == 0 && i <= PATH_GUARDS_MAX; i++) {
    snprintf(name, sizeof name, "path %d", i);
    code = nines_arena_path(arena, name, &orders);
  }
  EXPECT(code == NINES_ELIMIT);
  EXPECT(strstr(nines_arena_errmsg(arena), "1000") || strstr(nines_arena_errmsg(arena), "no room"));
  return 0;
}

static void bad_wishes_are_refused_with_a_sentence(void **state)
{
  (void)state;
  struct engine engine;
  engine_start(&engine);
  assert_int_equal(ended(start(bad_wishes, NULL)), 0);
  engine_stop(&engine);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(all_primitives_work_attached, setup, teardown),
    cmocka_unit_test_setup_teardown(an_opened_breaker_refuses_in_all_at_once, setup, teardown),
    cmocka_unit_test_setup_teardown(the_dead_give_back_what_they_held, setup, teardown),
    cmocka_unit_test_setup_teardown(threads_of_all_processes_count_exactly, setup, teardown),
    cmocka_unit_test_setup_teardown(forked_workers_never_share_a_stripe, setup, teardown),
    cmocka_unit_test_setup_teardown(without_an_engine, setup, teardown),
    cmocka_unit_test_setup_teardown(bad_wishes_are_refused_with_a_sentence, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
