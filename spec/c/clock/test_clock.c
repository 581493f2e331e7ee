// clock: the system's clocks agree with each other, the virtual one moves only by hand, texts are RFC 3339.
#include "clock.h"

#include <time.h>

#include "duration.h"
#include "spec.h"

static void test_system(void **state)
{
  (void)state;
  struct nines_clock *clock = clock_system_open();
  int64_t first = clock->now_ns(clock), cpu = clock_thread_cpu_ns();
  assert_true(first > 0);
  for (int i = 0; i < 1000; i++) {
    int64_t next = clock->now_ns(clock);
    assert_true(next >= first);
    first = next;
  }
  assert_true(clock_thread_cpu_ns() >= cpu);
  int64_t coarse = clock_coarse_ns(), now = clock_now_ns();
  assert_true(coarse <= now && now - coarse < NS_PER_S);
  assert_true(llabs(clock->wall_ns(clock) / NS_PER_S - (int64_t)time(NULL)) <= 1);
  assert_true(llabs(clock_step_ns(clock)) < 500 * NS_PER_MS);
  clock_reanchor(clock);
  assert_true(llabs(clock_step_ns(clock)) < 500 * NS_PER_MS);
  clock_system_close(clock);
}

static void test_virtual(void **state)
{
  (void)state;
  struct clock_virtual virtual;
  clock_virtual_init(&virtual);
  struct nines_clock *clock = &virtual.clock;
  char text[CLOCK_TEXT_MAX];
  assert_int_equal(clock->now_ns(clock), 0);
  assert_string_equal(clock_format(clock->wall_ns(clock), text), "2026-01-05T00:00:00.000Z");
  virtual.now_ns += 36 * NS_PER_H + 1500 * NS_PER_MS;
  assert_int_equal(clock->now_ns(clock), 36 * NS_PER_H + 1500 * NS_PER_MS);
  assert_string_equal(clock_format(clock->wall_ns(clock), text), "2026-01-06T12:00:01.500Z");
  assert_int_equal(clock_step_ns(clock), 0);
  clock_reanchor(clock);
  assert_int_equal(virtual.wall_offset_ns, CLOCK_VIRTUAL_WALL_NS);
}

static void format_is(int64_t wall_ns, const char *expected)
{
  char text[CLOCK_TEXT_MAX];
  assert_string_equal(clock_format(wall_ns, text), expected);
}

static void test_format(void **state)
{
  (void)state;
  format_is(0, "1970-01-01T00:00:00.000Z");
  format_is(-1, "1969-12-31T23:59:59.999Z");
  format_is(-NS_PER_S, "1969-12-31T23:59:59.000Z");
  format_is(951782400LL * NS_PER_S + 999999999, "2000-02-29T00:00:00.999Z");
  format_is(INT64_MAX, "2262-04-11T23:47:16.854Z");
  format_is(INT64_MIN, "1677-09-21T00:12:43.145Z");
}

static void parse_is(const char *text, int64_t expected_ns)
{
  int64_t wall_ns;
  assert_true(clock_parse(view_of(text), &wall_ns));
  assert_true(wall_ns == expected_ns);
}

static void test_parse(void **state)
{
  (void)state;
  parse_is("1970-01-01T00:00:00Z", 0);
  parse_is("2000-02-29T00:00:00.999999999Z", 951782400LL * NS_PER_S + 999999999);
  parse_is("2000-03-01T01:30:00.5+01:30", 951868800LL * NS_PER_S + NS_PER_S / 2);
  parse_is("2026-01-04T19:00:00-05:00", CLOCK_VIRTUAL_WALL_NS);
  static const char *const wrong[] = { "",
                                       "2026-01-05",
                                       "2026-01-05T00:00:00",
                                       "2026-13-05T00:00:00Z",
                                       "2026-00-05T00:00:00Z",
                                       "2026-01-05T24:00:00Z",
                                       "2026-01-05T00:00:00.Z",
                                       "2026-01-05T00:00:00+1:00",
                                       "2026-01-05T00:00:00Zx",
                                       "1969-12-31T23:59:59Z",
                                       "2301-01-01T00:00:00Z",
                                       "1970-01-01T00:00:00+01:00" };
  int64_t wall_ns;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(clock_parse(view_of(wrong[i]), &wall_ns));
  // Each day of two centuries, there and back.
  for (int64_t day = 0; day < 80000; day++) {
    char text[CLOCK_TEXT_MAX];
    parse_is(clock_format(day * NS_PER_DAY + 1000000, text), day * NS_PER_DAY + 1000000);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_system),
    cmocka_unit_test(test_virtual),
    cmocka_unit_test(test_format),
    cmocka_unit_test(test_parse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
