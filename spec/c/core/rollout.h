// A simulated rollout: Poisson traffic on two arms, errors alone or in geometric bursts, an outage of both, slow calls.
//
// Fed to the canary second by second through canary_learn, canary_start and canary_feed, as its fold does.
#ifndef NINES_SPEC_CORE_ROLLOUT_H
#define NINES_SPEC_CORE_ROLLOUT_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "canary.h"
#include "rng.h"

struct rollout {
  double rate;           // requests a second, both arms
  double share;          // of the canary, 0 to 1
  double bad;            // of the baseline's requests
  double ratio;          // the canary's, over that
  double burst;          // mean size; 1: each error is alone
  int before, during;    // seconds
  int outage_at, outage; // second of the rollout, and length: half of all requests fail on both arms
  int worse_at;          // second from which `ratio` holds
  double slow[2];        // by arm; both 0: no durations
};

struct rollout_end {
  int verdict;            // first one reached
  int failed;             // ever
  int seconds;            // until the first verdict
  uint64_t requests, bad; // of the canary, until then
};

static inline uint64_t rollout_errors(struct rng *rng, uint64_t n, double p, double burst)
{
  if (burst <= 1) return rng_binomial(rng, n, p);
  uint64_t errors = 0;
  for (uint64_t bursts = rng_poisson(rng, (double)n * p / burst); bursts > 0; bursts--)
    errors += 1 + (uint64_t)(log1p(-rng_unit(rng)) / log1p(-1 / burst));
  return errors < n ? errors : n;
}

static inline struct canary_tick rollout_second(const struct rollout *rollout, struct rng *rng, double share,
                                                int second)
{
  struct canary_tick tick = { 0 };
  uint64_t n = rng_poisson(rng, rollout->rate);
  tick.total[1] = rng_binomial(rng, n, share);
  tick.total[0] = n - tick.total[1];
  int outage = second >= rollout->outage_at && second < rollout->outage_at + rollout->outage;
  for (int arm = 0; arm < 2; arm++) {
    double p = rollout->bad * (arm == 1 && second >= rollout->worse_at ? rollout->ratio : 1);
    tick.bad[arm] =
        outage ? rng_binomial(rng, tick.total[arm], 0.5) : rollout_errors(rng, tick.total[arm], p, rollout->burst);
    if (rollout->slow[0] <= 0) continue;
    tick.timed[arm] = tick.total[arm];
    tick.slow[arm] = rng_binomial(rng, tick.timed[arm], rollout->slow[arm]);
  }
  return tick;
}

static inline struct rollout_end rollout_run(const struct rollout *rollout, const nines_canary_config *config,
                                             struct rng *rng)
{
  static struct canary canary; // large
  canary = (struct canary){ 0 };
  struct rollout_end end = { 0 };
  if (canary_set(&canary, config, true, 0, NULL) != 0) abort();
  for (int second = 0; second < rollout->before; second++) {
    struct canary_tick tick = rollout_second(rollout, rng, 0, -1);
    canary_learn(&canary, &tick);
  }
  canary_start(&canary);
  for (int second = 0; second < rollout->during && !end.failed; second++) {
    struct canary_tick tick = rollout_second(rollout, rng, rollout->share, second);
    canary_feed(&canary, &tick);
    nines_canary_reading reading;
    canary_read(&canary, &reading);
    end.failed = reading.verdict == NINES_FAIL;
    if (end.verdict != NINES_INCONCLUSIVE) continue;
    end.verdict = reading.verdict;
    end.seconds = second + 1;
    end.requests += tick.total[1];
    end.bad += tick.bad[1];
  }
  return end;
}

#endif
