// A host of an engine for tests: a clock moved by hand, what the engine asked for, what it told.
#ifndef NINES_SPEC_EMBED_HOST_H
#define NINES_SPEC_EMBED_HOST_H

#include "spec.h"

#include <unistd.h>

#include "clock.h"
#include "duration.h"
#include "live.h"
#include "nines.h"

enum { ASKED_MAX = 64, TEXT_MAX = 1200 };

struct asked {
  char id[32], kind[16], target[64], subject[200], details[TEXT_MAX];
  int64_t timeout_ns, at_ns;
  uint32_t attempt;
  int resumed;
};

struct host {
  struct clock_virtual clock;
  nines *engine;
  struct asked asked[ASKED_MAX];
  uint32_t asked_count;
  int answer;           // what on_effect returns
  bool answers_at_once; // done, from within on_effect
  struct buf events;    // "topic name\n"
  struct buf log;
};

static inline int host_effect(void *userdata, const nines_effect *effect)
{
  struct host *host = userdata;
  assert_true(host->asked_count < ASKED_MAX);
  assert_int_equal(sizeof *effect, effect->size);
  struct asked *asked = &host->asked[host->asked_count++];
  snprintf(asked->id, sizeof asked->id, "%s", effect->id);
  snprintf(asked->kind, sizeof asked->kind, "%s", effect->kind);
  snprintf(asked->target, sizeof asked->target, "%s", effect->target);
  snprintf(asked->subject, sizeof asked->subject, "%s", effect->subject);
  snprintf(asked->details, sizeof asked->details, "%s", effect->details);
  asked->timeout_ns = effect->timeout_ns;
  asked->attempt = effect->attempt;
  asked->resumed = effect->resumed;
  asked->at_ns = host->clock.now_ns;
  if (host->answers_at_once) assert_int_equal(0, nines_effect_done(host->engine, effect->id, 0, NULL));
  return host->answer;
}

static inline void host_event(void *userdata, const char *topic, const char *name, const char *json)
{
  struct host *host = userdata;
  assert_int_equal('{', json[0]);
  buf_printf(&host->events, "%s %s\n", topic, name);
}

static inline void host_log(void *userdata, const char *line)
{
  struct host *host = userdata;
  buf_printf(&host->log, "%s\n", line);
  if (getenv("SPEC_LOG")) print_message("%s\n", line);
}

// In virtual time, with everything for the host.
static inline nines_config host_config(struct host *host)
{
  nines_config config = NINES_CONFIG_INIT;
  *host = (struct host){ 0 };
  clock_virtual_init(&host->clock);
  config.seed = 7;
  config.clock = &host->clock.clock;
  config.on_effect = host_effect;
  config.on_event = host_event;
  config.on_log = host_log;
  config.userdata = host;
  return config;
}

static inline void host_open(struct host *host, const nines_config *config)
{
  char error[300] = "";
  int code = nines_open(&host->engine, config, error, sizeof error);
  if (code < 0) print_error("%s\n", error);
  assert_int_equal(0, code);
}

static inline void host_close(struct host *host)
{
  nines_close(host->engine);
  buf_free(&host->events);
  buf_free(&host->log);
}

static inline void host_load(struct host *host, const char *name, const char *text)
{
  char dir[] = "/tmp/nines-embed-spec-XXXXXX", path[100];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  int code = nines_load(host->engine, path);
  if (code < 0) print_error("%s\n", nines_errmsg(host->engine));
  assert_int_equal(0, code);
  assert_int_equal(0, unlink(path));
  assert_int_equal(0, rmdir(dir));
}

// One step of the clock. What the store has under way ends within it, so that a run does not depend on the disk.
static inline void host_step(struct host *host)
{
  const struct live *live = host->engine->host;
  host->clock.now_ns += BEAT_NS;
  assert_int_equal(0, nines_turn(host->engine, 0));
  while (!list_empty(&live->tickets)) assert_int_equal(0, nines_turn(host->engine, NS_PER_MS));
}

static inline void host_run(struct host *host, int64_t duration_ns)
{
  for (int64_t end_ns = host->clock.now_ns + duration_ns; host->clock.now_ns < end_ns;) host_step(host);
}

// The same with a call a step that goes well or not.
static inline void host_traffic(struct host *host, const char *path, int ok, int64_t duration_ns)
{
  nines_path *recorded;
  assert_int_equal(0, nines_path_get(host->engine, path, &recorded));
  for (int64_t end_ns = host->clock.now_ns + duration_ns; host->clock.now_ns < end_ns;) {
    for (int i = 0; i < 10; i++) nines_path_record(recorded, ok, 3 * NS_PER_MS);
    host_step(host);
  }
}

static inline bool host_heard(const struct host *host, const char *event)
{
  return host->events.data && strstr(host->events.data, event);
}

static inline bool host_logged(const struct host *host, const char *text)
{
  return host->log.data && strstr(host->log.data, text);
}

#endif
