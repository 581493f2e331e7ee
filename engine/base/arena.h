// Memory that outlives the process: a mapped file, addressed by offsets, never by pointers.
//
// Windows, alert states and flags live here, so that a SIGKILL loses none of them, and other processes can attach. The
// file is reserved sparse at its full size and its blocks are allocated before they are handed out, so that a full disk
// is an error of arena_alloc and never a SIGBUS later. Without a path the arena is anonymous memory (worlds, tests).
//
// It has two parts, apart by pages: what only the engine writes (the directory, settings, windows), which attached
// processes map for reading alone, and what they may write too (counts, claims). Nothing that stands in the second part
// is ever taken for an address.
//
// A directory of named objects is kept in the arena: (kind, name) to (offset, size, generation). Allocation is by size
// class with free lists; one thread allocates and frees. Every structural change is ordered so that a kill between any
// two stores leaves a valid arena (at worst some bytes leak until the next arena_open, which rebuilds the free lists
// from the directory). The header carries magic, layout version and a checksum; a foreign, older or corrupt file is set
// aside as PATH.damaged-N with a message, never deleted, and a fresh one started.
#ifndef NINES_BASE_ARENA_H
#define NINES_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

struct arena;

enum { ARENA_NAME_MAX = 200 };
#define ARENA_WRITABLE     (UINT32_C(1) << 16) // in an object's kind: it lies where attached processes may write
#define ARENA_SIZE_DEFAULT (64u << 20)

struct arena_config {
  const char *path;  // NULL: anonymous
  size_t size_bytes; // 0: ARENA_SIZE_DEFAULT; an existing file keeps its own
};

struct arena_usage {
  size_t size_bytes, used_bytes, objects, objects_max;
};

// An object found or made.
struct arena_slot {
  uint64_t offset;
  uint32_t size_bytes;
  uint32_t generation; // grows when the object is replaced
  bool fresh;          // just made: zeroed
};

// `notice` gets a sentence when a damaged file was set aside ("" otherwise).
int arena_open(struct arena **out, const struct arena_config *config, struct status *notice, struct status *status);
// Maps the arena of a running engine for another process: to find objects, not to make any. A file that is no arena, or
// of another version, is refused with a sentence; only its engine repairs it.
int arena_attach(struct arena **out, const char *path, struct status *status);
void arena_close(struct arena *arena); // unmaps; the file stays. NULL is fine

void *arena_at(const struct arena *arena, uint64_t offset); // valid until arena_close; CHECKs the range
uint64_t arena_offset(const struct arena *arena, const void *at);
// Create-or-get by kind and name. A known object of another size is replaced by a fresh one (the old piece is freed).
int arena_object(struct arena *arena, uint32_t kind, struct view name, size_t size_bytes, struct arena_slot *out,
                 struct status *status);
bool arena_find(const struct arena *arena, uint32_t kind, struct view name, struct arena_slot *out);
void arena_drop(struct arena *arena, uint32_t kind, struct view name);
// Each object of this kind, in no order.
void arena_each(const struct arena *arena, uint32_t kind, void (*each)(void *userdata, struct view name),
                void *userdata);
const char *arena_path(const struct arena *arena); // NULL: in memory
// For an attached process: whoever watches the file notices. One system call.
void arena_ring(const struct arena *arena);
bool arena_replaced(const struct arena *arena); // the path leads to another file by now, or to none
struct arena_usage arena_usage(const struct arena *arena);

#endif
