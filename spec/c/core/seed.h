// The seed of a random test: from the environment (NINES_SEED) to repeat a failure, fresh otherwise; always printed.
#ifndef NINES_SPEC_CORE_SEED_H
#define NINES_SPEC_CORE_SEED_H

#include <stdio.h>
#include <stdlib.h>

#include "rng.h"

static inline struct rng seed_stream(const char *stream)
{
  const char *given = getenv("NINES_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 0) : rng_system_seed();
  printf("%s: NINES_SEED=%llu\n", stream, (unsigned long long)seed);
  fflush(stdout);
  struct rng rng;
  rng_init(&rng, seed, stream);
  return rng;
}

#endif
