// An average that forgets: the weight of everything so far halves every half-life, at whatever times values come.
//
//   value = value * 2^(-dt / half_life) + x * (1 - 2^(-dt / half_life)),  dt since the value before
//
// So x stands for the time since the value before it (an exponential moving average over irregular times, U. Eckner,
// "Algorithms for Unevenly Spaced Time Series", 2012: the "next point" form), a busy second weighs no more than a quiet
// one, and a value at the very time of the one before weighs nothing. The first value is the average. Some 20 ns.
#ifndef NINES_CORE_EWMA_H
#define NINES_CORE_EWMA_H

#include "nines.h"

// half_life_ns <= 0 forgets at once. Values that are no finite numbers are ignored; when the time went back, the value
// is, and the average goes on from the new time.
void ewma_add(nines_ewma *ewma, double value, int64_t half_life_ns, int64_t now_ns);

#endif
