// Two levels of maps: kind to documents, id to JSON text. Maps keep the order of insertion on replacement, which is the
// order of creation that io/store keeps with its sequence numbers. Of the audit only the count is kept: a world asks
// its events, not its audit.
#include "memory_store.h"

#include "check.h"
#include "map.h"
#include "mem.h"

struct memory_store {
  struct map kinds; // of struct map of text
  uint64_t audits;
};

struct memory_store *memory_store_open(void)
{
  return mem_must(sizeof(struct memory_store));
}

void memory_store_close(struct memory_store *store)
{
  if (!store) return;
  size_t kind_at = 0;
  for (struct map_entry *kind; (kind = map_next(&store->kinds, &kind_at));) {
    struct map *documents = kind->value;
    size_t at = 0;
    for (struct map_entry *document; (document = map_next(documents, &at));) mem_free(document->value);
    map_fini(documents);
    mem_free(documents);
  }
  map_fini(&store->kinds);
  mem_free(store);
}

static void put(struct map *map, const char *key, void *value)
{
  // Out of memory here would lose a durable document; a world without memory is over anyhow.
  CHECK(map_put(map, view_of(key), value) == 0);
}

static void put_document(struct memory_store *store, const struct txn_op *op)
{
  struct map *documents = map_get(&store->kinds, view_of(op->kind));
  if (!documents) {
    documents = mem_must(sizeof(*documents));
    put(&store->kinds, op->kind, documents);
  }
  void *old = map_get(documents, view_of(op->id));
  put(documents, op->id, mem_must_copy(op->json));
  mem_free(old);
}

static void delete_document(struct memory_store *store, const struct txn_op *op)
{
  struct map *documents = map_get(&store->kinds, view_of(op->kind));
  if (documents) mem_free(map_remove(documents, view_of(op->id)));
}

void memory_store_apply(struct memory_store *store, const struct txn *txn)
{
  for (uint32_t i = 0; i < txn->count; i++) {
    const struct txn_op *op = &txn->ops[i];
    switch (op->type) {
    case TXN_PUT:
      put_document(store, op);
      break;
    case TXN_DELETE:
      delete_document(store, op);
      break;
    case TXN_AUDIT:
      store->audits++;
      break;
    }
  }
}

void memory_store_each(struct memory_store *store, const char *kind, txn_each_fn *each, void *userdata)
{
  const struct map *documents = map_get(&store->kinds, view_of(kind));
  if (!documents) return;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(documents, &at));) each(userdata, entry->key, view_of(entry->value));
}

uint64_t memory_store_audits(const struct memory_store *store)
{
  return store->audits;
}
