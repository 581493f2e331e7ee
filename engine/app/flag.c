// Flags: state and its documents; the noun of the policy language at the end.

#include "flag.h"

#include <string.h>

#include "check.h"
#include "flags.h"
#include "json.h"
#include "mem.h"
#include "schema.h"

struct flag *flag_find(const nines *engine, const char *name)
{
  return map_get(&engine->flags, view_of(name));
}

static struct flag *flag_make(nines *engine, const char *name, bool standard)
{
  struct flag *flag = mem_must(sizeof *flag);
  flag->name = mem_must_copy(name);
  flag->standard = flag->on = standard;
  flag->asked = -1;
  CHECK(map_put(&engine->flags, view_of(name), flag) == 0);
  struct status status = { 0 };
  if (guards_declare(&engine->guards, &flag_kind, name, NULL, &flag->published, &status) < 0) {
    engine_log(engine, "error", "flag \"%s\" is not to be seen by hosts: %s", name, status.text);
    flag->published = NULL;
  }
  return flag;
}

static void publish(const struct flag *flag)
{
  if (flag->published) flag_publish(flag->published, flag->on);
}

void flag_describe(const struct flag *flag, struct pool *pool, struct value *out)
{
  value_put_text(pool, out, "flag", flag->name);
  value_put(pool, out, "on", value_bool(flag->on));
  value_put(pool, out, "default", value_bool(flag->standard));
  value_put(pool, out, "by_person", value_bool(flag->by_person));
  value_put(pool, out, "asked", value_integer(flag->asked));
  if (flag->actor) value_put_text(pool, out, "actor", flag->actor);
  if (flag->reason) value_put_text(pool, out, "reason", flag->reason);
  if (flag->changed_wall_ns) value_put(pool, out, "changed_ns", value_integer(flag->changed_wall_ns));
}

static void flag_save(nines *engine, const struct flag *flag)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  flag_describe(flag, &pool, &document);
  engine_put(engine, "flag", flag->name, &document);
  pool_fini(&pool);
}

static bool flag_change(nines *engine, struct flag *flag, bool on, const char *actor, const char *reason)
{
  bool changed = flag->on != on;
  flag->on = on;
  publish(flag);
  mem_free(flag->actor);
  mem_free(flag->reason);
  flag->actor = mem_must_copy(actor);
  flag->reason = mem_must_copy(reason ? reason : "");
  flag->changed_wall_ns = engine->wall_ns;
  struct pool pool = { 0 };
  struct value document = value_table();
  flag_describe(flag, &pool, &document);
  engine_audit(engine, actor, "flag.set", flag->name, &document);
  if (changed) engine_publish(engine, "flag.changed", flag->name, &document);
  pool_fini(&pool);
  flag_save(engine, flag);
  return changed;
}

bool flag_set(nines *engine, struct flag *flag, bool on, const char *actor, const char *reason)
{
  bool person = strncmp(actor, "person:", 7) == 0;
  if (!person) {
    if (flag->asked == on) return false;
    flag->asked = on;
    if (flag->by_person) {
      flag_save(engine, flag);
      return false;
    }
    if (flag->on == on) return false;
  }
  if (engine->observe && !person) {
    engine_observed(engine, on ? "flag on" : "flag off", flag->name, reason);
    return false;
  }
  if (person) flag->by_person = true;
  return flag_change(engine, flag, on, actor, reason);
}

void flag_lift(nines *engine, struct flag *flag, const char *actor)
{
  if (!flag->by_person) return;
  flag->by_person = false;
  flag_change(engine, flag, flag->asked >= 0 ? flag->asked == 1 : flag->standard, actor, "lifted");
}

static void load_flag(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  if (json_parse(&pool, json, &document, &status) == 0) {
    struct flag *flag = flag_make(engine, id, value_get_bool(&document, "default", true));
    flag->on = value_get_bool(&document, "on", flag->standard);
    flag->by_person = value_get_bool(&document, "by_person", false);
    flag->asked = (int)value_get_integer(&document, "asked", -1);
    struct view actor = value_get_text(&document, "actor"), reason = value_get_text(&document, "reason");
    if (actor.size) flag->actor = mem_must_copy_n(actor.data, actor.size);
    if (actor.size) flag->reason = mem_must_copy_n(reason.data ? reason.data : "", reason.size);
    flag->changed_wall_ns = value_get_integer(&document, "changed_ns", 0);
    publish(flag);
  } else {
    engine_log(engine, "error", "flag %s in the store cannot be read: %s", id, status.text);
  }
  pool_fini(&pool);
}

void flags_load(nines *engine)
{
  engine->door.documents(engine->door.self, "flag", load_flag, engine);
}

void flags_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->flags, &at));) {
    const struct flag *flag = entry->value;
    if (flag->actor || flag->asked >= 0) flag_save(engine, flag);
  }
}

void flags_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->flags, &at));) {
    struct flag *flag = entry->value;
    mem_free(flag->name);
    mem_free(flag->declared_by);
    mem_free(flag->actor);
    mem_free(flag->reason);
    mem_free(flag);
  }
  map_fini(&engine->flags);
}

// --- the noun

struct flag_settings {
  bool standard;
  const char *description;
};

static const struct schema_field flag_fields[] = {
  { .key = "default", .type = SCHEMA_BOOL, .offset = offsetof(struct flag_settings, standard), .fallback = "true" },
  { .key = "description", .type = SCHEMA_TEXT, .offset = offsetof(struct flag_settings, description) },
  { 0 },
};

static int flag_check(void *app, const char *where, const char *name, const struct value *settings,
                      struct status *status)
{
  (void)app;
  (void)name;
  struct flag_settings out = { 0 };
  struct pool pool = { 0 };
  int code = schema_decode(flag_fields, settings, &out, where, &pool, status);
  pool_fini(&pool);
  return code;
}

static int flag_apply(void *app, const char *script, const char *name, const struct value *settings,
                      struct status *status)
{
  nines *engine = app;
  struct flag_settings out = { 0 };
  struct pool pool = { 0 };
  int code = schema_decode(flag_fields, settings, &out, name, &pool, status);
  pool_fini(&pool);
  if (code < 0) return code;
  struct flag *flag = flag_find(engine, name);
  if (!flag && engine->flags.count >= FLAGS_MAX)
    return status_set(status, NINES_ELIMIT, "there are %d flags already; \"%s\" is one too many", FLAGS_MAX, name);
  if (!flag) flag = flag_make(engine, name, out.standard);
  flag->standard = out.standard;
  if (!flag->actor && flag->asked < 0) flag->on = out.standard;
  publish(flag);
  mem_free(flag->declared_by);
  flag->declared_by = mem_must_copy(script);
  return 0;
}

static void flag_retire(void *app, const char *name)
{
  struct flag *flag = flag_find(app, name);
  if (!flag) return;
  mem_free(flag->declared_by);
  flag->declared_by = NULL;
  if (flag->published) flag_withdraw(flag->published);
}

// Flags are never freed while the engine lives, so their address is their handle.
static uint64_t flag_handle(void *app, const char *name)
{
  struct flag *flag = flag_find(app, name);
  return flag && flag->declared_by ? (uint64_t)(uintptr_t)flag : 0;
}

static void flag_names(void *app, void (*each)(void *userdata, const char *name), void *userdata)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&((nines *)app)->flags, &at));) each(userdata, entry->key);
}

static int flag_call_enabled(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_bool(((struct flag *)(uintptr_t)handle)->on));
  return CALL_DONE;
}

static int set_from_script(nines *engine, uint64_t handle, struct call *call, bool on, const struct value *reason)
{
  struct buf actor = { 0 };
  char *why = reason && reason->type == VALUE_TEXT ? pool_copy(call->pool, reason->text) : NULL;
  buf_printf(&actor, "policy:%s", call->caller->script);
  bool changed = flag_set(engine, (struct flag *)(uintptr_t)handle, on, actor.data, why);
  buf_free(&actor);
  call_return(call, value_bool(changed));
  return CALL_DONE;
}

static int flag_call_set(void *app, uint64_t handle, struct call *call)
{
  // `nil` is what a condition gives without data: then the flag stays as it is.
  if (call->argument_count < 1 || call->arguments[0].type == VALUE_NIL) {
    call_return(call, value_bool(false));
    return CALL_DONE;
  }
  if (call->arguments[0].type != VALUE_BOOL)
    return status_set(&call->status, NINES_EINVAL, "flag:set takes true or false, not %s",
                      value_type_name(&call->arguments[0]));
  return set_from_script(app, handle, call, call->arguments[0].boolean,
                         call->argument_count > 1 ? &call->arguments[1] : NULL);
}

static int flag_call_disable(void *app, uint64_t handle, struct call *call)
{
  return set_from_script(app, handle, call, false, call->argument_count > 0 ? &call->arguments[0] : NULL);
}

static const struct noun_method flag_methods[] = {
  { "enabled", flag_call_enabled, false },
  { "set", flag_call_set, false },
  { "disable", flag_call_disable, false },
  { 0 },
};

static const char *flag_name(void *app, uint64_t handle)
{
  (void)app;
  return ((struct flag *)(uintptr_t)handle)->name;
}

static const char *const flag_topics[] = { "changed", NULL };

const struct noun flag_noun = { .kind = "flag",
                                .check = flag_check,
                                .apply = flag_apply,
                                .retire = flag_retire,
                                .find = flag_handle,
                                .names = flag_names,
                                .methods = flag_methods,
                                .name = flag_name,
                                .topics = flag_topics };
