// Reading what a recorder wrote: segments in order, frame by frame.
#ifndef NINES_STATE_RECORDING_H
#define NINES_STATE_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

struct recording;

// `path`: a directory (all segments of `prefix` in order) or one segment file.
int recording_open(struct recording **out, const char *path, const char *prefix, struct status *status);
// 1: a frame (payload valid until the next call), 0: the end (a torn tail of the last segment counts as the end), or an
// error with file and offset, which stays. *segment_start is true for the first frame of a segment.
int recording_next(struct recording *recording, uint8_t *kind, struct view *payload, bool *segment_start,
                   struct status *status);
// Where the last good frame of the current segment ends: what a torn tail is cut back to.
uint64_t recording_offset(const struct recording *recording);
void recording_close(struct recording *recording); // NULL is fine

#endif
