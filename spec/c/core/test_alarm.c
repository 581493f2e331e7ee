// An alarm against an oracle that keeps every evaluation and looks back over all of them each time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alarm.h"
#include "core/seed.h"

#define NS_PER_S INT64_C(1000000000)
enum { STEPS = 400, RUNS = 300 };

struct step {
  int64_t now_ns;
  enum truth fire, clear;
};

static enum truth settled(const struct step *steps, int i, int32_t no_data)
{
  if (steps[i].fire != TRUTH_UNKNOWN || no_data == ALARM_NO_DATA_IGNORE) return steps[i].fire;
  if (no_data == ALARM_NO_DATA_ALERT) return TRUTH_TRUE;
  if (no_data == ALARM_NO_DATA_OK) return TRUTH_FALSE;
  for (int k = i - 1; k >= 0; k--)
    if (steps[k].fire != TRUTH_UNKNOWN) return steps[k].fire;
  return TRUTH_UNKNOWN;
}

static enum truth clears(const struct step *steps, int i, const struct alarm_rule *rule)
{
  if (rule->has_clear)
    return steps[i].clear == TRUTH_UNKNOWN && rule->no_data == ALARM_NO_DATA_OK ? TRUTH_TRUE : steps[i].clear;
  enum truth fire = settled(steps, i, rule->no_data);
  return fire == TRUTH_UNKNOWN ? TRUTH_UNKNOWN : fire == TRUTH_TRUE ? TRUTH_FALSE : TRUTH_TRUE;
}

// Fires when every settled evaluation back to one at least for_ns ago, since it last fired, was true.
static bool should_fire(const struct step *steps, int i, int from, const struct alarm_rule *rule)
{
  for (int k = i; k >= from; k--) {
    if (settled(steps, k, rule->no_data) != TRUTH_TRUE) return false;
    if (steps[i].now_ns - steps[k].now_ns >= rule->for_ns) return true;
  }
  return false;
}

// Clear time without interruption: unknown stands still, the first clear evaluation begins it.
static bool should_resolve(const struct step *steps, int i, int from, const struct alarm_rule *rule)
{
  if (clears(steps, i, rule) != TRUTH_TRUE) return false;
  int64_t held_ns = 0;
  bool began = false;
  for (int k = from; k <= i; k++) {
    enum truth clear = clears(steps, k, rule);
    if (clear == TRUTH_FALSE) began = false, held_ns = 0;
    if (clear != TRUTH_TRUE) continue;
    if (began) held_ns += steps[k].now_ns - steps[k - 1].now_ns;
    began = true;
  }
  return held_ns >= rule->keep_firing_ns;
}

static enum truth any_truth(struct rng *rng)
{
  uint64_t draw = rng_next(rng) % 10;
  return draw < 4 ? TRUTH_TRUE : draw < 8 ? TRUTH_FALSE : TRUTH_UNKNOWN;
}

static void run(struct rng *rng)
{
  struct step steps[STEPS];
  struct alarm alarm = { 0 };
  struct alarm_rule rule = { .for_ns = (int64_t)(rng_next(rng) % 6) * NS_PER_S,
                             .keep_firing_ns = (int64_t)(rng_next(rng) % 6) * NS_PER_S,
                             .no_data = (int32_t)(rng_next(rng) % 4),
                             .has_clear = rng_next(rng) % 2 };
  int64_t now_ns = NS_PER_S;
  int from = 0; // the first evaluation that counts for what may happen next
  bool firing = false;
  uint32_t episodes = 0;
  for (int i = 0; i < STEPS; i++) {
    now_ns += (int64_t)(1 + rng_next(rng) % 2) * NS_PER_S;
    // Runs of the same answer, so that timers run out now and then.
    bool same = i > 0 && rng_next(rng) % 4;
    steps[i] =
        (struct step){ now_ns, same ? steps[i - 1].fire : any_truth(rng), same ? steps[i - 1].clear : any_truth(rng) };
    enum alarm_change change = alarm_feed(&alarm, &rule, now_ns, steps[i].fire, steps[i].clear);
    bool fires = !firing && should_fire(steps, i, from, &rule);
    bool resolves = firing && should_resolve(steps, i, from, &rule);
    assert_int_equal(change == ALARM_FIRED, fires);
    assert_int_equal(change == ALARM_RESOLVED, resolves);
    if (fires || resolves) firing = fires, from = i + 1;
    episodes += fires;
    assert_int_equal(alarm.episode, episodes);
    assert_int_equal(alarm.state == ALARM_FIRING, firing);
    assert_true(alarm_valid(&alarm));
    if (rng_next(rng) % 50 == 0) { // a reboot: all times move
      alarm_rebase(&alarm, 7 * NS_PER_S);
      now_ns += 7 * NS_PER_S;
      for (int k = 0; k <= i; k++) steps[k].now_ns += 7 * NS_PER_S;
    }
  }
}

static void test_against_history(void **state)
{
  (void)state;
  struct rng rng = seed_stream("test_alarm");
  for (int i = 0; i < RUNS; i++) run(&rng);
}

static void test_flapping_is_one_episode(void **state)
{
  (void)state;
  struct alarm alarm = { 0 };
  struct alarm_rule rule = { .flap_high = 0.5, .flap_low = 0.25 };
  int64_t now_ns = NS_PER_S;
  for (int i = 0; i < 300; i++) alarm_feed(&alarm, &rule, now_ns += NS_PER_S, (enum truth)(i % 2), TRUTH_UNKNOWN);
  assert_true(alarm.flapping);
  assert_in_range(alarm.episode, 1, 11); // each turn until twenty-one evaluations were seen, then one
  uint32_t episodes = alarm.episode;
  for (int i = 0; i < 300; i++) alarm_feed(&alarm, &rule, now_ns += NS_PER_S, (enum truth)(i % 2), TRUTH_UNKNOWN);
  assert_int_equal(alarm.episode, episodes);
  for (int i = 0; i < 30; i++) alarm_feed(&alarm, &rule, now_ns += NS_PER_S, TRUTH_FALSE, TRUTH_UNKNOWN);
  assert_false(alarm.flapping);
  assert_int_equal(alarm.state, ALARM_INACTIVE);
}

// Nagios' example weights: the newest change counts 1.2, the oldest 0.8.
static void test_flap_weights(void **state)
{
  (void)state;
  struct alarm newest = { .known = ALARM_HISTORY, .history = 1 },
               oldest = { .known = ALARM_HISTORY, .history = 1u << 20 };
  assert_true(alarm_flap_share(&newest) > 1.19 / 20 && alarm_flap_share(&newest) < 1.21 / 20);
  assert_true(alarm_flap_share(&oldest) > 0.79 / 20 && alarm_flap_share(&oldest) < 0.81 / 20);
}

static void test_a_clock_that_began_anew(void **state)
{
  (void)state;
  struct alarm alarm = { 0 };
  struct alarm_rule rule = { .for_ns = 5 * NS_PER_S };
  alarm_feed(&alarm, &rule, 1000 * NS_PER_S, TRUTH_TRUE, TRUTH_UNKNOWN);
  assert_int_equal(alarm_feed(&alarm, &rule, 2 * NS_PER_S, TRUTH_TRUE, TRUTH_UNKNOWN), ALARM_SAME);
  assert_int_equal(alarm_feed(&alarm, &rule, 7 * NS_PER_S, TRUTH_TRUE, TRUTH_UNKNOWN), ALARM_FIRED);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_against_history),
                                      cmocka_unit_test(test_flapping_is_one_episode),
                                      cmocka_unit_test(test_flap_weights),
                                      cmocka_unit_test(test_a_clock_that_began_anew) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
