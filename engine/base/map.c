// Entries in an array in order of insertion, found through a table of slots (open addressing, linear probing).
//
// A removed entry keeps its place in both, so that probing and walks are not disturbed; the dead are dropped when the
// array is full, and it only grows when more than half of it is alive. Slots are at least twice the entries, so probing
// always meets an empty one.
#include "map.h"

#include <string.h>

#include "hash.h"
#include "mem.h"
#include "nearest.h"
#include "nines.h"

enum { MAP_FIRST = 8 };

void map_fini(struct map *map)
{
  for (size_t i = 0; i < map->used; i++) mem_free(map->entries[i].key);
  mem_free(map->entries);
  mem_free(map->slots);
  *map = (struct map){ 0 };
}

static struct map_entry *find(const struct map *map, struct view key, uint64_t hash)
{
  if (map->slot_count == 0) return NULL;
  size_t mask = map->slot_count - 1;
  for (size_t slot = hash & mask; map->slots[slot] != 0; slot = (slot + 1) & mask) {
    struct map_entry *entry = &map->entries[map->slots[slot] - 1];
    if (entry->key && entry->hash == hash && view_equal((struct view){ entry->key, entry->key_size }, key)) {
      return entry;
    }
  }
  return NULL;
}

static void link_slot(uint32_t *slots, size_t slot_count, uint64_t hash, size_t index)
{
  size_t slot = hash & (slot_count - 1);
  while (slots[slot] != 0) slot = (slot + 1) & (slot_count - 1);
  slots[slot] = (uint32_t)(index + 1);
}

// Drops the dead, in place, and links the living anew.
static void compact(struct map *map)
{
  size_t kept = 0;
  memset(map->slots, 0, map->slot_count * sizeof *map->slots);
  for (size_t i = 0; i < map->used; i++) {
    if (!map->entries[i].key) continue;
    map->entries[kept] = map->entries[i];
    link_slot(map->slots, map->slot_count, map->entries[kept].hash, kept);
    kept++;
  }
  map->used = kept;
}

// Makes room for one entry; the map is unchanged when memory is out.
static int make_room(struct map *map)
{
  if (map->used < map->capacity) return 0;
  if (map->count > map->capacity / 2 || map->capacity == 0) {
    size_t capacity = map->capacity > 0 ? map->capacity * 2 : MAP_FIRST;
    if (capacity > UINT32_MAX / 2) return NINES_ENOMEM;
    uint32_t *slots = mem_alloc(capacity * 2 * sizeof *slots);
    struct map_entry *entries = slots ? mem_resize(map->entries, capacity * sizeof *entries) : NULL;
    if (!entries) {
      mem_free(slots);
      return NINES_ENOMEM;
    }
    mem_free(map->slots);
    map->slots = slots;
    map->slot_count = capacity * 2;
    map->entries = entries;
    map->capacity = capacity;
  }
  compact(map);
  return 0;
}

void *map_get(const struct map *map, struct view key)
{
  const struct map_entry *entry = find(map, key, hash_add(HASH_START, key.data, key.size));
  return entry ? entry->value : NULL;
}

int map_put(struct map *map, struct view key, void *value)
{
  uint64_t hash = hash_add(HASH_START, key.data, key.size);
  struct map_entry *known = find(map, key, hash);
  if (known) {
    known->value = value;
    return 0;
  }
  char *copy = mem_alloc(key.size + 1);
  if (!copy || make_room(map) != 0) {
    mem_free(copy);
    return NINES_ENOMEM;
  }
  if (key.size > 0) memcpy(copy, key.data, key.size);
  copy[key.size] = '\0';
  map->entries[map->used] = (struct map_entry){ .key = copy, .key_size = key.size, .hash = hash, .value = value };
  link_slot(map->slots, map->slot_count, hash, map->used);
  map->used++;
  map->count++;
  return 0;
}

void *map_remove(struct map *map, struct view key)
{
  struct map_entry *entry = find(map, key, hash_add(HASH_START, key.data, key.size));
  if (!entry) return NULL;
  mem_free(entry->key);
  entry->key = NULL;
  map->count--;
  return entry->value;
}

struct map_entry *map_next(const struct map *map, size_t *at)
{
  while (*at < map->used) {
    struct map_entry *entry = &map->entries[(*at)++];
    if (entry->key) return entry;
  }
  return NULL;
}

const char *map_nearest(const struct map *map, struct view word)
{
  struct nearest nearest;
  nearest_init(&nearest, word);
  size_t at = 0;
  for (const struct map_entry *entry = map_next(map, &at); entry; entry = map_next(map, &at)) {
    nearest_try(&nearest, entry->key);
  }
  return nearest.best;
}
