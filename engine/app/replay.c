// Replay: a host that has no world, only a recording.
//
// Completions of effects are in the recording, so the door swallows everything. A START begins a life: the engine is
// closed and opened again on the same arena file with the documents that were recorded before it. A wall-clock kill was
// recorded after the input that it struck in, so every input is applied only when the next frame has been seen.

#include "replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "engine.h"
#include "json.h"
#include "mem.h"
#include "recorder.h"

struct document {
  struct document *next;
  char *name; // kind/id
  char *json;
  size_t size;
};

struct replay {
  const struct replay_config *config;
  struct replay_result *result;
  struct settings *own_settings;
  const struct settings *settings;
  nines *engine;
  char arena[64];
  struct document *documents, **documents_end;
  struct input_clock clock;
  struct buf expected; // recorded decisions not matched yet: frames one after the other
  struct buf made;     // replayed decisions not matched yet
  struct buf pending;  // payload of the input that waits for the next one
  struct input waiting;
  bool has_waiting;
  bool started;
};

// --- comparing

static size_t frame_size(const struct buf *frames)
{
  size_t size = 0;
  for (int part = 0; part < 3; part++) size += strlen(frames->data + size) + 1;
  return size;
}

// Where two payloads differ, with a little before it.
static int differing(const char *a, const char *b)
{
  int at = 0;
  while (a[at] && a[at] == b[at]) at++;
  return at > 24 ? at - 24 : 0;
}

static void part(struct replay *replay, const char *recorded, const char *replayed)
{
  struct replay_result *result = replay->result;
  if (result->parted) return;
  result->parted = true;
  const char *names[] = { recorded[0] ? recorded + strlen(recorded) + 1 : "",
                          replayed[0] ? replayed + strlen(replayed) + 1 : "" };
  int size = snprintf(result->parted_text, sizeof result->parted_text, "recorded: %s %s; replayed: %s %s",
                      recorded[0] ? recorded : "nothing", names[0], replayed[0] ? replayed : "nothing", names[1]);
  if (strcmp(recorded, replayed) != 0 || strcmp(names[0], names[1]) != 0) return;
  const char *payloads[] = { names[0] + strlen(names[0]) + 1, names[1] + strlen(names[1]) + 1 };
  int at = differing(payloads[0], payloads[1]);
  snprintf(result->parted_text + size, sizeof result->parted_text - (size_t)size,
           "; ... %.80s ... against ... %.80s ...", payloads[0] + at, payloads[1] + at);
}

// Takes off what both sides have, one by one.
static void compare(struct replay *replay)
{
  while (replay->expected.size && replay->made.size && !replay->result->parted) {
    size_t expected = frame_size(&replay->expected), made = frame_size(&replay->made);
    replay->result->parted_at++;
    if (expected != made || memcmp(replay->expected.data, replay->made.data, made) != 0)
      part(replay, replay->expected.data, replay->made.data);
    buf_drop_front(&replay->expected, expected);
    buf_drop_front(&replay->made, made);
  }
}

static void on_event(void *userdata, const struct event *event)
{
  struct replay *replay = userdata;
  replay->result->decisions++;
  buf_add(&replay->made, event->topic, strlen(event->topic) + 1);
  buf_add(&replay->made, event->name, strlen(event->name) + 1);
  buf_add(&replay->made, event->json, strlen(event->json) + 1);
  if (replay->config->on_decision)
    replay->config->on_decision(replay->config->userdata, event, !replay->result->parted);
}

// --- the door to nowhere

static bool door_commit(void *self, uint64_t ticket, struct txn *txn)
{
  (void)self;
  (void)ticket;
  txn_fini(txn);
  return true;
}
static void door_reply(void *self, uint64_t op, int status, const struct value *document)
{
  (void)self;
  (void)op;
  (void)status;
  (void)document;
}
static void door_deliver(void *self, uint64_t op, const struct message *message)
{
  (void)self;
  (void)op;
  (void)message;
}
static void door_command(void *self, uint64_t op, const struct door_command *command)
{
  (void)self;
  (void)op;
  (void)command;
}
static void door_http(void *self, uint64_t op, const struct door_http *request)
{
  (void)self;
  (void)op;
  (void)request;
}
static void door_cancel(void *self, uint64_t op)
{
  (void)self;
  (void)op;
}

static void door_documents(void *self, const char *kind, txn_each_fn *each, void *userdata)
{
  struct replay *replay = self;
  size_t size = strlen(kind);
  for (const struct document *document = replay->documents; document; document = document->next)
    if (strncmp(document->name, kind, size) == 0 && document->name[size] == '/')
      each(userdata, document->name + size + 1, (struct view){ document->json, document->size });
}

// --- lives

static void forget_documents(struct replay *replay)
{
  for (struct document *document = replay->documents, *next; document; document = next) {
    next = document->next;
    mem_free(document->name);
    mem_free(document->json);
    mem_free(document);
  }
  replay->documents = NULL;
  replay->documents_end = &replay->documents;
}

static void keep_document(struct replay *replay, const struct input *input)
{
  struct document *document = mem_must(sizeof *document);
  document->name = mem_must_copy_n(input->name.data, input->name.size);
  document->json = mem_must_copy_n(input->body.data, input->body.size);
  document->size = input->body.size;
  *replay->documents_end = document;
  replay->documents_end = &document->next;
}

static int start_life(struct replay *replay, const struct input *input, struct status *status)
{
  struct pool pool = { 0 };
  struct value body;
  int code = json_parse(&pool, input->body, &body, status);
  if (code < 0) return status_prefix(status, "the recording's start");
  struct view seed = value_get_text(&body, "seed");
  struct engine_config config = { .settings = replay->settings,
                                  .door = { .self = replay,
                                            .commit = door_commit,
                                            .reply = door_reply,
                                            .deliver = door_deliver,
                                            .command = door_command,
                                            .http = door_http,
                                            .cancel = door_cancel,
                                            .documents = door_documents },
                                  .seed = seed.size ? strtoull(seed.data, NULL, 10) : 0,
                                  .virtual_time = true,
                                  .replay = true,
                                  .hosted = (unsigned)value_get_integer(&body, "hosted", 0),
                                  .arena_path = replay->arena,
                                  .now_ns = input->now_ns,
                                  .wall_ns = input->wall_ns };
  bool observe = value_get_bool(&body, "observe", false);
  pool_fini(&pool);
  engine_close(replay->engine);
  replay->engine = NULL;
  code = engine_open(&replay->engine, &config, status);
  if (code < 0) return code;
  replay->engine->observe = observe;
  events_subscribe(replay->engine->events, "*", on_event, replay);
  replay->result->lives++;
  replay->started = true;
  forget_documents(replay);
  return 0;
}

static const struct replay_policy *replacement(const struct replay *replay, struct view name)
{
  for (uint32_t i = 0; i < replay->config->policy_count; i++)
    if (view_is(name, replay->config->policies[i].name)) return &replay->config->policies[i];
  return NULL;
}

static int apply(struct replay *replay, struct input *input, struct status *status)
{
  struct replay_result *result = replay->result;
  bool preamble = input->code == INPUT_PREAMBLE &&
                  (input->kind == INPUT_SOURCE || input->kind == INPUT_RELOAD || input->kind == INPUT_CALL);
  if (input->kind == INPUT_DOCUMENT) {
    keep_document(replay, input);
    return 0;
  }
  if (preamble && replay->started) return 0; // known already
  if (!replay->started && input->kind != INPUT_START) {
    // A recording whose beginning is gone: its preamble tells the policies, its windows fill up from here.
    struct input start = {
      .kind = INPUT_START, .now_ns = input->now_ns, .wall_ns = input->wall_ns, .body = view_of("{}")
    };
    int code = start_life(replay, &start, status);
    if (code < 0) return code;
    result->windows_unknown = true;
  }
  if (result->inputs++ == 0) result->first_wall_ns = input->wall_ns;
  result->last_wall_ns = input->wall_ns;
  if (preamble) input->code = 0;
  if (input->kind == INPUT_START) {
    int code = start_life(replay, input, status);
    if (code < 0) return code;
  }
  const struct replay_policy *policy = input->kind == INPUT_SOURCE ? replacement(replay, input->name) : NULL;
  if (policy) {
    input->body = policy->text;
    input->code = 0;
  }
  engine_input(replay->engine, input);
  result->hash = events_hash(replay->engine->events);
  compare(replay);
  return 0;
}

static int apply_waiting(struct replay *replay, struct status *status)
{
  if (!replay->has_waiting) return 0;
  replay->has_waiting = false;
  return apply(replay, &replay->waiting, status);
}

// Decisions and kills of an input follow it in the recording: it is applied when the next input comes.
static int take_frame(struct replay *replay, uint8_t kind, struct view payload, bool segment_start,
                      struct status *status)
{
  struct input kill;
  if (kind == RECORDED_EVENT) {
    buf_add(&replay->expected, payload.data, payload.size);
    replay->result->recorded_decisions++;
    return 0;
  }
  if (segment_start) replay->clock = (struct input_clock){ 0 };
  if (kind == INPUT_KILL) {
    int code = input_decode(kind, payload, &replay->clock, &kill, status);
    if (code == 0 && replay->engine) scripts_kill_at(replay->engine->scripts, kill.op, (uint64_t)kill.code);
    return code;
  }
  int code = apply_waiting(replay, status);
  if (code < 0) return code;
  buf_clear(&replay->pending);
  buf_add(&replay->pending, payload.data, payload.size);
  code = input_decode(kind, buf_view(&replay->pending), &replay->clock, &replay->waiting, status);
  replay->has_waiting = code == 0;
  return code;
}

static int read_all(struct replay *replay, struct status *status)
{
  struct recording *recording;
  const char *prefix = replay->config->prefix ? replay->config->prefix : "beats";
  int code = recording_open(&recording, replay->config->recording, prefix, status);
  if (code < 0) return code;
  uint8_t kind;
  struct view payload;
  bool segment_start = false;
  while ((code = recording_next(recording, &kind, &payload, &segment_start, status)) > 0) {
    code = take_frame(replay, kind, payload, segment_start, status);
    if (code < 0) break;
  }
  if (code == 0) code = apply_waiting(replay, status);
  recording_close(recording);
  return code;
}

int replay_run(const struct replay_config *config, struct replay_result *out, struct status *status)
{
  struct replay replay = { .config = config, .result = out, .settings = config->settings };
  *out = (struct replay_result){ 0 };
  replay.documents_end = &replay.documents;
  if (!replay.settings) replay.settings = replay.own_settings = settings_default(".");
  const char *temporary = getenv("TMPDIR");
  snprintf(replay.arena, sizeof replay.arena, "%s/nines-replay-XXXXXX",
           temporary && strlen(temporary) < 40 ? temporary : "/tmp");
  int file = mkstemp(replay.arena);
  if (file < 0) return status_set(status, NINES_EIO, "cannot make a temporary file %s: %m", replay.arena);
  close(file);
  unlink(replay.arena); // the arena makes its own
  int code = read_all(&replay, status);
  if (code == 0 && !out->parted && (replay.expected.size || replay.made.size)) {
    out->parted_at++;
    part(&replay, replay.expected.size ? replay.expected.data : "", replay.made.size ? replay.made.data : "");
  }
  engine_close(replay.engine);
  forget_documents(&replay);
  unlink(replay.arena);
  buf_free(&replay.expected);
  buf_free(&replay.made);
  buf_free(&replay.pending);
  settings_free(replay.own_settings);
  return code;
}
