// Three windows side by side, so that a minute is exact to the second and an hour still fits in a page.
//
// One window for all spans would need 3,600 buckets to be as sharp; three of 61 need 183. A fold writes the same
// cumulative tally into each, so they cannot disagree about anything but the place of their edges, and a kill between
// two of them is mended by the next fold. The rates are compared in integers: no rounding decides about a page.
#include "burn.h"

#include <stdatomic.h>
#include <string.h>

#include "window.h"

// struct burn itself is never defined: it is the name of memory that holds the three windows in a row.
enum { RESOLUTIONS = 3, BUCKETS = 61 }; // 60 to serve and one that is being overwritten
#define NS_PER_S INT64_C(1000000000)
static const int64_t width_ns[RESOLUTIONS] = { 1 * NS_PER_S, 10 * NS_PER_S, 60 * NS_PER_S };

static struct window *window_of(struct burn *burn, uint32_t resolution)
{
  return (struct window *)((char *)burn + resolution * window_size(BUCKETS));
}

static const struct window *window_in(const struct burn *burn, uint32_t resolution)
{
  return (const struct window *)((const char *)burn + resolution * window_size(BUCKETS));
}

size_t burn_size(void)
{
  return RESOLUTIONS * window_size(BUCKETS);
}

void burn_init(struct burn *burn, int64_t now_ns, struct tally cumulative)
{
  memset((void *)burn, 0, burn_size()); // not valid until the last of the three is
  atomic_signal_fence(memory_order_seq_cst);
  for (uint32_t i = 0; i < RESOLUTIONS; i++) window_init(window_of(burn, i), width_ns[i], BUCKETS, now_ns, cumulative);
}

bool burn_valid(const struct burn *burn)
{
  for (uint32_t i = 0; i < RESOLUTIONS; i++)
    if (!window_valid(window_in(burn, i), width_ns[i], BUCKETS)) return false;
  return true;
}

void burn_rebase(struct burn *burn, int64_t then_ns, int64_t now_ns)
{
  for (uint32_t i = 0; i < RESOLUTIONS; i++) window_rebase(window_of(burn, i), then_ns, now_ns);
}

void burn_fold(struct burn *burn, int64_t now_ns, struct tally cumulative)
{
  for (uint32_t i = 0; i < RESOLUTIONS; i++) window_fold(window_of(burn, i), now_ns, cumulative);
}

struct tally burn_sum(const struct burn *burn, int64_t now_ns, int64_t span_ns)
{
  uint32_t i = 0;
  while (i < RESOLUTIONS - 1 && span_ns > width_ns[i] * (BUCKETS - 1)) i++;
  return window_sum(window_in(burn, i), now_ns, span_ns);
}

void burn_onset(const struct burn *burn, int64_t now_ns, int64_t age_max_ns, bool slow, struct onset *onset)
{
  for (uint32_t i = 0; i < RESOLUTIONS; i++)
    for (int64_t buckets = 1; buckets < BUCKETS && buckets * width_ns[i] <= age_max_ns; buckets++) {
      struct tally tally = window_sum(window_in(burn, i), now_ns, buckets * width_ns[i]);
      onset_offer(onset, buckets * width_ns[i], tally.total, slow ? tally.slow : tally.bad);
    }
}

double burn_rate(struct tally tally, double objective_ratio)
{
  if (tally.total == 0) return -1;
  return (double)tally.bad / (double)tally.total / (1 - objective_ratio);
}

bool burn_over(struct tally tally, uint32_t factor_milli, uint32_t budget_ppm)
{
  // 128 bits hold any of these products: 64 + 30 on the left, 32 + 32 + 64 on the right.
  unsigned __int128 spent = (unsigned __int128)tally.bad * 1000000000u;
  unsigned __int128 allowed = (unsigned __int128)((uint64_t)factor_milli * budget_ppm) * tally.total;
  return spent > allowed;
}
