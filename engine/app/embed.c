// The public API of the whole engine (nines.h): a living host, driven by its owner.

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "live_host.h"
#include "mem.h"
#include "path.h"
#include "service.h"

enum { VERSION_BYTES_MAX = 200 };

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

static int on_effect(void *userdata, const nines_effect *effect)
{
  const nines_config *config = userdata;
  return config->on_effect(config->userdata, effect);
}

int nines_open(nines **out, const nines_config *config, char *error, size_t error_size)
{
  static const unsigned all = NINES_EFFECT_PAGES | NINES_EFFECT_DEPLOYS | NINES_EFFECT_COMMANDS;
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
                              .clock = copy->clock,
                              .on_effect = on_effect,
                              .hosted = !copy->on_effect ? 0
                                        : copy->effects  ? copy->effects & all
                                                         : all,
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
  mem_free(map_get(&live->loaded, name));
  CHECK(map_put(&live->loaded, name, text) == 0);
  for (uint32_t i = 0; i < scripts_count(engine->scripts); i++) {
    struct script_info info;
    if (scripts_info(engine->scripts, i, &info) && view_is(name, info.file) && info.error[0])
      return status_set(&engine->status, NINES_ESCRIPT, "%s", info.error);
  }
  return 0;
}

int nines_effect_done(nines *engine, const char *id, int code, const char *sentence)
{
  return live_host_answer(live_of(engine)->host, id, code, sentence);
}

int nines_deployed(nines *engine, const char *service, const char *version)
{
  struct live *live = live_of(engine);
  struct buf arguments = { 0 };
  if (!service[0] || !version[0] || strlen(version) > VERSION_BYTES_MAX)
    return status_set(&engine->status, NINES_EINVAL, "a service has a name, and a version 1 to %d bytes",
                      VERSION_BYTES_MAX);
  buf_text(&arguments, "{\"actor\":\"host\",\"record\":true,\"service\":");
  buf_json_text(&arguments, view_of(service));
  buf_text(&arguments, ",\"version\":");
  buf_json_text(&arguments, view_of(version));
  buf_byte(&arguments, '}');
  live_input(live, (struct input){ .kind = INPUT_CALL, .name = view_of("deploy"), .body = buf_view(&arguments) });
  buf_free(&arguments);
  if (live->in_turn) return 0;                                                    // it waits for the end of the turn
  return service_get(engine, service, &engine->status) ? 0 : engine->status.code; // for the sentence
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
