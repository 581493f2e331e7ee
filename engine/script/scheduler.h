// The heart of all scripts: what is ready, what is due, what waits for a token.
#ifndef NINES_SCRIPT_SCHEDULER_H
#define NINES_SCRIPT_SCHEDULER_H

#include "heap.h"
#include "list.h"
#include "pool.h"
#include "sandbox.h"
#include "scripts.h"

enum {
  SCHEDULER_BUCKETS = 64,
  SCHEDULER_TURNS_MAX = 256, // of one script in one scheduler_run: a policy that keeps itself busy waits for the next
};

struct task;
struct script;

struct timer {
  struct heap_node node;             // first: the heap hands it back
  void (*fire)(struct timer *timer); // must stop or restart the timer
};

struct scheduler {
  const struct scripts_config *config;
  int64_t now_ns;
  int64_t wall_ns;
  struct heap timers;
  struct list ready;                    // tasks, in the order in which they became so
  struct list waits[SCHEDULER_BUCKETS]; // tasks that wait for a token, by its low bits
  struct task *running;
  uint64_t runs;
  uint64_t last_task, last_token, last_script;
  struct pool call_pool; // arguments and results of the call that is under way
  struct buf scratch;
  struct sandbox_budget budget;
  void *owner; // of the functions below
  // The text of a library.
  bool (*library)(struct scheduler *scheduler, const char *name, struct view *text);
  // A script was killed in a task of its handler number `handler` (UINT32_MAX: none); may close the script.
  void (*killed)(struct scheduler *scheduler, struct script *script, uint32_t handler, enum sandbox_kill kill,
                 const char *why);
};

void scheduler_init(struct scheduler *scheduler, const struct scripts_config *config);
void scheduler_fini(struct scheduler *scheduler);
void scheduler_run(struct scheduler *scheduler, int64_t now_ns, int64_t wall_ns);
int64_t scheduler_due_ns(const struct scheduler *scheduler);
// The task that waits for `token`, or NULL.
struct task *scheduler_waiting(struct scheduler *scheduler, uint64_t token);
void scheduler_log(const struct scheduler *scheduler, const char *level, const char *script, const char *text);

void timer_start(struct scheduler *scheduler, struct timer *timer, int64_t due_ns); // moves a running one
void timer_stop(struct scheduler *scheduler, struct timer *timer);

#endif
