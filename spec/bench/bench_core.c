// What the measuring primitives cost: nanoseconds an operation, beside the floor of this machine.
//
// Each row is the median of many slices of about a millisecond, so that a slice in which another process had the
// processor does not count. The first rows are what nothing can be faster than: the loop itself, and one relaxed load,
// add and store. Time is the loop's, as in the engine: it moves 50 us an operation, so that windows and buckets turn as
// often as they do in service, and never comes from a clock.
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "breach.h"
#include "burn.h"
#include "clock.h"
#include "histogram.h"
#include "meter.h"
#include "quantile.h"
#include "window.h"

enum { SLICES = 41, VALUES = 1024 };
#define SLICE_NS INT64_C(1000000)
#define STEP_NS  INT64_C(50000)
#define NS_PER_S INT64_C(1000000000)

struct bench {
  int64_t now_ns;
  struct tally cumulative;
  int64_t duration_ns[VALUES]; // log-uniform from 10 us to 1 s
  _Atomic uint64_t counter;
  struct meter meter;
  struct meter shared;
  struct histogram histogram;
  struct window *window;
  struct burn *burn;
  struct quantile quantile;
  volatile uint64_t sink;
};

typedef void row_fn(struct bench *bench, uint32_t operations);

// Keeps the compiler from merging the turns of a loop.
#define TURN() __asm__ volatile("" ::: "memory")

static void run_loop(struct bench *bench, uint32_t operations)
{
  (void)bench;
  for (uint32_t i = 0; i < operations; i++) TURN();
}

static void run_counter(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) {
    uint64_t count = atomic_load_explicit(&bench->counter, memory_order_relaxed);
    atomic_store_explicit(&bench->counter, count + 1, memory_order_relaxed);
    TURN();
  }
}

static void run_meter(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++)
    meter_record(&bench->meter, i % 64 != 0, bench->duration_ns[i % VALUES], 500000000, 1);
}

static void run_meter_without_duration(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) meter_record(&bench->meter, i % 64 != 0, -1, 0, 1);
}

static void run_meter_shared(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++)
    meter_record_shared(&bench->shared, i % 64 != 0, bench->duration_ns[i % VALUES], 500000000, 1);
}

static void run_histogram(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) histogram_record(&bench->histogram, bench->duration_ns[i % VALUES], 1);
}

static void grow(struct bench *bench, uint32_t i)
{
  bench->now_ns += STEP_NS;
  bench->cumulative.total += 10;
  bench->cumulative.bad += i % 64 == 0;
}

static void run_window_fold(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) {
    grow(bench, i);
    window_fold(bench->window, bench->now_ns, bench->cumulative);
  }
}

static void run_burn_fold(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) {
    grow(bench, i);
    burn_fold(bench->burn, bench->now_ns, bench->cumulative);
  }
}

static void run_burn_sum(struct bench *bench, uint32_t operations)
{
  static const int64_t span_ns[] = { 60 * NS_PER_S, 300 * NS_PER_S, 3600 * NS_PER_S, 30 * NS_PER_S };
  for (uint32_t i = 0; i < operations; i++) bench->sink += burn_sum(bench->burn, bench->now_ns, span_ns[i % 4]).bad;
}

static void from_meter(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  meter_add_latency(userdata, count);
}

static void run_quantile_fold(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) {
    bench->now_ns += STEP_NS;
    quantile_fold(&bench->quantile, bench->now_ns, from_meter, &bench->meter);
  }
}

static void run_quantile_read(struct bench *bench, uint32_t operations)
{
  static const double q[] = { 0.5, 0.95, 0.99 };
  int64_t out_ns[3];
  for (uint32_t i = 0; i < operations; i++) {
    quantile_read(&bench->quantile, from_meter, &bench->meter, q, out_ns, 3);
    bench->sink += (uint64_t)out_ns[2];
  }
}

static void run_breach_met(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) bench->sink += breach_test(60000 + i % 8, 30, 0.001);
}

static void run_breach_worse(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) bench->sink += breach_test(60000 + i % 8, 75, 0.001);
}

static void run_breach_close(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) bench->sink += breach_test(60000 + i % 8, 101, 0.001);
}

static void run_breach_far(struct bench *bench, uint32_t operations)
{
  for (uint32_t i = 0; i < operations; i++) bench->sink += breach_test(60000 + i % 8, 30000, 0.001);
}

static const struct row {
  const char *name;
  row_fn *run;
} rows[] = {
  { "floor: empty loop", run_loop },
  { "floor: relaxed load, add, store", run_counter },
  { "histogram_record", run_histogram },
  { "meter_record", run_meter },
  { "meter_record, no duration", run_meter_without_duration },
  { "meter_record_shared, uncontended", run_meter_shared },
  { "window_fold", run_window_fold },
  { "burn_fold", run_burn_fold },
  { "burn_sum", run_burn_sum },
  { "quantile_fold", run_quantile_fold },
  { "quantile_read, 3 quantiles", run_quantile_read },
  { "breach_test, objective met", run_breach_met },
  { "breach_test, worse by chance", run_breach_worse },
  { "breach_test, at the threshold", run_breach_close },
  { "breach_test, outage", run_breach_far },
};

static int by_time(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int64_t time_of(struct bench *bench, row_fn *run, uint32_t operations)
{
  int64_t start_ns = clock_now_ns();
  run(bench, operations);
  return clock_now_ns() - start_ns;
}

static double median_ns(struct bench *bench, row_fn *run)
{
  uint32_t operations = 64;
  while (time_of(bench, run, operations) < SLICE_NS && operations < UINT32_MAX / 2) operations *= 2;
  double slice[SLICES];
  for (int i = 0; i < SLICES; i++) slice[i] = (double)time_of(bench, run, operations) / operations;
  qsort(slice, SLICES, sizeof *slice, by_time);
  return slice[SLICES / 2];
}

static struct bench *bench_open(void)
{
  static struct bench bench;
  uint64_t draw = 1;
  for (int i = 0; i < VALUES; i++) {
    draw = draw * 6364136223846793005u + 1442695040888963407u;
    bench.duration_ns[i] = INT64_C(10000) << (draw >> 60);
    bench.duration_ns[i] += (int64_t)((draw >> 20) % (uint64_t)bench.duration_ns[i]);
  }
  bench.window = malloc(window_size(61));
  bench.burn = malloc(burn_size());
  if (bench.window == NULL || bench.burn == NULL) abort();
  window_init(bench.window, NS_PER_S, 61, 0, bench.cumulative);
  burn_init(bench.burn, 0, bench.cumulative);
  quantile_init(&bench.quantile, 60 * NS_PER_S, 0, from_meter, &bench.meter);
  return &bench;
}

int main(void)
{
  struct bench *bench = bench_open();
  printf("%-36s %10s\n", "core", "ns/op");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    printf("%-36s %10.2f\n", rows[i].name, median_ns(bench, rows[i].run));
  printf("%-36s %10zu\n", "bytes: meter", sizeof(struct meter));
  printf("%-36s %10zu\n", "bytes: burn", burn_size());
  printf("%-36s %10zu\n", "bytes: quantile", sizeof(struct quantile));
  free(bench->window);
  free(bench->burn);
  return 0;
}
