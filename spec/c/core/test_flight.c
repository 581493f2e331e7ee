// Calls in flight against a plain list of them, over several writers, with settings that change.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "flight.h"

enum { WRITERS = 3, CALLS_MAX = 300 };
struct call {
  int64_t at_ns;
  uint32_t generation;
};

static struct flight_scale scale_for(int64_t slow_ns)
{
  return (struct flight_scale){ slow_ns, flight_shift(slow_ns) };
}

static int64_t count_of(const struct flight *flight)
{
  int64_t sum = 0;
  for (int i = 0; i < WRITERS; i++) sum += flight_count(&flight[i]);
  return sum;
}

static int64_t overdue_of(const struct flight *flight, struct flight_scale scale, uint32_t generation, int64_t now_ns)
{
  int64_t sum = 0;
  for (int i = 0; i < WRITERS; i++) sum += flight_overdue(&flight[i], scale, generation, now_ns);
  return sum;
}

static void begin(struct flight *flight, struct flight_scale scale, struct call call)
{
  if (flight_ready(flight, scale, call.generation, call.at_ns))
    flight_count_one(flight, flight_slot(scale, call.at_ns), 1);
  else
    flight_begin(flight, scale, call.generation, call.at_ns);
}

static void end(struct flight *flight, struct flight_scale scale, struct call call, int64_t now_ns)
{
  if (flight_ready(flight, scale, call.generation, call.at_ns))
    flight_count_one(flight, flight_slot(scale, call.at_ns), -1);
  else
    flight_end(flight, scale, call.generation, call.at_ns, now_ns);
}

static void random_walk(struct rng *rng, int64_t slow_ns, int steps)
{
  static struct flight flight[WRITERS];
  static struct call call[CALLS_MAX];
  memset((void *)flight, 0, sizeof flight);
  struct flight_scale scale = scale_for(slow_ns);
  uint32_t generation = (1 << FLIGHT_GENERATION_BITS) - 3; // wraps soon
  int64_t now_ns = (int64_t)rng_below(rng, UINT64_C(1) << 50);
  int calls = 0, calls_max = 1;
  for (int i = 0; i < steps; i++) {
    now_ns += (int64_t)rng_below(rng, (uint64_t)slow_ns / 20 + 2);
    if (rng_below(rng, 500) == 0) now_ns += (int64_t)rng_below(rng, (uint64_t)slow_ns * 30);
    if (rng_below(rng, 1000) == 0) calls_max = 1 + (int)rng_below(rng, CALLS_MAX);
    if (rng_below(rng, 2000) == 0) generation = (generation + 1) & ((1 << FLIGHT_GENERATION_BITS) - 1);
    struct flight *mine = &flight[rng_below(rng, WRITERS)];
    if (calls < calls_max && rng_below(rng, 2)) {
      call[calls] = (struct call){ now_ns, generation };
      begin(mine, scale, call[calls++]);
    } else if (calls > 0) {
      uint64_t which = rng_below(rng, (uint64_t)calls);
      end(mine, scale, call[which], now_ns);
      call[which] = call[--calls];
    }
    if (rng_below(rng, 8)) continue;
    int64_t overdue = 0, oldest = (now_ns - slow_ns) >> scale.shift;
    for (int k = 0; k < calls; k++)
      overdue += call[k].generation == generation && call[k].at_ns >> scale.shift < oldest;
    assert_int_equal(count_of(flight), calls);
    assert_int_equal(overdue_of(flight, scale, generation, now_ns), overdue);
  }
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("flight_walk");
  random_walk(&rng, INT64_C(60000000000), 400000);
  random_walk(&rng, 1000000, 300000);
  random_walk(&rng, 1, 100000);
  random_walk(&rng, INT64_C(86400000000000), 200000);
}

static void overdue_is_late_by_a_slice_at_most(void **state)
{
  (void)state;
  static struct flight flight[WRITERS];
  for (int64_t slow_ns = 1; slow_ns < INT64_C(1) << 46; slow_ns = slow_ns * 5 / 3 + 1) {
    struct flight_scale scale = scale_for(slow_ns);
    int64_t width_ns = INT64_C(1) << scale.shift;
    assert_true(width_ns == 1 || (slow_ns <= 15 * width_ns && 2 * slow_ns > 15 * width_ns));
    struct call call = { INT64_C(123456789123456), 5 };
    memset((void *)flight, 0, sizeof flight);
    begin(flight, scale, call);
    assert_int_equal(overdue_of(flight, scale, 5, call.at_ns), 0);
    assert_int_equal(overdue_of(flight, scale, 5, call.at_ns + slow_ns), 0);
    assert_int_equal(overdue_of(flight, scale, 5, call.at_ns + slow_ns + width_ns), 1);
    assert_int_equal(overdue_of(flight, scale, 6, call.at_ns + slow_ns + width_ns), 0);
    end(&flight[1], scale, call, call.at_ns + slow_ns + width_ns);
    assert_int_equal(overdue_of(flight, scale, 5, call.at_ns + slow_ns + width_ns), 0);
    assert_int_equal(count_of(flight), 0);
  }
}

// Another slow_ns: nothing becomes overdue by it that is not, and what is, soon is again.
static void a_changed_scale_makes_no_call_overdue(void **state)
{
  (void)state;
  static struct flight flight[WRITERS];
  const int64_t from_ns[] = { 1000000, 50000000 }, to_ns[] = { 50000000, 1000000 };
  for (int turn = 0; turn < 2; turn++) {
    memset((void *)flight, 0, sizeof flight);
    struct flight_scale scale = scale_for(from_ns[turn]);
    int64_t now_ns = 1 << 30, most = from_ns[turn] > to_ns[turn] ? from_ns[turn] : to_ns[turn];
    struct call call[100], more;
    for (int i = 0; i < 100; i++) {
      call[i] = (struct call){ now_ns += from_ns[turn] / 200, 1 };
      begin(&flight[i % WRITERS], scale, call[i]);
    }
    scale = scale_for(to_ns[turn]);
    for (int i = 0; i < 20; i++) {
      more = (struct call){ now_ns += to_ns[turn] / 1000, 1 };
      begin(&flight[i % WRITERS], scale, more);
      end(&flight[(i + 1) % WRITERS], scale, more, now_ns);
      int64_t really = 0;
      for (int k = 0; k < 100; k++) really += now_ns - call[k].at_ns > to_ns[turn];
      assert_true(overdue_of(flight, scale, 1, now_ns) <= really);
    }
    now_ns += 2 * most;
    assert_int_equal(overdue_of(flight, scale, 1, now_ns), 100);
    for (int i = 0; i < 100; i++) end(&flight[i % WRITERS], scale, call[i], now_ns);
    assert_int_equal(count_of(flight), 0);
    assert_int_equal(overdue_of(flight, scale, 1, now_ns), 0);
  }
}

struct crowd {
  struct flight flight[WRITERS]; // the first is shared
  _Atomic int64_t now_ns;
};

static void *fly(void *userdata)
{
  struct crowd *crowd = userdata;
  struct flight_scale scale = scale_for(100000);
  for (int i = 0; i < 30000; i++) {
    struct call call = { atomic_fetch_add(&crowd->now_ns, 7), (uint32_t)i / 10000 };
    flight_begin(crowd->flight, scale, call.generation, call.at_ns);
    flight_end(crowd->flight, scale, call.generation, call.at_ns, call.at_ns + 5);
  }
  return NULL;
}

static void threads_share_one(void **state)
{
  (void)state;
  static struct crowd crowd;
  atomic_store(&crowd.now_ns, 1);
  pthread_t thread[3];
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&thread[i], NULL, fly, &crowd), 0);
  for (int i = 0; i < 2000; i++)
    assert_true(overdue_of(crowd.flight, scale_for(100000), 2, atomic_load(&crowd.now_ns)) <= 3);
  for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
  assert_int_equal(count_of(crowd.flight), 0);
  assert_int_equal(overdue_of(crowd.flight, scale_for(100000), 2, atomic_load(&crowd.now_ns) + 1000000), 0);
  begin(&crowd.flight[1], scale_for(100000), (struct call){ 5, 2 });
  assert_int_equal(count_of(crowd.flight), 1);
  flight_clear(&crowd.flight[1]);
  assert_int_equal(count_of(crowd.flight), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(overdue_is_late_by_a_slice_at_most),
    cmocka_unit_test(a_changed_scale_makes_no_call_overdue),
    cmocka_unit_test(threads_share_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
