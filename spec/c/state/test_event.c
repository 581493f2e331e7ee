// Events: order of delivery, patterns, the ring's edge, the trace hash.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "event.h"

struct log {
  char text[4096];
  struct events *events;
  int echo; // publish this many follow-ups from inside the delivery
};

static void note(void *userdata, const struct event *event)
{
  struct log *log = userdata;
  size_t used = strlen(log->text);
  snprintf(log->text + used, sizeof log->text - used, "%s:%s ", event->topic, event->name);
  if (log->echo > 0) {
    log->echo--;
    events_publish(log->events, event->now_ns, event->wall_ns, "echo.made", event->name, "{}");
  }
}

static void matches_patterns(void **state)
{
  (void)state;
  assert_true(event_matches("*", "breaker.opened"));
  assert_true(event_matches("breaker.*", "breaker.opened"));
  assert_true(event_matches("breaker.opened", "breaker.opened"));
  assert_false(event_matches("breaker.opened", "breaker.open"));
  assert_false(event_matches("breaker.*", "breakers.opened"));
  assert_false(event_matches("", "breaker.opened"));
}

static void delivers_in_order(void **state)
{
  (void)state;
  struct events *events = events_open();
  struct log all = { .events = events, .echo = 2 }, some = { .events = events };
  events_subscribe(events, "*", note, &all);
  events_subscribe(events, "echo.*", note, &some);
  events_publish(events, 1, 1, "a.one", "x", "{}");
  // Follow-ups come after the current event has reached everybody.
  assert_string_equal(all.text, "a.one:x echo.made:x echo.made:x ");
  assert_string_equal(some.text, "echo.made:x echo.made:x ");
  assert_int_equal(events_last(events), 3);
  events_close(events);
}

static void keeps_a_ring(void **state)
{
  (void)state;
  struct events *events = events_open();
  assert_null(events_after(events, 0));
  for (int i = 1; i <= 3 * EVENT_RING_MAX; i++) {
    char name[16];
    snprintf(name, sizeof name, "n%d", i);
    events_publish(events, i, i, "t.t", name, NULL);
    assert_int_equal(events_after(events, (uint64_t)i - 1)->sequence, i);
    assert_string_equal(events_after(events, (uint64_t)i - 1)->name, name);
    assert_string_equal(events_after(events, (uint64_t)i - 1)->json, "{}");
  }
  assert_int_equal(events_after(events, 0)->sequence, 2 * EVENT_RING_MAX + 1);
  assert_null(events_after(events, 3 * EVENT_RING_MAX));
  uint64_t at = 0, seen = 0;
  for (const struct event *event; (event = events_after(events, at)); at = event->sequence) seen++;
  assert_int_equal(seen, EVENT_RING_MAX);
  events_close(events);
}

static uint64_t hash_of(const char *topic, const char *name, int64_t now_ns, const char *json)
{
  struct events *events = events_open();
  events_publish(events, now_ns, 0, topic, name, json);
  uint64_t hash = events_hash(events);
  events_close(events);
  return hash;
}

static void hashes_everything(void **state)
{
  (void)state;
  uint64_t hash = hash_of("a.b", "c", 1, "{}");
  assert_true(hash == hash_of("a.b", "c", 1, "{}"));
  assert_true(hash != hash_of("a.b", "c", 2, "{}"));
  assert_true(hash != hash_of("a.bc", "", 1, "{}"));
  assert_true(hash != hash_of("a.b", "c", 1, "{ }"));
  struct events *events = events_open();
  uint64_t empty = events_hash(events);
  events_mix(events, "page", 4);
  assert_true(events_hash(events) != empty);
  events_close(events);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(matches_patterns),
    cmocka_unit_test(delivers_in_order),
    cmocka_unit_test(keeps_a_ring),
    cmocka_unit_test(hashes_everything),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
