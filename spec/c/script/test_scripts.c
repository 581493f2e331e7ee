// Files: loading and its errors, names over all files, reload, objects and calls, kills, many files.
#include "script/fake.h"

#include <time.h>

static void refused(struct fake *fake, const char *text, const char *sentence)
{
  const char *why = fake_load(fake, "a.lua", text);
  if (!strstr(why, sentence)) fail_msg("text: %s\nwanted: %s\nsaid: %s", text, sentence, why);
}

static void says_what_is_wrong(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  struct status status;
  assert_int_equal(scripts_source(fake->scripts, "a.txt", view_of(""), &status), NINES_EINVAL);
  assert_string_equal(status.text, "a.txt: a policy's file name ends in .lua");
  refused(fake, "local x = = 1", "a.lua:1: unexpected symbol");
  refused(fake, "\npgae {}", "a.lua:2: unknown name \"pgae\" (did you mean \"page\"?)");
  refused(fake, "on('a.b', function()\n  evry('1s', 1) end)",
          "a.lua:2: unknown name \"evry\" (did you mean \"every\"?)");
  refused(fake, "page = 1", "a.lua:1: page is a word of the language and cannot be assigned");
  refused(fake, "page {}", "a.lua:1: page cannot be called while the file loads; put it into a handler");
  refused(fake, "thing 'x' {} thing('x'):set(1)", "a.lua:1: thing:set cannot be called while the file loads");
  refused(fake, "sleep('1s')", "a.lua:1: sleep cannot be called while the file loads");
  refused(fake, "thing {}", "a.lua:1: thing needs a name: thing \"name\"");
  refused(fake, "\nthing 'x' { limit = -1 }", "a.lua:2: thing \"x\": limit: it is below 0");
  refused(fake, "thing 'x' { deep = { { io = coroutine } } }", "a.lua:1: unknown name \"coroutine\"");
  refused(fake, "thing 'x' { list = { 1, nil, 3 } }", "a.lua:1: thing \"x\": list: ");
  refused(fake, "thing 'x' {} thing 'x' {}", "a.lua:1: thing \"x\" is declared twice, first at a.lua:1");
  refused(fake, "\nlocal t = thing 'nobody'", "a.lua:2: unknown thing \"nobody\"");
  refused(fake, "thing 'payments' {} local t = thing 'paymnets'",
          "a.lua:1: unknown thing \"paymnets\" (did you mean \"payments\"?)");
  refused(fake, "thing 'x' {} thing('x'):on('breeched', print)", "unknown name \"print\"");
  refused(fake, "thing 'x' {} thing('x'):on('breeched', function() end)",
          "a.lua:1: thing has no event \"breeched\" (did you mean \"breached\"?)");
  refused(fake, "on('thing.breeched', function() end)", "did you mean \"breached\"?");
  refused(fake, "on('a*', function() end)", "a.lua:1: on: a topic is");
  refused(fake, "every('soon', function() end)", "a.lua:1: every: ");
  refused(fake, "every(0, function() end)", "a.lua:1: every: the interval is at least 1ms");
  refused(fake, "at('noon', function() end)", "a.lua:1: at: \"noon\" is no time");
  refused(fake, "use 'nothing'", "a.lua:1: use: there is no library \"nothing\"");
  refused(fake, "use '../x'", "a.lua:1: use: \"../x\" is no name of a library");
  refused(fake, "while true do end", "a.lua:1: stopped after 300000 instructions");
  refused(fake, "error('my word')", "a.lua:1: my word");
  refused(fake, "thing 'x' {} local y = thing('x').limt", "a.lua:1: thing has no \"limt\" (did you mean \"limit\"?)");
  refused(fake, "local f = http.gett", "a.lua:1: unknown http.gett (did you mean \"http.get\"?)");
  refused(fake, "http.set = 1", "a.lua:1: http belongs to nines and cannot be changed");
  assert_string_equal(fake_load(fake, "a.lua", "local x = pure() assert(x == 42)"), "");
  struct script_info info;
  assert_true(scripts_info(fake->scripts, 0, &info));
  assert_string_equal(info.state, "running");
  assert_int_equal(info.loads, 1);
  assert_false(scripts_info(fake->scripts, 1, &info));
  fake_close(fake);
}

static void settles_names_over_all_files(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  // The user comes before the owner; a cycle of names is fine.
  fake_source(fake, "b.lua", "thing 'y' { limit = 2, friend = thing 'x' }");
  fake_source(fake, "a.lua", "thing 'x' { limit = 1, friend = thing 'y' }");
  assert_string_equal(fake_load(fake, NULL, NULL), "");
  assert_string_equal(fake_seen(fake), "apply x 1\napply y 2\napply x 1\npolicy.loaded a.lua \npolicy.loaded b.lua \n");
  // One owner.
  assert_string_equal(fake_load(fake, "c.lua", "\nthing 'x' {}"),
                      "c.lua:2: thing \"x\" is declared at a.lua:1 already; one file owns an object");
  fake_source(fake, "c.lua", NULL);
  assert_string_equal(fake_load(fake, NULL, NULL), "");
  assert_int_equal(scripts_count(fake->scripts), 2);
  fake_seen(fake);
  // What others use cannot go, neither by an edit nor with its file.
  assert_string_equal(fake_load(fake, "a.lua", "thing 'z' {}"), "a.lua: thing \"x\" cannot go, it is used at b.lua:1");
  assert_true(thing_find(fake, "x") != 0 && thing_find(fake, "z") == 0);
  assert_string_equal(fake_load(fake, "a.lua", NULL), "a.lua: thing \"x\" cannot go, it is used at b.lua:1");
  // Both together are fine, and a move from file to file retires nothing.
  fake_source(fake, "a.lua", NULL);
  fake_seen(fake);
  assert_string_equal(fake_load(fake, "b.lua", "thing 'x' { limit = 5 }"), "");
  assert_string_equal(fake_seen(fake), "apply x 5\nretire y\npolicy.loaded b.lua \n");
  assert_int_equal(scripts_count(fake->scripts), 1);
  // A rejected file is tried again when others change.
  assert_string_equal(fake_load(fake, "d.lua", "local q = thing 'q'"),
                      "d.lua:1: unknown thing \"q\" (did you mean \"x\"?)");
  assert_string_equal(fake_load(fake, "e.lua", "thing 'q' {}"), "");
  struct script_info info;
  assert_true(scripts_info(fake->scripts, 1, &info));
  assert_string_equal(info.state, "running");
  fake_close(fake);
}

static void collect(void *userdata, const char *file, const char *error)
{
  char *out = userdata;
  strcat(strcat(strcat(strcat(out, file), "|"), error), "\n");
}

static void checks_without_taking_over(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  char errors[2048] = "";
  fake_source(fake, "a.lua", "log.info('hello') local x, y = thing 'x', thing 'y'");
  fake_source(fake, "b.lua", "thing 'z' {");
  fake_source(fake, "c.lua", "thing 'w' {} spawn(function() end) every('1s', function() end)");
  assert_int_equal(scripts_check(fake->scripts, collect, errors), 2);
  assert_non_null(strstr(errors, "b.lua|b.lua:1: "));
  assert_non_null(strstr(errors, "a.lua|a.lua:1: unknown thing \"x\""));
  assert_non_null(strstr(errors, "a.lua|a.lua:1: unknown thing \"y\""));
  assert_string_equal(fake_seen(fake), "");
  assert_int_equal(thing_find(fake, "w"), 0);
  assert_int_equal(scripts_reload(fake->scripts, NULL), 2);
  assert_true(thing_find(fake, "w") != 0);
  fake_close(fake);
}

static void reloads_between_turns(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  const char *first = "on('a.b', function() http.get('u') page('late') end) every('1s', function() page(1) end)";
  assert_string_equal(fake_load(fake, "a.lua", first), "");
  fake_event(fake, "a.b", "n", "{}");
  assert_string_equal(fake_seen(fake), "policy.loaded a.lua \nwait \"u\"\n");
  // A broken edit leaves the old one, with its waiting task.
  assert_non_null(strstr(fake_load(fake, "a.lua", "every('1s', function("), "a.lua:1: "));
  fake_seen(fake);
  fake_advance(fake, NS_PER_S);
  assert_string_equal(fake_seen(fake), "page 1\n");
  assert_true(scripts_handling(fake->scripts, "a.b", "n"));
  // Unchanged text does nothing.
  assert_string_equal(fake_load(fake, "a.lua", first), "");
  assert_string_equal(fake_seen(fake), "");
  // A new one ends the old one's tasks and waits.
  uint64_t token = fake->waits[0];
  assert_string_equal(fake_load(fake, "a.lua", "every('1s', function() page(2) end)"), "");
  assert_string_equal(fake_seen(fake),
                      "cancel\nend a.b n cancelled: cancelled by a reload of its file\npolicy.loaded a.lua \n");
  assert_false(scripts_wake(fake->scripts, token, NULL, 0));
  assert_false(scripts_handles(fake->scripts, "a.b", "n"));
  fake_advance(fake, NS_PER_S);
  assert_string_equal(fake_seen(fake), "page 2\n");
  fake_close(fake);
}

static void uses_libraries(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  fake->library = "return { answer = 1 }";
  const char *text = "local l, s = use 'own', use 'shipped/library'\n"
                     "on('a.b', function() page(l.answer, s.answer, l == use_again) end)\nuse_again = use 'own'";
  fake_source(fake, "lib/own.lua", "return { answer = 10 }");
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  fake_event(fake, "a.b", "", "{}");
  assert_non_null(strstr(fake_seen(fake), "page 10 1 true\n"));
  // A changed library reloads those who use it; a broken one nobody.
  assert_string_equal(fake_load(fake, "lib/own.lua", "return { answer = 11 }"), "");
  fake_event(fake, "a.b", "", "{}");
  assert_non_null(strstr(fake_seen(fake), "page 11 1 true\n"));
  assert_non_null(strstr(fake_load(fake, "lib/own.lua", "return {"), "lib/own.lua:1: "));
  assert_non_null(strstr(fake_load(fake, "lib/own.lua", "return {}, zzz"), "lib/own.lua:1: unknown name \"zzz\""));
  fake_seen(fake);
  fake_event(fake, "a.b", "", "{}");
  assert_non_null(strstr(fake_seen(fake), "page 11 1 true\n"));
  assert_non_null(strstr(fake_load(fake, "lib/own.lua", "return use 'own'"), "library \"own\" uses itself"));
  assert_int_equal(scripts_count(fake->scripts), 1);
  fake_close(fake);
}

static void calls_the_application(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  const char *text =
      "local x = thing 'x' { limit = 3, friend = thing 'y', run = function(a) return a, 2 end }\n"
      "local y = thing 'y' { limit = 4 }\n"
      "local seen = { [x] = 1 }\n"
      "x:on('breached', function(event)\n"
      "  page(x.limit, x.friend.limit, tostring(x), x == thing 'x', x.friend == y, seen[thing 'x'], x ~= y)\n"
      "  page(event.value, event.topic, event.name, event.at, event.list[2])\n"
      "  page(x:ticket().number, x:ticket() == x:ticket(), tostring(x:ticket()), type(x))\n"
      "  x:set(9) page(x.limit)\n"
      "  page(door.open())\n"
      "  thing.caller()\n"
      "  page(pcall(x.set, x, 'a'))\n"
      "  page(pcall(x.set, 1))\n"
      "  page(pcall(function() return thing 'z' end))\n"
      "  page(pcall(function() x.limit = 3 end))\n"
      "  page(pcall(page, { 1, a = 2 }))\n"
      "  page(pcall(page, x.set))\n"
      "  page(pcall(page, 1, 2, 3, 4, 5, 6, 7, 8, 9))\n"
      "end)\n";
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  assert_true(scripts_handles(fake->scripts, "thing.breached", "x"));
  assert_false(scripts_handles(fake->scripts, "thing.breached", "y"));
  assert_false(scripts_handles(fake->scripts, "thing.recovered", "x"));
  fake_seen(fake);
  fake_event(fake, "thing.breached", "x", "{\"value\":1.5,\"list\":[1,2]}");
  assert_string_equal(fake_seen(fake),
                      "page 3 4 \"thing \\\"x\\\"\" true true 1 true\n"
                      "page 1.5 \"thing.breached\" \"x\" 1767571200 2\n"
                      "page 1001 true \"ticket 1001\" \"userdata\"\n"
                      "page 9\n"
                      "page null \"the door is closed\" \"closed\"\n"
                      "caller a.lua:10 thing.breached x 1\n"
                      "page false \"set: a whole number, please\"\n"
                      "page false \"call it with a colon: thing:set(...)\"\n"
                      "page false \"a.lua:13: unknown thing \\\"z\\\" (did you mean \\\"x\\\"?)\"\n"
                      "page false \"a.lua:14: thing \\\"x\\\" cannot be changed by assignment; its methods or its "
                      "declaration do that\"\n"
                      "page false \"page: argument 1: a table with both named fields and list items\"\n"
                      "page \"<function>\"\n"
                      "page true true\n"
                      "page false \"page takes at most 8 arguments\"\n"
                      "end thing.breached x done: \n");
  fake_close(fake);
}

static void runs_functions_for_the_application(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  const char *text = "local x = thing 'x' { run = function(a) sleep('1s') return a, { k = 2 } end }\n"
                     "on('a.b', function() page(x:guard(function(a) sleep('2s') return a .. '!' end)) end)\n"
                     "on('a.c', function() page(x:guard(function(a) error('broken') end)) end)\n";
  struct value argument = value_integer(5);
  struct status status;
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  fake_seen(fake);
  assert_true(scripts_start(fake->scripts, fake->things[0].function, &argument, 1, &status) > 0);
  fake_advance(fake, 2 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "function 0 5 {\"k\":2}: \n");
  fake_event(fake, "a.b", "", "{}");
  fake_advance(fake, 3 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "function 0 \"argument!\": \npage \"argument!\"\nend a.b  done: \n");
  fake_event(fake, "a.c", "", "{}");
  assert_string_equal(fake_seen(fake),
                      "error a.lua: a.lua:3: broken\nfunction 1: a.lua:3: broken\npage\nend a.c  done: \n");
  int64_t old = fake->things[0].function;
  assert_string_equal(fake_load(fake, "a.lua", "thing 'x' {}"), "");
  assert_true(scripts_start(fake->scripts, old, &argument, 1, &status) == 0);
  assert_string_equal(status.text, "the function is gone: its policy was reloaded or disabled");
  fake_close(fake);
}

static void disables_after_three_kills(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  const char *text = "thing 'x' {}\non('a.b', function(e) if e.bad then while true do end end end)\n"
                     "on('m.m', function() local t = {} while true do t[#t + 1] = {} end end)";
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  struct script_info info;
  // Two kills, a good run, two kills: still there.
  const char *events[] = { "{\"bad\":true}", "{\"bad\":true}", "{}", "{\"bad\":true}", "{\"bad\":true}" };
  for (int i = 0; i < 5; i++) fake_event(fake, "a.b", "", events[i]);
  assert_true(scripts_info(fake->scripts, 0, &info));
  assert_string_equal(info.state, "running");
  assert_int_equal(info.usage.kills[KILL_INSTRUCTIONS], 4);
  fake_seen(fake);
  fake_event(fake, "a.b", "n", "{\"bad\":true}");
  assert_string_equal(fake_seen(fake),
                      "error a.lua: a.lua:2: stopped after 1000000 instructions in one turn; do less at once, or "
                      "sleep() in between\n"
                      "end a.b n killed: a.lua:2: stopped after 1000000 instructions in one turn; do less at once, or "
                      "sleep() in between\n"
                      "policy.killed a.lua {\"why\":\"a.lua:2: stopped after 1000000 instructions in one turn; do less "
                      "at once, or sleep() in between\"}\n"
                      "policy.disabled a.lua {\"why\":\"a.lua:2: stopped after 1000000 instructions in one turn; do "
                      "less at once, or sleep() in between\"}\n");
  assert_true(scripts_info(fake->scripts, 0, &info));
  assert_string_equal(info.state, "disabled");
  assert_false(scripts_handles(fake->scripts, "a.b", ""));
  assert_true(thing_find(fake, "x") != 0);
  // The same text does not bring it back, but a word does.
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  assert_false(scripts_handles(fake->scripts, "a.b", ""));
  assert_int_equal(scripts_enable(fake->scripts, "a.lua", NULL), 0);
  assert_true(scripts_handles(fake->scripts, "a.b", ""));
  // Out of memory: the state is made anew, twice, then disabled; an edit brings it back.
  fake_event(fake, "m.m", "", "{}");
  assert_true(scripts_handles(fake->scripts, "a.b", ""));
  fake_event(fake, "m.m", "", "{}");
  fake_event(fake, "m.m", "", "{}");
  assert_false(scripts_handles(fake->scripts, "a.b", ""));
  const char *seen = fake_seen(fake);
  if (!strstr(seen, "out of memory")) fail_msg("%s", seen);
  assert_string_equal(fake_load(fake, "a.lua", "thing 'x' {} on('a.b', function() end)"), "");
  assert_true(scripts_handles(fake->scripts, "a.b", ""));
  assert_int_equal(scripts_enable(fake->scripts, "zzz.lua", NULL), NINES_ENOTFOUND);
  fake_close(fake);
}

static void replays_a_kill_by_the_wall_clock(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  assert_string_equal(
      fake_load(fake, "a.lua", "on('a.b', function() page('on') for i = 1, 1e5 do local x = i end page('over') end)"),
      "");
  fake_seen(fake);
  struct event event = { 1, fake->now_ns, FAKE_WALL_NS, "a.b", "", "{}" };
  scripts_event(fake->scripts, &event);
  scripts_kill_at(fake->scripts, 1, 5000);
  fake_run(fake);
  const char *seen = fake_seen(fake);
  assert_non_null(strstr(seen, "page \"on\"\n"));
  assert_null(strstr(seen, "over"));
  assert_non_null(strstr(seen, "killed"));
  fake_close(fake);
}

static char *run_policy(uint64_t seed)
{
  struct fake *fake = fake_open();
  fake->config.seed = seed;
  scripts_close(fake->scripts);
  assert_int_equal(scripts_open(&fake->scripts, &fake->config, NULL), 0);
  fake_source(fake, "b.lua", "every('3s', function() page('b', math.random(1000)) end)");
  fake_source(fake, "a.lua",
              "local t = { z = 1, y = 2, x = 3, [2] = 4, [1] = 5, [true] = 6 }\n"
              "every('2s', function() spawn(function() page('spawned') end) all { function() sleep(1) page 'one' end, "
              "function() page 'two' end } page('a', math.random(1000)) end)\n"
              "every('3s', function() for k, v in each(t) do page(k, v) end end)");
  assert_string_equal(fake_load(fake, NULL, NULL), "");
  fake_advance(fake, NS_PER_MIN);
  char *seen = mem_must_copy(fake->log);
  fake_close(fake);
  return seen;
}

static void repeats_exactly(void **state)
{
  (void)state;
  char *first = run_policy(7), *second = run_policy(7), *other = run_policy(8);
  assert_string_equal(first, second);
  assert_string_not_equal(first, other);
  assert_non_null(strstr(first, "page 1 5\npage 2 4\npage \"x\" 3\npage \"y\" 2\npage \"z\" 1\npage true 6\n"));
  mem_free(first);
  mem_free(second);
  mem_free(other);
}

static void holds_many_files(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  fake->quiet = true;
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 200; i++) {
      char file[32], text[256];
      snprintf(file, sizeof file, "f%03d.lua", i);
      snprintf(text, sizeof text,
               "local t = thing 't%d' { limit = %d, friend = thing 't%d' }\nevery('1s', function() t:set(%d) end)", i,
               round, (i + 1) % 200, round);
      fake_source(fake, file, text);
    }
    assert_string_equal(fake_load(fake, NULL, NULL), "");
    fake_advance(fake, NS_PER_S);
  }
  struct script_info info;
  size_t bytes = 0;
  for (uint32_t i = 0; scripts_info(fake->scripts, i, &info); i++) bytes += info.usage.bytes;
  print_message("200 files: %zu bytes a file\n", bytes / 200);
  assert_true(bytes / 200 < 48 * 1024);
  for (int i = 0; i < 200; i++) {
    char file[32];
    snprintf(file, sizeof file, "f%03d.lua", i);
    fake_source(fake, file, NULL);
  }
  assert_string_equal(fake_load(fake, NULL, NULL), "");
  assert_int_equal(scripts_count(fake->scripts), 0);
  for (int i = 0; i < FAKE_THINGS; i++) assert_false(fake->things[i].lives);
  fake_close(fake);
}

static void is_fast(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  fake->quiet = true;
  for (int i = 0; i < 50; i++) {
    char file[32], text[256];
    snprintf(file, sizeof file, "f%03d.lua", i);
    snprintf(text, sizeof text, "local t = thing 't%d' { limit = 1 }\nevery('10s', function() t:set(t.limit) end)", i);
    fake_source(fake, file, text);
  }
  assert_string_equal(fake_load(fake, NULL, NULL), "");
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  const int rounds = 4000;
  for (int i = 0; i < rounds; i++) {
    fake->now_ns += 10 * NS_PER_S;
    fake_run(fake);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
  print_message("every(\"10s\") handler with a property and a method: %.0f ns a run\n", ns / rounds / 50);
  fake_close(fake);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(says_what_is_wrong),
    cmocka_unit_test(settles_names_over_all_files),
    cmocka_unit_test(checks_without_taking_over),
    cmocka_unit_test(reloads_between_turns),
    cmocka_unit_test(uses_libraries),
    cmocka_unit_test(calls_the_application),
    cmocka_unit_test(runs_functions_for_the_application),
    cmocka_unit_test(disables_after_three_kills),
    cmocka_unit_test(replays_a_kill_by_the_wall_clock),
    cmocka_unit_test(repeats_exactly),
    cmocka_unit_test(holds_many_files),
    cmocka_unit_test(is_fast),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
