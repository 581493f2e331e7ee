// One queue for all scripts.
//
// A run first fires what is due, then gives every ready task a turn, and repeats until neither is left: order depends
// on numbers and due times only. A sleep of nothing ends in the next run, and a script has a bounded number of turns in
// each, so that no policy can hold the engine in this loop.
#include "scheduler.h"

#include "check.h"
#include "script.h"
#include "task.h"

void scheduler_init(struct scheduler *scheduler, const struct scripts_config *config)
{
  *scheduler = (struct scheduler){ .config = config, .now_ns = config->now_ns, .wall_ns = config->wall_ns };
  scheduler->budget.bytes_max = config->bytes_max;
  list_init(&scheduler->ready);
  for (int i = 0; i < SCHEDULER_BUCKETS; i++) list_init(&scheduler->waits[i]);
}

void scheduler_fini(struct scheduler *scheduler)
{
  CHECK(list_empty(&scheduler->ready));
  heap_fini(&scheduler->timers);
  pool_fini(&scheduler->call_pool);
  buf_free(&scheduler->scratch);
}

void timer_start(struct scheduler *scheduler, struct timer *timer, int64_t due_ns)
{
  CHECK(heap_insert(&scheduler->timers, &timer->node, due_ns) == 0);
}

void timer_stop(struct scheduler *scheduler, struct timer *timer)
{
  heap_remove(&scheduler->timers, &timer->node);
}

static bool may_run(struct scheduler *scheduler, struct script *script)
{
  if (script->run != scheduler->runs) {
    script->run = scheduler->runs;
    script->turns_left = SCHEDULER_TURNS_MAX;
  }
  if (script->turns_left == 0) return false;
  script->turns_left--;
  return true;
}

void scheduler_run(struct scheduler *scheduler, int64_t now_ns, int64_t wall_ns)
{
  struct list later;
  list_init(&later);
  scheduler->now_ns = now_ns;
  scheduler->wall_ns = wall_ns;
  scheduler->runs++;
  for (;;) {
    struct heap_node *node;
    while ((node = heap_top(&scheduler->timers)) && node->due_ns <= now_ns) {
      struct timer *timer = (struct timer *)node;
      timer->fire(timer);
    }
    if (list_empty(&scheduler->ready)) break;
    struct task *task = list_entry(scheduler->ready.next, struct task, in_queue);
    list_remove(&task->in_queue);
    if (may_run(scheduler, task->script))
      task_turn(task);
    else
      list_append(&later, &task->in_queue);
  }
  while (!list_empty(&later)) {
    struct list *node = later.next;
    list_remove(node);
    list_append(&scheduler->ready, node);
  }
}

int64_t scheduler_due_ns(const struct scheduler *scheduler)
{
  if (!list_empty(&scheduler->ready)) return scheduler->now_ns;
  const struct heap_node *top = heap_top(&scheduler->timers);
  return top ? top->due_ns : INT64_MAX;
}

struct task *scheduler_waiting(struct scheduler *scheduler, uint64_t token)
{
  list_each (node, &scheduler->waits[token % SCHEDULER_BUCKETS]) {
    struct task *task = list_entry(node, struct task, in_queue);
    if (task->token == token) return task;
  }
  return NULL;
}

void scheduler_log(const struct scheduler *scheduler, const char *level, const char *script, const char *text)
{
  const struct scripts_hooks *hooks = &scheduler->config->hooks;
  if (hooks->log) hooks->log(hooks->app, level, script, text);
}
