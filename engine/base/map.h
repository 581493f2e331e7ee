// A map from strings to pointers that iterates in order of insertion (the order of creation the rules ask for).
//
// Keys are copied. The values belong to the caller. Removal keeps the order of the rest.
#ifndef NINES_BASE_MAP_H
#define NINES_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct map_entry {
  char *key; // NULL marks a removed entry
  size_t key_size;
  uint64_t hash;
  void *value;
};

struct map {
  struct map_entry *entries; // in order of insertion
  size_t used;               // entries in use, removed ones included
  size_t capacity;
  uint32_t *slots; // open addressing; entry index + 1
  size_t slot_count;
  size_t count; // living entries
};

void map_fini(struct map *map);                             // frees the keys, not the values
void *map_get(const struct map *map, struct view key);      // NULL when absent
int map_put(struct map *map, struct view key, void *value); // 0 or NINES_ENOMEM; replaces the value of a known key
void *map_remove(struct map *map, struct view key);         // the value, or NULL
// Walks in order: start with *at = 0; returns NULL at the end. The map must not grow during the walk; removal is fine.
struct map_entry *map_next(const struct map *map, size_t *at);
// The known key most like `word` (edit distance at most a third of its length, at least 1), or NULL: "did you mean".
const char *map_nearest(const struct map *map, struct view word);

#endif
