// Blocks in a chain, the newest first; allocation bumps a counter in the newest. An allocation too large to share a
// block gets one of its own behind the newest, which keeps filling.
#include "pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mem.h"

enum { POOL_ALIGN = 16, POOL_FIRST = 4096, POOL_BLOCK_MAX = 64 << 10 };

struct pool_block {
  struct pool_block *older;
  size_t size, used; // of data
  _Alignas(POOL_ALIGN) char data[];
};

static void free_chain(struct pool_block *block)
{
  while (block) {
    struct pool_block *older = block->older;
    mem_free(block);
    block = older;
  }
}

void pool_fini(struct pool *pool)
{
  free_chain(pool->blocks);
  pool->blocks = NULL;
  pool->used_bytes = 0;
}

void pool_reset(struct pool *pool)
{
  pool->used_bytes = 0;
  // One block of ordinary size stays; a giant must not stay with a pool that lives as long as the engine.
  struct pool_block **keep = &pool->blocks;
  while (*keep && ((*keep)->older || (*keep)->size > POOL_BLOCK_MAX)) {
    struct pool_block *gone = *keep;
    *keep = gone->older;
    mem_free(gone);
  }
  if (pool->blocks) pool->blocks->used = 0;
}

static struct pool_block *add_block(struct pool *pool, size_t size)
{
  struct pool_block *newest = pool->blocks;
  size_t next = newest ? newest->size * 2 : POOL_FIRST;
  if (next > POOL_BLOCK_MAX) next = POOL_BLOCK_MAX;
  bool alone = size > next / 2;
  struct pool_block *block = mem_alloc(sizeof *block + (alone ? size : next));
  if (!block) return NULL;
  *block = (struct pool_block){ .size = alone ? size : next };
  if (alone && newest) {
    block->older = newest->older;
    newest->older = block;
  } else {
    block->older = newest;
    pool->blocks = block;
  }
  return block;
}

void *pool_alloc(struct pool *pool, size_t size)
{
  if (size > SIZE_MAX / 4) return NULL;
  size = size > 0 ? (size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1) : POOL_ALIGN;
  if (pool->limit_bytes > 0 && (pool->used_bytes > pool->limit_bytes || size > pool->limit_bytes - pool->used_bytes)) {
    return NULL;
  }
  struct pool_block *block = pool->blocks;
  if (!block || block->size - block->used < size) block = add_block(pool, size);
  if (!block) return NULL;
  void *data = memset(block->data + block->used, 0, size);
  block->used += size;
  pool->used_bytes += size;
  return data;
}

char *pool_copy(struct pool *pool, struct view text)
{
  if (text.size == SIZE_MAX) return NULL;
  char *copy = pool_alloc(pool, text.size + 1);
  if (copy && text.size > 0) memcpy(copy, text.data, text.size);
  return copy;
}
