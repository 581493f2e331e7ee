// The handle of a breaker: its view for the core, and its table of keys if it has one.
#ifndef NINES_GUARD_BREAKERS_H
#define NINES_GUARD_BREAKERS_H

#include "breaker.h"
#include "guards.h"
#include "keyed_breaker.h"

struct nines_breaker {
  struct guard guard; // shared: struct breaker
  struct guard *keys; // of keyed_breaker_kind; NULL: none
};

#endif
