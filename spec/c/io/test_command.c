// Commands: every way to end is told as what it was, nothing outlives its timeout, and an outcome outlives the engine.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "duration.h"
#include "scratch.h"

struct outcome {
  int count;
  struct command_result result;
  char id[64];
  char output[COMMAND_OUTPUT_MAX + 1];
};

struct engine {
  struct loop *loop;
  struct commander *commander;
};

static void open_engine(struct engine *engine, const char *dir)
{
  struct status status;
  if (loop_open(&engine->loop, &status) != 0) fail_msg("%s", status.text);
  if (commander_open(&engine->commander, engine->loop, dir, &status) != 0) fail_msg("%s", status.text);
}

static void close_engine(struct engine *engine)
{
  commander_close(engine->commander);
  loop_close(engine->loop);
}

static void on_done(void *userdata, const char *id, const struct command_result *result)
{
  struct outcome *outcome = userdata;
  outcome->count++;
  outcome->result = *result;
  snprintf(outcome->id, sizeof(outcome->id), "%s", id);
  memcpy(outcome->output, result->output.data, result->output.size);
  outcome->output[result->output.size] = '\0';
}

static void wait_for(struct engine *engine, const struct outcome *outcome)
{
  int64_t give_up_ns = clock_now_ns() + 20 * NS_PER_S;
  while (outcome->count == 0 && clock_now_ns() < give_up_ns) loop_turn(engine->loop, NS_PER_S);
  assert_int_equal(outcome->count, 1);
}

static void start(struct engine *engine, const struct command *command, struct outcome *outcome)
{
  struct status status;
  outcome->count = 0;
  if (command_start(engine->commander, command, on_done, outcome, &status) != 0) fail_msg("%s", status.text);
}

static void run(struct engine *engine, const struct command *command, struct outcome *outcome)
{
  start(engine, command, outcome);
  wait_for(engine, outcome);
  assert_string_equal(outcome->id, command->id);
}

static void run_shell(struct engine *engine, const char *id, const char *script, struct outcome *outcome)
{
  const char *argv[] = { "/bin/sh", "-c", script, NULL };
  run(engine, &(struct command){ .id = id, .argv = argv, .timeout_ns = 10 * NS_PER_S }, outcome);
}

static void assert_says(const struct outcome *outcome, const char *expected)
{
  char text[200];
  assert_string_equal(command_describe(&outcome->result, text, sizeof(text)), expected);
}

static struct outcome outcome;

static void test_ways_to_end(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  run_shell(&engine, "ok", "echo out; echo err >&2", &outcome);
  assert_says(&outcome, "exited with status 0");
  assert_string_equal(outcome.output, "out\nerr\n");
  run_shell(&engine, "three", "exit 3", &outcome);
  assert_says(&outcome, "exited with status 3");
  run_shell(&engine, "killed", "kill -9 $$", &outcome);
  assert_says(&outcome, "was killed by signal 9");
  const char *missing[] = { "no-such-program-anywhere", NULL };
  run(&engine, &(struct command){ .id = "missing", .argv = missing }, &outcome);
  assert_says(&outcome, "could not be started: No such file or directory");
  const char *directory[] = { "/", NULL };
  run(&engine, &(struct command){ .id = "directory", .argv = directory }, &outcome);
  assert_says(&outcome, "could not be started: Permission denied");
  const char *yes[] = { "true", NULL };
  run(&engine, &(struct command){ .id = "nowhere", .argv = yes, .dir = "/no/such/place" }, &outcome);
  assert_int_equal(outcome.result.end, COMMAND_NOT_STARTED);
  assert_int_equal(command_count(engine.commander), 0);
  // Ids are for once.
  struct status status;
  struct command again = { .id = "ok", .argv = yes };
  assert_int_equal(command_start(engine.commander, &again, on_done, &outcome, &status), NINES_EEXISTS);
  command_forget(engine.commander, "ok");
  run(&engine, &again, &outcome);
  struct command bad = { .id = "../ok", .argv = yes };
  assert_int_equal(command_start(engine.commander, &bad, on_done, &outcome, &status), NINES_EINVAL);
  const char *nothing[] = { NULL };
  struct command empty = { .id = "empty", .argv = nothing };
  assert_int_equal(command_start(engine.commander, &empty, on_done, &outcome, &status), NINES_EINVAL);
  close_engine(&engine);
}

static void test_environment_input_and_place(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  setenv("NINES_TEST_OLD", "old", 1);
  setenv("NINES_TEST_BOTH", "engine", 1);
  const char *env[] = { "NINES_TEST_BOTH=command", "NINES_TEST_NEW=new", NULL };
  const char *show[] = { "sh", "-c", "echo $NINES_TEST_OLD $NINES_TEST_BOTH $NINES_TEST_NEW; env | grep -c TEST_BOTH",
                         NULL };
  run(&engine, &(struct command){ .id = "env", .argv = show, .env = env }, &outcome);
  assert_string_equal(outcome.output, "old command new\n1\n");
  const char *count[] = { "wc", "-c", NULL };
  static char large[300000];
  run(&engine, &(struct command){ .id = "input", .argv = count, .input = { large, sizeof(large) } }, &outcome);
  assert_int_equal(atoi(outcome.output), sizeof(large));
  run(&engine, &(struct command){ .id = "no-input", .argv = count }, &outcome);
  assert_int_equal(atoi(outcome.output), 0);
  // A relative program is looked for in the command's directory.
  char place[200], script[220];
  snprintf(place, sizeof(place), "%s/place", (char *)*state);
  snprintf(script, sizeof(script), "%s/tool", place);
  assert_int_equal(mkdir(place, 0700), 0);
  int fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
  assert_true(dprintf(fd, "#!/bin/sh\npwd\n") > 0);
  close(fd);
  const char *tool[] = { "./tool", NULL };
  run(&engine, &(struct command){ .id = "tool", .argv = tool, .dir = place }, &outcome);
  assert_says(&outcome, "exited with status 0");
  assert_non_null(strstr(outcome.output, "/place\n"));
  close_engine(&engine);
}

static void test_inherits_nothing(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  int leak = open("/dev/null", O_RDONLY); // without O_CLOEXEC, as a host may do
  signal(SIGPIPE, SIG_IGN);
  run_shell(&engine, "fds", "ls /proc/self/fd | tr '\\n' ' '; grep SigIgn /proc/self/status", &outcome);
  assert_int_equal(strncmp(outcome.output, "0 1 2 3 ", 8), 0); // 3 is ls reading the directory
  assert_non_null(strstr(outcome.output, "0000000000000000"));
  close(leak);
  close_engine(&engine);
}

static void test_output_is_bounded(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  run_shell(&engine, "much", "yes 0123456789 | head -c 3000000; echo the end", &outcome);
  assert_says(&outcome, "exited with status 0");
  assert_int_equal(outcome.result.output.size, COMMAND_OUTPUT_MAX);
  assert_string_equal(outcome.output + COMMAND_OUTPUT_MAX - 8, "the end\n");
  char path[200];
  snprintf(path, sizeof(path), "%s/much/output", (char *)*state);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_true(info.st_size <= 2 * COMMAND_OUTPUT_MAX);
  close_engine(&engine);
}

static bool is_alive(const char *pid_text)
{
  pid_t pid = (pid_t)atol(pid_text);
  assert_true(pid > 1);
  return kill(pid, 0) == 0;
}

static void test_timeout_ends_the_group(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  const char *deaf[] = { "/bin/sh", "-c", "trap '' TERM; sleep 100 & echo $!; wait; sleep 100", NULL };
  int64_t start_ns = clock_now_ns();
  run(&engine, &(struct command){ .id = "deaf", .argv = deaf, .timeout_ns = 200 * NS_PER_MS }, &outcome);
  assert_says(&outcome, "ran longer than 200ms");
  assert_true(clock_now_ns() - start_ns > 2 * NS_PER_S);
  assert_false(is_alive(outcome.output));
  const char *polite[] = { "/bin/sh", "-c", "sleep 100 & echo $!; wait", NULL };
  start_ns = clock_now_ns();
  run(&engine, &(struct command){ .id = "polite", .argv = polite, .timeout_ns = 200 * NS_PER_MS }, &outcome);
  assert_says(&outcome, "ran longer than 200ms");
  assert_true(clock_now_ns() - start_ns < 2 * NS_PER_S);
  assert_false(is_alive(outcome.output));
  close_engine(&engine);
}

static void test_background_work_does_not_hold_us(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  int64_t start_ns = clock_now_ns();
  run_shell(&engine, "daemon", "sleep 100 & echo $!", &outcome);
  assert_true(clock_now_ns() - start_ns < 5 * NS_PER_S);
  assert_true(is_alive(outcome.output));
  kill((pid_t)atol(outcome.output), SIGKILL);
  close_engine(&engine);
}

static void turn_until_output(struct engine *engine, const char *dir, const char *id)
{
  char path[300];
  snprintf(path, sizeof(path), "%s/%s/output", dir, id);
  struct stat info = { 0 };
  int64_t give_up_ns = clock_now_ns() + 10 * NS_PER_S;
  while ((stat(path, &info) != 0 || info.st_size == 0) && clock_now_ns() < give_up_ns) {
    if (engine)
      loop_turn(engine->loop, 5 * NS_PER_MS);
    else
      poll(NULL, 0, 5);
  }
  assert_true(info.st_size > 0);
}

static void test_cancel(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  const char *argv[] = { "/bin/sh", "-c", "echo go; sleep 100", NULL };
  start(&engine, &(struct command){ .id = "long", .argv = argv }, &outcome);
  turn_until_output(&engine, *state, "long");
  command_cancel(engine.commander, "long");
  command_cancel(engine.commander, "unknown");
  wait_for(&engine, &outcome);
  assert_says(&outcome, "was killed by signal 15");
  close_engine(&engine);
}

static bool has_children(void)
{
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void test_limit_and_no_zombies(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  static struct outcome outcomes[COMMANDS_MAX];
  const char *argv[] = { "/bin/sh", "-c", "read line; exit 0", NULL };
  char id[16];
  for (int i = 0; i < COMMANDS_MAX; i++) {
    snprintf(id, sizeof(id), "c%d", i);
    start(&engine, &(struct command){ .id = id, .argv = argv }, &outcomes[i]);
  }
  struct status status;
  struct command more = { .id = "more", .argv = argv };
  assert_int_equal(command_start(engine.commander, &more, on_done, &outcome, &status), NINES_ELIMIT);
  for (int i = 0; i < COMMANDS_MAX; i++) wait_for(&engine, &outcomes[i]);
  assert_int_equal(command_count(engine.commander), 0);
  int64_t give_up_ns = clock_now_ns() + 5 * NS_PER_S;
  while (has_children() && clock_now_ns() < give_up_ns) loop_turn(engine.loop, 10 * NS_PER_MS);
  assert_false(has_children());
  close_engine(&engine);
}

static void *allocate_for_ever(void *stop)
{
  while (!atomic_load((atomic_bool *)stop)) free(strdup("text"));
  return NULL;
}

// The fork may come while another thread holds the allocator's lock.
static void test_fork_beside_a_busy_thread(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  atomic_bool stop = false;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, allocate_for_ever, &stop), 0);
  const char *argv[] = { "true", NULL };
  for (int i = 0; i < 30; i++) {
    char id[16];
    snprintf(id, sizeof(id), "c%d", i);
    run(&engine, &(struct command){ .id = id, .argv = argv }, &outcome);
    assert_says(&outcome, "exited with status 0");
  }
  atomic_store(&stop, true);
  pthread_join(thread, NULL);
  close_engine(&engine);
}

// An engine in a child starts the script; it is killed once the script has said something.
static void start_and_die(const char *dir, const char *id, const char *script)
{
  pid_t child = fork();
  if (child == 0) {
    struct engine engine;
    open_engine(&engine, dir);
    const char *argv[] = { "/bin/sh", "-c", script, NULL };
    start(&engine, &(struct command){ .id = id, .argv = argv, .timeout_ns = 20 * NS_PER_S }, &outcome);
    for (;;) loop_turn(engine.loop, NS_PER_S);
  }
  turn_until_output(NULL, dir, id);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
}

static void test_outcome_survives_the_engine(void **state)
{
  start_and_die(*state, "lives", "echo started; sleep 0.3; echo done; exit 3");
  struct engine engine;
  open_engine(&engine, *state);
  outcome.count = 0;
  command_resume(engine.commander, "lives", on_done, &outcome);
  assert_int_equal(outcome.count, 0); // it still runs
  assert_int_equal(command_count(engine.commander), 1);
  wait_for(&engine, &outcome);
  assert_says(&outcome, "exited with status 3");
  assert_string_equal(outcome.output, "started\ndone\n");
  outcome.count = 0;
  command_resume(engine.commander, "lives", on_done, &outcome); // ended before: at once
  assert_int_equal(outcome.count, 1);
  assert_says(&outcome, "exited with status 3");
  command_forget(engine.commander, "lives");
  outcome.count = 0;
  command_resume(engine.commander, "lives", on_done, &outcome);
  assert_int_equal(outcome.count, 1);
  assert_int_equal(outcome.result.end, COMMAND_UNKNOWN);
  close_engine(&engine);
}

static pid_t helper_of(const char *dir, const char *id)
{
  char path[300], text[32] = "";
  snprintf(path, sizeof(path), "%s/%s/lock", dir, id);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(read(fd, text, sizeof(text) - 1) > 0);
  close(fd);
  return (pid_t)atol(text);
}

static void test_helper_killed(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  const char *argv[] = { "/bin/sh", "-c", "echo $$; exec sleep 100", NULL };
  start(&engine, &(struct command){ .id = "mine", .argv = argv }, &outcome);
  turn_until_output(&engine, *state, "mine");
  kill(helper_of(*state, "mine"), SIGKILL);
  wait_for(&engine, &outcome);
  assert_int_equal(outcome.result.end, COMMAND_UNKNOWN);
  int64_t give_up_ns = clock_now_ns() + 5 * NS_PER_S;
  while (is_alive(outcome.output) && clock_now_ns() < give_up_ns) poll(NULL, 0, 5); // until somebody reaps it
  start_and_die(*state, "orphan", "echo go; sleep 100");
  outcome.count = 0;
  command_resume(engine.commander, "orphan", on_done, &outcome);
  assert_int_equal(outcome.count, 0);
  kill(helper_of(*state, "orphan"), SIGKILL);
  wait_for(&engine, &outcome);
  assert_int_equal(outcome.result.end, COMMAND_UNKNOWN);
  close_engine(&engine);
}

static void test_cancel_after_restart(void **state)
{
  start_and_die(*state, "long", "echo go; sleep 100");
  struct engine engine;
  open_engine(&engine, *state);
  outcome.count = 0;
  command_resume(engine.commander, "long", on_done, &outcome);
  command_cancel(engine.commander, "long");
  wait_for(&engine, &outcome);
  assert_says(&outcome, "was killed by signal 15");
  close_engine(&engine);
}

static void test_close_leaves_commands_running(void **state)
{
  struct engine engine;
  open_engine(&engine, *state);
  const char *argv[] = { "/bin/sh", "-c", "sleep 0.2; exit 5", NULL };
  start(&engine, &(struct command){ .id = "stays", .argv = argv }, &outcome);
  close_engine(&engine);
  open_engine(&engine, *state);
  command_resume(engine.commander, "stays", on_done, &outcome);
  wait_for(&engine, &outcome);
  assert_says(&outcome, "exited with status 5");
  close_engine(&engine);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
    TEST(test_ways_to_end),
    TEST(test_environment_input_and_place),
    TEST(test_inherits_nothing),
    TEST(test_output_is_bounded),
    TEST(test_timeout_ends_the_group),
    TEST(test_background_work_does_not_hold_us),
    TEST(test_cancel),
    TEST(test_limit_and_no_zombies),
    TEST(test_fork_beside_a_busy_thread),
    TEST(test_outcome_survives_the_engine),
    TEST(test_helper_killed),
    TEST(test_cancel_after_restart),
    TEST(test_close_leaves_commands_running),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
