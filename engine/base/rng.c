// xoshiro256** for the bits, and exact methods for the distributions that simulated traffic needs: inversion while the
// expected steps are few, transformed rejection (PTRS and BTRS, Hoermann 1993) above. Past 1e12 the log-gamma
// differences lose their digits and the normal approximation is better than the exact test; its error is far below what
// any window could see.
//
// No second normal is cached: a stream's state is its four words and nothing else, so it can be stored and compared.
#include "rng.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "hash.h"

#define RNG_EXACT_MAX 1e12

static uint64_t splitmix(uint64_t *state)
{
  uint64_t word = (*state += 0x9e3779b97f4a7c15ULL);
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebULL;
  return word ^ (word >> 31);
}

void rng_init(struct rng *rng, uint64_t seed, const char *stream)
{
  // The seed is mixed before the name comes in, so that seed and name cannot cancel out.
  uint64_t state = splitmix(&seed) ^ hash_add(HASH_START, stream, strlen(stream));
  for (int i = 0; i < 4; i++) rng->word[i] = splitmix(&state);
}

static uint64_t rotate(uint64_t word, int by)
{
  return (word << by) | (word >> (64 - by));
}

uint64_t rng_next(struct rng *rng)
{
  uint64_t *word = rng->word;
  uint64_t result = rotate(word[1] * 5, 7) * 9;
  uint64_t shifted = word[1] << 17;
  word[2] ^= word[0];
  word[3] ^= word[1];
  word[1] ^= word[2];
  word[0] ^= word[3];
  word[2] ^= shifted;
  word[3] = rotate(word[3], 45);
  return result;
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
  CHECK(limit > 0);
  // The lowest 2^64 mod limit draws would make the small results likelier.
  uint64_t unfair = (0 - limit) % limit;
  uint64_t draw;
  do {
    draw = rng_next(rng);
  } while (draw < unfair);
  return draw % limit;
}

double rng_unit(struct rng *rng)
{
  return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

double rng_exponential(struct rng *rng, double mean)
{
  return -mean * log1p(-rng_unit(rng));
}

double rng_normal(struct rng *rng)
{
  double u, v, square; // Marsaglia's polar method
  do {
    u = 2 * rng_unit(rng) - 1;
    v = 2 * rng_unit(rng) - 1;
    square = u * u + v * v;
  } while (square >= 1 || square == 0);
  return u * sqrt(-2 * log(square) / square);
}

// log(k!). lgamma_r, because lgamma writes a global.
static double log_factorial(double k)
{
  int sign;
  return lgamma_r(k + 1, &sign);
}

static uint64_t rounded_normal(struct rng *rng, double mean, double deviation, double max)
{
  double draw = floor(mean + deviation * rng_normal(rng) + 0.5);
  return (uint64_t)fmin(fmax(draw, 0), max);
}

uint64_t rng_poisson(struct rng *rng, double mean)
{
  if (!(mean > 0)) return 0;
  if (mean < 30) {
    double floor_at = exp(-mean), product = rng_unit(rng);
    uint64_t count = 0;
    for (; product > floor_at; count++) product *= rng_unit(rng);
    return count;
  }
  if (mean > RNG_EXACT_MAX) return rounded_normal(rng, mean, sqrt(mean), 0x1p63);
  double root = sqrt(mean), log_mean = log(mean);
  double b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
  double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    double u = rng_unit(rng) - 0.5, v = rng_unit(rng), us = 0.5 - fabs(u);
    double k = floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_r) return (uint64_t)k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    double accept = -mean + k * log_mean - log_factorial(k);
    if (log(v * inverse_alpha / (a / (us * us) + b)) <= accept) return (uint64_t)k;
  }
}

// Walks up the distribution from 0; for n p below 10.
static uint64_t binomial_inversion(struct rng *rng, double n, double p)
{
  double odds = p / (1 - p), first = exp(n * log1p(-p));
  for (;;) {
    double left = rng_unit(rng), mass = first;
    // With n p < 10 the mass beyond 200 is below 1e-150: only rounding can lead there, and it draws again.
    for (double k = 0; k <= n && k <= 200; k++) {
      if (left < mass) return (uint64_t)k;
      left -= mass;
      mass *= odds * (n - k) / (k + 1);
    }
  }
}

// BTRS; for n p at least 10 and p at most 0.5.
static uint64_t binomial_rejection(struct rng *rng, double n, double p)
{
  double root = sqrt(n * p * (1 - p));
  double b = 1.15 + 2.53 * root, a = -0.0873 + 0.0248 * b + 0.01 * p, c = n * p + 0.5;
  double v_r = 0.92 - 4.2 / b, alpha = (2.83 + 5.1 / b) * root, log_odds = log(p / (1 - p));
  double mode = floor((n + 1) * p), h = log_factorial(mode) + log_factorial(n - mode);
  for (;;) {
    double u = rng_unit(rng) - 0.5, v = rng_unit(rng), us = 0.5 - fabs(u);
    double k = floor((2 * a / us + b) * u + c);
    if (k < 0 || k > n) continue;
    if (us >= 0.07 && v <= v_r) return (uint64_t)k;
    double accept = h - log_factorial(k) - log_factorial(n - k) + (k - mode) * log_odds;
    if (log(v * alpha / (a / (us * us) + b)) <= accept) return (uint64_t)k;
  }
}

uint64_t rng_binomial(struct rng *rng, uint64_t n, double p)
{
  if (n == 0 || !(p > 0)) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - rng_binomial(rng, n, 1 - p);
  double trials = (double)n, mean = trials * p;
  if (mean < 10) return binomial_inversion(rng, trials, p);
  if (n <= (uint64_t)RNG_EXACT_MAX) return binomial_rejection(rng, trials, p);
  uint64_t draw = rounded_normal(rng, mean, sqrt(mean * (1 - p)), 0x1p63);
  return draw < n ? draw : n;
}

uint64_t rng_system_seed(void)
{
  uint64_t seed = 0;
  do {
    CHECK(getentropy(&seed, sizeof seed) == 0);
  } while (seed == 0); // 0 means "from the system" in nines_config
  return seed;
}
