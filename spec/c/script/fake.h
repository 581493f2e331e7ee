// A small application for the tests of scripts: things that can be declared, a ticket that is known by its handle,
// verbs, and a log of everything that reached it. All in virtual time.
#ifndef NINES_SPEC_SCRIPT_FAKE_H
#define NINES_SPEC_SCRIPT_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "duration.h"
#include "json.h"
#include "mem.h"
#include "scripts.h"

#define FAKE_WALL_NS (1767571200LL * NS_PER_S) // Monday 2026-01-05 00:00 UTC
enum { FAKE_THINGS = 512, FAKE_LOG = 1 << 16 };

struct fake_thing {
  char name[64];
  int64_t limit;
  uint64_t friend_handle;
  int64_t function;
  bool lives;
};

struct fake {
  struct scripts *scripts;
  struct scripts_config config;
  int64_t now_ns, wall_shift_ns;
  uint64_t sequence;
  struct fake_thing things[FAKE_THINGS]; // handle: index + 1
  uint64_t waits[64];
  uint32_t wait_count;
  char log[FAKE_LOG]; // one line a call of the application
  bool quiet;
  const char *kept; // JSON
  const char *library;
  char failure[512];
};

__attribute__((format(printf, 2, 3))) static inline void fake_note(struct fake *fake, const char *format, ...)
{
  va_list arguments;
  size_t used = strlen(fake->log);
  if (fake->quiet) return;
  va_start(arguments, format);
  vsnprintf(fake->log + used, sizeof fake->log - used, format, arguments);
  va_end(arguments);
}

static inline uint64_t thing_find(void *app, const char *name)
{
  struct fake *fake = app;
  for (uint64_t i = 0; i < FAKE_THINGS; i++)
    if (fake->things[i].lives && strcmp(fake->things[i].name, name) == 0) return i + 1;
  return 0;
}

static inline int thing_check(void *app, const char *where, const char *name, const struct value *settings,
                              struct status *status)
{
  (void)app;
  (void)name;
  const struct value *friend = value_get(settings, "friend");
  if (value_get_integer(settings, "limit", 0) < 0)
    return status_set(status, NINES_EINVAL, "%s: limit: it is below 0", where);
  if (friend && friend->type != VALUE_OBJECT) return status_set(status, NINES_EINVAL, "%s: friend: no thing", where);
  return 0;
}

static inline int thing_apply(void *app, const char *script, const char *name, const struct value *settings,
                              struct status *status)
{
  struct fake *fake = app;
  uint64_t handle = thing_find(app, name);
  (void)script;
  (void)status;
  for (uint64_t i = 0; handle == 0 && i < FAKE_THINGS; i++)
    if (!fake->things[i].lives) handle = i + 1;
  struct fake_thing *thing = &fake->things[handle - 1];
  const struct value *friend = value_get(settings, "friend"), *run = value_get(settings, "run");
  snprintf(thing->name, sizeof thing->name, "%s", name);
  thing->lives = true;
  thing->limit = value_get_integer(settings, "limit", 0);
  thing->friend_handle = friend ? friend->object.handle : 0;
  thing->function = run && run->type == VALUE_FUNCTION ? run->integer : 0;
  fake_note(fake, "apply %s %lld\n", name, (long long)thing->limit);
  return 0;
}

static inline void thing_retire(void *app, const char *name)
{
  struct fake *fake = app;
  fake->things[thing_find(app, name) - 1].lives = false;
  fake_note(fake, "retire %s\n", name);
}

static inline void thing_names(void *app, void (*each)(void *userdata, const char *name), void *userdata)
{
  struct fake *fake = app;
  for (uint64_t i = 0; i < FAKE_THINGS; i++)
    if (fake->things[i].lives) each(userdata, fake->things[i].name);
}

static inline const char *thing_name(void *app, uint64_t handle)
{
  struct fake *fake = app;
  return fake->things[handle - 1].lives ? fake->things[handle - 1].name : NULL;
}

static inline void note_arguments(struct fake *fake, const char *what, const struct call *call)
{
  struct buf json = { 0 };
  for (uint32_t i = 0; i < call->argument_count; i++) {
    buf_text(&json, " ");
    value_to_json(&call->arguments[i], &json);
  }
  fake_note(fake, "%s%s\n", what, json.data ? json.data : "");
  buf_free(&json);
}

static inline int thing_limit(void *app, uint64_t handle, struct call *call)
{
  call_return(call, value_integer(((struct fake *)app)->things[handle - 1].limit));
  return CALL_DONE;
}

static inline int thing_set(void *app, uint64_t handle, struct call *call)
{
  struct fake *fake = app;
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_INTEGER)
    return status_set(&call->status, NINES_EINVAL, "set: a whole number, please");
  fake->things[handle - 1].limit = call->arguments[0].integer;
  return CALL_DONE;
}

static inline int fake_wait(void *app, uint64_t handle, struct call *call)
{
  struct fake *fake = app;
  (void)handle;
  note_arguments(fake, "wait", call);
  call->wait_token = scripts_token(fake->scripts);
  fake->waits[fake->wait_count++ % 64] = call->wait_token;
  return CALL_WAIT;
}

extern const struct noun fake_thing_noun, fake_ticket_noun;

static inline int thing_friend(void *app, uint64_t handle, struct call *call)
{
  struct value value = { .type = VALUE_OBJECT };
  value.object.noun = &fake_thing_noun;
  value.object.handle = ((struct fake *)app)->things[handle - 1].friend_handle;
  call_return(call, value);
  return CALL_DONE;
}

static inline int thing_ticket(void *app, uint64_t handle, struct call *call)
{
  struct value value = { .type = VALUE_OBJECT };
  (void)app;
  value.object.noun = &fake_ticket_noun;
  value.object.handle = handle + 1000;
  call_return(call, value);
  return CALL_DONE;
}

// Runs its function as a task and waits for it.
static inline int thing_guard(void *app, uint64_t handle, struct call *call)
{
  struct fake *fake = app;
  (void)handle;
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_FUNCTION)
    return status_set(&call->status, NINES_EINVAL, "guard: a function, please");
  struct value argument = value_text("argument");
  if (!scripts_start(fake->scripts, call->arguments[0].integer, &argument, 1, &call->status))
    return call_fail(call, "start", "%s", call->status.text);
  call->wait_token = scripts_token(fake->scripts);
  fake->waits[fake->wait_count++ % 64] = call->wait_token;
  return CALL_WAIT;
}

static inline int ticket_number(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_integer((int64_t)handle));
  return CALL_DONE;
}

static inline int fake_page(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  note_arguments(app, "page", call);
  call_return(call, value_bool(true));
  return CALL_DONE;
}

static inline int fake_refuse(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  (void)handle;
  return call_fail(call, "closed", "the door is %s", "closed");
}

static inline int fake_caller(void *app, uint64_t handle, struct call *call)
{
  (void)handle;
  const struct caller *caller = call->caller;
  fake_note(app, "caller %s:%d %s %s %llu\n", caller->script, caller->line, caller->topic, caller->name,
            (unsigned long long)caller->event_sequence);
  return CALL_DONE;
}

static inline int fake_pure(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  (void)handle;
  call_return(call, value_integer(42));
  return CALL_DONE;
}

static const char *const fake_topics[] = { "breached", "recovered", NULL };
static const struct noun_method thing_methods[] = {
  { "limit", thing_limit, true }, { "friend", thing_friend, true }, { "set", thing_set, false },
  { "mend", fake_wait, false },   { "guard", thing_guard, false },  { "ticket", thing_ticket, false },
  { NULL, NULL, false },
};
static const struct noun_method ticket_methods[] = { { "number", ticket_number, true }, { NULL, NULL, false } };
const struct noun fake_thing_noun = { .kind = "thing",
                                      .check = thing_check,
                                      .apply = thing_apply,
                                      .retire = thing_retire,
                                      .find = thing_find,
                                      .names = thing_names,
                                      .methods = thing_methods,
                                      .name = thing_name,
                                      .topics = fake_topics };
const struct noun fake_ticket_noun = { .kind = "ticket", .methods = ticket_methods };
static const struct noun *const fake_nouns[] = { &fake_thing_noun, &fake_ticket_noun, NULL };
static const struct verb fake_verbs[] = {
  { "page", fake_page, false },           { "http.get", fake_wait, false }, { "door.open", fake_refuse, false },
  { "thing.caller", fake_caller, false }, { "pure", fake_pure, true },      { NULL, NULL, false },
};

static inline void fake_publish(void *app, const char *topic, const char *name, const char *json)
{
  fake_note(app, "%s %s %s\n", topic, name, strstr(json, "\"hash\"") ? "" : json);
}

static inline void fake_handler_end(void *app, const struct caller *caller, enum task_end end, const char *why)
{
  static const char *const ends[] = { "done", "failed", "killed", "cancelled" };
  fake_note(app, "end %s %s %s: %s\n", caller->topic, caller->name, ends[end], why);
}

static inline void fake_function_end(void *app, uint64_t task, enum task_end end, const struct value *results,
                                     uint32_t count, const char *why)
{
  struct fake *fake = app;
  struct buf json = { 0 };
  (void)task;
  for (uint32_t i = 0; i < count; i++) {
    buf_text(&json, " ");
    value_to_json(&results[i], &json);
  }
  fake_note(fake, "function %d%s: %s\n", end, json.data ? json.data : "", why);
  buf_free(&json);
  if (fake->wait_count > 0) scripts_wake(fake->scripts, fake->waits[(fake->wait_count - 1) % 64], results, count);
}

static inline void fake_cancel(void *app, uint64_t token)
{
  (void)token;
  fake_note(app, "cancel\n");
}

static inline void fake_log(void *app, const char *level, const char *script, const char *text)
{
  fake_note(app, "%s %s: %.*s\n", level, script, (int)strcspn(text, "\n"), text);
}

static inline void fake_keep(void *app, const char *script, struct view json)
{
  fake_note(app, "keep %s %.*s\n", script, (int)json.size, json.data);
}

static inline struct value fake_kept(void *app, const char *script, struct pool *pool)
{
  struct fake *fake = app;
  struct value value = value_nil();
  (void)script;
  if (fake->kept) assert_int_equal(json_parse(pool, view_of(fake->kept), &value, NULL), 0);
  return value;
}

static inline bool fake_library(void *app, const char *name, struct view *text)
{
  struct fake *fake = app;
  if (!fake->library || strcmp(name, "shipped/library") != 0) return false;
  *text = view_of(fake->library);
  return true;
}

static inline struct fake *fake_open(void)
{
  struct fake *fake = mem_must(sizeof *fake);
  struct status status;
  fake->now_ns = 1000 * NS_PER_S;
  fake->config = (struct scripts_config){
    .hooks = { fake, fake_publish, fake_handler_end, fake_function_end, fake_cancel, fake_log, fake_keep, fake_kept,
               fake_library, NULL },
    .nouns = fake_nouns,
    .verbs = fake_verbs,
    .limits = { .wall_ns_max = -1 },
    .seed = 7,
    .now_ns = fake->now_ns,
    .wall_ns = FAKE_WALL_NS,
  };
  assert_int_equal(scripts_open(&fake->scripts, &fake->config, &status), 0);
  return fake;
}

static inline void fake_close(struct fake *fake)
{
  scripts_close(fake->scripts);
  mem_free(fake);
}

static inline void fake_source(struct fake *fake, const char *file, const char *text)
{
  struct status status;
  assert_int_equal(scripts_source(fake->scripts, file, text ? view_of(text) : (struct view){ 0 }, &status), 0);
}

// Announces one file and reloads; the sentence of the failure, or "".
static inline const char *fake_load(struct fake *fake, const char *file, const char *text)
{
  struct status status = { .text = "" };
  if (file) fake_source(fake, file, text);
  int rejected = scripts_reload(fake->scripts, &status);
  snprintf(fake->failure, sizeof fake->failure, "%s", rejected ? status.text : "");
  return fake->failure;
}

static inline void fake_run(struct fake *fake)
{
  scripts_run(fake->scripts, fake->now_ns, FAKE_WALL_NS + fake->now_ns - fake->config.now_ns + fake->wall_shift_ns);
}

static inline void fake_advance(struct fake *fake, int64_t ns)
{
  int64_t end_ns = fake->now_ns + ns;
  for (;;) {
    int64_t due_ns = scripts_due_ns(fake->scripts);
    if (due_ns > end_ns) break;
    if (due_ns > fake->now_ns) fake->now_ns = due_ns;
    fake_run(fake);
  }
  fake->now_ns = end_ns;
  fake_run(fake);
}

static inline void fake_event(struct fake *fake, const char *topic, const char *name, const char *json)
{
  struct event event = { ++fake->sequence, fake->now_ns, FAKE_WALL_NS, topic, name, json };
  scripts_event(fake->scripts, &event);
  fake_run(fake);
}

static inline void fake_wake(struct fake *fake, const struct value *results, uint32_t count)
{
  assert_true(scripts_wake(fake->scripts, fake->waits[(fake->wait_count - 1) % 64], results, count));
  fake_run(fake);
}

// What was noted since the last look.
static inline const char *fake_seen(struct fake *fake)
{
  static char seen[FAKE_LOG];
  memcpy(seen, fake->log, sizeof seen);
  fake->log[0] = '\0';
  return seen;
}

#endif
