// Open addressing over 64-byte entries that begin with the full hash, so that a hit costs one cache line for the entry
// and one for its key. The hash multiplies 8 bytes at a time into 128 bits and folds (after Wang Yi's wyhash); it is
// seeded from the system, so that a sender cannot choose names that collide.
#include "statsd_cache.h"

#include <string.h>

#include "mem.h"
#include "pool.h"
#include "rng.h"

enum { ENTRIES_MIN = 1024, KEY_BYTES_PER_ENTRY = 256 };

struct statsd_cache {
  struct statsd_entry *entries;
  uint32_t mask, count, entries_max;
  uint64_t seed;
  struct pool keys;
};

static uint64_t load8(const char *at)
{
  uint64_t word;
  memcpy(&word, at, 8);
  return word;
}

// Up to 8 bytes, as one number; different sizes are told apart by the caller.
static uint64_t load_tail(const char *at, size_t size)
{
  if (size >= 4) {
    uint32_t low, high;
    memcpy(&low, at, 4);
    memcpy(&high, at + size - 4, 4);
    return (uint64_t)high << 32 | low;
  }
  if (size == 0) return 0;
  return (uint64_t)(unsigned char)at[0] << 16 | (uint64_t)(unsigned char)at[size >> 1] << 8 |
         (unsigned char)at[size - 1];
}

static uint64_t fold(uint64_t a, uint64_t b)
{
  __extension__ unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_bytes(uint64_t hash, const char *at, size_t size)
{
  const uint64_t k0 = 0xa0761d6478bd642fULL, k1 = 0xe7037ed1a0b428dbULL;
  hash ^= fold(size ^ k0, k1);
  for (; size > 16; size -= 16, at += 16) hash = fold(load8(at) ^ k0, load8(at + 8) ^ hash);
  uint64_t low, high = 0;
  if (size > 8) {
    low = load8(at);
    high = load_tail(at + 8, size - 8);
  } else {
    low = load_tail(at, size);
  }
  return fold(low ^ k1, high ^ hash);
}

struct statsd_cache *statsd_cache_open(uint32_t entries_max)
{
  struct statsd_cache *cache = mem_zalloc(sizeof *cache);
  struct statsd_entry *entries = mem_zalloc(ENTRIES_MIN * sizeof *entries);
  if (cache == NULL || entries == NULL) {
    mem_free(cache);
    mem_free(entries);
    return NULL;
  }
  cache->entries = entries;
  cache->mask = ENTRIES_MIN - 1;
  cache->entries_max = entries_max > ENTRIES_MIN ? entries_max : ENTRIES_MIN;
  cache->seed = rng_system_seed();
  cache->keys.limit_bytes = (size_t)cache->entries_max * KEY_BYTES_PER_ENTRY;
  return cache;
}

void statsd_cache_close(struct statsd_cache *cache)
{
  if (cache == NULL) return;
  pool_fini(&cache->keys);
  mem_free(cache->entries);
  mem_free(cache);
}

static void forget_all(struct statsd_cache *cache)
{
  memset(cache->entries, 0, ((size_t)cache->mask + 1) * sizeof *cache->entries);
  cache->count = 0;
  pool_reset(&cache->keys);
}

static void grow(struct statsd_cache *cache)
{
  uint32_t size = (cache->mask + 1) * 2;
  struct statsd_entry *entries = size <= cache->entries_max * 2 ? mem_zalloc(size * sizeof *entries) : NULL;
  if (entries == NULL) {
    forget_all(cache);
    return;
  }
  for (uint32_t i = 0; i <= cache->mask; i++) {
    if (cache->entries[i].hash == 0) continue;
    uint32_t at = (uint32_t)cache->entries[i].hash & (size - 1);
    while (entries[at].hash != 0) at = (at + 1) & (size - 1);
    entries[at] = cache->entries[i];
  }
  mem_free(cache->entries);
  cache->entries = entries;
  cache->mask = size - 1;
}

static bool entry_is(const struct statsd_entry *entry, const struct statsd_line *line)
{
  return entry->name_size == line->name.size && entry->tags_size == line->tags.size && entry->type == line->type &&
         entry->separator == line->tag_separator && memcmp(entry->key, line->name.data, line->name.size) == 0 &&
         (line->tags.size == 0 || memcmp(entry->key + line->name.size, line->tags.data, line->tags.size) == 0);
}

static struct statsd_entry *find(struct statsd_cache *cache, uint64_t hash, const struct statsd_line *line)
{
  uint32_t at = (uint32_t)hash & cache->mask;
  for (; cache->entries[at].hash != 0; at = (at + 1) & cache->mask)
    if (cache->entries[at].hash == hash && entry_is(&cache->entries[at], line)) break;
  return &cache->entries[at];
}

struct statsd_entry *statsd_cache_get(struct statsd_cache *cache, const struct statsd_line *line, bool *fresh)
{
  uint64_t hash = hash_bytes(cache->seed + line->type, line->name.data, line->name.size);
  if (line->tags.size > 0) hash = hash_bytes(hash, line->tags.data, line->tags.size);
  if (hash == 0) hash = 1; // 0 means free
  struct statsd_entry *entry = find(cache, hash, line);
  *fresh = entry->hash == 0;
  if (!*fresh) return entry;
  if (cache->count >= (cache->mask + 1) / 2) {
    grow(cache);
    entry = find(cache, hash, line);
  }
  size_t size = line->name.size + line->tags.size;
  char *key = pool_alloc(&cache->keys, size);
  if (key == NULL) {
    forget_all(cache);
    entry = find(cache, hash, line);
    key = pool_alloc(&cache->keys, size);
    if (key == NULL) return NULL;
  }
  memcpy(key, line->name.data, line->name.size);
  if (line->tags.size > 0) memcpy(key + line->name.size, line->tags.data, line->tags.size);
  *entry = (struct statsd_entry){ .hash = hash,
                                  .key = key,
                                  .name_size = (uint16_t)line->name.size,
                                  .tags_size = (uint16_t)line->tags.size,
                                  .type = (uint8_t)line->type,
                                  .separator = (uint8_t)line->tag_separator };
  cache->count++;
  return entry;
}
