// Does the canary keep its promises? Simulated rollouts against the bounds it states.
//
// 100 requests a second in total, 600 s of the baseline before, 600 s of rollout, judged each second. "false" is the
// share of healthy rollouts that ever failed, with its 95 % Wilson interval; it has to stay at or below alpha. The time
// is that of the first verdict of the kind the row asks for; requests are the canary's.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c/core/rollout.h"

enum { RUNS_MAX = 2000 };
#define SEED UINT64_C(20260105)

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *value, int n)
{
  if (n == 0) return -1;
  qsort(value, (size_t)n, sizeof *value, by_size);
  return value[n / 2];
}

static void wilson(int hits, int n, double *low, double *high)
{
  double z = 1.96, p = (double)hits / n, z2 = z * z / n;
  double middle = (p + z2 / 2) / (1 + z2), half = z / (1 + z2) * sqrt(p * (1 - p) / n + z2 / (4 * n));
  *low = fmax(0, middle - half);
  *high = middle + half;
}

static void run(const char *name, const struct rollout *given, const nines_canary_config *config, int runs)
{
  static double fail_at[RUNS_MAX], pass_at[RUNS_MAX];
  int failed = 0, fails = 0, passes = 0;
  struct rng rng;
  rng_init(&rng, SEED, name);
  struct rollout rollout = *given;
  if (rollout.rate <= 0) rollout.rate = 100;
  if (rollout.ratio <= 0) rollout.ratio = 1;
  if (rollout.during == 0) rollout.during = 600;
  if (rollout.before == 0) rollout.before = 600;
  if (rollout.before < 0) rollout.before = 0;
  for (int i = 0; i < runs; i++) {
    struct rollout_end end = rollout_run(&rollout, config, &rng);
    failed += end.failed;
    if (end.verdict == NINES_FAIL) fail_at[fails++] = (double)end.requests;
    if (end.verdict == NINES_PASS) pass_at[passes++] = (double)end.requests;
  }
  double low, high;
  wilson(failed, runs, &low, &high);
  printf("%-52s %6.1f (%4.1f-%5.1f) %8.0f %7.1f %8.0f\n", name, 100.0 * failed / runs, 100 * low, 100 * high,
         median(fail_at, fails), 100.0 * passes / runs, median(pass_at, passes));
  fflush(stdout);
}

static void run_healthy(const nines_canary_config *config)
{
  static const double share[] = { 0.01, 0.1 }, bad[] = { 0.01, 0.001 }, burst[] = { 1, 2, 5, 10 };
  char name[80];
  for (int s = 0; s < 2; s++)
    for (int p = 0; p < 2; p++)
      for (int b = 0; b < 4; b++) {
        snprintf(name, sizeof name, "healthy, %g %% share, %g %% errors, bursts of %g", share[s] * 100, bad[p] * 100,
                 burst[b]);
        run(name, &(struct rollout){ .share = share[s], .bad = bad[p], .burst = burst[b] }, config, RUNS_MAX);
      }
  for (int s = 0; s < 2; s++) {
    snprintf(name, sizeof name, "healthy, %g %% share, 60 s outage of both", share[s] * 100);
    run(name, &(struct rollout){ .share = share[s], .bad = 0.01, .outage_at = 20, .outage = 60 }, config, RUNS_MAX);
    snprintf(name, sizeof name, "healthy, %g %% share, outage, bursts of 5", share[s] * 100);
    run(name, &(struct rollout){ .share = share[s], .bad = 0.01, .burst = 5, .outage_at = 20, .outage = 60 }, config,
        RUNS_MAX);
    snprintf(name, sizeof name, "healthy, %g %% share, no time before it", share[s] * 100);
    run(name, &(struct rollout){ .share = share[s], .bad = 0.01, .before = -1 }, config, RUNS_MAX);
    snprintf(name, sizeof name, "healthy, %g %% share, no time before it, bursts of 10", share[s] * 100);
    run(name, &(struct rollout){ .share = share[s], .bad = 0.01, .before = -1, .burst = 10 }, config, RUNS_MAX);
    snprintf(name, sizeof name, "healthy, %g %% share, no time before it, bursts of 5", share[s] * 100);
    run(name, &(struct rollout){ .share = share[s], .bad = 0.01, .before = -1, .burst = 5 }, config, RUNS_MAX);
  }
}

static void run_worse(const nines_canary_config *config)
{
  enum { RUNS = 1000 };
  run("1 % -> 2 %, 10 % share", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 2 }, config, RUNS);
  run("1 % -> 2 %, 10 % share, bursts of 5", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 2, .burst = 5 },
      config, RUNS);
  run("1 % -> 2 %, 10 % share, outage of both",
      &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 2, .outage_at = 20, .outage = 60 }, config, RUNS);
  run("1 % -> 3 %, 10 % share (goal: 400)", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 3 }, config, RUNS);
  run("1 % -> 3 %, 10 % share, bursts of 2", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 3, .burst = 2 },
      config, RUNS);
  run("1 % -> 5 %, 10 % share", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 5 }, config, RUNS);
  run("1 % -> 10 %, 10 % share", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 10 }, config, RUNS);
  run("1 % -> 3 %, 1 % share", &(struct rollout){ .share = 0.01, .bad = 0.01, .ratio = 3 }, config, RUNS);
  run("1 % -> 10 %, 1 % share", &(struct rollout){ .share = 0.01, .bad = 0.01, .ratio = 10 }, config, RUNS);
  run("0.1 % -> 0.5 %, 10 % share", &(struct rollout){ .share = 0.1, .bad = 0.001, .ratio = 5 }, config, RUNS);
  run("1 % -> 3 % after an outage of both",
      &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 3, .worse_at = 80, .outage_at = 20, .outage = 60 }, config,
      RUNS);
  run("1 % -> 3 % from 300 s on", &(struct rollout){ .share = 0.1, .bad = 0.01, .ratio = 3, .worse_at = 300 }, config,
      RUNS);
  run("no errors at all, 10 % share", &(struct rollout){ .share = 0.1 }, config, RUNS);
}

// Log-normal latencies, sigma 0.5; slow is over the baseline's p95.
static void run_latency(const nines_canary_config *config)
{
  static const double factor[] = { 1, 1.2, 1.5, 2 };
  char name[80];
  for (int i = 0; i < 4; i++) {
    double slow = 0.5 * erfc((1.6448536 - log(factor[i]) / 0.5) / sqrt(2));
    snprintf(name, sizeof name, "latency x%g, 10 %% share", factor[i]);
    run(name, &(struct rollout){ .share = 0.1, .bad = 0.01, .slow = { 0.05, slow } }, config, i ? 1000 : RUNS_MAX);
  }
}

int main(void)
{
  const nines_canary_config config = { .size = sizeof config };
  printf("seed %llu; alpha 5 %%, beta 5 %%; 100 requests/s, %d rollouts of 600 s where healthy, else 1000\n",
         (unsigned long long)SEED, RUNS_MAX);
  printf("%-52s %6s %13s %8s %7s %8s\n", "canary", "FAIL %", "(95 % Wilson)", "median", "PASS %", "median");
  run_healthy(&config);
  run_worse(&config);
  run_latency(&config);
  nines_canary_config strict = config;
  strict.error_max = 0.1;
  run("no errors at all, error_max 0.1 %", &(struct rollout){ .share = 0.1 }, &strict, 1000);
  nines_canary_config split = config;
  split.share = 10;
  run("healthy, 10 % share as configured", &(struct rollout){ .share = 0.1, .bad = 0.01 }, &split, RUNS_MAX);
  run("8 % where 10 % was configured", &(struct rollout){ .share = 0.08, .bad = 0.01 }, &split, RUNS_MAX);
  run("5 % where 10 % was configured", &(struct rollout){ .share = 0.05, .bad = 0.01 }, &split, 1000);
  return 0;
}
