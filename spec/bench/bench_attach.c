// What an attached process pays for a call, beside what a thread of the engine's own process pays for it, and what each
// of several processes pays on one object: nanoseconds of the caller's processor time.
//
// An engine's arena is folded by a thread every 50 ms. The same loops run in another thread of this process, in one
// attached process, and in two and four at once; each figure is the median of batches of 1,024 calls, each batch at one
// time read from the clock, as an event loop would. With more processes than processors the processor time still tells
// what a call costs, and calls a second in all tell how it scales.
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clients.h"
#include "clock.h"
#include "guards.h"
#include "nines.h"

enum { CALLS = 1024, BATCHES = 20000, PROCESSES = 4 };
#define ROW_NS INT64_C(300000000)

struct objects {
  nines_breaker *breaker, *slow;
  nines_limiter *limiter;
  nines_bulkhead *bulkhead;
  nines_path *path;
  nines_flag *flag;
  nines_fault *fault;
  nines_counter *counter;
};

typedef void run_fn(const struct objects *objects, int64_t now_ns);

#define ROW(name, call)                                                                                                \
  static void name(const struct objects *o, int64_t now_ns)                                                            \
  {                                                                                                                    \
    (void)now_ns;                                                                                                      \
    for (int i = 0; i < CALLS; i++) {                                                                                  \
      call;                                                                                                            \
      __asm__ volatile("" ::: "memory");                                                                               \
    }                                                                                                                  \
  }
ROW(run_breaker, nines_breaker_done(o->breaker, nines_breaker_ask(o->breaker, now_ns), NINES_SUCCESS, now_ns + 100))
ROW(run_latency, nines_breaker_done(o->slow, nines_breaker_ask(o->slow, now_ns), NINES_SUCCESS, now_ns + i * 1000))
ROW(run_limiter, nines_limiter_ask(o->limiter, 1, now_ns))
ROW(run_bulkhead, nines_bulkhead_leave(o->bulkhead, nines_bulkhead_enter(o->bulkhead, now_ns), now_ns))
ROW(run_path, nines_path_record(o->path, 1, i * 1000))
ROW(run_flag, (void)nines_flag_on(o->flag, now_ns))
ROW(run_fault, (void)nines_fault_ask(o->fault, NULL, now_ns))
ROW(run_counter, nines_counter_add(o->counter, 1, now_ns))

static const struct row {
  const char *name;
  run_fn *run;
} rows[] = {
  { "breaker ask + done", run_breaker },
  { "breaker ask + done, with latency", run_latency },
  { "limiter ask", run_limiter },
  { "bulkhead enter + leave", run_bulkhead },
  { "path record", run_path },
  { "flag", run_flag },
  { "fault point, disabled", run_fault },
  { "counter", run_counter },
};
enum { ROWS = sizeof rows / sizeof *rows };

struct figures {
  double ns[ROWS];         // processor time of a call
  double per_second[ROWS]; // calls, by the clock on the wall
};

static void must(int code, const nines_arena *arena)
{
  if (code == 0) return;
  fprintf(stderr, "%s: %s\n", nines_strerror(code), nines_arena_errmsg(arena));
  exit(1);
}

static void get_all(nines_arena *arena, struct objects *objects)
{
  const nines_breaker_config latency = { .size = sizeof latency, .latency = 1 };
  const nines_limiter_config limiter = { .size = sizeof limiter, .rate = 1e9, .burst = 1e9 };
  const nines_bulkhead_config bulkhead = { .size = sizeof bulkhead, .concurrent_max = 1000 };
  must(nines_breaker_get(arena, "breaker", NULL, &objects->breaker), arena);
  must(nines_breaker_get(arena, "latency", &latency, &objects->slow), arena);
  must(nines_limiter_get(arena, "limiter", &limiter, &objects->limiter), arena);
  must(nines_bulkhead_get(arena, "bulkhead", &bulkhead, &objects->bulkhead), arena);
  must(nines_arena_path(arena, "path", &objects->path), arena);
  must(nines_flag_get(arena, "flag", 1, &objects->flag), arena);
  must(nines_fault_get(arena, "fault", &objects->fault), arena);
  must(nines_counter_get(arena, "counter", &objects->counter), arena);
}

static int by_value(const void *left, const void *right)
{
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static double median(double *values, int count)
{
  qsort(values, (size_t)count, sizeof *values, by_value);
  return count ? values[count / 2] : 0;
}

static void measure_row(const struct row *row, const struct objects *objects, double *ns, double *per_second)
{
  static _Thread_local double batch[BATCHES];
  for (int warm = 0; warm < 200; warm++) { // until it has stripes of its own
    row->run(objects, clock_now_ns());
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
  }
  int64_t start_ns = clock_now_ns(), now_ns;
  int count = 0, laps = 0;
  while ((now_ns = clock_now_ns()) - start_ns < ROW_NS) {
    int64_t cpu_ns = clock_thread_cpu_ns();
    row->run(objects, now_ns);
    if (count < BATCHES) batch[count++] = (double)(clock_thread_cpu_ns() - cpu_ns) / CALLS;
    laps++;
  }
  *ns = median(batch, count);
  *per_second = (double)laps * CALLS / ((double)(now_ns - start_ns) / 1e9);
}

struct crowd {
  pthread_barrier_t together;
  struct figures figures[PROCESSES];
};

static void measure(nines_arena *arena, struct figures *figures, pthread_barrier_t *together)
{
  struct objects objects;
  get_all(arena, &objects);
  for (int i = 0; i < ROWS; i++) {
    if (together) pthread_barrier_wait(together);
    measure_row(&rows[i], &objects, &figures->ns[i], &figures->per_second[i]);
  }
}

static struct engine {
  char path[64];
  struct arena *memory;
  struct writers writers;
  struct nines_arena arena;
  _Atomic bool stop;
} engine;

static void *beat(void *unused)
{
  writers_bind_loop(&engine.writers);
  while (!atomic_load(&engine.stop)) {
    nines_arena_fold(&engine.arena, clock_now_ns());
    nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
  }
  return unused;
}

static void *measure_inside(void *figures)
{
  measure(&engine.arena, figures, NULL);
  return NULL;
}

static void attached(struct crowd *crowd, int processes)
{
  pthread_barrierattr_t shared;
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&crowd->together, &shared, (unsigned)processes);
  for (int i = 0; i < processes; i++) {
    if (fork() != 0) continue;
    nines_arena *arena;
    char error[256];
    const nines_attach_config config = { .size = sizeof config, .wait_ns = INT64_C(5000000000) };
    if (nines_attach(&arena, engine.path, &config, error, sizeof error) < 0) {
      fprintf(stderr, "%s\n", error);
      _exit(1);
    }
    measure(arena, &crowd->figures[i], &crowd->together);
    nines_arena_close(arena);
    _exit(0);
  }
  for (int i = 0; i < processes; i++) {
    int status;
    if (wait(&status) < 0 || status != 0) exit(1);
  }
}

static double mean(const struct crowd *crowd, int processes, int row)
{
  double sum = 0;
  for (int i = 0; i < processes; i++) sum += crowd->figures[i].ns[row];
  return sum / processes;
}

static double total(const struct crowd *crowd, int processes, int row)
{
  double sum = 0;
  for (int i = 0; i < processes; i++) sum += crowd->figures[i].per_second[row];
  return sum;
}

int main(void)
{
  struct status notice = { 0 }, status = { 0 };
  char folder[] = "/tmp/nines-bench-XXXXXX";
  if (!mkdtemp(folder)) return 1;
  snprintf(engine.path, sizeof engine.path, "%s/arena", folder);
  const struct arena_config config = { .path = engine.path, .size_bytes = 8 << 20 };
  if (arena_open(&engine.memory, &config, &notice, &status) < 0) return 1;
  writers_init(&engine.writers, clients_claims(engine.memory, &status));
  guards_init(&engine.arena, engine.memory, &engine.writers, 1, clock_now_ns());
  if (clients_open(&engine.arena, clock_now_ns(), &status) < 0) return 1;
  struct objects objects; // handles are made before the threads: they are one thread's to make
  get_all(&engine.arena, &objects);
  pthread_t folding, inside;
  pthread_create(&folding, NULL, beat, NULL);
  struct figures own;
  struct crowd *crowds = mmap(NULL, 3 * sizeof *crowds, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_create(&inside, NULL, measure_inside, &own);
  pthread_join(inside, NULL);
  const int processes[3] = { 1, 2, PROCESSES };
  for (int i = 0; i < 3; i++) attached(&crowds[i], processes[i]);
  printf("%-34s %10s %10s %6s %10s %10s   %s\n", "ns of processor time a call", "in engine", "attached", "ratio",
         "2 on one", "4 on one", "million calls a second by 1, 2, 4 processes");
  for (int i = 0; i < ROWS; i++) {
    double one = mean(&crowds[0], 1, i);
    printf("%-34s %10.1f %10.1f %6.2f %10.1f %10.1f   %.0f, %.0f, %.0f\n", rows[i].name, own.ns[i], one,
           one / own.ns[i], mean(&crowds[1], 2, i), mean(&crowds[2], PROCESSES, i), total(&crowds[0], 1, i) / 1e6,
           total(&crowds[1], 2, i) / 1e6, total(&crowds[2], PROCESSES, i) / 1e6);
  }
  atomic_store(&engine.stop, true);
  pthread_join(folding, NULL);
  clients_close(&engine.arena);
  guards_fini(&engine.arena);
  writers_fini(&engine.writers);
  arena_close(engine.memory);
  unlink(engine.path);
  rmdir(folder);
  return 0;
}
