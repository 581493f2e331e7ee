// The reader of recordings. A file's bytes are input: sizes are checked before they are believed, and every frame's
// checksum before it is handed out.
//
// A kill in mid-write can only cut the newest segment, so only there does an incomplete (or all-zero) rest count as the
// end; anywhere else, and for a bad checksum with more data behind it, the reader stops with file and offset: a replay
// of half a truth must not look like a whole one.
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "recorder.h"
#include "segment.h"

enum { READ_CHUNK = 256 << 10, VARINT_MAX = 10 };

struct recording {
  char *dir; // NULL: `path` is the only file
  char *prefix;
  struct segment_list segments;
  size_t next_segment;
  char path[PATH_MAX]; // of the current file
  int fd;              // -1: none open
  bool single;         // one file, not a directory
  bool at_start;       // no frame of this segment was handed out yet
  bool eof;
  struct buf data; // bytes read and not yet used, from `at` on
  size_t at;
  uint64_t offset; // of data.data[at] in the file
  int failed;      // the error that ended the reading
};

int recording_open(struct recording **out, const char *path, const char *prefix, struct status *status)
{
  *out = NULL;
  struct stat info;
  if (stat(path, &info) != 0) {
    int code = errno == ENOENT ? NINES_ENOTFOUND : NINES_EIO;
    return status_set(status, code, "cannot read the recording %s: %s", path, strerror(errno));
  }
  if (strlen(path) >= PATH_MAX - 300) return status_set(status, NINES_EINVAL, "the path of the recording is too long");
  struct recording *recording = mem_must(sizeof(*recording));
  recording->fd = -1;
  recording->single = !S_ISDIR(info.st_mode);
  recording->dir = mem_must_copy(path);
  recording->prefix = mem_must_copy(prefix ? prefix : "");
  int code = 0;
  if (recording->single) {
    segment_list_add(&recording->segments, (struct segment){ .number = 1, .bytes = (uint64_t)info.st_size });
  } else {
    code = segment_list_read(&recording->segments, path, recording->prefix, status);
  }
  if (code == 0 && recording->segments.count == 0) {
    code = status_set(status, NINES_ENOTFOUND, "%s holds no recording (no file %s-*.rec)", path, recording->prefix);
  }
  if (code != 0) {
    recording_close(recording);
    return code;
  }
  *out = recording;
  return 0;
}

void recording_close(struct recording *recording)
{
  if (!recording) return;
  if (recording->fd >= 0) close(recording->fd);
  segment_list_free(&recording->segments);
  buf_free(&recording->data);
  mem_free(recording->dir);
  mem_free(recording->prefix);
  mem_free(recording);
}

uint64_t recording_offset(const struct recording *recording)
{
  return recording->offset;
}

static struct view unread(const struct recording *recording)
{
  if (recording->data.size == recording->at) return (struct view){ "", 0 };
  return (struct view){ recording->data.data + recording->at, recording->data.size - recording->at };
}

static void use(struct recording *recording, size_t size)
{
  recording->at += size;
  recording->offset += size;
}

static int fail(struct recording *recording, struct status *status, int code, const char *what)
{
  recording->failed = code;
  return status_set(status, code, "%s: %s at offset %llu", recording->path, what,
                    (unsigned long long)recording->offset);
}

// Reads until `need` bytes are there or the file ends. Moves the unread bytes.
static int fill(struct recording *recording, size_t need, struct status *status)
{
  struct buf *data = &recording->data;
  if (data->size - recording->at >= need || recording->eof) return 0;
  buf_drop_front(data, recording->at);
  recording->at = 0;
  while (data->size < need) {
    size_t chunk = need - data->size > READ_CHUNK ? need - data->size : READ_CHUNK;
    if (!buf_reserve(data, chunk)) return fail(recording, status, NINES_ENOMEM, "out of memory for a frame");
    ssize_t got = read(recording->fd, data->data + data->size, READ_CHUNK);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(recording, status, NINES_EIO, strerror(errno));
    if (got == 0) {
      recording->eof = true;
      return 0;
    }
    data->size += (size_t)got;
  }
  return 0;
}

static bool is_last(const struct recording *recording)
{
  return recording->next_segment == recording->segments.count;
}

// 1 with a segment open behind its header, 0 when there is none left.
static int next_segment(struct recording *recording, struct status *status)
{
  for (;;) {
    if (is_last(recording)) return 0;
    uint64_t number = recording->segments.items[recording->next_segment++].number;
    if (recording->single)
      snprintf(recording->path, PATH_MAX, "%s", recording->dir);
    else
      segment_path(recording->path, recording->dir, recording->prefix, number);
    buf_clear(&recording->data);
    recording->at = 0;
    recording->offset = 0;
    recording->eof = false;
    recording->at_start = true;
    recording->fd = open(recording->path, O_RDONLY | O_CLOEXEC);
    if (recording->fd < 0 && errno == ENOENT && !recording->single) continue; // the oldest was just deleted
    if (recording->fd < 0) return fail(recording, status, NINES_EIO, strerror(errno));
    int code = fill(recording, SEGMENT_HEADER, status);
    if (code != 0) return code;
    struct view rest = unread(recording);
    if (rest.size < SEGMENT_HEADER) {
      if (is_last(recording)) return 0; // torn while it was made
      return fail(recording, status, NINES_ECORRUPT, "the header is cut short");
    }
    code = segment_header_check(rest.data);
    if (code == NINES_EVERSION) return fail(recording, status, code, "written by another version of nines");
    if (code != 0) return fail(recording, status, code, "this is no recording of nines, or its header is damaged");
    use(recording, SEGMENT_HEADER);
    return 1;
  }
}

static bool is_zero_to_end(struct recording *recording, struct status *status)
{
  for (;;) {
    struct view rest = unread(recording);
    for (size_t i = 0; i < rest.size; i++) {
      if (rest.data[i] != 0) return false;
    }
    recording->at += rest.size; // not `use`: the offset stays where the good frames end
    if (recording->eof) return true;
    if (fill(recording, 1, status) != 0) return false;
  }
}

// The segment ends in an incomplete frame.
static int torn(struct recording *recording, struct status *status)
{
  if (is_last(recording)) return 0;
  return fail(recording, status, NINES_ECORRUPT, "a frame is cut short");
}

static int read_frame(struct recording *recording, uint8_t *kind, struct view *payload, struct status *status)
{
  int code = fill(recording, VARINT_MAX, status);
  if (code != 0) return code;
  struct view rest = unread(recording);
  if (rest.size == 0) return 0;
  struct view after = rest;
  uint64_t size = 0;
  if (!view_varint(&after, &size)) {
    if (rest.size < VARINT_MAX) return torn(recording, status);
    return fail(recording, status, NINES_ECORRUPT, "the size of a frame is damaged");
  }
  if (size > RECORDER_FRAME_MAX) return fail(recording, status, NINES_ECORRUPT, "the size of a frame is damaged");
  size_t size_bytes = rest.size - after.size;
  size_t frame = size_bytes + 1 + (size_t)size + SEGMENT_CRC;
  code = fill(recording, frame, status);
  if (code != 0) return code;
  rest = unread(recording);
  if (rest.size < frame) return torn(recording, status);

  struct view body = { rest.data + size_bytes, 1 + (size_t)size };
  if (segment_crc(body) != segment_read_u32(body.data + body.size)) {
    code = fill(recording, frame + 1, status);
    if (code != 0) return code;
    if (is_last(recording) && unread(recording).size == frame) return 0; // the last frame, half written
    if (is_last(recording) && is_zero_to_end(recording, status)) return 0;
    return fail(recording, status, NINES_ECORRUPT, "the checksum of a frame does not fit");
  }
  *kind = (uint8_t)body.data[0];
  *payload = (struct view){ body.data + 1, (size_t)size };
  use(recording, frame);
  return 1;
}

int recording_next(struct recording *recording, uint8_t *kind, struct view *payload, bool *segment_start,
                   struct status *status)
{
  if (recording->failed != 0) {
    return status_set(status, recording->failed, "%s: reading ended at offset %llu", recording->path,
                      (unsigned long long)recording->offset);
  }
  for (;;) {
    if (recording->fd < 0) {
      int code = next_segment(recording, status);
      if (code != 1) return code;
    }
    int code = read_frame(recording, kind, payload, status);
    if (code == 1) {
      *segment_start = recording->at_start;
      recording->at_start = false;
    }
    if (code != 0) return code;
    if (is_last(recording)) return 0;
    close(recording->fd);
    recording->fd = -1;
  }
}
