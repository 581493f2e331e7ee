// Services and deployments.
//
// One command a service at a time; what comes meanwhile waits its turn. The journal entry (deployment and effect) is
// durable before the command starts. After a crash the helper's exit status decides, else what `current` prints, else
// nobody knows and a page says so.

#include "service.h"

#include "slo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "json.h"
#include "letter.h"
#include "mem.h"

static const char *const state_names[] = { "started", "finished", "failed", "rolled back", "unknown" };

// A command of a deployment that waits for its turn, its commit, or its end.
struct job {
  struct list node;
  struct deployment *deployment;
  struct effect *effect; // of a rollback; NULL for a plain deploy
  bool resume;
};

static void start_next(struct service *service);

struct service *service_find(const nines *engine, const char *name)
{
  return map_get(&engine->services, view_of(name));
}

struct service *service_get(nines *engine, const char *name, struct status *status)
{
  struct service *service = service_find(engine, name);
  if (service) return service;
  if (!name[0] || strlen(name) > 200) {
    status_set(status, NINES_EINVAL, "a service's name has 1 to 200 bytes");
    return NULL;
  }
  if (engine->services.count >= SERVICES_MAX) {
    status_set(status, NINES_ELIMIT, "there are %d services already; \"%s\" is one too many", SERVICES_MAX, name);
    return NULL;
  }
  service = mem_must(sizeof *service);
  service->name = mem_must_copy(name);
  service->version = mem_must_copy("");
  service->engine = engine;
  list_init(&service->jobs);
  CHECK(map_put(&engine->services, view_of(name), service) == 0);
  return service;
}

void deployment_describe(const struct deployment *deployment, struct pool *pool, struct value *out)
{
  value_put_text(pool, out, "id", deployment->id);
  value_put_text(pool, out, "service", deployment->service->name);
  value_put_text(pool, out, "version", deployment->version);
  value_put_text(pool, out, "from", deployment->from);
  value_put_text(pool, out, "actor", deployment->actor);
  value_put_text(pool, out, "state", state_names[deployment->state]);
  value_put(pool, out, "rollback", value_bool(deployment->is_rollback));
  if (deployment->undoes[0]) value_put_text(pool, out, "undoes", deployment->undoes);
  if (deployment->reason) value_put_text(pool, out, "reason", deployment->reason);
  if (deployment->error) value_put_text(pool, out, "error", deployment->error);
  value_put(pool, out, "started_ns", value_integer(deployment->started_wall_ns));
  if (deployment->ended_wall_ns) value_put(pool, out, "ended_ns", value_integer(deployment->ended_wall_ns));
}

static void deployment_save(const struct deployment *deployment)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  deployment_describe(deployment, &pool, &document);
  if (deployment->effect[0]) value_put_text(&pool, &document, "effect", deployment->effect);
  engine_put(deployment->service->engine, "deployment", deployment->id, &document);
  pool_fini(&pool);
}

static void deployment_publish(const struct deployment *deployment, const char *topic)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  deployment_describe(deployment, &pool, &document);
  engine_publish(deployment->service->engine, topic, deployment->service->name, &document);
  pool_fini(&pool);
}

static void deployment_free(struct deployment *deployment)
{
  mem_free(deployment->version);
  mem_free(deployment->from);
  mem_free(deployment->actor);
  mem_free(deployment->reason);
  mem_free(deployment->error);
  mem_free(deployment);
}

static void add_deployment(struct service *service, struct deployment *deployment)
{
  nines *engine = service->engine;
  if (service->deployment_count >= DEPLOYMENTS_KEPT && service->deployments[0]->state != DEPLOYMENT_STARTED) {
    engine_delete(engine, "deployment", service->deployments[0]->id);
    deployment_free(service->deployments[0]);
    service->deployment_count--;
    memmove(service->deployments, service->deployments + 1, service->deployment_count * sizeof *service->deployments);
  }
  service->deployments =
      mem_must_resize(service->deployments, (service->deployment_count + 1) * sizeof *service->deployments);
  service->deployments[service->deployment_count++] = deployment;
}

struct deployment *deployment_by_number(const nines *engine, uint64_t number)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    const struct service *service = entry->value;
    for (uint32_t i = 0; i < service->deployment_count; i++)
      if (service->deployments[i]->number == number) return service->deployments[i];
  }
  return NULL;
}

static struct deployment *deployment_by_id(const struct service *service, const char *id)
{
  for (uint32_t i = 0; i < service->deployment_count; i++)
    if (strcmp(service->deployments[i]->id, id) == 0) return service->deployments[i];
  return NULL;
}

static struct deployment *deployment_make(struct service *service, const char *version, const char *actor)
{
  nines *engine = service->engine;
  struct deployment *deployment = mem_must(sizeof *deployment);
  engine_new_id(engine, "d", deployment->id);
  deployment->number = strtoull(deployment->id + 1, NULL, 10);
  deployment->service = service;
  deployment->version = mem_must_copy(version);
  deployment->from = mem_must_copy(service->version);
  deployment->actor = mem_must_copy(actor);
  deployment->started_wall_ns = engine->wall_ns;
  add_deployment(service, deployment);
  return deployment;
}

static void set_version(struct service *service, const char *version)
{
  char *copy = mem_must_copy(version);
  mem_free(service->version);
  service->version = copy;
}

// --- the end of a command

static void page_unknown(const struct deployment *deployment)
{
  nines *engine = deployment->service->engine;
  struct pool pool = { 0 };
  struct value labels = value_table(), annotations = value_table();
  struct buf title = { 0 };
  buf_printf(&title,
             "nobody knows whether %s runs %s: the engine was interrupted and there is no `current` command to ask",
             deployment->service->name, deployment->version);
  value_put_text(&pool, &labels, "alertname", "deployment_unknown");
  value_put_text(&pool, &labels, "service", deployment->service->name);
  value_put_text(&pool, &annotations, "summary", title.data);
  struct letter_draft draft = { .kind = "page",
                                .status = "",
                                .alert = "",
                                .severity = "P0",
                                .title = title.data,
                                .text = "",
                                .service = deployment->service->name,
                                .labels = &labels,
                                .annotations = &annotations,
                                .started_wall_ns = engine->wall_ns };
  letters_write(engine, &draft);
  buf_free(&title);
  pool_fini(&pool);
}

static void mark_undone(const struct deployment *rollback)
{
  struct deployment *undone = deployment_by_id(rollback->service, rollback->undoes);
  if (!undone) return;
  undone->state = DEPLOYMENT_ROLLED_BACK;
  deployment_save(undone);
}

static void job_end(struct job *job, enum deployment_state state, const char *error)
{
  struct deployment *deployment = job->deployment;
  struct service *service = deployment->service;
  nines *engine = service->engine;
  deployment->state = state;
  deployment->ended_wall_ns = engine->wall_ns;
  if (error) deployment->error = mem_must_copy(error);
  if (state == DEPLOYMENT_FINISHED) set_version(service, deployment->version);
  if (state == DEPLOYMENT_FINISHED && deployment->is_rollback) {
    engine->figures.rollbacks++;
    service->rollbacks++;
    mark_undone(deployment);
  }
  deployment_save(deployment);
  if (state == DEPLOYMENT_FINISHED)
    deployment_publish(deployment, deployment->is_rollback ? "deploy.rolled_back" : "deploy.finished");
  else
    deployment_publish(deployment, "deploy.failed");
  engine_log(engine, state == DEPLOYMENT_FINISHED ? "info" : "error", "%s of %s to %s %s%s%s",
             deployment->is_rollback ? "rollback" : "deployment", service->name, deployment->version,
             state_names[state], error ? ": " : "", error ? error : "");
  if (state == DEPLOYMENT_UNKNOWN) page_unknown(deployment);
  if (job->effect)
    effect_end(engine, job->effect,
               state == DEPLOYMENT_FINISHED  ? EFFECT_DONE
               : state == DEPLOYMENT_UNKNOWN ? EFFECT_UNKNOWN
                                             : EFFECT_FAILED,
               error ? error : deployment->version);
  list_remove(&job->node);
  mem_free(job);
  service->busy = false;
  start_next(service);
}

static void on_current(nines *engine, void *userdata, int code, struct view body)
{
  struct job *job = userdata;
  struct pool pool = { 0 };
  struct value result;
  struct status status = { 0 };
  const char *version = job->deployment->version;
  (void)engine;
  if (code == 0 && json_parse(&pool, body, &result, &status) == 0 && value_get_integer(&result, "status", -1) == 0) {
    struct view output = value_get_text(&result, "output");
    while (output.size && (output.data[output.size - 1] == '\n' || output.data[output.size - 1] == ' ')) output.size--;
    if (view_is(output, version))
      job_end(job, DEPLOYMENT_FINISHED, NULL);
    else
      job_end(job, DEPLOYMENT_FAILED, "interrupted by a crash; `current` shows that it did not take effect");
  } else {
    job_end(job, DEPLOYMENT_UNKNOWN, "interrupted by a crash, and `current` could not tell what runs");
  }
  pool_fini(&pool);
}

static void probe(struct job *job)
{
  nines *engine = job->deployment->service->engine;
  const struct service_settings *settings = settings_service(engine->settings, job->deployment->service->name);
  bool hosted = engine->hosted & NINES_EFFECT_DEPLOYS;
  if (!hosted && !(settings && settings->current)) {
    job_end(job, DEPLOYMENT_UNKNOWN, "interrupted by a crash, and there is no `current` command to ask");
    return;
  }
  char id[24];
  engine_new_id(engine, "p", id);
  struct door_command command = { .id = id,
                                  .kind = "current",
                                  .target = job->deployment->service->name,
                                  .argv = settings ? settings->current : NULL,
                                  .timeout_ns = 30 * NS_PER_S };
  engine->door.command(engine->door.self, engine_operation(engine, on_current, job), &command);
}

static void on_command(nines *engine, void *userdata, int code, struct view body)
{
  struct job *job = userdata;
  struct pool pool = { 0 };
  struct value result;
  struct status status = { 0 };
  char error[400];
  if (code == NINES_ENOTFOUND) {
    probe(job);
    return;
  }
  if (code != 0) {
    snprintf(error, sizeof error, "%.*s", (int)(body.size < 399 ? body.size : 399), body.data ? body.data : "");
    job_end(job, DEPLOYMENT_FAILED, error);
    return;
  }
  if (json_parse(&pool, body, &result, &status) < 0) {
    engine_log(engine, "error", "the result of a command cannot be read: %s", status.text);
    probe(job);
  } else if (view_is(value_get_text(&result, "end"), "exited") && value_get_integer(&result, "status", -1) == 0) {
    job_end(job, DEPLOYMENT_FINISHED, NULL);
  } else {
    struct view how = value_get_text(&result, "describe"), output = value_get_text(&result, "output");
    size_t tail = output.size < 200 ? output.size : 200;
    snprintf(error, sizeof error, "the deploy command %.*s: %.*s", (int)how.size, how.data ? how.data : "", (int)tail,
             output.data ? output.data + output.size - tail : "");
    job_end(job, DEPLOYMENT_FAILED, error);
  }
  pool_fini(&pool);
}

// --- the start of a command

static void run_job(nines *engine, struct job *job)
{
  struct deployment *deployment = job->deployment;
  const struct service_settings *settings = settings_service(engine->settings, deployment->service->name);
  struct pool pool = { 0 };
  struct buf texts[4] = { 0 };
  const char *env[5] = { 0 };
  const char *names[] = { "NINES_SERVICE", "NINES_FROM", "NINES_TO", "NINES_REASON" };
  const char *values[] = { deployment->service->name, deployment->from, deployment->version, deployment->reason };
  for (int i = 0; i < 4; i++) {
    buf_printf(&texts[i], "%s=%s", names[i], values[i] ? values[i] : "");
    env[i] = texts[i].data;
  }
  struct door_command command = { .id = job->effect ? job->effect->id : deployment->id,
                                  .kind = deployment->is_rollback ? "rollback" : "deploy",
                                  .target = deployment->service->name,
                                  .subject = deployment->version,
                                  .argv = settings ? settings->deploy : NULL,
                                  .env = env,
                                  .timeout_ns = settings ? settings->timeout_ns : 0,
                                  .resume = job->resume };
  uint64_t op = engine_operation(engine, on_command, job);
  engine->door.command(engine->door.self, op, &command);
  for (int i = 0; i < 4; i++) buf_free(&texts[i]);
  pool_fini(&pool);
}

static void after_commit(nines *engine, void *userdata, int code, const char *why)
{
  struct job *job = userdata;
  if (code == NINES_ECANCELED) return;
  if (code == 0) {
    run_job(engine, job);
    return;
  }
  char error[STATUS_TEXT_MAX];
  snprintf(error, sizeof error, "not run, because its journal entry could not be stored: %s", why);
  job_end(job, DEPLOYMENT_FAILED, error);
}

static void start_next(struct service *service)
{
  if (service->busy || list_empty(&service->jobs)) return;
  struct job *job = list_entry(service->jobs.next, struct job, node);
  service->busy = true;
  if (job->resume) {
    run_job(service->engine, job);
    return;
  }
  if (!job->deployment->is_rollback) deployment_publish(job->deployment, "deploy.started");
  mem_free(job->deployment->from); // what came before in the queue may have changed it
  job->deployment->from = mem_must_copy(service->version);
  deployment_save(job->deployment);
  engine_after(service->engine, after_commit, job);
}

static void queue_job(struct deployment *deployment, struct effect *effect, bool resume)
{
  struct job *job = mem_must(sizeof *job);
  *job = (struct job){ .deployment = deployment, .effect = effect, .resume = resume };
  list_append(&deployment->service->jobs, &job->node);
  start_next(deployment->service);
}

static bool can_deploy(const nines *engine, const struct service_settings *settings)
{
  return (settings && settings->deploy) || engine->simulated || engine->hosted & NINES_EFFECT_DEPLOYS;
}

int service_deploy(nines *engine, struct service *service, const char *version, const char *actor, bool record_only,
                   struct deployment **out, struct status *status)
{
  const struct service_settings *settings = settings_service(engine->settings, service->name);
  if (!version[0] || strlen(version) > 200) return status_set(status, NINES_EINVAL, "a version has 1 to 200 bytes");
  if (!record_only && !can_deploy(engine, settings))
    return status_set(
        status, NINES_ESTATE,
        "nines.yaml has no services.%s.deploy.command; add one, or tell of a deployment made elsewhere with --record",
        service->name);
  const char *slo;
  if (!record_only && slo_freezes(engine, service->name, &slo))
    return status_set(
        status, NINES_ESTATE,
        "the error budget of slo \"%s\" is spent, which freezes deployments of %s until it is restored; a rollback "
        "is still possible, and what was deployed elsewhere can be told with --record",
        slo, service->name);
  struct deployment *deployment = deployment_make(service, version, actor);
  struct pool pool = { 0 };
  struct value details = value_table();
  deployment_describe(deployment, &pool, &details);
  engine_audit(engine, actor, record_only ? "deploy.record" : "deploy", service->name, &details);
  pool_fini(&pool);
  *out = deployment;
  if (record_only) {
    deployment->state = DEPLOYMENT_FINISHED;
    deployment->ended_wall_ns = engine->wall_ns;
    set_version(service, version);
    deployment_save(deployment);
    deployment_publish(deployment, "deploy.started");
    deployment_publish(deployment, "deploy.finished");
    return 0;
  }
  queue_job(deployment, NULL, false);
  deployment_save(deployment);
  return 0;
}

struct deployment *service_last(const struct service *service)
{
  for (uint32_t i = service->deployment_count; i-- > 0;) {
    struct deployment *deployment = service->deployments[i];
    if (deployment->is_rollback) continue;
    if (deployment->state == DEPLOYMENT_STARTED || deployment->state == DEPLOYMENT_FINISHED) return deployment;
  }
  return NULL;
}

static struct effect *effect_of(const nines *engine, const struct deployment *deployment)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->effects, &at));) {
    struct effect *effect = entry->value;
    if (effect->state == EFFECT_STARTED && strcmp(effect->kind, "rollback") == 0 &&
        strcmp(effect->target, deployment->service->name) == 0 &&
        (!deployment->effect[0] || strcmp(effect->id, deployment->effect) == 0))
      return effect;
  }
  return NULL;
}

// A rollback of it that waits or runs.
static const struct deployment *rollback_under_way(const struct deployment *deployment)
{
  const struct service *service = deployment->service;
  for (uint32_t i = 0; i < service->deployment_count; i++) {
    const struct deployment *other = service->deployments[i];
    if (other->is_rollback && other->state == DEPLOYMENT_STARTED && strcmp(other->undoes, deployment->id) == 0)
      return other;
  }
  return NULL;
}

struct effect *deployment_rollback(nines *engine, struct deployment *deployment, const char *key, const char *asker,
                                   const char *reason, struct status *status)
{
  struct service *service = deployment->service;
  const struct service_settings *settings = settings_service(engine->settings, service->name);
  struct effect *effect = key ? map_get(&engine->effects, view_of(key)) : NULL;
  if (effect) return effect; // asked before in this episode: the first outcome counts
  if (!deployment->from[0]) {
    status_set(status, NINES_ESTATE, "nothing is known to have run before %s of %s", deployment->version,
               service->name);
    return NULL;
  }
  if (deployment->state != DEPLOYMENT_FINISHED && deployment->state != DEPLOYMENT_STARTED) {
    status_set(status, NINES_ESTATE, "%s of %s is %s already", deployment->version, service->name,
               state_names[deployment->state]);
    return NULL;
  }
  if (!can_deploy(engine, settings)) {
    status_set(status, NINES_ESTATE, "nines.yaml has no services.%s.deploy.command to roll back with", service->name);
    return NULL;
  }
  const struct deployment *running = rollback_under_way(deployment);
  effect = running && key ? effect_of(engine, running) : NULL;
  if (effect) return effect; // somebody else has asked: the same outcome for both
  if (running) {
    status_set(status, NINES_ESTATE, "%s of %s is being rolled back already, by %s", deployment->version, service->name,
               running->actor);
    return NULL;
  }
  bool fresh;
  effect = effect_get(engine, key, "rollback", service->name, asker, reason, &fresh);
  struct deployment *rollback = deployment_make(service, deployment->from, asker);
  rollback->is_rollback = true;
  rollback->reason = mem_must_copy(reason ? reason : "");
  snprintf(rollback->undoes, sizeof rollback->undoes, "%s", deployment->id);
  snprintf(rollback->effect, sizeof rollback->effect, "%s", effect->id);
  queue_job(rollback, effect, false);
  deployment_save(rollback);
  return effect;
}

bool deployment_rolled_back_by(const nines *engine, const struct deployment *deployment, const char *key)
{
  return deployment->state == DEPLOYMENT_ROLLED_BACK && key && map_get(&engine->effects, view_of(key));
}

void service_describe(const struct service *service, struct pool *pool, struct value *out)
{
  value_put_text(pool, out, "service", service->name);
  value_put_text(pool, out, "version", service->version);
  struct value list = value_list();
  for (uint32_t i = service->deployment_count; i-- > 0 && list.list.count < 10;) {
    struct value item = value_table();
    deployment_describe(service->deployments[i], pool, &item);
    value_append(pool, &list, item);
  }
  value_put(pool, out, "deployments", list);
}

// --- documents

static char *copy_text(const struct value *document, const char *key)
{
  struct view text = value_get_text(document, key);
  return mem_must_copy_n(text.data ? text.data : "", text.size);
}

static void load_deployment(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  char *name = NULL;
  struct service *service = NULL;
  if (json_parse(&pool, json, &document, &status) == 0) {
    name = copy_text(&document, "service");
    service = service_get(engine, name, &status);
  }
  mem_free(name);
  if (!service) {
    engine_log(engine, "error", "deployment %s in the store cannot be read: %s", id, status.text);
    pool_fini(&pool);
    return;
  }
  struct deployment *deployment = mem_must(sizeof *deployment);
  snprintf(deployment->id, sizeof deployment->id, "%s", id);
  deployment->number = strtoull(id + 1, NULL, 10);
  deployment->service = service;
  deployment->version = copy_text(&document, "version");
  deployment->from = copy_text(&document, "from");
  deployment->actor = copy_text(&document, "actor");
  deployment->is_rollback = value_get_bool(&document, "rollback", false);
  char *undoes = copy_text(&document, "undoes");
  snprintf(deployment->undoes, sizeof deployment->undoes, "%s", undoes);
  mem_free(undoes);
  char *effect = copy_text(&document, "effect");
  snprintf(deployment->effect, sizeof deployment->effect, "%s", effect);
  mem_free(effect);
  if (value_get(&document, "reason")) deployment->reason = copy_text(&document, "reason");
  if (value_get(&document, "error")) deployment->error = copy_text(&document, "error");
  deployment->started_wall_ns = value_get_integer(&document, "started_ns", 0);
  deployment->ended_wall_ns = value_get_integer(&document, "ended_ns", 0);
  deployment->state = DEPLOYMENT_UNKNOWN;
  for (int i = DEPLOYMENT_STARTED; i <= DEPLOYMENT_UNKNOWN; i++)
    if (view_is(value_get_text(&document, "state"), state_names[i])) deployment->state = (enum deployment_state)i;
  add_deployment(service, deployment);
  if (deployment->state == DEPLOYMENT_FINISHED || deployment->state == DEPLOYMENT_ROLLED_BACK)
    set_version(service, deployment->version);
  pool_fini(&pool);
}

void services_load(nines *engine)
{
  engine->door.documents(engine->door.self, "deployment", load_deployment, engine);
  // What runs is what finished last, not what was written last.
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    struct service *service = entry->value;
    int64_t newest_ns = 0;
    for (uint32_t i = 0; i < service->deployment_count; i++) {
      const struct deployment *deployment = service->deployments[i];
      if (deployment->state != DEPLOYMENT_FINISHED && deployment->state != DEPLOYMENT_ROLLED_BACK) continue;
      if (deployment->ended_wall_ns < newest_ns) continue;
      newest_ns = deployment->ended_wall_ns;
      set_version(service, deployment->version);
    }
  }
}

void services_settle(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    struct service *service = entry->value;
    for (uint32_t i = 0; i < service->deployment_count; i++) {
      struct deployment *deployment = service->deployments[i];
      if (deployment->state != DEPLOYMENT_STARTED) continue;
      engine_log(engine, "info", "resumed: %s of %s to %s was under way",
                 deployment->is_rollback ? "rollback" : "deployment", service->name, deployment->version);
      queue_job(deployment, deployment->is_rollback ? effect_of(engine, deployment) : NULL, true);
    }
  }
}

void services_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    const struct service *service = entry->value;
    for (uint32_t i = 0; i < service->deployment_count; i++) deployment_save(service->deployments[i]);
  }
}

void services_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->services, &at));) {
    struct service *service = entry->value;
    list_each (node, &service->jobs) mem_free(list_entry(node, struct job, node));
    for (uint32_t i = 0; i < service->deployment_count; i++) deployment_free(service->deployments[i]);
    mem_free(service->deployments);
    mem_free(service->version);
    mem_free(service->name);
    mem_free(service);
  }
  map_fini(&engine->services);
}
