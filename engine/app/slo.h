// Service level objectives: what is counted as good, how much of it was promised, how fast the budget burns.
//
// Counts come from a critical path (its success or its latency objective), from two counters of series, from a
// condition that is asked once a second (a good or a bad second), or are handed over by a policy. They are sums that
// only grow, kept in the arena with their windows: exact ratios of sums, and a quiet service contributes nothing. The
// budget's windows are core/budget.h; up to an hour they are core/burn.h. 18.6 KB an SLO.
//
// Each SLO brings the multi-window, multi-burn-rate alerts of Google's SRE workbook (chapter 5, table 5-8, and its 1d
// row): NAME burning (2 % of the budget in 1 h and still in 5 min, or 5 % in 6 h and 30 min) and NAME smouldering (10 %
// in 1 d and 2 h, or in 3 d and 6 h). The factor is share x window / span, so that it follows the SLO's window.
#ifndef NINES_APP_SLO_H
#define NINES_APP_SLO_H

#include "budget.h"
#include "burn.h"
#include "condition.h"
#include "engine.h"

enum { SLOS_MAX = 500, SLO_BURNS_MAX = 8, SLO_NAME_MAX = 120 };

enum slo_source { SLO_OF_SUCCESS, SLO_OF_LATENCY, SLO_OF_COUNTERS, SLO_OF_CONDITION, SLO_OF_POLICY };

struct slo_burn { // one pair of windows
  int64_t over_ns, still_ns;
  double factor;
  bool page; // else a ticket
};

struct slo_settings {
  const char *service, *runbook, *description;
  enum slo_source source;
  struct path *path;
  const char *good, *bad, *total; // series, as `name` or `name{label="x"}`
  const char *when;
  double objective; // percent
  int64_t window_ns;
  bool calendar; // since Monday, the first of the month or of the quarter, local time
  int64_t min_bad;
  int page_severity, ticket_severity; // -1: no such alert
  bool freeze;                        // a spent budget refuses deployments of the service
  bool observe;
  struct slo_burn burns[SLO_BURNS_MAX];
  uint32_t burn_count;
};

struct slo_state { // in the arena, followed by burn and budget
  uint64_t total, bad;
  double series[2]; // counters as last read: good or bad, total
  uint32_t series_known;
  uint32_t exhausted;
};

struct slo {
  nines *engine;
  char *name;
  char *declared_by; // script; NULL: nobody
  struct pool pool;  // of the settings
  struct slo_settings settings;
  struct condition *condition, *counters[2];
  struct slo_state *state;
  struct burn *burn;
  struct budget *budget;
};

struct slo *slo_find(const nines *engine, const char *name);
// Takes over `pool`. 0, or an error of limits, names, or of a burn that can never be reached.
int slo_declare(nines *engine, const char *script, const char *name, const struct slo_settings *settings,
                struct pool *pool, struct status *status);
void slo_retire(struct slo *slo);
void slo_add(struct slo *slo, uint64_t good, uint64_t bad); // SLO_OF_POLICY
void slos_fold(nines *engine);                              // once a second
// Does a pair of windows of this kind burn over its factor, with at least min_bad bad ones? Unknown without any
// traffic.
enum truth slo_burning(const struct slo *slo, bool page);
// Fields of conditions: success_rate error_rate requests rate burn budget_left. As path_read.
int slo_field_number(const char *name);
int slo_field_check(const struct slo *slo, const struct expr_field *field, struct status *status);
bool slo_read(const struct slo *slo, int field, int64_t window_ns, double *out);
// Age of the beginning of what burns; 0: cannot be told.
int64_t slo_onset_ns(const struct slo *slo, bool page);
int64_t slo_period_ns(const struct slo *slo);                                  // how far the budget looks back now
bool slo_freezes(const nines *engine, const char *service, const char **name); // whose budget is spent
void slo_describe(const struct slo *slo, struct pool *pool, struct value *out);
void slos_close(nines *engine);

extern const struct noun slo_noun;

#endif
