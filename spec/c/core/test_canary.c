// The canary: its e-values against their definition, its promises in simulation, and its counts through fold and view.
//
// The oracle keeps every tick and multiplies likelihood ratios for each alternative and each time at which a part of
// the bet was placed. Simulations run with fixed seeds, so that they cannot fail by chance; bench_canary has them
// large.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rollout.h"
#include "core/seed.h"

#define NS_PER_S INT64_C(1000000000)
#define BEAT_NS  INT64_C(50000000)

static const nines_canary_config defaults = { .size = sizeof defaults };

// ---- E-values

enum { TICKS = 60 };

static double part(double ratio, double rho)
{
  return ratio * rho / (ratio * rho + 1 - rho);
}

static double factor(const struct canary_tick *tick, double from, double to, double phi)
{
  double rho = (double)tick->total[1] / (double)(tick->total[0] + tick->total[1]);
  if (rho <= 0 || rho >= 1) return 1;
  return pow(part(to, rho) / part(from, rho), (double)tick->bad[1] / phi) *
         pow((1 - part(to, rho)) / (1 - part(from, rho)), (double)tick->bad[0] / phi);
}

static double worse_by_definition(const struct canary_tick *tick, int n, double margin, double phi)
{
  static const double by[] = { 1.25, 1.5, 2, 3, 5, 10, 20, 50 };
  static const double weight[] = { 0.06, 0.1, 0.2, 0.22, 0.2, 0.12, 0.06, 0.04 };
  double e = 0, waiting = 0.2;
  for (int from = 0; from <= n; from++) {
    // What is placed before tick `from` (0: the first part, at the start).
    double placed = from == 0 ? 0.8 : waiting / 600;
    if (from > 0) waiting -= placed;
    for (int i = 0; i < 8; i++) {
      double product = 1;
      for (int t = from == 0 ? 0 : from - 1; t < n; t++) product *= factor(&tick[t], margin, margin * by[i], phi);
      e += placed * weight[i] * product;
    }
  }
  return e + waiting;
}

static double better_by_definition(const struct canary_tick *tick, int n, double bad, double phi)
{
  static const double by[] = { 1.25, 1.5, 2, 3, 5 };
  double e = 0;
  for (int i = 0; i < 5; i++) {
    double product = 1;
    for (int t = 0; t < n; t++) product *= factor(&tick[t], bad, bad / by[i], phi);
    e += product / 5;
  }
  return e;
}

static void e_values_by_definition(void **state)
{
  (void)state;
  struct rng rng = seed_stream("canary_e");
  for (int round = 0; round < 120; round++) {
    static struct canary canary;
    canary = (struct canary){ 0 };
    nines_canary_config config = defaults;
    config.latency_quantile = -1;
    config.margin = 1 + rng_unit(&rng);
    config.bad = config.margin * (1.5 + rng_unit(&rng));
    config.dispersion = 1 + 3 * rng_unit(&rng);
    assert_int_equal(canary_set(&canary, &config, true, 0, NULL), 0);
    double share = rng_unit(&rng) * 0.6, rate = 0.05, most = 0;
    for (int second = 0; second < 100; second++) { // so that no tick below is an outage
      struct canary_tick tick = { .total = { 100, 0 }, .bad = { 20, 0 } };
      canary_learn(&canary, &tick);
    }
    canary_start(&canary);
    struct canary_tick tick[TICKS];
    for (int n = 1; n <= TICKS; n++) {
      struct canary_tick *now = &tick[n - 1];
      *now = (struct canary_tick){ 0 };
      uint64_t total = 40 + rng_below(&rng, 100);
      now->total[1] = rng_binomial(&rng, total, share);
      now->total[0] = total - now->total[1];
      for (int arm = 0; arm < 2; arm++) now->bad[arm] = rng_binomial(&rng, now->total[arm], rate * (1 + arm));
      canary_feed(&canary, now);
      nines_canary_reading got;
      canary_read(&canary, &got);
      double worse = worse_by_definition(tick, n, config.margin, config.dispersion);
      assert_true(fabs(got.e_errors / worse - 1) < 1e-9);
      most = fmax(most, worse);
      assert_true(fabs(got.p_value - fmin(1, 1 / fmax(1, most))) < 1e-9);
      double better = better_by_definition(tick, n, config.bad, config.dispersion);
      uint64_t bad = 0, requests = 0;
      for (int t = 0; t < n; t++) bad += tick[t].bad[0] + tick[t].bad[1], requests += tick[t].total[1];
      if (bad == 0) better = fmax(better, pow(0.99, -(double)requests / config.dispersion));
      assert_true(fabs(got.e_pass / better - 1) < 1e-9);
      if (most >= 20) assert_int_equal(got.verdict, NINES_FAIL);
      if (most < 20) assert_int_not_equal(got.verdict, NINES_FAIL);
    }
  }
}

// ---- Promises

struct outcome {
  double failed, passed; // share of rollouts
  double fail_requests;  // median
};

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static struct outcome simulate(const char *name, struct rollout rollout, const nines_canary_config *config, int runs)
{
  static double requests[1000];
  struct rng rng;
  rng_init(&rng, 20260105, name);
  struct outcome outcome = { 0 };
  int fails = 0;
  rollout.rate = 100;
  rollout.during = 300;
  if (rollout.ratio <= 0) rollout.ratio = 1;
  for (int i = 0; i < runs; i++) {
    struct rollout_end end = rollout_run(&rollout, config, &rng);
    outcome.failed += (double)end.failed / runs;
    outcome.passed += (double)(end.verdict == NINES_PASS) / runs;
    if (end.verdict == NINES_FAIL) requests[fails++] = (double)end.requests;
  }
  qsort(requests, (size_t)fails, sizeof *requests, by_size);
  outcome.fail_requests = fails ? requests[fails / 2] : -1;
  print_message("%-30s FAIL %5.1f %%, PASS %5.1f %%, median requests to FAIL %.0f\n", name, 100 * outcome.failed,
                100 * outcome.passed, outcome.fail_requests);
  return outcome;
}

static void healthy_canaries_do_not_fail(void **state)
{
  (void)state;
  enum { RUNS = 300 };
  struct rollout base = { .share = 0.1, .bad = 0.01, .before = 300 };
  assert_true(simulate("healthy", base, &defaults, RUNS).failed <= 0.05);
  struct rollout small = base;
  small.share = 0.01;
  assert_true(simulate("healthy, 1 % share", small, &defaults, RUNS).failed <= 0.05);
  struct rollout bursts = base;
  bursts.burst = 2;
  assert_true(simulate("healthy, bursts of 2", bursts, &defaults, RUNS).failed <= 0.05);
  bursts.burst = 10;
  assert_true(simulate("healthy, bursts of 10", bursts, &defaults, RUNS).failed <= 0.05);
  bursts.before = 0;
  assert_true(simulate("the same, no time before", bursts, &defaults, RUNS).failed <= 0.05);
  struct rollout outage = base;
  outage.outage_at = 5;
  outage.outage = 60;
  assert_true(simulate("outage of both arms", outage, &defaults, RUNS).failed <= 0.05);
  struct rollout slow = base;
  slow.slow[0] = slow.slow[1] = 0.05;
  assert_true(simulate("healthy, with latencies", slow, &defaults, RUNS).failed <= 0.05);
}

static void worse_canaries_do(void **state)
{
  (void)state;
  enum { RUNS = 200 };
  struct rollout worse = { .share = 0.1, .bad = 0.01, .ratio = 3, .before = 300 };
  struct outcome outcome = simulate("3 times the errors", worse, &defaults, RUNS);
  assert_true(outcome.failed > 0.99 && outcome.fail_requests <= 400);
  worse.outage_at = 5, worse.outage = 60, worse.worse_at = 65;
  assert_true(simulate("the same after an outage", worse, &defaults, RUNS).failed > 0.9);
  struct rollout slow = { .share = 0.1, .bad = 0.01, .before = 300, .slow = { 0.05, 0.2 } };
  outcome = simulate("4 times as often slow", slow, &defaults, RUNS);
  assert_true(outcome.failed > 0.99 && outcome.fail_requests < 200);
  struct rollout twice = { .share = 0.1, .bad = 0.01, .ratio = 2, .before = 300 };
  assert_true(simulate("twice the errors", twice, &defaults, RUNS).passed <= 0.05 + 0.02);
}

static void an_outage_of_both_is_no_reason_to_pass(void **state)
{
  (void)state;
  struct rollout twice = { .share = 0.1, .bad = 0.01, .ratio = 2, .before = 300, .outage_at = 5, .outage = 60 };
  assert_true(simulate("twice the errors, outage", twice, &defaults, 200).passed <= 0.05 + 0.02);
}

// ---- Counts

struct rig {
  struct canary canary;
  struct canary_stripe stripe[3];
  _Atomic(struct canary_stripe *) stripes[WRITERS_MAX];
  struct canary_view view;
  int64_t now_ns;
};

static struct rig *rig_open(const nines_canary_config *config)
{
  static struct rig rig;
  memset((void *)&rig, 0, sizeof rig);
  rig.view = (struct canary_view){ &rig.canary, rig.stripes };
  rig.now_ns = 1000 * NS_PER_S;
  rig.stripes[WRITER_LOOP] = &rig.stripe[0];
  rig.stripes[WRITER_SHARED] = &rig.stripe[1];
  rig.stripes[WRITER_FIRST] = &rig.stripe[2];
  struct status status;
  assert_int_equal(canary_set(&rig.canary, config, true, rig.now_ns, &status), 0);
  return &rig;
}

static void wait_ns(struct rig *rig, int64_t time_ns)
{
  for (int64_t end_ns = rig->now_ns + time_ns; rig->now_ns < end_ns;) {
    rig->now_ns += BEAT_NS;
    canary_fold(&rig->view, rig->now_ns);
  }
}

static void record(struct rig *rig, int arm, int n, int outcome, int64_t duration_ns)
{
  static const uint32_t writer[] = { WRITER_LOOP, WRITER_SHARED, WRITER_FIRST, WRITER_STATSD /* has no stripe */ };
  for (int i = 0; i < n; i++) canary_record(&rig->view, writer[i % 3], arm, outcome, duration_ns);
  canary_record(&rig->view, writer[3], arm, outcome, duration_ns);
  canary_record(&rig->view, WRITER_LOOP, arm, NINES_IGNORED, duration_ns);
  canary_record(&rig->view, WRITER_LOOP, 2 + arm, outcome, duration_ns);
}

static nines_canary_reading reading(struct rig *rig)
{
  nines_canary_reading out;
  canary_read(&rig->canary, &out);
  return out;
}

static void flawless(double error_max, uint64_t expected)
{
  nines_canary_config config = defaults;
  config.error_max = error_max;
  struct rig *rig = rig_open(&config);
  record(rig, NINES_BASELINE, 50, NINES_FAILURE, -1); // before the rollout: not its business
  wait_ns(rig, 2 * NS_PER_S);
  canary_begin(&rig->view, rig->now_ns);
  uint64_t n = 0;
  while (reading(rig).verdict == NINES_INCONCLUSIVE && n < 2 * expected) {
    record(rig, NINES_BASELINE, 31, NINES_SUCCESS, -1);
    record(rig, NINES_CANARY, 1, NINES_SUCCESS, -1);
    n++;
    wait_ns(rig, NS_PER_S + BEAT_NS);
  }
  nines_canary_reading out = reading(rig);
  assert_int_equal(n, expected);
  assert_int_equal(out.total[1], expected);
  assert_int_equal(out.total[0], 31 * expected);
  assert_int_equal(out.bad[0], 0);
  assert_int_equal(out.verdict, NINES_PASS);
  assert_string_equal(out.why, "no errors");
  assert_int_equal(out.slow_ns, -1);
  assert_true(out.ratio == -1);
}

// ceil(log(0.05) / log(1 - p)): 298.07 and 2994.2.
static void without_errors_it_passes_when_error_max_is_refuted(void **state)
{
  (void)state;
  flawless(1, 299);
  flawless(0.1, 2995);
}

static void a_second(struct rig *rig, int bad, int slow)
{
  record(rig, NINES_BASELINE, 89, NINES_SUCCESS, 10000000);
  record(rig, NINES_BASELINE, 1, NINES_FAILURE, 10000000);
  record(rig, NINES_CANARY, 10 - bad - slow, NINES_SUCCESS, 10000000);
  record(rig, NINES_CANARY, bad, NINES_FAILURE, 10000000);
  record(rig, NINES_CANARY, slow, NINES_SUCCESS, 30000000);
  wait_ns(rig, NS_PER_S);
}

static void from_records_to_verdicts(void **state)
{
  (void)state;
  struct rig *rig = rig_open(&defaults);
  for (int i = 0; i < 60; i++) a_second(rig, 0, 0);
  nines_canary_reading out = reading(rig);
  assert_int_equal(out.total[0], 0); // no rollout yet
  assert_true(out.slow_ns > 10000000 && out.slow_ns < 11000000);
  canary_begin(&rig->view, rig->now_ns);
  for (int i = 0; i < 60 && reading(rig).verdict == NINES_INCONCLUSIVE; i++) a_second(rig, 2, 0);
  out = reading(rig);
  assert_int_equal(out.verdict, NINES_FAIL);
  assert_string_equal(out.why, "errors");
  assert_true(out.p_value <= 0.05 && out.ratio > 15 && out.ratio < 20 && out.dispersion == 1);
  for (int i = 0; i < 100; i++) a_second(rig, 0, 0);
  assert_int_equal(reading(rig).verdict, NINES_FAIL); // final

  canary_begin(&rig->view, rig->now_ns);
  wait_ns(rig, BEAT_NS);
  out = reading(rig);
  assert_int_equal(out.verdict, NINES_INCONCLUSIVE);
  assert_string_equal(out.why, "undecided");
  assert_int_equal(out.total[0] + out.total[1] + out.bad[1], 0);
  for (int i = 0; i < 60 && reading(rig).verdict == NINES_INCONCLUSIVE; i++) a_second(rig, 0, 4);
  out = reading(rig);
  assert_int_equal(out.verdict, NINES_FAIL);
  assert_string_equal(out.why, "latency");
  assert_true(out.slow[1] > 0 && out.slow[0] == 0);

  canary_begin(&rig->view, rig->now_ns);
  for (int i = 0; i < 600 && reading(rig).verdict == NINES_INCONCLUSIVE; i++) a_second(rig, i % 10 == 0, 0);
  assert_int_equal(reading(rig).verdict, NINES_INCONCLUSIVE); // nothing is slow on either side: latency says nothing
}

static void settings_and_damage(void **state)
{
  (void)state;
  struct rig *rig = rig_open(&defaults);
  struct status status;
  static const struct {
    const char *field;
    nines_canary_config config;
  } bad[] = {
    { "alpha", { .alpha = 0.6 } },
    { "alpha", { .alpha = NAN } },
    { "beta", { .beta = -1 } },
    { "margin", { .margin = 0.5 } },
    { "bad", { .bad = 1 } },
    { "bad", { .margin = 3, .bad = 2 } },
    { "error_max", { .error_max = 100 } },
    { "share", { .share = 100 } },
    { "share", { .share = -1 } },
    { "latency_quantile", { .latency_quantile = 1 } },
    { "dispersion", { .dispersion = 0.5 } },
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    nines_canary_config config = bad[i].config;
    config.size = sizeof config;
    assert_int_equal(canary_set(&rig->canary, &config, false, rig->now_ns, &status), NINES_EINVAL);
    assert_non_null(strstr(status.text, bad[i].field));
  }
  assert_int_equal(canary_set(&rig->canary, &(nines_canary_config){ 0 }, false, rig->now_ns, &status), NINES_EINVAL);
  canary_begin(&rig->view, rig->now_ns);
  for (int i = 0; i < 20; i++) a_second(rig, 0, 0);
  nines_canary_reading before = reading(rig);
  nines_canary_config share = { .size = sizeof share, .share = 50 };
  assert_int_equal(canary_set(&rig->canary, &share, false, rig->now_ns, &status), 0);
  nines_canary_reading after = reading(rig);
  assert_memory_equal(before.total, after.total, sizeof before.total);
  assert_true(before.verdict == after.verdict && before.e_errors == after.e_errors && before.p_value == after.p_value);
  assert_true(canary_valid(&rig->canary));
  // A reboot: half a second into a tick, time starts anew.
  rig->now_ns += NS_PER_S / 2;
  canary_rebase(&rig->canary, rig->now_ns, 7 * NS_PER_S);
  rig->now_ns = 7 * NS_PER_S;
  for (int i = 0; i < 20 && reading(rig).verdict == NINES_INCONCLUSIVE; i++) a_second(rig, 0, 0);
  assert_int_equal(reading(rig).verdict, NINES_FAIL);
  assert_string_equal(reading(rig).why, "share"); // 10 % where 50 % should be
  assert_true(canary_valid(&rig->canary));
  memset((void *)&rig->canary, 0xff, sizeof rig->canary);
  assert_false(canary_valid(&rig->canary));
  memset((void *)&rig->canary, 0, sizeof rig->canary);
  assert_false(canary_valid(&rig->canary));
}

static void a_stripe_made_anew_is_no_flood(void **state)
{
  (void)state;
  struct rig *rig = rig_open(&defaults);
  for (int i = 0; i < 20; i++) a_second(rig, 0, 0);
  canary_begin(&rig->view, rig->now_ns);
  for (int i = 0; i < 5; i++) a_second(rig, 0, 0);
  memset((void *)&rig->stripe[2], 0, sizeof rig->stripe[2]);
  for (int i = 0; i < 5; i++) a_second(rig, 0, 0);
  assert_int_not_equal(reading(rig).verdict, NINES_FAIL);
  assert_true(reading(rig).total[1] < 1000 && canary_valid(&rig->canary));
}

// ---- Threads

enum { CALLS = 60000, THREADS = 3 };
struct caller {
  struct rig *rig;
  uint32_t writer;
};

static void *call(void *userdata)
{
  const struct caller *caller = userdata;
  for (int i = 0; i < CALLS; i++) {
    canary_record(&caller->rig->view, caller->writer, i % 10 == 0, i % 100 == 7, 1000 * (i % 5000));
    nines_canary_reading out;
    if (i % 1000 == 0) canary_read(&caller->rig->canary, &out);
    if (i % 20000 == 0) canary_begin(&caller->rig->view, 0);
  }
  return NULL;
}

static void threads(void **state)
{
  (void)state;
  struct rig *rig = rig_open(&defaults);
  struct caller caller[THREADS] = { { rig, WRITER_SHARED }, { rig, WRITER_SHARED }, { rig, WRITER_FIRST } };
  pthread_t thread[THREADS];
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, call, &caller[i]), 0);
  for (int i = 0; i < 200; i++) wait_ns(rig, NS_PER_S);
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  struct tally sum = { 0 };
  for (int i = 0; i < 3; i++)
    for (int arm = 0; arm < 2; arm++) sum = tally_add(sum, meter_tally(&rig->stripe[i].arm[arm]));
  assert_int_equal(sum.total, THREADS * CALLS);
  assert_int_equal(sum.bad, THREADS * CALLS / 100);
  canary_begin(&rig->view, rig->now_ns);
  wait_ns(rig, NS_PER_S);
  assert_int_equal(reading(rig).total[0], 0);
  assert_true(canary_valid(&rig->canary));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(e_values_by_definition),
    cmocka_unit_test(healthy_canaries_do_not_fail),
    cmocka_unit_test(worse_canaries_do),
    cmocka_unit_test(an_outage_of_both_is_no_reason_to_pass),
    cmocka_unit_test(without_errors_it_passes_when_error_max_is_refuted),
    cmocka_unit_test(from_records_to_verdicts),
    cmocka_unit_test(settings_and_damage),
    cmocka_unit_test(a_stripe_made_anew_is_no_flood),
    cmocka_unit_test(threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
