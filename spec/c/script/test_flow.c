// Flow words: intervals, times of day, waits, all and spawn, skipped and joined runs, what cannot wait.
#include "calendar.h"
#include "script/fake.h"

static struct fake *with(const char *text)
{
  struct fake *fake = fake_open();
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  fake_seen(fake);
  return fake;
}

static void keeps_the_phase_of_intervals(void **state)
{
  (void)state;
  struct fake *fake =
      with("every('10s', function() page(now() - 1767571200) end) every(4, function() page 'four' end)");
  fake_advance(fake, 9 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "page \"four\"\npage \"four\"\n");
  fake_advance(fake, 3 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "page 10\npage \"four\"\n");
  // A clock that jumped: one run, and the phase stays.
  fake->now_ns += 25 * NS_PER_S;
  fake_run(fake);
  assert_string_equal(fake_seen(fake), "page \"four\"\npage 37\n");
  fake_advance(fake, 3 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "page \"four\"\npage 40\n");
  fake_close(fake);
}

static void skips_and_joins(void **state)
{
  (void)state;
  struct fake *fake = with("every('1s', function() http.get() end) on('thing.*', function(e) http.get(e.name) end)");
  fake_advance(fake, 3 * NS_PER_S + 1);
  assert_string_equal(fake_seen(fake), "wait\n");
  fake_event(fake, "thing.breached", "a", "{}");
  fake_event(fake, "thing.breached", "a", "{}");
  fake_event(fake, "thing.breached", "b", "{}");
  fake_event(fake, "thing.recovered", "a", "{}");
  assert_string_equal(fake_seen(fake), "wait \"a\"\nwait \"b\"\nwait \"a\"\n");
  struct script_info info;
  assert_true(scripts_info(fake->scripts, 0, &info));
  assert_int_equal(info.skipped, 2);
  assert_int_equal(info.joined, 1);
  assert_int_equal(info.tasks, 4);
  assert_true(scripts_handling(fake->scripts, "thing.breached", "b"));
  assert_false(scripts_handling(fake->scripts, "thing.recovered", "b"));
  fake_close(fake);
}

static void waits_and_wakes(void **state)
{
  (void)state;
  struct fake *fake =
      with("local x = thing 'x' {}\n"
           "on('a.b', function() local ok, n, t = pcall(http.get, 'u') page(ok, n, t.list[1]) sleep '2s' "
           "page(x:mend(5)) end)");
  struct pool pool = { 0 };
  struct value results[2] = { value_integer(7), value_nil() };
  assert_int_equal(json_parse(&pool, view_of("{\"list\":[\"one\"]}"), &results[1], NULL), 0);
  fake_event(fake, "a.b", "", "{}");
  fake_wake(fake, results, 2);
  pool_fini(&pool);
  assert_string_equal(fake_seen(fake), "wait \"u\"\npage true 7 \"one\"\n");
  assert_false(scripts_wake(fake->scripts, fake->waits[0], NULL, 0));
  fake_advance(fake, 2 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "wait 5\n");
  struct value failure[3] = { value_nil(), value_text("timeout after 2s"), value_text("timeout") };
  fake_wake(fake, failure, 3);
  assert_string_equal(fake_seen(fake), "page null \"timeout after 2s\" \"timeout\"\nend a.b  done: \n");
  fake_close(fake);
}

static void says_where_it_cannot_wait(void **state)
{
  (void)state;
  struct fake *fake =
      with("on('a.b', function()\n"
           "  page(select(2, pcall(table.sort, { 2, 1 }, function() http.get() end)))\n"
           "  page(select(2, pcall(function() return ('x'):gsub('x', function() pcall(sleep, 1) sleep(1) end) end)))\n"
           "end)");
  fake_event(fake, "a.b", "", "{}");
  const char *seen = fake_seen(fake);
  assert_non_null(strstr(seen, "wait\ncancel\npage \"a.lua:2: http.get cannot wait inside table.sort\"\n"));
  assert_non_null(strstr(seen, "page \"a.lua:3: sleep cannot wait inside string.gsub\"\n"));
  assert_non_null(strstr(seen, "done"));
  fake_close(fake);
}

static void waits_for_conditions(void **state)
{
  (void)state;
  struct fake *fake =
      with("local n = 0\n"
           "on('a.b', function() page(wait_for(function() n = n + 1 return n == 4 end, '1m'), n, now()) end)\n"
           "on('a.c', function() page(wait_for(function() end, 2, '1.5s'), now()) end)\n"
           "on('a.d', function() page(wait_for(function() sleep(1) return 1 end, '5s'), now()) end)\n"
           "on('a.e', function() page(pcall(wait_for, function() error 'mine' end, 1)) end)");
  fake_event(fake, "a.b", "", "{}");
  fake_event(fake, "a.c", "", "{}");
  fake_event(fake, "a.d", "", "{}");
  fake_event(fake, "a.e", "", "{}");
  fake_advance(fake, 10 * NS_PER_S);
  assert_string_equal(fake_seen(fake), "page false \"a.lua:5: mine\"\nend a.e  done: \n"
                                       "page true 4 1767571200.3\nend a.b  done: \n"
                                       "page true 1767571201\nend a.d  done: \n"
                                       "page false 1767571202\nend a.c  done: \n");
  fake_close(fake);
}

static void runs_together(void **state)
{
  (void)state;
  struct fake *fake = with("on('a.b', function(e)\n"
                           "  page(all { function() sleep(2) page 'two' end, function() sleep(1) page 'one' end })\n"
                           "  page(all {})\n"
                           "  page(all { function() error 'no luck' end, function() thing.caller() end })\n"
                           "  spawn(function() sleep(1) page 'spawned' end)\n"
                           "  after('3s', function() page 'after' end)\n"
                           "  page(pcall(all, { 1 }))\n"
                           "  page(pcall(function() for i = 1, 100 do spawn(function() sleep(1) end) end end))\n"
                           "end)");
  fake_event(fake, "a.b", "n", "{}");
  fake_advance(fake, NS_PER_MIN);
  assert_string_equal(fake_seen(fake), "page \"one\"\npage \"two\"\npage true\npage true\n"
                                       "error a.lua: a.lua:4: no luck\n"
                                       "caller a.lua:4 a.b n 1\n"
                                       "page null \"a.lua:4: no luck\" \"failed\"\n"
                                       "page false \"all: item 1 is not a function but number\"\n"
                                       "page false \"a.lua:8: spawn: 64 tasks of a.lua are under way already, the most "
                                       "there may be\"\n"
                                       "end a.b n done: \n"
                                       "page \"spawned\"\npage \"after\"\n");
  fake_close(fake);
}

static void bounds_a_busy_script(void **state)
{
  (void)state;
  // It may keep itself busy for ever, but not the engine.
  struct fake *fake = with("local function again() spawn(again) end\nspawn(again)\n"
                           "on('a.b', function() while true do sleep(0) page 'x' end end)");
  fake_run(fake);
  assert_true(scripts_due_ns(fake->scripts) <= fake->now_ns);
  fake->now_ns++;
  fake_event(fake, "a.b", "", "{}");
  for (int i = 0; i < 3; i++) {
    fake->now_ns++;
    fake_run(fake);
  }
  assert_string_equal(fake_seen(fake), "page \"x\"\npage \"x\"\npage \"x\"\n");
  fake_close(fake);
}

static void closes_on_cancel(void **state)
{
  (void)state;
  struct fake *fake =
      with("on('a.b', function() local c <close> = setmetatable({}, { __close = function() page 'closed' "
           "end }) all { function() sleep '1h' end } end)");
  fake_event(fake, "a.b", "", "{}");
  assert_string_equal(fake_load(fake, "a.lua", ""), "");
  assert_string_equal(fake_seen(fake),
                      "page \"closed\"\nend a.b  cancelled: cancelled by a reload of its file\npolicy.loaded a.lua \n");
  fake_close(fake);
}

static void logs_and_units(void **state)
{
  (void)state;
  struct fake *fake = with("on('a.b', function() log.warn('x', 1, nil, true) page(seconds(2), minutes(2), hours(1.5), "
                           "days(1)) log.info(('y'):rep(5000)) end)");
  fake_event(fake, "a.b", "", "{}");
  const char *seen = fake_seen(fake);
  assert_memory_equal(seen, "warn a.lua: x 1 nil true\npage 2 120 5400 86400\ninfo a.lua: yyy", 60);
  assert_true(strlen(seen) < 4096 + 200);
  fake_close(fake);
}

static void runs_at_times_of_the_week(void **state)
{
  (void)state;
  // The engine starts on a Monday at midnight.
  struct fake *fake = with("at('mon-fri 09:00', function() page('week', now()) end)\n"
                           "at('sat,sun 10:30', function() page('end', now()) end)");
  fake_advance(fake, 7 * NS_PER_DAY);
  const char *seen = fake_seen(fake);
  for (int day = 0; day < 7; day++) {
    char wanted[64];
    long long at = 1767571200LL + day * 86400LL + (day < 5 ? 9 * 3600 : 10 * 3600 + 1800);
    snprintf(wanted, sizeof wanted, "page \"%s\" %lld\n", day < 5 ? "week" : "end", at);
    assert_memory_equal(seen, wanted, strlen(wanted));
    seen += strlen(wanted);
  }
  assert_string_equal(seen, "");
  // The wall clock is set forward over nine: it is due now.
  fake->wall_shift_ns = 10 * NS_PER_H;
  fake_run(fake);
  fake_advance(fake, NS_PER_H);
  assert_string_equal(fake_seen(fake), "page \"week\" 1768212000\n");
  fake_close(fake);
}

static void finds_the_next_time(void **state)
{
  (void)state;
  static const char *const bad[] = { "",          "9:00",          "09:60",
                                     "24:00",     "mon",           "mon09:00",
                                     "mo 09:00",  "mon- 09:00",    "mon,,tue 09:00",
                                     "09:00 mon", "mon-fri 09:00x" };
  struct calendar calendar;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(calendar_parse(view_of(bad[i]), &calendar, NULL), NINES_EINVAL);
  assert_int_equal(calendar_parse(view_of("fri-mon  23:59"), &calendar, NULL), 0);
  assert_int_equal(calendar.days, 0x71);
  assert_int_equal(calendar_parse(view_of("Wednesday 00:00"), &calendar, NULL), 0);
  assert_int_equal(calendar.days, 4);
  for (int hour = 0; hour < 24 * 30; hour++) { // against a search minute by minute
    int64_t from = FAKE_WALL_NS + hour * NS_PER_H, next = calendar_next(&calendar, from), slow = from;
    do slow += NS_PER_MIN;
    while (slow % NS_PER_DAY != 0 || (slow / NS_PER_DAY + 3) % 7 != 2);
    assert_true(next == slow);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(keeps_the_phase_of_intervals),
    cmocka_unit_test(skips_and_joins),
    cmocka_unit_test(waits_and_wakes),
    cmocka_unit_test(says_where_it_cannot_wait),
    cmocka_unit_test(waits_for_conditions),
    cmocka_unit_test(runs_together),
    cmocka_unit_test(bounds_a_busy_script),
    cmocka_unit_test(closes_on_cancel),
    cmocka_unit_test(logs_and_units),
    cmocka_unit_test(runs_at_times_of_the_week),
    cmocka_unit_test(finds_the_next_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
