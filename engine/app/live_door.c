// The live side of the door: the store's thread, commands, requests, letters; completions come back as inputs.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "duration.h"
#include "live_host.h"
#include "mem.h"

// One operation under way.
struct live_operation {
  struct live *live;
  uint64_t op;
  struct fetch *fetch; // NULL: a command
  char id[40];         // of the command
  bool wanted;         // false: cancelled, its result is dropped
};

static struct view op_key(uint64_t op, char out[static 24])
{
  snprintf(out, 24, "%llu", (unsigned long long)op);
  return view_of(out);
}

static struct live_operation *operation_make(struct live *live, uint64_t op)
{
  struct live_operation *operation = mem_must(sizeof *operation);
  char text[24];
  *operation = (struct live_operation){ .live = live, .op = op, .wanted = true };
  CHECK(map_put(&live->operations, op_key(op, text), operation) == 0);
  return operation;
}

static void operation_end(struct live_operation *operation, int code, struct view body)
{
  struct live *live = operation->live;
  char text[24];
  map_remove(&live->operations, op_key(operation->op, text));
  if (operation->wanted)
    live_input(live, (struct input){ .kind = INPUT_RESULT, .op = operation->op, .code = code, .body = body });
  mem_free(operation);
}

// --- the store

static bool door_commit(void *self, uint64_t ticket, struct txn *txn)
{
  struct live *live = self;
  if (!live->store) {
    txn_fini(txn);
    live_input(live, (struct input){ .kind = INPUT_COMMIT, .op = ticket });
    return true;
  }
  uint64_t store_ticket = store_commit(live->store, txn);
  if (store_ticket == 0) return false;
  struct live_ticket *pending = mem_must(sizeof *pending);
  pending->engine_ticket = ticket;
  pending->store_ticket = store_ticket;
  list_append(&live->tickets, &pending->node);
  return true;
}

static void on_commit(void *userdata, uint64_t store_ticket, int code, const char *error)
{
  struct live *live = userdata;
  list_each (node, &live->tickets) {
    struct live_ticket *pending = list_entry(node, struct live_ticket, node);
    if (pending->store_ticket != store_ticket) continue;
    uint64_t ticket = pending->engine_ticket;
    list_remove(node);
    mem_free(pending);
    live_input(live, (struct input){ .kind = INPUT_COMMIT, .op = ticket, .code = code, .body = view_of(error) });
    return;
  }
  api_backup_done(live, store_ticket, code, error);
}

// The helper's files are the memory of an outcome until what was decided by it is durable.
static void forget_commands(struct live *live)
{
  if (!list_empty(&live->tickets)) return;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&live->ended_commands, &at));) {
    char *id = mem_must_copy(entry->key);
    map_remove(&live->ended_commands, view_of(id));
    command_forget(live->commander, id);
    mem_free(id);
  }
}

void live_store_poll(struct live *live)
{
  if (live->store) store_poll(live->store, on_commit, live);
  forget_commands(live);
}

struct documents {
  struct live *live;
  const char *kind;
  txn_each_fn *each;
  void *userdata;
};

// What the store holds is an input of this life too.
static void take_document(void *userdata, const char *id, struct view json)
{
  struct documents *documents = userdata;
  struct buf name = { 0 };
  buf_printf(&name, "%s/%s", documents->kind, id);
  live_record(documents->live, &(struct input){ .kind = INPUT_DOCUMENT, .name = buf_view(&name), .body = json });
  buf_free(&name);
  documents->each(documents->userdata, id, json);
}

static void door_documents(void *self, const char *kind, txn_each_fn *each, void *userdata)
{
  struct live *live = self;
  struct status status = { 0 };
  struct documents documents = { live, kind, each, userdata };
  if (live->store && store_each(live->store, kind, take_document, &documents, &status) < 0)
    live_log(live, "error", "the store's %s documents cannot be read: %s", kind, status.text);
}

// --- letters

static void door_deliver(void *self, uint64_t op, const struct message *message)
{
  struct live *live = self;
  if (live->engine->hosted & NINES_EFFECT_PAGES)
    live_host_deliver(live->host, op, message);
  else
    courier_deliver(live->courier, live->settings, op, message);
}

void live_delivered(void *userdata, uint64_t op, int code, const char *why)
{
  live_input(userdata, (struct input){ .kind = INPUT_RESULT, .op = op, .code = code, .body = view_of(why) });
}

// --- commands

static void on_command(void *userdata, const char *id, const struct command_result *result)
{
  struct live_operation *operation = userdata;
  static const char *const ends[] = { "exited", "signaled", "timed out", "not started", "unknown" };
  struct buf body = { 0 };
  char text[200];
  int code = result->end == COMMAND_EXITED || result->end == COMMAND_SIGNALED ? 0
             : result->end == COMMAND_TIMED_OUT                               ? NINES_ETIMEOUT
             : result->end == COMMAND_UNKNOWN                                 ? NINES_ENOTFOUND
                                                                              : NINES_EIO;
  command_describe(result, text, sizeof text);
  if (code == 0) {
    buf_printf(&body, "{\"end\":\"%s\",\"status\":%d,\"describe\":", ends[result->end], result->status);
    buf_json_text(&body, view_of(text));
    buf_text(&body, ",\"output\":");
    buf_json_text(&body, result->output);
    buf_byte(&body, '}');
  } else {
    buf_printf(&body, "the command %s", text);
  }
  struct live *live = operation->live;
  operation_end(operation, code, buf_view(&body));
  if (result->end != COMMAND_UNKNOWN) {
    CHECK(map_put(&live->ended_commands, view_of(id), live) == 0);
    forget_commands(live);
  }
  buf_free(&body);
}

// Engines without a project must not meet in one directory.
static char *make_commands_dir(struct live *live, struct status *status)
{
  const char *temporary = getenv("TMPDIR");
  struct buf path = { 0 };
  buf_printf(&path, "%s/nines-XXXXXX", temporary && temporary[0] ? temporary : "/tmp");
  if (!mkdtemp(path.data)) {
    status_set(status, NINES_EIO, "cannot make a directory %s: %m", path.data);
    buf_free(&path);
    return NULL;
  }
  mem_free(live->commands_dir);
  live->commands_dir = mem_must_copy(path.data);
  return path.data;
}

int live_commander(struct live *live, struct status *status)
{
  if (live->commander) return 0;
  char *dir = live->dir ? live_in_data(live, "commands") : make_commands_dir(live, status);
  int code = dir ? commander_open(&live->commander, live->loop, dir, status) : status->code;
  mem_free(dir);
  return code;
}

static void door_command(void *self, uint64_t op, const struct door_command *command)
{
  struct live *live = self;
  bool is_exec = strcmp(command->kind, "exec") == 0;
  if (live->engine->hosted & (is_exec ? NINES_EFFECT_COMMANDS : NINES_EFFECT_DEPLOYS)) {
    live_host_command(live->host, op, command);
    return;
  }
  struct live_operation *operation = operation_make(live, op);
  struct status status = { 0 };
  snprintf(operation->id, sizeof operation->id, "%s", command->id);
  if (live_commander(live, &status) < 0) {
    operation_end(operation, NINES_EIO, view_of(status.text));
    return;
  }
  if (command->resume) {
    command_resume(live->commander, command->id, on_command, operation);
    return;
  }
  struct command start = { .id = command->id,
                           .argv = command->argv,
                           .env = command->env,
                           .dir = live->dir,
                           .input = command->input,
                           .timeout_ns = command->timeout_ns };
  if (command_start(live->commander, &start, on_command, operation, &status) < 0)
    operation_end(operation, NINES_EIO, view_of(status.text));
}

// --- requests

static void on_fetch(void *userdata, const struct fetch_reply *reply)
{
  struct live_operation *operation = userdata;
  struct buf body = { 0 };
  if (reply->code < 0) {
    operation_end(operation, reply->code, view_of(reply->error));
    return;
  }
  buf_printf(&body, "{\"status\":%d,\"body\":", reply->status);
  buf_json_text(&body, reply->body);
  buf_byte(&body, '}');
  operation_end(operation, 0, buf_view(&body));
  buf_free(&body);
}

static void door_http(void *self, uint64_t op, const struct door_http *request)
{
  struct live *live = self;
  struct live_operation *operation = operation_make(live, op);
  struct status status = { 0 };
  struct fetch_request fetch = { .method = request->method,
                                 .url = request->url,
                                 .headers = request->headers,
                                 .body = request->body,
                                 .timeout_ns = request->timeout_ns };
  int code = fetch_start(live->fetcher, &fetch, on_fetch, operation, &operation->fetch, &status);
  if (code < 0) operation_end(operation, code, view_of(status.text));
}

static void door_cancel(void *self, uint64_t op)
{
  struct live *live = self;
  char text[24];
  struct live_operation *operation = map_get(&live->operations, op_key(op, text));
  if (!operation) {
    live_host_cancel(live->host, op);
    return;
  }
  operation->wanted = false;
  if (operation->fetch) {
    fetch_cancel(operation->fetch);
    operation_end(operation, NINES_ECANCELED, view_of(""));
  } else {
    command_cancel(live->commander, operation->id);
  }
}

static void door_log(void *self, const char *level, const char *text)
{
  live_log(self, level, "%s", text);
}

static void door_reply(void *self, uint64_t op, int status, const struct value *document)
{
  api_reply(self, op, status, document);
}

static void door_wall_kill(void *self, uint64_t task, uint64_t instructions)
{
  live_record(self, &(struct input){ .kind = INPUT_KILL, .op = task, .code = (int)instructions });
}

struct door live_door(struct live *live)
{
  return (struct door){ .self = live,
                        .commit = door_commit,
                        .reply = door_reply,
                        .deliver = door_deliver,
                        .command = door_command,
                        .http = door_http,
                        .cancel = door_cancel,
                        .log = door_log,
                        .wall_kill = door_wall_kill,
                        .documents = door_documents };
}

void live_door_close(struct live *live)
{
  size_t at = 0;
  if (live->commander) commander_close(live->commander);
  if (live->commands_dir) (void)!rmdir(live->commands_dir); // a command that still runs keeps it
  mem_free(live->commands_dir);
  for (struct map_entry *entry; (entry = map_next(&live->operations, &at));) mem_free(entry->value);
  map_fini(&live->operations);
  map_fini(&live->ended_commands);
  if (!live->tickets.next) return;
  list_each (node, &live->tickets) mem_free(list_entry(node, struct live_ticket, node));
}
