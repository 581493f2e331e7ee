// Critical paths: meters in, judgements out.
//
// Recording touches one meter of the caller's own. Once a beat the loop sums the meters that changed into the windows
// and feeds both objectives' breach tests; nothing is judged without new observations, because silence is neither
// breach nor recovery.

#include "path.h"

#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "check.h"
#include "condition.h"
#include "duration.h"
#include "mem.h"
#include "service.h"

struct meter *path_meter(struct path *path, uint32_t writer)
{
  struct status status = { 0 };
  if (guards_stripe(&path->recorded->guard, writer, &status) < 0) engine_log(path->engine, "error", "%s", status.text);
  return path_meter_of(path->recorded, writer);
}

struct tally path_tally(const struct path *path)
{
  struct tally sum = { 0 };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct meter *meter = path_meter_of(path->recorded, writer);
    if (meter) sum = tally_add(sum, meter_tally(meter));
  }
  return sum;
}

struct tally path_counted(const struct path *path)
{
  return path->engine->replay ? path_tally(path) : path->seen;
}

static void meters_latency(const struct path *path, uint32_t count[static HISTOGRAM_BUCKETS])
{
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct meter *meter = path_meter_of(path->recorded, writer);
    if (meter) meter_add_latency(meter, count);
  }
}

// What was decided by must be what was recorded: the sums as of the last collect, not what other threads have added
// since. A replay puts the beats into the meters, and has nothing else there.
static void path_latency(void *userdata, uint32_t count[static HISTOGRAM_BUCKETS])
{
  const struct path *path = userdata;
  if (path->engine->replay) {
    meters_latency(path, count);
    return;
  }
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) count[i] += path->seen_latency[i];
}

static void path_timed(const struct path *path, uint64_t *timed, uint64_t *sum_us)
{
  *timed = *sum_us = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct meter *meter = path_meter_of(path->recorded, writer);
    if (!meter) continue;
    *timed += atomic_load_explicit(&meter->timed, memory_order_relaxed);
    *sum_us += atomic_load_explicit(&meter->sum_us, memory_order_relaxed);
  }
}

static int quantile_keep(struct path *path, int64_t window_ns, struct status *status)
{
  nines *engine = path->engine;
  for (uint32_t i = 0; i < path->quantile_count; i++)
    if (path->quantiles[i].window_ns == window_ns) return 0;
  if (path->quantile_count == PATH_QUANTILES_MAX)
    return status_set(status, NINES_ELIMIT, "at most %d windows of quantiles for a path", PATH_QUANTILES_MAX);
  struct buf name = { 0 };
  char text[DURATION_TEXT_MAX];
  buf_printf(&name, "%s/%s", path->name, duration_format(window_ns, text));
  struct arena_slot slot;
  int code = arena_object(engine->arena, ARENA_QUANTILE, buf_view(&name), sizeof(struct quantile), &slot, status);
  if (code < 0) {
    buf_free(&name);
    return code;
  }
  struct quantile *quantile = arena_at(engine->arena, slot.offset);
  bool known = map_get(&engine->rebased, buf_view(&name)) != NULL; // of this boot, or shifted to it
  if (slot.fresh || !quantile_valid(quantile, window_ns))
    quantile_init(quantile, window_ns, engine->now_ns, path_latency, path);
  else if (engine->rebase && !known)
    quantile_rebase(quantile, engine->rebase_then_ns, engine->rebase_now_ns);
  if (engine->rebase && !known) CHECK(map_put(&engine->rebased, buf_view(&name), quantile) == 0);
  buf_free(&name);
  path->quantiles[path->quantile_count].window_ns = window_ns;
  path->quantiles[path->quantile_count++].quantile = quantile;
  return 0;
}

static int path_place(struct path *path, struct status *status)
{
  nines *engine = path->engine;
  struct arena_slot slot;
  struct guard *recorded;
  if (guards_declare(&engine->guards, &path_kind, path->name, NULL, &recorded, status) < 0) return status->code;
  path->recorded = (nines_path *)recorded;
  path->recorded->owner = path;
  uint32_t state_bytes = (sizeof(struct path_state) + 63) / 64 * 64;
  int code = arena_object(engine->arena, ARENA_PATH, view_of(path->name), state_bytes + burn_size(), &slot, status);
  if (code < 0) return code;
  char *piece = arena_at(engine->arena, slot.offset);
  path->state = (struct path_state *)(void *)piece;
  path->burn = (struct burn *)(void *)(piece + state_bytes);
  path->fresh = slot.fresh;
  path->seen = path_tally(path);
  path_timed(path, &path->seen_timed, &path->seen_sum_us);
  meters_latency(path, path->seen_latency);
  path->second_seen = path->seen;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
    path->second_octave[i / HISTOGRAM_PER_OCTAVE] += path->seen_latency[i];
  if (slot.fresh || !burn_valid(path->burn)) {
    burn_init(path->burn, engine->now_ns, path->seen);
  } else if (engine->rebase) {
    burn_rebase(path->burn, engine->rebase_then_ns, engine->rebase_now_ns);
    int64_t shift_ns = engine->rebase_now_ns - engine->rebase_then_ns;
    path->state->since_ns += shift_ns;
    path->state->success.since_ns += shift_ns;
    path->state->latency.since_ns += shift_ns;
  }
  burn_fold(path->burn, engine->now_ns, path->seen); // what the last life got after its last beat
  return 0;
}

static void path_free(struct path *path)
{
  if (path->recorded) path->recorded->owner = NULL;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&path->conditions, &at));) condition_free(entry->value);
  map_fini(&path->conditions);
  pool_fini(&path->settings_pool);
  mem_free(path->declared_by);
  mem_free(path->name);
  mem_free(path);
}

struct path *path_find(const nines *engine, const char *name)
{
  return map_get(&engine->paths, view_of(name));
}

struct path *path_get(nines *engine, const char *name, struct status *status)
{
  struct path *path = path_find(engine, name);
  if (path) return path;
  if (!name[0] || strlen(name) > PATH_NAME_MAX) {
    status_set(status, NINES_EINVAL, "a path's name has 1 to %d bytes", PATH_NAME_MAX);
    return NULL;
  }
  if (engine->path_count == PATHS_MAX) {
    status_set(status, NINES_ELIMIT,
               "there are %d paths already; \"%s\" is one too many (a changing part in the name?)", PATHS_MAX, name);
    return NULL;
  }
  path = mem_must(sizeof *path);
  path->engine = engine;
  path->name = mem_must_copy(name);
  path->settings = (struct path_settings){ .window_ns = 5 * NS_PER_MIN, .severity = 1, .page_after_ns = -1 };
  list_init(&path->waits);
  if (path_place(path, status) < 0 || quantile_keep(path, path->settings.window_ns, status) < 0) {
    path_free(path);
    return NULL;
  }
  path->number = engine->path_count++;
  engine->path_index = mem_must_resize(engine->path_index, engine->path_count * sizeof *engine->path_index);
  engine->path_index[path->number] = path;
  CHECK(map_put(&engine->paths, view_of(name), path) == 0);
  return path;
}

int path_configure(struct path *path, const char *script, const struct path_settings *settings, struct pool *pool,
                   const struct view_list *windows, struct status *status)
{
  pool_fini(&path->settings_pool);
  path->settings_pool = *pool; // taken over, with the texts that settings point to
  *pool = (struct pool){ 0 };
  path->settings = *settings;
  path_slow_over(path->recorded, settings->latency_q > 0 ? settings->latency_ns : 0);
  mem_free(path->declared_by);
  path->declared_by = mem_must_copy(script);
  path->quantile_count = 0;
  int code = quantile_keep(path, settings->window_ns, status);
  for (size_t i = 0; i < windows->count && code == 0; i++) {
    int64_t window_ns;
    code = duration_parse(windows->items[i], &window_ns, status);
    if (code == 0) code = quantile_keep(path, window_ns, status);
  }
  path->engine->paths_changed++;
  return code;
}

void path_retire(struct path *path)
{
  mem_free(path->declared_by);
  path->declared_by = NULL;
  path->settings.success_rate = 0;
  path->settings.latency_q = 0;
  path->state->breached = 0;
  path->state->success.state = path->state->latency.state = BREACH_NO_DATA;
  alert_recovered(path->engine, path);
  path->engine->paths_changed++;
}

// --- judging

static struct breach_reading read_objective(const struct path *path, bool latency, double allowed)
{
  int64_t now_ns = path->engine->now_ns;
  const struct breach *breach = latency ? &path->state->latency : &path->state->success;
  struct tally window = burn_sum(path->burn, now_ns, breach_span_ns(breach, now_ns, path->settings.window_ns));
  struct tally recent = burn_sum(path->burn, now_ns, path->settings.recovery_window_ns);
  return (struct breach_reading){ .total = window.total,
                                  .bad = latency ? window.slow : window.bad,
                                  .recovery_total = recent.total,
                                  .recovery_bad = latency ? recent.slow : recent.bad,
                                  .allowed = allowed,
                                  .min_requests = (uint64_t)path->settings.min_requests };
}

static void judge(struct path *path, bool latency, double allowed)
{
  struct breach_reading reading = read_objective(path, latency, allowed);
  breach_feed(latency ? &path->state->latency : &path->state->success, path->engine->now_ns, &reading);
}

struct path_wait {
  struct list node;
  struct path *path;
  uint64_t token;
  struct engine_timer timer;
};

static void wait_end(struct path_wait *wait, bool recovered)
{
  nines *engine = wait->path->engine;
  struct value result = value_bool(recovered);
  scripts_wake(engine->scripts, wait->token, &result, 1);
  list_remove(&wait->node);
  engine_timer_stop(engine, &wait->timer);
  mem_free(wait);
}

static void wait_late(nines *engine, struct engine_timer *timer)
{
  (void)engine;
  wait_end(list_entry(timer, struct path_wait, timer), false);
}

void path_wait_recovery(struct path *path, uint64_t token, int64_t timeout_ns)
{
  struct path_wait *wait = mem_must(sizeof *wait);
  *wait = (struct path_wait){ .path = path, .token = token, .timer.fn = wait_late };
  list_append(&path->waits, &wait->node);
  engine_timer_set(path->engine, &wait->timer, path->engine->now_ns + timeout_ns);
}

void path_unwait(nines *engine, uint64_t token)
{
  for (uint32_t i = 0; i < engine->path_count; i++)
    list_each (node, &engine->path_index[i]->waits) {
      struct path_wait *wait = list_entry(node, struct path_wait, node);
      if (wait->token != token) continue;
      list_remove(&wait->node);
      engine_timer_stop(engine, &wait->timer);
      mem_free(wait);
      return;
    }
}

static void path_publish(struct path *path, const char *topic, const struct alert *alert, bool again)
{
  struct pool pool = { 0 };
  struct value payload = value_table();
  path_describe(path, &pool, &payload);
  if (alert) value_put_text(&pool, &payload, "alert", alert->id);
  value_put(&pool, &payload, "episode", value_integer(path->state->episode));
  value_put_text(&pool, &payload, "severity", severity_name(path->settings.severity));
  value_put_text(&pool, &payload, "summary",
                 path->state->breached ? path_summary(path, &pool) : path_recovery(path, &pool));
  if (again) value_put(&pool, &payload, "again", value_bool(true));
  engine_publish(path->engine, topic, path->name, &payload);
  pool_fini(&pool);
}

static void path_judge(struct path *path)
{
  struct path_state *state = path->state;
  if (path->settings.success_rate > 0) judge(path, false, 1 - path->settings.success_rate / 100);
  if (path->settings.latency_q > 0) judge(path, true, 1 - path->settings.latency_q);
  bool breached = (path->settings.success_rate > 0 && state->success.state == BREACH_BREACHED) ||
                  (path->settings.latency_q > 0 && state->latency.state == BREACH_BREACHED);
  if (breached == (state->breached != 0)) return;
  state->since_ns = path->engine->now_ns;
  if (breached) {
    state->episode++;
    state->breached = 1;
    struct alert *alert = alert_open(path->engine, path);
    path_publish(path, "critical_path.breached", alert, false);
    return;
  }
  state->breached = 0;
  struct alert *alert = alert_of(path->engine, "critical_path", path->name);
  path_publish(path, "critical_path.recovered", alert, false);
  alert_recovered(path->engine, path);
  list_each (node, &path->waits) wait_end(list_entry(node, struct path_wait, node), true);
}

void path_fold(struct path *path)
{
  nines *engine = path->engine;
  burn_fold(path->burn, engine->now_ns, path_counted(path));
  for (uint32_t i = 0; i < path->quantile_count; i++)
    quantile_fold(path->quantiles[i].quantile, engine->now_ns, path_latency, path);
  path_judge(path);
}

void paths_republish(nines *engine)
{
  for (uint32_t i = 0; i < engine->path_count; i++) {
    struct path *path = engine->path_index[i];
    struct alert *alert = path->state->breached ? alert_of(engine, "critical_path", path->name) : NULL;
    if (!alert || !alert_wants_handler(alert)) continue;
    path_publish(path, "critical_path.breached", alert, true);
  }
}

// --- reading

static double objective_of(const struct path *path)
{
  return path->settings.success_rate / 100;
}

static bool read_quantile(const struct path *path, double q, int64_t window_ns, double *out)
{
  for (uint32_t i = 0; i < path->quantile_count; i++) {
    if (path->quantiles[i].window_ns != window_ns) continue;
    int64_t result_ns;
    quantile_fold(path->quantiles[i].quantile, path->engine->now_ns, path_latency, (void *)path);
    quantile_read(path->quantiles[i].quantile, path_latency, (void *)path, &q, &result_ns, 1);
    *out = (double)result_ns / NS_PER_S;
    return result_ns >= 0;
  }
  return false;
}

enum path_field_kind {
  FIELD_SUCCESS,
  FIELD_ERROR,
  FIELD_REQUESTS,
  FIELD_RATE,
  FIELD_BURN,
  FIELD_BUDGET,
  FIELD_QUANTILE
};
static const struct path_field_name {
  const char *name;
  enum path_field_kind kind;
  double q;
} field_names[] = { { "success_rate", FIELD_SUCCESS, 0 },
                    { "error_rate", FIELD_ERROR, 0 },
                    { "requests", FIELD_REQUESTS, 0 },
                    { "rate", FIELD_RATE, 0 },
                    { "burn", FIELD_BURN, 0 },
                    { "budget_left", FIELD_BUDGET, 0 },
                    { "p50", FIELD_QUANTILE, 0.5 },
                    { "p90", FIELD_QUANTILE, 0.9 },
                    { "p95", FIELD_QUANTILE, 0.95 },
                    { "p99", FIELD_QUANTILE, 0.99 } };

int path_field_number(const char *name)
{
  for (size_t i = 0; i < sizeof field_names / sizeof *field_names; i++)
    if (strcmp(field_names[i].name, name) == 0) return (int)i;
  return -1;
}

bool path_read(const struct path *path, int number, int64_t window_ns, double *out)
{
  const struct path_field_name *field = &field_names[number];
  if (window_ns == 0) window_ns = path->settings.window_ns;
  if (field->kind == FIELD_QUANTILE) return read_quantile(path, field->q, window_ns, out);
  struct tally tally = burn_sum(path->burn, path->engine->now_ns, window_ns);
  double bad_ratio = tally.total ? (double)tally.bad / (double)tally.total : 0;
  switch (field->kind) {
  case FIELD_SUCCESS:
    *out = 100 * (1 - bad_ratio);
    return tally.total > 0;
  case FIELD_ERROR:
    *out = 100 * bad_ratio;
    return tally.total > 0;
  case FIELD_REQUESTS:
    *out = (double)tally.total;
    return true;
  case FIELD_RATE:
    *out = (double)tally.total * NS_PER_S / (double)window_ns;
    return true;
  case FIELD_BURN:
    *out = burn_rate(tally, objective_of(path));
    return tally.total > 0 && objective_of(path) > 0;
  case FIELD_BUDGET:
    *out = 100 * (1 - burn_rate(tally, objective_of(path)));
    return tally.total > 0 && objective_of(path) > 0;
  case FIELD_QUANTILE:
    break;
  }
  return false;
}

bool path_field(const struct path *path, const char *name, int64_t window_ns, double *out)
{
  int field = path_field_number(name);
  return field >= 0 && path_read(path, field, window_ns, out);
}

int path_field_check(const struct path *path, const struct expr_field *field, struct status *status)
{
  char text[DURATION_TEXT_MAX];
  int number = path_field_number(field->name);
  if (number < 0) return 0; // a series
  const struct path_field_name *known = &field_names[number];
  int64_t window_ns = field->window_ns ? field->window_ns : path->settings.window_ns;
  if (known->kind == FIELD_QUANTILE) {
    for (uint32_t i = 0; i < path->quantile_count; i++)
      if (path->quantiles[i].window_ns == window_ns) return 0;
    return status_set(status, NINES_EINVAL,
                      "column %u: %s over %s is not kept; write windows = { \"%s\" } in critical_path \"%s\"",
                      field->column, field->name, duration_format(window_ns, text), text, path->name);
  }
  if (window_ns >= NS_PER_S && window_ns <= BURN_SPAN_MAX_NS) return 0;
  return status_set(status, NINES_EINVAL, "column %u: %s over %s is not kept; a critical path keeps 1s to 1h",
                    field->column, field->name, duration_format(window_ns, text));
}

static struct condition *condition_get(struct path *path, const char *text, struct status *status)
{
  struct condition *condition = map_get(&path->conditions, view_of(text));
  if (condition) return condition;
  if (path->conditions.count >= 256) {
    status_set(status, NINES_ELIMIT,
               "critical_path \"%s\" has been asked 256 different conditions; build them from constants", path->name);
    return NULL;
  }
  struct subject own = { .kind = SUBJECT_PATH, .object = path };
  if (condition_compile(&condition, path->engine, own, view_of(text), status) < 0) return NULL;
  if (expr_for_ns(condition_expr(condition))) {
    status_set(status, NINES_EINVAL, "\"for\" belongs to alerts; ask the plain condition, or wait_for it");
    condition_free(condition);
    return NULL;
  }
  CHECK(map_put(&path->conditions, view_of(text), condition) == 0);
  return condition;
}

enum truth path_is(struct path *path, const char *text, struct status *status)
{
  status->code = 0;
  const struct condition *condition = condition_get(path, text, status);
  return condition ? condition_eval(condition) : TRUTH_UNKNOWN;
}

bool path_recovered(const struct path *path)
{
  return !path->state->breached;
}

const char *path_summary(const struct path *path, struct pool *pool)
{
  struct buf out = { 0 };
  char window[DURATION_TEXT_MAX], limit[DURATION_TEXT_MAX];
  struct tally tally = burn_sum(path->burn, path->engine->now_ns, path->settings.window_ns);
  duration_format(path->settings.window_ns, window);
  buf_printf(&out, "%s:", path->name);
  bool success = path->state->success.state == BREACH_BREACHED || path->state->latency.state != BREACH_BREACHED;
  if (success && tally.total)
    buf_printf(&out, " success %.4g%% of %llu requests in %s (objective %.6g%%)",
               100 * (1 - (double)tally.bad / (double)tally.total), (unsigned long long)tally.total, window,
               path->settings.success_rate);
  if (path->state->latency.state == BREACH_BREACHED && tally.total)
    buf_printf(&out, "%s %.3g%% of %llu requests in %s slower than %s (objective %.3g%%)", success ? "," : "",
               100 * (double)tally.slow / (double)tally.total, (unsigned long long)tally.total, window,
               duration_format(path->settings.latency_ns, limit), 100 * (1 - path->settings.latency_q));
  if (!tally.total) buf_printf(&out, " no requests in %s", window);
  const char *text = pool_copy(pool, buf_view(&out));
  buf_free(&out);
  return text ? text : path->name;
}

const char *path_recovery(const struct path *path, struct pool *pool)
{
  struct buf out = { 0 };
  char window[DURATION_TEXT_MAX];
  struct tally tally = burn_sum(path->burn, path->engine->now_ns, path->settings.recovery_window_ns);
  buf_printf(&out, "%s: recovered", path->name);
  if (tally.total)
    buf_printf(&out, ", success %.4g%% of %llu requests in %s", 100 * (1 - (double)tally.bad / (double)tally.total),
               (unsigned long long)tally.total, duration_format(path->settings.recovery_window_ns, window));
  const char *text = pool_copy(pool, buf_view(&out));
  buf_free(&out);
  return text ? text : path->name;
}

static void put_number(struct pool *pool, struct value *out, const char *key, const struct path *path,
                       const char *field)
{
  double number;
  if (path_field(path, field, 0, &number)) value_put(pool, out, key, value_number(number));
}

void path_describe(const struct path *path, struct pool *pool, struct value *out)
{
  const struct path_settings *settings = &path->settings;
  char text[DURATION_TEXT_MAX];
  value_put_text(pool, out, "path", path->name);
  if (settings->service) value_put_text(pool, out, "service", settings->service);
  value_put_text(pool, out, "state", path->state->breached ? "breached" : path->burn ? "healthy" : "");
  if (path->state->success.state == BREACH_NO_DATA && path->state->latency.state == BREACH_NO_DATA)
    value_put(pool, out, "state", value_text(path->declared_by ? "no data" : "no objective"));
  struct tally tally = burn_sum(path->burn, path->engine->now_ns, settings->window_ns);
  value_put(pool, out, "requests", value_integer((int64_t)tally.total));
  value_put(pool, out, "bad", value_integer((int64_t)tally.bad));
  value_put(pool, out, "slow", value_integer((int64_t)tally.slow));
  put_number(pool, out, "success_rate", path, "success_rate");
  put_number(pool, out, "error_rate", path, "error_rate");
  put_number(pool, out, "p50", path, "p50");
  put_number(pool, out, "p95", path, "p95");
  put_number(pool, out, "p99", path, "p99");
  put_number(pool, out, "rate", path, "rate");
  put_number(pool, out, "burn", path, "burn");
  value_put_text(pool, out, "window", duration_format(settings->window_ns, text));
  value_put_text(pool, out, "recovery_window", duration_format(settings->recovery_window_ns, text));
  if (settings->success_rate > 0) value_put(pool, out, "objective", value_number(settings->success_rate));
  if (settings->latency_q > 0) {
    value_put(pool, out, "latency_quantile", value_number(settings->latency_q));
    value_put_text(pool, out, "latency_objective", duration_format(settings->latency_ns, text));
  }
  if (settings->runbook) value_put_text(pool, out, "runbook", settings->runbook);
  if (settings->endpoint) value_put_text(pool, out, "endpoint", settings->endpoint);
  if (path->state->since_ns)
    value_put(pool, out, "since",
              value_number((double)(path->engine->wall_ns - path->engine->now_ns + path->state->since_ns) / NS_PER_S));
  if (path->declared_by) value_put_text(pool, out, "policy", path->declared_by);
}

void paths_close(nines *engine)
{
  for (uint32_t i = 0; i < engine->path_count; i++) {
    struct path *path = engine->path_index[i];
    list_each (node, &path->waits) {
      list_remove(node);
      mem_free(list_entry(node, struct path_wait, node));
    }
    path_free(path);
  }
  mem_free(engine->path_index);
  map_fini(&engine->paths);
  map_fini(&engine->rebased);
}

int path_renumber(struct path *path, uint32_t number, struct status *status)
{
  nines *engine = path->engine;
  if (number >= PATHS_MAX || number >= engine->path_count)
    return status_set(status, NINES_ECORRUPT, "the recording gives path \"%s\" the number %u, which cannot be",
                      path->name, number);
  struct path *other = engine->path_index[number];
  engine->path_index[path->number] = other;
  other->number = path->number;
  engine->path_index[number] = path;
  path->number = number;
  return 0;
}
