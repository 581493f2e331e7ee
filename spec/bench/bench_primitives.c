// What the primitives of nines.h cost on a request path: nanoseconds a call and thread, beside the floors of this
// machine. spec/bench/primitives.mjs runs this, measures npm's rivals and prints all of it with goals and ratios.
//
// Each figure is the median of up to 200 slices of some 100 us in each of three rounds, of those in which no thread
// lost its processor: wall time not longer than the thread's own CPU time. p10 is the fastest tenth's: a machine that
// others use is slower in its median. With two threads on one object, each on a processor of its own, a slice counts
// only when they began together and ran side by side. The arena is folded between slices, as its contract asks.
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena.h"
#include "clock.h"
#include "guards.h"
#include "nines.h"
#include "primitive_rows.h"
#include "rng.h"

enum { ROUNDS = 3, SLICES = 200, SLICES_FEW = 20, SERVICES = 16 };
#define SLICE_NS   INT64_C(75000)
#define WARM_UP_NS INT64_C(10000000)
#define GIVE_UP_NS INT64_C(100000000) // a row and round, however few slices were undisturbed; for each thread
#define LATE_NS    INT64_C(5000)      // between the beginnings of two threads' slices
enum { ROWS = sizeof rows / sizeof *rows };

// --- slices

struct lap {
  int64_t start_ns, end_ns, cpu_ns;
};

static struct race {
  struct bench bench;
  const struct row *row;
  int threads;
  uint32_t calls;                      // of a slice; 0: the second thread ends
  _Alignas(128) _Atomic uint64_t go;   // slices begun ...
  _Alignas(128) _Atomic uint64_t done; // ... and ended by the second thread
  struct side side[2];
  struct lap lap[2];
} race;

static void run_lap(int thread)
{
  struct lap *lap = &race.lap[thread];
  int64_t cpu_ns = clock_thread_cpu_ns();
  lap->start_ns = clock_now_ns();
  race.row->run(&race.bench, &race.side[thread], race.calls);
  lap->end_ns = clock_now_ns();
  lap->cpu_ns = clock_thread_cpu_ns() - cpu_ns;
  race.side[thread].calls += race.calls;
}

static void await(const _Atomic uint64_t *word, uint64_t value)
{
  for (uint32_t i = 0; atomic_load_explicit(word, memory_order_acquire) != value; i++)
    if (i > 10000) sched_yield();
}

// Two threads on one processor would only take turns: the n-th of those that the process may use.
static void pin(int thread)
{
  cpu_set_t allowed, one;
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &allowed) && thread-- == 0) CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one); // fails when there is no n-th: then no slice counts
}

static void *second_thread(void *unused)
{
  pin(1);
  for (uint64_t slice = 1;; slice++) {
    await(&race.go, slice);
    if (race.calls == 0) return unused;
    run_lap(1);
    atomic_store_explicit(&race.done, slice, memory_order_release);
  }
}

static bool undisturbed(void)
{
  const struct lap *a = &race.lap[0], *b = &race.lap[race.threads - 1];
  if (a->end_ns - a->start_ns > a->cpu_ns || b->end_ns - b->start_ns > b->cpu_ns) return false;
  int64_t apart_ns = llabs(a->start_ns - b->start_ns);
  int64_t longest_ns = a->end_ns - a->start_ns, shortest_ns = b->end_ns - b->start_ns;
  if (longest_ns < shortest_ns) return apart_ns <= LATE_NS && shortest_ns < longest_ns * 3 / 2;
  return apart_ns <= LATE_NS && longest_ns < shortest_ns * 3 / 2;
}

// Runs a slice: ns a call and thread, negative when it was disturbed.
static double run_slice(void)
{
  int64_t now_ns = race.side[0].now_ns;
  if (race.side[1].now_ns > now_ns) now_ns = race.side[1].now_ns;
  race.side[0].now_ns = race.side[1].now_ns = now_ns;
  nines_arena_fold(race.bench.arena, now_ns);
  if (race.threads == 2) atomic_fetch_add_explicit(&race.go, 1, memory_order_release);
  run_lap(0);
  if (race.threads == 2) await(&race.done, race.go);
  double sum_ns = 0;
  for (int i = 0; i < race.threads; i++) sum_ns += (double)(race.lap[i].end_ns - race.lap[i].start_ns);
  return undisturbed() ? sum_ns / race.threads / race.calls : -1;
}

static int measure(double slice_ns[static SLICES])
{
  for (race.calls = 64; race.calls < UINT32_MAX / 2; race.calls *= 2) {
    run_slice();
    if (race.lap[0].cpu_ns >= SLICE_NS) break;
  }
  int64_t start_ns = clock_now_ns();
  while (clock_now_ns() - start_ns < WARM_UP_NS) run_slice();
  int kept = 0;
  while (kept < SLICES && clock_now_ns() - start_ns < race.threads * GIVE_UP_NS) {
    double ns = run_slice();
    if (ns >= 0) slice_ns[kept++] = ns;
  }
  return kept;
}

static void check_answers(void)
{
  uint64_t calls = race.side[0].calls + race.side[1].calls, granted = race.side[0].granted + race.side[1].granted;
  if (race.row->answers == ANY || granted == (race.row->answers == ALL_GRANTED ? calls : 0)) return;
  fprintf(stderr, "%s, %d threads: %llu of %llu calls were granted\n", race.row->name, race.threads,
          (unsigned long long)granted, (unsigned long long)calls);
  exit(1);
}

// One row in one round; returns how many slices were kept.
static int run_row(const struct row *row, int threads, double slice_ns[static SLICES])
{
  race.row = row;
  race.threads = threads;
  race.go = race.done = 0;
  race.bench.begin_ns = clock_now_ns();
  for (int i = 0; i < 2; i++)
    race.side[i] = (struct side){ .now_ns = race.bench.begin_ns, .random = 0x9E3779B97F4A7C15u + (unsigned)i };
  must(&race.bench, nines_arena_open(&race.bench.arena, 1));
  if (row->open) row->open(&race.bench);
  pthread_t second;
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  if (threads == 2 && pthread_create(&second, NULL, second_thread, NULL) != 0) abort();
  if (threads == 2) pin(0);
  int kept = measure(slice_ns);
  if (threads == 2) {
    race.calls = 0;
    atomic_fetch_add_explicit(&race.go, 1, memory_order_release);
    pthread_join(second, NULL);
    sched_setaffinity(0, sizeof allowed, &allowed);
  }
  check_answers();
  nines_arena_close(race.bench.arena);
  return kept;
}

// --- memory

struct service {
  nines_breaker *breaker;
  nines_limiter *limiter;
  nines_bulkhead *bulkhead;
  nines_retry *retry;
  nines_fault *fault;
} services[SERVICES];

static void get_service(struct bench *bench, struct service *service, int number)
{
  char name[16];
  snprintf(name, sizeof name, "service-%d", number);
  nines_breaker_config breaker = { CONFIG(nines_breaker_config), .latency = 1 };
  nines_limiter_config limiter = { CONFIG(nines_limiter_config), .rate = 100 };
  must(bench, nines_breaker_get(bench->arena, name, &breaker, &service->breaker));
  must(bench, nines_limiter_get(bench->arena, name, &limiter, &service->limiter));
  must(bench, nines_bulkhead_get(bench->arena, name, NULL, &service->bulkhead));
  must(bench, nines_retry_get(bench->arena, name, NULL, &service->retry));
  must(bench, nines_fault_get(bench->arena, name, &service->fault));
}

static void *call_services(void *bench)
{
  int64_t now_ns = ((struct bench *)bench)->begin_ns;
  for (const struct service *service = services; service < services + SERVICES; service++) {
    nines_breaker_done(service->breaker, nines_breaker_ask(service->breaker, now_ns), NINES_SUCCESS, now_ns);
    nines_limiter_ask(service->limiter, 1, now_ns);
    nines_bulkhead_leave(service->bulkhead, nines_bulkhead_enter(service->bulkhead, now_ns), now_ns);
    nines_retry_call(service->retry, now_ns);
    nines_fault_ask(service->fault, NULL, now_ns);
  }
  return NULL;
}

// Each protection of a service, its breaker with latencies: bytes of the arena, and of this process's handles.
static void print_memory(void)
{
  struct bench *bench = &race.bench;
  must(bench, nines_arena_open(&bench->arena, 1));
  bench->begin_ns = clock_now_ns();
  size_t arena[3] = { arena_usage(bench->arena->memory).used_bytes }, heap = mallinfo2().uordblks;
  for (int i = 0; i < SERVICES; i++) get_service(bench, &services[i], i);
  heap = mallinfo2().uordblks - heap;
  for (int writers = 1; writers <= 2; writers++) {
    pthread_t second;
    if (writers == 1)
      call_services(bench);
    else if (pthread_create(&second, NULL, call_services, bench) != 0 || pthread_join(second, NULL) != 0)
      abort();
    nines_arena_fold(bench->arena, bench->begin_ns);
    arena[writers] = arena_usage(bench->arena->memory).used_bytes - arena[0];
  }
  printf("%-44s %9zu %9zu\n", "bytes: a service's protections", arena[1] / SERVICES, arena[2] / SERVICES);
  printf("%-44s %9zu %9s\n", "bytes: their handles in a process", heap / SERVICES, "-");
  nines_arena_close(bench->arena);
}

// ---

static int by_time(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void lay_out(struct bench *bench)
{
  uint64_t random = 1;
  for (int i = 0; i < STEPS; i++) {
    uint32_t draw = rng_quick(&random);
    bench->step_ns[i] = INT64_C(1000) << (draw & 3);
    bench->step_ns[i] += (int64_t)(draw >> 8) % bench->step_ns[i];
    bench->duration_ns[i] = INT64_C(10000) << (draw >> 4 & 15);
    bench->duration_ns[i] += (int64_t)(draw >> 8) * 1000 % bench->duration_ns[i];
  }
  for (int i = 0; i < KEYS; i++) snprintf(bench->key[i], sizeof bench->key[i], "tenant-%09d", i * 7919);
}

static void print_figure(const struct row *row, int threads, const double *sorted_ns, int kept, double quantile)
{
  if (threads > row->threads)
    printf(" %9s", "-");
  else if (kept < SLICES_FEW)
    printf(" %9s", "busy");
  else
    printf(" %9.2f", sorted_ns[(int)(quantile * kept)]);
}

int main(void)
{
  static double slice_ns[ROWS][2][ROUNDS * SLICES];
  static int kept[ROWS][2];
  lay_out(&race.bench);
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i < ROWS; i++)
      for (int t = 0; t < rows[i].threads; t++) kept[i][t] += run_row(&rows[i], t + 1, &slice_ns[i][t][kept[i][t]]);
  printf("%-44s %9s %9s %9s %9s\n", "ns a call and thread", "1 thread", "2 threads", "1: p10", "2: p10");
  for (int i = 0; i < ROWS; i++) {
    printf("%-44s", rows[i].name);
    for (int t = 0; t < 2; t++) qsort(slice_ns[i][t], (size_t)kept[i][t], sizeof(double), by_time);
    for (int column = 0; column < 4; column++)
      print_figure(&rows[i], column % 2 + 1, slice_ns[i][column % 2], kept[i][column % 2], column < 2 ? 0.5 : 0.1);
    printf("\n");
  }
  print_memory();
  return 0;
}
