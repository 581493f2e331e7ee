// A flag as the request path sees it: one word that the engine writes.
#ifndef NINES_GUARD_FLAGS_H
#define NINES_GUARD_FLAGS_H

#include "guards.h"

enum { FLAG_UNKNOWN = 1, FLAG_OFF = 2, FLAG_ON = 3 }; // 0: damaged or fresh

void flag_publish(struct guard *guard, bool on); // by the engine
void flag_withdraw(struct guard *guard);         // nobody declares it

#endif
