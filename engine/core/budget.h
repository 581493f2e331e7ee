// The long windows of an SLO, from an hour to its period: 64-bit counts, because a thousand requests a second are more
// than 32 bits within fifty days.
//
// Two rings of cumulative snapshots, as in window.h and with its properties (idempotent folds, nothing added twice, a
// kill between any two stores mended by the next fold): 5 min x 289 serve spans up to 24 h, 1 h x 721 up to 30 d; for
// longer periods the latter are 3 h wide, up to 90 d. A span is rounded up to whole buckets, the newest one being
// incomplete: it covers at most the span and at least the span less one bucket. 16.2 KB.
//
// Factors and times to detect: Google's SRE workbook, chapter 5; factor = share x period / window as in Sloth.
#ifndef NINES_CORE_BUDGET_H
#define NINES_CORE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget;
struct budget_counts {
  uint64_t total, bad;
};

#define BUDGET_PERIOD_MAX_NS (INT64_C(90) * 86400 * 1000000000)

size_t budget_size(void);
void budget_init(struct budget *budget, int64_t period_ns, int64_t now_ns, uint64_t total, uint64_t bad);
bool budget_valid(const struct budget *budget, int64_t period_ns); // and of this period
void budget_rebase(struct budget *budget, int64_t then_ns, int64_t now_ns);
// Cumulative counts, which never shrink. Time that went back begins the current bucket again.
void budget_fold(struct budget *budget, int64_t now_ns, uint64_t total, uint64_t bad);
struct budget_counts budget_sum(const struct budget *budget, int64_t now_ns, int64_t span_ns);

double budget_factor(double share, int64_t period_ns, int64_t window_ns);
// bad > factor x (1 - objective) x total; nothing is over nothing. `objective` as a ratio of 0 to 1.
bool budget_over(struct budget_counts counts, double factor, double objective);
double budget_burn(struct budget_counts counts, double objective); // -1: nothing to tell from; infinite at objective 1
// The share of the budget that these counts leave, 1 without any, below 0 when more than it is spent.
double budget_left(struct budget_counts counts, double objective);
// After how long a constant share of errors is noticed by this window: window x factor x (1 - objective) / errors; -1:
// never.
int64_t budget_detect_ns(double errors, double factor, double objective, int64_t window_ns);

#endif
