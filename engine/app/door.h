// The one door through which the engine acts on the world; a live and a simulated side implement it.
//
// Nothing comes back through the door: completions are inputs (state/input.h) with the operation's number. An operation
// is started at most once by the engine, after what must be durable before it is.
#ifndef NINES_APP_DOOR_H
#define NINES_APP_DOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "txn.h"
#include "value.h"

// A page, notification or resolution for one notifier, complete in itself.
struct message {
  const char *id;       // of the outbox entry; the same at every attempt
  const char *notifier; // name in `notify:`
  const char *kind;     // "page", "notify"
  const char *status;   // "firing", "resolved"; "" for a notification without an alert
  const char *alert;    // id of the alert; "" without
  const char *severity; // "P0".."P2"
  const char *title;
  const char *text;
  const struct value *labels;      // identity: one outage, one set
  const struct value *annotations; // numbers and sentences
  // Of a message about several alerts: a list of { id, status, severity, title, text, labels, annotations, started_ns,
  // ended_ns (0 while firing), fingerprint }, the leading one first; NULL: about the one alert above, or none. `alert`
  // is the leading alert's id and stays the same for as long as any of the group fires: it is the dedup key.
  const struct value *alerts;
  int64_t started_wall_ns;
  int64_t ended_wall_ns; // 0 while firing
  int64_t wall_ns;       // of this attempt
  uint32_t attempt;      // from 1
};

struct door_command {
  const char *id;          // file name for the helper's status; unique for ever
  const char *kind;        // "deploy", "rollback", "current", "exec"
  const char *target;      // the service; the program
  const char *subject;     // the version that shall run; the words of the command; may be NULL
  const char *const *argv; // NULL-terminated
  const char *const *env;  // NULL-terminated, may be NULL
  struct view input;
  int64_t timeout_ns;
  bool resume; // of an earlier life: only its outcome is wanted
};

struct door_http {
  const char *method;
  const char *url;
  const char *const *headers; // NULL-terminated, may be NULL
  struct view body;
  int64_t timeout_ns;
};

struct door {
  void *self;
  // Takes the txn's ops; INPUT_COMMIT with the ticket follows. False: the queue is full, nothing was taken.
  bool (*commit)(void *self, uint64_t ticket, struct txn *txn);
  // The answer to an INPUT_CALL: `op` as it came, an HTTP status, a JSON document (of a problem when the status is 400
  // or above).
  void (*reply)(void *self, uint64_t op, int status, const struct value *document);
  // INPUT_RESULT: code 0, or NINES_EIO to try again, or NINES_EINVAL to give up (the notifier refuses the message for
  // good); body: a sentence.
  void (*deliver)(void *self, uint64_t op, const struct message *message);
  // INPUT_RESULT: code 0 when it ended by itself, body JSON {"end": "exited", "status": 0, "output": "..."};
  // NINES_ETIMEOUT; NINES_EIO when it could not be started; NINES_ENOTFOUND when `resume` finds no trace of it.
  void (*command)(void *self, uint64_t op, const struct door_command *command);
  // INPUT_RESULT: code 0, body JSON {"status": 200, "body": "..."}; else NINES_E* and a sentence.
  void (*http)(void *self, uint64_t op, const struct door_http *request);
  void (*cancel)(void *self, uint64_t op); // of command or http: the result is not wanted any more
  void (*log)(void *self, const char *level, const char *text);
  // Library files for `use`; false: there is none. The host feeds it as INPUT_SOURCE first when it is recorded.
  bool (*library)(void *self, const char *name, struct view *text);
  // A task struck its wall-clock limit: to be recorded as INPUT_KILL; may be NULL.
  void (*wall_kill)(void *self, uint64_t task, uint64_t instructions);
  // Documents at start-up, in order of creation.
  void (*documents)(void *self, const char *kind, txn_each_fn *each, void *userdata);
};

#endif
