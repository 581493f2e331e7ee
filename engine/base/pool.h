// A bump allocator for things that die together: the tree of one parsed document, the arguments of one call.
#ifndef NINES_BASE_POOL_H
#define NINES_BASE_POOL_H

#include <stddef.h>

#include "buf.h"

struct pool_block;
struct pool {
  struct pool_block *blocks;
  size_t used_bytes;  // handed out so far
  size_t limit_bytes; // 0: no limit; pool_alloc returns NULL beyond it
};

void pool_fini(struct pool *pool);                // frees everything; the pool is empty and usable
void pool_reset(struct pool *pool);               // forgets everything, keeps the first block: the hot path of calls
void *pool_alloc(struct pool *pool, size_t size); // 16-byte aligned, zeroed; NULL when out of memory or over the limit
char *pool_copy(struct pool *pool, struct view text); // NUL-terminated copy, or NULL

#endif
