// The state machine of a breaker, on one word: closed, open, half-open, and the states set by hand.
//
// Any number of threads and processes ask and tell without a lock. A transition is one compare-and-swap of the word,
// which carries state, generation and a time; whoever wins it owns what follows. Results carry the generation of their
// permit, so those of another state's calls are recognised and dropped (gobreaker does, Resilience4j does not). Probes
// hold numbered leases: none is ever stuck, none is counted twice. Rates over the last N calls are exact for any number
// of writers: one locked add gives a call its place in a ring of bits. Semantics are Resilience4j's (2.4.0). 1.1 KB.
#ifndef NINES_CORE_CIRCUIT_H
#define NINES_CORE_CIRCUIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "circuit_rule.h"
#include "nines.h"
#include "tally.h"

enum { CIRCUIT_LOG = 6, CIRCUIT_CELL_CALLS = 16, CIRCUIT_CELLS = CIRCUIT_CALLS_MAX / CIRCUIT_CELL_CALLS + 2 };

enum circuit_cause {       // why a transition
  CIRCUIT_BY_FAILURES = 1, // failure rate
  CIRCUIT_BY_SLOW,         // slow rate, ended calls and those in flight
  CIRCUIT_BY_LATENCY,
  CIRCUIT_BY_ROW,    // failures in a row
  CIRCUIT_BY_TIME,   // open long enough, or half-open too long
  CIRCUIT_BY_PROBES, // they went well
  CIRCUIT_BY_HAND,
};
const char *circuit_cause_text(uint32_t cause); // "failure rate", ...
const char *circuit_state_text(int state); // "closed", "open", "half_open", "disabled", "forced_open", "metrics_only"

struct circuit_verdict { // why, and the counts that it was judged by (zero: by none)
  enum circuit_cause cause;
  struct tally seen;
};

struct circuit_step { // word: the state entered; written last
  _Atomic uint64_t word;
  _Atomic int64_t at_ns;
  _Atomic uint32_t cause, from;
  _Atomic uint32_t total, bad, slow; // that decided
};
struct circuit {
  _Alignas(64) _Atomic uint64_t word;     // state, generation, time in ms: see below
  _Atomic uint32_t opened_in_a_row;       // openings since it was last closed
  _Alignas(64) _Atomic uint64_t position; // calls ever placed in the ring of cells
  _Atomic uint64_t begun;                 // position when a generation began, and which: of another one, not begun yet
  _Atomic uint64_t in_a_row;              // failures, and of which generation; written on failures, and to forget them
  _Atomic uint64_t cell[CIRCUIT_CELLS];   // two bits for each of 16 calls, and the number of the cell
  _Atomic uint64_t probe[CIRCUIT_PROBES_MAX]; // a slot's lease or result: see circuit.c
  struct circuit_step log[CIRCUIT_LOG];       // of generation g at [g % CIRCUIT_LOG]
  struct circuit_step would;                  // metrics only: the last time it would have opened
};

// The word: state 3 bits, generation 21, time in ms 40. Closed without a ramp is a word whose only bits are those of
// the generation: one test admits. Time: open: until; closed: end of the ramp; half-open: begun; metrics only: over the
// rule since; 0: none.
#define CIRCUIT_GENERATION_BITS 21
#define CIRCUIT_GENERATION_MASK ((UINT32_C(1) << CIRCUIT_GENERATION_BITS) - 1)
static inline int circuit_word_state(uint64_t word)
{
  return (int)(word & 7);
}
static inline uint32_t circuit_word_generation(uint64_t word)
{
  return (uint32_t)(word >> 3) & CIRCUIT_GENERATION_MASK;
}
static inline int64_t circuit_word_until_ns(uint64_t word)
{
  return (int64_t)(word >> 24) * 1000000;
}
static inline uint64_t circuit_load(const struct circuit *circuit)
{
  return atomic_load_explicit(&circuit->word, memory_order_acquire);
}

// A permit's token: bit 0 set; bit 1: not to be counted (disabled); generation as in the word; slot of a probe plus
// one, 6 bits; serial of its lease, 12 bits; from bit 42 on the caller's (keyed_breaker.h: 22 bits).
enum { CIRCUIT_TOKEN_GRANTED = 1, CIRCUIT_TOKEN_UNSEEN = 2 };
enum { CIRCUIT_TOKEN_SLOT_SHIFT = 24, CIRCUIT_TOKEN_SERIAL_SHIFT = 30, CIRCUIT_TOKEN_FREE_SHIFT = 42 };
static inline nines_permit circuit_permit(uint64_t word, int64_t now_ns)
{
  return (nines_permit){ now_ns, (word & (uint64_t)CIRCUIT_GENERATION_MASK << 3) | CIRCUIT_TOKEN_GRANTED };
}
static inline uint32_t circuit_permit_generation(nines_permit permit)
{
  return circuit_word_generation(permit.token);
}
static inline bool circuit_permit_probe(nines_permit permit) // is it a probe's?
{
  return (permit.token >> CIRCUIT_TOKEN_SLOT_SHIFT & 63) != 0;
}

// On zeroed memory, with the rule set. A circuit that begins open does so for the rule's time.
void circuit_init(struct circuit *circuit, const struct circuit_rule *rule, int state, int64_t now_ns);
bool circuit_valid(const struct circuit *circuit);
void circuit_rebase(struct circuit *circuit, int64_t then_ns, int64_t now_ns);

// [any] Asks. `random` is the caller's rng_quick state.
nines_permit circuit_ask_slow(struct circuit *circuit, const struct circuit_rule *rule, int64_t now_ns,
                              uint64_t *random); // when the word is not plainly closed, nor open for a while yet
static inline nines_permit circuit_ask(struct circuit *circuit, const struct circuit_rule *rule, int64_t now_ns,
                                       uint64_t *random)
{
  uint64_t word = circuit_load(circuit);
  if (__builtin_expect(!(word & ~((uint64_t)CIRCUIT_GENERATION_MASK << 3)), 1))
    return (nines_permit){ now_ns, word | CIRCUIT_TOKEN_GRANTED };
  int64_t until_ns = circuit_word_until_ns(word);
  if (circuit_word_state(word) == NINES_BREAKER_OPEN && now_ns < until_ns) return (nines_permit){ until_ns, 0 };
  return circuit_ask_slow(circuit, rule, now_ns, random);
}

enum circuit_told {
  CIRCUIT_COUNTED, // a call of the closed (or metrics-only) state: counted here when the rule counts calls, else the
                   // caller's to count
  CIRCUIT_PROBED,  // a probe: counted here, and whatever follows has happened
  CIRCUIT_LATE,    // of another generation, or its lease was over: dropped
  CIRCUIT_UNSEEN,  // disabled, or ignored by the caller: nothing to count
};
// [any] Tells the outcome of a permit. `slow`: took longer than the rule's slow_ns.
enum circuit_told circuit_tell(struct circuit *circuit, const struct circuit_rule *rule, nines_permit permit,
                               int outcome, bool slow, int64_t now_ns, uint64_t *random);
// [any] Is a tally at or over the rule? 0 or the cause.
enum circuit_cause circuit_judge(const struct circuit_rule *rule, struct tally window);
// [any] Opens if the generation is still this one. True for whoever did it. Metrics only: notes that it would have
// (once, until circuit_below), stays, and is false.
bool circuit_open(struct circuit *circuit, const struct circuit_rule *rule, uint32_t generation,
                  struct circuit_verdict verdict, int64_t now_ns, uint64_t *random);
// [any] Metrics only: the caller's window is below the rule again. One load when there is nothing to do.
void circuit_below(struct circuit *circuit, const struct circuit_rule *rule, uint32_t generation);
// [any] By hand: always a new generation, also from a state to itself. hold_ns: of open, 0: the rule's.
void circuit_put(struct circuit *circuit, const struct circuit_rule *rule, int state, int64_t hold_ns, int64_t now_ns);
// By the fold: leases that are over are free again, half-open that lasts too long ends, open that should turns
// half-open; what a change of the rule, or a killed process, left undecided is decided.
void circuit_fold(struct circuit *circuit, const struct circuit_rule *rule, int64_t now_ns, uint64_t *random);
struct tally circuit_window(const struct circuit *circuit, const struct circuit_rule *rule); // [any] over calls
struct tally circuit_trial(const struct circuit *circuit); // [any] half-open: probes that have ended

struct circuit_move { // a transition, for events; `would`: it stayed in metrics only
  int from, to;
  uint32_t generation;
  enum circuit_cause cause;
  struct tally seen;
  int64_t at_ns, until_ns;
};
// [any] The transition into a generation. False: not logged yet, or no longer (or its writer was killed).
bool circuit_move_of(const struct circuit *circuit, uint32_t generation, struct circuit_move *move);
// [any] The last time it would have opened (to: open); false: never. at_ns tells one from the next.
bool circuit_move_would(const struct circuit *circuit, struct circuit_move *move);

#endif
