// The fast lane of POST /v1/observations: one object, an array, or NDJSON, read in one pass without building a tree.
//
// {"path": TEXT, "duration_ms": NUMBER, "ok": BOOL | "status": INTEGER, "service", "version", "region": TEXT, "ts":
// NUMBER (Unix seconds) or TEXT (RFC 3339)} `path` is required; ok defaults to true; status 500-599 is a failure, below
// is not; both given: ok wins. null means absent, except for path. Unknown keys are skipped if their value is valid
// JSON; a known one given twice is refused. Texts are UTF-8 without control characters, at most OBSERVATION_NAME_MAX
// bytes. A batch is taken or refused as a whole; observations are numbered from 0.
#ifndef NINES_IO_OBSERVATION_H
#define NINES_IO_OBSERVATION_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

enum { OBSERVATIONS_MAX = 100000, OBSERVATION_NAME_MAX = 200, OBSERVATION_DEPTH_MAX = 32 };

struct observation {
  struct view path, service, version, region; // into the body
  int64_t duration_ns;                        // -1: none
  int64_t wall_ns;                            // of `ts`; 0: none
  bool ok;
};

struct observations {
  struct observation *items;
  size_t count, capacity;
  size_t bad_index;  // of the first bad one, when parsing fails
  const char *field; // at fault, or NULL
};

// Unescapes texts in place, so `body` changes; it need not end with NUL. NINES_EINVAL, NINES_ELIMIT, NINES_ENOMEM.
// Errors: "observation 17: duration_ms: -3 is negative". Reuse `out` to
// reuse its memory.
int observations_parse(char *body, size_t size, struct observations *out, struct status *status);
void observations_fini(struct observations *observations);

#endif
