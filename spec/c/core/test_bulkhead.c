// A bulkhead against a list of who is inside, and threads that count for themselves how many are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "bulkhead.h"
#include "core/seed.h"

static void make(struct bulkhead *bulkhead, nines_bulkhead_config config)
{
  struct status status;
  memset((void *)bulkhead, 0, sizeof *bulkhead);
  config.size = sizeof config;
  if (bulkhead_set(bulkhead, &config, true, 0, &status) != 0) fail_msg("%s", status.text);
  assert_true(bulkhead_valid(bulkhead));
}

enum { INSIDE_MAX = 64 };
struct oracle {
  uint32_t inside, limit;
  uint64_t refused;
  nines_permit permit[INSIDE_MAX];
  uint32_t writer[INSIDE_MAX];
};

static void oracle_forget(struct oracle *oracle, uint32_t writer)
{
  uint32_t kept = 0;
  for (uint32_t i = 0; i < oracle->inside; i++) {
    if (oracle->writer[i] == writer) continue;
    oracle->permit[kept] = oracle->permit[i];
    oracle->writer[kept++] = oracle->writer[i];
  }
  oracle->inside = kept;
}

static void step(struct rng *rng, struct bulkhead *bulkhead, struct oracle *oracle, bool owner, int64_t now_ns)
{
  uint64_t kind = rng_below(rng, 1000);
  uint32_t writer = owner ? WRITER_LOOP : (uint32_t)rng_below(rng, WRITERS_MAX);
  if (kind == 0) {
    nines_bulkhead_config config = { .size = sizeof config, .owner = owner };
    config.concurrent_max = oracle->limit = 1 + (uint32_t)rng_below(rng, INSIDE_MAX);
    assert_int_equal(bulkhead_set(bulkhead, &config, false, now_ns, NULL), 0);
  } else if (kind == 1) {
    bulkhead_forget(bulkhead, 1u << writer);
    oracle_forget(oracle, writer);
  } else if (kind == 2) { // of nobody
    uint32_t mine = 0;
    for (uint32_t i = 0; i < oracle->inside; i++) mine += oracle->writer[i] == writer;
    if (mine == 0) bulkhead_leave(bulkhead, (nines_permit){ now_ns, writer + 1 });
    bulkhead_leave(bulkhead, (nines_permit){ now_ns, 0 });
    bulkhead_leave(bulkhead, (nines_permit){ now_ns, WRITERS_MAX + 1 + rng_below(rng, UINT32_MAX) });
  } else if (kind < 500 && oracle->inside > 0) {
    uint32_t i = (uint32_t)rng_below(rng, oracle->inside);
    bulkhead_leave(bulkhead, oracle->permit[i]);
    oracle->permit[i] = oracle->permit[--oracle->inside];
    oracle->writer[i] = oracle->writer[oracle->inside];
  } else {
    bool counted = rng_below(rng, 2) == 0;
    nines_permit permit = (counted ? bulkhead_enter : bulkhead_try)(bulkhead, writer, now_ns);
    assert_int_equal(permit.at_ns, now_ns);
    assert_int_equal(nines_permitted(permit), oracle->inside < oracle->limit);
    if (nines_permitted(permit)) {
      oracle->writer[oracle->inside] = writer;
      oracle->permit[oracle->inside++] = permit;
    } else {
      oracle->refused += counted;
    }
  }
  assert_int_equal(bulkhead_inside(bulkhead), oracle->inside);
  assert_int_equal(bulkhead_refused(bulkhead), oracle->refused);
}

// A thread's number may change while it is inside (another engine took its place among those it knows).
static void an_owner_is_one_whatever_its_number(void **state)
{
  (void)state;
  struct bulkhead bulkhead;
  make(&bulkhead, (nines_bulkhead_config){ .concurrent_max = 2, .owner = 1 });
  nines_permit first = bulkhead_enter(&bulkhead, 3, 0);
  assert_true(nines_permitted(bulkhead_enter(&bulkhead, WRITER_SHARED, 0)));
  assert_false(nines_permitted(bulkhead_enter(&bulkhead, 4, 0)));
  bulkhead_leave(&bulkhead, first);
  assert_int_equal(bulkhead_inside(&bulkhead), 1);
  assert_true(nines_permitted(bulkhead_enter(&bulkhead, 5, 0)));
}

static void a_million_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("bulkhead_walk");
  for (int owner = 0; owner < 2; owner++) {
    struct bulkhead bulkhead;
    make(&bulkhead, (nines_bulkhead_config){ .owner = owner });
    struct oracle oracle = { .limit = 25 };
    for (int64_t i = 0; i < 500000; i++) step(&rng, &bulkhead, &oracle, owner, i);
    assert_true(bulkhead_valid(&bulkhead));
  }
}

static void bad_settings_are_refused(void **state)
{
  (void)state;
  const struct {
    nines_bulkhead_config config;
    const char *field;
  } bad[] = {
    { { .concurrent_max = 1000001 }, "concurrent_max" },
    { { .queue_max = 1000001 }, "queue_max" },
    { { .wait_max_ns = -1 }, "wait_max_ns" },
    { { .wait_max_ns = INT64_MAX }, "wait_max_ns" },
    { { .codel_target_ns = -1 }, "codel_target_ns" },
    { { .codel_interval_ns = -1 }, "codel_interval_ns" },
    { { .owner = -1 }, "owner" },
  };
  struct bulkhead bulkhead;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct status status = { 0 };
    nines_bulkhead_config config = bad[i].config;
    config.size = sizeof config;
    memset((void *)&bulkhead, 0, sizeof bulkhead);
    assert_int_equal(bulkhead_set(&bulkhead, &config, true, 0, &status), NINES_EINVAL);
    assert_true(strncmp(status.text, bad[i].field, strlen(bad[i].field)) == 0);
    assert_non_null(strstr(status.text, "must be"));
    assert_false(bulkhead_valid(&bulkhead));
  }
  nines_bulkhead_config config = { .size = sizeof config.size, .concurrent_max = 3 };
  assert_int_equal(bulkhead_set(&bulkhead, &config, true, 0, NULL), 0);
  assert_int_equal(bulkhead_limit(&bulkhead), 25);
  memset((void *)&bulkhead, 0xff, sizeof bulkhead);
  bulkhead.apart.distance = 0; // which the engine sets at each start
  apart_default(&bulkhead.apart, &bulkhead.own);
  assert_false(bulkhead_valid(&bulkhead));
  assert_false(nines_permitted(bulkhead_enter(&bulkhead, 0, 0)));
}

enum { THREADS = 4, LIMIT = 3, ROUNDS = 20000, HANDS = 16 };
struct crowd {
  struct bulkhead bulkhead;
  _Atomic uint32_t inside;
  _Atomic uint64_t hand[HANDS]; // tokens left for another thread to leave with
};
struct member {
  struct crowd *crowd;
  uint32_t number;
  uint64_t entered, refused;
};

// Enters, checks, and leaves with its own permit or with one that another thread got.
static void *come_and_go(void *userdata)
{
  struct member *member = userdata;
  struct crowd *crowd = member->crowd;
  uint32_t writer = member->number < 2 ? WRITER_SHARED : WRITER_FIRST + member->number;
  for (uint64_t i = 0; i < ROUNDS; i++) {
    nines_permit permit = bulkhead_enter(&crowd->bulkhead, writer, 0);
    if (!nines_permitted(permit)) {
      member->refused++;
      permit.token = atomic_exchange(&crowd->hand[i % HANDS], 0);
    } else {
      member->entered++;
      if (atomic_fetch_add(&crowd->inside, 1) >= LIMIT) return member;
      permit.token = atomic_exchange(&crowd->hand[i % HANDS], permit.token);
    }
    if (permit.token == 0) continue;
    atomic_fetch_sub(&crowd->inside, 1);
    bulkhead_leave(&crowd->bulkhead, permit);
  }
  return NULL;
}

static void never_one_too_many(void **state)
{
  (void)state;
  static struct crowd crowd;
  make(&crowd.bulkhead, (nines_bulkhead_config){ .concurrent_max = LIMIT });
  pthread_t thread[THREADS];
  struct member member[THREADS];
  for (uint32_t i = 0; i < THREADS; i++) {
    member[i] = (struct member){ .crowd = &crowd, .number = i };
    assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, &member[i]), 0);
  }
  uint64_t entered = 0, refused = 0;
  for (int i = 0; i < THREADS; i++) {
    void *failed;
    pthread_join(thread[i], &failed);
    assert_null(failed);
    entered += member[i].entered;
    refused += member[i].refused;
  }
  for (int i = 0; i < HANDS; i++) bulkhead_leave(&crowd.bulkhead, (nines_permit){ 0, crowd.hand[i] });
  assert_int_equal(bulkhead_inside(&crowd.bulkhead), 0);
  assert_int_equal(bulkhead_refused(&crowd.bulkhead), refused);
  assert_int_equal(entered + refused, (uint64_t)THREADS * ROUNDS);
  assert_true(entered > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_owner_is_one_whatever_its_number),
    cmocka_unit_test(a_million_steps),
    cmocka_unit_test(bad_settings_are_refused),
    cmocka_unit_test(never_one_too_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
