// Counts of observations: how many, how many failed, how many were slower than the objective allows.
#ifndef NINES_CORE_TALLY_H
#define NINES_CORE_TALLY_H

#include <stdint.h>

struct tally {
  uint64_t total;
  uint64_t bad;  // failed
  uint64_t slow; // over the latency objective; independent of bad
};

static inline struct tally tally_sub(struct tally a, struct tally b)
{
  return (struct tally){ a.total - b.total, a.bad - b.bad, a.slow - b.slow };
}
static inline struct tally tally_add(struct tally a, struct tally b)
{
  return (struct tally){ a.total + b.total, a.bad + b.bad, a.slow + b.slow };
}

#endif
