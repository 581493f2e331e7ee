// The loop: timers, wakes from another thread, signals, watched directories, stopping things from inside themselves.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "duration.h"
#include "loop.h"

struct count {
  struct loop *loop;
  struct loop_timer *timer;
  int ran, stop_after;
};

static void on_tick(void *userdata)
{
  struct count *count = userdata;
  if (++count->ran == count->stop_after) loop_timer_stop(count->timer);
}

static void on_signal(void *userdata, int number)
{
  *(int *)userdata = number;
}

static void on_watch(void *userdata, const char *dir)
{
  assert_non_null(dir);
  (*(int *)userdata)++;
}

static struct loop *open_loop(void)
{
  struct loop *loop;
  struct status status;
  assert_int_equal(loop_open(&loop, &status), 0);
  return loop;
}

static void turn_for(struct loop *loop, int64_t ns)
{
  for (int64_t end = clock_now_ns() + ns; clock_now_ns() < end;) loop_turn(loop, end - clock_now_ns());
}

static void timers_run_and_stop(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  struct count every = { .loop = loop, .stop_after = 3 }, once = { 0 }, never = { 0 };
  every.timer = loop_every(loop, 0, 2 * NS_PER_MS, on_tick, &every);
  once.timer = loop_after(loop, NS_PER_MS, on_tick, &once);
  loop_timer_stop(loop_after(loop, 0, on_tick, &never));
  loop_timer_stop(NULL);
  turn_for(loop, 40 * NS_PER_MS);
  assert_int_equal(every.ran, 3);
  assert_int_equal(once.ran, 1);
  assert_int_equal(never.ran, 0);
  struct count self = { .loop = loop, .stop_after = 1 }; // a single one that stops itself from inside
  self.timer = loop_after(loop, 0, on_tick, &self);
  turn_for(loop, 5 * NS_PER_MS);
  assert_int_equal(self.ran, 1);
  loop_every(loop, 0, NS_PER_S, on_tick, &never); // left to loop_close
  loop_close(loop);
  assert_int_equal(never.ran, 0);
}

static void turns_wait_as_told(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  int64_t start = clock_now_ns();
  loop_turn(loop, 20 * NS_PER_MS);
  int64_t took = clock_now_ns() - start;
  assert_true(took >= 15 * NS_PER_MS && took < 5 * NS_PER_S);
  struct count one = { 0 };
  loop_after(loop, 10 * NS_PER_MS, on_tick, &one);
  start = clock_now_ns();
  for (int i = 0; one.ran == 0; i++) {
    assert_true(i < 3); // one or two turns, not a busy wait
    loop_turn(loop, -1);
  }
  assert_true(clock_now_ns() - start >= 5 * NS_PER_MS);
  loop_close(loop);
}

static void missed_ticks_are_not_made_up(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  struct count every = { 0 };
  loop_every(loop, 0, 5 * NS_PER_MS, on_tick, &every);
  loop_turn(loop, 0);
  struct timespec pause = { .tv_nsec = 40 * NS_PER_MS }; // a handler that holds the loop up
  nanosleep(&pause, NULL);
  int before = every.ran;
  loop_turn(loop, 0);
  loop_turn(loop, 0);
  assert_true(every.ran - before <= 2);
  loop_close(loop);
}

static void the_descriptor_tells_of_timers(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  struct count every = { 0 };
  loop_every(loop, 5 * NS_PER_MS, 5 * NS_PER_MS, on_tick, &every);
  loop_turn(loop, 0);
  while (every.ran < 3) {
    struct pollfd wait = { .fd = loop_fd(loop), .events = POLLIN };
    assert_int_equal(poll(&wait, 1, 10000), 1);
    loop_turn(loop, 0);
  }
  loop_close(loop);
}

static void *wake_often(void *userdata)
{
  struct count *count = userdata;
  for (int i = 0; i < 1000; i++) loop_wake(count->loop);
  return NULL;
}

static void other_threads_wake(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  struct count a = { .loop = loop }, b = { .loop = loop };
  loop_on_wake(loop, on_tick, &a);
  loop_on_wake(loop, on_tick, &b);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, wake_often, &a), 0);
  while (a.ran == 0) loop_turn(loop, -1);
  pthread_join(thread, NULL);
  loop_turn(loop, 0);
  assert_int_equal(a.ran, b.ran);
  loop_close(loop);
}

static void signals_arrive(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  struct status status = { 0 };
  int got = 0, other = 0;
  assert_int_equal(loop_on_signal(loop, SIGUSR1, on_signal, &got, &status), 0);
  assert_int_equal(loop_on_signal(loop, SIGUSR1, on_signal, &other, &status), 0);
  assert_int_equal(loop_on_signal(loop, 9999, on_signal, &got, &status), NINES_EINVAL);
  raise(SIGUSR1);
  for (int i = 0; i < 1000 && (got == 0 || other == 0); i++) loop_turn(loop, 10 * NS_PER_MS);
  assert_int_equal(got, SIGUSR1);
  assert_int_equal(other, SIGUSR1);
  raise(SIGPIPE); // ignored
  loop_close(loop);
}

static void write_file(const char *dir, const char *name)
{
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("x", file);
  fclose(file);
}

static void directories_are_watched(void **state)
{
  (void)state;
  struct loop *loop = open_loop();
  struct status status = { 0 };
  struct loop_watch *watch, *none;
  char dir[] = "/tmp/nines-test-XXXXXX", path[300];
  assert_non_null(mkdtemp(dir));
  int changes = 0;
  assert_int_equal(loop_watch(loop, "/nonexistent/dir", 0, on_watch, &changes, &none, &status), NINES_ENOTFOUND);
  assert_null(none);
  assert_int_equal(loop_watch(loop, dir, 20 * NS_PER_MS, on_watch, &changes, &watch, &status), 0);
  loop_turn(loop, 0);
  for (int i = 0; i < 10; i++) write_file(dir, "a"); // a burst is one change
  for (int i = 0; i < 500 && changes == 0; i++) loop_turn(loop, 10 * NS_PER_MS);
  assert_int_equal(changes, 1);
  turn_for(loop, 50 * NS_PER_MS);
  assert_int_equal(changes, 1);
  write_file(dir, "b");
  loop_turn(loop, 5 * NS_PER_MS);
  loop_watch_stop(watch);
  turn_for(loop, 40 * NS_PER_MS);
  assert_int_equal(changes, 1);
  assert_int_equal(loop_watch(loop, dir, 0, on_watch, &changes, &watch, &status), 0); // left to loop_close
  loop_close(loop);
  for (const char *name = "a"; name; name = *name == 'a' ? "b" : NULL) {
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
  }
  assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(timers_run_and_stop),          cmocka_unit_test(turns_wait_as_told),
    cmocka_unit_test(missed_ticks_are_not_made_up), cmocka_unit_test(the_descriptor_tells_of_timers),
    cmocka_unit_test(other_threads_wake),           cmocka_unit_test(signals_arrive),
    cmocka_unit_test(directories_are_watched),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
