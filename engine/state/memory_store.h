// The simulated store of worlds: the same documents as io/store keeps, in memory.
//
// What was applied counts as durable: a world that simulates a crash throws its engine away, keeps this, and opens the
// next engine on it.
#ifndef NINES_STATE_MEMORY_STORE_H
#define NINES_STATE_MEMORY_STORE_H

#include <stdint.h>

#include "txn.h"

struct memory_store;

struct memory_store *memory_store_open(void);
void memory_store_close(struct memory_store *store); // NULL is fine
void memory_store_apply(struct memory_store *store, const struct txn *txn);
// Documents of a kind in order of creation. The callback may not apply anything.
void memory_store_each(struct memory_store *store, const char *kind, txn_each_fn *each, void *userdata);
uint64_t memory_store_audits(const struct memory_store *store); // audit entries so far

#endif
