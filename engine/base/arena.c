// The directory and the pieces of an arena.
//
// The directory's entries are the only truth in the file. An entry is written while its state says empty and becomes an
// object by one store of its state; a replacement is a second entry with a higher generation, after which the old one
// is dropped by one store. A kill between any two stores thus leaves the old object, the new one, or both, and
// arena_open keeps the newer of two. The map of names and the free lists are this process's own and made anew at open,
// so no kill can hurt them, nor a process that is attached.
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "arena_file.h"
#include "check.h"
#include "map.h"
#include "mem.h"

enum {
  CLASS_COUNT = 136, // up to 64 GiB
  ENTRY_CHUNK = 64,  // entries backed at once
};
#define DATA_CHUNK ((uint64_t)1 << 20) // data backed at once

struct arena {
  struct arena_file file;
  struct arena_header *header;
  struct arena_entry *entries;
  uint32_t objects_max, entries_ready;
  uint32_t spare; // index + 1 of the first empty entry
  uint32_t generation;
  struct map names; // kind and name to entry
  struct zone {
    uint64_t from, end;
    uint64_t top;         // no piece at or beyond it
    uint64_t backed;      // data before it has blocks
    uint64_t pieces_used; // bytes in living pieces
    struct offsets {
      uint64_t *at;
      uint32_t count, capacity;
    } free[CLASS_COUNT]; // in memory of our own: whoever writes to free pieces cannot lead us astray
  } zones[2];            // what only the engine writes, and what attached processes may
  bool attached;
};

struct key {
  char bytes[sizeof(uint32_t) + ARENA_NAME_MAX];
};

static struct view key_of(struct key *key, uint32_t kind, struct view name)
{
  memcpy(key->bytes, &kind, sizeof kind);
  if (name.size > 0) memcpy(key->bytes + sizeof kind, name.data, name.size);
  return (struct view){ key->bytes, sizeof kind + name.size };
}

// Classes in units of 64 bytes: 1 2 3 4, then four to each doubling: 5 6 7 8, 10 12 14 16, 20 24 ...
static uint32_t class_of(uint64_t units)
{
  if (units <= 4) return (uint32_t)units - 1;
  uint32_t top = 63 - (uint32_t)__builtin_clzll(units - 1);
  return 4 * (top - 1) + (uint32_t)((units - 1) >> (top - 2) & 3);
}

static uint64_t class_bytes(uint32_t class)
{
  if (class < 4) return (uint64_t)(class + 1) * ARENA_PIECE_ALIGN;
  return (uint64_t)(4 + (class & 3) + 1) << (class / 4 - 1) << 6;
}

static uint32_t class_for(uint64_t size_bytes)
{
  return class_of((size_bytes + ARENA_PIECE_ALIGN - 1) / ARENA_PIECE_ALIGN);
}

static uint64_t piece_bytes(const struct arena_entry *entry)
{
  return class_bytes(class_for(entry->size_bytes));
}

void *arena_at(const struct arena *arena, uint64_t offset)
{
  CHECK(offset >= arena->zones[0].from && offset < arena->file.size);
  return arena->file.base + offset;
}

uint64_t arena_offset(const struct arena *arena, const void *at)
{
  uint64_t offset = (uint64_t)((const char *)at - arena->file.base);
  CHECK(offset >= arena->zones[0].from && offset < arena->file.size);
  return offset;
}

static struct zone *zone_of(struct arena *arena, uint32_t kind)
{
  return &arena->zones[(kind & ARENA_WRITABLE) != 0];
}

// Without memory for its place a piece is lost until the next free_rebuild.
static void free_push(struct zone *zone, uint32_t class, uint64_t offset)
{
  struct offsets *list = &zone->free[class];
  if (list->count == list->capacity) {
    uint32_t capacity = list->capacity > 0 ? list->capacity * 2 : 8;
    uint64_t *at = mem_resize(list->at, capacity * sizeof *at);
    if (at == NULL) return;
    list->at = at;
    list->capacity = capacity;
  }
  list->at[list->count++] = offset;
}

static uint64_t free_pop(struct zone *zone, uint32_t class)
{
  struct offsets *list = &zone->free[class];
  return list->count > 0 ? list->at[--list->count] : 0;
}

// Cuts a gap into the largest pieces that fit.
static void carve(struct zone *zone, uint64_t from, uint64_t to)
{
  while (from < to) {
    uint32_t class = class_of((to - from) / ARENA_PIECE_ALIGN);
    if (class_bytes(class) > to - from) class --;
    free_push(zone, class, from);
    from += class_bytes(class);
  }
}

static int by_offset(const void *left, const void *right)
{
  const struct arena_entry *a = *(const struct arena_entry *const *)left,
                           *b = *(const struct arena_entry *const *)right;
  return (a->offset > b->offset) - (a->offset < b->offset);
}

// Everything between the living pieces becomes free, which also joins neighbours again.
static int zone_rebuild(struct arena *arena, struct zone *zone, struct arena_entry **live, size_t count,
                        struct status *status)
{
  uint64_t end = zone->from, used = 0;
  for (size_t i = 0; i < count; i++) {
    if (zone_of(arena, live[i]->kind) != zone) continue;
    if (live[i]->offset < end) return status_set(status, NINES_ECORRUPT, "two of its objects overlap");
    end = live[i]->offset + piece_bytes(live[i]);
    used += piece_bytes(live[i]);
  }
  if (end > zone->backed) {
    int code = arena_file_back(&arena->file, zone->from, end, status);
    zone->backed = end;
    if (code < 0) return code;
  }
  for (int class = 0; class < CLASS_COUNT; class ++) zone->free[class].count = 0;
  zone->top = zone->from;
  zone->pieces_used = used;
  for (size_t i = 0; i < count; i++) {
    if (zone_of(arena, live[i]->kind) != zone) continue;
    carve(zone, zone->top, live[i]->offset);
    zone->top = live[i]->offset + piece_bytes(live[i]);
  }
  return 0;
}

static int free_rebuild(struct arena *arena, struct status *status)
{
  size_t count = 0;
  struct arena_entry **live = mem_alloc((arena->names.count + 1) * sizeof *live);
  if (live == NULL) return status_set(status, NINES_ENOMEM, "out of memory for the directory of an arena");
  size_t at = 0;
  for (struct map_entry *named; (named = map_next(&arena->names, &at)) != NULL;) live[count++] = named->value;
  qsort(live, count, sizeof *live, by_offset);
  int code = zone_rebuild(arena, &arena->zones[0], live, count, status);
  if (code == 0) code = zone_rebuild(arena, &arena->zones[1], live, count, status);
  mem_free(live);
  return code;
}

// The one store that makes or drops an object; the compiler may move nothing across it.
static void entry_set(struct arena_entry *entry, uint32_t state)
{
  atomic_signal_fence(memory_order_seq_cst);
  atomic_store_explicit(&entry->state, state, memory_order_release);
  atomic_signal_fence(memory_order_seq_cst);
}

static void entry_retire(struct arena *arena, struct arena_entry *entry)
{
  entry_set(entry, ARENA_ENTRY_EMPTY);
  entry->offset = arena->spare;
  arena->spare = (uint32_t)(entry - arena->entries) + 1;
}

static int entry_check(const struct arena *arena, const struct arena_entry *entry, struct status *reason)
{
  if (entry->name_size > ARENA_NAME_MAX || entry->checksum != arena_entry_sum(entry))
    return status_set(reason, NINES_ECORRUPT, "an object of its directory fails its checksum");
  const struct zone *zone = &arena->zones[(entry->kind & ARENA_WRITABLE) != 0];
  bool sound = entry->size_bytes > 0 && entry->offset >= zone->from && entry->offset < zone->end &&
               entry->offset % ARENA_PIECE_ALIGN == 0 && piece_bytes(entry) <= zone->end - entry->offset;
  return sound ? 0 : status_set(reason, NINES_ECORRUPT, "an object of its directory has an impossible place");
}

// Generations wrap.
static bool is_newer(uint32_t generation, uint32_t than)
{
  return (int32_t)(generation - than) > 0;
}

static int entry_load(struct arena *arena, struct arena_entry *entry, struct status *status)
{
  int code = entry_check(arena, entry, status);
  if (code < 0) return code;
  struct key key;
  struct view name = key_of(&key, entry->kind, (struct view){ entry->name, entry->name_size });
  struct arena_entry *twin = map_get(&arena->names, name);
  if (twin != NULL && twin->generation == entry->generation)
    return status_set(status, NINES_ECORRUPT, "an object stands twice in its directory");
  if (is_newer(entry->generation, arena->generation)) arena->generation = entry->generation;
  if (twin != NULL && is_newer(twin->generation, entry->generation)) {
    entry_retire(arena, entry);
    return 0;
  }
  if (twin != NULL) entry_retire(arena, twin);
  if (map_put(&arena->names, name, entry) < 0)
    return status_set(status, NINES_ENOMEM, "out of memory for the directory of an arena");
  return 0;
}

// CORRUPT: the file must go aside.
static int directory_load(struct arena *arena, struct status *status)
{
  uint64_t end = ARENA_HEADER_BYTES + (uint64_t)arena->entries_ready * sizeof *arena->entries;
  int code = arena_file_back(&arena->file, ARENA_HEADER_BYTES, end, status);
  // Backwards, so that the empty entries are used up from the front.
  for (uint32_t i = arena->entries_ready; i-- > 0 && code == 0;) {
    struct arena_entry *entry = &arena->entries[i];
    uint32_t state = atomic_load_explicit(&entry->state, memory_order_acquire);
    if (state == ARENA_ENTRY_LIVE)
      code = entry_load(arena, entry, status);
    else if (state == ARENA_ENTRY_EMPTY)
      entry_retire(arena, entry);
    else
      code = status_set(status, NINES_ECORRUPT, "an entry of its directory is neither empty nor an object");
  }
  return code < 0 ? code : free_rebuild(arena, status);
}

static void find_parts(struct arena *arena)
{
  arena->header = (struct arena_header *)(void *)arena->file.base;
  arena->entries = (struct arena_entry *)(void *)(arena->file.base + ARENA_HEADER_BYTES);
  arena->objects_max = arena->header->objects_max;
  arena->entries_ready = (uint32_t)atomic_load(&arena->header->entries_ready);
  uint64_t border[3] = { arena->header->data_offset, arena->header->shared_offset, arena->file.size };
  for (int i = 0; i < 2; i++) {
    struct zone *zone = &arena->zones[i];
    zone->from = zone->top = zone->backed = border[i];
    zone->end = border[i + 1];
  }
}

int arena_open(struct arena **out, const struct arena_config *config, struct status *notice, struct status *status)
{
  *out = NULL;
  if (notice != NULL) *notice = (struct status){ 0 };
  // Twice: a file that goes aside makes room for a fresh one, which has no directory to be damaged.
  for (int tries = 0; tries < 2; tries++) {
    struct arena *arena = mem_must(sizeof *arena);
    struct status reason = { 0 };
    int code = arena_file_open(&arena->file, config, notice, status);
    if (code == 0) {
      find_parts(arena);
      code = directory_load(arena, &reason);
      if (code == 0) {
        *out = arena;
        return 0;
      }
      if (code == NINES_ECORRUPT)
        code = arena_file_set_aside(&arena->file, &reason, notice, status);
      else
        status_set(status, code, "%s", reason.text);
    }
    arena_close(arena);
    if (code < 0) return code;
  }
  return status_set(status, NINES_ECORRUPT, "%s is damaged as soon as it is made; check its disk", config->path);
}

int arena_attach(struct arena **out, const char *path, struct status *status)
{
  struct arena *arena = mem_must(sizeof *arena);
  int code = arena_file_attach(&arena->file, path, status);
  *out = NULL;
  if (code < 0) {
    mem_free(arena);
    return code;
  }
  arena->attached = true;
  find_parts(arena);
  *out = arena;
  return 0;
}

void arena_close(struct arena *arena)
{
  if (arena == NULL) return;
  arena_file_close(&arena->file);
  map_fini(&arena->names);
  for (int i = 0; i < 2; i++)
    for (int class = 0; class < CLASS_COUNT; class ++) mem_free(arena->zones[i].free[class].at);
  mem_free(arena);
}

static int refuse_full(const struct arena *arena, const char *what, struct status *status)
{
  return status_set(status, NINES_ELIMIT,
                    "the arena %s has no room for %s: %zu objects of at most %u, %llu of %zu bytes; declare less, or "
                    "move the file away and start with a larger one",
                    arena->file.path != NULL ? arena->file.path : "in memory", what, arena->names.count,
                    arena->objects_max, (unsigned long long)arena_usage(arena).used_bytes, arena->file.size);
}

// Fresh space at the top, backed in chunks; when the disk has no whole chunk left, just what is needed.
static uint64_t piece_bump(struct arena *arena, struct zone *zone, uint64_t bytes, struct status *status)
{
  uint64_t offset = zone->top, end = offset + bytes;
  if (bytes > zone->end - offset) {
    refuse_full(arena, "another piece", status);
    return 0;
  }
  if (end > zone->backed) {
    uint64_t chunk = zone->end - zone->backed < DATA_CHUNK ? zone->end : zone->backed + DATA_CHUNK;
    if (chunk < end || arena_file_back(&arena->file, zone->backed, chunk, NULL) < 0) chunk = end;
    if (arena_file_back(&arena->file, zone->backed, chunk, status) < 0) return 0;
    zone->backed = chunk;
  }
  zone->top = end;
  return offset;
}

// The smallest free piece that is larger, cut.
static uint64_t piece_split(struct zone *zone, uint32_t class)
{
  for (uint32_t larger = class + 1; larger < CLASS_COUNT; larger++) {
    uint64_t offset = free_pop(zone, larger);
    if (offset == 0) continue;
    carve(zone, offset + class_bytes(class), offset + class_bytes(larger));
    return offset;
  }
  return 0;
}

static int piece_take(struct arena *arena, struct zone *zone, size_t size_bytes, uint64_t *out, struct status *status)
{
  uint32_t class = class_for(size_bytes);
  struct status ignored;
  for (int tries = 0; tries < 2; tries++) {
    *out = free_pop(zone, class);
    if (*out == 0) *out = piece_bump(arena, zone, class_bytes(class), status);
    if (*out == 0) *out = piece_split(zone, class);
    if (*out != 0) {
      zone->pieces_used += class_bytes(class);
      return 0;
    }
    if (tries == 0 && free_rebuild(arena, &ignored) < 0) break;
  }
  return status != NULL ? status->code : NINES_ELIMIT;
}

static void piece_give(struct arena *arena, const struct arena_entry *entry)
{
  struct zone *zone = zone_of(arena, entry->kind);
  zone->pieces_used -= piece_bytes(entry);
  free_push(zone, class_for(entry->size_bytes), entry->offset);
}

// The object goes before its piece does.
static void object_retire(struct arena *arena, struct arena_entry *entry)
{
  entry_set(entry, ARENA_ENTRY_EMPTY);
  piece_give(arena, entry);
  entry_retire(arena, entry);
}

// Leaves arena->spare at an empty entry.
static int entry_reserve(struct arena *arena, struct status *status)
{
  if (arena->spare != 0) return 0;
  uint32_t from = arena->entries_ready, to = from + ENTRY_CHUNK;
  if (to > arena->objects_max) to = arena->objects_max;
  if (from == to) return refuse_full(arena, "another object", status);
  uint64_t place = ARENA_HEADER_BYTES + (uint64_t)from * sizeof *arena->entries;
  int code = arena_file_back(&arena->file, place, place + (uint64_t)(to - from) * sizeof *arena->entries, status);
  if (code < 0) return code;
  memset(&arena->entries[from], 0, (to - from) * sizeof *arena->entries);
  atomic_store_explicit(&arena->header->entries_ready, arena_ready_word(to), memory_order_release);
  arena->entries_ready = to;
  for (uint32_t i = to; i-- > from;) entry_retire(arena, &arena->entries[i]);
  return 0;
}

static void describe(const struct arena_entry *entry, bool fresh, struct arena_slot *out)
{
  *out = (struct arena_slot){ entry->offset, entry->size_bytes, entry->generation, fresh };
}

// A new object under this name; an old one of that name is dropped once the new one stands.
static int object_make(struct arena *arena, struct view key, uint32_t kind, struct view name, uint32_t size_bytes,
                       struct arena_slot *out, struct status *status)
{
  struct arena_entry *old = map_get(&arena->names, key);
  uint64_t offset = 0;
  int code = entry_reserve(arena, status);
  if (code == 0) code = piece_take(arena, zone_of(arena, kind), size_bytes, &offset, status);
  if (code < 0) return code;
  struct arena_entry *entry = &arena->entries[arena->spare - 1];
  uint32_t spare_next = (uint32_t)entry->offset;
  entry->kind = kind;
  entry->generation = arena->generation + 1;
  if (old != NULL && !is_newer(entry->generation, old->generation)) entry->generation = old->generation + 1;
  entry->size_bytes = size_bytes;
  entry->offset = offset;
  entry->name_size = (uint32_t)name.size;
  if (name.size > 0) memcpy(entry->name, name.data, name.size);
  entry->checksum = arena_entry_sum(entry);
  if (map_put(&arena->names, key, entry) < 0) {
    piece_give(arena, entry);
    entry->offset = spare_next;
    return status_set(status, NINES_ENOMEM, "out of memory for the name of an object");
  }
  memset(arena_at(arena, offset), 0, piece_bytes(entry));
  entry_set(entry, ARENA_ENTRY_LIVE);
  arena->spare = spare_next;
  arena->generation = entry->generation;
  describe(entry, true, out);
  if (old != NULL) object_retire(arena, old);
  return 0;
}

int arena_object(struct arena *arena, uint32_t kind, struct view name, size_t size_bytes, struct arena_slot *out,
                 struct status *status)
{
  struct status local;
  CHECK(!arena->attached);
  if (status == NULL) status = &local;
  if (name.size > ARENA_NAME_MAX)
    return status_set(status, NINES_EINVAL, "the name %.40s... has %zu bytes; at most %d are allowed", name.data,
                      name.size, ARENA_NAME_MAX);
  if (size_bytes == 0) return status_set(status, NINES_EINVAL, "an object of no bytes");
  if (size_bytes > arena->file.size || size_bytes > UINT32_MAX) return refuse_full(arena, "so large an object", status);
  struct key key;
  struct view full = key_of(&key, kind, name);
  const struct arena_entry *known = map_get(&arena->names, full);
  if (known == NULL || known->size_bytes != size_bytes)
    return object_make(arena, full, kind, name, (uint32_t)size_bytes, out, status);
  describe(known, false, out);
  return 0;
}

// In a directory that its engine may be writing to: an entry that changes meanwhile fails its checksum.
static bool find_attached(const struct arena *arena, uint32_t kind, struct view name, struct arena_slot *out)
{
  bool found = false;
  uint64_t ready = atomic_load_explicit(&arena->header->entries_ready, memory_order_acquire);
  if (ready != arena_ready_word((uint32_t)ready) || (uint32_t)ready > arena->objects_max) return false;
  for (uint32_t i = 0; i < (uint32_t)ready; i++) {
    const struct arena_entry *shared = &arena->entries[i];
    if (atomic_load_explicit(&shared->state, memory_order_acquire) != ARENA_ENTRY_LIVE || shared->kind != kind ||
        shared->name_size != name.size || memcmp(shared->name, name.data, name.size) != 0)
      continue;
    struct arena_entry entry;
    memcpy((void *)&entry, shared, sizeof entry);
    if (entry_check(arena, &entry, NULL) < 0 || (found && !is_newer(entry.generation, out->generation))) continue;
    *out = (struct arena_slot){ entry.offset, entry.size_bytes, entry.generation, false };
    found = true;
  }
  return found;
}

bool arena_find(const struct arena *arena, uint32_t kind, struct view name, struct arena_slot *out)
{
  struct key key;
  if (name.size > ARENA_NAME_MAX) return false;
  if (arena->attached) return find_attached(arena, kind, name, out);
  const struct arena_entry *entry = map_get(&arena->names, key_of(&key, kind, name));
  if (entry != NULL) describe(entry, false, out);
  return entry != NULL;
}

void arena_drop(struct arena *arena, uint32_t kind, struct view name)
{
  struct key key;
  if (name.size > ARENA_NAME_MAX) return;
  struct arena_entry *entry = map_remove(&arena->names, key_of(&key, kind, name));
  if (entry != NULL) object_retire(arena, entry);
}

void arena_each(const struct arena *arena, uint32_t kind, void (*each)(void *userdata, struct view name),
                void *userdata)
{
  for (uint32_t i = 0; i < arena->entries_ready; i++) {
    const struct arena_entry *entry = &arena->entries[i];
    if (atomic_load_explicit(&entry->state, memory_order_acquire) == ARENA_ENTRY_LIVE && entry->kind == kind)
      each(userdata, (struct view){ entry->name, entry->name_size });
  }
}

const char *arena_path(const struct arena *arena)
{
  return arena->file.path;
}

void arena_ring(const struct arena *arena)
{
  arena_file_touch(&arena->file);
}

bool arena_replaced(const struct arena *arena)
{
  return arena_file_replaced(&arena->file);
}

struct arena_usage arena_usage(const struct arena *arena)
{
  uint64_t pieces = arena->zones[0].pieces_used + arena->zones[1].pieces_used;
  return (struct arena_usage){ arena->file.size, arena->zones[0].from + pieces, arena->names.count,
                               arena->objects_max };
}
