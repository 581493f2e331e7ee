// Is the canary worse than the baseline? A verdict at any time, with a bounded rate of false alarms.
//
// Given how many requests each arm had, a bad event comes from the canary with probability rho = n1 / (n1 + n0) when
// both are equally bad, and r rho / (r rho + 1 - rho) when it is r times worse. Products of such likelihood ratios,
// averaged over several r, are e-processes: P(ever >= 1/alpha) <= alpha, however often one looks (Ville; Lindon et
// al., "Rapid regression detection in software deployments through sequential testing", KDD 2022). Common outages
// cancel, because only the share of events matters. A fifth of the bet is placed later, little by little, so that a
// regression that begins late, or after an outage, is still found.
//
// Errors that come in bursts are no independent events: counts are divided by phi = max(1, variance / mean) of the
// baseline's counts per second before the rollout. That is a quasi-likelihood correction, measured (bench_canary), not
// proven. With no time (30 s) or few errors (50) before it, phi is estimated from the baseline during the rollout,
// times 1 + 3 / sqrt(1 + errors), until there are enough. Slow is above the baseline's quantile before the rollout,
// frozen then. Alpha is split evenly between errors and latency. FAIL is final; PASS stays unless it fails later.
#ifndef NINES_CORE_CANARY_H
#define NINES_CORE_CANARY_H

#include "apart.h"
#include "evidence.h"
#include "meter.h"
#include "nines.h"
#include "quantile.h"
#include "status.h"
#include "writer.h"

struct canary_stripe {
  struct meter arm[2]; // NINES_BASELINE, NINES_CANARY
};

// New counts, by arm. timed: of the total, those with a duration; 0 while no threshold is known.
struct canary_tick {
  uint64_t total[2], bad[2], timed[2], slow[2];
};

// The begin of a rollout: what was counted then, and how often one was asked for (written last).
struct canary_open {
  _Atomic uint64_t begun_total[2], begun_bad[2];
  _Atomic uint32_t asked;
};

struct canary {
  _Atomic double alpha, beta, margin, bad, error_max, latency_quantile, share, dispersion; // the config, with defaults
  struct apart apart;
  _Atomic uint32_t answered;       // by the fold
  uint32_t slow_from;              // the lowest bucket that is slow; 0: not known
  uint32_t durations;              // 1: some request had a duration since the begin
  int64_t tick_ns;                 // when the current tick began
  struct canary_tick seen;         // cumulative, at its begin
  struct canary_tick pending;      // of ticks too small to be judged
  int64_t pending_ns;              // how long they lasted
  struct canary_tick sum;          // judged since the begin
  struct evidence errors, latency; // their habits as they were at the begin
  struct habit usual_errors, usual_slow;
  double share_evidence[EVIDENCE_SHARES];
  struct quantile before;          // the baseline's durations before the rollout, the last half hour or more
  struct {                         // for canary_read
    _Atomic uint32_t verdict, why; // why: of enum canary_why
    _Atomic uint64_t total[2], bad[2], slow[2];
    _Atomic double e_errors, e_latency, e_pass, p_value, dispersion;
    _Atomic int64_t slow_ns;
  } out;
  struct canary_open own;
};

struct canary_view {
  struct canary *canary;
  _Atomic(struct canary_stripe *) *stripes; // [WRITERS_MAX]
};

int canary_set(struct canary *canary, const nines_canary_config *config, bool fresh, int64_t now_ns,
               struct status *status);
bool canary_valid(const struct canary *canary);
void canary_rebase(struct canary *canary, int64_t then_ns, int64_t now_ns);
// [any] From here on counts belong to the rollout (durations: from the next fold on). Another begin is another rollout.
void canary_begin(const struct canary_view *view, int64_t now_ns);
// [any] Ignored outcomes and other arms count nothing. duration_ns < 0: none.
void canary_record(const struct canary_view *view, uint32_t writer, int arm, int outcome, int64_t duration_ns);
void canary_fold(const struct canary_view *view, int64_t now_ns);         // each beat, one thread
void canary_read(const struct canary *canary, nines_canary_reading *out); // [any]

// What a fold is made of, for simulation. A second of the baseline before the rollout; its begin; counts of both arms
// after it (a tick may be of any length, as long as its end does not depend on which arm requests went to).
void canary_learn(struct canary *canary, const struct canary_tick *tick);
void canary_start(struct canary *canary);
void canary_feed(struct canary *canary, const struct canary_tick *tick);

#endif
