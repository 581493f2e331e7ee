// The file below an arena: its layout on disk, its lock, its blocks (private to arena*.c and their tests).
//
//   header page | objects_max directory entries | the engine's pieces | pieces that attached processes may write
// each piece at a multiple of 64 bytes, the last part at a page.
#ifndef NINES_BASE_ARENA_FILE_H
#define NINES_BASE_ARENA_FILE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "hash.h"

#define ARENA_MAGIC "nines\x1a\r\n"

enum {
  ARENA_LAYOUT = 2,
  ARENA_HEADER_BYTES = 4096,
  ARENA_ENTRY_EMPTY = 0,
  ARENA_ENTRY_LIVE = 0x4556494c,
  ARENA_PIECE_ALIGN = 64,
};

struct arena_header {
  char magic[8];
  uint32_t layout, objects_max;
  uint64_t size_bytes, data_offset;
  uint64_t shared_offset;         // from here on attached processes may write
  uint64_t checksum;              // over everything above; nothing above ever changes
  _Atomic uint64_t entries_ready; // how many entries have blocks; the upper half is the complement of the lower
  _Atomic int32_t owner_pid;      // who holds the lock
};

struct arena_entry {
  _Atomic uint32_t state; // not in the checksum: storing it is what makes or drops the object
  uint32_t kind, generation, size_bytes;
  uint64_t offset; // while empty: index + 1 of the next empty entry
  uint64_t checksum;
  uint32_t name_size;
  char name[ARENA_NAME_MAX];
  char unused[20];
};
_Static_assert(sizeof(struct arena_entry) == 256, "the layout on disk");
_Static_assert(sizeof(struct arena_header) <= ARENA_HEADER_BYTES, "the layout on disk");

static inline uint64_t arena_header_sum(const struct arena_header *header)
{
  return hash_add(HASH_START, header, offsetof(struct arena_header, checksum));
}
static inline uint64_t arena_entry_sum(const struct arena_entry *entry)
{
  uint64_t sum = hash_add(HASH_START, &entry->kind, 3 * sizeof entry->kind);
  sum = hash_add(sum, &entry->offset, sizeof entry->offset);
  sum = hash_add(sum, &entry->name_size, sizeof entry->name_size);
  return hash_add(sum, entry->name, entry->name_size <= ARENA_NAME_MAX ? entry->name_size : 0);
}
static inline uint64_t arena_ready_word(uint32_t count)
{
  return (uint64_t)~count << 32 | count;
}

struct arena_file {
  int fd;     // -1: anonymous
  char *path; // NULL: anonymous
  char *base;
  size_t size;
  bool attached; // another process's
};

// Opens or makes the file, locks and maps it; its header is then sound. Damaged files are set aside on the way.
int arena_file_open(struct arena_file *file, const struct arena_config *config, struct status *notice,
                    struct status *status);
void arena_file_close(struct arena_file *file);
// Maps the file of another process's arena; its header is then sound.
int arena_file_attach(struct arena_file *file, const char *path, struct status *status);
void arena_file_touch(const struct arena_file *file); // its times change, which a watcher sees
bool arena_file_replaced(const struct arena_file *file);
// Makes sure that [from, to) has blocks.
int arena_file_back(const struct arena_file *file, uint64_t from, uint64_t to, struct status *status);
// Renames the open file to PATH.damaged-N, closes it, and says so in `notice` with the sentence of `reason`.
int arena_file_set_aside(struct arena_file *file, const struct status *reason, struct status *notice,
                         struct status *status);

#endif
