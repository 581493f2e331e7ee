// Attached processes over several lives of their engine: it starts anew, its file is another, the machine boots.
#include "attach_fixture.h"

static bool is_there(void *arena)
{
  nines_arena_fold(arena, clock_now_ns());
  return nines_arena_engine(arena, clock_now_ns()) == NINES_ENGINE_THERE;
}

static nines_arena *attach_with(int64_t wait_ns, int64_t keep_ns)
{
  nines_arena *arena;
  char error[256] = "";
  const nines_attach_config config = { .size = sizeof config, .wait_ns = wait_ns, .keep_ns = keep_ns };
  if (nines_attach(&arena, path, &config, error, sizeof error) < 0) fail_msg("%s", error);
  return arena;
}

// ---- another file

static void *count_one(void *counter)
{
  nines_counter_add(counter, 1, clock_now_ns());
  return NULL;
}

static void count_in_a_thread(nines_counter *counter)
{
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, count_one, counter), 0);
  pthread_join(thread, NULL);
}

// Until the new engine answers, handles are of the old file, and what they ask of it must not reach the new one.
static void handles_of_a_replaced_file(void **state)
{
  (void)state;
  struct engine engine;
  nines_counter *counter;
  nines_limiter *limiter;
  const nines_limiter_config config = { .size = sizeof config, .rate = 7 };
  const nines_limiter_config wrong = { .size = sizeof wrong, .rate = -1 };
  engine_start(&engine);
  nines_arena *arena = attach_with(-1, 0);
  assert_int_equal(nines_counter_get(arena, "n", &counter), 0);
  assert_int_equal(nines_limiter_get(arena, "l", &config, &limiter), 0);
  assert_int_equal(nines_limiter_get(arena, "l", &wrong, &limiter), NINES_EINVAL); // is forgotten
  count_in_a_thread(counter);
  engine_stop(&engine);
  assert_int_equal(unlink(path), 0);

  engine_start(&engine);
  pthread_mutex_lock(&engine.lock); // it beats, and answers nobody
  int64_t began_ns = clock_now_ns();
  nines_arena_fold(arena, clock_now_ns());
  assert_true(clock_now_ns() - began_ns < 390 * NS_PER_MS); // one wait, not one for each handle
  for (int i = 0; i < 3; i++) count_in_a_thread(counter);
  nines_arena_fold(&engine.arena, clock_now_ns());
  pthread_mutex_unlock(&engine.lock);

  wait_until(is_there, arena);
  for (int i = 0; i < 5 && !guards_find(&engine.arena, &limiter_kind, "l"); i++) is_there(arena);
  count_in_a_thread(counter);
  assert_int_equal(nines_counter_total(counter), 1);
  assert_int_equal(nines_counter_total((nines_counter *)guard_of(&engine, &counter_kind, "n")), 1);
  guard_of(&engine, &limiter_kind, "l"); // with the settings that were good
  nines_arena_close(arena);
  engine_stop(&engine);
}

// ---- the same file

static void attached_to_an_engine_of_this_process(void **state)
{
  (void)state;
  struct engine engine;
  nines_bulkhead *bulkhead;
  engine_start(&engine);
  nines_arena *arena = attach_with(0, 0);
  assert_int_equal(nines_bulkhead_get(arena, "b", NULL, &bulkhead), 0);
  nines_permit permit = nines_bulkhead_enter(bulkhead, clock_now_ns());
  uint32_t number = arena->writers->registered;
  engine_stop(&engine);
  engine_start(&engine);
  assert_int_equal(nines_bulkhead_inside(bulkhead), 1); // what is held stays held
  assert_int_equal(clients_claims(engine.memory, NULL)->owner[number], process_identity());
  nines_bulkhead_leave(bulkhead, permit, clock_now_ns());
  assert_int_equal(nines_bulkhead_inside(bulkhead), 0);
  nines_arena_close(arena);
  engine_stop(&engine);
}

// The machine went down with the engine, and its clock starts at zero.
static void a_pulse_of_another_boot_is_none(void **state)
{
  (void)state;
  struct engine engine;
  struct arena *memory;
  struct arena_slot slot;
  struct status status = { 0 };
  nines_arena *arena;
  char error[256];
  engine_start(&engine);
  engine_stop(&engine);
  assert_int_equal(arena_open(&memory, &(struct arena_config){ .path = path }, NULL, &status), 0);
  assert_true(arena_find(memory, ARENA_PULSE, view_of("pulse"), &slot));
  struct pulse *pulse = arena_at(memory, slot.offset);
  pulse->engine = process_identity();
  pulse->beat_ns = clock_now_ns() + 3600 * NS_PER_S;
  arena_close(memory);
  const nines_attach_config config = { .size = sizeof config, .wait_ns = -1 };
  assert_int_equal(nines_attach(&arena, path, &config, error, sizeof error), NINES_ENOTFOUND);
}

// ---- settings

static void for_ever_is_long(void **state)
{
  (void)state;
  struct engine engine;
  nines_breaker *breaker;
  const nines_breaker_config config = { .size = sizeof config, .lost = NINES_LOST_REFUSE };
  engine_start(&engine);
  nines_arena *arena = attach_with(INT64_MAX, INT64_MAX);
  assert_int_equal(nines_breaker_get(arena, "b", &config, &breaker), 0);
  assert_true(nines_permitted(nines_breaker_ask(breaker, clock_now_ns())));
  assert_true(nines_permitted(nines_breaker_ask(breaker, clock_now_ns() + 3600 * NS_PER_S)));
  nines_arena_close(arena);
  engine_stop(&engine);
}

// ---- numbers

// A child that found none gets one as soon as one is free.
static void a_number_comes_back(void **state)
{
  (void)state;
  struct engine engine;
  nines_counter *counter;
  nines_bulkhead *bulkhead;
  engine_start(&engine);
  nines_arena *arena = attach_with(0, 0);
  assert_int_equal(nines_counter_get(arena, "n", &counter), 0);
  struct writer_claims *claims = clients_claims(engine.memory, NULL);
  pid_t other = fork();
  if (other == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  uint64_t taken = (uint64_t)other << 32 | UINT32_MAX; // its start is not known
  for (uint32_t i = WRITER_FIRST; i < WRITERS_MAX; i++) {
    uint64_t none = 0;
    atomic_compare_exchange_strong(&claims->owner[i], &none, taken);
  }
  fflush(NULL);
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte;
    nines_counter_add(counter, 1, clock_now_ns()); // finds no number
    if (read(ends[0], &byte, 1) != 1) _exit(2);
    _exit(nines_bulkhead_get(arena, "late", NULL, &bulkhead) == 0 ? 0 : 3);
  }
  usleep(20000);
  kill(other, SIGKILL);
  assert_int_equal(ended(other), 200 + SIGKILL);
  assert_int_equal(write(ends[1], "x", 1), 1); // before the engine looks
  assert_int_equal(ended(child), 0);
  close(ends[0]);
  close(ends[1]);
  nines_arena_close(arena);
  engine_stop(&engine);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(handles_of_a_replaced_file, setup, teardown),
    cmocka_unit_test_setup_teardown(attached_to_an_engine_of_this_process, setup, teardown),
    cmocka_unit_test_setup_teardown(a_pulse_of_another_boot_is_none, setup, teardown),
    cmocka_unit_test_setup_teardown(for_ever_is_long, setup, teardown),
    cmocka_unit_test_setup_teardown(a_number_comes_back, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
