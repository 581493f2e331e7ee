// The verbs of people: checked, done in a turn of their own, answered when durable.

#include "request.h"

#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "check.h"
#include "flag.h"
#include "json.h"
#include "mem.h"
#include "path.h"
#include "protection_request.h"
#include "schema.h"
#include "service.h"
#include "silence.h"

struct arguments {
  const char *actor, *service, *version, *reason, *id, *flag, *file, *path;
  bool record, on;
  int64_t number;
};

static const struct schema_field fields[] = {
  { .key = "actor", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, actor), .fallback = "person:unknown" },
  { .key = "service", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, service) },
  { .key = "version", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, version) },
  { .key = "reason", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, reason) },
  { .key = "id", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, id) },
  { .key = "flag", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, flag) },
  { .key = "file", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, file) },
  { .key = "path", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, path) },
  { .key = "record", .type = SCHEMA_BOOL, .offset = offsetof(struct arguments, record) },
  { .key = "on", .type = SCHEMA_BOOL, .offset = offsetof(struct arguments, on) },
  { .key = "number", .type = SCHEMA_INTEGER, .offset = offsetof(struct arguments, number) },
  { 0 },
};

struct request {
  nines *engine;
  uint64_t op;
  struct pool pool;
  struct arguments arguments;
  struct value document;
  struct status status;
  const char *field; // at fault
};

static int http_status(int code)
{
  switch (code) {
  case NINES_ENOTFOUND:
    return 404;
  case NINES_ESTATE:
  case NINES_EEXISTS:
    return 409;
  case NINES_ELIMIT:
    return 429;
  default:
    return 422;
  }
}

static int missing(struct request *request, const char *field)
{
  request->field = field;
  return status_set(&request->status, NINES_EINVAL, "\"%s\" is missing", field);
}

static int refuse_observing(struct request *request)
{
  return status_set(&request->status, NINES_ESTATE,
                    "the engine only observes and runs nothing; do it yourself and tell it with --record, or start it "
                    "without --observe");
}

static int do_deploy(struct request *request)
{
  const struct arguments *arguments = &request->arguments;
  if (request->engine->observe && !arguments->record && !request->engine->simulated) return refuse_observing(request);
  if (!arguments->service) return missing(request, "service");
  if (!arguments->version) return missing(request, "version");
  request->field = "service";
  struct service *service = service_find(request->engine, arguments->service);
  if (!service && !arguments->record && !settings_service(request->engine->settings, arguments->service))
    return status_set(&request->status, NINES_ENOTFOUND, "nines.yaml has no service \"%s\"", arguments->service);
  if (!service) service = service_get(request->engine, arguments->service, &request->status);
  if (!service) return request->status.code;
  struct deployment *deployment;
  int code = service_deploy(request->engine, service, arguments->version, arguments->actor, arguments->record,
                            &deployment, &request->status);
  if (code < 0) return code;
  deployment_describe(deployment, &request->pool, &request->document);
  return 0;
}

static int do_rollback(struct request *request)
{
  const struct arguments *arguments = &request->arguments;
  if (request->engine->observe) return refuse_observing(request);
  if (!arguments->service) return missing(request, "service");
  request->field = "service";
  struct service *service = service_find(request->engine, arguments->service);
  struct deployment *deployment = service ? service_last(service) : NULL;
  if (!deployment)
    return status_set(&request->status, service ? NINES_ESTATE : NINES_ENOTFOUND,
                      "there is no deployment of \"%s\" to roll back", arguments->service);
  if (!deployment_rollback(request->engine, deployment, NULL, arguments->actor, arguments->reason, &request->status))
    return request->status.code;
  deployment_describe(service->deployments[service->deployment_count - 1], &request->pool, &request->document);
  return 0;
}

static int do_ack(struct request *request)
{
  const struct arguments *arguments = &request->arguments;
  if (!arguments->id) return missing(request, "id");
  request->field = "id";
  int code = alert_ack(request->engine, arguments->id, arguments->actor, &request->status);
  if (code < 0) return code;
  alert_describe(map_get(&request->engine->alerts, view_of(arguments->id)), &request->pool, &request->document);
  return 0;
}

static int do_flag(struct request *request, bool lift)
{
  const struct arguments *arguments = &request->arguments;
  if (!arguments->flag) return missing(request, "flag");
  request->field = "flag";
  struct flag *flag = flag_find(request->engine, arguments->flag);
  if (!flag) {
    const char *near = map_nearest(&request->engine->flags, view_of(arguments->flag));
    return status_set(&request->status, NINES_ENOTFOUND, "no policy declares a flag \"%s\"%s%s%s", arguments->flag,
                      near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
  }
  if (lift)
    flag_lift(request->engine, flag, arguments->actor);
  else
    flag_set(request->engine, flag, arguments->on, arguments->actor, arguments->reason);
  flag_describe(flag, &request->pool, &request->document);
  return 0;
}

static int do_enable(struct request *request)
{
  if (!request->arguments.file) return missing(request, "file");
  request->field = "file";
  int code = scripts_enable(request->engine->scripts, request->arguments.file, &request->status);
  if (code < 0) return code;
  engine_audit(request->engine, request->arguments.actor, "policy.enable", request->arguments.file, NULL);
  return 0;
}

// A host refuses a new version (its spec fails): told as what it is.
static int do_reject(struct request *request)
{
  struct value payload = value_table();
  if (!request->arguments.file) return missing(request, "file");
  value_put_text(&request->pool, &payload, "why", request->arguments.reason);
  struct held *held = map_get(&request->engine->held, view_of(request->arguments.file));
  if (!held) {
    held = mem_must(sizeof *held);
    CHECK(map_put(&request->engine->held, view_of(request->arguments.file), held) == 0);
  }
  mem_free(held->why);
  held->why = mem_must_copy(request->arguments.reason ? request->arguments.reason : "");
  held->count++;
  engine_publish(request->engine, "policy.rejected", request->arguments.file, &payload);
  return 0;
}

// A path that somebody records to; in a recording it also tells the path's number.
static int do_declare(struct request *request)
{
  if (!request->arguments.path) return missing(request, "path");
  request->field = "path";
  struct path *path = path_get(request->engine, request->arguments.path, &request->status);
  if (!path) return request->status.code;
  if (request->engine->replay) return path_renumber(path, (uint32_t)request->arguments.number, &request->status);
  return 0;
}

// As Alertmanager answers it.
static int do_silence(struct request *request, const struct value *body)
{
  char id[40], actor[200];
  struct view who = value_get_text(body, "actor");
  snprintf(actor, sizeof actor, "%.*s", (int)who.size, who.data ? who.data : "");
  int code = silence_put(request->engine, body, actor, id, &request->status);
  if (code == 0) value_put_text(&request->pool, &request->document, "silenceID", id);
  return code;
}

static int do_expire(struct request *request)
{
  if (!request->arguments.id) return missing(request, "id");
  request->field = "id";
  return silence_expire(request->engine, request->arguments.id, request->arguments.actor, &request->status);
}

static int run(struct request *request, struct view verb)
{
  if (view_is(verb, "deploy")) return do_deploy(request);
  if (view_is(verb, "rollback")) return do_rollback(request);
  if (view_is(verb, "alert.ack")) return do_ack(request);
  if (view_is(verb, "silence.expire")) return do_expire(request);
  if (view_is(verb, "flag.set")) return do_flag(request, false);
  if (view_is(verb, "flag.lift")) return do_flag(request, true);
  if (view_is(verb, "policy.enable")) return do_enable(request);
  if (view_is(verb, "policy.reject")) return do_reject(request);
  if (view_is(verb, "path.declare")) return do_declare(request);
  return status_set(&request->status, NINES_ENOTFOUND, "there is no such request: %.*s", (int)verb.size, verb.data);
}

void request_apply(nines *engine, const struct input *input)
{
  struct request request = { .engine = engine, .op = input->op, .document = value_table() };
  struct value body = value_table();
  int code = json_parse(&request.pool, input->body, &body, &request.status);
  if (code == 0 && view_is(input->name, "silence.put")) {
    code = do_silence(&request, &body);
  } else if (code == 0 && protection_request_is(input->name)) {
    code = protection_request(engine, input->name, &body, &request.pool, &request.document, &request.field,
                              &request.status);
  } else if (code == 0) {
    code = schema_decode(fields, &body, &request.arguments, "request", &request.pool, &request.status);
    if (code == 0) code = run(&request, input->name);
  }
  if (code < 0) {
    request.document = value_table();
    value_put_text(&request.pool, &request.document, "detail", request.status.text);
    if (request.field) value_put_text(&request.pool, &request.document, "field", request.field);
  }
  engine_reply(engine, input->op, code < 0 ? http_status(code) : 200, &request.document);
  pool_fini(&request.pool);
}
