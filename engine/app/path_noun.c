// `critical_path "x" { ... }` and what one can ask of it.

#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "condition.h"
#include "duration.h"
#include "mem.h"
#include "path.h"
#include "schema.h"
#include "service.h"
#include "track.h"

struct declared {
  struct path_settings path;
  int64_t latency_ns[4]; // p50 p90 p95 p99; -1: not given
  struct view_list windows;
  int mode;
};

static const char *const severity_choices[] = { "P0", "P1", "P2", NULL };
static const char *const mode_choices[] = { "act", "observe", NULL };
static const double latency_q[4] = { 0.50, 0.90, 0.95, 0.99 };

#define PATH_AT(field)    offsetof(struct declared, path.field)
#define LATENCY_AT(index) (offsetof(struct declared, latency_ns) + (index) * sizeof(int64_t))
#define LATENCY_FIELD(name, i)                                                                                         \
  {                                                                                                                    \
    .key = name, .type = SCHEMA_LATENCY, .offset = LATENCY_AT(i), .min = 1000, .max = (double)(60 * NS_PER_S)          \
  }
static const struct schema_field path_fields[] = {
  { .key = "service", .type = SCHEMA_TEXT, .offset = PATH_AT(service) },
  { .key = "endpoint", .type = SCHEMA_TEXT, .offset = PATH_AT(endpoint) },
  { .key = "success_rate",
    .alias = "success_rate_threshold",
    .type = SCHEMA_PERCENT,
    .offset = PATH_AT(success_rate),
    .min = 0.001,
    .max = 100 },
  LATENCY_FIELD("latency_p50", 0),
  LATENCY_FIELD("latency_p90", 1),
  LATENCY_FIELD("latency_p95", 2),
  LATENCY_FIELD("latency_p99", 3),
  { .key = "latency_p95_threshold",
    .type = SCHEMA_MS,
    .offset = LATENCY_AT(2),
    .min = 1000,
    .max = (double)(60 * NS_PER_S) },
  { .key = "window",
    .type = SCHEMA_INTERVAL,
    .offset = PATH_AT(window_ns),
    .min = (double)NS_PER_S,
    .max = (double)NS_PER_H,
    .fallback = "5m" },
  { .key = "recovery_window",
    .type = SCHEMA_INTERVAL,
    .offset = PATH_AT(recovery_window_ns),
    .min = (double)NS_PER_S,
    .max = (double)NS_PER_H },
  { .key = "min_requests",
    .type = SCHEMA_INTEGER,
    .offset = PATH_AT(min_requests),
    .min = 1,
    .max = 1e9,
    .fallback = "10" },
  { .key = "severity",
    .alias = "alert_severity",
    .type = SCHEMA_CHOICE,
    .choices = severity_choices,
    .offset = PATH_AT(severity),
    .fallback = "P1" },
  { .key = "runbook", .type = SCHEMA_TEXT, .offset = PATH_AT(runbook) },
  { .key = "statsd", .type = SCHEMA_TEXT, .offset = PATH_AT(statsd) },
  { .key = "page_after", .type = SCHEMA_INTERVAL, .offset = PATH_AT(page_after_ns), .max = (double)NS_PER_DAY },
  { .key = "windows", .type = SCHEMA_WORDS, .offset = offsetof(struct declared, windows) },
  { .key = "mode",
    .type = SCHEMA_CHOICE,
    .choices = mode_choices,
    .offset = offsetof(struct declared, mode),
    .fallback = "act" },
  { 0 },
};

static int decode(const struct value *settings, const char *where, struct declared *out, struct pool *pool,
                  struct status *status)
{
  *out = (struct declared){ .path.page_after_ns = -1, .latency_ns = { -1, -1, -1, -1 } };
  int code = schema_decode(path_fields, settings, out, where, pool, status);
  if (code < 0) return code;
  for (int i = 0; i < 4; i++) {
    if (out->latency_ns[i] < 0) continue;
    if (out->path.latency_q > 0)
      return status_set(status, NINES_EINVAL,
                        "%s: one latency objective a path, not two (declare a second path for the other)", where);
    out->path.latency_q = latency_q[i];
    out->path.latency_ns = out->latency_ns[i];
  }
  if (out->path.success_rate == 0 && out->path.latency_q == 0)
    return status_set(status, NINES_EINVAL,
                      "%s: needs an objective: success_rate (in percent) or latency_p95 (as \"500ms\")", where);
  if (out->path.recovery_window_ns == 0) {
    int64_t twelfth_ns = out->path.window_ns / 12;
    out->path.recovery_window_ns = twelfth_ns > 30 * NS_PER_S ? twelfth_ns : 30 * NS_PER_S;
  }
  if (out->path.recovery_window_ns > out->path.window_ns) out->path.recovery_window_ns = out->path.window_ns;
  out->path.observe = out->mode == 1;
  for (size_t i = 0; i < out->windows.count; i++) {
    int64_t window_ns;
    code = duration_parse(out->windows.items[i], &window_ns, status);
    if (code < 0) return status_prefix(status, "%s: windows", where);
    if (window_ns < NS_PER_S || window_ns > NS_PER_H)
      return status_set(status, NINES_EINVAL, "%s: windows: 1s to 1h, not %.*s", where, (int)out->windows.items[i].size,
                        out->windows.items[i].data);
  }
  if (out->windows.count >= PATH_QUANTILES_MAX)
    return status_set(status, NINES_EINVAL, "%s: windows: at most %d", where, PATH_QUANTILES_MAX - 1);
  return 0;
}

static void draft(nines *engine, const char *name, const struct declared *declared)
{
  struct draft draft = { .kind = SUBJECT_PATH,
                         .objective = declared->path.success_rate,
                         .window_ns = declared->path.window_ns };
  for (size_t i = 0; i < declared->windows.count; i++)
    duration_parse(declared->windows.items[i], &draft.quantiles[draft.quantile_count++], NULL);
  condition_draft(engine, name, &draft);
}

static int path_check(void *app, const char *where, const char *name, const struct value *settings,
                      struct status *status)
{
  struct declared declared;
  struct pool pool = { 0 };
  int code = decode(settings, where, &declared, &pool, status);
  if (code == 0) draft(app, name, &declared);
  // A service exists from the moment that a path names it, so that `service "x"` in another file is found.
  if (code == 0 && declared.path.service && !service_get(app, declared.path.service, status)) code = status->code;
  pool_fini(&pool);
  return code;
}

static int path_apply(void *app, const char *script, const char *name, const struct value *settings,
                      struct status *status)
{
  struct declared declared;
  struct pool pool = { 0 };
  int code = decode(settings, name, &declared, &pool, status);
  struct path *path = code == 0 ? path_get(app, name, status) : NULL;
  if (path) code = path_configure(path, script, &declared.path, &pool, &declared.windows, status);
  pool_fini(&pool);
  return path ? code : status->code;
}

static void retire(void *app, const char *name)
{
  struct path *path = path_find(app, name);
  if (path) path_retire(path);
}

static uint64_t handle_of(void *app, const char *name)
{
  struct path *path = path_find(app, name);
  return path && path->declared_by ? (uint64_t)(uintptr_t)path : 0;
}

static void names(void *app, void (*each)(void *userdata, const char *name), void *userdata)
{
  const nines *engine = app;
  for (uint32_t i = 0; i < engine->path_count; i++)
    if (engine->path_index[i]->declared_by) each(userdata, engine->path_index[i]->name);
}

static struct path *path_at(uint64_t handle)
{
  return (struct path *)(uintptr_t)handle;
}

// A duration as text, or a number of seconds.
static int interval_of(struct call *call, uint32_t index, const char *example, int64_t *out_ns)
{
  double seconds;
  if (call->argument_count > index) {
    const struct value *argument = &call->arguments[index];
    if (argument->type == VALUE_TEXT) return duration_parse(argument->text, out_ns, &call->status);
    if (value_as_number(argument, &seconds) && seconds >= 0 && seconds < 1e9) {
      *out_ns = (int64_t)(seconds * NS_PER_S);
      return 0;
    }
  }
  return status_set(&call->status, NINES_EINVAL, "takes a duration as %s", example);
}

// path:record(duration, ok): a duration as text or in seconds; nil: none. ok defaults to true.
static int call_record(void *app, uint64_t handle, struct call *call)
{
  int64_t duration_ns = -1;
  if (call->argument_count > 0 && call->arguments[0].type != VALUE_NIL) {
    int code = interval_of(call, 0, "\"120ms\" or 0.12 (seconds)", &duration_ns);
    if (code < 0) return code;
  }
  bool ok = !(call->argument_count > 1 && call->arguments[1].type == VALUE_BOOL && !call->arguments[1].boolean);
  // In a replay the recorded beats hold it already.
  if (!((nines *)app)->replay) nines_path_record(path_at(handle)->recorded, ok, duration_ns);
  return CALL_DONE;
}

static int call_track(void *app, uint64_t handle, struct call *call)
{
  return track_call(app, path_at(handle), call);
}

static int call_is(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_TEXT)
    return status_set(&call->status, NINES_EINVAL, "takes a condition as \"burn(1h) > 6\"");
  enum truth truth = path_is(path_at(handle), call->arguments[0].text.data, &call->status);
  if (call->status.code < 0) return call->status.code;
  call_return(call, truth == TRUTH_UNKNOWN ? value_nil() : value_bool(truth == TRUTH_TRUE));
  return CALL_DONE;
}

static int call_recovers_within(void *app, uint64_t handle, struct call *call)
{
  nines *engine = app;
  struct path *path = path_at(handle);
  int64_t timeout_ns;
  int code = interval_of(call, 0, "\"2m\"", &timeout_ns);
  if (code < 0) return code;
  if (path_recovered(path)) {
    call_return(call, value_bool(true));
    return CALL_DONE;
  }
  call->wait_token = scripts_token(engine->scripts);
  path_wait_recovery(path, call->wait_token, timeout_ns);
  return CALL_WAIT;
}

static int return_field(uint64_t handle, struct call *call, const char *field)
{
  int64_t window_ns = 0;
  double number;
  if (call->argument_count > 0) {
    int code = interval_of(call, 0, "\"5m\"", &window_ns);
    if (code < 0) return code;
    struct expr_field asked = { .name = field, .window_ns = window_ns, .column = 1 };
    if (path_field_check(path_at(handle), &asked, &call->status) < 0) return call->status.code;
  }
  call_return(call, path_field(path_at(handle), field, window_ns, &number) ? value_number(number) : value_nil());
  return CALL_DONE;
}

#define FIELD_CALL(name)                                                                                               \
  static int call_##name(void *app, uint64_t handle, struct call *call)                                                \
  {                                                                                                                    \
    (void)app;                                                                                                         \
    return return_field(handle, call, #name);                                                                          \
  }
FIELD_CALL(success_rate)
FIELD_CALL(error_rate)
FIELD_CALL(requests)
FIELD_CALL(rate)
FIELD_CALL(burn)
FIELD_CALL(budget_left)

// path:latency("p95"[, "1m"]), in seconds.
static int call_latency(void *app, uint64_t handle, struct call *call)
{
  char field[8];
  (void)app;
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_TEXT || call->arguments[0].text.size >= sizeof field)
    return status_set(&call->status, NINES_EINVAL, "takes \"p50\", \"p90\", \"p95\" or \"p99\"");
  snprintf(field, sizeof field, "%s", call->arguments[0].text.data);
  if (strcmp(field, "p50") != 0 && strcmp(field, "p90") != 0 && strcmp(field, "p95") != 0 && strcmp(field, "p99") != 0)
    return status_set(&call->status, NINES_EINVAL, "takes \"p50\", \"p90\", \"p95\" or \"p99\", not \"%s\"", field);
  call->arguments++;
  call->argument_count--;
  return return_field(handle, call, field);
}

static int call_state(void *app, uint64_t handle, struct call *call)
{
  const struct path_state *state = path_at(handle)->state;
  (void)app;
  bool silent = state->success.state == BREACH_NO_DATA && state->latency.state == BREACH_NO_DATA;
  call_return(call, value_text(state->breached ? "breached" : silent ? "no data" : "healthy"));
  return CALL_DONE;
}

// Unix seconds of the last change of state; nil when there was none.
static int call_since(void *app, uint64_t handle, struct call *call)
{
  const nines *engine = app;
  int64_t since_ns = path_at(handle)->state->since_ns;
  call_return(call,
              since_ns ? value_number((double)(engine->wall_ns - engine->now_ns + since_ns) / NS_PER_S) : value_nil());
  return CALL_DONE;
}

static int call_name(void *app, uint64_t handle, struct call *call)
{
  (void)app;
  call_return(call, value_text(path_at(handle)->name));
  return CALL_DONE;
}

static int call_service(void *app, uint64_t handle, struct call *call)
{
  const char *service = path_at(handle)->settings.service;
  if (!service)
    return status_set(&call->status, NINES_EINVAL,
                      "critical_path \"%s\" names no service; write service = \"...\" in its declaration",
                      path_at(handle)->name);
  call_return(call, (struct value){ .type = VALUE_OBJECT,
                                    .object = { .noun = &service_noun, .handle = service_noun.find(app, service) } });
  return CALL_DONE;
}

static const struct noun_method path_methods[] = {
  { "record", call_record, false },
  { "track", call_track, false },
  { "is", call_is, false },
  { "recovers_within", call_recovers_within, false },
  { "success_rate", call_success_rate, false },
  { "error_rate", call_error_rate, false },
  { "requests", call_requests, false },
  { "rate", call_rate, false },
  { "burn", call_burn, false },
  { "budget_left", call_budget_left, false },
  { "latency", call_latency, false },
  { "state", call_state, false },
  { "since", call_since, false },
  { "service", call_service, true },
  { "name", call_name, true },
  { 0 },
};

static const char *name_of(void *app, uint64_t handle)
{
  (void)app;
  return path_at(handle)->name;
}

static const char *const topics[] = { "breached", "recovered", NULL };

const struct noun path_noun = { .kind = "critical_path",
                                .check = path_check,
                                .apply = path_apply,
                                .retire = retire,
                                .find = handle_of,
                                .names = names,
                                .methods = path_methods,
                                .name = name_of,
                                .topics = topics };
