// The tail against exact sums and known values, the state machine rule by rule, and the promise about false alarms.
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "breach.h"
#include "burn.h"
#include "core/seed.h"

#define NS_PER_S INT64_C(1000000000)
#define BEAT_NS  (NS_PER_S / 20)

static void assert_close(double got, long double expected)
{
  if (expected < 1e-300L) {
    assert_true(got < 1e-299);
  } else if (fabsl(got - expected) > 1e-9L * expected) {
    fail_msg("got %.17g, expected %.17Lg", got, expected);
  }
}

static void tail_known_values(void **state)
{
  (void)state;
  // Summed with 60 digits, p as the double it is.
  static const struct {
    uint64_t total, bad;
    double p, tail;
  } known[] = {
    { 3, 3, 0.001, 1.00000000000000006e-09 },
    { 2, 2, 0.001, 9.99999999999999955e-07 },
    { 100, 4, 0.001, 3.63168170077256181e-06 },
    { 50, 49, 0.999, 9.98813517496182079e-01 },
    { 60000, 60, 0.001, 5.17195003443064349e-01 },
    { 60000, 100, 0.001, 1.46171528658102002e-06 },
    { 1000000, 1200, 0.001, 4.58963860610077047e-10 },
    { 17280000, 8700, 0.0005, 2.60652388826929649e-01 },
    { 1000000000, 10, 1e-9, 1.11425474283612325e-07 },
    { 1000000000, 100, 1e-9, 3.98126150385938507e-159 },
    { 1000000000, 990000, 0.001, 1 },
    { 1000000000, 1000000, 0.001, 5.00133180348454109e-01 },
    { 1000000000, 1005000, 0.001, 2.89620690194206533e-07 },
    { 1000000000, 1036000, 0.001, 4.62147417927856097e-281 },
    { 1000000000, 500100000, 0.5, 1.27007417987728341e-10 },
    { 1000000000, 500450000, 0.5, 1.80815420507432768e-178 },
    { 1000000000, 999999000, 0.999999, 5.08409366805765317e-01 },
  };
  double worst = 0;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    double tail = breach_tail(known[i].total, known[i].bad, known[i].p);
    assert_close(tail, known[i].tail);
    worst = fmax(worst, fabs(tail / known[i].tail - 1));
  }
  print_message("worst relative error on known values: %.2g\n", worst);
}

// All terms from 0 on by their recurrence, in long double, which reaches down to 1e-4932; the tails from the far end.
static void check_grid_row(uint64_t total, double p)
{
  enum { TERMS = 20001 };
  static long double tail[TERMS + 1];
  size_t last = total < TERMS - 1 ? (size_t)total : TERMS - 1;
  long double term = expl((long double)total * log1pl(-(long double)p));
  long double odds = (long double)p / (1 - (long double)p);
  for (size_t x = 0; x <= last; x++) {
    tail[x] = term;
    term *= (long double)(total - x) / (long double)(x + 1) * odds;
  }
  tail[last + 1] = 0;
  for (size_t x = last + 1; x-- > 0;) tail[x] += tail[x + 1];
  size_t stride = last / 400 + 1;
  for (size_t x = 0; x <= last; x += stride) {
    assert_close(breach_tail(total, x, p), tail[x]);
    double share = (double)x / (double)total;
    bool far_from_alpha = fabsl(tail[x] / BREACH_ALPHA - 1) > 1e-6L;
    if (far_from_alpha) assert_int_equal(breach_test(total, x, p), share > p && tail[x] < BREACH_ALPHA);
  }
}

static void tail_matches_exact_sums(void **state)
{
  (void)state;
  if (LDBL_MIN_EXP > -16000) skip(); // no long double with the range for the oracle
  static const uint64_t total[] = { 1, 2, 3, 5, 10, 33, 100, 1000, 5000 };
  static const double p[] = { 1e-9, 1e-6, 0.0001, 0.001, 0.01, 0.05, 0.3, 0.5, 0.7, 0.9, 0.99 };
  for (size_t i = 0; i < sizeof total / sizeof *total; i++)
    for (size_t j = 0; j < sizeof p / sizeof *p; j++)
      if ((double)total[i] * log1p(-p[j]) > -11000) check_grid_row(total[i], p[j]);
  check_grid_row(60000, 0.001);
  check_grid_row(60000, 0.05);
  check_grid_row(1000000, 0.001);
  check_grid_row(1000000, 0.005);
  check_grid_row(1000000000, 1e-8);
  check_grid_row(1000000000, 1e-6);
  check_grid_row(1000000000, 9e-6);
}

static void tail_edges(void **state)
{
  (void)state;
  assert_true(breach_tail(0, 0, 0.1) == 1);
  assert_true(breach_tail(10, 0, 0) == 1);
  assert_true(breach_tail(10, 1, 0) == 0);
  assert_true(breach_tail(10, 11, 0.5) == 0);
  assert_true(breach_tail(1000000000, 1000000000, 0.001) == 0);
  assert_true(breach_tail(1000000000, 1, 0.999999) == 1);
  assert_close(breach_tail(1, 1, 0.25), 0.25L);
}

static void test_is_the_tail_against_alpha(void **state)
{
  (void)state;
  struct rng rng = seed_stream("breach_test");
  int breaches = 0;
  for (int i = 0; i < 200000; i++) {
    uint64_t total = 1 + (uint64_t)exp(rng_unit(&rng) * 16);
    double allowed = exp(-rng_unit(&rng) * 12);
    double mean = (double)total * allowed;
    uint64_t bad = (uint64_t)(mean + sqrt(mean) * rng_unit(&rng) * 8 + (double)rng_below(&rng, 4));
    if (bad > total) bad = total;
    double tail = breach_tail(total, bad, allowed);
    if (fabs(tail / BREACH_ALPHA - 1) < 1e-6) continue;
    bool expected = (double)bad > allowed * (double)total && tail < BREACH_ALPHA;
    assert_int_equal(breach_test(total, bad, allowed), expected);
    breaches += expected;
  }
  assert_in_range(breaches, 20000, 180000);
}

static void test_edges(void **state)
{
  (void)state;
  assert_false(breach_test(0, 0, 0.001));
  assert_false(breach_test(1000, 0, 0));
  assert_true(breach_test(1000, 1, 0)); // 100 %: one is a breach
  assert_false(breach_test(1000, 1000, 1));
  assert_false(breach_test(1000, 1000, NAN));
  assert_false(breach_test(1000, 1, 0.001)); // exactly at the objective
  assert_false(breach_test(1, 1, 0.001));
  assert_false(breach_test(2, 2, 0.001)); // exactly alpha
  assert_true(breach_test(3, 3, 0.001));
  assert_true(breach_test(3, 4, 0.001)); // a torn pair counts as all bad
  assert_true(breach_test(1000000000, 1000000000, 0.001));
  assert_false(breach_test(1000000000, 1000001, 0.001));
}

static enum breach_change feed(struct breach *breach, int64_t now_ns, uint64_t total, uint64_t bad,
                               uint64_t recovery_total, uint64_t recovery_bad)
{
  struct breach_reading reading = { total, bad, recovery_total, recovery_bad, 0.001, 10 };
  return breach_feed(breach, now_ns, &reading);
}

static void feed_goes_through_an_episode(void **state)
{
  (void)state;
  struct breach breach = { 0 };
  assert_int_equal(feed(&breach, 1, 0, 0, 0, 0), BREACH_SAME);
  assert_int_equal(breach.state, BREACH_NO_DATA);
  assert_int_equal(feed(&breach, 2, 10, 1, 10, 1), BREACH_SAME); // neither met nor a breach
  assert_int_equal(breach.state, BREACH_NO_DATA);
  assert_int_equal(feed(&breach, 3, 2000, 1, 10, 1), BREACH_SAME);
  assert_int_equal(breach.state, BREACH_HEALTHY);
  assert_int_equal(breach.since_ns, 3);
  assert_int_equal(breach.episode, 0);
  assert_int_equal(feed(&breach, 4, 2003, 9, 13, 9), BREACH_SAME); // worse, and could be chance
  assert_int_equal(feed(&breach, 5, 2100, 60, 100, 60), BREACH_BEGAN);
  assert_int_equal(breach.state, BREACH_BREACHED);
  assert_int_equal(breach.episode, 1);
  assert_int_equal(breach.since_ns, 5);
  assert_int_equal(feed(&breach, 6, 2200, 90, 100, 90), BREACH_SAME);
  assert_int_equal(feed(&breach, 7, 0, 0, 0, 0), BREACH_SAME);        // silence
  assert_int_equal(feed(&breach, 8, 2200, 90, 0, 0), BREACH_SAME);    // silence in the recovery window
  assert_int_equal(feed(&breach, 9, 2200, 90, 9, 0), BREACH_SAME);    // too few
  assert_int_equal(feed(&breach, 10, 2200, 90, 999, 1), BREACH_SAME); // not met
  assert_int_equal(breach.since_ns, 5);
  assert_int_equal(feed(&breach, 11, 2200, 90, 1000, 1), BREACH_ENDED);
  assert_int_equal(breach.state, BREACH_HEALTHY);
  assert_int_equal(breach.since_ns, 11);
  // The outage still is in the window: neither good traffic nor silence brings it back.
  assert_int_equal(feed(&breach, 12, 2200, 90, 1000, 1), BREACH_SAME);
  assert_int_equal(feed(&breach, 13, 2200, 90, 0, 0), BREACH_SAME);
  assert_int_equal(breach.state, BREACH_HEALTHY);
  assert_int_equal(feed(&breach, 14, 100, 60, 100, 60), BREACH_BEGAN);
  assert_int_equal(breach.episode, 2);
}

static void first_reading_can_be_a_breach(void **state)
{
  (void)state;
  struct breach breach = { 0 };
  assert_int_equal(feed(&breach, 1, 2, 2, 2, 2), BREACH_SAME);
  assert_int_equal(feed(&breach, 2, 3, 3, 3, 3), BREACH_BEGAN);
  struct breach_reading reading = { 3, 0, 1, 0, 0, 0 }; // min_requests 0 counts as 1
  assert_int_equal(breach_feed(&breach, 3, &reading), BREACH_ENDED);
}

static void span_starts_at_the_last_recovery(void **state)
{
  (void)state;
  struct breach breach = { 0 };
  assert_int_equal(breach_span_ns(&breach, 100, 50), 50);
  breach = (struct breach){ .since_ns = 80, .state = BREACH_HEALTHY, .episode = 0 };
  assert_int_equal(breach_span_ns(&breach, 100, 50), 50); // never breached
  breach.episode = 1;
  assert_int_equal(breach_span_ns(&breach, 100, 50), 20);
  assert_int_equal(breach_span_ns(&breach, 200, 50), 50);
  breach.state = BREACH_BREACHED;
  assert_int_equal(breach_span_ns(&breach, 100, 50), 50);
}

// A service at `per_beat` requests every 50 ms against 99.9 % over 5 minutes, recovery over 30 s.
struct service {
  struct rng rng;
  struct burn *burn;
  struct breach breach;
  struct tally cumulative;
  int64_t now_ns;
  uint32_t per_beat;
};

static void service_start(struct service *service, uint64_t seed, uint32_t per_beat)
{
  *service = (struct service){ .burn = malloc(burn_size()), .per_beat = per_beat };
  rng_init(&service->rng, seed, "service");
  burn_init(service->burn, 0, service->cumulative);
}

static enum breach_change service_beat(struct service *service, double share_bad)
{
  service->now_ns += BEAT_NS;
  for (uint32_t i = 0; i < service->per_beat; i++) {
    service->cumulative.total++;
    service->cumulative.bad += rng_unit(&service->rng) < share_bad;
  }
  burn_fold(service->burn, service->now_ns, service->cumulative);
  int64_t span_ns = breach_span_ns(&service->breach, service->now_ns, 300 * NS_PER_S);
  struct tally window = burn_sum(service->burn, service->now_ns, span_ns);
  struct tally recovery = burn_sum(service->burn, service->now_ns, 30 * NS_PER_S);
  struct breach_reading reading = { window.total, window.bad, recovery.total, recovery.bad, 0.001, 10 };
  return breach_feed(&service->breach, service->now_ns, &reading);
}

static int count_changes(struct service *service, int64_t for_ns, double share_bad)
{
  int changes = 0;
  for (int64_t end_ns = service->now_ns + for_ns; service->now_ns < end_ns;)
    changes += service_beat(service, share_bad) != BREACH_SAME;
  return changes;
}

// 200 runs here; NINES_BREACH_RUNS=2000 for the promise as written.
static void healthy_traffic_never_breaches(void **state)
{
  (void)state;
  const char *given = getenv("NINES_BREACH_RUNS");
  uint64_t runs = given ? strtoull(given, NULL, 10) : 200;
  int changes = 0;
  for (uint64_t run = 0; run < runs; run++) {
    struct service service;
    service_start(&service, run, 10);
    changes += count_changes(&service, 600 * NS_PER_S, 0.0005);
    assert_int_equal(service.breach.state, BREACH_HEALTHY);
    free(service.burn);
  }
  print_message("%llu runs of ten minutes, %d breaches\n", (unsigned long long)runs, changes);
  assert_int_equal(changes, 0);
}

static int by_time(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

enum { OUTAGES = 101 };

static void outage_times(double share_bad, int64_t *median_ns, int64_t *longest_ns)
{
  int64_t took_ns[OUTAGES];
  for (uint64_t run = 0; run < OUTAGES; run++) {
    struct service service;
    service_start(&service, run + 5000, 10);
    assert_int_equal(count_changes(&service, 60 * NS_PER_S, 0.0005), 0);
    int64_t began_ns = service.now_ns;
    while (service_beat(&service, share_bad) != BREACH_BEGAN) assert_true(service.now_ns - began_ns < 10 * NS_PER_S);
    took_ns[run] = service.now_ns - began_ns;
    free(service.burn);
  }
  qsort(took_ns, OUTAGES, sizeof *took_ns, by_time);
  *median_ns = took_ns[OUTAGES / 2];
  *longest_ns = took_ns[OUTAGES - 1];
  print_message("%g failing: found after %.2f s (median), %.2f s (longest of %d)\n", share_bad,
                (double)*median_ns / 1e9, (double)*longest_ns / 1e9, OUTAGES);
}

static void outages_are_found_at_once(void **state)
{
  (void)state;
  int64_t median_ns, longest_ns;
  outage_times(1, &median_ns, &longest_ns);
  assert_true(longest_ns <= NS_PER_S / 2);
  outage_times(0.5, &median_ns, &longest_ns);
  assert_true(median_ns <= NS_PER_S);
}

static void three_bad_requests_suffice_on_a_fresh_window(void **state)
{
  (void)state;
  struct service service;
  service_start(&service, 1, 1);
  assert_int_equal(service_beat(&service, 1), BREACH_SAME);
  assert_int_equal(service_beat(&service, 1), BREACH_SAME);
  assert_int_equal(service_beat(&service, 1), BREACH_BEGAN);
  free(service.burn);
}

// After an outage: one end, and no new beginning while the outage slides out of the window; a new outage is found.
static void an_outage_is_one_episode(void **state)
{
  (void)state;
  for (uint64_t run = 0; run < 40; run++) {
    struct service service;
    service_start(&service, run + 9000, run % 2 ? 10 : 1);
    count_changes(&service, 120 * NS_PER_S, 0.0005);
    assert_int_equal(service.breach.episode, 0);
    count_changes(&service, 20 * NS_PER_S, 0.7);
    assert_int_equal(service.breach.episode, 1);
    assert_int_equal(service.breach.state, BREACH_BREACHED);
    assert_int_equal(count_changes(&service, 600 * NS_PER_S, 0.0003), 1);
    assert_int_equal(service.breach.state, BREACH_HEALTHY);
    count_changes(&service, 20 * NS_PER_S, 0.7);
    assert_int_equal(service.breach.episode, 2);
    free(service.burn);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(tail_known_values),
    cmocka_unit_test(tail_matches_exact_sums),
    cmocka_unit_test(tail_edges),
    cmocka_unit_test(test_is_the_tail_against_alpha),
    cmocka_unit_test(test_edges),
    cmocka_unit_test(feed_goes_through_an_episode),
    cmocka_unit_test(first_reading_can_be_a_breach),
    cmocka_unit_test(span_starts_at_the_last_recovery),
    cmocka_unit_test(healthy_traffic_never_breaches),
    cmocka_unit_test(outages_are_found_at_once),
    cmocka_unit_test(three_bad_requests_suffice_on_a_fresh_window),
    cmocka_unit_test(an_outage_is_one_episode),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
