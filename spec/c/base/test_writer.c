// writer: numbers are never shared by two living threads (except the shared one), and come back.
#include "writer.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "spec.h"

enum { THREADS = 40 };

struct crowd {
  struct writers *writers;
  pthread_barrier_t together;
  _Atomic uint32_t owners[WRITERS_MAX];
  long plain[WRITERS_MAX]; // unlocked: the thread sanitizer sees it if two threads own one number
};

static void *join_crowd(void *argument)
{
  struct crowd *crowd = argument;
  uint32_t mine = writers_mine(crowd->writers);
  crowd->owners[mine]++;
  for (int i = 0; i < 1000; i++) {
    if (writers_mine(crowd->writers) != mine) abort();
    if (mine != WRITER_SHARED) crowd->plain[mine]++;
  }
  pthread_barrier_wait(&crowd->together); // all hold their numbers at once
  return NULL;
}

static void run_crowd(struct writers *writers, unsigned count)
{
  struct crowd crowd = { .writers = writers };
  pthread_t threads[THREADS];
  pthread_barrier_init(&crowd.together, NULL, count);
  for (unsigned i = 0; i < count; i++) pthread_create(&threads[i], NULL, join_crowd, &crowd);
  for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&crowd.together);
  unsigned own = WRITERS_MAX - WRITER_FIRST < count ? WRITERS_MAX - WRITER_FIRST : count, owned = 0;
  assert_int_equal(crowd.owners[WRITER_LOOP], 0);
  for (int i = WRITER_FIRST; i < WRITERS_MAX; i++) {
    assert_true(crowd.owners[i] <= 1);
    owned += crowd.owners[i];
  }
  assert_int_equal(owned, own);
  assert_int_equal(crowd.owners[WRITER_SHARED], count - own);
  assert_int_equal(writers->spare, writers->held); // all given back
}

static void test_numbers_are_unique_and_return(void **state)
{
  (void)state;
  struct writers writers;
  writers_init(&writers, NULL);
  writers_bind_loop(&writers);
  assert_int_equal(writers_mine(&writers), WRITER_LOOP);
  for (int round = 0; round < 10; round++) {
    run_crowd(&writers, THREADS);
    run_crowd(&writers, 3);
  }
  assert_int_equal(writers_mine(&writers), WRITER_LOOP);
  writers_fini(&writers);
}

static void test_many_engines_in_one_thread(void **state)
{
  (void)state;
  struct writers engines[6];
  for (int i = 0; i < 6; i++) {
    writers_init(&engines[i], NULL);
    assert_int_equal(writers_mine(&engines[i]), i < 4 ? WRITER_FIRST : WRITER_SHARED);
  }
  writers_fini(&engines[0]); // its place in this thread's table is free again
  assert_int_equal(writers_mine(&engines[4]), WRITER_FIRST);
  writers_bind_loop(&engines[5]); // evicts, and the evicted engine gets its number back
  assert_int_equal(writers_mine(&engines[5]), WRITER_LOOP);
  writers_bind_loop(&engines[1]);
  assert_int_equal(writers_mine(&engines[1]), WRITER_LOOP);
  assert_int_equal(engines[1].spare, engines[1].held);
  for (int i = 1; i < 6; i++) writers_fini(&engines[i]);
  for (int i = 0; i < 100; i++) { // ids are never reused: a new engine at the same address is a stranger
    writers_init(&engines[0], NULL);
    assert_int_equal(writers_mine(&engines[0]), WRITER_FIRST);
    writers_fini(&engines[0]);
  }
}

static void *outlive(void *argument)
{
  struct crowd *crowd = argument;
  writers_mine(crowd->writers);
  pthread_barrier_wait(&crowd->together);
  pthread_barrier_wait(&crowd->together); // the engine is closed and freed between the two
  return NULL;
}

static void test_a_thread_outlives_the_engine(void **state)
{
  (void)state;
  struct crowd crowd = { .writers = calloc(1, sizeof *crowd.writers) };
  writers_init(crowd.writers, NULL);
  pthread_t thread;
  pthread_barrier_init(&crowd.together, NULL, 2);
  pthread_create(&thread, NULL, outlive, &crowd);
  pthread_barrier_wait(&crowd.together);
  writers_fini(crowd.writers);
  free(crowd.writers);
  pthread_barrier_wait(&crowd.together);
  pthread_join(thread, NULL);
  pthread_barrier_destroy(&crowd.together);
}

// A process that can open nothing knows little of others: it must not take the living for dead.
static void test_no_descriptor_left(void **state)
{
  (void)state;
  uint64_t identity = process_identity();
  struct rlimit limit, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = (struct rlimit){ 0, limit.rlim_max };
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  bool lives = process_lives(identity);
  uint64_t unsure = process_identity();
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_true(lives);
  assert_int_equal(process_id(unsure), process_id(identity));
  assert_true(process_lives(unsure));
  assert_false(process_lives(identity ^ 1)); // the same number, another start
}

static void *ask_without_id(void *out)
{
  *(uint32_t *)out = writers_number(0);
  return NULL;
}

// A handle that is not bound yet has no id: nobody may take that for the loop's number.
static void test_no_id_is_nobodys(void **state)
{
  (void)state;
  struct writers writers;
  pthread_t thread;
  uint32_t number = WRITER_LOOP;
  assert_int_equal(pthread_create(&thread, NULL, ask_without_id, &number), 0);
  pthread_join(thread, NULL);
  assert_int_equal(number, WRITER_SHARED);
  writers_init(&writers, NULL);
  writers_bind_loop(&writers);
  assert_int_equal(writers_number(0), WRITER_SHARED);
  assert_int_equal(writers_mine(&writers), WRITER_LOOP);
  writers_fini(&writers);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_numbers_are_unique_and_return),
    cmocka_unit_test(test_many_engines_in_one_thread),
    cmocka_unit_test(test_a_thread_outlives_the_engine),
    cmocka_unit_test(test_no_descriptor_left),
    cmocka_unit_test(test_no_id_is_nobodys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
