// All policies of an engine: loading, names, hot reload, tasks, handlers and timers.
//
// Each file is a state of its own. The engine feeds sources, events, results and time; scripts answer with calls of
// nouns and verbs. Nothing here reads a clock or a file. Order is fixed: files by name, handlers by declaration, tasks
// by number, timers by due time.
//
// Flow words built in: on, every, at, after, sleep, wait_for, all, spawn, now, each, keep, use, log.*, seconds,
// minutes, hours, days. An `every` that still runs when due again is skipped and counted. A repeated event joins the
// handler that still runs for it. Three kills in a row disable the policy until it changes or scripts_enable. Waiting
// calls are one per task and end at a reload of their file; handlers of events that the application says still hold
// (`replay_events`) run again from the top.
#ifndef NINES_SCRIPT_SCRIPTS_H
#define NINES_SCRIPT_SCRIPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "event.h"
#include "noun.h"

struct scripts;

enum task_end { TASK_DONE, TASK_FAILED, TASK_KILLED, TASK_CANCELLED };

struct scripts_hooks {
  void *app; // handed to nouns, verbs and the hooks below
  // policy.loaded, policy.rejected, policy.killed, policy.disabled; `json` says why.
  void (*publish)(void *app, const char *topic, const char *name, const char *json);
  // A handler of an event has ended. `why` is "" or the error.
  void (*handler_end)(void *app, const struct caller *caller, enum task_end end, const char *why);
  // A function that scripts_start ran has ended, with its results (valid during the call) when it is TASK_DONE.
  void (*function_end)(void *app, uint64_t task, enum task_end end, const struct value *results, uint32_t count,
                       const char *why);
  // The task that waits for `token` is gone; drop what was under way for it.
  void (*cancel)(void *app, uint64_t token);
  void (*log)(void *app, const char *level, const char *script, const char *text);
  // keep: the table of a script as JSON when it changed (end of a turn, or before a wait) / what was stored, parsed
  // into `pool` (nil: nothing).
  void (*keep)(void *app, const char *script, struct view json);
  struct value (*kept)(void *app, const char *script, struct pool *pool);
  // The text of a library file for `use "detection/two_sided"`; false: there is none.
  bool (*library)(void *app, const char *name, struct view *text);
  // A task was stopped by its wall-clock limit: an input, recorded for replay.
  void (*wall_kill)(void *app, uint64_t task, uint64_t instructions);
};

struct scripts_config {
  struct scripts_hooks hooks;
  const struct noun *const *nouns; // NULL-terminated
  const struct verb *verbs;        // NULL-named end
  struct sandbox_limits limits;
  size_t bytes_max;     // of all together; 0: 128 MiB
  uint32_t tasks_max;   // of a script; 0: 64
  uint32_t scripts_max; // 0: 1,000
  uint64_t seed;
  int64_t now_ns, wall_ns;
  int64_t utc_offset_ns; // for at(): local time = wall + this
};

int scripts_open(struct scripts **out, const struct scripts_config *config, struct status *status);
void scripts_close(struct scripts *scripts); // cancels every task

// Announces a file's text (copied); NULL data: the file is gone. Nothing changes until scripts_reload.
int scripts_source(struct scripts *scripts, const char *file, struct view text, struct status *status);
// Loads what was announced. Files named lib/NAME.lua are libraries for `use "NAME"`, before hooks.library. Files that
// fail keep their old version (or stay absent) and are published as rejected; the first sentence is in status, the
// number of rejected files is returned. Unchanged text is a no-op.
int scripts_reload(struct scripts *scripts, struct status *status);
// The same checks without taking anything over: for `nines check`. `each` gets every error with its place. Returns the
// number of files that would be rejected.
int scripts_check(struct scripts *scripts, void (*each)(void *userdata, const char *file, const char *error),
                  void *userdata);
int scripts_enable(struct scripts *scripts, const char *file, struct status *status);

// Time goes on; then everything ready or due runs, until nothing is. Call it in every turn of the engine.
void scripts_run(struct scripts *scripts, int64_t now_ns, int64_t wall_ns);
int64_t scripts_due_ns(const struct scripts *scripts); // of the earliest timer; INT64_MAX: none
// Starts the handlers of the event (they run in the next scripts_run).
void scripts_event(struct scripts *scripts, const struct event *event);
// Is there a handler that would get it? (An alert holds its page only then.)
bool scripts_handles(const struct scripts *scripts, const char *topic, const char *name);
// Is one running for it?
bool scripts_handling(const struct scripts *scripts, const char *topic, const char *name);
uint64_t scripts_token(struct scripts *scripts); // a fresh wait token
// Resumes the task that waits for `token` with these results (copied), in the next scripts_run. False: nobody waits for
// it.
bool scripts_wake(struct scripts *scripts, uint64_t token, const struct value *results, uint32_t count);
// Runs a function that a declaration or a call handed over (VALUE_FUNCTION) as a task of its script, in the episode of
// the task that made the call. The number of the task, or 0 with the reason: the script was reloaded or disabled since,
// or has too many tasks.
uint64_t scripts_start(struct scripts *scripts, int64_t function, const struct value *arguments, uint32_t count,
                       struct status *status);
// Cancels such a task wherever it waits, with what it waits for; function_end is told TASK_CANCELLED before this
// returns. False: there is none of this number (any more), or it is the one that runs.
bool scripts_stop(struct scripts *scripts, uint64_t task);
// Replay: the task's next turn is stopped as by the wall clock after this many instructions.
void scripts_kill_at(struct scripts *scripts, uint64_t task, uint64_t instructions);

struct script_info {
  const char *file;
  const char *state; // "running", "disabled", "rejected" (never loaded)
  const char *error; // of the last rejected version, or ""
  uint64_t loads, rejections, tasks, skipped, joined, errors, hash;
  struct sandbox_usage usage;
};
uint32_t scripts_count(const struct scripts *scripts);
bool scripts_info(const struct scripts *scripts, uint32_t index, struct script_info *out);

#endif
