// What most C tests need: cmocka with its long list of includes, and seeds that are printed.
//
// SPEC_SEED=N in the environment repeats a failed random test.
#ifndef NINES_SPEC_H
#define NINES_SPEC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rng.h"

// A stream for a random test: a fixed seed, or that of SPEC_SEED; printed, so that a failure can be repeated.
static inline struct rng spec_rng(const char *stream, uint64_t seed)
{
  const char *wanted = getenv("SPEC_SEED");
  if (wanted) seed = strtoull(wanted, NULL, 0);
  printf("%s: SPEC_SEED=%llu\n", stream, (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, stream);
  return rng;
}

#endif
