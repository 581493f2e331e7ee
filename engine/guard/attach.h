// A process that uses the arena of an engine in another one: nines_attach.
//
// Handles are made here and point into the engine's arena; what they point at, the engine makes (attach_door.h).
// Without an engine a handle has scratch memory of its own instead, and the request path answers by its `lost` default;
// nobody but a caller of _get or fold ever waits or calls the system.
#ifndef NINES_GUARD_ATTACH_H
#define NINES_GUARD_ATTACH_H

#include "guards.h"

int attachment_get(struct nines_arena *arena, const struct guard_kind *kind, const char *name, const void *config,
                   struct guard **out);
uint32_t attachment_wants(struct guard *guard, uint32_t writer); // [any] for guard_wants
void attachment_fold(struct nines_arena *arena, int64_t now_ns); // looks for the engine
void attachment_close(struct nines_arena *arena);

#endif
