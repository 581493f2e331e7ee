// Functions that the application starts and stops: wherever they wait, with what they wait for; in whose episode.
#include "script/fake.h"

static uint64_t start(struct fake *fake)
{
  struct status status;
  uint64_t task = scripts_start(fake->scripts, fake->things[0].function, NULL, 0, &status);
  assert_true(task > 0);
  return task;
}

static struct fake *open_with(const char *body)
{
  char text[1024];
  struct fake *fake = fake_open();
  snprintf(text, sizeof text, "local x = thing 'x' { run = function() %s end }", body);
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  fake_seen(fake);
  return fake;
}

#define STOPPED "function 3: stopped by who started it\n"

static void stops_a_task_that_is_ready(void **state)
{
  (void)state;
  struct fake *fake = open_with("page('ran')");
  assert_true(scripts_stop(fake->scripts, start(fake)));
  fake_run(fake);
  assert_string_equal(fake_seen(fake), STOPPED);
  // One that was woken, too.
  fake_close(fake);
  fake = open_with("http.get('u') page('ran')");
  uint64_t task = start(fake);
  fake_run(fake);
  assert_true(scripts_wake(fake->scripts, fake->waits[0], NULL, 0));
  assert_true(scripts_stop(fake->scripts, task));
  fake_run(fake);
  assert_string_equal(fake_seen(fake), "wait \"u\"\n" STOPPED);
  fake_close(fake);
}

static void stops_a_task_that_waits(void **state)
{
  (void)state;
  struct fake *fake = open_with("http.get('u') page('ran')");
  uint64_t task = start(fake);
  fake_run(fake);
  uint64_t token = fake->waits[0];
  assert_true(scripts_stop(fake->scripts, task));
  assert_string_equal(fake_seen(fake), "wait \"u\"\ncancel\n" STOPPED);
  assert_false(scripts_wake(fake->scripts, token, NULL, 0));
  fake_close(fake);
}

static void stops_a_task_that_sleeps(void **state)
{
  (void)state;
  struct fake *fake = open_with("sleep('1s') page('ran')");
  uint64_t task = start(fake);
  fake_advance(fake, NS_PER_S / 2);
  assert_true(scripts_stop(fake->scripts, task));
  assert_int_equal(scripts_due_ns(fake->scripts), INT64_MAX);
  fake_advance(fake, NS_PER_S);
  assert_string_equal(fake_seen(fake), STOPPED);
  fake_close(fake);
}

static void stops_children_first(void **state)
{
  (void)state;
  struct fake *fake = open_with("all { function() http.get('a') end, function() sleep('1s') end,\n"
                                "function() all { function() http.get('b') end } end } page('ran')");
  uint64_t task = start(fake);
  fake_run(fake);
  assert_true(scripts_stop(fake->scripts, task));
  assert_string_equal(fake_seen(fake), "wait \"a\"\nwait \"b\"\ncancel\ncancel\n" STOPPED);
  struct script_info info;
  assert_true(scripts_info(fake->scripts, 0, &info));
  assert_int_equal(info.tasks, 0);
  fake_advance(fake, 2 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "");
  fake_close(fake);
}

static void closes_what_the_task_had_open(void **state)
{
  (void)state;
  struct fake *fake =
      open_with("local c <close> = setmetatable({}, { __close = function() page('closed') end }) sleep('1s')");
  uint64_t task = start(fake);
  fake_run(fake);
  assert_true(scripts_stop(fake->scripts, task));
  assert_string_equal(fake_seen(fake), "page \"closed\"\n" STOPPED);
  fake_close(fake);
}

static void refuses_what_it_did_not_start(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  assert_string_equal(fake_load(fake, "a.lua",
                                "local x = thing 'x' { run = function() return 1 end }\n"
                                "on('a.b', function() sleep('1s') page('ran') end)"),
                      "");
  fake_seen(fake);
  fake_event(fake, "a.b", "n", "{}"); // task 1
  uint64_t task = start(fake);
  for (uint64_t other = 0; other < 10; other++)
    if (other != task) assert_false(scripts_stop(fake->scripts, other));
  fake_advance(fake, 2 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "function 0 1: \npage \"ran\"\nend a.b n done: \n");
  assert_false(scripts_stop(fake->scripts, task)); // it is over
  fake_close(fake);
}

static uint64_t own_number;

static int stop_myself(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  own_number = call->caller->task;
  call_return(call, value_bool(scripts_stop(((struct fake *)app)->scripts, own_number)));
  return CALL_DONE;
}

static int64_t later;

// Keeps the function; the test starts it while the caller waits.
static int run_later(void *app, uint64_t handle, struct call *call)
{
  later = call->arguments[0].integer;
  call->argument_count = 0;
  return fake_wait(app, handle, call);
}

static const struct verb own_verbs[] = {
  { "page", fake_page, false },
  { "thing.caller", fake_caller, false },
  { "myself", stop_myself, false },
  { "later", run_later, false },
  { NULL, NULL, false },
};

static struct fake *open_with_verbs(void)
{
  struct fake *fake = fake_open();
  struct status status;
  scripts_close(fake->scripts);
  fake->config.verbs = own_verbs;
  assert_int_equal(scripts_open(&fake->scripts, &fake->config, &status), 0);
  return fake;
}

static void refuses_the_one_that_runs(void **state)
{
  (void)state;
  struct fake *fake = open_with_verbs();
  assert_string_equal(fake_load(fake, "a.lua", "local x = thing 'x' { run = function() page(myself()) end }"), "");
  fake_seen(fake);
  assert_int_equal(start(fake), fake->wait_count + 1);
  fake_run(fake);
  assert_true(own_number > 0);
  assert_string_equal(fake_seen(fake), "page false\nfunction 0: \n");
  fake_close(fake);
}

// However late a function is started, and by whatever else happens then: its effects are of the caller's episode.
static void starts_in_the_episode_of_the_caller(void **state)
{
  (void)state;
  struct fake *fake = open_with_verbs();
  struct status status;
  assert_string_equal(fake_load(fake, "a.lua", "on('a.b', function()\nlater(function() thing.caller() end) end)"), "");
  fake_event(fake, "a.b", "n", "{}");
  fake_advance(fake, NS_PER_S);
  fake_seen(fake);
  for (int i = 0; i < 2; i++) {
    assert_true(scripts_start(fake->scripts, later, NULL, 0, &status) > 0);
    fake->wait_count = 0; // its end wakes nobody
    fake_run(fake);
    assert_string_equal(fake_seen(fake), "caller a.lua:2 a.b n 1\nfunction 0: \n");
  }
  fake->wait_count = 1;
  fake_wake(fake, NULL, 0);
  assert_int_equal(scripts_start(fake->scripts, later, NULL, 0, &status), 0); // the call is over
  fake_close(fake);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(stops_a_task_that_is_ready),    cmocka_unit_test(stops_a_task_that_waits),
    cmocka_unit_test(stops_a_task_that_sleeps),      cmocka_unit_test(stops_children_first),
    cmocka_unit_test(closes_what_the_task_had_open), cmocka_unit_test(refuses_what_it_did_not_start),
    cmocka_unit_test(refuses_the_one_that_runs),     cmocka_unit_test(starts_in_the_episode_of_the_caller),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
