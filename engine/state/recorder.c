// The writer of recordings. Frames are gathered in memory and written with one call a beat, so that recording costs the
// loop one system call and never a wait for the disk (nothing is synced: a recording survives a kill of the engine; of
// a power failure it may lose the last seconds, which the checksums show).
//
// After a failed write the file is cut back to its last whole frame and left. What was dropped may be what later frames
// build upon (times are differences), so recording goes on in a new segment only, begun by the owner's on_segment.
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "segment.h"

#define SEGMENT_BYTES_DEFAULT ((size_t)4 << 20)
#define SEGMENT_NS_DEFAULT    (3600LL * 1000000000)
#define TOTAL_BYTES_DEFAULT   ((size_t)64 << 20)
#define BUFFER_MAX            ((size_t)1 << 20)
#define RETRY_NS              1000000000LL

struct recorder {
  struct recorder_config config; // dir and prefix are copies
  struct segment_list segments;  // on disk, the current one last
  uint64_t total_bytes;
  uint64_t last_number;
  int fd; // -1: recording is interrupted
  int64_t segment_start_ns;
  int64_t retry_ns;
  struct buf pending;
  uint64_t pending_frames;
  struct recorder_usage usage;
  int error; // errno of the failure that is not yet told
  bool told; // this interruption was reported
  char path[PATH_MAX];
};

static void drop_pending(struct recorder *recorder)
{
  recorder->usage.dropped_bytes += recorder->pending.size;
  recorder->pending_frames = 0;
  buf_free(&recorder->pending); // also leaves the failed state
}

static void interrupt(struct recorder *recorder, int error)
{
  recorder->usage.failed_writes++;
  recorder->error = error;
  drop_pending(recorder);
  if (recorder->fd >= 0) close(recorder->fd);
  recorder->fd = -1;
}

static void make_room(struct recorder *recorder, uint64_t more)
{
  while (recorder->segments.count > 1 && (recorder->total_bytes + more > recorder->config.total_bytes ||
                                          recorder->segments.count > RECORDER_SEGMENTS_MAX)) {
    char path[PATH_MAX];
    struct segment oldest = recorder->segments.items[0];
    unlink(segment_path(path, recorder->config.dir, recorder->config.prefix, oldest.number));
    recorder->total_bytes -= oldest.bytes;
    segment_list_remove_first(&recorder->segments);
  }
}

// Writes all of it at the end of the current segment, or nothing.
static int write_whole(struct recorder *recorder, struct view data)
{
  struct segment *current = &recorder->segments.items[recorder->segments.count - 1];
  size_t done = 0;
  while (done < data.size) {
    ssize_t wrote = write(recorder->fd, data.data + done, data.size - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      int error = wrote < 0 ? errno : ENOSPC;
      // A cut that fails too leaves a torn tail, which the reader reports.
      if (done > 0 && ftruncate(recorder->fd, (off_t)current->bytes) != 0) return error;
      return error;
    }
    done += (size_t)wrote;
  }
  current->bytes += data.size;
  recorder->total_bytes += data.size;
  return 0;
}

static void write_pending(struct recorder *recorder)
{
  if (recorder->pending.failed) {
    interrupt(recorder, ENOMEM);
    return;
  }
  if (recorder->pending.size == 0) return;
  make_room(recorder, recorder->pending.size);
  int error = write_whole(recorder, buf_view(&recorder->pending));
  if (error != 0) {
    interrupt(recorder, error);
    return;
  }
  recorder->usage.frames += recorder->pending_frames;
  recorder->pending_frames = 0;
  buf_clear(&recorder->pending);
}

static void start_segment(struct recorder *recorder, int64_t now_ns, int64_t wall_ns)
{
  recorder->retry_ns = now_ns + RETRY_NS;
  uint64_t number = recorder->last_number + 1;
  segment_path(recorder->path, recorder->config.dir, recorder->config.prefix, number);
  recorder->fd = open(recorder->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (recorder->fd < 0) {
    interrupt(recorder, errno);
    return;
  }
  recorder->last_number = number;
  segment_list_add(&recorder->segments, (struct segment){ .number = number });
  make_room(recorder, SEGMENT_HEADER);
  char header[SEGMENT_HEADER];
  segment_header_write(header, number, wall_ns);
  int error = write_whole(recorder, (struct view){ header, SEGMENT_HEADER });
  if (error == 0) {
    recorder->segment_start_ns = now_ns;
    if (recorder->config.on_segment) recorder->config.on_segment(recorder->config.userdata, recorder);
    if (recorder->fd >= 0) write_pending(recorder);
    return;
  }
  interrupt(recorder, error);
  unlink(recorder->path); // without a header it holds nothing
  recorder->segments.count--;
}

// After a kill: cuts the torn tail off the newest segment, so that it reads well once it is not the newest any more.
static void repair(struct recorder *recorder, struct status *notice)
{
  struct segment *newest = &recorder->segments.items[recorder->segments.count - 1];
  char path[PATH_MAX];
  segment_path(path, recorder->config.dir, recorder->config.prefix, newest->number);
  struct recording *recording;
  if (recording_open(&recording, path, NULL, notice) != 0) return;
  uint8_t kind;
  struct view payload;
  bool segment_start;
  int code;
  while ((code = recording_next(recording, &kind, &payload, &segment_start, notice)) == 1) continue;
  uint64_t good = recording_offset(recording);
  recording_close(recording);
  if (code < 0) {
    status_prefix(notice, "a recording is damaged and left as it is");
    return;
  }
  if (good == newest->bytes && good >= SEGMENT_HEADER) return;
  status_set(notice, NINES_ECORRUPT, "%s: cut off %llu bytes of a frame that was not wholly written", path,
             (unsigned long long)(newest->bytes - good));
  recorder->total_bytes -= newest->bytes - good;
  newest->bytes = good;
  if (good < SEGMENT_HEADER) {
    unlink(path);
    recorder->segments.count--;
  } else if (truncate(path, (off_t)good) != 0) {
    status_set(notice, NINES_EIO, "%s: cannot cut off an unfinished frame: %s", path, strerror(errno));
  }
}

static struct recorder_config with_defaults(const struct recorder_config *config)
{
  struct recorder_config full = *config;
  full.dir = mem_must_copy(config->dir);
  full.prefix = mem_must_copy(config->prefix);
  if (full.segment_bytes == 0) full.segment_bytes = SEGMENT_BYTES_DEFAULT;
  if (full.segment_ns == 0) full.segment_ns = SEGMENT_NS_DEFAULT;
  if (full.total_bytes == 0) full.total_bytes = TOTAL_BYTES_DEFAULT;
  if (full.segment_bytes > full.total_bytes / 4) full.segment_bytes = full.total_bytes / 4;
  return full;
}

int recorder_open(struct recorder **out, const struct recorder_config *config, int64_t now_ns, int64_t wall_ns,
                  struct status *notice, struct status *status)
{
  *out = NULL;
  if (strlen(config->dir) + strlen(config->prefix) >= PATH_MAX - 300) {
    return status_set(status, NINES_EINVAL, "the path of the recording's directory is too long");
  }
  if (mkdir(config->dir, 0700) != 0 && errno != EEXIST) {
    return status_set(status, NINES_EIO, "cannot make the directory %s: %s", config->dir, strerror(errno));
  }
  struct recorder *recorder = mem_must(sizeof(*recorder));
  recorder->config = with_defaults(config);
  recorder->fd = -1;
  status_set(notice, 0, "%s", "");
  int code = segment_list_read(&recorder->segments, config->dir, config->prefix, status);
  if (code == 0) {
    for (size_t i = 0; i < recorder->segments.count; i++) recorder->total_bytes += recorder->segments.items[i].bytes;
    if (recorder->segments.count > 0) {
      recorder->last_number = recorder->segments.items[recorder->segments.count - 1].number;
      repair(recorder, notice);
    }
    start_segment(recorder, now_ns, wall_ns);
    if (recorder->fd < 0) {
      code = status_set(status, NINES_EIO, "cannot record to %s: %s", recorder->path, strerror(recorder->error));
    }
  }
  if (code != 0) {
    recorder_close(recorder);
    return code;
  }
  *out = recorder;
  return 0;
}

void recorder_close(struct recorder *recorder)
{
  if (!recorder) return;
  if (recorder->fd >= 0) write_pending(recorder);
  if (recorder->fd >= 0) close(recorder->fd);
  segment_list_free(&recorder->segments);
  buf_free(&recorder->pending);
  mem_free((void *)(uintptr_t)recorder->config.dir);
  mem_free((void *)(uintptr_t)recorder->config.prefix);
  mem_free(recorder);
}

void recorder_append(struct recorder *recorder, uint8_t kind, struct view payload)
{
  if (recorder->fd >= 0 && payload.size > RECORDER_FRAME_MAX) {
    write_pending(recorder);
    interrupt(recorder, EMSGSIZE);
  }
  if (recorder->fd < 0) {
    recorder->usage.dropped_bytes += payload.size;
    return;
  }
  segment_frame_add(&recorder->pending, kind, payload);
  recorder->pending_frames++;
  if (recorder->pending.size >= BUFFER_MAX || recorder->pending.failed) write_pending(recorder);
}

int recorder_flush(struct recorder *recorder, int64_t now_ns, int64_t wall_ns, struct status *status)
{
  if (recorder->fd >= 0) {
    write_pending(recorder);
    const struct segment *current = &recorder->segments.items[recorder->segments.count - 1];
    bool full = current->bytes >= recorder->config.segment_bytes;
    if (recorder->fd >= 0 && (full || now_ns - recorder->segment_start_ns >= recorder->config.segment_ns)) {
      close(recorder->fd);
      start_segment(recorder, now_ns, wall_ns);
    }
  } else if (now_ns >= recorder->retry_ns) {
    start_segment(recorder, now_ns, wall_ns);
  }
  if (recorder->fd >= 0) {
    recorder->told = false;
    return 0;
  }
  if (recorder->told) return 0;
  recorder->told = true;
  return status_set(status, NINES_EIO, "%s: %s; nothing is recorded until this is mended", recorder->path,
                    strerror(recorder->error));
}

struct recorder_usage recorder_usage(const struct recorder *recorder)
{
  struct recorder_usage usage = recorder->usage;
  usage.segments = recorder->segments.count;
  usage.bytes = recorder->total_bytes;
  return usage;
}
