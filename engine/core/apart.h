// An object of two parts: what only the engine writes (settings, what a fold makes of counts), and what everybody who
// asks writes.
//
// In an arena that processes attach to the second part lies apart, on pages they may write, so that no stray or hostile
// store reaches a setting. Otherwise it follows the first. One distance finds it, the same in every process, because
// all map the arena as a whole; it stands in the first part, so nobody who asks can lead another astray.
#ifndef NINES_CORE_APART_H
#define NINES_CORE_APART_H

#include <stdint.h>

struct apart {
  int64_t distance; // from this field to the second part; 0: not set up yet
};

static inline void *apart_at(const struct apart *apart)
{
  return (char *)(uintptr_t)apart + apart->distance;
}
// When nobody has put the second part elsewhere, it is this one.
static inline void apart_default(struct apart *apart, void *own)
{
  if (apart->distance == 0) apart->distance = (char *)own - (char *)apart;
}

#endif
