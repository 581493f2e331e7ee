// What a record adds, and what a reader on another thread may see of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/seed.h"
#include "meter.h"

enum { MS = 1000000 };

static void counts_each_part(void **state)
{
  (void)state;
  static struct meter meter;
  meter_record(&meter, true, -1, 5 * MS, 1);         // no duration
  meter_record(&meter, false, 5 * MS, 5 * MS, 2);    // exactly at the limit: not slow
  meter_record(&meter, true, 5 * MS + 1, 5 * MS, 3); // slow
  meter_record(&meter, true, 9000 * (int64_t)MS, 0, 1);
  meter_record(&meter, false, 7 * MS, 5 * MS, 0); // nothing
  struct tally tally = meter_tally(&meter);
  assert_int_equal(tally.total, 7);
  assert_int_equal(tally.bad, 2);
  assert_int_equal(tally.slow, 3);
  assert_int_equal(meter.timed, 6);
  assert_int_equal(meter.sum_us, 2 * 5000 + 3 * 5000 + 9000000);
  uint32_t count[HISTOGRAM_BUCKETS] = { 0 };
  count[histogram_index(5 * MS)] = 10;
  meter_add_latency(&meter, count);
  assert_int_equal(count[histogram_index(5 * MS)], 15);
  assert_int_equal(count[histogram_index(9000 * (int64_t)MS)], 1);
}

static void one_writer_and_shared_agree(void **state)
{
  (void)state;
  struct rng rng = seed_stream("meter_agree");
  static struct meter one, shared;
  for (int i = 0; i < 100000; i++) {
    bool ok = rng_below(&rng, 10) > 0;
    int64_t duration_ns = (int64_t)rng_below(&rng, 200 * MS) - 20 * MS;
    uint32_t times = (uint32_t)rng_below(&rng, 5);
    meter_record(&one, ok, duration_ns, 100 * MS, times);
    meter_record_shared(&shared, ok, duration_ns, 100 * MS, times);
  }
  assert_memory_equal(&one, &shared, sizeof one);
}

enum { RECORDS = 300000 };
struct writing {
  struct meter *meter;
  bool shared;
};

static void *write_records(void *userdata)
{
  const struct writing *writing = userdata;
  for (uint32_t i = 0; i < RECORDS; i++) {
    int64_t duration_ns = i % 2 ? 3 * MS : 1 * MS;
    if (writing->shared)
      meter_record_shared(writing->meter, false, duration_ns, 2 * MS, 1);
    else
      meter_record(writing->meter, false, duration_ns, 2 * MS, 1);
  }
  return NULL;
}

// Every observation is bad, so a reader that saw a part before its whole would see bad > total.
static void read_until(const struct meter *meter, uint64_t end)
{
  struct tally last = { 0 };
  while (last.bad < end) {
    struct tally tally = meter_tally(meter);
    assert_true(tally.bad <= tally.total && tally.slow <= tally.total);
    assert_true(tally.bad >= last.bad && tally.slow >= last.slow && tally.total >= last.total);
    last = tally;
  }
  assert_int_equal(last.total, end);
}

static void a_reader_never_sees_parts_without_the_whole(void **state)
{
  (void)state;
  static struct meter meter;
  struct writing writing = { &meter, false };
  pthread_t writer;
  assert_int_equal(pthread_create(&writer, NULL, write_records, &writing), 0);
  read_until(&meter, RECORDS);
  pthread_join(writer, NULL);
  assert_int_equal(meter_tally(&meter).slow, RECORDS / 2);
}

static void shared_writers_lose_nothing(void **state)
{
  (void)state;
  static struct meter meter;
  struct writing writing = { &meter, true };
  pthread_t writer[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&writer[i], NULL, write_records, &writing), 0);
  read_until(&meter, 2 * RECORDS);
  for (int i = 0; i < 2; i++) pthread_join(writer[i], NULL);
  uint32_t count[HISTOGRAM_BUCKETS] = { 0 };
  meter_add_latency(&meter, count);
  assert_int_equal(count[histogram_index(1 * MS)], RECORDS);
  assert_int_equal(count[histogram_index(3 * MS)], RECORDS);
  assert_int_equal(meter.timed, 2 * RECORDS);
  assert_int_equal(meter.sum_us, UINT64_C(2) * RECORDS * 2000);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(counts_each_part),
    cmocka_unit_test(one_writer_and_shared_agree),
    cmocka_unit_test(a_reader_never_sees_parts_without_the_whole),
    cmocka_unit_test(shared_writers_lose_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
