// Recordings: what goes in comes out, in bounded files, and damage never shows as a frame that was not written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recorder.h"
#include "rng.h"

struct fixture {
  char dir[64];
};

static int set_up(void **state)
{
  struct fixture *fixture = calloc(1, sizeof(*fixture));
  snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/nines-recorder-XXXXXX");
  *state = fixture;
  return mkdtemp(fixture->dir) ? 0 : -1;
}

static uint64_t clear(const char *dir)
{
  uint64_t bytes = 0;
  DIR *stream = opendir(dir);
  for (struct dirent *entry; (entry = readdir(stream));) {
    struct stat info;
    if (fstatat(dirfd(stream), entry->d_name, &info, 0) == 0 && S_ISREG(info.st_mode)) {
      bytes += (uint64_t)info.st_size;
      unlinkat(dirfd(stream), entry->d_name, 0);
    }
  }
  closedir(stream);
  return bytes;
}

static int tear_down(void **state)
{
  struct fixture *fixture = *state;
  clear(fixture->dir);
  rmdir(fixture->dir);
  free(fixture);
  return 0;
}

static struct recorder *open_recorder(const struct recorder_config *config)
{
  struct recorder *recorder;
  struct status notice, status;
  if (recorder_open(&recorder, config, 0, 0, &notice, &status) != 0) fail_msg("%s", status.text);
  if (notice.text[0]) fail_msg("%s", notice.text);
  return recorder;
}

static void flush(struct recorder *recorder, int64_t now_ns)
{
  struct status status;
  assert_int_equal(recorder_flush(recorder, now_ns, now_ns, &status), 0);
}

static void on_segment(void *userdata, struct recorder *recorder)
{
  int *segments = userdata;
  ++*segments;
  recorder_append(recorder, 1, view_of("start"));
}

// Frame i of a test: size and bytes follow from i.
static struct view frame_of(int i, char out[600])
{
  size_t size = (size_t)(i * 7919 % 500);
  for (size_t at = 0; at < size; at++) out[at] = (char)((size_t)i * 31 + at * 7);
  return (struct view){ out, size };
}

static void test_round_trip(void **state)
{
  struct fixture *fixture = *state;
  int segments = 0;
  struct recorder_config config = {
    .dir = fixture->dir, .prefix = "beats", .segment_bytes = 20000, .on_segment = on_segment, .userdata = &segments
  };
  struct recorder *recorder = open_recorder(&config);
  char text[600];
  for (int i = 0; i < 1000; i++) {
    recorder_append(recorder, (uint8_t)(2 + i % 7), frame_of(i, text));
    if (i % 10 == 9) flush(recorder, i);
  }
  assert_int_equal(recorder_usage(recorder).segments, segments);
  assert_int_equal(recorder_usage(recorder).frames, 1000 + segments);
  assert_true(segments > 5);
  uint64_t told = recorder_usage(recorder).bytes;
  recorder_close(recorder);
  recorder_close(NULL);

  struct recording *recording;
  struct status status;
  assert_int_equal(recording_open(&recording, fixture->dir, "beats", &status), 0);
  uint8_t kind;
  struct view payload;
  bool start;
  int starts = 0, next = 0, code;
  while ((code = recording_next(recording, &kind, &payload, &start, &status)) == 1) {
    if (start) {
      starts++;
      assert_int_equal(kind, 1);
      assert_true(view_is(payload, "start"));
      continue;
    }
    assert_int_equal(kind, 2 + next % 7);
    assert_true(view_equal(payload, frame_of(next, text)));
    next++;
  }
  assert_int_equal(code, 0);
  assert_int_equal(starts, segments);
  assert_int_equal(next, 1000);
  recording_close(recording);
  assert_int_equal(clear(fixture->dir), told);
  assert_int_equal(recording_open(&recording, fixture->dir, "beats", &status), NINES_ENOTFOUND);
}

static void test_bounds(void **state)
{
  struct fixture *fixture = *state;
  struct recorder_config config = {
    .dir = fixture->dir, .prefix = "b", .segment_bytes = 10000, .segment_ns = 1000, .total_bytes = 50000
  };
  struct recorder *recorder = open_recorder(&config);
  char text[600];
  for (int i = 0; i < 3000; i++) {
    recorder_append(recorder, 2, frame_of(i, text));
    flush(recorder, i);
    assert_true(recorder_usage(recorder).bytes <= 50000);
  }
  assert_true(recorder_usage(recorder).bytes > 30000);
  // By time: nothing but headers.
  uint64_t before = recorder_usage(recorder).segments;
  flush(recorder, 100000);
  flush(recorder, 101000);
  assert_true(recorder_usage(recorder).segments >= before);
  for (int i = 0; i < 1500; i++) flush(recorder, 200000 + i * 1000);
  assert_true(recorder_usage(recorder).segments <= RECORDER_SEGMENTS_MAX + 1);
  uint64_t told = recorder_usage(recorder).bytes;
  recorder_close(recorder);
  assert_int_equal(clear(fixture->dir), told);
}

static size_t slurp(const char *path, char *out, size_t size)
{
  int fd = open(path, O_RDONLY);
  assert_true(fd >= 0);
  ssize_t got = read(fd, out, size);
  close(fd);
  return (size_t)got;
}

static void spill(const char *path, const char *data, size_t size)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  close(fd);
}

enum { SMALL_FRAMES = 12 };

static size_t write_small(const char *dir, char *out, size_t size, char path[100])
{
  struct recorder_config config = { .dir = dir, .prefix = "s" };
  struct recorder *recorder = open_recorder(&config);
  char text[600];
  for (int i = 0; i < SMALL_FRAMES; i++) recorder_append(recorder, (uint8_t)i, frame_of(i, text));
  recorder_close(recorder);
  snprintf(path, 100, "%s/s-00000001.rec", dir);
  return slurp(path, out, size);
}

// Reads all; every frame must be the next one of those written. Returns the code at the end.
static int read_small(const char *path, int *frames)
{
  struct recording *recording;
  struct status status = { 0 };
  assert_int_equal(recording_open(&recording, path, "s", &status), 0);
  uint8_t kind;
  struct view payload;
  bool start;
  int code;
  char text[600];
  *frames = 0;
  while ((code = recording_next(recording, &kind, &payload, &start, &status)) == 1) {
    assert_int_equal(kind, *frames);
    assert_true(view_equal(payload, frame_of(*frames, text)));
    assert_int_equal(start, *frames == 0);
    ++*frames;
  }
  if (code < 0) assert_non_null(strstr(status.text, "offset"));
  assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), code);
  recording_close(recording);
  return code;
}

static void test_torn_at_every_byte(void **state)
{
  struct fixture *fixture = *state;
  char path[100];
  static char whole[10000];
  size_t size = write_small(fixture->dir, whole, sizeof(whole), path);
  int last_frames = 0;
  for (size_t cut = 0; cut <= size; cut++) {
    spill(path, whole, cut);
    int frames;
    assert_int_equal(read_small(path, &frames), 0);
    assert_true(frames >= last_frames);
    last_frames = frames;
    // Opening cuts the tail off, and a further segment makes the directory read as a whole.
    struct recorder_config config = { .dir = fixture->dir, .prefix = "s" };
    struct recorder *recorder;
    struct status notice, status;
    assert_int_equal(recorder_open(&recorder, &config, 0, 0, &notice, &status), 0);
    char text[600];
    recorder_append(recorder, (uint8_t)frames, frame_of(frames, text));
    recorder_close(recorder);
    struct recording *recording;
    assert_int_equal(recording_open(&recording, fixture->dir, "s", &status), 0);
    uint8_t kind;
    struct view payload;
    bool start;
    for (int i = 0; i <= frames; i++) {
      assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 1);
      assert_int_equal(kind, i);
    }
    assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 0);
    recording_close(recording);
    clear(fixture->dir);
  }
  assert_int_equal(last_frames, SMALL_FRAMES);
}

static void test_flipped_bytes(void **state)
{
  struct fixture *fixture = *state;
  char path[100];
  static char whole[10000];
  size_t size = write_small(fixture->dir, whole, sizeof(whole), path);
  int noticed = 0;
  for (size_t at = 0; at < size; at++) {
    for (int bit = 0; bit < 8; bit += 3) {
      whole[at] = (char)(whole[at] ^ (1 << bit));
      spill(path, whole, size);
      whole[at] = (char)(whole[at] ^ (1 << bit));
      int frames, code = read_small(path, &frames);
      assert_true(frames < SMALL_FRAMES);
      if (code < 0) noticed++;
    }
  }
  print_message("%d of %zu flips were errors, the rest ended the reading early\n", noticed, size * 3);
  assert_true(noticed > 0);
}

static void test_damage_in_an_older_segment(void **state)
{
  struct fixture *fixture = *state;
  char path[100];
  static char whole[10000];
  size_t size = write_small(fixture->dir, whole, sizeof(whole), path);
  struct recorder_config config = { .dir = fixture->dir, .prefix = "s" };
  recorder_close(open_recorder(&config));
  spill(path, whole, size - 3); // not the newest any more
  int frames;
  assert_int_equal(read_small(fixture->dir, &frames), NINES_ECORRUPT);
  assert_int_equal(frames, SMALL_FRAMES - 1);
  spill(path, "not a recording, but long enough for one", 40);
  assert_int_equal(read_small(fixture->dir, &frames), NINES_ECORRUPT);
}

static void test_zeros_after_a_power_failure(void **state)
{
  struct fixture *fixture = *state;
  char path[100];
  static char whole[300000];
  size_t size = write_small(fixture->dir, whole, sizeof(whole), path);
  spill(path, whole, sizeof(whole)); // the rest of `whole` is zeros
  int frames;
  assert_int_equal(read_small(path, &frames), 0);
  assert_int_equal(frames, SMALL_FRAMES);
  struct recorder_config config = { .dir = fixture->dir, .prefix = "s" };
  struct recorder *recorder;
  struct status notice, status;
  assert_int_equal(recorder_open(&recorder, &config, 0, 0, &notice, &status), 0);
  assert_non_null(strstr(notice.text, "cut off"));
  recorder_close(recorder);
  assert_int_equal(slurp(path, whole, sizeof(whole)), size);
}

static void limit_files(rlim_t bytes)
{
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full_disk(void **state)
{
  struct fixture *fixture = *state;
  signal(SIGXFSZ, SIG_IGN);
  int segments = 0;
  struct recorder_config config = {
    .dir = fixture->dir, .prefix = "f", .on_segment = on_segment, .userdata = &segments
  };
  struct recorder *recorder = open_recorder(&config);
  char text[600];
  int64_t second = 1000000000;
  for (int i = 0; i < 20; i++) recorder_append(recorder, 2, frame_of(i, text));
  flush(recorder, 1);
  uint64_t good = recorder_usage(recorder).bytes;
  struct status status;
  limit_files(good + 100);
  for (int i = 20; i < 40; i++) recorder_append(recorder, 2, frame_of(i, text));
  assert_int_equal(recorder_flush(recorder, second, 0, &status), NINES_EIO);
  assert_non_null(strstr(status.text, "f-00000001.rec"));
  limit_files(20);
  recorder_append(recorder, 3, view_of("lost"));
  assert_int_equal(recorder_flush(recorder, 2 * second, 0, &status), 0); // told already
  assert_int_equal(recorder_usage(recorder).failed_writes, 2);
  assert_true(recorder_usage(recorder).dropped_bytes > 4000);
  assert_int_equal(recorder_usage(recorder).bytes, good);
  limit_files(RLIM_INFINITY);
  flush(recorder, 2 * second + 1); // too soon
  assert_int_equal(segments, 1);
  flush(recorder, 3 * second);
  assert_int_equal(segments, 2);
  recorder_append(recorder, 4, view_of("again"));
  recorder_close(recorder);

  struct recording *recording;
  assert_int_equal(recording_open(&recording, fixture->dir, "f", &status), 0);
  uint8_t kind;
  struct view payload;
  bool start;
  for (int i = 0; i < 21; i++) assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 1);
  assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 1);
  assert_true(start && kind == 1);
  assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 1);
  assert_true(view_is(payload, "again"));
  assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 0);
  recording_close(recording);
}

static void test_large_frames(void **state)
{
  struct fixture *fixture = *state;
  struct recorder_config config = { .dir = fixture->dir, .prefix = "l" };
  struct recorder *recorder = open_recorder(&config);
  size_t size = RECORDER_FRAME_MAX + 1;
  char *large = malloc(size);
  memset(large, 'x', size);
  recorder_append(recorder, 2, (struct view){ large, size - 1 });
  flush(recorder, 1);
  assert_int_equal(recorder_usage(recorder).frames, 1);
  recorder_append(recorder, 3, (struct view){ large, size });
  struct status status;
  assert_int_equal(recorder_flush(recorder, 2, 2, &status), NINES_EIO);
  recorder_close(recorder);
  struct recording *recording;
  uint8_t kind;
  struct view payload;
  bool start;
  assert_int_equal(recording_open(&recording, fixture->dir, "l", &status), 0);
  assert_int_equal(recording_next(recording, &kind, &payload, &start, &status), 1);
  assert_true(payload.size == size - 1 && memcmp(payload.data, large, size - 1) == 0);
  recording_close(recording);
  free(large);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
    TEST(test_round_trip),
    TEST(test_bounds),
    TEST(test_torn_at_every_byte),
    TEST(test_flipped_bytes),
    TEST(test_damage_in_an_older_segment),
    TEST(test_zeros_after_a_power_failure),
    TEST(test_full_disk),
    TEST(test_large_frames),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
