// All files together: what is announced, what runs, what was killed. (reload.c takes over what was announced.)
//
// A policy that is killed three times in a row is stopped until it changes: its objects stay declared, its handlers are
// not there any more, so that alerts do not wait for them. After a kill for memory the state cannot be trusted, and the
// same text starts anew.
#include "scripts.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "handler.h"
#include "mem.h"
#include "scripts_private.h"
#include "task.h"

enum { SCRIPTS_MAX = 1000 };

static struct file *file_of(const struct script *script)
{
  return (struct file *)script->record; // its first member
}

static bool find_library(struct scheduler *scheduler, const char *name, struct view *text);
static void on_killed(struct scheduler *scheduler, struct script *script, uint32_t handler, enum sandbox_kill kill,
                      const char *why);

int scripts_open(struct scripts **out, const struct scripts_config *config, struct status *status)
{
  *out = NULL;
  struct scripts *scripts = mem_zalloc(sizeof *scripts);
  if (!scripts) return status_set(status, NINES_ENOMEM, "out of memory");
  scripts->config = *config;
  if (!scripts->config.scripts_max) scripts->config.scripts_max = SCRIPTS_MAX;
  scheduler_init(&scripts->scheduler, &scripts->config);
  scripts->scheduler.owner = scripts;
  scripts->scheduler.library = find_library;
  scripts->scheduler.killed = on_killed;
  *out = scripts;
  return 0;
}

void scripts_close(struct scripts *scripts)
{
  if (!scripts) return;
  // All stop before the first goes: what the end of one sets free may wake or start another.
  for (size_t i = 0; i < scripts->count; i++)
    if (scripts->files[i]->current) script_stop(scripts->files[i]->current);
  for (size_t i = 0; i < scripts->count; i++) file_close(scripts->files[i]);
  mem_free(scripts->files);
  scheduler_fini(&scripts->scheduler);
  mem_free(scripts);
}

// Files

static struct file *find_file(const struct scripts *scripts, const char *name, size_t *place)
{
  size_t low = 0, high = scripts->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(scripts->files[middle]->record.file, name);
    if (order == 0) {
      if (place) *place = middle;
      return scripts->files[middle];
    }
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (place) *place = low;
  return NULL;
}

static struct file *add_file(struct scripts *scripts, const char *name, size_t place)
{
  if (scripts->count == scripts->capacity) {
    scripts->capacity = scripts->capacity ? 2 * scripts->capacity : 16;
    scripts->files = mem_must_resize(scripts->files, scripts->capacity * sizeof(struct file *));
  }
  memmove(&scripts->files[place + 1], &scripts->files[place], (scripts->count - place) * sizeof(struct file *));
  scripts->count++;
  return scripts->files[place] = file_open(name);
}

int scripts_source(struct scripts *scripts, const char *name, struct view text, struct status *status)
{
  size_t size = strlen(name), place;
  if (size < 5 || strcmp(name + size - 4, ".lua") != 0)
    return status_set(status, NINES_EINVAL, "%s: a policy's file name ends in .lua", name);
  if (size > FILE_NAME_MAX)
    return status_set(status, NINES_ELIMIT, "%.64s...: a policy's file name has at most %d bytes", name, FILE_NAME_MAX);
  if (text.data && text.size > FILE_BYTES_MAX)
    return status_set(status, NINES_ELIMIT, "%s: %zu bytes, at most %d", name, text.size, FILE_BYTES_MAX);
  struct file *file = find_file(scripts, name, &place);
  if (!file && !text.data) return 0;
  if (!file && scripts->count >= scripts->config.scripts_max)
    return status_set(status, NINES_ELIMIT, "%s: more than %u policies", name, scripts->config.scripts_max);
  if (!file) file = add_file(scripts, name, place);
  file_announce(file, text);
  return 0;
}

static bool find_library(struct scheduler *scheduler, const char *name, struct view *text)
{
  struct scripts *scripts = scheduler->owner;
  const struct scripts_hooks *hooks = &scripts->config.hooks;
  for (size_t i = 0; i < scripts->count; i++) {
    const struct file *file = scripts->files[i];
    if (!file_is_library(file, name) || file->gone) continue;
    bool is_new = file->pending && !file->verdict;
    *text = is_new ? (struct view){ file->pending, file->pending_size } : (struct view){ file->text, file->size };
    if (text->data) return true;
  }
  return hooks->library && hooks->library(hooks->app, name, text);
}

// For reload.c too

void scripts_say(const struct scripts *scripts, const struct file *file, const char *topic, const char *why)
{
  const struct scripts_hooks *hooks = &scripts->config.hooks;
  struct buf json = { 0 };
  if (!hooks->publish) return;
  buf_text(&json, "{");
  if (why) {
    buf_text(&json, "\"why\":");
    buf_json_text(&json, view_of(why));
  } else {
    buf_printf(&json, "\"hash\":\"%016llx\"", (unsigned long long)file->hash);
  }
  buf_text(&json, "}");
  hooks->publish(hooks->app, topic, file->record.file, json.failed ? "{}" : json.data);
  buf_free(&json);
}

void scripts_apply(struct scripts *scripts, struct file *file, const struct noun *noun, bool again)
{
  struct status status;
  if (script_apply(file->current, noun, again, &status) == 0) return;
  file->record.errors++;
  scheduler_log(&scripts->scheduler, "error", file->record.file, status.text);
  mem_free(file->error);
  file->error = mem_must_copy(status.text);
}

// Kills

static void disable(struct scripts *scripts, struct file *file, const char *why)
{
  file->usage = file->current->sandbox.usage;
  file->usage.bytes = 0;
  script_stop(file->current);
  file->disabled = true;
  scripts_say(scripts, file, "policy.disabled", why);
}

// The same text in a fresh state: after a kill for memory, and when a disabled policy gets another chance. What it
// declares is the same, but for its functions, which the application gets anew.
static int restart(struct scripts *scripts, struct file *file, struct status *status)
{
  struct script *fresh;
  int rc =
      script_open(&fresh, &scripts->scheduler, &file->record, (struct view){ file->text, file->size }, false, status);
  if (rc != 0) return rc;
  const struct sandbox_usage *before = file->disabled ? &file->usage : &file->current->sandbox.usage;
  memcpy(fresh->sandbox.usage.kills, before->kills, sizeof before->kills);
  fresh->sandbox.usage.turns += before->turns;
  script_close(file->current);
  file->current = fresh;
  for (const struct noun *const *noun = scripts->config.nouns; noun && *noun; noun++)
    scripts_apply(scripts, file, *noun, false);
  script_start(fresh);
  return 0;
}

static void on_killed(struct scheduler *scheduler, struct script *script, uint32_t handler, enum sandbox_kill kill,
                      const char *why)
{
  struct scripts *scripts = scheduler->owner;
  struct file *file = file_of(script);
  struct status status;
  file->record.kills++;
  file->record.killer = handler;
  scripts_say(scripts, file, "policy.killed", why);
  if (file->record.kills >= FILE_KILLS_MAX)
    disable(scripts, file, why);
  else if (kill == KILL_MEMORY && restart(scripts, file, &status) != 0)
    disable(scripts, file, status.text);
}

int scripts_enable(struct scripts *scripts, const char *name, struct status *status)
{
  struct file *file = find_file(scripts, name, NULL);
  if (!file || !file->current) return status_set(status, NINES_ENOTFOUND, "%s: no such policy", name);
  if (!file->disabled) return 0;
  int rc = restart(scripts, file, status);
  if (rc != 0) return rc;
  file->disabled = false;
  file->record.kills = 0;
  scripts_say(scripts, file, "policy.loaded", NULL);
  return 0;
}

// Running

static struct script *running_script(const struct scripts *scripts, size_t i)
{
  struct script *script = scripts->files[i]->current;
  return script && script->running ? script : NULL;
}

void scripts_run(struct scripts *scripts, int64_t now_ns, int64_t wall_ns)
{
  struct scheduler *scheduler = &scripts->scheduler;
  bool wall_was_set = wall_ns - now_ns != scheduler->wall_ns - scheduler->now_ns;
  if (wall_was_set) {
    scheduler->now_ns = now_ns;
    scheduler->wall_ns = wall_ns;
  }
  for (size_t i = 0; wall_was_set && i < scripts->count; i++) {
    struct script *script = running_script(scripts, i);
    if (!script) continue;
    list_each (node, &script->handlers) handler_retime(list_entry(node, struct handler, in_script));
  }
  scheduler_run(scheduler, now_ns, wall_ns);
}

int64_t scripts_due_ns(const struct scripts *scripts)
{
  return scheduler_due_ns(&scripts->scheduler);
}

void scripts_event(struct scripts *scripts, const struct event *event)
{
  for (size_t i = 0; i < scripts->count; i++) {
    struct script *script = running_script(scripts, i);
    if (!script) continue;
    list_each (node, &script->handlers) {
      struct handler *handler = list_entry(node, struct handler, in_script);
      if (handler_matches(handler, event->topic, event->name)) handler_event(handler, event);
    }
  }
}

bool scripts_handles(const struct scripts *scripts, const char *topic, const char *name)
{
  for (size_t i = 0; i < scripts->count; i++) {
    struct script *script = running_script(scripts, i);
    if (!script) continue;
    list_each (node, &script->handlers)
      if (handler_matches(list_entry(node, struct handler, in_script), topic, name)) {
        return true;
      }
  }
  return false;
}

bool scripts_handling(const struct scripts *scripts, const char *topic, const char *name)
{
  for (size_t i = 0; i < scripts->count; i++) {
    struct script *script = running_script(scripts, i);
    if (!script) continue;
    list_each (node, &script->handlers) {
      if (handler_task(list_entry(node, struct handler, in_script), topic, name)) return true;
    }
  }
  return false;
}

uint64_t scripts_token(struct scripts *scripts)
{
  return ++scripts->scheduler.last_token;
}

bool scripts_wake(struct scripts *scripts, uint64_t token, const struct value *results, uint32_t count)
{
  struct task *task = scheduler_waiting(&scripts->scheduler, token);
  if (!task) return false;
  if (!task_set_values(task, results, count)) {
    const struct value lost[] = { value_nil(), value_text("out of memory for the result"), value_text("memory") };
    CHECK(task_set_values(task, lost, 3));
  }
  list_remove(&task->in_queue);
  task_ready(task);
  return true;
}

// The task that made the call which handed the function over, and still waits for it; else the one that runs.
static const struct task *giver_of(const struct scripts *scripts, const struct script *script, int64_t function)
{
  list_each (node, &script->tasks) {
    const struct task *task = list_entry(node, struct task, in_script);
    for (uint32_t i = 0; i < task->function_count; i++)
      if (task->functions[i] == function) return task;
  }
  return scripts->scheduler.running;
}

uint64_t scripts_start(struct scripts *scripts, int64_t function, const struct value *arguments, uint32_t count,
                       struct status *status)
{
  for (size_t i = 0; i < scripts->count; i++) {
    struct script *script = running_script(scripts, i);
    if (!script || !script_push_function(script->sandbox.L, function)) continue;
    struct task *task = task_open_top(script, script->sandbox.L, status);
    if (!task) return 0;
    task_inherit(task, giver_of(scripts, script, function));
    if (!task_set_values(task, arguments, count)) {
      task_cancel(task);
      status_set(status, NINES_ENOMEM, "out of memory");
      return 0;
    }
    task_ready(task);
    return task->caller.task;
  }
  status_set(status, NINES_ENOTFOUND, "the function is gone: its policy was reloaded or disabled");
  return 0;
}

static struct task *find_task(const struct scripts *scripts, uint64_t number)
{
  for (size_t i = 0; i < scripts->count; i++) {
    const struct script *script = scripts->files[i]->current;
    if (!script) continue;
    list_each (node, &script->tasks) {
      struct task *task = list_entry(node, struct task, in_script);
      if (task->caller.task == number) return task;
    }
  }
  return NULL;
}

bool scripts_stop(struct scripts *scripts, uint64_t number)
{
  struct task *task = find_task(scripts, number);
  if (!task || !task->for_host || task->state == TASK_RUNNING) return false;
  task_stop(task, "stopped by who started it");
  return true;
}

void scripts_kill_at(struct scripts *scripts, uint64_t number, uint64_t instructions)
{
  for (size_t i = 0; i < scripts->count; i++) {
    struct script *script = running_script(scripts, i);
    if (!script) continue;
    list_each (node, &script->tasks) {
      struct task *task = list_entry(node, struct task, in_script);
      if (task->caller.task == number) task->kill_at = instructions;
    }
  }
}

// Looking

uint32_t scripts_count(const struct scripts *scripts)
{
  uint32_t count = 0;
  for (size_t i = 0; i < scripts->count; i++) count += !scripts->files[i]->library;
  return count;
}

bool scripts_info(const struct scripts *scripts, uint32_t index, struct script_info *out)
{
  for (size_t i = 0; i < scripts->count; i++) {
    const struct file *file = scripts->files[i];
    if (file->library || index-- > 0) continue;
    *out = (struct script_info){
      .file = file->record.file,
      .state = file->disabled  ? "disabled"
               : file->current ? "running"
                               : "rejected",
      .error = file->error ? file->error : "",
      .loads = file->loads,
      .rejections = file->rejections,
      .tasks = file->current ? file->current->task_count : 0,
      .skipped = file->record.skipped,
      .joined = file->record.joined,
      .errors = file->record.errors,
      .hash = file->hash,
    };
    if (file->disabled)
      out->usage = file->usage;
    else if (file->current)
      out->usage = file->current->sandbox.usage;
    return true;
  }
  return false;
}
