// A txn is a growing array of ops, applied in the order in which they were asked for.
//
// The four texts of an op live in one block, so that an op costs one allocation and the writer thread one free. The
// bookkeeping is small and the documents are bounded by whoever makes them, hence mem_must.
#include "txn.h"

#include <string.h>

#include "mem.h"

static char *place(char **at, const char *text, size_t size)
{
  char *start = *at;
  if (size > 0) memcpy(start, text, size);
  start[size] = '\0';
  *at += size + 1;
  return start;
}

static void add(struct txn *txn, enum txn_op_type type, int64_t wall_ns, const char *kind, const char *id,
                const char *actor, const struct view *json)
{
  if (txn->count == txn->capacity) {
    txn->capacity = txn->capacity ? txn->capacity * 2 : 8;
    txn->ops = mem_must_resize(txn->ops, txn->capacity * sizeof(*txn->ops));
  }
  size_t kind_size = strlen(kind), id_size = strlen(id), actor_size = actor ? strlen(actor) : 0;
  char *at = mem_must(kind_size + id_size + actor_size + (json ? json->size : 0) + 4);
  struct txn_op *op = &txn->ops[txn->count++];
  *op = (struct txn_op){ .type = type, .wall_ns = wall_ns };
  op->kind = place(&at, kind, kind_size);
  op->id = place(&at, id, id_size);
  if (actor) op->actor = place(&at, actor, actor_size);
  if (json) op->json = place(&at, json->data, json->size);
}

void txn_put(struct txn *txn, int64_t wall_ns, const char *kind, const char *id, struct view json)
{
  add(txn, TXN_PUT, wall_ns, kind, id, NULL, &json);
}

void txn_delete(struct txn *txn, int64_t wall_ns, const char *kind, const char *id)
{
  add(txn, TXN_DELETE, wall_ns, kind, id, NULL, NULL);
}

void txn_audit(struct txn *txn, int64_t wall_ns, const char *actor, const char *action, const char *target,
               struct view json)
{
  add(txn, TXN_AUDIT, wall_ns, action, target, actor, &json);
}

void txn_fini(struct txn *txn)
{
  for (uint32_t i = 0; i < txn->count; i++) mem_free(txn->ops[i].kind);
  mem_free(txn->ops);
  *txn = (struct txn){ 0 };
}

size_t txn_bytes(const struct txn *txn)
{
  size_t bytes = 0;
  for (uint32_t i = 0; i < txn->count; i++) {
    const struct txn_op *op = &txn->ops[i];
    bytes += strlen(op->kind) + strlen(op->id);
    bytes += (op->json ? strlen(op->json) : 0) + (op->actor ? strlen(op->actor) : 0);
  }
  return bytes;
}
