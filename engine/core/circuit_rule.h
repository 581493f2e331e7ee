// The settings of a circuit in force: a breaker's config, checked, with its defaults, as words that all threads read.
//
// Written by the thread that folds, while others read: each word is sound by itself, and the readers clamp what they
// index or shift with, so that no mix of old and new words, nor a torn arena, does harm. Changing a setting touches no
// count and no state (resilience4j#2325); what it means for them, the next fold finds out.
#ifndef NINES_CORE_CIRCUIT_RULE_H
#define NINES_CORE_CIRCUIT_RULE_H

#include <stdatomic.h>
#include <stdint.h>

#include "nines.h"
#include "status.h"

enum { CIRCUIT_PROBES_MAX = 24, CIRCUIT_CALLS_MAX = 512 };
enum { CIRCUIT_HALF_OPEN_ITSELF = 1, CIRCUIT_HALF_OPEN_CLOSES = 2, CIRCUIT_LATENCY = 4 };
#define CIRCUIT_NEVER UINT32_MAX

struct circuit_rule {
  _Atomic uint32_t window_calls; // 0: a time window, judged by breaker.h
  _Atomic uint32_t calls_min;
  _Atomic uint32_t failure_permyriad, slow_permyriad; // 1/100 percent; CIRCUIT_NEVER
  _Atomic uint32_t failures_in_a_row;                 // 0: not looked at
  _Atomic uint32_t probes;
  _Atomic int64_t window_ns, slow_ns;
  _Atomic int64_t open_ns, open_max_ns;
  _Atomic uint32_t open_factor_milli, open_jitter_milli;
  _Atomic int64_t probe_lease_ns, half_open_max_ns, ramp_ns;
  _Atomic uint32_t flags;            // CIRCUIT_*
  _Atomic uint32_t latency_permille; // quantile of the latency rule; 0: none
  _Atomic int64_t latency_ns;
};

// Checks a config and writes the rule (sentences name the config's fields). When it is refused, the rule stays.
int circuit_rule_set(struct circuit_rule *rule, const nines_breaker_config *config, struct status *status);

#endif
