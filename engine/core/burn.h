// Counts over any span up to an hour, in integers: what success rates, burn rates and breaches are read from.
//
// Three windows: 61 buckets of 1 s, 10 s and 1 min. A span is served by the finest that holds it: exact to 1 s up to 1
// min, to 10 s up to 10 min, to 1 min up to 1 h. 2.3 KB.
#ifndef NINES_CORE_BURN_H
#define NINES_CORE_BURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onset.h"
#include "tally.h"

struct burn;
#define BURN_SPAN_MAX_NS (3600LL * 1000000000LL)

size_t burn_size(void);
void burn_init(struct burn *burn, int64_t now_ns, struct tally cumulative);
bool burn_valid(const struct burn *burn);
void burn_rebase(struct burn *burn, int64_t then_ns, int64_t now_ns);
void burn_fold(struct burn *burn, int64_t now_ns, struct tally cumulative);
struct tally burn_sum(const struct burn *burn, int64_t now_ns, int64_t span_ns); // span 1 s .. 1 h
// Offers the counts of the last hour by age, each second, ten seconds and minute up to age_max_ns: when did it begin?
void burn_onset(const struct burn *burn, int64_t now_ns, int64_t age_max_ns, bool slow, struct onset *onset);
// bad / total / (1 - objective): 1 spends the budget exactly; -1 when there was nothing. objective as a ratio below 1.
double burn_rate(struct tally tally, double objective_ratio);
// bad/total > factor * (1 - objective), without division or floating point: bad * 1e6 * 1000 > factor_milli *
// budget_ppm * total.
bool burn_over(struct tally tally, uint32_t factor_milli, uint32_t budget_ppm);

#endif
