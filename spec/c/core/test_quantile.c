// A windowed quantile against a list of events: what was recorded since the older snapshot, sorted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "meter.h"
#include "quantile.h"

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static void from_meters(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  struct meter *meter = userdata;
  meter_add_latency(&meter[0], count);
  meter_add_latency(&meter[1], count);
}

static void covers_half_to_all(void **state)
{
  (void)state;
  static struct meter meter[2];
  struct quantile quantile;
  const double q[] = { 0.5, 0.99 };
  int64_t out_ns[2];
  meter_record(&meter[0], true, 5 * NS_PER_S, 0, 1000); // before the window: does not count
  quantile_init(&quantile, 10 * NS_PER_S, 0, from_meters, meter);
  assert_true(quantile_valid(&quantile, 10 * NS_PER_S));
  assert_false(quantile_valid(&quantile, 12 * NS_PER_S));
  quantile_read(&quantile, from_meters, meter, q, out_ns, 2);
  assert_true(out_ns[0] == -1 && out_ns[1] == -1);
  meter_record(&meter[0], true, NS_PER_MS, 0, 98);
  meter_record(&meter[1], true, NS_PER_S, 0, 2);
  quantile_read(&quantile, from_meters, meter, q, out_ns, 2);
  assert_int_equal(out_ns[0], histogram_middle_ns(histogram_index(NS_PER_MS)));
  assert_int_equal(out_ns[1], histogram_middle_ns(histogram_index(NS_PER_S)));
  for (int64_t s = 1; s <= 9; s++) {
    quantile_fold(&quantile, s * NS_PER_S, from_meters, meter);
    quantile_read(&quantile, from_meters, meter, q, out_ns, 2);
    assert_int_equal(out_ns[0], histogram_middle_ns(histogram_index(NS_PER_MS)));
  }
  quantile_fold(&quantile, 10 * NS_PER_S, from_meters, meter);
  quantile_read(&quantile, from_meters, meter, q, out_ns, 2);
  assert_int_equal(out_ns[0], -1);
}

static void a_kill_while_turning_is_mended(void **state)
{
  (void)state;
  static struct meter meter[2];
  struct quantile quantile, torn;
  const double q = 1;
  int64_t out_ns;
  quantile_init(&quantile, 10 * NS_PER_S, 0, from_meters, meter);
  meter_record(&meter[0], true, 3 * NS_PER_MS, 0, 1);
  quantile_fold(&quantile, 5 * NS_PER_S, from_meters, meter); // turns
  meter_record(&meter[0], true, 2 * NS_PER_MS, 0, 1);
  torn = quantile;
  quantile_fold(&quantile, 10 * NS_PER_S, from_meters, meter); // turns
  // Killed after half of the snapshot was written, and before the turn was published.
  for (int i = 0; i < 2; i++) memcpy(torn.snapshot[i], quantile.snapshot[i], sizeof torn.snapshot[i] / 2);
  meter_record(&meter[0], true, NS_PER_MS, 0, 1);
  quantile_fold(&torn, 10 * NS_PER_S + 1, from_meters, meter);
  quantile_read(&torn, from_meters, meter, &q, &out_ns, 1);
  assert_int_equal(out_ns, histogram_middle_ns(histogram_index(2 * NS_PER_MS)));
  quantile_fold(&torn, 15 * NS_PER_S + 1, from_meters, meter);
  quantile_read(&torn, from_meters, meter, &q, &out_ns, 1);
  assert_int_equal(out_ns, -1);
}

static void a_clock_that_went_back_keeps_turning(void **state)
{
  (void)state;
  static struct meter meter[2];
  struct quantile quantile;
  const double q = 0.5;
  int64_t out_ns;
  quantile_init(&quantile, 10 * NS_PER_S, 1000 * NS_PER_S, from_meters, meter);
  meter_record(&meter[0], true, NS_PER_MS, 0, 1);
  for (int64_t s = 0; s <= 9; s++) quantile_fold(&quantile, s * NS_PER_S, from_meters, meter);
  quantile_read(&quantile, from_meters, meter, &q, &out_ns, 1);
  assert_int_equal(out_ns, histogram_middle_ns(histogram_index(NS_PER_MS)));
  quantile_fold(&quantile, 10 * NS_PER_S, from_meters, meter);
  quantile_read(&quantile, from_meters, meter, &q, &out_ns, 1);
  assert_int_equal(out_ns, -1);
}

// The oracle: the buckets of the events in order, and the positions in that list where the last two turns were.
enum { EVENTS = 1 << 20 };
struct oracle {
  int64_t half_ns, turned_ns;
  size_t older, newer, end;
  uint16_t event[EVENTS];
};

static int by_value(const void *a, const void *b)
{
  return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void assert_quantiles(const struct oracle *oracle, const struct quantile *quantile, void *source)
{
  static uint16_t sorted[EVENTS];
  size_t n = oracle->end - oracle->older;
  memcpy(sorted, oracle->event + oracle->older, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, by_value);
  const double q[] = { 0.25, 0.5, 0.9, 0.99, 1 };
  static const size_t percent[] = { 25, 50, 90, 99, 100 };
  int64_t out_ns[5];
  quantile_read(quantile, from_meters, source, q, out_ns, 5);
  for (size_t i = 0; i < 5; i++) {
    size_t rank = (percent[i] * n + 99) / 100;
    assert_int_equal(out_ns[i], n == 0 ? -1 : histogram_middle_ns(sorted[rank - 1]));
  }
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("quantile_walk");
  static struct meter meter[2];
  static struct oracle oracle;
  struct quantile quantile;
  for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) // close to the wrap
    atomic_store(&meter[0].latency.count[i], UINT32_MAX - (uint32_t)rng_below(&rng, 2000));
  int64_t now_ns = 777;
  oracle.half_ns = 5 * NS_PER_S;
  oracle.turned_ns = now_ns;
  quantile_init(&quantile, 10 * NS_PER_S, now_ns, from_meters, meter);
  for (int i = 0; i < 1000000; i++) {
    uint64_t kind = rng_below(&rng, 1024);
    now_ns += kind == 0 ? (int64_t)rng_below(&rng, 40 * (uint64_t)NS_PER_S) : (int64_t)rng_below(&rng, 100000000);
    if (kind == 1) now_ns += (int64_t)rng_below(&rng, 100000 * (uint64_t)NS_PER_S);
    if (rng_below(&rng, 4)) {
      int64_t duration_ns = (int64_t)rng_exponential(&rng, 1000.0 * (double)(1 + rng_below(&rng, 1000000)));
      meter_record(&meter[rng_below(&rng, 2)], true, duration_ns, 0, 1);
      oracle.event[oracle.end++] = (uint16_t)histogram_index(duration_ns);
    }
    quantile_fold(&quantile, now_ns, from_meters, meter);
    if (now_ns - (oracle.turned_ns & ~INT64_C(1)) >= oracle.half_ns) {
      oracle.older = oracle.newer;
      oracle.newer = oracle.end;
      oracle.turned_ns = now_ns;
    }
    if (rng_below(&rng, 64) == 0) assert_quantiles(&oracle, &quantile, meter);
    if (i % 10000 == 0) { // a restart
      quantile_rebase(&quantile, now_ns, now_ns + 123456);
      now_ns += 123456;
      oracle.turned_ns += 123456;
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(covers_half_to_all),
    cmocka_unit_test(a_kill_while_turning_is_mended),
    cmocka_unit_test(a_clock_that_went_back_keeps_turning),
    cmocka_unit_test(a_million_random_steps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
