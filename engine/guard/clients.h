// The engine's side of an arena that other processes attach to: who they are, what they ask for, what the dead held.
//
// Once a beat the pulse is set; wishes for objects and stripes are granted, also in between when the file's watcher
// says that somebody rings. Every 200 ms the owners of numbers are looked up: what a dead process counted as held is
// returned, then its numbers are free. Whatever clients can write is copied, then checked. [the folding thread]
#ifndef NINES_GUARD_CLIENTS_H
#define NINES_GUARD_CLIENTS_H

#include "guards.h"

struct clients;

struct writer_claims *clients_claims(struct arena *memory, struct status *status); // NULL: the arena is full
// For an arena of a file, after guards_init. Guards of clients that outlived the last engine are adopted.
int clients_open(struct nines_arena *arena, int64_t now_ns, struct status *status);
void clients_close(struct nines_arena *arena); // NULL clients are fine
void clients_serve(struct nines_arena *arena, int64_t now_ns);
void clients_tell(struct clients *clients); // a stripe was made

struct clients_usage {
  uint32_t processes, writers, writers_max; // attached now; numbers in use, of these
  uint64_t granted, refused, buried;        // since the start: wishes, processes whose numbers were taken back
};
struct clients_usage clients_usage(const struct nines_arena *arena);

#endif
