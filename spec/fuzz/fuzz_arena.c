// Any bytes as an arena's file: set aside or valid, and usable afterwards.
//
// An even first byte takes the rest as the file. An odd one edits a small sound file (place, byte) and then mends the
// checksums, so that the checks behind them are reached: entries with impossible places, overlaps, twins.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "arena_file.h"
#include "check.h"

enum { SIZE = 64 << 10, NAMES = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], path[96];
static uint8_t sound[SIZE];

static struct arena *open_arena(struct status *notice)
{
  struct arena *arena;
  struct status status = { 0 };
  struct arena_config config = { path, SIZE };
  int code = arena_open(&arena, &config, notice, &status);
  if (code < 0) fprintf(stderr, "%s\n", status.text);
  CHECK(code == 0);
  return arena;
}

static void write_file(const uint8_t *bytes, size_t size)
{
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
  close(fd);
}

static struct view name_of(int i)
{
  static const char *const names[NAMES] = { "a", "b", "checkout", "p95", "", "a long name for an object" };
  return view_of(names[i]);
}

static void use(struct arena *arena)
{
  struct arena_slot slot;
  for (int i = 0; i < NAMES; i++) {
    if (arena_find(arena, 1, name_of(i), &slot)) memset(arena_at(arena, slot.offset), i, slot.size_bytes);
    size_t size = (size_t)i * 700 + 8;
    if (arena_object(arena, 1, name_of(i), size, &slot, NULL) == 0) memset(arena_at(arena, slot.offset), i, size);
  }
  arena_drop(arena, 1, name_of(2));
}

static void clean_up(void)
{
  char aside[128];
  snprintf(aside, sizeof aside, "%s.damaged-1", path);
  unlink(aside);
  unlink(path);
}

static void remove_dir(void)
{
  clean_up();
  rmdir(dir);
}

static void start(void)
{
  strcpy(dir, "/tmp/nines-fuzz-arena-XXXXXX");
  CHECK(mkdtemp(dir) != NULL);
  snprintf(path, sizeof path, "%s/arena", dir);
  atexit(remove_dir);
  struct arena *arena = open_arena(NULL);
  use(arena);
  arena_close(arena);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0 && read(fd, sound, SIZE) == SIZE);
  close(fd);
}

static void write_edited(const uint8_t *data, size_t size)
{
  static _Alignas(64) uint8_t bytes[SIZE];
  memcpy(bytes, sound, SIZE);
  for (; size >= 3; data += 3, size -= 3) {
    size_t place = ((size_t)data[0] << 8 | data[1]) % (ARENA_HEADER_BYTES + 12 * sizeof(struct arena_entry));
    bytes[place] = data[2];
  }
  struct arena_header *header = (struct arena_header *)(void *)bytes;
  header->checksum = arena_header_sum(header);
  struct arena_entry *entries = (struct arena_entry *)(void *)(bytes + ARENA_HEADER_BYTES);
  for (int i = 0; i < 12; i++) entries[i].checksum = arena_entry_sum(&entries[i]);
  write_file(bytes, SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (dir[0] == '\0') start();
  if (size == 0) return 0;
  if (data[0] % 2 == 0)
    write_file(data + 1, size - 1);
  else
    write_edited(data + 1, size - 1);
  struct status notice;
  struct arena *arena = open_arena(&notice);
  use(arena);
  struct arena_usage before = arena_usage(arena);
  arena_close(arena);
  // What was opened and used is sound.
  arena = open_arena(&notice);
  CHECK(notice.text[0] == '\0');
  struct arena_usage after = arena_usage(arena);
  CHECK(before.objects == after.objects && before.used_bytes == after.used_bytes);
  arena_close(arena);
  clean_up();
  return 0;
}
