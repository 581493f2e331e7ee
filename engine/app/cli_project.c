// Sorted by name, so that errors come in the same order everywhere.

#include "cli_project.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "mem.h"

enum { DEPTH_MAX = 8, FILES_MAX = 10000 };

typedef void found_fn(struct map *out, const char *name, const char *path);

static bool ends_with(const char *text, const char *end)
{
  size_t size = strlen(text), end_size = strlen(end);
  return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static void add(struct map *out, const char *name, const char *path)
{
  if (out->count >= FILES_MAX || map_get(out, view_of(name))) return; // the first directory wins
  CHECK(map_put(out, view_of(name), mem_must_copy(path)) == 0);
}

static void add_policy(struct map *out, const char *name, const char *path)
{
  if (ends_with(path, ".lua") && !ends_with(path, "_spec.lua")) add(out, name, path);
}

static void add_spec(struct map *out, const char *name, const char *path)
{
  (void)name;
  if (ends_with(path, "_spec.lua")) add(out, path, path);
}

struct walk {
  struct map *out;
  found_fn *found;
  bool every; // directory; else only lib/ and what is below it
};

static void walk(const struct walk *how, const char *dir, const char *prefix, int depth)
{
  struct dirent **entries;
  int count = depth < DEPTH_MAX ? scandir(dir, &entries, NULL, alphasort) : -1;
  if (count < 0) return;
  for (int i = 0; i < count; i++) {
    const char *entry = entries[i]->d_name;
    struct buf path = { 0 }, name = { 0 };
    struct stat about;
    buf_printf(&path, "%s/%s", dir, entry);
    buf_printf(&name, "%s%s", prefix, entry);
    if (entry[0] != '.' && stat(path.data, &about) == 0) {
      if (S_ISDIR(about.st_mode) && (how->every || prefix[0] || strcmp(entry, "lib") == 0)) {
        buf_byte(&name, '/');
        walk(how, path.data, name.data, depth + 1);
      } else if (S_ISREG(about.st_mode)) {
        how->found(how->out, name.data, path.data);
      }
    }
    buf_free(&path);
    buf_free(&name);
    free(entries[i]);
  }
  free(entries);
}

int project_policies(const struct settings *settings, const char *dir, struct map *out, struct status *status)
{
  const struct walk how = { out, add_policy, false };
  bool here = !dir[0] || strcmp(dir, ".") == 0;
  for (const char *const *policy = settings->policies; policy && *policy; policy++) {
    struct buf path = { 0 };
    struct stat about;
    bool absolute = (*policy)[0] == '/';
    buf_printf(&path, "%s%s%s", absolute || here ? "" : dir, absolute || here ? "" : "/", *policy);
    int code = stat(path.data, &about) == 0
                   ? 0
                   : status_set(status, NINES_ENOTFOUND, "nines.yaml: policies: there is no %s", path.data);
    const char *slash = strrchr(path.data, '/');
    if (code == 0 && S_ISDIR(about.st_mode))
      walk(&how, path.data, "", 0);
    else if (code == 0)
      add_policy(out, slash ? slash + 1 : path.data, path.data);
    buf_free(&path);
    if (code < 0) return code;
  }
  // The standard library, as where nothing of the project hides it.
  const struct walk library = { out, add_policy, true };
  walk(&library, NINES_SHARE_DIR "/policies", "lib/", 0);
  return 0;
}

void project_specs(const char *dir, struct map *out)
{
  const struct walk how = { out, add_spec, true };
  walk(&how, dir, "", 0);
}

void project_free(struct map *files)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(files, &at));) mem_free(entry->value);
  map_fini(files);
}
