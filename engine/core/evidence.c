// Sums of logarithms, so that nothing overflows: see evidence.h for what they are and canary.c for why they hold.
#include "evidence.h"

#include <math.h>
#include <string.h>

// A habit is known after so many seconds and events.
#define HABIT_SECONDS 30
#define HABIT_EVENTS  50
#define HABIT_KEPT    0.99942255 // 2^(-1/1200)
#define BET_FIRST     0.8        // the share of the bet that is placed at the begin
#define BET_TICKS     600        // of the rest, each tick places one part in so many

static const double worse_by[EVIDENCE_WORSE] = { 1.25, 1.5, 2, 3, 5, 10, 20, 50 };
// Most of the bet is on what releases do: twice to five times as bad.
static const double worse_weight[EVIDENCE_WORSE] = { 0.06, 0.1, 0.2, 0.22, 0.2, 0.12, 0.06, 0.04 };
static const double better_by[EVIDENCE_BETTER] = { 1.25, 1.5, 2, 3, 5 };
// The split is right within a fifth; it is tested for less and for more.
static const double share_by[EVIDENCE_SHARES] = { 0.8, 0.5, 0.25, 0.05, 1.25, 1.5, 2, 4 };

// ---- Evidence

static double log_add(double a, double b)
{
  double high = fmax(a, b), low = fmin(a, b);
  return high == -INFINITY ? high : high + log1p(exp(low - high));
}

static double log_sum(const double *term, int n)
{
  double sum = -INFINITY;
  for (int i = 0; i < n; i++) sum = log_add(sum, term[i]);
  return sum;
}

static double log_mean(const double *term, int n)
{
  return log_sum(term, n) - log(n);
}

// P(an event is the canary's), if it is `ratio` times as bad.
static double canary_part(double ratio, double rho)
{
  return ratio * rho / (ratio * rho + 1 - rho);
}

void evidence_start(struct evidence *evidence)
{
  for (int i = 0; i < EVIDENCE_WORSE; i++) evidence->placed[i] = log(BET_FIRST * worse_weight[i]);
  memset(evidence->each_better, 0, sizeof evidence->each_better);
  evidence->waiting = 1 - BET_FIRST;
  evidence->worse_max = evidence->worse = evidence->better = 0;
}

void evidence_feed(struct evidence *evidence, const struct counts *tick, double weight, bool steady, double margin,
                   double bad)
{
  double rho = tick->requests[1] / (tick->requests[0] + tick->requests[1]);
  double placing = evidence->waiting / BET_TICKS;
  evidence->waiting -= placing;
  if (!(rho > 0 && rho < 1)) weight = 0; // one arm alone tells nothing
  double canary = tick->events[1] * weight, baseline = tick->events[0] * weight;
  double null = canary_part(margin, rho);
  for (int i = 0; i < EVIDENCE_WORSE; i++) {
    evidence->placed[i] = log_add(evidence->placed[i], log(placing * worse_weight[i]));
    if (weight <= 0) continue;
    double g = canary_part(margin * worse_by[i], rho);
    evidence->placed[i] += canary * log(g / null) + baseline * log((1 - g) / (1 - null));
  }
  evidence->worse = log_add(log_sum(evidence->placed, EVIDENCE_WORSE), log(evidence->waiting));
  evidence->worse_max = fmax(evidence->worse_max, evidence->worse);
  if (!steady || weight <= 0) return;
  null = canary_part(bad, rho);
  for (int i = 0; i < EVIDENCE_BETTER; i++) {
    double g = canary_part(bad / better_by[i], rho);
    evidence->each_better[i] += canary * log(g / null) + baseline * log((1 - g) / (1 - null));
  }
  evidence->better = log_mean(evidence->each_better, EVIDENCE_BETTER);
}

void evidence_split(double evidence[static EVIDENCE_SHARES], double share, const uint64_t total[static 2])
{
  for (int i = 0; i < EVIDENCE_SHARES; i++) {
    double bound = share * (share_by[i] < 1 ? 0.8 : 1.25), other = bound * share_by[i];
    if (other >= 1) continue;
    evidence[i] += (double)total[1] * log(other / bound) + (double)total[0] * log((1 - other) / (1 - bound));
  }
}

// ---- Habits of the baseline

void habit_add(struct habit *habit, double requests, double events)
{
  habit->seconds = habit->seconds * HABIT_KEPT + 1;
  habit->sum = habit->sum * HABIT_KEPT + events;
  habit->square = habit->square * HABIT_KEPT + events * events;
  habit->requests = habit->requests * HABIT_KEPT + requests;
}

bool habit_known(const struct habit *habit)
{
  return habit->seconds >= HABIT_SECONDS && habit->sum >= HABIT_EVENTS;
}

// Until the habit is known, what is measured is multiplied by 1 + 3 / sqrt(1 + events): 4 at first, 1.4 in the end.
double habit_phi(const struct habit *habit)
{
  double phi = 1;
  if (habit->seconds >= 2 && habit->sum > 0) {
    double mean = habit->sum / habit->seconds;
    double variance = (habit->square - habit->sum * mean) / (habit->seconds - 1);
    phi = fmax(1, variance / mean);
  }
  return habit_known(habit) ? phi : phi * (1 + 3 / sqrt(1 + habit->sum));
}

// More events than that are an outage: three times the usual and four deviations, three at least.
double habit_limit(const struct habit *habit, double requests, double assumed, double phi)
{
  double rate = habit->seconds >= HABIT_SECONDS && habit->requests > 0 ? habit->sum / habit->requests : assumed;
  double usual = fmax(rate * requests, 0);
  return 3 * usual + 4 * sqrt(phi * usual) + 3;
}

double evidence_split_log(const double evidence[static EVIDENCE_SHARES])
{
  return log_mean(evidence, EVIDENCE_SHARES);
}

bool habit_valid(const struct habit *habit)
{
  return isfinite(habit->seconds + habit->sum + habit->square + habit->requests) && habit->seconds >= 0 &&
         habit->sum >= 0 && habit->requests >= 0;
}

bool evidence_valid(const struct evidence *evidence)
{
  double sum = evidence->waiting + evidence->worse + evidence->worse_max + evidence->better;
  for (int i = 0; i < EVIDENCE_WORSE; i++) sum += evidence->placed[i];
  for (int i = 0; i < EVIDENCE_BETTER; i++) sum += evidence->each_better[i];
  return isfinite(sum) && evidence->waiting >= 0 && habit_valid(&evidence->habit);
}
