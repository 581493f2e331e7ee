// The best age so far is all that has to be kept.

#include "onset.h"

#include <math.h>
#include <stdbool.h>

void onset_start(struct onset *onset, double healthy, double observed)
{
  if (healthy < 1e-9) healthy = 1e-9; // an objective of 100 % allows none
  bool worse = observed > healthy;
  *onset = (struct onset){ .slope = worse ? (observed - healthy) / log(observed / healthy) : INFINITY };
}

void onset_offer(struct onset *onset, int64_t age_ns, uint64_t total, uint64_t bad)
{
  if (total == 0 || isinf(onset->slope)) return;
  double score = (double)bad - onset->slope * (double)total;
  if (score <= onset->best) return;
  onset->best = score;
  onset->age_ns = age_ns;
}
