// Running other programs: argv, no shell, a timeout, and an exit status that survives the engine.
//
// Each command runs under a small helper process (a fork of the engine that only makes async-signal-safe calls) in a
// session of its own. The helper holds a lock on DIR/ID/lock for as long as it lives, sends the command's output to
// DIR/ID/output (bounded), ends the whole process group at the timeout (SIGTERM, 2 s, SIGKILL), and writes
// DIR/ID/status atomically (rename after fsync). A restarted engine reads the status, or sees by the lock that the
// command still runs, or knows that the outcome is unknown.
#ifndef NINES_IO_COMMAND_H
#define NINES_IO_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "loop.h"
#include "status.h"

struct commander;
enum { COMMAND_OUTPUT_MAX = 64 << 10, COMMANDS_MAX = 64 };

struct command {
  const char *id;          // file name: letters, digits, - and _; unique
  const char *const *argv; // NULL-terminated; argv[0] with a slash is relative to `dir`, else searched in PATH
  const char *const *env;  // "NAME=value" added to the engine's environment; NULL: none
  const char *dir;         // working directory; NULL: the engine's
  struct view input;       // for its standard input; empty: /dev/null
  int64_t timeout_ns;      // 0: 5 min
};

enum command_end { COMMAND_EXITED, COMMAND_SIGNALED, COMMAND_TIMED_OUT, COMMAND_NOT_STARTED, COMMAND_UNKNOWN };

struct command_result {
  enum command_end end;
  int status;         // exit status, signal, errno; timed out: the limit in ms; unknown: 0
  struct view output; // stdout and stderr, at most COMMAND_OUTPUT_MAX (the tail)
};

typedef void command_fn(void *userdata, const char *id, const struct command_result *result);

int commander_open(struct commander **out, struct loop *loop, const char *dir, struct status *status);
void commander_close(struct commander *commander); // commands go on running under their helpers
int command_start(struct commander *commander, const struct command *command, command_fn *done, void *userdata,
                  struct status *status);
// After a restart: the callback gets the outcome of a command of an earlier life, at once or when its helper ends;
// COMMAND_UNKNOWN when it neither runs nor left a status, or was never started.
void command_resume(struct commander *commander, const char *id, command_fn *done, void *userdata);
void command_cancel(struct commander *commander, const char *id); // ends the process group; the callback still runs
void command_forget(struct commander *commander, const char *id); // removes the files of a finished one
uint32_t command_count(const struct commander *commander);
// "exited with status 3", "was killed by signal 9", "ran longer than 5m", "could not be started: ...".
char *command_describe(const struct command_result *result, char *out, size_t out_size);

#endif
