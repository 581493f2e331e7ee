// The SQLite journal: documents and a hash-chained audit, written by one thread (WAL, synchronous=FULL).
//
// DIR/nines.db. The loop hands over whole txns and hears of their commit later, in order; several waiting txns share
// one SQLite transaction. The audit's head (sequence and hash) is also kept in DIR/audit.head, replaced after each
// commit that extends it, so that a rewritten or shortened table is noticed. A damaged database is set aside as
// nines.db.damaged-N, with a notice, never deleted. A full disk or an I/O error fails the txn with its sentence; the
// store tries again with the next one. An audit that does not fit its anchor is told by a notice and by an entry
// "audit.mismatch" of its own; the old anchor is kept as audit.head.damaged-N. One process at a time (DIR/nines.lock).
#ifndef NINES_IO_STORE_H
#define NINES_IO_STORE_H

#include <stdint.h>

#include "audit.h"
#include "status.h"
#include "txn.h"

struct store;

struct store_config {
  const char *dir;
  uint32_t queue_max;           // tickets not yet polled; 0: 1024
  void (*wake)(void *userdata); // [any] called by the writer thread when store_poll has something
  void *userdata;
};

struct store_usage {
  uint64_t commits, failures, queued, queue_max, bytes; // bytes: of the database and its log
  int64_t commit_ns_last, commit_ns_max;
};

typedef void store_commit_fn(void *userdata, uint64_t ticket, int code, const char *error);

int store_open(struct store **out, const struct store_config *config, struct status *notice, struct status *status);
void store_close(struct store *store); // commits what is queued
// Takes the txn's ops (it is empty afterwards). Returns a ticket above all earlier ones, or 0 when the queue is full
// (the txn is untouched).
uint64_t store_commit(struct store *store, struct txn *txn);
void store_poll(struct store *store, store_commit_fn *done, void *userdata); // finished tickets, in order
// Documents of a kind in order of creation. Best before the first commit: it reads what is committed, and waits for a
// commit under way.
int store_each(struct store *store, const char *kind, txn_each_fn *each, void *userdata, struct status *status);
// A consistent copy of the living database at `file`, which must not exist (SQLite's VACUUM INTO, by the writer
// thread); reported as a ticket.
uint64_t store_backup(struct store *store, const char *file);
struct store_usage store_usage(const struct store *store);

#endif
