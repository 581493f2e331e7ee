// What an engine and the processes attached to its arena tell each other: layouts in the arena.
//
// The engine's pulse is on its own pages: clients see that it lives, and that there is news. Clients write to the door:
// who they are (claims), what they would like to have (mail), which of their threads wants a stripe of its own. The
// engine reads it as a letter from a stranger: copied first, then checked, never an address.
#ifndef NINES_GUARD_ATTACH_DOOR_H
#define NINES_GUARD_ATTACH_DOOR_H

#include <stdatomic.h>
#include <stdint.h>

#include "arena.h"
#include "writer.h"

enum { ARENA_PULSE = 100, MAIL_NAME_BYTES = 192, MAIL_CONFIG_BYTES = 256, MAIL_TEXT_BYTES = 256 };
#define ARENA_DOOR (101 | ARENA_WRITABLE)

struct pulse {
  _Alignas(64) _Atomic int64_t beat_ns; // monotonic, of the last fold; 0: none yet
  _Atomic uint64_t engine;              // process_identity; 0: it has stopped
  _Atomic uint32_t stripes;             // how many stripes were ever made: a change is news
};

// A wish for an object, in the place of the number its process registered with. The state is a serial of the wish and,
// in its lowest two bits, how far it is: an answer that comes too late is none to the next wish.
enum { MAIL_NONE = 0, MAIL_POSTED = 1, MAIL_ANSWERED = 2, MAIL_STEP = 3, MAIL_SERIAL = 4 };

struct mail {
  _Alignas(64) _Atomic uint32_t state;
  uint32_t kind;
  uint32_t config_bytes;      // 0: none
  int32_t code;               // the answer: 0 or an error
  char name[MAIL_NAME_BYTES]; // ends with a zero
  char config[MAIL_CONFIG_BYTES];
  char text[MAIL_TEXT_BYTES]; // of the error
};

struct door {
  struct writer_claims claims;
  _Atomic uint64_t wanted[WRITERS_MAX]; // by the number's thread: the offset of a guard it has no stripe of; 0: none
  struct mail mail[WRITERS_MAX];
};

#endif
