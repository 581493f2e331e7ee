// The files of a recording: their names, their headers, their frames. Shared by recorder and recording.
//
// PREFIX-00000001.rec: 32 bytes of header, then frames. A frame is varint size of the payload, kind byte, payload,
// CRC-32 (zlib, little-endian) of kind and payload.
#ifndef NINES_STATE_SEGMENT_H
#define NINES_STATE_SEGMENT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

enum { SEGMENT_HEADER = 32, SEGMENT_VERSION = 1, SEGMENT_CRC = 4 };

struct segment {
  uint64_t number;
  uint64_t bytes;
};

struct segment_list {
  struct segment *items; // by number
  size_t count, capacity;
};

char *segment_path(char out[static PATH_MAX], const char *dir, const char *prefix, uint64_t number);
// What is in the directory; NINES_EIO when it cannot be read.
int segment_list_read(struct segment_list *list, const char *dir, const char *prefix, struct status *status);
void segment_list_add(struct segment_list *list, struct segment segment);
void segment_list_remove_first(struct segment_list *list);
void segment_list_free(struct segment_list *list);

void segment_header_write(char out[static SEGMENT_HEADER], uint64_t number, int64_t wall_ns);
// 0, NINES_ECORRUPT (no header of a segment) or NINES_EVERSION.
int segment_header_check(const char header[static SEGMENT_HEADER]);
void segment_frame_add(struct buf *out, uint8_t kind, struct view payload);
uint32_t segment_crc(struct view kind_and_payload);
uint32_t segment_read_u32(const char *at);

#endif
