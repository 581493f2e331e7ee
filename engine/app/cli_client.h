// A conversation with a running engine over its HTTP API: where it is, one request at a time.
#ifndef NINES_APP_CLI_CLIENT_H
#define NINES_APP_CLI_CLIENT_H

#include "cli.h"
#include "value.h"

struct client;

struct client_reply {
  int code;   // 0, or NINES_E* when there was no answer
  int status; // HTTP
  struct buf text;
  struct pool pool;
  struct value body; // of a JSON answer, else nil
  char *error;       // a sentence when code is not 0
};

// Finds the engine: --engine, NINES_ENGINE, ./nines.yaml (the socket in its data directory, else its address), else
// http://127.0.0.1:9999. Nothing is sent yet. Never fails: client_where tells what was found.
struct client *client_open(const struct cli *cli);
void client_close(struct client *client);
const char *client_where(const struct client *client);

// One request; `body` may be NULL, `timeout_ns` 0: 10 s. Returns reply->code. client_reply_fini it in any case.
int client_try(struct client *client, const char *method, const char *path, const struct value *body,
               int64_t timeout_ns, struct client_reply *reply);
// The same; when there was no answer, or a refusal (400 and above), it tells. An exit code.
int client_call(struct client *client, const char *method, const char *path, const struct value *body,
                struct client_reply *reply);
// Tells that there was no answer, and how to start an engine; returns CLI_UNREACHABLE.
int client_unreachable(const struct client *client, const struct client_reply *reply);
void client_reply_fini(struct client_reply *reply);

// Adds a name to a path, percent-encoded.
void client_add_name(struct buf *path, const char *name);

#endif
