// Edit distance by three rolling rows: insertion, deletion, replacement and the swap of two neighbours cost one each.
// Words beyond 64 bytes get no suggestion: nobody mistypes those by a letter, and the rows stay on the stack.
#include "nearest.h"

#include <string.h>

enum { NEAREST_MAX = 64 };

static size_t least(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t distance(struct view a, struct view b)
{
  size_t rows[3][NEAREST_MAX + 1];
  size_t *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= b.size; j++) above[j] = j;
  for (size_t i = 1; i <= a.size; i++) {
    row[0] = i;
    for (size_t j = 1; j <= b.size; j++) {
      size_t cost = a.data[i - 1] == b.data[j - 1] ? 0 : 1;
      row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
      bool swapped = i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1];
      if (swapped) row[j] = least(row[j], before[j - 2] + 1);
    }
    size_t *spare = before;
    before = above;
    above = row;
    row = spare;
  }
  return above[b.size];
}

void nearest_init(struct nearest *nearest, struct view word)
{
  *nearest = (struct nearest){ .word = word };
}

void nearest_try(struct nearest *nearest, const char *candidate)
{
  struct view other = view_of(candidate);
  if (nearest->word.size > NEAREST_MAX || other.size > NEAREST_MAX) return;
  size_t allowed = nearest->word.size / 3 > 1 ? nearest->word.size / 3 : 1;
  size_t found = distance(nearest->word, other);
  if (found > allowed || (nearest->best && found >= nearest->distance)) return;
  nearest->best = candidate;
  nearest->distance = found;
}
