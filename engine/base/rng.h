// Seeded random streams: xoshiro256** (Blackman and Vigna, 2018) seeded through splitmix64.
//
// One stream for each consumer, derived from the engine's seed and the consumer's name, so that adding a consumer does
// not change what the others draw.
#ifndef NINES_BASE_RNG_H
#define NINES_BASE_RNG_H

#include <stdint.h>

struct rng {
  uint64_t word[4];
};

void rng_init(struct rng *rng, uint64_t seed, const char *stream);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t limit); // uniform in [0, limit), without bias; limit > 0
double rng_unit(struct rng *rng);                    // uniform in [0, 1)
double rng_exponential(struct rng *rng, double mean);
double rng_normal(struct rng *rng);                 // mean 0, deviation 1
uint64_t rng_poisson(struct rng *rng, double mean); // exact below 30, transformed rejection (PTRS, Hoermann 1993) above
uint64_t rng_binomial(struct rng *rng, uint64_t n, double p);
uint64_t rng_system_seed(void); // from the system's entropy; recorded by whoever uses it

#endif
