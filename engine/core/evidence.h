// Evidence on a relative risk, as logarithms of e-processes, and the habits of the arm it is compared with.
//
// "Worse": the weighted mean over eight alternatives r of the likelihood ratios of r to the margin; eight tenths of
// that bet are placed at the start, the rest bit by bit. "Better": the same for "not as bad as `bad`", over five
// alternatives, all placed at the start. Either is below 1/alpha for ever with a probability of at least 1 - alpha
// where its null holds.
#ifndef NINES_CORE_EVIDENCE_H
#define NINES_CORE_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

enum { EVIDENCE_WORSE = 8, EVIDENCE_BETTER = 5, EVIDENCE_SHARES = 8 }; // alternatives of each test

// What the baseline usually does a second; older seconds count less (half-life 20 minutes).
struct habit {
  double seconds, sum, square, requests; // weights, counts, squares of counts, requests
};

void habit_add(struct habit *habit, double requests, double events); // one second
bool habit_known(const struct habit *habit);
bool habit_valid(const struct habit *habit); // false: a damaged arena
// max(1, variance / mean). Until the habit is known, more: see evidence.c.
double habit_phi(const struct habit *habit);
// More events than that are an outage. `assumed`: the rate while none was measured.
double habit_limit(const struct habit *habit, double requests, double assumed, double phi);

struct evidence {
  double placed[EVIDENCE_WORSE]; // the part of the bet that is placed, times its likelihood ratio
  double waiting;                // share of the bet that is not placed yet
  double worse, worse_max;       // log E now, and the most it ever was
  double each_better[EVIDENCE_BETTER], better;
  struct habit habit;
};

struct counts { // of one metric in one tick, by arm
  double requests[2], events[2];
};

void evidence_start(struct evidence *evidence); // keeps the habit
// `weight` 1/phi or less; `steady`: nothing unusual, so that it may count for "better".
void evidence_feed(struct evidence *evidence, const struct counts *tick, double weight, bool steady, double margin,
                   double bad);
bool evidence_valid(const struct evidence *evidence); // false: a damaged arena
// The split of requests, against a share of 0 to 1; all zero at the start.
void evidence_split(double evidence[static EVIDENCE_SHARES], double share, const uint64_t total[static 2]);
double evidence_split_log(const double evidence[static EVIDENCE_SHARES]);

#endif
