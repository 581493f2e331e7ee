// A world's policies: files, or directories with all their *.lua but *_spec.lua. Read once; a test edits texts.

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "mem.h"
#include "world_state.h"

enum { POLICY_BYTES_MAX = 1024 * 1024, NAME_MAX_BYTES = 200, DEPTH_MAX = 8 };

static int read_text(const char *path, char **out, size_t *size, struct status *status)
{
  FILE *file = fopen(path, "rb");
  if (!file) return status_set(status, NINES_EIO, "cannot read %s: %s", path, strerror(errno));
  struct buf text = { 0 };
  char block[8192];
  for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0 && text.size <= POLICY_BYTES_MAX;)
    buf_add(&text, block, got);
  bool failed = ferror(file) != 0;
  fclose(file);
  int code = 0;
  if (failed) code = status_set(status, NINES_EIO, "cannot read %s: %s", path, strerror(errno));
  if (text.size > POLICY_BYTES_MAX) code = status_set(status, NINES_ELIMIT, "%s is larger than 1 MiB", path);
  if (code == 0) {
    *out = mem_must_copy_n(text.data ? text.data : "", text.size);
    *size = text.size;
  }
  buf_free(&text);
  return code;
}

static bool ends_with(const char *name, const char *end)
{
  size_t size = strlen(name), end_size = strlen(end);
  return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

int world_file_check(const char *name, struct status *status)
{
  if (strlen(name) > NAME_MAX_BYTES)
    return status_set(status, NINES_EINVAL, "a policy's name has at most %d bytes: %.60s...", NAME_MAX_BYTES, name);
  if (!ends_with(name, ".lua")) return status_set(status, NINES_EINVAL, "%s: a policy's file name ends in .lua", name);
  return 0;
}

static int add_file(struct world *world, const char *path, const char *name, struct status *status)
{
  char *text;
  size_t size;
  if (world_file_check(name, status) < 0) return status->code;
  if (map_get(&world->sources, view_of(name)))
    return status_set(status, NINES_EEXISTS, "%s: another policy file is named %s already", path, name);
  int code = read_text(path, &text, &size, status);
  if (code == 0) CHECK(map_put(&world->sources, view_of(name), text) == 0);
  return code;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
  return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_directory(struct world *world, const char *dir, const char *prefix, int depth, struct status *status)
{
  struct dirent **entries;
  int count = scandir(dir, &entries, NULL, by_name);
  if (count < 0) return status_set(status, NINES_EIO, "cannot read the directory %s: %s", dir, strerror(errno));
  int code = 0;
  for (int i = 0; i < count; i++) {
    const char *entry = entries[i]->d_name;
    struct buf path = { 0 }, name = { 0 };
    struct stat info;
    buf_printf(&path, "%s/%s", dir, entry);
    buf_printf(&name, "%s%s", prefix, entry);
    if (code == 0 && entry[0] != '.' && stat(path.data, &info) == 0) {
      if (S_ISDIR(info.st_mode) && depth < DEPTH_MAX) {
        buf_text(&name, "/");
        code = add_directory(world, path.data, name.data, depth + 1, status);
      } else if (ends_with(entry, ".lua") && !ends_with(entry, "_spec.lua")) {
        code = add_file(world, path.data, name.data, status);
      }
    }
    buf_free(&path);
    buf_free(&name);
    free(entries[i]);
  }
  free(entries);
  return code;
}

int world_files_read(struct world *world, struct view path, struct status *status)
{
  struct stat info;
  char *copy = mem_must_copy_n(path.data, path.size);
  const char *slash = strrchr(copy, '/');
  int code;
  if (stat(copy, &info) != 0) {
    code = status_set(status, NINES_ENOTFOUND, "cannot read the policy %s: %s", copy, strerror(errno));
  } else if (S_ISDIR(info.st_mode)) {
    code = add_directory(world, copy, "", 0, status);
  } else {
    code = add_file(world, copy, slash ? slash + 1 : copy, status);
    char *dir = slash ? mem_must_copy_n(copy, (size_t)(slash - copy)) : mem_must_copy(".");
    if (!map_get(&world->library_dirs, view_of(dir))) CHECK(map_put(&world->library_dirs, view_of(dir), world) == 0);
    mem_free(dir);
  }
  mem_free(copy);
  return code;
}

int world_load_file(struct world *world, const char *path, struct status *status)
{
  char *text;
  size_t size;
  const char *slash = strrchr(path, '/');
  int code = read_text(path, &text, &size, status);
  if (code < 0) return code;
  code = world_load(world, slash ? slash + 1 : path, (struct view){ text, size }, status);
  mem_free(text);
  return code;
}

// Beside a file that was named alone; those of directories were announced.
bool world_library(struct world *world, const char *name, struct view *text)
{
  const char *known = map_get(&world->libraries, view_of(name));
  size_t at = 0;
  for (struct map_entry *entry; !known && (entry = map_next(&world->library_dirs, &at));) {
    struct buf path = { 0 };
    struct status ignored = { 0 };
    char *read;
    size_t size;
    buf_printf(&path, "%s/lib/%s.lua", entry->key, name);
    if (read_text(path.data, &read, &size, &ignored) == 0) {
      CHECK(map_put(&world->libraries, view_of(name), read) == 0);
      known = read;
    }
    buf_free(&path);
  }
  if (known) *text = view_of(known);
  return known != NULL;
}

void world_files_close(struct world *world)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->sources, &at));) mem_free(entry->value);
  at = 0;
  for (struct map_entry *entry; (entry = map_next(&world->libraries, &at));) mem_free(entry->value);
  map_fini(&world->sources);
  map_fini(&world->libraries);
  map_fini(&world->library_dirs);
}
