// The seed of a random test: from the environment (NINES_SEED) to repeat a failure, fresh otherwise; always printed.
#ifndef NINES_SPEC_CORE_SEED_H
#define NINES_SPEC_CORE_SEED_H

#include <stdio.h>
#include <stdlib.h>

#include "rng.h"

static inline struct rng seed_from(const char *stream, uint64_t seed)
{
  struct rng rng;
  printf("%s: NINES_SEED=%llu\n", stream, (unsigned long long)seed);
  fflush(stdout);
  rng_init(&rng, seed, stream);
  return rng;
}

static inline struct rng seed_stream(const char *stream)
{
  const char *given = getenv("NINES_SEED");
  return seed_from(stream, given ? strtoull(given, NULL, 0) : rng_system_seed());
}

// For what is true with high probability only: the same run each time, so that no test fails by chance.
static inline struct rng seed_fixed(const char *stream)
{
  const char *given = getenv("NINES_SEED");
  return seed_from(stream, given ? strtoull(given, NULL, 0) : 1);
}

#endif
