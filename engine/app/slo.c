// The counts of an SLO, their windows, and what burns.

#include "slo.h"

#include <math.h>
#include <string.h>

#include "calendar.h"
#include "check.h"
#include "duration.h"
#include "mem.h"
#include "path.h"
#include "rule.h"

enum slo_field { SLO_SUCCESS, SLO_ERROR, SLO_REQUESTS, SLO_RATE, SLO_BURN, SLO_BUDGET };
static const char *const field_names[] = { "success_rate", "error_rate", "requests", "rate", "burn", "budget_left" };

struct slo *slo_find(const nines *engine, const char *name)
{
  return map_get(&engine->slos, view_of(name));
}

static bool of_path(const struct slo *slo)
{
  return slo->settings.source <= SLO_OF_LATENCY;
}

static struct budget_counts counted(const struct slo *slo)
{
  if (!of_path(slo)) return (struct budget_counts){ slo->state->total, slo->state->bad };
  struct tally tally = path_counted(slo->settings.path);
  bool latency = slo->settings.source == SLO_OF_LATENCY;
  return (struct budget_counts){ tally.total, latency ? tally.slow : tally.bad };
}

static struct tally as_tally(struct budget_counts counts)
{
  return (struct tally){ .total = counts.total, .bad = counts.bad };
}

static int slo_place(struct slo *slo, struct status *status)
{
  nines *engine = slo->engine;
  struct arena_slot slot;
  size_t state_bytes = (sizeof *slo->state + 63) / 64 * 64, burn_bytes = (burn_size() + 63) / 64 * 64;
  int code = arena_object(engine->arena, ARENA_SLO, view_of(slo->name), state_bytes + burn_bytes + budget_size(), &slot,
                          status);
  if (code < 0) return code;
  char *piece = arena_at(engine->arena, slot.offset);
  slo->state = (struct slo_state *)(void *)piece;
  slo->burn = (struct burn *)(void *)(piece + state_bytes);
  slo->budget = (struct budget *)(void *)(piece + state_bytes + burn_bytes);
  return 0;
}

// Windows of an earlier life go on; those of another period or source begin anew.
static void slo_take_up(struct slo *slo)
{
  nines *engine = slo->engine;
  struct budget_counts now = counted(slo);
  struct buf key = { 0 };
  buf_printf(&key, "slo\n%s", slo->name);
  bool shift = engine->rebase && !map_get(&engine->rebased, buf_view(&key)); // once after a boot
  if (shift) CHECK(map_put(&engine->rebased, buf_view(&key), engine) == 0);
  buf_free(&key);
  if (!burn_valid(slo->burn))
    burn_init(slo->burn, engine->now_ns, as_tally(now));
  else if (shift)
    burn_rebase(slo->burn, engine->rebase_then_ns, engine->rebase_now_ns);
  if (!budget_valid(slo->budget, slo->settings.window_ns))
    budget_init(slo->budget, slo->settings.window_ns, engine->now_ns, now.total, now.bad);
  else if (shift)
    budget_rebase(slo->budget, engine->rebase_then_ns, engine->rebase_now_ns);
}

static void conditions_free(struct slo *slo)
{
  condition_free(slo->condition);
  condition_free(slo->counters[0]);
  condition_free(slo->counters[1]);
  slo->condition = slo->counters[0] = slo->counters[1] = NULL;
}

static void slo_free(struct slo *slo)
{
  conditions_free(slo);
  pool_fini(&slo->pool);
  mem_free(slo->declared_by);
  mem_free(slo->name);
  mem_free(slo);
}

// A series as a condition that reads it: `name == name`.
static int compile_series(struct slo *slo, const char *series, struct condition **out, struct status *status)
{
  struct buf text = { 0 };
  buf_printf(&text, "%s == %s", series, series);
  int code = condition_compile(out, slo->engine, (struct subject){ 0 }, buf_view(&text), status);
  if (code == 0 && expr_field_count(condition_expr(*out)) != 1)
    code = status_set(status, NINES_EINVAL, "\"%s\" is not the name of one series", series);
  buf_free(&text);
  return code;
}

static int compile_source(struct slo *slo, struct status *status)
{
  const struct slo_settings *settings = &slo->settings;
  conditions_free(slo);
  if (settings->source == SLO_OF_CONDITION)
    return condition_compile(&slo->condition, slo->engine, (struct subject){ 0 }, view_of(settings->when), status);
  if (settings->source != SLO_OF_COUNTERS) return 0;
  int code = compile_series(slo, settings->good ? settings->good : settings->bad, &slo->counters[0], status);
  return code < 0 ? code : compile_series(slo, settings->total, &slo->counters[1], status);
}

static struct slo *slo_make(nines *engine, const char *name, struct status *status)
{
  if (engine->slos.count >= SLOS_MAX) {
    status_set(status, NINES_ELIMIT, "there are %d SLOs already; \"%s\" is one too many", SLOS_MAX, name);
    return NULL;
  }
  struct slo *slo = mem_must(sizeof *slo);
  slo->engine = engine;
  slo->name = mem_must_copy(name);
  if (slo_place(slo, status) < 0) {
    slo_free(slo);
    return NULL;
  }
  CHECK(map_put(&engine->slos, view_of(name), slo) == 0);
  return slo;
}

static const char *const suffixes[2] = { "smouldering", "burning" };

static const char *alert_name(const struct slo *slo, bool page, struct pool *pool)
{
  struct buf name = { 0 };
  buf_printf(&name, "%s %s", slo->name, suffixes[page]);
  const char *copy = pool_copy(pool, buf_view(&name));
  buf_free(&name);
  CHECK(copy);
  return copy;
}

static int declare_alert(struct slo *slo, bool page, struct status *status)
{
  const struct slo_settings *settings = &slo->settings;
  struct pool pool = { 0 };
  int severity = page ? settings->page_severity : settings->ticket_severity;
  const char *name = alert_name(slo, page, &pool);
  bool any = false;
  for (uint32_t i = 0; i < settings->burn_count; i++) any = any || settings->burns[i].page == page;
  if (!any || severity < 0) {
    rule_retire(slo->engine, name);
    pool_fini(&pool);
    return 0;
  }
  struct rule_settings rule = { .on = { .kind = SUBJECT_SLO, .object = slo },
                                .object = slo->name,
                                .burning = page ? RULE_PAGE_BURN : RULE_TICKET_BURN,
                                .service = settings->service,
                                .runbook = settings->runbook,
                                .message = pool_copy(
                                    &pool, view_of("{{ success_rate }} of {{ requests }} in the last hour were "
                                                   "good; {{ budget_left }} of the budget is left")),
                                .severity = severity,
                                .observe = settings->observe };
  return rule_declare(slo->engine, slo->declared_by, name, &rule, &pool, status);
}

int slo_declare(nines *engine, const char *script, const char *name, const struct slo_settings *settings,
                struct pool *pool, struct status *status)
{
  struct slo *slo = slo_find(engine, name);
  if (!slo) slo = slo_make(engine, name, status);
  if (!slo) return status->code;
  bool other = slo->declared_by && slo->settings.source != settings->source;
  pool_fini(&slo->pool);
  slo->pool = *pool;
  *pool = (struct pool){ 0 };
  slo->settings = *settings;
  int code = compile_source(slo, status);
  if (code < 0) return status_prefix(status, "slo \"%s\"", name);
  if (other) budget_init(slo->budget, settings->window_ns, engine->now_ns, counted(slo).total, counted(slo).bad);
  if (other) burn_init(slo->burn, engine->now_ns, as_tally(counted(slo)));
  slo_take_up(slo);
  mem_free(slo->declared_by);
  slo->declared_by = mem_must_copy(script);
  code = declare_alert(slo, true, status);
  return code < 0 ? code : declare_alert(slo, false, status);
}

void slo_retire(struct slo *slo)
{
  struct pool pool = { 0 };
  for (int page = 0; page < 2; page++) rule_retire(slo->engine, alert_name(slo, page, &pool));
  pool_fini(&pool);
  mem_free(slo->declared_by);
  slo->declared_by = NULL;
}

void slo_add(struct slo *slo, uint64_t good, uint64_t bad)
{
  slo->state->bad += bad;
  slo->state->total += good + bad;
}

// A counter that went down was reset: what it shows now came since. The first sight of one counts nothing.
static double grown(double now, double before)
{
  return now >= before ? now - before : now;
}

static void count_series(struct slo *slo)
{
  struct slo_state *state = slo->state;
  double part, total;
  if (!condition_read(slo->counters[1], 0, &total)) return;
  if (!condition_read(slo->counters[0], 0, &part)) part = state->series_known ? state->series[0] : 0; // none so far
  if (state->series_known) {
    double all = grown(total, state->series[1]), some = grown(part, state->series[0]);
    if (some > all) some = all;
    uint64_t whole = (uint64_t)llround(all), share = (uint64_t)llround(some);
    slo->settings.good ? slo_add(slo, share, whole - share) : slo_add(slo, whole - share, share);
  }
  state->series[0] = part;
  state->series[1] = total;
  state->series_known = 1;
}

static void publish_budget(struct slo *slo, const char *topic)
{
  struct pool pool = { 0 };
  struct value payload = value_table();
  slo_describe(slo, &pool, &payload);
  engine_publish(slo->engine, topic, slo->name, &payload);
  pool_fini(&pool);
}

static void judge_budget(struct slo *slo)
{
  double left;
  if (!slo_read(slo, SLO_BUDGET, 0, &left)) return;
  bool exhausted = left <= 0;
  if (exhausted == (slo->state->exhausted != 0)) return;
  slo->state->exhausted = exhausted;
  publish_budget(slo, exhausted ? "slo.exhausted" : "slo.restored");
}

void slos_fold(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->slos, &at));) {
    struct slo *slo = entry->value;
    if (!slo->declared_by) continue;
    enum truth truth = slo->condition ? condition_eval(slo->condition) : TRUTH_UNKNOWN;
    if (truth != TRUTH_UNKNOWN) slo_add(slo, truth == TRUTH_TRUE, truth == TRUTH_FALSE);
    if (slo->settings.source == SLO_OF_COUNTERS) count_series(slo);
    struct budget_counts counts = counted(slo);
    burn_fold(slo->burn, engine->now_ns, as_tally(counts));
    budget_fold(slo->budget, engine->now_ns, counts.total, counts.bad);
    judge_budget(slo);
  }
}

// --- reading

static double objective_of(const struct slo *slo)
{
  return slo->settings.objective / 100;
}

static struct budget_counts sum(const struct slo *slo, int64_t span_ns)
{
  int64_t now_ns = slo->engine->now_ns;
  if (span_ns > BURN_SPAN_MAX_NS) return budget_sum(slo->budget, now_ns, span_ns);
  struct tally tally = burn_sum(slo->burn, now_ns, span_ns);
  return (struct budget_counts){ tally.total, tally.bad };
}

int64_t slo_period_ns(const struct slo *slo)
{
  if (!slo->settings.calendar) return slo->settings.window_ns;
  int64_t local_ns = slo->engine->wall_ns + slo->engine->settings->utc_offset_ns;
  int64_t since_ns = local_ns - calendar_period_start(local_ns, slo->settings.window_ns);
  return since_ns > NS_PER_S ? since_ns : NS_PER_S;
}

enum truth slo_burning(const struct slo *slo, bool page)
{
  bool traffic = false;
  for (uint32_t i = 0; i < slo->settings.burn_count; i++) {
    const struct slo_burn *burn = &slo->settings.burns[i];
    if (burn->page != page) continue;
    struct budget_counts over = sum(slo, burn->over_ns);
    traffic = traffic || over.total > 0;
    if (over.bad < (uint64_t)slo->settings.min_bad || !budget_over(over, burn->factor, objective_of(slo))) continue;
    if (budget_over(sum(slo, burn->still_ns), burn->factor, objective_of(slo))) return TRUTH_TRUE;
  }
  return traffic ? TRUTH_FALSE : TRUTH_UNKNOWN;
}

int64_t slo_onset_ns(const struct slo *slo, bool page)
{
  struct onset onset = { 0 };
  double objective = objective_of(slo);
  for (uint32_t i = 0; i < slo->settings.burn_count && onset.age_ns == 0; i++) {
    const struct slo_burn *burn = &slo->settings.burns[i];
    struct budget_counts still = sum(slo, burn->still_ns);
    if (burn->page != page || !budget_over(still, burn->factor, objective)) continue;
    onset_start(&onset, 1 - objective, (double)still.bad / (double)still.total);
    burn_onset(slo->burn, slo->engine->now_ns, NS_PER_H, false, &onset);
    for (int64_t age_ns = NS_PER_H + 5 * NS_PER_MIN; age_ns <= slo->settings.window_ns;
         age_ns += age_ns < NS_PER_DAY ? 5 * NS_PER_MIN : NS_PER_H) {
      struct budget_counts counts = sum(slo, age_ns);
      onset_offer(&onset, age_ns, counts.total, counts.bad);
    }
  }
  return onset.age_ns;
}

int slo_field_number(const char *name)
{
  for (size_t i = 0; i < sizeof field_names / sizeof *field_names; i++)
    if (strcmp(field_names[i], name) == 0) return (int)i;
  return -1;
}

int slo_field_check(const struct slo *slo, const struct expr_field *field, struct status *status)
{
  char text[DURATION_TEXT_MAX], most[DURATION_TEXT_MAX];
  int64_t window_ns = field->window_ns;
  if (!window_ns || (window_ns >= NS_PER_S && window_ns <= slo->settings.window_ns)) return 0;
  return status_set(status, NINES_EINVAL, "column %u: %s over %s is not kept; slo \"%s\" keeps 1s to %s", field->column,
                    field->name, duration_format(window_ns, text), slo->name,
                    duration_format(slo->settings.window_ns, most));
}

bool slo_read(const struct slo *slo, int field, int64_t window_ns, double *out)
{
  // Rates look at the last hour unless told otherwise; the budget at its period.
  if (window_ns == 0) window_ns = field == SLO_BUDGET ? slo_period_ns(slo) : NS_PER_H;
  struct budget_counts counts = sum(slo, window_ns);
  double bad_ratio = counts.total ? (double)counts.bad / (double)counts.total : 0;
  bool some = counts.total > 0;
  switch ((enum slo_field)field) {
  case SLO_SUCCESS:
    *out = 100 * (1 - bad_ratio);
    return some;
  case SLO_ERROR:
    *out = 100 * bad_ratio;
    return some;
  case SLO_REQUESTS:
    *out = (double)counts.total;
    return true;
  case SLO_RATE:
    *out = (double)counts.total * NS_PER_S / (double)window_ns;
    return true;
  case SLO_BURN:
    *out = budget_burn(counts, objective_of(slo));
    return some && isfinite(*out);
  case SLO_BUDGET:
    *out = 100 * budget_left(counts, objective_of(slo));
    return some && isfinite(*out);
  }
  return false;
}

bool slo_freezes(const nines *engine, const char *service, const char **name)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->slos, &at));) {
    const struct slo *slo = entry->value;
    const char *of = slo->settings.service;
    if (!slo->declared_by || !slo->settings.freeze || !slo->state->exhausted || !of || strcmp(of, service) != 0)
      continue;
    *name = slo->name;
    return true;
  }
  return false;
}

static void describe_burns(const struct slo *slo, struct pool *pool, struct value *out)
{
  struct value list = value_list();
  for (uint32_t i = 0; i < slo->settings.burn_count; i++) {
    const struct slo_burn *burn = &slo->settings.burns[i];
    struct value item = value_table();
    char text[DURATION_TEXT_MAX];
    value_put_text(pool, &item, "over", duration_format(burn->over_ns, text));
    value_put_text(pool, &item, "still", duration_format(burn->still_ns, text));
    value_put(pool, &item, "factor", value_number(burn->factor));
    value_put_text(pool, &item, "tells", burn->page ? "page" : "ticket");
    double over = budget_burn(sum(slo, burn->over_ns), objective_of(slo));
    double still = budget_burn(sum(slo, burn->still_ns), objective_of(slo));
    if (over >= 0) value_put(pool, &item, "burn_over", value_number(over));
    if (still >= 0) value_put(pool, &item, "burn_still", value_number(still));
    value_append(pool, &list, item);
  }
  value_put(pool, out, "burns", list);
}

void slo_describe(const struct slo *slo, struct pool *pool, struct value *out)
{
  static const char *const sources[] = { "success of a critical path", "latency of a critical path", "counters",
                                         "a condition", "a policy" };
  const struct slo_settings *settings = &slo->settings;
  char text[DURATION_TEXT_MAX];
  value_put_text(pool, out, "slo", slo->name);
  if (settings->service) value_put_text(pool, out, "service", settings->service);
  if (settings->path) value_put_text(pool, out, "of", settings->path->name);
  value_put_text(pool, out, "source", sources[settings->source]);
  if (settings->when) value_put_text(pool, out, "when", settings->when);
  value_put(pool, out, "objective", value_number(settings->objective));
  value_put_text(pool, out, "window", duration_format(settings->window_ns, text));
  value_put(pool, out, "calendar", value_bool(settings->calendar));
  for (size_t i = 0; i < sizeof field_names / sizeof *field_names; i++) {
    double number;
    if (slo_read(slo, (int)i, 0, &number)) value_put(pool, out, field_names[i], value_number(number));
  }
  struct budget_counts period = sum(slo, slo_period_ns(slo));
  value_put(pool, out, "total", value_integer((int64_t)period.total));
  value_put(pool, out, "bad", value_integer((int64_t)period.bad));
  value_put_text(pool, out, "state",
                 slo->state->exhausted                   ? "exhausted"
                 : slo_burning(slo, true) == TRUTH_TRUE  ? "burning"
                 : slo_burning(slo, false) == TRUTH_TRUE ? "smouldering"
                 : period.total                          ? "met"
                                                         : "no data");
  describe_burns(slo, pool, out);
  if (settings->runbook) value_put_text(pool, out, "runbook", settings->runbook);
  if (settings->freeze) value_put(pool, out, "freeze", value_bool(true));
  if (slo->declared_by) value_put_text(pool, out, "policy", slo->declared_by);
}

void slos_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->slos, &at));) slo_free(entry->value);
  map_fini(&engine->slos);
}
