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
// A step of xorshift64* (Vigna, 2014) for request paths: one word of state, not zero; some 1 ns.
static inline uint32_t rng_quick(uint64_t *state)
{
  uint64_t x = *state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  *state = x;
  return (uint32_t)((x * UINT64_C(0x2545F4914F6CDD1D)) >> 32);
}
uint64_t rng_system_seed(void); // from the system's entropy; recorded by whoever uses it

#endif
