// Random bytes as a segment: read as a whole, or with a good header put before them, then repaired by a recorder.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "recorder.h"
#include "segment.h"

static void read_all(const char *path, size_t size)
{
  struct recording *recording;
  struct status status;
  CHECK(recording_open(&recording, path, "f", &status) == 0);
  uint8_t kind;
  struct view payload;
  bool start;
  size_t total = 0;
  while (recording_next(recording, &kind, &payload, &start, &status) == 1) total += payload.size + 1;
  CHECK(total <= size);
  CHECK(recording_offset(recording) <= size);
  recording_close(recording);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char dir[] = "/tmp/nines-fuzz-XXXXXX", path[PATH_MAX], second[PATH_MAX];
  if (size == 0) return 0;
  CHECK(mkdtemp(dir));
  char header[SEGMENT_HEADER];
  segment_header_write(header, 1, 0);
  segment_path(path, dir, "f", 1);
  segment_path(second, dir, "f", 2);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  if (data[0] & 1) CHECK(write(fd, header, sizeof(header)) == sizeof(header));
  struct buf frame = { 0 };
  if (data[0] & 2) segment_frame_add(&frame, 3, (struct view){ (const char *)data, size });
  CHECK(write(fd, frame.data ? frame.data : "", frame.size) == (ssize_t)frame.size);
  CHECK(write(fd, data + 1, size - 1) == (ssize_t)size - 1);
  close(fd);
  size_t whole = sizeof(header) + frame.size + size;
  buf_free(&frame);
  read_all(path, whole);
  struct recorder_config config = { .dir = dir, .prefix = "f" };
  struct recorder *recorder;
  struct status notice, status;
  CHECK(recorder_open(&recorder, &config, 0, 0, &notice, &status) == 0);
  recorder_close(recorder);
  read_all(dir, whole + SEGMENT_HEADER);
  unlink(path);
  unlink(second);
  rmdir(dir);
  return 0;
}
