// A breaker against a naive list of results and of calls in flight: one writer, a window of time, random settings.
#include "core/breaker_bed.h"
#include "core/seed.h"

enum { RESULTS_MAX = 1 << 15, FLYING_MAX = 64 };
struct result {
  int64_t at_ns;
  bool bad, slow;
};
static struct {
  int64_t origin_ns, width_ns, wanted_width_ns;
  bool begun; // the generation has had a result
  uint32_t generation;
  size_t first, end;
  struct result result[RESULTS_MAX];
  uint64_t total, refused, late;
} naive;

static int64_t slice_of(int64_t at_ns)
{
  return (at_ns - naive.origin_ns) / naive.width_ns;
}

static struct tally naive_window(int64_t now_ns)
{
  struct tally sum = { 0 };
  for (size_t i = naive.end; i-- > naive.first;) {
    const struct result *result = &naive.result[i % RESULTS_MAX];
    if (slice_of(result->at_ns) <= slice_of(now_ns) - 10) {
      naive.first = i + 1; // time goes on: it never comes back
      break;
    }
    sum = tally_add(sum, (struct tally){ 1, result->bad, result->slow });
  }
  return sum;
}

static void naive_count(bool bad, bool slow, int64_t now_ns)
{
  if (!naive.begun) {
    naive.first = naive.end = 0;
    naive.origin_ns = now_ns;
    naive.width_ns = naive.wanted_width_ns;
    naive.begun = true;
  } else if (naive.width_ns != naive.wanted_width_ns) { // settings: what the window holds came just now
    naive_window(now_ns);
    for (size_t i = naive.first; i < naive.end; i++) naive.result[i % RESULTS_MAX].at_ns = now_ns;
    naive.origin_ns = now_ns;
    naive.width_ns = naive.wanted_width_ns;
  }
  naive.result[naive.end++ % RESULTS_MAX] = (struct result){ now_ns, bad, slow };
  if (naive.end - naive.first > RESULTS_MAX) naive.first = naive.end - RESULTS_MAX;
  naive.total++;
}

static void naive_generation(void)
{
  uint32_t generation = circuit_word_generation(circuit_load(&breaker.own));
  if (generation == naive.generation) return;
  naive.generation = generation;
  naive.begun = false;
  naive.first = naive.end = 0;
}

static bool naive_over(struct tally tally, const nines_breaker_config *config)
{
  return tally.total >= config->calls_min && ((double)tally.bad * 100 >= config->failure_rate * (double)tally.total ||
                                              (double)tally.slow * 100 >= config->slow_rate * (double)tally.total);
}

static void random_settings(struct rng *rng, nines_breaker_config *config)
{
  config->calls_min = 1 + (uint32_t)rng_below(rng, 60);
  config->failure_rate = 1 + (double)rng_below(rng, 100);
  config->slow_rate = 1 + (double)rng_below(rng, 100);
  config->window_ns = MS * (1 + (int64_t)rng_below(rng, 1000));
  naive.wanted_width_ns = config->window_ns / 10;
}

static void assert_reading(const nines_permit *flying, int count, int64_t now_ns)
{
  nines_breaker_reading reading = read_at(now_ns);
  struct tally window =
      naive.begun && reading.state == NINES_BREAKER_CLOSED ? naive_window(now_ns) : (struct tally){ 0 };
  uint32_t shift = atomic_load(&breaker.flight_shift);
  int64_t oldest = (now_ns - atomic_load(&breaker.rule.slow_ns)) >> shift;
  uint64_t overdue = 0;
  for (int i = 0; i < count; i++)
    overdue += circuit_permit_generation(flying[i]) == naive.generation && flying[i].at_ns >> shift < oldest;
  assert_int_equal(reading.calls, window.total);
  assert_int_equal(reading.failed, window.bad);
  assert_int_equal(reading.slow, window.slow);
  assert_int_equal(reading.in_flight, count);
  assert_int_equal(reading.overdue, overdue);
  assert_int_equal(reading.total, naive.total);
  assert_int_equal(reading.refused, naive.refused);
  assert_int_equal(reading.late, naive.late);
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("breaker_walk");
  nines_breaker_config config = { .slow_ns = 3 * MS, .open_ns = 5 * MS };
  static nines_permit flying[FLYING_MAX];
  int count = 0, opened = 0, bad_percent = 20, settings_left = 0;
  int64_t now_ns = 1000 * S;
  memset(&naive, 0, sizeof naive);
  random_settings(&rng, &config);
  begin_with(config, now_ns);
  for (int i = 0; i < 1000000; i++) {
    if (rng_below(&rng, 3) == 0) now_ns += (int64_t)rng_below(&rng, 200000);
    if (rng_below(&rng, 20000) == 0) now_ns += (int64_t)rng_below(&rng, 2 * (uint64_t)S);
    if (rng_below(&rng, 2000) == 0) bad_percent = (int)rng_below(&rng, 100);
    if (settings_left-- <= 0) {
      settings_left = (int)rng_below(&rng, 20000);
      random_settings(&rng, &config);
      change(config);
    }
    int was = state_at(now_ns);
    if (was != NINES_BREAKER_CLOSED && rng_below(&rng, 50) == 0) breaker_reset(&view, now_ns);
    naive_generation();
    was = state_at(now_ns);
    if (count < FLYING_MAX && rng_below(&rng, 2)) {
      nines_permit permit = ask(FIRST, now_ns);
      naive_generation();
      if (permit.token)
        flying[count++] = permit;
      else
        naive.refused++;
    } else if (count > 0) {
      int which = (int)rng_below(&rng, (uint64_t)count);
      nines_permit permit = flying[which];
      flying[which] = flying[--count];
      int outcome = (int)rng_below(&rng, 100) < bad_percent ? NINES_FAILURE : NINES_SUCCESS;
      if (rng_below(&rng, 50) == 0) outcome = NINES_IGNORED;
      bool mine = circuit_permit_generation(permit) == naive.generation, slow = now_ns - permit.at_ns > 3 * MS;
      uint64_t late = read_at(now_ns).late;
      done(FIRST, permit, outcome, now_ns);
      if (!mine) {
        naive.late++;
        assert_int_equal(read_at(now_ns).late, late + 1);
      } else if (was == NINES_BREAKER_CLOSED && outcome != NINES_IGNORED) {
        naive_count(outcome == NINES_FAILURE, slow, now_ns);
        bool expected = naive_over(naive_window(now_ns), &config);
        opened += expected;
        assert_int_equal(state_at(now_ns), expected ? NINES_BREAKER_OPEN : NINES_BREAKER_CLOSED);
      } else if (was == NINES_BREAKER_HALF_OPEN) { // probes are the circuit's
        naive.total = read_at(now_ns).total;
        naive.late = read_at(now_ns).late;
      }
      naive_generation();
    }
    if (rng_below(&rng, 16) == 0 && state_at(now_ns) != NINES_BREAKER_HALF_OPEN) assert_reading(flying, count, now_ns);
  }
  print_message("opened %d times\n", opened);
  assert_true(opened > 100);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(a_million_random_steps) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
