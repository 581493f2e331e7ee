// keep: what is stored when, and what comes back.
#include "script/fake.h"

static void stores_changes_only(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  const char *text = "local k = keep { count = 0, names = {}, last = { at = 1.5 } }\n"
                     "on('a.b', function(e) if e.n then k.count = k.count + e.n k.names[#k.names + 1] = 'n' .. e.n end "
                     "sleep(1) if e.n then k.last.at = 'x' end end)\n"
                     "on('a.c', function() page(k.count, k.names, k.last, k.new) end)\n"
                     "on('a.d', function() k.bad = k.count == 0 and 1 or function() end end)";
  assert_string_equal(fake_load(fake, "a.lua", text), "");
  fake_seen(fake);
  fake_event(fake, "a.b", "", "{}");
  fake_advance(fake, NS_PER_S);
  assert_string_equal(fake_seen(fake), "end a.b  done: \n");
  fake_event(fake, "a.b", "", "{\"n\":3}");
  assert_string_equal(fake_seen(fake), "keep a.lua {\"count\":3,\"last\":{\"at\":1.5},\"names\":[\"n3\"]}\n");
  fake_advance(fake, NS_PER_S);
  assert_string_equal(fake_seen(fake),
                      "keep a.lua {\"count\":3,\"last\":{\"at\":\"x\"},\"names\":[\"n3\"]}\nend a.b  done: \n");
  // A reload: a new key takes its default, a changed type too and says so, the rest stays.
  assert_string_equal(
      fake_load(fake, "a.lua",
                "local k = keep { count = 10, names = {}, last = { at = 1.5, more = true }, new = 'd' }\n"
                "on('a.c', function() page(k.count, k.names, k.last, k.new) end)\n"
                "on('a.d', function() k.bad = function() end end)"),
      "");
  assert_string_equal(
      fake_seen(fake),
      "warn a.lua: keep.last.at was a text and is a number now: it takes its default\npolicy.loaded a.lua \n");
  fake_event(fake, "a.c", "", "{}");
  assert_string_equal(fake_seen(fake), "page 3 [\"n3\"] {\"at\":1.5,\"more\":true} \"d\"\nend a.c  done: \n");
  // What cannot be kept is said once.
  fake_event(fake, "a.d", "", "{}");
  fake_event(fake, "a.c", "", "{}");
  const char *seen = fake_seen(fake);
  assert_non_null(strstr(seen, "error a.lua: keep.bad: a function cannot be stored here\n"));
  assert_null(strstr(strstr(seen, "error") + 1, "error"));
  fake_close(fake);
}

static void restores_what_was_stored(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  fake->kept = "{\"count\":4,\"ratio\":2,\"flag\":\"yes\",\"list\":[],\"map\":{\"a\":1},\"extra\":[1,[2]]}";
  assert_string_equal(
      fake_load(fake, "a.lua",
                "local k = keep { count = 0, ratio = 0.5, flag = true, list = { 1 }, map = { b = 2 }, new = 1 }\n"
                "on('a.b', function() page(k, math.type(k.count), math.type(k.ratio)) end)"),
      "");
  fake_event(fake, "a.b", "", "{}");
  assert_string_equal(fake_seen(fake), "warn a.lua: keep.flag was a text and is a boolean now: it takes its default\n"
                                       "policy.loaded a.lua \n"
                                       "page {\"count\":4,\"extra\":[1,[2]],\"flag\":true,\"list\":{},\"map\":{\"a\":1,"
                                       "\"b\":2},\"new\":1,\"ratio\":2} \"integer\" \"float\"\n"
                                       "end a.b  done: \n");
  fake_close(fake);
}

static void has_limits(void **state)
{
  (void)state;
  struct fake *fake = fake_open();
  assert_string_equal(fake_load(fake, "a.lua", "keep { a = { b = { 1, page } } }"),
                      "a.lua:1: keep.a.b[2]: a function cannot be stored here");
  assert_non_null(
      strstr(fake_load(fake, "a.lua", "local t = {} t.t = t keep(t)"),
             "a.lua:1: keep.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t: nested deeper than 16 tables (or within itself)"));
  assert_string_equal(fake_load(fake, "a.lua", "keep { a = ('x'):rep(70000) }"),
                      "a.lua:1: keep: 70008 bytes of JSON, at most 65536 can be kept");
  assert_string_equal(fake_load(fake, "a.lua", "keep {} keep {}"), "a.lua:1: keep: one table a file");
  assert_non_null(strstr(fake_load(fake, "a.lua", "keep(1)"), "a.lua:1: bad argument #1 to 'keep'"));
  fake_close(fake);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(stores_changes_only),
    cmocka_unit_test(restores_what_was_stored),
    cmocka_unit_test(has_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
