// One alert's life, as a function of what its condition says at each evaluation.
//
// true: pending, and firing at the first evaluation at which it has been true for `for_ns`. false while pending:
// inactive. Firing resolves when the clear condition (its own, or else the condition being false) has held for
// keep_firing_ns without interruption. Unknown is what `no_data` makes of it: IGNORE drops a pending alert, because
// what is not known does not count towards `for`, and leaves a firing one alone with its timer standing still; OK is
// false; ALERT is true; KEEP is what was known last, and timers go on.
//
// Flapping (Nagios' weighting, also Kapacitor's): of the last 21 known evaluations the share of changes, each weighted
// from 0.8 for the oldest to 1.2 for the newest. Above flap_high the alert flaps until it is below flap_low, and a
// firing one that flaps does not resolve: one page instead of twenty. Flat; lives in the arena; all zero is the start.
#ifndef NINES_CORE_ALARM_H
#define NINES_CORE_ALARM_H

#include <stdbool.h>
#include <stdint.h>

#include "expr.h"

enum alarm_state { ALARM_INACTIVE, ALARM_PENDING, ALARM_FIRING };
enum alarm_no_data { ALARM_NO_DATA_IGNORE, ALARM_NO_DATA_ALERT, ALARM_NO_DATA_OK, ALARM_NO_DATA_KEEP };
enum alarm_change { ALARM_SAME, ALARM_BECAME_PENDING, ALARM_DROPPED, ALARM_FIRED, ALARM_RESOLVED };
enum { ALARM_HISTORY = 21 };

struct alarm_rule {
  int64_t for_ns, keep_firing_ns;
  int32_t no_data;            // enum alarm_no_data
  bool has_clear;             // a clear condition of its own (hysteresis)
  double flap_high, flap_low; // shares of 0 to 1; both 0: flapping is not looked for
};

struct alarm {
  int64_t since_ns;  // of the state
  int64_t active_ns; // when the condition became true; meaningless while inactive
  int64_t clear_ns;  // firing: for how long the clear condition has held
  int64_t fed_ns;    // the last evaluation
  uint32_t state;
  uint32_t episode; // how often it fired
  uint32_t history; // bit 0: the newest known evaluation; 1 was true
  uint32_t known;   // how many of the bits mean something
  uint32_t flapping;
  uint32_t last; // the last known truth
};

enum alarm_change alarm_feed(struct alarm *alarm, const struct alarm_rule *rule, int64_t now_ns, enum truth fire,
                             enum truth clear);
double alarm_flap_share(const struct alarm *alarm); // 0 with fewer than 21 known evaluations
void alarm_rebase(struct alarm *alarm, int64_t shift_ns);
bool alarm_valid(const struct alarm *alarm); // false: a damaged arena

#endif
