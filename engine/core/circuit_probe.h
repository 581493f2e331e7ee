// A circuit's probes while half-open: as many slots, each leased to one call at a time.
//
// Never more than the rule's probes are out or counted in one generation, under any number of threads; a probe that
// never returns costs its slot for the time of the lease, no more. An ask costs a few loads and one compare-and-swap.
#ifndef NINES_CORE_CIRCUIT_PROBE_H
#define NINES_CORE_CIRCUIT_PROBE_H

#include "circuit.h"

uint32_t circuit_probe_count(const struct circuit_rule *rule); // at most CIRCUIT_PROBES_MAX
// [any] Leases the first slot that is free; `word` is the half-open circuit's. *stale: it has moved on, nothing was
// leased. Refused: all are out or used up.
nines_permit circuit_probe_lease(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word,
                                 int64_t now_ns, bool *stale);
// [any] Ends a probe: CIRCUIT_PROBED, _UNSEEN (ignored: the slot is free again) or _LATE (the lease was over).
enum circuit_told circuit_probe_end(struct circuit *circuit, nines_permit permit, int outcome, bool slow,
                                    int64_t now_ns);
struct tally circuit_probe_sum(const struct circuit *circuit, uint32_t generation);    // [any] ended ones
void circuit_probe_fold(struct circuit *circuit, uint32_t generation, int64_t now_ns); // frees leases that are over
// Nobody is left who would end those under way: their slots are free at once, late results are dropped.
void circuit_probe_orphan(struct circuit *circuit);
void circuit_probe_rebase(struct circuit *circuit, int64_t shift_ns);

#endif
