// A circuit's last N calls: what failed, what was slow, exact for any number of writers.
//
// One locked add gives a call its place (5 ns alone, some 15 with two threads); only failures and slow calls write
// more. Reading the window is one pass over N / 16 words.
#ifndef NINES_CORE_CIRCUIT_CALLS_H
#define NINES_CORE_CIRCUIT_CALLS_H

#include "circuit.h"

// [any] Counts a call. How many the generation has had up to it; 0: the generation is over, nothing was counted.
uint64_t circuit_calls_add(struct circuit *circuit, uint32_t generation, bool bad, bool slow);
// [any] Over the rule's window, in the generation of `word`.
struct tally circuit_calls_sum(const struct circuit *circuit, const struct circuit_rule *rule, uint64_t word);
bool circuit_calls_valid(const struct circuit *circuit);

#endif
