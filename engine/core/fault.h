// A fault point: a place in a request path where a game-day may break things.
//
// Disabled, asking is one relaxed load and one branch, here in the header. An injection fills the fields and then
// publishes a word that was never published before; a reader copies the fields and looks at the word again. If that
// changed meanwhile it injects nothing and does not try again: nobody waits, and a kill half way through an injection
// leaves the point disabled. An injection ends at until_ns by the time of whoever asks: no one has to be left to heal.
#ifndef NINES_CORE_FAULT_H
#define NINES_CORE_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apart.h"
#include "nines.h"
#include "status.h"

enum { FAULT_MATCH_MAX = 47 };

struct fault_open {
  _Alignas(64) _Atomic uint64_t hits; // calls hit since the start
  _Atomic uint64_t healed;            // the injection that somebody ended
};

struct fault {
  _Alignas(64) _Atomic uint64_t word; // 0: disabled; else the number of the injection in force
  _Atomic uint64_t injections;        // the last number given
  struct apart apart;                 // of the open part
  // Of the injection in force:
  _Atomic int64_t until_ns, latency_ns, jitter_ns;
  _Atomic int32_t kind, error;
  _Atomic uint32_t threshold; // hit when a draw of 32 bits is at most this
  _Atomic uint32_t matching;  // enum fault_matching
  _Atomic uint64_t match[(FAULT_MATCH_MAX + 1) / sizeof(uint64_t)];
  struct fault_open own;
};
static inline struct fault_open *fault_open(const struct fault *fault)
{
  return apart_at(&fault->apart);
}

void fault_init(struct fault *fault); // on zeroed memory

// By one thread at a time. Injects, in the place of what is injected, until config->until_ns.
int fault_inject(struct fault *fault, const nines_fault_config *config, int64_t now_ns, struct status *status);
bool fault_valid(const struct fault *fault);
void fault_rebase(struct fault *fault, int64_t then_ns, int64_t now_ns);
// [any] When what is injected at now_ns ends; 0: nothing is.
int64_t fault_until(const struct fault *fault, int64_t now_ns);

// [any] The rest of asking, when something may be injected. `key` NULL: a call without one.
nines_fault_action fault_strike(struct fault *fault, const char *key, int64_t now_ns, uint64_t *random);
// [any] False: nothing is injected, and the caller need not even look up its random state.
static inline bool fault_armed(const struct fault *fault)
{
  return __builtin_expect(atomic_load_explicit(&fault->word, memory_order_relaxed) != 0, 0);
}
// [any]
static inline nines_fault_action fault_ask(struct fault *fault, const char *key, int64_t now_ns, uint64_t *random)
{
  if (!fault_armed(fault)) return (nines_fault_action){ NINES_FAULT_NONE, 0, 0 };
  return fault_strike(fault, key, now_ns, random);
}
// [any] Ends what is injected, at once; its word goes with the next fold.
static inline void fault_heal(const struct fault *fault)
{
  atomic_store_explicit(&fault_open(fault)->healed, atomic_load_explicit(&fault->word, memory_order_acquire),
                        memory_order_release);
}
void fault_fold(struct fault *fault, int64_t now_ns); // each beat, one thread: what is healed or over is disabled
static inline uint64_t fault_count(const struct fault *fault) // [any]
{
  return atomic_load_explicit(&fault_open(fault)->hits, memory_order_relaxed);
}

#endif
