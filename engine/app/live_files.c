// The project's files: nines.yaml, policies and libraries, read and watched.
//
// Every policy's text is an input (INPUT_SOURCE), so that a recording holds what was decided by. A change is announced
// when the directory has been quiet for 100 ms and the text differs; a file that is gone is announced as gone. If
// FILE_spec.lua stands beside a changed FILE.lua, it has to pass first (spec_gate.h).

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "duration.h"
#include "hash.h"
#include "live.h"
#include "mem.h"
#include "spec_gate.h"

enum { POLICY_BYTES_MAX = 1 << 20, FILES_MAX = 1000, DEPTH_MAX = 4 };

char *live_read_file(const char *path, size_t limit, size_t *size, struct status *status)
{
  FILE *file = fopen(path, "re");
  if (!file) {
    status_set(status, errno == ENOENT ? NINES_ENOTFOUND : NINES_EIO, "cannot read %s: %m", path);
    return NULL;
  }
  char *text = mem_alloc(limit + 2);
  size_t got = text ? fread(text, 1, limit + 1, file) : 0;
  bool failed = !text || ferror(file);
  fclose(file);
  if (failed || got > limit) {
    if (failed)
      status_set(status, NINES_EIO, "cannot read %s", path);
    else
      status_set(status, NINES_ELIMIT, "%s is larger than %zu bytes", path, limit);
    mem_free(text);
    return NULL;
  }
  text[got] = '\0';
  *size = got;
  char *fitting = mem_resize(text, got + 1);
  return fitting ? fitting : text;
}

void live_public_url(struct live *live)
{
  struct settings *settings = live->settings;
  const char *colon = settings->listen ? strrchr(settings->listen, ':') : NULL;
  if (settings->public_url || !colon || !live->serve) return;
  struct buf url = { 0 };
  buf_printf(&url, "http://%.*s:%d", (int)(colon - settings->listen), settings->listen, serve_port(live->serve));
  settings->public_url = pool_copy(&settings->pool, buf_view(&url));
  buf_free(&url);
}

static bool differs(const char *a, const char *b)
{
  return (a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0);
}

int live_settings(struct live *live, struct status *status)
{
  struct settings *settings;
  if (live->dir) {
    int code = settings_load(&settings, live->dir, status);
    if (code < 0) return code;
  } else {
    settings = settings_default(".");
  }
  struct settings *old = live->settings;
  if (old && (differs(old->listen, settings->listen) || differs(old->statsd, settings->statsd) ||
              differs(old->data, settings->data)))
    live_log(live, "warn", "nines.yaml: listen, statsd and data take effect when the engine is started again");
  live->settings = settings;
  live_public_url(live);
  if (live->engine) {
    engine_settings(live->engine, settings);
    if (live->config.observe) live->engine->observe = true;
  }
  settings_free(old);
  return 0;
}

// --- sources

struct scan {
  struct live *live;
  struct map found; // name as announced -> path
  struct map dirs;  // to watch
  int error;        // errno of a directory that is there and cannot be read
};

static bool ends_with(const char *text, const char *end)
{
  size_t size = strlen(text), end_size = strlen(end);
  return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static void found_file(struct scan *scan, const char *name, const char *path)
{
  if (scan->found.count >= FILES_MAX || map_get(&scan->found, view_of(name))) return; // the first directory wins
  CHECK(map_put(&scan->found, view_of(name), mem_must_copy(path)) == 0);
}

// Policies of a directory are NAME.lua; below lib/, at any depth, they are libraries called lib/PATH.lua.
static void scan_dir(struct scan *scan, const char *dir, const char *prefix, bool library, int depth)
{
  DIR *handle = depth < DEPTH_MAX ? opendir(dir) : NULL;
  if (!handle && depth < DEPTH_MAX && errno != ENOENT) scan->error = errno;
  if (!handle) return;
  if (!map_get(&scan->dirs, view_of(dir))) CHECK(map_put(&scan->dirs, view_of(dir), scan) == 0);
  for (struct dirent *entry; (entry = readdir(handle));) {
    struct buf path = { 0 }, name = { 0 };
    struct stat about;
    if (entry->d_name[0] == '.') continue;
    buf_printf(&path, "%s/%s", dir, entry->d_name);
    buf_printf(&name, "%s%s", prefix, entry->d_name);
    if (stat(path.data, &about) == 0) {
      if (S_ISDIR(about.st_mode) && (library || strcmp(entry->d_name, "lib") == 0)) {
        buf_byte(&name, '/');
        scan_dir(scan, path.data, name.data, true, depth + 1);
      } else if (S_ISREG(about.st_mode) && ends_with(entry->d_name, ".lua") && !ends_with(entry->d_name, "_spec.lua")) {
        found_file(scan, name.data, path.data);
      }
    }
    buf_free(&path);
    buf_free(&name);
  }
  closedir(handle);
}

static int scan_policies(struct scan *scan, struct status *status)
{
  struct live *live = scan->live;
  for (const char *const *policy = live->settings->policies; live->dir && policy && *policy; policy++) {
    struct buf path = { 0 };
    struct stat about;
    buf_printf(&path, "%s%s%s", (*policy)[0] == '/' ? "" : live->dir, (*policy)[0] == '/' ? "" : "/", *policy);
    int code = stat(path.data, &about) == 0
                   ? 0
                   : status_set(status, NINES_ENOTFOUND, "nines.yaml: policies: there is no %s", path.data);
    if (code == 0 && S_ISDIR(about.st_mode)) {
      scan_dir(scan, path.data, "", false, 0);
    } else if (code == 0) {
      const char *slash = strrchr(path.data, '/');
      found_file(scan, slash ? slash + 1 : path.data, path.data);
    }
    buf_free(&path);
    if (code < 0) return code;
  }
  scan_dir(scan, NINES_SHARE_DIR "/policies", "lib/", true,
           0); // the standard library, where nothing of the project hides it
  // A directory that cannot be read for a moment must not look like one whose policies are gone.
  if (scan->error)
    return status_set(status, NINES_EIO, "a directory of policies cannot be read: %s", strerror(scan->error));
  return 0;
}

static void announce(struct live *live, const char *name, struct view text, bool gone)
{
  live_input(live, (struct input){ .kind = INPUT_SOURCE, .name = view_of(name), .body = text, .code = gone });
}

// True when the text differs from what was announced.
static bool changed_text(struct live *live, const char *name, char *text)
{
  char *known = map_get(&live->sources, view_of(name));
  if (known && strcmp(known, text) == 0) return false;
  CHECK(map_put(&live->sources, view_of(name), text) == 0);
  mem_free(known);
  return true;
}

static int announce_changes(struct scan *scan)
{
  struct live *live = scan->live;
  int changed = 0;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&scan->found, &at));) {
    struct status status = { 0 };
    size_t size;
    char *text = live_read_file(entry->value, POLICY_BYTES_MAX, &size, &status);
    if (!text) {
      live_log(live, "error", "%s", status.text);
      continue;
    }
    const char *known = map_get(&live->sources, view_of(entry->key));
    if (known && strcmp(known, text) != 0 && spec_gate_holds(live, entry->key, entry->value, text)) {
      mem_free(text); // its spec is running, or has failed for this very text
      continue;
    }
    if (!changed_text(live, entry->key, text)) {
      mem_free(text);
      continue;
    }
    announce(live, entry->key, (struct view){ text, size }, false);
    changed++;
  }
  at = 0;
  for (struct map_entry *entry; (entry = map_next(&live->sources, &at));) {
    if (map_get(&scan->found, (struct view){ entry->key, entry->key_size })) continue;
    char *name = mem_must_copy(entry->key);
    mem_free(map_remove(&live->sources, view_of(name)));
    announce(live, name, (struct view){ 0 }, true);
    mem_free(name);
    changed++;
  }
  return changed;
}

static void free_scan(struct scan *scan)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&scan->found, &at));) mem_free(entry->value);
  map_fini(&scan->found);
  map_fini(&scan->dirs);
}

int live_sources(struct live *live, struct status *status)
{
  struct scan scan = { .live = live };
  int code = live->engine && live->engine->settled ? live_settings(live, status) : 0;
  if (code == 0) code = scan_policies(&scan, status);
  int changed = code == 0 ? announce_changes(&scan) : 0;
  free_scan(&scan);
  if (code < 0) return code;
  if (changed > 0 || !live->engine->settled) live_input(live, (struct input){ .kind = INPUT_RELOAD });
  return changed;
}

// --- watching

struct live_watch {
  struct list node;
  struct loop_watch *watch;
};

static void on_change(void *userdata, const char *dir)
{
  struct live *live = userdata;
  struct status status = { 0 };
  (void)dir;
  if (live_sources(live, &status) < 0) live_log(live, "error", "reload: %s; what was loaded stays", status.text);
}

static int watch_dir(struct live *live, const char *dir, struct status *status)
{
  struct live_watch *watch = mem_must(sizeof *watch);
  int code = loop_watch(live->loop, dir, 100 * NS_PER_MS, on_change, live, &watch->watch, status);
  if (code < 0) {
    mem_free(watch);
    return code;
  }
  list_append(&live->watches, &watch->node);
  return 0;
}

int live_watch(struct live *live, struct status *status)
{
  struct scan scan = { .live = live };
  int code = scan_policies(&scan, status);
  size_t at = 0;
  for (struct map_entry *entry; code == 0 && (entry = map_next(&scan.dirs, &at));)
    code = watch_dir(live, entry->key, status);
  if (code == 0 && live->dir) code = watch_dir(live, live->dir, status);
  free_scan(&scan);
  return code;
}

void live_files_close(struct live *live)
{
  size_t at = 0;
  spec_gate_close(live);
  for (struct map_entry *entry; (entry = map_next(&live->sources, &at));) mem_free(entry->value);
  map_fini(&live->sources);
  at = 0;
  for (struct map_entry *entry; (entry = map_next(&live->loaded, &at));) mem_free(entry->value);
  map_fini(&live->loaded);
  if (!live->watches.next) return;
  list_each (node, &live->watches) {
    struct live_watch *watch = list_entry(node, struct live_watch, node);
    loop_watch_stop(watch->watch);
    mem_free(watch);
  }
}
