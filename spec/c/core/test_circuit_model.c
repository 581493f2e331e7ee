// A circuit against a naive model of it, a million random steps: every ask, result, state, window and wait must agree.
//
// The model keeps all results of a generation in a list, judges the rates after every one of them from scratch, and
// keeps a probe's lease as plain fields.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "circuit.h"
#include "core/seed.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

enum { HISTORY_MAX = 1 << 20, OUT_MAX = 48, STEPS = 1000000 };

struct lease {
  enum { FREE, LEASED, ENDED } status;
  uint64_t id;
  int64_t deadline_ms;
  bool bad, slow;
};
struct model {
  nines_breaker_config config; // defaults filled in
  int state;
  uint32_t generation, openings, row;
  int64_t time_ms; // as the word's
  uint32_t would;  // crossings told
  uint32_t calls;
  uint8_t history[HISTORY_MAX]; // bit 0 failed, bit 1 slow
  struct lease lease[CIRCUIT_PROBES_MAX];
  uint64_t leases, random;
  int64_t now_ns;
};
struct out {
  nines_permit permit;
  uint32_t generation;
  int slot; // -1: not a probe
  uint64_t id;
};

static int64_t ms_up(int64_t ns)
{
  return (ns + MS - 1) / MS;
}

static void enter(struct model *m, int state, int64_t time_ms)
{
  m->state = state;
  m->time_ms = time_ms;
  m->generation++;
  m->calls = m->row = 0;
  if (state == NINES_BREAKER_OPEN) m->openings++;
  if (state == NINES_BREAKER_CLOSED) m->openings = 0;
  memset(m->lease, 0, sizeof m->lease);
}

static int64_t open_ns(struct model *m, bool drawn)
{
  double span = (double)m->config.open_ns;
  for (uint32_t i = 0; i < m->openings && span < (double)m->config.open_max_ns; i++) span *= m->config.open_factor;
  if (span > (double)m->config.open_max_ns) span = (double)m->config.open_max_ns;
  if (drawn && m->config.open_jitter > 0)
    span *= 1 + m->config.open_jitter * (rng_quick(&m->random) / 2147483648.0 - 1);
  return (int64_t)span;
}

static void open_up(struct model *m)
{
  int64_t until_ms = ms_up(m->now_ns + open_ns(m, true));
  enter(m, NINES_BREAKER_OPEN, until_ms);
}

static void close_up(struct model *m)
{
  enter(m, NINES_BREAKER_CLOSED, m->config.ramp_ns ? ms_up(m->now_ns + m->config.ramp_ns) : 0);
}

static struct tally window(const struct model *m)
{
  struct tally tally = { 0 };
  uint32_t from = m->calls > m->config.window_calls ? m->calls - m->config.window_calls : 0;
  for (uint32_t i = from; i < m->calls; i++) {
    tally.total++;
    tally.bad += m->history[i] & 1;
    tally.slow += m->history[i] >> 1;
  }
  return tally;
}

static bool is_over(const struct model *m, struct tally tally, uint64_t least)
{
  if (tally.total == 0 || tally.total < least) return false;
  double n = (double)tally.total;
  return (m->config.failure_rate >= 0 && (double)tally.bad * 100 >= m->config.failure_rate * n) ||
         (m->config.slow_rate >= 0 && (double)tally.slow * 100 >= m->config.slow_rate * n);
}

static void judge(struct model *m)
{
  bool over = is_over(m, window(m), m->config.calls_min) ||
              (m->config.failures_in_a_row && m->row >= m->config.failures_in_a_row);
  if (m->state == NINES_BREAKER_CLOSED && over) open_up(m);
  if (m->state != NINES_BREAKER_METRICS_ONLY) return;
  if (over && m->time_ms == 0) m->would++;
  if (!over || m->time_ms == 0) m->time_ms = over ? ms_up(m->now_ns) : 0;
}

static void decide(struct model *m)
{
  struct tally tally = { 0 };
  for (int i = 0; i < CIRCUIT_PROBES_MAX; i++)
    if (m->lease[i].status == ENDED) {
      tally.total++;
      tally.bad += m->lease[i].bad;
      tally.slow += m->lease[i].slow;
    }
  uint32_t least = m->config.calls_min < m->config.probes ? m->config.calls_min : m->config.probes;
  uint32_t row = m->config.failures_in_a_row < least ? m->config.failures_in_a_row : least;
  if (is_over(m, tally, least) || (row && tally.bad >= row))
    open_up(m);
  else if (tally.total >= least)
    close_up(m);
}

static bool overstayed(struct model *m)
{
  if (m->state != NINES_BREAKER_HALF_OPEN || !m->config.half_open_max_ns ||
      m->now_ns < m->time_ms * MS + m->config.half_open_max_ns)
    return false;
  if (m->config.half_open_then == -1)
    close_up(m);
  else
    open_up(m);
  return true;
}

static bool is_lapsed(const struct model *m, const struct lease *lease)
{
  return m->now_ns >= lease->deadline_ms * MS;
}

// True: admitted. *slot: of a probe.
static bool model_ask(struct model *m, int *slot)
{
  *slot = -1;
  if (m->state == NINES_BREAKER_OPEN && m->now_ns >= m->time_ms * MS)
    enter(m, NINES_BREAKER_HALF_OPEN, ms_up(m->now_ns));
  overstayed(m);
  switch (m->state) {
  case NINES_BREAKER_CLOSED:
    if (m->time_ms == 0) return true;
    int64_t left_ns = m->time_ms * MS - m->now_ns;
    if (left_ns <= 0 || !m->config.ramp_ns) {
      m->time_ms = 0;
      return true;
    }
    double done = 1 - (double)left_ns / (double)m->config.ramp_ns;
    return rng_quick(&m->random) < (0.1 + 0.9 * (done > 0 ? done : 0)) * 4294967296.0;
  case NINES_BREAKER_HALF_OPEN:
    for (int i = 0; i < (int)m->config.probes; i++) {
      struct lease *lease = &m->lease[i];
      if (lease->status == ENDED || (lease->status == LEASED && !is_lapsed(m, lease))) continue;
      *lease = (struct lease){ LEASED, ++m->leases, ms_up(m->now_ns + m->config.probe_lease_ns), false, false };
      *slot = i;
      return true;
    }
    return false;
  default:
    return m->state == NINES_BREAKER_METRICS_ONLY || m->state == NINES_BREAKER_DISABLED;
  }
}

static enum circuit_told model_tell(struct model *m, const struct out *out, int outcome, bool slow)
{
  if (out->generation != m->generation) return CIRCUIT_LATE;
  if (m->state == NINES_BREAKER_DISABLED) return CIRCUIT_UNSEEN;
  if (m->state == NINES_BREAKER_HALF_OPEN) {
    if (overstayed(m)) return CIRCUIT_LATE;
    struct lease *lease = &m->lease[out->slot];
    if (lease->status != LEASED || lease->id != out->id) return CIRCUIT_LATE;
    bool lapsed = is_lapsed(m, lease);
    if (lapsed || outcome == NINES_IGNORED) {
      lease->status = FREE;
      return lapsed ? CIRCUIT_LATE : CIRCUIT_UNSEEN;
    }
    lease->status = ENDED;
    lease->bad = outcome == NINES_FAILURE;
    lease->slow = slow;
    decide(m);
    return CIRCUIT_PROBED;
  }
  if (outcome == NINES_IGNORED) return CIRCUIT_UNSEEN;
  if (m->config.failures_in_a_row) m->row = outcome == NINES_FAILURE ? m->row + 1 : 0;
  assert_true(m->calls < HISTORY_MAX);
  m->history[m->calls++] = (uint8_t)((outcome == NINES_FAILURE) | slow << 1);
  judge(m); // after every call
  return CIRCUIT_COUNTED;
}

static void model_fold(struct model *m)
{
  if (!m->config.failures_in_a_row) m->row = 0;
  if (overstayed(m)) return;
  if (m->state == NINES_BREAKER_CLOSED && m->now_ns >= m->time_ms * MS) m->time_ms = 0;
  if (m->state == NINES_BREAKER_CLOSED || m->state == NINES_BREAKER_METRICS_ONLY) {
    judge(m);
  } else if (m->state == NINES_BREAKER_OPEN) {
    if (m->config.half_open_itself && m->now_ns >= m->time_ms * MS) enter(m, NINES_BREAKER_HALF_OPEN, ms_up(m->now_ns));
  } else if (m->state == NINES_BREAKER_HALF_OPEN) {
    for (int i = 0; i < CIRCUIT_PROBES_MAX; i++)
      if (m->lease[i].status == LEASED && is_lapsed(m, &m->lease[i])) m->lease[i].status = FREE;
    bool any = false;
    for (int i = 0; i < CIRCUIT_PROBES_MAX; i++) any = any || m->lease[i].status == ENDED;
    if (any) decide(m);
  }
}

static void model_put(struct model *m, int state, int64_t hold_ns)
{
  int64_t time_ms = 0;
  if (state == NINES_BREAKER_OPEN) time_ms = ms_up(m->now_ns + (hold_ns ? hold_ns : open_ns(m, false)));
  if (state == NINES_BREAKER_HALF_OPEN) time_ms = ms_up(m->now_ns);
  enter(m, state, time_ms);
}

static nines_breaker_config random_config(struct rng *rng)
{
  nines_breaker_config c = { .size = sizeof c };
  c.window_calls = rng_below(rng, 8) ? 1 + (uint32_t)rng_below(rng, 40) : 1 + (uint32_t)rng_below(rng, 512);
  c.calls_min = 1 + (uint32_t)rng_below(rng, c.window_calls);
  c.failure_rate = rng_below(rng, 8) ? 1 + (double)rng_below(rng, 100) : -1;
  c.slow_rate = rng_below(rng, 3) ? 1 + (double)rng_below(rng, 100) : -1;
  c.slow_ns = S;
  c.failures_in_a_row = rng_below(rng, 2) ? 0 : 1 + (uint32_t)rng_below(rng, 8);
  c.open_ns = MS + (int64_t)rng_below(rng, 20 * (uint64_t)MS);
  c.open_factor = rng_below(rng, 2) ? 1 : 1.5;
  c.open_max_ns = c.open_ns * 4;
  c.open_jitter = rng_below(rng, 2) ? 0 : 0.25;
  c.half_open_itself = rng_below(rng, 2) != 0;
  c.probes = 1 + (uint32_t)(rng_below(rng, 4) ? rng_below(rng, 5) : rng_below(rng, CIRCUIT_PROBES_MAX));
  c.probe_lease_ns = 2 * MS + (int64_t)rng_below(rng, 20 * (uint64_t)MS);
  c.half_open_max_ns = rng_below(rng, 2) ? 0 : MS + (int64_t)rng_below(rng, 30 * (uint64_t)MS);
  c.half_open_then = rng_below(rng, 2) ? -1 : 0;
  c.ramp_ns = rng_below(rng, 2) ? 0 : MS + (int64_t)rng_below(rng, 10 * (uint64_t)MS);
  return c;
}

static uint32_t moves; // over all walks

static void compare(const struct model *m, const struct circuit *circuit, const struct circuit_rule *rule)
{
  uint64_t word = circuit_load(circuit);
  assert_int_equal(circuit_word_state(word), m->state);
  assert_int_equal(circuit_word_generation(word), m->generation & CIRCUIT_GENERATION_MASK);
  assert_int_equal(circuit_word_until_ns(word), m->time_ms * MS);
  assert_int_equal(atomic_load(&circuit->opened_in_a_row), m->openings);
  struct tally got = circuit_window(circuit, rule), expected = window(m);
  assert_int_equal(got.total, expected.total);
  assert_int_equal(got.bad, expected.bad);
  assert_int_equal(got.slow, expected.slow);
}

static void walk(struct rng *rng, int steps)
{
  static struct model m;
  struct circuit circuit = { 0 };
  struct circuit_rule rule = { 0 };
  struct out out[OUT_MAX];
  uint32_t outs = 0;
  uint64_t random = rng_next(rng) | 1, bad = 1 + rng_below(rng, 100), slow = rng_below(rng, 60);
  memset(&m, 0, sizeof m);
  m.config = random_config(rng);
  m.random = random;
  m.now_ns = S + (int64_t)rng_below(rng, (uint64_t)S);
  assert_int_equal(circuit_rule_set(&rule, &m.config, NULL), 0);
  circuit_init(&circuit, &rule, NINES_BREAKER_CLOSED, m.now_ns);
  for (int i = 0; i < steps; i++) {
    uint64_t dice = rng_below(rng, 1000);
    if (dice < 500) {
      int slot;
      bool admitted = model_ask(&m, &slot);
      nines_permit permit = circuit_ask(&circuit, &rule, m.now_ns, &random);
      assert_int_equal(nines_permitted(permit), admitted);
      if (admitted) {
        assert_int_equal(circuit_permit_probe(permit), slot >= 0);
        struct out one = { permit, m.generation, slot, slot >= 0 ? m.lease[slot].id : 0 };
        out[outs < OUT_MAX ? outs++ : (uint32_t)rng_below(rng, OUT_MAX)] = one; // some are never told
      }
    } else if (dice < 980 && outs > 0) {
      uint32_t which = (uint32_t)rng_below(rng, outs);
      int outcome = rng_below(rng, 20) == 0 ? NINES_IGNORED : rng_below(rng, 100) < bad ? NINES_FAILURE : NINES_SUCCESS;
      bool is_slow = rng_below(rng, 100) < slow;
      enum circuit_told told = circuit_tell(&circuit, &rule, out[which].permit, outcome, is_slow, m.now_ns, &random);
      assert_int_equal(told, model_tell(&m, &out[which], outcome, is_slow));
      if (rng_below(rng, 16))
        out[which] = out[--outs]; // else told twice
      else if (told == CIRCUIT_COUNTED)
        out[which] = out[--outs];
    } else if (dice < 988) {
      circuit_fold(&circuit, &rule, m.now_ns, &random);
      model_fold(&m);
    } else if (dice < 990) {
      int state = (int)rng_below(rng, 6);
      int64_t hold_ns = rng_below(rng, 2) ? 0 : MS * 3;
      circuit_put(&circuit, &rule, state, hold_ns, m.now_ns);
      model_put(&m, state, hold_ns);
    } else if (dice == 990) {
      m.config = random_config(rng);
      assert_int_equal(circuit_rule_set(&rule, &m.config, NULL), 0);
      circuit_fold(&circuit, &rule, m.now_ns, &random); // what the change means is found there
      model_fold(&m);
      bad = 1 + rng_below(rng, 100);
    }
    m.now_ns += (int64_t)rng_below(rng, rng_below(rng, 50) ? (uint64_t)MS / 4 : 30 * (uint64_t)MS);
    assert_int_equal(random, m.random);
    compare(&m, &circuit, &rule);
  }
  assert_true(circuit_valid(&circuit));
  moves += m.generation;
}

static void test_model(void **state)
{
  (void)state;
  struct rng rng = seed_stream("circuit model");
  for (int i = 0; i < 200; i++) walk(&rng, STEPS / 200);
  assert_true(moves > 10000);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
