// "Did you mean": the candidate most like a word.
#ifndef NINES_BASE_NEAREST_H
#define NINES_BASE_NEAREST_H

#include "buf.h"

struct nearest {
  struct view word;
  const char *best; // NULL while nothing is near enough
  size_t distance;
};

void nearest_init(struct nearest *nearest, struct view word);
// Edit distance with transpositions (Damerau, restricted). Near enough: at most max(1, length / 3).
void nearest_try(struct nearest *nearest, const char *candidate);

#endif
