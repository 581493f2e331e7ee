// `service "x"` and the deployments it gives, as policies see them.

#include <string.h>

#include "duration.h"
#include "schema.h"
#include "service.h"

static struct service *service_at(uint64_t handle)
{
  return (struct service *)(uintptr_t)handle;
}

static uint64_t service_handle(void *app, const char *name)
{
  nines *engine = app;
  struct service *service = service_find(engine, name);
  struct status status = { 0 };
  if (!service && settings_service(engine->settings, name)) service = service_get(engine, name, &status);
  return (uint64_t)(uintptr_t)service;
}

static void service_names(void *app, void (*each)(void *userdata, const char *name), void *userdata)
{
  nines *engine = app;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) each(userdata, entry->key);
  for (uint32_t i = 0; i < engine->settings->service_count; i++) each(userdata, engine->settings->services[i].name);
}

static struct value deployment_value(const struct deployment *deployment)
{
  return (struct value){ .type = VALUE_OBJECT, .object = { .noun = &deployment_noun, .handle = deployment->number } };
}

static int call_deployed_within(void *app, uint64_t handle, struct call *call)
{
  nines *engine = app;
  struct service *service = service_at(handle);
  int64_t within_ns;
  double seconds;
  if (call->argument_count < 1)
    return status_set(&call->status, NINES_EINVAL, "deployed_within takes a duration as \"15m\"");
  if (value_as_number(&call->arguments[0], &seconds))
    within_ns = (int64_t)(seconds * NS_PER_S);
  else if (call->arguments[0].type != VALUE_TEXT ||
           duration_parse(call->arguments[0].text, &within_ns, &call->status) < 0)
    return call->status.code < 0
               ? call->status.code
               : status_set(&call->status, NINES_EINVAL, "deployed_within takes a duration as \"15m\"");
  for (uint32_t i = service->deployment_count; i-- > 0;) {
    const struct deployment *deployment = service->deployments[i];
    if (deployment->is_rollback || engine->wall_ns - deployment->started_wall_ns > within_ns) continue;
    char *key = effect_key(engine, call->caller, "rollback", service->name, deployment->id, call->pool);
    bool candidate = deployment->state == DEPLOYMENT_STARTED || deployment->state == DEPLOYMENT_FINISHED ||
                     deployment_rolled_back_by(engine, deployment, key);
    if (!candidate) continue;
    call_return(call, deployment_value(deployment));
    return CALL_DONE;
  }
  call_return(call, value_nil());
  return CALL_DONE;
}

static int rollback(nines *engine, struct deployment *deployment, struct call *call)
{
  struct buf asker = { 0 };
  struct status status = { 0 };
  const char *reason = call->argument_count > 0 && call->arguments[0].type == VALUE_TEXT
                           ? pool_copy(call->pool, call->arguments[0].text)
                           : "";
  if (engine->observe) {
    engine_observed(engine, "rollback", deployment->service->name, reason);
    call_return(call, value_bool(true));
    call_return(call, value_text("observed"));
    return CALL_DONE;
  }
  buf_printf(&asker, "policy:%s", call->caller->script);
  char *key = effect_key(engine, call->caller, "rollback", deployment->service->name, deployment->id, call->pool);
  struct effect *effect = deployment_rollback(engine, deployment, key, asker.data, reason, &status);
  buf_free(&asker);
  if (!effect) return call_fail(call, "state", "%s", status.text);
  if (effect->state == EFFECT_DONE) { // asked before in this episode
    call_return(call, value_bool(true));
    call_return(call, value_text(effect->outcome));
    return CALL_DONE;
  }
  if (effect->state != EFFECT_STARTED)
    return call_fail(call, effect->state == EFFECT_UNKNOWN ? "unknown" : "failed", "%s",
                     effect->outcome ? effect->outcome : "");
  call->wait_token = scripts_token(engine->scripts);
  effect_wait(engine, effect, call->wait_token);
  return CALL_WAIT;
}

static int call_service_rollback(void *app, uint64_t handle, struct call *call)
{
  struct deployment *deployment = service_last(service_at(handle));
  if (!deployment) return call_fail(call, "state", "%s has no deployment to roll back", service_at(handle)->name);
  return rollback(app, deployment, call);
}

static int call_service_version(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  const struct service *service = service_at(handle);
  call_return(call, service->version[0] ? value_text(service->version) : value_nil());
  return CALL_DONE;
}

static int call_service_name(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_text(service_at(handle)->name));
  return CALL_DONE;
}

static const struct noun_method service_methods[] = {
  { "deployed_within", call_deployed_within, false },
  { "rollback", call_service_rollback, false },
  { "version", call_service_version, true },
  { "name", call_service_name, true },
  { 0 },
};

static const char *name_of_service(void *app, uint64_t handle)
{
  (void)app;
  return service_at(handle)->name;
}

// Services come from nines.yaml, from critical paths that name one, and from deployments that are told.
const struct noun service_noun = {
  .kind = "service", .find = service_handle, .names = service_names, .methods = service_methods, .name = name_of_service
};

// --- a deployment

static struct deployment *deployment_at(nines *engine, uint64_t handle, struct call *call)
{
  struct deployment *deployment = deployment_by_number(engine, handle);
  if (!deployment) call_fail(call, "gone", "that deployment is too long ago to be known");
  return deployment;
}

static int call_rollback(void *app, uint64_t handle, struct call *call)
{
  struct deployment *deployment = deployment_at(app, handle, call);
  return deployment ? rollback(app, deployment, call) : CALL_DONE;
}

static int return_text(void *app, uint64_t handle, struct call *call, size_t offset)
{
  struct deployment *deployment = deployment_at(app, handle, call);
  if (!deployment) return CALL_DONE;
  call_return(call, value_text(*(char **)(void *)((char *)deployment + offset)));
  return CALL_DONE;
}

static int call_version(void *app, uint64_t handle, struct call *call)
{
  return return_text(app, handle, call, offsetof(struct deployment, version));
}
static int call_from(void *app, uint64_t handle, struct call *call)
{
  return return_text(app, handle, call, offsetof(struct deployment, from));
}
static int call_actor(void *app, uint64_t handle, struct call *call)
{
  return return_text(app, handle, call, offsetof(struct deployment, actor));
}
static int call_id(void *app, uint64_t handle, struct call *call)
{
  struct deployment *deployment = deployment_at(app, handle, call);
  if (deployment) call_return(call, value_text(deployment->id));
  return CALL_DONE;
}
static int call_age(void *app, uint64_t handle, struct call *call)
{
  nines *engine = app;
  struct deployment *deployment = deployment_at(engine, handle, call);
  if (deployment) call_return(call, value_number((double)(engine->wall_ns - deployment->started_wall_ns) / NS_PER_S));
  return CALL_DONE;
}

static const struct noun_method deployment_methods[] = {
  { "rollback", call_rollback, false },
  { "version", call_version, true },
  { "from", call_from, true },
  { "actor", call_actor, true },
  { "id", call_id, true },
  { "age", call_age, true },
  { 0 },
};

static const char *name_of_deployment(void *app, uint64_t handle)
{
  const struct deployment *deployment = deployment_by_number(app, handle);
  return deployment ? deployment->id : NULL;
}

// Not a global word: deployments come from services.
const struct noun deployment_noun = { .kind = "deployment", .methods = deployment_methods, .name = name_of_deployment };
