// When did it begin? The last zero of the CUSUM of a share of bad ones, looking back.
//
// Between a healthy share p0 and the bad share p1 that is observed now, each observation moves the sum by its log
// likelihood ratio; for small shares that is proportional to bad - c x total with c = (p1 - p0) / ln(p1 / p0) (Poisson;
// E. S. Page 1954). The sum over the last `age` is largest for the age at which the change began. Ages are offered in
// any order.
#ifndef NINES_CORE_ONSET_H
#define NINES_CORE_ONSET_H

#include <stdint.h>

struct onset {
  double slope; // c
  double best;
  int64_t age_ns; // of the best so far; 0: none, nothing is worse than allowed
};

// Shares of 0 to 1. A p1 that is not above p0 finds nothing.
void onset_start(struct onset *onset, double healthy, double observed);
void onset_offer(struct onset *onset, int64_t age_ns, uint64_t total, uint64_t bad); // counts of the last age_ns

#endif
