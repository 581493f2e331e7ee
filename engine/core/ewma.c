// One multiplication by what is left of the past.
//
// 1 - 2^-x is taken by expm1, which keeps its digits where x is small: a value each microsecond with a half-life of a
// day still counts for what it should.
#include "ewma.h"

#include <math.h>

#define LN_2 0.693147180559945309417

void ewma_add(nines_ewma *ewma, double value, int64_t half_life_ns, int64_t now_ns)
{
  if (!isfinite(value)) return;
  int64_t at_ns = now_ns == 0 ? 1 : now_ns; // 0 says that there was nothing yet
  int64_t since_ns = ewma->at_ns;
  ewma->at_ns = at_ns;
  if (since_ns == 0 || half_life_ns <= 0) {
    ewma->value = value;
    return;
  }
  if (at_ns <= since_ns) return;
  double half_lives = (double)((uint64_t)at_ns - (uint64_t)since_ns) / (double)half_life_ns;
  double gained = -expm1(-half_lives * LN_2);
  ewma->value = ewma->value * (1 - gained) + value * gained;
}
