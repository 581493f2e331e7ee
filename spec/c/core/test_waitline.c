// A line of waiters against an array that is searched from scratch, against scenes of a standing queue, and against
// waiters that add, cancel, leave and serve from within `ready`.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "waitline.h"

#define MS       INT64_C(1000000)
#define NS_PER_S (1000 * MS)

enum { PEOPLE = 64, INSIDE_MAX = 64 };
struct person {
  nines_waiter waiter;
  bool waits;
};

// One line with what was heard from it.
static struct scene {
  struct bulkhead bulkhead;
  struct waitline line;
  struct person person[PEOPLE];
  struct heard {
    int who;
    bool permitted;
    int64_t at_ns;
  } heard[4 * PEOPLE];
  int heard_count;
  nines_permit inside[INSIDE_MAX];
  int inside_count;
} scene;

static void hear(nines_waiter *waiter, nines_permit permit)
{
  struct person *person = waiter->userdata;
  assert_true(person->waits);
  person->waits = false;
  assert_true(scene.heard_count < 4 * PEOPLE);
  scene.heard[scene.heard_count++] =
      (struct heard){ (int)(person - scene.person), nines_permitted(permit), permit.at_ns };
  if (nines_permitted(permit)) scene.inside[scene.inside_count++] = permit;
}

static void scene_init(nines_bulkhead_config config)
{
  memset((void *)&scene, 0, sizeof scene);
  config.size = sizeof config;
  assert_int_equal(bulkhead_set(&scene.bulkhead, &config, true, 0, NULL), 0);
  waitline_init(&scene.line);
  for (int i = 0; i < PEOPLE; i++) {
    scene.person[i].waiter.ready = hear;
    scene.person[i].waiter.userdata = &scene.person[i];
  }
}

static int join(int who, int64_t now_ns)
{
  int code = waitline_add(&scene.line, &scene.bulkhead, &scene.person[who].waiter, now_ns);
  scene.person[who].waits = scene.person[who].waits || code == 0;
  return code;
}

static void fill(int64_t now_ns)
{
  nines_permit permit;
  while (nines_permitted(permit = bulkhead_try(&scene.bulkhead, 0, now_ns)))
    scene.inside[scene.inside_count++] = permit;
}

static void leave(int count)
{
  while (count-- > 0) bulkhead_leave(&scene.bulkhead, scene.inside[--scene.inside_count]);
}

static void serve(int64_t now_ns)
{
  scene.heard_count = 0;
  waitline_serve(&scene.line, &scene.bulkhead, 0, now_ns);
}

static void expect(int count, const struct heard *heard)
{
  assert_int_equal(scene.heard_count, count);
  for (int i = 0; i < count; i++) {
    assert_int_equal(scene.heard[i].who, heard[i].who);
    assert_int_equal(scene.heard[i].permitted, heard[i].permitted);
    assert_int_equal(scene.heard[i].at_ns, heard[i].at_ns);
  }
}

// The oracle: who joined when, in the order of joining; and the history of waits from which a standing queue is read.
struct oracle {
  struct {
    int who;
    int64_t since_ns;
  } waiting[PEOPLE];
  int count, queue_max;
  int64_t wait_max_ns, target_ns, interval_ns;
  int64_t above_ns; // begin of the run of long waits; -1: none
  bool standing;
};

static void oracle_remove(struct oracle *oracle, int i)
{
  oracle->count--;
  memmove(&oracle->waiting[i], &oracle->waiting[i + 1], sizeof *oracle->waiting * (size_t)(oracle->count - i));
}

static void oracle_wait(struct oracle *oracle, int64_t wait_ns, int64_t now_ns)
{
  if (oracle->standing) return;
  if (wait_ns < oracle->target_ns)
    oracle->above_ns = -1;
  else if (oracle->above_ns < 0)
    oracle->above_ns = now_ns;
}

static void oracle_judge(struct oracle *oracle, int places, int64_t now_ns)
{
  int64_t oldest_ns = oracle->count > 0 ? now_ns - oracle->waiting[0].since_ns : -1;
  if (!oracle->standing && oracle->above_ns < 0 && oldest_ns >= oracle->target_ns)
    oracle->above_ns = oracle->waiting[0].since_ns + oracle->target_ns;
  if (oracle->above_ns >= 0 && now_ns - oracle->above_ns >= oracle->interval_ns) oracle->standing = true;
  if (oracle->count == 0 && places > 0) {
    oracle->standing = false;
    oracle->above_ns = -1;
  }
}

static int oracle_serve(struct oracle *oracle, int places, int64_t now_ns, struct heard *heard)
{
  int count = 0;
  oracle_judge(oracle, places, now_ns);
  for (int i = 0; i < oracle->count;) {
    if (now_ns - oracle->waiting[i].since_ns < oracle->wait_max_ns) {
      i++;
      continue;
    }
    oracle_wait(oracle, now_ns - oracle->waiting[i].since_ns, now_ns);
    heard[count++] = (struct heard){ oracle->waiting[i].who, false, now_ns };
    oracle_remove(oracle, i);
  }
  for (; places > 0 && oracle->count > 0; places--) {
    int i = oracle->standing ? oracle->count - 1 : 0;
    oracle_wait(oracle, now_ns - oracle->waiting[i].since_ns, now_ns);
    heard[count++] = (struct heard){ oracle->waiting[i].who, true, now_ns };
    oracle_remove(oracle, i);
    if (oracle->count == 0 && !oracle->standing) oracle->above_ns = -1;
  }
  for (int i = 0; oracle->standing && i < oracle->count;) {
    if (now_ns - oracle->waiting[i].since_ns < oracle->target_ns) {
      i++;
      continue;
    }
    heard[count++] = (struct heard){ oracle->waiting[i].who, false, now_ns };
    oracle_remove(oracle, i);
  }
  oracle_judge(oracle, places, now_ns);
  return count;
}

static void join_both(struct oracle *oracle, int who, int64_t now_ns)
{
  if (scene.person[who].waits) return;
  int code = join(who, now_ns);
  assert_int_equal(code, oracle->count < oracle->queue_max ? 0 : NINES_ELIMIT);
  if (code != 0) return;
  oracle->waiting[oracle->count].who = who;
  oracle->waiting[oracle->count++].since_ns = now_ns;
}

static void cancel_both(struct oracle *oracle, int who)
{
  waitline_cancel(&scene.line, &scene.person[who].waiter); // many do not wait: nothing happens
  scene.person[who].waits = false;
  for (int i = 0; i < oracle->count; i++)
    if (oracle->waiting[i].who == who) {
      oracle_remove(oracle, i);
      return;
    }
}

static void random_walk(struct rng *rng, nines_bulkhead_config config, int steps)
{
  scene_init(config);
  struct oracle oracle = { .queue_max = (int)config.queue_max,
                           .wait_max_ns = config.wait_max_ns,
                           .target_ns = config.codel_target_ns,
                           .interval_ns = config.codel_interval_ns,
                           .above_ns = -1 };
  int64_t now_ns = 0;
  int limit = (int)config.concurrent_max, stood = 0, ended = 0;
  uint64_t busy = 3; // phases of much and of little leaving
  for (int i = 0; i < steps; i++) {
    if (i % 256 == 0) busy = rng_below(rng, 12);
    uint64_t kind = rng_below(rng, 20);
    now_ns += (int64_t)rng_below(rng, 2 * MS);
    if (kind < 8) {
      join_both(&oracle, (int)rng_below(rng, PEOPLE), now_ns);
    } else if (kind == 8) {
      cancel_both(&oracle, (int)rng_below(rng, PEOPLE));
    } else {
      if (kind < 9 + busy && scene.inside_count > 0) leave(1 + (int)rng_below(rng, (uint64_t)scene.inside_count));
      if (oracle.count == 0) fill(now_ns);
      struct heard heard[PEOPLE];
      bool standing = oracle.standing;
      int count = oracle_serve(&oracle, limit - scene.inside_count, now_ns, heard);
      stood += !standing && oracle.standing;
      ended += standing && !oracle.standing;
      serve(now_ns);
      expect(count, heard);
    }
    assert_int_equal(scene.line.waiting, oracle.count);
    assert_int_equal(scene.line.standing, oracle.standing);
    // Never due in the past of the last serve, and at due somebody's time is over, not before.
    int64_t due_ns = waitline_due_ns(&scene.line, &scene.bulkhead);
    assert_int_equal(due_ns == INT64_MAX, oracle.count == 0);
    if (oracle.count > 0) assert_true(due_ns <= oracle.waiting[0].since_ns + oracle.wait_max_ns);
  }
  print_message("the queue stood %d times, and ended %d times\n", stood, ended);
  bool may_stand = config.codel_target_ns < config.wait_max_ns && config.codel_interval_ns < NS_PER_S;
  assert_true(may_stand ? stood > 10 && ended > 10 : stood == 0);
  waitline_fini(&scene.line);
  assert_int_equal(scene.line.waiting, 0);
}

static void a_million_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("waitline_walk");
  random_walk(&rng,
              (nines_bulkhead_config){ .concurrent_max = 5,
                                       .queue_max = 20,
                                       .wait_max_ns = 100 * MS,
                                       .codel_target_ns = 5 * MS,
                                       .codel_interval_ns = 20 * MS },
              500000);
  random_walk(&rng,
              (nines_bulkhead_config){ .concurrent_max = 20,
                                       .queue_max = 60,
                                       .wait_max_ns = 10 * MS,
                                       .codel_target_ns = 20 * MS,
                                       .codel_interval_ns = 40 * MS },
              200000);
  random_walk(&rng,
              (nines_bulkhead_config){ .concurrent_max = 1,
                                       .queue_max = 3,
                                       .wait_max_ns = 30 * MS,
                                       .codel_target_ns = 1 * MS,
                                       .codel_interval_ns = 3600 * NS_PER_S },
              300000);
}

// Serving just before the time due changes nothing; serving then refuses somebody.
static void due_is_exact(void **state)
{
  (void)state;
  struct rng rng = seed_stream("waitline_due");
  for (int round = 0; round < 2000; round++) {
    scene_init((nines_bulkhead_config){ .concurrent_max = 1,
                                        .queue_max = 60,
                                        .wait_max_ns = 1 + (int64_t)rng_below(&rng, 200 * MS),
                                        .codel_target_ns = 1 + (int64_t)rng_below(&rng, 20 * MS),
                                        .codel_interval_ns = 1 + (int64_t)rng_below(&rng, 100 * MS) });
    fill(0);
    int64_t now_ns = 0;
    for (int i = 0; i < 20; i++) join(i, now_ns += (int64_t)rng_below(&rng, 10 * MS));
    serve(now_ns);
    while (scene.line.first) {
      int64_t due_ns = waitline_due_ns(&scene.line, &scene.bulkhead);
      assert_true(due_ns > now_ns);
      if (due_ns - 1 > now_ns) {
        serve(due_ns - 1);
        assert_int_equal(scene.heard_count, 0);
        assert_int_equal(waitline_due_ns(&scene.line, &scene.bulkhead), due_ns);
      }
      serve(now_ns = due_ns);
      assert_true(scene.heard_count > 0);
    }
  }
}

static void first_come_first_served(void **state)
{
  (void)state;
  scene_init((nines_bulkhead_config){ .concurrent_max = 2, .queue_max = 3 });
  assert_int_equal(waitline_due_ns(&scene.line, &scene.bulkhead), INT64_MAX);
  fill(0);
  for (int i = 0; i < 3; i++) assert_int_equal(join(i, i * MS), 0);
  assert_int_equal(join(3, 3 * MS), NINES_ELIMIT);
  leave(1);
  serve(4 * MS);
  expect(1, (struct heard[]){ { 0, true, 4 * MS } });
  waitline_cancel(&scene.line, &scene.person[1].waiter);
  waitline_cancel(&scene.line, &scene.person[1].waiter);
  waitline_cancel(&scene.line, &scene.person[0].waiter);
  scene.person[1].waits = false;
  leave(2);
  serve(5 * MS);
  expect(1, (struct heard[]){ { 2, true, 5 * MS } });
  assert_int_equal(bulkhead_inside(&scene.bulkhead), 1);
  assert_int_equal(bulkhead_refused(&scene.bulkhead), 0);
  assert_int_equal(scene.line.served, 2);
}

// Nobody is served for a while: a short queue then means a short wait, and the newest have the better chance.
static void a_standing_queue_serves_the_newest(void **state)
{
  (void)state;
  scene_init((nines_bulkhead_config){ .concurrent_max = 1, .queue_max = 60 });
  fill(0);
  join(0, 0);
  assert_int_equal(waitline_due_ns(&scene.line, &scene.bulkhead), 100 * MS);
  join(1, 60 * MS);
  serve(100 * MS); // the first has waited 100 ms
  expect(1, (struct heard[]){ { 0, false, 100 * MS } });
  assert_false(scene.line.standing);
  join(2, 102 * MS);
  join(3, 104 * MS);
  assert_int_equal(waitline_due_ns(&scene.line, &scene.bulkhead), 105 * MS); // it stands then
  leave(1);
  serve(105 * MS);
  assert_true(scene.line.standing);
  expect(2, (struct heard[]){ { 3, true, 105 * MS }, { 1, false, 105 * MS } });
  assert_int_equal(waitline_due_ns(&scene.line, &scene.bulkhead), 107 * MS);
  serve(107 * MS);
  expect(1, (struct heard[]){ { 2, false, 107 * MS } });
  serve(108 * MS);
  assert_true(scene.line.standing); // nobody waits, but there is no place either
  leave(1);
  serve(109 * MS);
  assert_false(scene.line.standing);
  assert_int_equal(scene.line.served, 1);
  assert_int_equal(scene.line.timed_out, 3);
}

static void a_burst_is_no_standing_queue(void **state)
{
  (void)state;
  scene_init((nines_bulkhead_config){ .concurrent_max = 1, .queue_max = 60, .wait_max_ns = NS_PER_S });
  int64_t now_ns = 0;
  for (int burst = 0; burst < 20; burst++) {
    fill(now_ns);
    for (int i = 0; i < 8; i++) join(i, now_ns);
    for (int i = 0; i < 8; i++) { // all are served within 80 ms, most after the target
      now_ns += 10 * MS;
      leave(1);
      serve(now_ns);
      expect(1, (struct heard[]){ { i, true, now_ns } });
      assert_false(scene.line.standing);
    }
  }
}

// A beat is longer than the target: places still go to those who are there.
static void a_rare_serve_hands_out_all_places(void **state)
{
  (void)state;
  scene_init((nines_bulkhead_config){ .concurrent_max = 4, .queue_max = 60 });
  fill(0);
  int64_t now_ns = 0;
  for (int beat = 0; beat < 20; beat++) {
    for (int i = 0; i < 8; i++) join(i, now_ns + 10 * MS);
    now_ns += 50 * MS;
    leave(4);
    serve(now_ns);
    assert_int_equal(scene.inside_count, 4);
    if (scene.line.standing) assert_int_equal(scene.line.waiting, 0);
    for (int i = 0; i < 8; i++) {
      waitline_cancel(&scene.line, &scene.person[i].waiter);
      scene.person[i].waits = false;
    }
  }
}

// Waiters that do at once whatever they like.
static struct rng wild_rng;
static int depth, depth_max;
static int64_t wild_ns;

static void be_wild(nines_waiter *waiter, nines_permit permit)
{
  hear(waiter, permit);
  if (++depth > depth_max) depth_max = depth;
  for (int i = 0; i < 3; i++) {
    int who = (int)rng_below(&wild_rng, PEOPLE);
    switch (rng_below(&wild_rng, 5)) {
    case 0:
      if (!scene.person[who].waits) join(who, wild_ns);
      break;
    case 1:
      waitline_cancel(&scene.line, &scene.person[who].waiter);
      scene.person[who].waits = false;
      break;
    case 2:
      if (scene.inside_count > 0) leave(1);
      break;
    case 3:
      waitline_serve(&scene.line, &scene.bulkhead, 0, wild_ns);
      break;
    default:
      break;
    }
  }
  depth--;
}

static void ready_may_do_anything(void **state)
{
  (void)state;
  wild_rng = seed_stream("waitline_wild");
  scene_init((nines_bulkhead_config){ .concurrent_max = 5, .queue_max = 40, .codel_interval_ns = 10 * MS });
  for (int i = 0; i < PEOPLE; i++) scene.person[i].waiter.ready = be_wild;
  for (int step = 0; step < 200000; step++) {
    wild_ns += (int64_t)rng_below(&wild_rng, 3 * MS);
    int who = (int)rng_below(&wild_rng, PEOPLE);
    if (!scene.person[who].waits) join(who, wild_ns);
    if (rng_below(&wild_rng, 3) == 0 && scene.inside_count > 0) leave(1);
    if (rng_below(&wild_rng, 4) == 0) {
      uint32_t waiting = scene.line.waiting;
      serve(wild_ns);
      assert_true(scene.heard_count <= (int)waiting);
    }
    uint32_t waits = 0;
    for (int i = 0; i < PEOPLE; i++) waits += scene.person[i].waits;
    assert_int_equal(scene.line.waiting, waits);
    assert_int_equal(bulkhead_inside(&scene.bulkhead), scene.inside_count);
    assert_true(scene.inside_count <= 5);
  }
  assert_int_equal(depth_max, 1); // a serve within a serve does not nest
  scene.heard_count = 0;
  waitline_fini(&scene.line);
  assert_null(scene.line.first);
  assert_null(scene.line.last);
}

static void after_the_end_nobody_waits(void **state)
{
  (void)state;
  scene_init((nines_bulkhead_config){ .concurrent_max = 1, .queue_max = 9 });
  fill(0);
  for (int i = 0; i < 3; i++) join(i, 7);
  scene.heard_count = 0;
  waitline_fini(&scene.line);
  expect(3, (struct heard[]){ { 0, false, 7 }, { 1, false, 7 }, { 2, false, 7 } });
  assert_int_equal(join(4, 8), NINES_ESTATE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_steps),
    cmocka_unit_test(due_is_exact),
    cmocka_unit_test(first_come_first_served),
    cmocka_unit_test(a_standing_queue_serves_the_newest),
    cmocka_unit_test(a_burst_is_no_standing_queue),
    cmocka_unit_test(a_rare_serve_hands_out_all_places),
    cmocka_unit_test(ready_may_do_anything),
    cmocka_unit_test(after_the_end_nobody_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
