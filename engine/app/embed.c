// The public API of the whole engine (nines.h): a living host, driven by its owner.

#include <stdio.h>
#include <string.h>

#include "live.h"
#include "mem.h"
#include "path.h"

static void on_event(void *userdata, const struct event *event)
{
  const nines_config *config = userdata;
  if (config->on_event) config->on_event(config->userdata, event->topic, event->name, event->json);
}

static void on_log(void *userdata, const char *level, const char *text)
{
  const nines_config *config = userdata;
  char line[1300];
  snprintf(line, sizeof line, "%s %s", level, text);
  config->on_log(config->userdata, line);
}

int nines_open(nines **out, const nines_config *config, char *error, size_t error_size)
{
  struct status status = { 0 };
  struct live *live = NULL;
  *out = NULL;
  nines_config *copy = mem_must(sizeof *copy);
  memcpy(copy, config, config->size < sizeof *copy ? config->size : sizeof *copy);
  struct live_config host = { .dir = copy->dir,
                              .seed = copy->seed,
                              .observe = copy->observe != 0,
                              .on_event = on_event,
                              .on_log = copy->on_log ? on_log : NULL,
                              .userdata = copy };
  int code = live_open(&live, &host, &status);
  if (code < 0) {
    if (error && error_size) snprintf(error, error_size, "%s", status.text);
    mem_free(copy);
    return code;
  }
  *out = live->engine;
  return 0;
}

static struct live *live_of(const nines *engine)
{
  return engine->host;
}

void nines_close(nines *engine)
{
  if (!engine) return;
  struct live *live = live_of(engine);
  void *copy = live->config.userdata;
  live_close(live);
  mem_free(copy);
}

int nines_turn(nines *engine, int64_t wait_max_ns)
{
  return live_turn(live_of(engine), wait_max_ns);
}

int nines_fd(const nines *engine)
{
  return loop_fd(live_of(engine)->loop);
}

void nines_stop(nines *engine)
{
  live_stop(live_of(engine));
}

void nines_reload(nines *engine)
{
  live_reload(live_of(engine));
}

int nines_load(nines *engine, const char *path)
{
  struct live *live = live_of(engine);
  size_t size;
  char *text = live_read_file(path, 1 << 20, &size, &engine->status);
  if (!text) return engine->status.code;
  const char *slash = strrchr(path, '/');
  struct view name = view_of(slash ? slash + 1 : path);
  live_input(live, (struct input){ .kind = INPUT_SOURCE, .name = name, .body = { text, size } });
  live_input(live, (struct input){ .kind = INPUT_RELOAD });
  mem_free(text);
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    if (scripts_info(engine->scripts, i, &info) && view_is(name, info.file) && info.error[0])
      return status_set(&engine->status, NINES_ESCRIPT, "%s", info.error);
  }
  return 0;
}

nines_arena *nines_arena_of(nines *engine)
{
  return &engine->guards;
}

const char *nines_errmsg(const nines *engine)
{
  return engine->status.text;
}

int nines_path_get(nines *engine, const char *name, nines_path **out)
{
  const struct path *path = path_find(engine, name);
  *out = NULL;
  if (!path) live_declare_path(live_of(engine), name);
  path = path_get(engine, name, &engine->status); // for the sentence, when it could not be declared
  if (!path) return engine->status.code;
  *out = path->recorded;
  return 0;
}
