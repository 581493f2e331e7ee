// Append-only recordings in bounded, checksummed segments: what replay reads and onset is estimated from.
//
// DIR/PREFIX-00000001.rec ...: a header (magic "NINESREC", version, segment number, wall time), then frames: varint
// size, kind byte, payload, CRC-32 (zlib) of kind and payload. A segment is closed at segment_bytes or segment_ns; the
// oldest is deleted when all together exceed total_bytes. A torn tail (a kill in mid-write) is cut off at the next
// open, with a notice. A new segment starts at every open, and after every failed write; `on_segment` lets the owner
// write what makes a segment readable by itself.
#ifndef NINES_STATE_RECORDER_H
#define NINES_STATE_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "recording.h"
#include "status.h"

enum { RECORDER_FRAME_MAX = 16 << 20, RECORDER_SEGMENTS_MAX = 1000 }; // more segments: the oldest are deleted

struct recorder;

struct recorder_config {
  const char *dir; // made if missing
  const char *prefix;
  size_t segment_bytes;                                          // 0: 4 MiB; at most a quarter of total_bytes
  int64_t segment_ns;                                            // 0: 1 h
  size_t total_bytes;                                            // 0: 64 MiB
  void (*on_segment)(void *userdata, struct recorder *recorder); // first thing in each new segment; may be NULL
  void *userdata;
};

struct recorder_usage {
  uint64_t segments, bytes, frames, dropped_bytes, failed_writes;
};

int recorder_open(struct recorder **out, const struct recorder_config *config, int64_t now_ns, int64_t wall_ns,
                  struct status *notice, struct status *status);
void recorder_close(struct recorder *recorder); // writes what is buffered. NULL is fine
// Buffered until recorder_flush (call it once a beat). A write that fails (full disk) is counted, drops the frames and
// says so once; a new segment is tried every second then. A frame above RECORDER_FRAME_MAX counts as a failed write.
void recorder_append(struct recorder *recorder, uint8_t kind, struct view payload);
int recorder_flush(struct recorder *recorder, int64_t now_ns, int64_t wall_ns, struct status *status);
struct recorder_usage recorder_usage(const struct recorder *recorder);

#endif
