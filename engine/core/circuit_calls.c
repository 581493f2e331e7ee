// A call's place is where `position` stood; its two bits are in the cell of that place, under the cell's number. A cell
// with another number reads as sixteen successes, so a success writes nothing and what was there a ring ago is never
// seen again. A writer that is held up between the two steps counts as a success until it goes on; when its cell has
// been taken by then, its call is long out of the window.
//
// A generation begins at the first place one of its calls took: whoever comes first says so, and whoever was earlier
// without having said it corrects it. A call told just as its generation ends may leave its place, as a success, to the
// next one: at most one for each thread and transition.
#include "circuit_calls.h"

#include "circuit_word.h"

#define POSITION_BITS 43
#define POSITION_MASK ((UINT64_C(1) << POSITION_BITS) - 1)
#define ALL_CALLS     ((UINT64_C(1) << CIRCUIT_CELL_CALLS) - 1)

static uint32_t window_calls(const struct circuit_rule *rule)
{
  uint32_t calls = word_get(&rule->window_calls);
  return calls < CIRCUIT_CALLS_MAX ? calls : CIRCUIT_CALLS_MAX;
}

// Calls placed since the generation began, those told last included.
static uint64_t placed_since(uint64_t position, uint64_t begun)
{
  return (position - begun) & POSITION_MASK;
}

struct tally circuit_calls_sum(const struct circuit *circuit, const struct circuit_rule *rule, uint64_t word)
{
  struct tally tally = { 0 };
  uint64_t begun = word_load(&circuit->begun), position = word_load(&circuit->position), calls = window_calls(rule);
  if (begun >> POSITION_BITS != circuit_word_generation(word)) return tally;
  tally.total = placed_since(position, begun);
  if (tally.total > calls) tally.total = calls;
  if (tally.total == 0) return tally;
  uint64_t first = position - tally.total, last = position - 1;
  uint32_t index = (uint32_t)(first / CIRCUIT_CELL_CALLS % CIRCUIT_CELLS);
  for (uint64_t n = first / CIRCUIT_CELL_CALLS; n <= last / CIRCUIT_CELL_CALLS; n++) {
    uint64_t cell = word_load(&circuit->cell[index]), mask = ALL_CALLS;
    if (++index == CIRCUIT_CELLS) index = 0;
    if (cell >> 32 != (uint32_t)n) continue;
    if (n == first / CIRCUIT_CELL_CALLS) mask &= ALL_CALLS << first % CIRCUIT_CELL_CALLS;
    if (n == last / CIRCUIT_CELL_CALLS) mask &= ALL_CALLS >> (CIRCUIT_CELL_CALLS - 1 - last % CIRCUIT_CELL_CALLS);
    tally.bad += (uint64_t)__builtin_popcountll(cell & mask);
    tally.slow += (uint64_t)__builtin_popcountll(cell >> CIRCUIT_CELL_CALLS & mask);
  }
  return tally;
}

// Writes a call's bits, unless its cell has since been taken by calls a whole ring later.
static void mark(struct circuit *circuit, uint64_t place, bool bad, bool slow)
{
  uint64_t number = place / CIRCUIT_CELL_CALLS;
  uint64_t bits = ((uint64_t)bad | (uint64_t)slow << CIRCUIT_CELL_CALLS) << place % CIRCUIT_CELL_CALLS;
  _Atomic uint64_t *cell = &circuit->cell[number % CIRCUIT_CELLS];
  uint64_t seen = word_load(cell), wanted;
  do {
    int32_t ahead = (int32_t)((uint32_t)(seen >> 32) - (uint32_t)number);
    if (ahead > 0) return;
    wanted = ahead == 0 ? seen | bits : (uint64_t)(uint32_t)number << 32 | bits;
  } while (!word_swap(cell, &seen, wanted));
}

// The generation's window begins at the first place that one of its calls took. False: the generation is over.
static bool begin(struct circuit *circuit, uint32_t generation, uint64_t place, uint64_t *begun)
{
  *begun = word_load(&circuit->begun);
  for (;;) {
    if (*begun >> POSITION_BITS == generation) {
      if (placed_since(place, *begun) <= POSITION_MASK / 2) return true;
    } else if (circuit_word_generation(word_load(&circuit->word)) != generation) { // read after it: not a newer one's
      return false;
    }
    uint64_t wanted = (uint64_t)generation << POSITION_BITS | (place & POSITION_MASK);
    if (word_swap(&circuit->begun, begun, wanted)) *begun = wanted;
  }
}

uint64_t circuit_calls_add(struct circuit *circuit, uint32_t generation, bool bad, bool slow)
{
  uint64_t place = atomic_fetch_add_explicit(&circuit->position, 1, memory_order_seq_cst), begun;
  if (!begin(circuit, generation, place, &begun)) return 0;
  if (bad || slow) mark(circuit, place, bad, slow);
  return placed_since(place + 1, begun);
}

bool circuit_calls_valid(const struct circuit *circuit)
{
  uint64_t word = word_load(&circuit->word), begun = word_load(&circuit->begun);
  uint64_t position = word_load(&circuit->position);
  if (begun >> POSITION_BITS == circuit_word_generation(word) && placed_since(position, begun) > POSITION_MASK / 2)
    return false;
  for (uint32_t i = 0; i < CIRCUIT_CELLS; i++) {
    uint32_t number = (uint32_t)(word_load(&circuit->cell[i]) >> 32);
    if ((int32_t)(number - (uint32_t)(position / CIRCUIT_CELL_CALLS)) > 0) return false;
  }
  return true;
}
