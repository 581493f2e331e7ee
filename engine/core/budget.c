// The rings keep what the counts were when each bucket began; `number` names the current bucket and is written last.
//
// A fold writes `latest` before a new bucket's snapshot and both before `number`. Dying in between leaves a ring whose
// newest snapshot is that of the bucket before: the next fold goes on from there.

#include "budget.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { FINE = 289, COARSE = 721, BUDGET_MAGIC = 0x42554447 };
#define NS_PER_MIN (INT64_C(60) * 1000000000)
#define NS_PER_H   (60 * NS_PER_MIN)
#define NS_PER_DAY (24 * NS_PER_H)

struct ring {
  int64_t width_ns, origin_ns; // bucket i began at origin + i x width
  _Atomic uint64_t number;
};

struct budget {
  uint32_t magic, reserved;
  int64_t period_ns;
  struct budget_counts latest;
  struct ring fine, coarse;
  struct budget_counts fine_began[FINE], coarse_began[COARSE];
};

size_t budget_size(void)
{
  return sizeof(struct budget);
}

static int64_t coarse_width(int64_t period_ns)
{
  return period_ns <= 30 * NS_PER_DAY ? NS_PER_H : 3 * NS_PER_H;
}

static void ring_init(struct ring *ring, int64_t width_ns, int64_t now_ns)
{
  ring->width_ns = width_ns;
  ring->origin_ns = now_ns;
  atomic_store_explicit(&ring->number, 0, memory_order_relaxed);
}

void budget_init(struct budget *budget, int64_t period_ns, int64_t now_ns, uint64_t total, uint64_t bad)
{
  memset((void *)budget, 0, sizeof *budget);
  atomic_signal_fence(memory_order_seq_cst);
  budget->period_ns = period_ns;
  budget->latest = budget->fine_began[0] = budget->coarse_began[0] = (struct budget_counts){ total, bad };
  ring_init(&budget->fine, 5 * NS_PER_MIN, now_ns);
  ring_init(&budget->coarse, coarse_width(period_ns), now_ns);
  atomic_signal_fence(memory_order_seq_cst);
  budget->magic = BUDGET_MAGIC;
}

bool budget_valid(const struct budget *budget, int64_t period_ns)
{
  return budget->magic == BUDGET_MAGIC && budget->period_ns == period_ns && budget->fine.width_ns == 5 * NS_PER_MIN &&
         budget->coarse.width_ns == coarse_width(period_ns);
}

void budget_rebase(struct budget *budget, int64_t then_ns, int64_t now_ns)
{
  budget->fine.origin_ns += now_ns - then_ns;
  budget->coarse.origin_ns += now_ns - then_ns;
}

static void ring_fold(struct ring *ring, struct budget_counts *began, uint64_t size, int64_t now_ns,
                      struct budget_counts before)
{
  uint64_t number = atomic_load_explicit(&ring->number, memory_order_relaxed);
  int64_t current_ns = ring->origin_ns + (int64_t)number * ring->width_ns;
  if (now_ns < current_ns) { // time went back: the bucket begins again
    ring->origin_ns -= current_ns - now_ns;
    return;
  }
  uint64_t ahead = (uint64_t)((now_ns - current_ns) / ring->width_ns);
  uint64_t first = ahead > size ? ahead - size + 1 : 1; // older ones would be overwritten again
  for (uint64_t i = first; i <= ahead; i++) {
    began[(number + i) % size] = before;
    atomic_store_explicit(&ring->number, number + i, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
  }
}

void budget_fold(struct budget *budget, int64_t now_ns, uint64_t total, uint64_t bad)
{
  struct budget_counts before = budget->latest;
  ring_fold(&budget->fine, budget->fine_began, FINE, now_ns, before);
  ring_fold(&budget->coarse, budget->coarse_began, COARSE, now_ns, before);
  atomic_signal_fence(memory_order_seq_cst);
  budget->latest = (struct budget_counts){ total, bad };
}

// Buckets that have ended since the last fold count as part of the span.
static struct budget_counts ring_sum(const struct ring *ring, const struct budget_counts *began, uint64_t size,
                                     struct budget_counts latest, int64_t now_ns, int64_t span_ns)
{
  uint64_t number = atomic_load_explicit(&ring->number, memory_order_acquire);
  int64_t current_ns = ring->origin_ns + (int64_t)number * ring->width_ns;
  uint64_t passed = now_ns > current_ns ? (uint64_t)((now_ns - current_ns) / ring->width_ns) : 0;
  uint64_t buckets = (uint64_t)((span_ns + ring->width_ns - 1) / ring->width_ns);
  if (buckets == 0) buckets = 1;
  if (buckets > size - 1) buckets = size - 1;
  if (passed >= buckets) return (struct budget_counts){ 0 };
  uint64_t back = buckets - 1 - passed;
  if (back > number) back = number;
  struct budget_counts first = began[(number - back) % size];
  return (struct budget_counts){ latest.total - first.total, latest.bad - first.bad };
}

struct budget_counts budget_sum(const struct budget *budget, int64_t now_ns, int64_t span_ns)
{
  if (span_ns <= NS_PER_DAY) return ring_sum(&budget->fine, budget->fine_began, FINE, budget->latest, now_ns, span_ns);
  return ring_sum(&budget->coarse, budget->coarse_began, COARSE, budget->latest, now_ns, span_ns);
}

double budget_factor(double share, int64_t period_ns, int64_t window_ns)
{
  return share * (double)period_ns / (double)window_ns;
}

bool budget_over(struct budget_counts counts, double factor, double objective)
{
  return (double)counts.bad > factor * (1 - objective) * (double)counts.total;
}

double budget_burn(struct budget_counts counts, double objective)
{
  if (counts.total == 0) return -1;
  if (counts.bad == 0) return 0;
  return (double)counts.bad / (double)counts.total / (1 - objective);
}

double budget_left(struct budget_counts counts, double objective)
{
  return counts.bad == 0 ? 1 : 1 - budget_burn(counts, objective);
}

int64_t budget_detect_ns(double errors, double factor, double objective, int64_t window_ns)
{
  if (errors <= factor * (1 - objective)) return -1;
  return (int64_t)((double)window_ns * factor * (1 - objective) / errors);
}
