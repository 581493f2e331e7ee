// A fallback: never more at once than set, and its share against a list of calls.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "fallback.h"

#define NS_PER_S INT64_C(1000000000)

struct fixture {
  struct fallback fallback;
  struct stripe stripe[WRITERS_MAX];
  _Atomic(struct stripe *) stripes[WRITERS_MAX];
  struct fallback_view view;
};

static void setup(struct fixture *fixture, const nines_fallback_config *config)
{
  memset((void *)fixture, 0, sizeof *fixture);
  fixture->view = (struct fallback_view){ &fixture->fallback, fixture->stripes };
  assert_false(fallback_valid(&fixture->fallback));
  assert_int_equal(fallback_set(&fixture->fallback, config, true, 0, NULL), 0);
  assert_true(fallback_valid(&fixture->fallback));
}

static void add_writer(struct fixture *fixture, uint32_t writer)
{
  atomic_store(&fixture->stripes[writer], &fixture->stripe[writer]);
}

// ---- Against a list ----

enum { EVENTS_MAX = 8192, INSIDE_MAX = 7 };
struct oracle {
  int64_t begin_ns[WRITERS_MAX];
  bool begun[WRITERS_MAX];
  size_t first, end;
  struct {
    int64_t at_ns;
    uint32_t writer;
    int calls, served;
  } event[EVENTS_MAX];
};

static void oracle_count(struct oracle *oracle, uint32_t writer, int calls, int served, int64_t now_ns)
{
  if (!oracle->begun[writer]) oracle->begin_ns[writer] = now_ns;
  oracle->begun[writer] = true;
  while (oracle->first < oracle->end && oracle->event[oracle->first % EVENTS_MAX].at_ns < now_ns - 11 * NS_PER_S)
    oracle->first++;
  assert_true(oracle->end - oracle->first < EVENTS_MAX);
  size_t at = oracle->end++ % EVENTS_MAX;
  oracle->event[at].at_ns = now_ns;
  oracle->event[at].writer = writer;
  oracle->event[at].calls = calls;
  oracle->event[at].served = served;
}

static double oracle_share(const struct oracle *oracle, int64_t now_ns)
{
  int calls = 0, served = 0;
  for (size_t i = oracle->first; i < oracle->end; i++) {
    size_t at = i % EVENTS_MAX;
    int64_t begin_ns = oracle->begin_ns[oracle->event[at].writer];
    if ((oracle->event[at].at_ns - begin_ns) / NS_PER_S <= (now_ns - begin_ns) / NS_PER_S - 10) continue;
    calls += oracle->event[at].calls;
    served += oracle->event[at].served;
  }
  return calls + served == 0 ? -1 : served >= calls ? 100 : 100.0 * served / calls;
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("fallback_steps");
  static struct fixture fixture;
  static struct oracle oracle;
  static const uint32_t writers[] = { WRITER_LOOP, WRITER_SHARED, WRITER_FIRST, WRITERS_MAX - 1 };
  const nines_fallback_config config = { .size = sizeof config, .concurrent_max = INSIDE_MAX };
  nines_permit inside[INSIDE_MAX];
  uint32_t n = 0;
  int64_t now_ns = 1000;
  setup(&fixture, &config);
  for (int i = 0; i < 4; i++) add_writer(&fixture, writers[i]);
  oracle.begin_ns[WRITER_SHARED] = now_ns; // at the first fold
  oracle.begun[WRITER_SHARED] = true;
  for (int i = 0; i < 1000000; i++) {
    uint32_t writer = writers[rng_below(&rng, 4)];
    fallback_fold(&fixture.view, now_ns); // the shared stripe turns here only
    uint64_t what = rng_below(&rng, 4);
    if (what < 2) {
      fallback_call(&fixture.view, writer, now_ns);
      oracle_count(&oracle, writer, 1, 0, now_ns);
    } else if (what == 2) {
      nines_permit permit = fallback_enter(&fixture.view, writer, writer, now_ns);
      assert_int_equal(nines_permitted(permit), n < INSIDE_MAX);
      if (n < INSIDE_MAX) inside[n++] = permit;
      oracle_count(&oracle, writer, 0, nines_permitted(permit), now_ns);
    } else if (n > 0) {
      uint32_t which = (uint32_t)rng_below(&rng, n);
      fallback_leave(&fixture.view, inside[which]);
      inside[which] = inside[--n];
    }
    now_ns += (int64_t)rng_below(&rng, rng_below(&rng, 1000) ? 200000000 : 15 * (uint64_t)NS_PER_S);
    if (rng_below(&rng, 1000) == 0) { // a restart
      int64_t shift_ns = (int64_t)rng_below(&rng, 1000 * (uint64_t)NS_PER_S) - 500 * NS_PER_S;
      fallback_rebase(&fixture.view, now_ns, now_ns + shift_ns);
      for (int w = 0; w < WRITERS_MAX; w++) oracle.begin_ns[w] += shift_ns;
      for (size_t e = oracle.first; e < oracle.end; e++) oracle.event[e % EVENTS_MAX].at_ns += shift_ns;
      now_ns += shift_ns;
    }
    assert_true(fabs(fallback_share(&fixture.view, now_ns) - oracle_share(&oracle, now_ns)) < 1e-9);
  }
}

// ---- Settings ----

static void settings(void **state)
{
  (void)state;
  static struct fixture fixture;
  struct status status;
  setup(&fixture, NULL);
  add_writer(&fixture, WRITER_LOOP);
  assert_true(fallback_share(&fixture.view, 5) == -1);
  nines_permit permit[10];
  for (int i = 0; i < 20; i++) fallback_call(&fixture.view, WRITER_LOOP, 5);
  for (int i = 0; i < 10; i++) {
    permit[i] = fallback_enter(&fixture.view, WRITER_LOOP, WRITER_LOOP, 5);
    assert_true(nines_permitted(permit[i]));
  }
  assert_false(nines_permitted(fallback_enter(&fixture.view, WRITER_LOOP, WRITER_LOOP, 5))); // the default: 10
  assert_true(fallback_share(&fixture.view, 5) == 50);
  nines_fallback_config config = { .size = sizeof config, .concurrent_max = 11 };
  assert_int_equal(fallback_set(&fixture.fallback, &config, false, 5, &status), 0);
  assert_true(nines_permitted(fallback_enter(&fixture.view, WRITER_LOOP, WRITER_LOOP, 5))); // those inside still are
  assert_false(nines_permitted(fallback_enter(&fixture.view, WRITER_LOOP, WRITER_LOOP, 5)));
  assert_int_equal(fallback_set(&fixture.fallback, NULL, false, 5, &status), 0);
  assert_false(nines_permitted(fallback_enter(&fixture.view, WRITER_LOOP, WRITER_LOOP, 5)));
  config.size = 0;
  assert_int_equal(fallback_set(&fixture.fallback, &config, false, 5, &status), NINES_EINVAL);
  assert_string_equal(status.text, "size is 0, must be sizeof(nines_fallback_config)");
  config = (nines_fallback_config){ .size = sizeof config, .concurrent_max = UINT32_MAX };
  assert_int_equal(fallback_set(&fixture.fallback, &config, false, 5, &status), NINES_EINVAL);
  assert_non_null(strstr(status.text, "concurrent_max"));
  fallback_leave(&fixture.view, permit[0]);
  assert_true(nines_permitted(fallback_enter(&fixture.view, WRITER_LOOP, WRITER_LOOP, 5)));
  struct tally total = fallback_total(&fixture.view);
  assert_int_equal(total.total, 20);
  assert_int_equal(total.bad, 12);
  assert_int_equal(total.slow, 3);
}

// ---- Threads ----

struct worker {
  struct fixture *fixture;
  _Atomic int *inside;
  uint32_t writer;
  uint64_t served, refused;
};

static void *work(void *argument)
{
  struct worker *worker = argument;
  const struct fallback_view *view = &worker->fixture->view;
  for (int i = 0; i < 100000; i++) {
    fallback_call(view, worker->writer, i * 1000);
    nines_permit permit = fallback_enter(view, worker->writer, worker->writer, i * 1000);
    if (!nines_permitted(permit)) {
      worker->refused++;
      continue;
    }
    worker->served++;
    if (atomic_fetch_add(worker->inside, 1) >= 2) abort(); // more at once than set
    atomic_fetch_sub(worker->inside, 1);
    fallback_leave(view, permit);
  }
  return NULL;
}

static void threads_never_exceed_it(void **state)
{
  (void)state;
  static struct fixture fixture;
  static const uint32_t writers[] = { WRITER_SHARED, WRITER_SHARED, WRITER_FIRST, WRITER_FIRST + 1 };
  const nines_fallback_config config = { .size = sizeof config, .concurrent_max = 2 };
  struct worker worker[4];
  pthread_t thread[4];
  _Atomic int inside = 0;
  setup(&fixture, &config);
  for (int i = 0; i < 4; i++) add_writer(&fixture, writers[i]);
  for (int i = 0; i < 4; i++) {
    worker[i] = (struct worker){ &fixture, &inside, writers[i], 0, 0 };
    assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
  }
  for (int i = 0; i < 500; i++) {
    fallback_fold(&fixture.view, i * 200 * 1000);
    double share = fallback_share(&fixture.view, i * 200 * 1000);
    assert_true(share >= -1 && share <= 100);
  }
  uint64_t served = 0, refused = 0;
  for (int i = 0; i < 4; i++) {
    pthread_join(thread[i], NULL);
    served += worker[i].served;
    refused += worker[i].refused;
  }
  struct tally total = fallback_total(&fixture.view);
  assert_int_equal(total.total, 400000);
  assert_int_equal(total.bad, served);
  assert_int_equal(total.slow, refused);
  assert_int_equal(bulkhead_inside(&fixture.fallback.bulkhead), 0);
  print_message("%llu served, %llu refused\n", (unsigned long long)served, (unsigned long long)refused);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(settings),
    cmocka_unit_test(threads_never_exceed_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
