// A shedder against what was asked of it: shares of a mix, the throttle's formula, the latency rule, an overload.
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/seed.h"
#include "shedder.h"

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define BEAT_NS   (50 * NS_PER_MS)

struct fixture {
  struct shedder shedder;
  struct shedder_stripe stripe[WRITERS_MAX];
  _Atomic(struct shedder_stripe *) stripes[WRITERS_MAX];
  struct shedder_view view;
  uint64_t random;
};

static void add_writer(struct fixture *fixture, uint32_t writer)
{
  atomic_store(&fixture->stripes[writer], &fixture->stripe[writer]);
}

static void setup(struct fixture *fixture, const nines_shedder_config *config, uint64_t random)
{
  memset((void *)fixture, 0, sizeof *fixture);
  fixture->view = (struct shedder_view){ &fixture->shedder, fixture->stripes };
  fixture->random = random | 1;
  struct status status;
  assert_false(shedder_valid(&fixture->shedder));
  if (shedder_set(&fixture->shedder, config, true, &status) != 0) fail_msg("%s", status.text);
  assert_true(shedder_valid(&fixture->shedder));
  add_writer(fixture, WRITER_LOOP);
}

// ---- The share by hand ----

// What of each criticality is refused when `share` of all is, the least critical first.
static void expected_shares(const double mix[static CRITICALITIES], double share, double out[static CRITICALITIES])
{
  for (int i = 0; i < CRITICALITIES; i++) {
    double refused = fmin(share, mix[i]);
    out[i] = mix[i] > 0 ? refused / mix[i] : 0;
    share -= refused;
  }
}

static int draw_criticality(struct rng *rng, const double mix[static CRITICALITIES])
{
  double unit = rng_unit(rng);
  for (int i = 0; i < CRITICALITIES - 1; i++) {
    if (unit < mix[i]) return i;
    unit -= mix[i];
  }
  return CRITICALITIES - 1;
}

static void random_mix(struct rng *rng, double mix[static CRITICALITIES])
{
  double sum = 0;
  for (int i = 0; i < CRITICALITIES; i++) sum += mix[i] = rng_below(rng, 4) ? rng_unit(rng) : 0;
  if (sum == 0) sum = mix[2] = 1;
  for (int i = 0; i < CRITICALITIES; i++) mix[i] /= sum;
}

// The sampling error of the share in a run of n, and of the mix, which is measured over the last 10 s or so.
static double tolerance(double share, double n, double known)
{
  return 6 * sqrt(share * (1 - share) / n) + 6 * sqrt(0.25 / known) + 1e-3;
}

static double shed_a_mix(struct rng *rng)
{
  enum { PER_BEAT = 100, WARM = 800, BEATS = 1000 };
  static struct fixture fixture;
  double mix[CRITICALITIES], expected[CRITICALITIES], share = rng_below(rng, 8) ? rng_unit(rng) : 1;
  double asked[CRITICALITIES] = { 0 }, refused[CRITICALITIES] = { 0 }, all = 0;
  static const nines_shedder_config config = { .size = sizeof config, .throttle_k = -1 };
  setup(&fixture, &config, rng_next(rng));
  random_mix(rng, mix);
  expected_shares(mix, share, expected);
  shedder_put(&fixture.shedder, share * 100);
  for (int beat = 0; beat < WARM + BEATS; beat++) {
    int64_t now_ns = beat * BEAT_NS;
    for (int i = 0; i < PER_BEAT; i++) {
      int criticality = draw_criticality(rng, mix);
      nines_permit permit = shedder_ask(&fixture.view, WRITER_LOOP, criticality, now_ns, &fixture.random);
      if (beat < WARM) continue;
      asked[criticality]++;
      refused[criticality] += !nines_permitted(permit);
      all += !nines_permitted(permit);
    }
    shedder_fold(&fixture.view, now_ns);
  }
  double known = 2 * 10 * PER_BEAT * 20, n = BEATS * PER_BEAT; // an exponential memory of 10 s is worth 20 s
  double off = fabs(all / n - share);
  assert_true(off <= tolerance(share, n, known));
  if (share >= 1) assert_true(all >= n); // all is all
  for (int i = 0; i < CRITICALITIES; i++)
    if (asked[i] > 0)
      assert_true(fabs(refused[i] / asked[i] - expected[i]) <= tolerance(expected[i], asked[i], known) / mix[i]);
  return off;
}

static void what_is_asked_is_shed_least_critical_first(void **state)
{
  (void)state;
  struct rng rng = seed_fixed("shedder_mixes");
  double worst = 0;
  for (int run = 0; run < 30; run++) worst = fmax(worst, shed_a_mix(&rng));
  print_message("30 mixes: the share of all is at most %.2f points off\n", worst * 100);
}

static void a_put_holds_at_once(void **state)
{
  (void)state;
  static struct fixture fixture;
  setup(&fixture, NULL, 1);
  shedder_put(&fixture.shedder, 40); // nothing known of the mix: a quarter each
  assert_true(fabs(shedder_share(&fixture.shedder, NINES_SHEDDABLE) - 100) < 1e-6);
  assert_true(fabs(shedder_share(&fixture.shedder, NINES_SHEDDABLE_PLUS) - 60) < 1e-6);
  assert_true(shedder_share(&fixture.shedder, NINES_CRITICAL) == 0);
  shedder_put(&fixture.shedder, 1e9);
  for (int i = -1; i < 6; i++) {
    assert_true(shedder_share(&fixture.shedder, i) == 100);
    nines_permit permit = shedder_ask(&fixture.view, 0, i, 5, &fixture.random);
    assert_false(nines_permitted(permit));
    assert_true(permit.at_ns >= 5 + 30 * NS_PER_S && permit.at_ns <= 5 + 90 * NS_PER_S);
  }
  assert_int_equal(shedder_refused(&fixture.view, NINES_SHEDDABLE), 2);
  assert_int_equal(shedder_refused(&fixture.view, NINES_CRITICAL_PLUS), 3);
  assert_true(shedder_read(&fixture.shedder).by_hand == 100);
  shedder_fold(&fixture.view, 5);
  assert_true(shedder_read(&fixture.shedder).by_throttle == 0); // the backend is not at fault
  shedder_put(&fixture.shedder, NAN);
  for (int i = 0; i < CRITICALITIES; i++) assert_true(shedder_share(&fixture.shedder, i) == 0);
  assert_int_equal(shedder_ask(&fixture.view, 0, 2, 77, &fixture.random).at_ns, 77);
}

// ---- The throttle ----

// Every request that counts, with its time and writer.
enum { EVENTS_MAX = 1 << 14 };
struct oracle {
  int64_t begin_ns[WRITERS_MAX], slice_ns;
  bool begun[WRITERS_MAX];
  size_t first, end;
  struct {
    int64_t at_ns;
    uint32_t writer;
    int accepts;
  } event[EVENTS_MAX];
};

static void oracle_count(struct oracle *oracle, uint32_t writer, int accepts, int64_t now_ns)
{
  if (!oracle->begun[writer]) oracle->begin_ns[writer] = now_ns;
  oracle->begun[writer] = true;
  while (oracle->first < oracle->end &&
         oracle->event[oracle->first % EVENTS_MAX].at_ns < now_ns - 11 * oracle->slice_ns)
    oracle->first++;
  assert_true(oracle->end - oracle->first < EVENTS_MAX);
  size_t at = oracle->end++ % EVENTS_MAX;
  oracle->event[at].at_ns = now_ns;
  oracle->event[at].writer = writer;
  oracle->event[at].accepts = accepts;
}

static double oracle_throttle(const struct oracle *oracle, double k, double most, int64_t now_ns)
{
  double requests = 0, accepts = 0;
  for (size_t i = oracle->first; i < oracle->end; i++) {
    size_t at = i % EVENTS_MAX;
    int64_t begin_ns = oracle->begin_ns[oracle->event[at].writer];
    if ((oracle->event[at].at_ns - begin_ns) / oracle->slice_ns <= (now_ns - begin_ns) / oracle->slice_ns - 10)
      continue;
    requests++;
    accepts += oracle->event[at].accepts;
  }
  return fmin(most, 100 * fmax(0, (requests - k * accepts) / (requests + 1)));
}

static void throttle_walk(struct rng *rng, const nines_shedder_config *config, int steps)
{
  static struct fixture fixture;
  static struct oracle oracle;
  static const uint32_t writers[] = { WRITER_LOOP, WRITER_SHARED, WRITER_FIRST, WRITERS_MAX - 1 };
  setup(&fixture, config, rng_next(rng));
  for (int i = 0; i < 4; i++) add_writer(&fixture, writers[i]);
  oracle = (struct oracle){ .slice_ns = config->throttle_window_ns / 10 };
  oracle.begun[WRITER_SHARED] = true; // by the first fold, at 0
  double health = 1;
  shedder_fold(&fixture.view, 0);
  for (int64_t i = 1, now_ns = 0; i <= steps; i++) {
    now_ns += (int64_t)rng_below(rng, 2 * NS_PER_MS);
    if (rng_below(rng, 2000) == 0) health = rng_unit(rng);
    uint32_t writer = writers[rng_below(rng, 4)];
    shedder_fold(&fixture.view, now_ns); // the shared stripe turns here only
    nines_permit permit =
        shedder_ask(&fixture.view, writer, (int)rng_below(rng, CRITICALITIES), now_ns, &fixture.random);
    if (!nines_permitted(permit)) {
      oracle_count(&oracle, writer, 0, now_ns);
      continue;
    }
    int outcome = rng_below(rng, 10) == 0 ? NINES_IGNORED : rng_unit(rng) < health ? NINES_SUCCESS : NINES_FAILURE;
    shedder_done(&fixture.view, writer, permit, outcome, now_ns);
    if (outcome != NINES_IGNORED) oracle_count(&oracle, writer, outcome == NINES_SUCCESS, now_ns);
    if (rng_below(rng, 20)) continue;
    shedder_fold(&fixture.view, now_ns);
    double most = config->throttle_max > 0 ? config->throttle_max : 90;
    double expected = oracle_throttle(&oracle, config->throttle_k, most, now_ns);
    double got = shedder_read(&fixture.shedder).by_throttle;
    if (fabs(got - expected) > 1e-3) fail_msg("at %" PRId64 ": %g %%, expected %g", now_ns, got, expected);
  }
}

static void the_throttle_is_the_formula(void **state)
{
  (void)state;
  struct rng rng = seed_stream("shedder_throttle");
  nines_shedder_config config = { .size = sizeof config, .throttle_k = 2, .throttle_window_ns = NS_PER_S };
  throttle_walk(&rng, &config, 300000);
  config.throttle_k = 1.1;
  config.throttle_max = 50;
  config.throttle_window_ns = 4 * NS_PER_S;
  throttle_walk(&rng, &config, 150000);
}

// Where all are critical, they are throttled; calls in flight are no evidence.
static void a_dead_backend_gets_a_tenth(void **state)
{
  (void)state;
  struct rng rng = seed_fixed("shedder_dead");
  static struct fixture fixture;
  setup(&fixture, NULL, rng_next(&rng));
  for (int i = 0; i < 1000; i++) shedder_ask(&fixture.view, 0, NINES_CRITICAL, 0, &fixture.random);
  shedder_fold(&fixture.view, 0);
  assert_true(shedder_share(&fixture.shedder, NINES_CRITICAL) == 0); // a thousand in flight
  int sent = 0, calls = 0;
  for (int64_t ms = 1; ms <= 300000; ms++) {
    nines_permit permit = shedder_ask(&fixture.view, 0, NINES_CRITICAL, ms * NS_PER_MS, &fixture.random);
    shedder_done(&fixture.view, 0, permit, NINES_FAILURE, ms * NS_PER_MS); // refused: ignored
    calls += ms > 10000;
    sent += ms > 10000 && nines_permitted(permit);
    if (ms % 50 == 0) shedder_fold(&fixture.view, ms * NS_PER_MS);
  }
  print_message("of a dead backend's calls %.2f %% are sent\n", 100.0 * sent / calls);
  assert_true(fabs((double)sent / calls - 0.1) < 0.01);
  int64_t healed_ns = 0; // it is back
  for (int64_t ms = 300001; ms <= 600000 && !healed_ns; ms++) {
    nines_permit permit = shedder_ask(&fixture.view, 0, NINES_CRITICAL, ms * NS_PER_MS, &fixture.random);
    shedder_done(&fixture.view, 0, permit, NINES_SUCCESS, ms * NS_PER_MS);
    if (ms % 50 == 0) shedder_fold(&fixture.view, ms * NS_PER_MS);
    if (shedder_share(&fixture.shedder, NINES_CRITICAL) == 0) healed_ns = ms * NS_PER_MS;
  }
  assert_true(healed_ns > 0);
  print_message("once it is back, nothing is throttled after %.1f s\n",
                (double)(healed_ns - 300 * NS_PER_S) / (double)NS_PER_S);
}

// ---- The latency rule ----

static void slow_seconds_shed_more(void **state)
{
  (void)state;
  struct rng rng = seed_stream("shedder_latency");
  static struct fixture fixture;
  const nines_shedder_config config = { .size = sizeof config, .throttle_k = -1, .latency_target_ns = 10 * NS_PER_MS };
  setup(&fixture, &config, rng_next(&rng));
  double expected = 0;
  int64_t now_ns = 0;
  shedder_fold(&fixture.view, now_ns);
  for (int second = 0; second < 5000; second++) {
    uint64_t calls = rng_below(&rng, 3) ? rng_below(&rng, 20) : 0, ended = 0, let_in = 0;
    bool hangs = rng_below(&rng, 4) == 0, slow = rng_below(&rng, second / 500 % 2 ? 3 : 20) == 0;
    double sum_ns = 0;
    for (uint64_t i = 0; i < calls; i++) {
      nines_permit permit = shedder_ask(&fixture.view, 0, NINES_CRITICAL_PLUS, now_ns, &fixture.random);
      let_in += (uint64_t)nines_permitted(permit);
      if (hangs || !nines_permitted(permit)) continue;
      int64_t latency_ns = (int64_t)rng_below(&rng, (slow ? 40 : 18) * (uint64_t)NS_PER_MS);
      shedder_done(&fixture.view, 0, permit, (int)rng_below(&rng, 2), now_ns + latency_ns);
      sum_ns += (double)latency_ns;
      ended++;
    }
    now_ns += NS_PER_S / 2;
    shedder_fold(&fixture.view, now_ns); // not yet
    now_ns += NS_PER_S / 2;
    shedder_fold(&fixture.view, now_ns);
    if (ended && floor(sum_ns / (double)ended) > 10e6)
      expected = fmin(95, expected + 5);
    else if (ended || !let_in)
      expected = fmax(0, expected - 1);
    assert_true(fabs(shedder_read(&fixture.shedder).by_latency - expected) < 1e-9);
  }
}

// ---- Fullness ----

static void the_fuller_the_more_important(void **state)
{
  (void)state;
  static const struct {
    double fullness;
    int least; // criticality that is still let in
  } cases[] = { { 0, 0 },    { 0.49, 0 }, { 0.5, 1 }, { 0.69, 1 }, { 0.7, 2 },
                { 0.94, 2 }, { 0.95, 3 }, { 5, 3 },   { NAN, 0 },  { -1, 0 } };
  static struct fixture fixture;
  setup(&fixture, NULL, 1);
  uint64_t refused = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    shedder_load(&fixture.shedder, cases[i].fullness);
    for (int criticality = 0; criticality < CRITICALITIES; criticality++) {
      bool let_in = nines_permitted(shedder_ask(&fixture.view, 0, criticality, 5, &fixture.random));
      assert_int_equal(let_in, criticality >= cases[i].least);
      assert_true(shedder_share(&fixture.shedder, criticality) == (let_in ? 0 : 100));
      refused += !let_in && criticality == 0;
    }
  }
  assert_int_equal(shedder_refused(&fixture.view, 0), refused);
}

// ---- An overload ----

// A server of so many requests a second with a queue of half a second: what finds it full is turned away at once. The
// offered load is three times what it can do: 10 % critical plus, 10 % critical, 40 % of each sheddable.
struct server {
  int64_t free_ns; // when all that is queued is done
  int64_t service_ns, queue_ns;
};
struct outcome {
  double asked[CRITICALITIES], good[CRITICALITIES], onset_asked, onset_good;
};
enum { FLYING_MAX = 4096, CAPACITY = 500, OVERLOAD_S = 240, ONSET_S = 40 };

static struct outcome overload(struct rng *rng, const nines_shedder_config *config, double by_hand, bool by_fullness)
{
  static const double mix[CRITICALITIES] = { 0.4, 0.4, 0.1, 0.1 };
  static struct fixture fixture;
  static struct {
    nines_permit permit;
    int64_t end_ns;
  } flying[FLYING_MAX]; // first in, first out
  size_t first = 0, end = 0;
  struct server server = { 0, NS_PER_S / CAPACITY, NS_PER_S / 2 };
  struct outcome outcome = { 0 };
  int64_t fold_ns = 0;
  setup(&fixture, config, rng_next(rng));
  shedder_put(&fixture.shedder, by_hand);
  for (int64_t now_ns = 0; now_ns < OVERLOAD_S * NS_PER_S;
       now_ns += (int64_t)rng_exponential(rng, (double)server.service_ns / 3)) {
    for (; first < end && flying[first % FLYING_MAX].end_ns <= now_ns; first++)
      shedder_done(&fixture.view, 0, flying[first % FLYING_MAX].permit, NINES_SUCCESS,
                   flying[first % FLYING_MAX].end_ns);
    for (; fold_ns <= now_ns; fold_ns += BEAT_NS) shedder_fold(&fixture.view, fold_ns);
    int criticality = draw_criticality(rng, mix);
    double waiting_ns = (double)(server.free_ns - now_ns);
    if (by_fullness) shedder_load(&fixture.shedder, waiting_ns / (double)server.queue_ns);
    nines_permit permit = shedder_ask(&fixture.view, 0, criticality, now_ns, &fixture.random);
    bool good = nines_permitted(permit) && server.free_ns - now_ns <= server.queue_ns;
    if (good) {
      server.free_ns = (server.free_ns > now_ns ? server.free_ns : now_ns) + server.service_ns;
      assert_true(end - first < FLYING_MAX);
      flying[end % FLYING_MAX].permit = permit;
      flying[end++ % FLYING_MAX].end_ns = server.free_ns;
    } else if (nines_permitted(permit)) {
      shedder_done(&fixture.view, 0, permit, NINES_FAILURE, now_ns);
    }
    if (now_ns >= ONSET_S * NS_PER_S) {
      outcome.asked[criticality]++;
      outcome.good[criticality] += good;
    } else if (criticality >= NINES_CRITICAL) {
      outcome.onset_asked++;
      outcome.onset_good += good;
    }
  }
  return outcome;
}

static double print_outcome(const char *what, const struct outcome *outcome)
{
  double percent[CRITICALITIES];
  for (int i = 0; i < CRITICALITIES; i++) percent[i] = 100 * outcome->good[i] / outcome->asked[i];
  print_message("%s: served %.2f %% of sheddable, %.2f %% of plus, %.3f %% of critical, %.3f %% of plus; "
                "critical in the first %d s: %.1f %%\n",
                what, percent[0], percent[1], percent[2], percent[3], ONSET_S,
                100 * outcome->onset_good / outcome->onset_asked);
  return fmin(percent[2], percent[3]);
}

static void critical_requests_survive_an_overload(void **state)
{
  (void)state;
  struct rng rng = seed_fixed("shedder_overload");
  nines_shedder_config config = { .size = sizeof config, .throttle_k = -1 };
  struct outcome without = overload(&rng, &config, 0, false);
  struct outcome by_hand = overload(&rng, &config, 70, false);
  struct outcome fullness = overload(&rng, &config, 0, true);
  config.latency_target_ns = 50 * NS_PER_MS;
  struct outcome latency = overload(&rng, &config, 0, false);
  config.throttle_k = 2;
  struct outcome both = overload(&rng, &config, 0, false);
  config.latency_target_ns = 0;
  struct outcome throttle = overload(&rng, &config, 0, false);
  assert_true(print_outcome("nothing", &without) < 90);
  assert_true(print_outcome("70 % by hand", &by_hand) >= 99.9);
  assert_true(by_hand.onset_good >= 0.999 * by_hand.onset_asked);
  assert_true(print_outcome("fullness", &fullness) >= 99.9);
  assert_true(fullness.onset_good >= 0.999 * fullness.onset_asked); // from the first moment
  assert_true(print_outcome("latency", &latency) >= 99);            // it lets go a point too far now and then
  assert_true(print_outcome("latency, throttle", &both) >= 99);
  print_outcome("throttle", &throttle); // K = 2 lets the backend refuse half of what it gets: no protection by itself
}

// ---- Settings ----

static void bad_configs(void **state)
{
  (void)state;
  struct shedder shedder = { 0 };
  struct status status;
#define REFUSED(field, value, sentence)                                                                                \
  do {                                                                                                                 \
    nines_shedder_config config = { .size = sizeof config };                                                           \
    config.field = (value);                                                                                            \
    assert_int_equal(shedder_set(&shedder, &config, true, &status), NINES_EINVAL);                                     \
    assert_string_equal(status.text, sentence);                                                                        \
    assert_false(shedder_valid(&shedder));                                                                             \
  } while (0)
  REFUSED(size, 0, "size is 0, must be sizeof(nines_shedder_config)");
  REFUSED(throttle_k, 0.5, "throttle_k is 0.5, must be 1 to 1000; 0: 2; negative: never");
  REFUSED(throttle_k, NAN, "throttle_k is nan, must be 1 to 1000; 0: 2; negative: never");
  REFUSED(throttle_window_ns, 1000, "throttle_window_ns is 1000, must be 1000000000 to 3600000000000; 0: the default");
  REFUSED(throttle_max, 101, "throttle_max is 101, must be above 0 to 100 percent; 0: 90");
  REFUSED(throttle_max, -1, "throttle_max is -1, must be above 0 to 100 percent; 0: 90");
  REFUSED(latency_target_ns, -1, "latency_target_ns is -1, must be 1 to 3600000000000; 0: the default");
  REFUSED(retry_after_ns, -1, "retry_after_ns is -1, must be 1 to 86400000000000; 0: the default");
  REFUSED(retry_jitter, 1.5, "retry_jitter is 1.5, must be above 0 to 1; 0: 0.5; negative: none");
  REFUSED(retry_jitter, NAN, "retry_jitter is nan, must be above 0 to 1; 0: 0.5; negative: none");
}

static void fail_calls(struct fixture *fixture, int calls, int64_t now_ns)
{
  for (int i = 0; i < calls; i++) shedder_done(&fixture->view, 0, (nines_permit){ now_ns, 1 }, NINES_FAILURE, now_ns);
}

static void settings_change_and_counts_stay(void **state)
{
  (void)state;
  static struct fixture fixture;
  nines_shedder_config config = { .size = sizeof config, .retry_jitter = -1, .retry_after_ns = 500 };
  setup(&fixture, &config, 1);
  shedder_put(&fixture.shedder, 100);
  assert_int_equal(shedder_ask(&fixture.view, 0, 1, 1000, &fixture.random).at_ns, 1500); // no jitter
  fail_calls(&fixture, 98, 1000);
  shedder_fold(&fixture.view, 1000);
  assert_true(fabs(shedder_read(&fixture.shedder).by_throttle - 90) < 1e-9);
  config.throttle_max = 99.5;
  config.throttle_window_ns = 20 * NS_PER_S;
  assert_int_equal(shedder_set(&fixture.shedder, &config, false, NULL), 0);
  assert_int_equal(shedder_set(&fixture.shedder, NULL, false, NULL), 0);
  fail_calls(&fixture, 1, 2000); // reshapes the writer's window
  shedder_fold(&fixture.view, 3000);
  assert_true(fabs(shedder_read(&fixture.shedder).by_throttle - 99) < 1e-3);
  assert_true(shedder_read(&fixture.shedder).by_hand == 100);
  assert_int_equal(shedder_refused(&fixture.view, 1), 1);
  shedder_fold(&fixture.view, 21 * NS_PER_S); // and it has the new span
  assert_true(shedder_read(&fixture.shedder).by_throttle == 0);
  config = (nines_shedder_config){ .size = offsetof(nines_shedder_config, throttle_window_ns), .throttle_k = 3 };
  config.retry_after_ns = -1; // of before there was one
  assert_int_equal(shedder_set(&fixture.shedder, &config, false, NULL), 0);
}

static void a_reboot_keeps_what_was_counted(void **state)
{
  (void)state;
  static struct fixture fixture;
  const nines_shedder_config config = { .size = sizeof config, .latency_target_ns = 5 };
  int64_t now_ns = 1000 * NS_PER_S;
  setup(&fixture, &config, 1);
  shedder_fold(&fixture.view, now_ns - 2 * NS_PER_S);
  for (int i = 0; i < 9; i++) shedder_ask(&fixture.view, 0, NINES_CRITICAL, now_ns, &fixture.random);
  for (int i = 0; i < 9; i++) shedder_done(&fixture.view, 0, (nines_permit){ now_ns - 100, 1 }, NINES_FAILURE, now_ns);
  shedder_fold(&fixture.view, now_ns);
  shedder_rebase(&fixture.view, now_ns, 7);
  assert_true(shedder_valid(&fixture.shedder));
  shedder_fold(&fixture.view, 7 + BEAT_NS);
  assert_true(shedder_read(&fixture.shedder).by_throttle == 90);
  assert_true(shedder_read(&fixture.shedder).by_latency == 5);
  assert_true(shedder_share(&fixture.shedder, NINES_SHEDDABLE) == 100);
  assert_true(fabs(shedder_share(&fixture.shedder, NINES_CRITICAL) - 90) < 1e-3);
  shedder_fold(&fixture.view, 7 + NS_PER_S); // a quiet second by the new clock
  assert_true(fabs(shedder_read(&fixture.shedder).by_latency - 4) < 1e-9);
  shedder_fold(&fixture.view, 7 + 121 * NS_PER_S);
  assert_true(shedder_read(&fixture.shedder).by_throttle == 0);
}

static void damage_is_no_crash(void **state)
{
  (void)state;
  struct rng rng = seed_stream("shedder_damage");
  static struct fixture fixture;
  for (int i = 0; i < 20000; i++) {
    setup(&fixture, NULL, rng_next(&rng));
    add_writer(&fixture, WRITER_SHARED);
    for (size_t b = 0; b < sizeof fixture.shedder; b += 8) {
      uint64_t word = rng_below(&rng, 4) ? rng_next(&rng) >> rng_below(&rng, 64) : 0;
      memcpy((char *)&fixture.shedder + b, &word, 8);
    }
    fixture.shedder.apart.distance = 0; // which the engine sets at each start
    apart_default(&fixture.shedder.apart, &fixture.shedder.own);
    for (int64_t step = 0, now_ns = 0; step < 3; step++, now_ns += (int64_t)rng_below(&rng, 3 * (uint64_t)NS_PER_S)) {
      for (uint32_t writer = 0; writer < 2; writer++) {
        nines_permit permit = shedder_ask(&fixture.view, writer, (int)rng_below(&rng, 6), now_ns, &fixture.random);
        shedder_done(&fixture.view, writer, permit, (int)rng_below(&rng, 3), now_ns);
      }
      shedder_fold(&fixture.view, now_ns);
      for (int c = 0; c < CRITICALITIES; c++) {
        double share = shedder_share(&fixture.shedder, c);
        assert_true(share >= 0 && share <= 100);
      }
    }
  }
}

// ---- Threads ----

struct worker {
  struct fixture *fixture;
  uint32_t writer;
  uint64_t refused[CRITICALITIES], ended;
};

static void *work(void *argument)
{
  struct worker *worker = argument;
  const struct shedder_view *view = &worker->fixture->view;
  uint64_t random = worker->writer + 999;
  for (int i = 0; i < 100000; i++) {
    int criticality = i % CRITICALITIES;
    nines_permit permit = shedder_ask(view, worker->writer, criticality, i * 1000, &random);
    worker->refused[criticality] += !nines_permitted(permit);
    worker->ended += (uint64_t)nines_permitted(permit);
    shedder_done(view, worker->writer, permit, i % 3 == 0, i * 1000);
  }
  return NULL;
}

static void threads_lose_no_count(void **state)
{
  (void)state;
  static struct fixture fixture;
  static const uint32_t writers[] = { WRITER_SHARED, WRITER_SHARED, WRITER_FIRST, WRITER_FIRST + 1 };
  struct worker worker[4];
  pthread_t thread[4];
  setup(&fixture, NULL, 1);
  for (int i = 0; i < 4; i++) add_writer(&fixture, writers[i]);
  for (int i = 0; i < 4; i++) {
    worker[i] = (struct worker){ .fixture = &fixture, .writer = writers[i] };
    assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
  }
  for (int i = 0; i < 1000; i++) {
    shedder_fold(&fixture.view, i * 100 * 1000);
    shedder_put(&fixture.shedder, i % 7 * 10);
    shedder_read(&fixture.shedder);
  }
  uint64_t refused[CRITICALITIES] = { 0 }, all = 0, ended = 0, got = 0;
  for (int i = 0; i < 4; i++) {
    pthread_join(thread[i], NULL);
    ended += worker[i].ended;
    for (int c = 0; c < CRITICALITIES; c++) refused[c] += worker[i].refused[c];
  }
  for (int c = 0; c < CRITICALITIES; c++) {
    assert_int_equal(shedder_refused(&fixture.view, c), refused[c]);
    all += refused[c];
  }
  for (int w = 0; w < WRITERS_MAX; w++) {
    got += fixture.stripe[w].ended;
    assert_true(stripe_valid(&fixture.stripe[w].stripe));
  }
  assert_int_equal(got, ended);
  assert_int_equal(all + ended, 400000);
  print_message("%" PRIu64 " of 400000 refused\n", all);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_asked_is_shed_least_critical_first),
    cmocka_unit_test(a_put_holds_at_once),
    cmocka_unit_test(the_throttle_is_the_formula),
    cmocka_unit_test(a_dead_backend_gets_a_tenth),
    cmocka_unit_test(slow_seconds_shed_more),
    cmocka_unit_test(the_fuller_the_more_important),
    cmocka_unit_test(critical_requests_survive_an_overload),
    cmocka_unit_test(bad_configs),
    cmocka_unit_test(settings_change_and_counts_stay),
    cmocka_unit_test(a_reboot_keeps_what_was_counted),
    cmocka_unit_test(damage_is_no_crash),
    cmocka_unit_test(threads_lose_no_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
