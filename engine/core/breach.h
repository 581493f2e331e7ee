// When is it a breach? The tail test and the recovery rule of an objective.
//
// Breached: over the window the badness is worse than the objective, and at least that many bad ones would come up by
// chance with a probability of at most 1e-6 if the service were exactly at its objective (binomial tail). Recovered:
// the objective is met over the recovery window, with enough requests. Silence is neither. So that an outage that is
// over does not count again while it still is in the window, a breach begins only while the recovery window is worse
// than the objective too, and the window reaches back no further than the last recovery (breach_span_ns).
#ifndef NINES_CORE_BREACH_H
#define NINES_CORE_BREACH_H

#include <stdbool.h>
#include <stdint.h>

#define BREACH_ALPHA 1e-6

// P(X >= bad) for X ~ Binomial(total, p), 0 <= p < 1: to 1e-9 relative where it is above 1e-300. The sum of the terms
// from `bad` on when that is the upper tail (each term from the last, so some tens of steps), one minus the lower sum
// otherwise.
double breach_tail(uint64_t total, uint64_t bad, double p);
// The test. `allowed` is the share that may be bad (0.001 for 99.9 %; 0 allows none: one bad one is a breach).
bool breach_test(uint64_t total, uint64_t bad, double allowed);

enum breach_state { BREACH_NO_DATA, BREACH_HEALTHY, BREACH_BREACHED };
enum breach_change { BREACH_SAME, BREACH_BEGAN, BREACH_ENDED };

// One objective's memory; lives in the arena. All zero is the start.
struct breach {
  int64_t since_ns; // when the state began (of the engine's monotonic clock)
  uint32_t state;   // enum breach_state
  uint32_t episode; // counts breaches; the key of everything done about one
};

struct breach_reading {
  uint64_t total, bad;                   // over the window
  uint64_t recovery_total, recovery_bad; // over the recovery window
  double allowed;
  uint64_t min_requests; // for a recovery; at least 1
};

// How much of the past the reading's total and bad cover: window_ns, or since the last recovery when that is less.
int64_t breach_span_ns(const struct breach *breach, int64_t now_ns, int64_t window_ns);
// Feeds one reading; tells what changed.
enum breach_change breach_feed(struct breach *breach, int64_t now_ns, const struct breach_reading *reading);

#endif
