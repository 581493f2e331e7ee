// An adaptive limit in front of a simulated server: C workers, a queue without end, exponential service times, calls
// that come at random. Virtual time; the server's queue is where too high a limit shows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>

#include "adaptive_limit.h"
#include "core/seed.h"

#define MS       INT64_C(1000000)
#define NS_PER_S (1000 * MS)
#define BEAT_NS  (50 * MS)

enum { WORKERS = 10, FLIGHT_MAX = 1024 };
#define SERVICE_NS (10 * MS) // so the server does 1,000 a second

struct world {
  struct adaptive_limit limit;
  struct meter meter[2];
  _Atomic(struct meter *) stripes[WRITERS_MAX];
  struct adaptive_limit_view view;
  struct rng rng;
  int64_t now_ns, beat_ns, arrival_ns;
  int64_t worker_free_ns[WORKERS];
  uint32_t in_flight;
  struct {
    int64_t end_ns;
    nines_permit permit;
  } flight[FLIGHT_MAX];
  // What may be turned
  double rate; // calls a second
  double slowness, failures;
  // What came of it
  uint64_t asked, served;
  int64_t latency_sum_ns;
};

static void world_init(struct world *world, nines_adaptive_limit_config config, const char *stream)
{
  struct status status;
  memset((void *)world, 0, sizeof *world);
  world->rng = seed_fixed(stream);
  config.size = sizeof config;
  world->now_ns = world->arrival_ns = world->beat_ns = 77 * NS_PER_S;
  if (adaptive_limit_set(&world->limit, &config, true, world->now_ns, &status) != 0) fail_msg("%s", status.text);
  assert_true(adaptive_limit_valid(&world->limit));
  world->stripes[0] = &world->meter[0];
  world->stripes[WRITER_SHARED] = &world->meter[1];
  world->view = (struct adaptive_limit_view){ &world->limit, world->stripes };
  world->slowness = 1;
}

static void arrive(struct world *world)
{
  nines_permit permit =
      adaptive_limit_ask(&world->view, rng_below(&world->rng, 2) ? WRITER_LOOP : WRITER_SHARED, world->now_ns);
  world->asked++;
  world->arrival_ns += 1 + (int64_t)rng_exponential(&world->rng, (double)NS_PER_S / world->rate);
  if (!nines_permitted(permit)) return;
  int64_t *worker_ns = &world->worker_free_ns[0];
  for (int i = 1; i < WORKERS; i++)
    if (world->worker_free_ns[i] < *worker_ns) worker_ns = &world->worker_free_ns[i];
  if (*worker_ns < world->now_ns) *worker_ns = world->now_ns;
  *worker_ns += (int64_t)rng_exponential(&world->rng, (double)SERVICE_NS * world->slowness);
  assert_true(world->in_flight < FLIGHT_MAX);
  world->flight[world->in_flight].end_ns = *worker_ns;
  world->flight[world->in_flight++].permit = permit;
}

static void end(struct world *world, uint32_t i)
{
  nines_permit permit = world->flight[i].permit;
  int outcome = rng_unit(&world->rng) < world->failures ? NINES_FAILURE : NINES_SUCCESS;
  adaptive_limit_done(&world->view, permit.token == 1 ? WRITER_LOOP : WRITER_SHARED, permit, outcome, world->now_ns);
  world->served++;
  world->latency_sum_ns += world->now_ns - permit.at_ns;
  world->flight[i] = world->flight[--world->in_flight];
}

// Lets time pass; counts what came of it anew.
static void run(struct world *world, int64_t span_ns)
{
  int64_t until_ns = world->now_ns + span_ns;
  world->asked = world->served = 0;
  world->latency_sum_ns = 0;
  while (world->now_ns < until_ns) {
    int64_t next_ns = world->beat_ns < world->arrival_ns ? world->beat_ns : world->arrival_ns;
    uint32_t ending = UINT32_MAX;
    for (uint32_t i = 0; i < world->in_flight; i++)
      if (world->flight[i].end_ns < next_ns) {
        next_ns = world->flight[i].end_ns;
        ending = i;
      }
    world->now_ns = next_ns;
    if (ending != UINT32_MAX) {
      end(world, ending);
    } else if (next_ns == world->beat_ns) {
      adaptive_limit_fold(&world->view, next_ns);
      world->beat_ns += BEAT_NS;
      assert_in_range(bulkhead_limit(&world->limit.bulkhead), world->limit.rule.min, world->limit.rule.max);
    } else {
      arrive(world);
    }
  }
}

static uint32_t limit_now(const struct world *world)
{
  return bulkhead_limit(&world->limit.bulkhead);
}

static double latency_ms(const struct world *world)
{
  return (double)world->latency_sum_ns / (double)world->served / (double)MS;
}

static double throughput(const struct world *world, int64_t span_ns)
{
  return (double)world->served * (double)NS_PER_S / (double)span_ns;
}

static void tell(const struct world *world, const char *when, int64_t span_ns)
{
  print_message("%-34s limit %3u  %5.0f/s of %5.0f/s  mean %5.1f ms  baseline %5.1f ms\n", when, limit_now(world),
                throughput(world, span_ns), world->rate, latency_ms(world),
                (double)world->limit.baseline_ns / (double)MS);
}

static struct world world;

static void converges_from_below(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ .initial = 5 }, "adaptive_below");
  world.rate = 2000; // twice what the server can do, from the first call on
  run(&world, 60 * NS_PER_S);
  run(&world, 60 * NS_PER_S);
  tell(&world, "twice the load, from 5:", 60 * NS_PER_S);
  assert_in_range(limit_now(&world), WORKERS - 2, 2 * WORKERS);
  assert_true(throughput(&world, 60 * NS_PER_S) > 850);
  assert_true(latency_ms(&world) < 2.2 * 10);
}

static void converges_from_above(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ .initial = 200 }, "adaptive_above");
  world.rate = 300;
  run(&world, 30 * NS_PER_S);
  tell(&world, "calm, 200:", 30 * NS_PER_S);
  assert_int_equal(limit_now(&world), 200); // not used: does not move
  world.rate = 2000;
  run(&world, 60 * NS_PER_S);
  tell(&world, "twice the load, first minute:", 60 * NS_PER_S);
  run(&world, 60 * NS_PER_S);
  tell(&world, "twice the load, second minute:", 60 * NS_PER_S);
  assert_in_range(limit_now(&world), WORKERS - 2, 2 * WORKERS);
  assert_true(throughput(&world, 60 * NS_PER_S) > 850);
  assert_true(latency_ms(&world) < 2.2 * 10);
}

static void an_incident_leaves_no_trace(void **state)
{
  (void)state;
  for (int32_t rate = 150; rate <= 900; rate += 750) { // one not limited in the incident, and one that is
    world_init(&world, (nines_adaptive_limit_config){ 0 }, "adaptive_incident");
    world.rate = rate;
    run(&world, 300 * NS_PER_S);
    tell(&world, "before:", 300 * NS_PER_S);
    int64_t baseline_ns = world.limit.baseline_ns;
    world.slowness = 5;
    run(&world, 590 * NS_PER_S);
    tell(&world, "five times slower, 10 min:", 590 * NS_PER_S);
    assert_true(world.limit.baseline_ns < 2 * baseline_ns);
    run(&world, 10 * NS_PER_S);
    world.slowness = 1;
    run(&world, 30 * NS_PER_S);
    tell(&world, "after, 30 s:", 30 * NS_PER_S);
    run(&world, 30 * NS_PER_S);
    tell(&world, "after, a minute:", 30 * NS_PER_S);
    assert_true(throughput(&world, 30 * NS_PER_S) > 0.93 * rate);
    assert_true(world.limit.baseline_ns < 2 * baseline_ns);
  }
}

// A baseline found while the limit is used has some of our queue in it: latency is bounded, but only after the next
// calm minute is it what it was.
static void a_service_that_changed_is_followed(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ 0 }, "adaptive_changed");
  world.rate = 300;
  run(&world, 60 * NS_PER_S);
  world.slowness = 5; // for good; the server now does 200 a second
  world.rate = 400;
  run(&world, 1300 * NS_PER_S);
  run(&world, 60 * NS_PER_S);
  tell(&world, "five times slower for good:", 60 * NS_PER_S);
  assert_true(world.limit.baseline_ns > 25 * MS);
  assert_true(throughput(&world, 60 * NS_PER_S) > 170);
  world.slowness = 1; // and back
  world.rate = 2000;
  run(&world, 60 * NS_PER_S);
  run(&world, 60 * NS_PER_S);
  tell(&world, "and back:", 60 * NS_PER_S);
  assert_true(latency_ms(&world) < 4 * 10);
  world.rate = 300;
  run(&world, 60 * NS_PER_S);
  world.rate = 2000;
  run(&world, 60 * NS_PER_S);
  run(&world, 60 * NS_PER_S);
  tell(&world, "and after a calm minute:", 60 * NS_PER_S);
  assert_true(latency_ms(&world) < 2.2 * 10);
}

static void mild_overload_for_an_hour_does_not_drift(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ 0 }, "adaptive_hour");
  world.rate = 300;
  run(&world, 60 * NS_PER_S);
  world.rate = 1100;
  run(&world, 660 * NS_PER_S); // no calm minute is remembered any more
  tell(&world, "a tenth too much, 11 min:", 660 * NS_PER_S);
  int64_t baseline_ns = world.limit.baseline_ns;
  run(&world, 2340 * NS_PER_S);
  run(&world, 600 * NS_PER_S);
  tell(&world, "a tenth too much, an hour:", 600 * NS_PER_S);
  assert_true(world.limit.baseline_ns <= baseline_ns);
  assert_true(latency_ms(&world) < 2.2 * 10);
  assert_in_range(limit_now(&world), WORKERS - 2, 2 * WORKERS + 2);
  assert_true(throughput(&world, 600 * NS_PER_S) > 850);
}

static void failures_and_a_latency_bound_shrink_it(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ .min = 2 }, "adaptive_shrink");
  world.rate = 900;
  run(&world, 30 * NS_PER_S);
  world.failures = 0.2;
  run(&world, 30 * NS_PER_S);
  assert_int_equal(limit_now(&world), 2);
  world_init(&world, (nines_adaptive_limit_config){ .min = 1, .latency_max_ns = 4 * MS }, "adaptive_bound");
  world.rate = 900;
  run(&world, 120 * NS_PER_S);
  assert_int_equal(limit_now(&world), 1); // the median is 7 ms with no queue at all
}

static void few_samples_change_nothing(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ .samples_min = 1000 }, "adaptive_few");
  world.rate = 500;
  world.failures = 1;
  run(&world, 60 * NS_PER_S);
  assert_int_equal(limit_now(&world), 20);
  assert_int_equal(world.limit.baseline_ns, 0);
}

// The oracle of a window: its calls, kept in a list and sorted; the formula, from the header.
static int ascending(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void the_formula_holds(void **state)
{
  (void)state;
  enum { CALLS = 101 };
  world_init(&world, (nines_adaptive_limit_config){ .initial = 50 }, "adaptive_formula");
  double limit = 50;
  int64_t baseline_ns = 0, now_ns = world.now_ns;
  for (int round = 0; round < 10000; round++) {
    int64_t latency_ns[CALLS], typical_ns = (1 + (int64_t)rng_below(&world.rng, 30)) * MS;
    bool used = false;
    nines_permit permit[CALLS];
    uint32_t before = limit_now(&world);
    for (uint32_t i = 0; i < before; i++) permit[i % CALLS] = adaptive_limit_ask(&world.view, 0, now_ns);
    used = before > 0;
    adaptive_limit_fold(&world.view, now_ns); // sees the limit used
    for (uint32_t i = 0; i < before; i++) bulkhead_leave(&world.limit.bulkhead, permit[i % CALLS]);
    for (int i = 0; i < CALLS; i++) {
      latency_ns[i] = 1000 + (int64_t)rng_below(&world.rng, 2 * (uint64_t)typical_ns);
      nines_permit call = adaptive_limit_ask(&world.view, 0, now_ns);
      assert_true(nines_permitted(call));
      adaptive_limit_done(&world.view, 0, call, NINES_SUCCESS, now_ns + latency_ns[i]);
      call = adaptive_limit_ask(&world.view, 0, now_ns);
      adaptive_limit_done(&world.view, 0, call, NINES_IGNORED, now_ns + NS_PER_S);
    }
    qsort(latency_ns, CALLS, sizeof *latency_ns, ascending);
    int64_t short_ns = histogram_middle_ns(histogram_index(latency_ns[CALLS / 2]));
    now_ns += NS_PER_S;
    adaptive_limit_fold(&world.view, now_ns);
    assert_int_equal(world.limit.short_ns, short_ns);
    // Nothing is calm here: the first window sets the baseline, far lower ones do.
    if (baseline_ns == 0 || (double)short_ns * 1.5 < (double)baseline_ns) baseline_ns = short_ns;
    assert_int_equal(world.limit.baseline_ns, baseline_ns);
    double room = 1.5 * (double)baseline_ns / (double)short_ns;
    double next = 0.8 * limit + 0.2 * (fmax(0.5, fmin(1, room)) * limit + 4);
    if (room >= 1 || next < limit) limit = used ? next : limit;
    limit = fmin(200, fmax(5, limit));
    assert_true(fabs(world.limit.limit - limit) < 1e-9);
    assert_int_equal(limit_now(&world), (uint32_t)world.limit.limit);
    if (rng_below(&world.rng, 100) == 0) { // a restart
      int64_t shift_ns = (int64_t)rng_below(&world.rng, 2000 * (uint64_t)NS_PER_S) - 1000 * NS_PER_S;
      adaptive_limit_rebase(&world.limit, now_ns, now_ns + shift_ns);
      now_ns += shift_ns;
      assert_true(adaptive_limit_valid(&world.limit));
    }
  }
}

static void bad_settings_are_refused(void **state)
{
  (void)state;
  const struct {
    nines_adaptive_limit_config config;
    const char *field;
  } bad[] = {
    { { .max = 100001 }, "max" },
    { { .min = 10, .max = 9 }, "min" },
    { { .initial = 10, .max = 9 }, "initial" },
    { { .initial = 10, .min = 11 }, "initial" },
    { { .tolerance = 0.9 }, "tolerance" },
    { { .tolerance = NAN }, "tolerance" },
    { { .smoothing = -1 }, "smoothing" },
    { { .smoothing = 1.1 }, "smoothing" },
    { { .queue = 100001 }, "queue" },
    { { .backoff = 1 }, "backoff" },
    { { .backoff = -0.5 }, "backoff" },
    { { .latency_max_ns = -1 }, "latency_max_ns" },
    { { .latency_max_ns = 61 * NS_PER_S }, "latency_max_ns" },
    { { .window_ns = 1 }, "window_ns" },
    { { .window_ns = -1 }, "window_ns" },
    { { .window_ns = INT64_MAX }, "window_ns" },
    { { .samples_min = 1000001 }, "samples_min" },
  };
  static struct adaptive_limit limit;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct status status = { 0 };
    nines_adaptive_limit_config config = bad[i].config;
    config.size = sizeof config;
    memset((void *)&limit, 0, sizeof limit);
    if (adaptive_limit_set(&limit, &config, true, 0, &status) != NINES_EINVAL) fail_msg("%zu accepted", i);
    assert_true(strncmp(status.text, bad[i].field, strlen(bad[i].field)) == 0);
    assert_non_null(strstr(status.text, "must be"));
    assert_false(adaptive_limit_valid(&limit));
  }
  static const struct {
    uint32_t given[3], taken[3]; // initial, min, max
  } fit[] = {
    { { 0, 0, 0 }, { 20, 5, 200 } },    { { 3, 0, 0 }, { 3, 3, 200 } },     { { 0, 0, 3 }, { 3, 3, 3 } },
    { { 0, 30, 0 }, { 30, 30, 200 } },  { { 300, 0, 0 }, { 300, 5, 300 } }, { { 0, 300, 0 }, { 300, 300, 300 } },
    { { 10, 10, 10 }, { 10, 10, 10 } },
  };
  for (size_t i = 0; i < sizeof fit / sizeof *fit; i++) {
    nines_adaptive_limit_config config = {
      .size = sizeof config, .initial = fit[i].given[0], .min = fit[i].given[1], .max = fit[i].given[2]
    };
    memset((void *)&limit, 0, sizeof limit);
    assert_int_equal(adaptive_limit_set(&limit, &config, true, 0, NULL), 0);
    assert_true(adaptive_limit_valid(&limit));
    assert_int_equal(bulkhead_limit(&limit.bulkhead), fit[i].taken[0]);
    assert_int_equal(limit.rule.min, fit[i].taken[1]);
    assert_int_equal(limit.rule.max, fit[i].taken[2]);
  }
}

static void settings_change_and_the_limit_stays(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ 0 }, "adaptive_settings");
  world.rate = 2000;
  run(&world, 20 * NS_PER_S);
  uint32_t found = limit_now(&world), inside = bulkhead_inside(&world.limit.bulkhead);
  uint64_t refused = bulkhead_refused(&world.limit.bulkhead);
  int64_t baseline_ns = world.limit.baseline_ns;
  assert_true(inside > 0 && refused > 0 && found != 20);
  nines_adaptive_limit_config config = { .size = sizeof config, .tolerance = 2 };
  assert_int_equal(adaptive_limit_set(&world.limit, &config, false, world.now_ns, NULL), 0);
  assert_int_equal(limit_now(&world), found);
  assert_int_equal(bulkhead_inside(&world.limit.bulkhead), inside);
  assert_int_equal(bulkhead_refused(&world.limit.bulkhead), refused);
  assert_int_equal(world.limit.baseline_ns, baseline_ns);
  config.max = 7;
  assert_int_equal(adaptive_limit_set(&world.limit, &config, false, world.now_ns, NULL), 0);
  assert_int_equal(limit_now(&world), 7);
}

static void a_meter_begun_anew_is_no_news(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ 0 }, "adaptive_anew");
  world.rate = 900;
  run(&world, 20 * NS_PER_S);
  double limit = world.limit.limit;
  world.rate = 1e-6;
  memset((void *)world.meter, 0, sizeof world.meter);
  adaptive_limit_fold(&world.view, world.now_ns + NS_PER_S);
  assert_true(world.limit.limit == limit);
}

enum { THREADS = 4, ROUNDS = 20000 };
struct caller {
  uint32_t writer;
  uint64_t done;
};

// A permit's time is the caller's word: one of before the world began ends at once.
static void an_absurd_beginning_does_no_harm(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ .initial = 2, .min = 2 }, "adaptive_absurd");
  nines_permit permit = adaptive_limit_ask(&world.view, WRITER_LOOP, world.now_ns);
  permit.at_ns = INT64_MIN;
  adaptive_limit_done(&world.view, WRITER_LOOP, permit, NINES_SUCCESS, NS_PER_S);
  assert_int_equal(bulkhead_inside(&world.limit.bulkhead), 0);
  assert_int_equal(meter_tally(&world.meter[0]).total, 1);
}

static void *call(void *userdata)
{
  struct caller *caller = userdata;
  for (int64_t i = 0; i < ROUNDS; i++) {
    nines_permit permit = adaptive_limit_ask(&world.view, caller->writer, i * MS);
    if (!nines_permitted(permit)) continue;
    caller->done++;
    adaptive_limit_done(&world.view, caller->writer, permit, i % 7 ? NINES_SUCCESS : NINES_FAILURE, i * MS + 5 * MS);
  }
  return NULL;
}

static void threads_call_while_one_folds(void **state)
{
  (void)state;
  world_init(&world, (nines_adaptive_limit_config){ .initial = 2, .min = 2 }, "adaptive_threads");
  static struct meter meter;
  world.stripes[WRITER_FIRST] = &meter;
  pthread_t thread[THREADS];
  struct caller caller[THREADS] = {
    { .writer = WRITER_LOOP }, { .writer = WRITER_SHARED }, { .writer = WRITER_SHARED }, { .writer = WRITER_FIRST }
  };
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, call, &caller[i]), 0);
  for (int i = 0; i < 500; i++) {
    world.now_ns += NS_PER_S;
    adaptive_limit_fold(&world.view, world.now_ns);
  }
  uint64_t done = 0;
  for (int i = 0; i < THREADS; i++) {
    pthread_join(thread[i], NULL);
    done += caller[i].done;
  }
  assert_int_equal(meter_tally(&world.meter[0]).total + meter_tally(&world.meter[1]).total + meter_tally(&meter).total,
                   done);
  assert_int_equal(bulkhead_inside(&world.limit.bulkhead), 0);
  assert_int_equal(done + bulkhead_refused(&world.limit.bulkhead), (uint64_t)THREADS * ROUNDS);
  assert_true(adaptive_limit_valid(&world.limit));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(converges_from_below),
    cmocka_unit_test(converges_from_above),
    cmocka_unit_test(an_incident_leaves_no_trace),
    cmocka_unit_test(a_service_that_changed_is_followed),
    cmocka_unit_test(mild_overload_for_an_hour_does_not_drift),
    cmocka_unit_test(failures_and_a_latency_bound_shrink_it),
    cmocka_unit_test(few_samples_change_nothing),
    cmocka_unit_test(the_formula_holds),
    cmocka_unit_test(bad_settings_are_refused),
    cmocka_unit_test(settings_change_and_the_limit_stays),
    cmocka_unit_test(a_meter_begun_anew_is_no_news),
    cmocka_unit_test(an_absurd_beginning_does_no_harm),
    cmocka_unit_test(threads_call_while_one_folds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
