// A batch of changes to the store that become durable together: documents and audit entries.
//
// The store keeps JSON documents by (kind, id); every noun of the engine (alert, deployment, flag, keep, outbox,
// effect, ...) is a kind. A turn of the engine collects one txn; what must not happen before it is durable waits for
// its commit.
#ifndef NINES_STATE_TXN_H
#define NINES_STATE_TXN_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum txn_op_type { TXN_PUT, TXN_DELETE, TXN_AUDIT };

struct txn_op {
  enum txn_op_type type;
  char *kind;      // of the document; audit: the action ("deploy.rollback"). Owns the block that holds all four texts
  char *id;        // audit: the target ("payment-service")
  char *json;      // the document; audit: details; NULL for TXN_DELETE
  char *actor;     // audit only: "person:ann", "policy:payments.lua"
  int64_t wall_ns; // of the change
};

struct txn {
  struct txn_op *ops;
  uint32_t count, capacity;
};

void txn_put(struct txn *txn, int64_t wall_ns, const char *kind, const char *id, struct view json);
void txn_delete(struct txn *txn, int64_t wall_ns, const char *kind, const char *id);
void txn_audit(struct txn *txn, int64_t wall_ns, const char *actor, const char *action, const char *target,
               struct view json);
void txn_fini(struct txn *txn);          // frees the ops; empty and usable again
size_t txn_bytes(const struct txn *txn); // of all texts, for limits

// How stores hand out documents (io/store.h, memory_store.h).
typedef void txn_each_fn(void *userdata, const char *id, struct view json);

#endif
