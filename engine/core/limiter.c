// GCRA with differences only: the word and now are unsigned ticks, what counts is how far the one is ahead of the
// other, so nothing overflows whatever another process leaves in the arena.
//
// Costs are rounded up to a tick, waits up to a ns: rounding never grants more. The bound with pacing: a call begins at
// max(now, word after it - burst), so its word is at most a burst ahead of its begin; the costs granted in a span add
// up to the way of the word, which began no earlier than the span (a cost is at most the burst) and ended at most a
// burst after it. With one owner the word is loaded and stored plainly; otherwise a compare-and-swap that fails means
// that another got through.
#include "limiter.h"

#include <math.h>
#include <string.h>

#define NS_PER_S   INT64_C(1000000000)
#define NS_PER_DAY (86400 * NS_PER_S)
#define TICKS_MAX  0x1p60
enum { DAYS_MAX = 30, COLD_FACTOR_MAX = 20 };

static inline struct limiter_open *open_of(const struct limiter *limiter)
{
  return apart_at(&limiter->apart);
}

static inline uint64_t ticks_at(const struct limiter *limiter, int64_t now_ns)
{
  int64_t origin_ns = atomic_load_explicit(&limiter->origin_ns, memory_order_relaxed);
  return ((uint64_t)now_ns - (uint64_t)origin_ns) * LIMITER_TICKS_PER_NS;
}

static inline int64_t ticks_ceil(double ticks)
{
  if (!(ticks < TICKS_MAX)) return (int64_t)TICKS_MAX;
  int64_t whole = (int64_t)ticks;
  return whole + ((double)whole < ticks);
}

static inline int64_t ns_ceil(int64_t ticks)
{
  return (ticks - 1) / LIMITER_TICKS_PER_NS + 1; // of at least one tick
}

static inline int64_t ahead_of(uint64_t arrival, uint64_t now)
{
  int64_t ahead = (int64_t)(arrival - now);
  return ahead > 0 ? ahead : 0;
}

static void count_refusal(struct limiter *limiter)
{
  if (atomic_load_explicit(&limiter->owner, memory_order_relaxed))
    atomic_store_explicit(&open_of(limiter)->refused,
                          atomic_load_explicit(&open_of(limiter)->refused, memory_order_relaxed) + 1,
                          memory_order_relaxed);
  else
    atomic_fetch_add_explicit(&open_of(limiter)->refused, 1, memory_order_relaxed);
}

// How many times its full-rate price a call costs now. A pause begins when all is earned back; one as long as the
// warm-up ends in a cold start, which two threads may both note: at almost the same time.
static double coldness(struct limiter *limiter, int64_t warm_up, uint64_t arrival, uint64_t now)
{
  if ((int64_t)(now - arrival) >= warm_up)
    atomic_store_explicit(&open_of(limiter)->cold_since, now, memory_order_relaxed);
  int64_t age = (int64_t)(now - atomic_load_explicit(&open_of(limiter)->cold_since, memory_order_relaxed));
  if (age >= warm_up) return 1;
  if (age < 0) age = 0;
  double cold = 1 / atomic_load_explicit(&limiter->cold_factor, memory_order_relaxed);
  return 1 / (cold + (1 - cold) * (double)age / (double)warm_up);
}

static bool move_arrival(struct limiter *limiter, uint64_t *from, uint64_t to)
{
  if (!atomic_load_explicit(&limiter->owner, memory_order_relaxed))
    return atomic_compare_exchange_weak_explicit(&open_of(limiter)->arrival, from, to, memory_order_relaxed,
                                                 memory_order_relaxed);
  atomic_store_explicit(&open_of(limiter)->arrival, to, memory_order_relaxed);
  return true;
}

int64_t limiter_ask(struct limiter *limiter, double cost, int64_t now_ns)
{
  if (__builtin_expect(!(cost >= 0 && cost <= atomic_load_explicit(&limiter->burst, memory_order_relaxed)), 0)) {
    count_refusal(limiter);
    return INT64_MIN;
  }
  uint64_t now = ticks_at(limiter, now_ns);
  double exact = cost * atomic_load_explicit(&limiter->interval, memory_order_relaxed);
  int64_t price = ticks_ceil(exact);
  int64_t burst = atomic_load_explicit(&limiter->burst_ticks, memory_order_relaxed);
  int64_t warm_up = atomic_load_explicit(&limiter->warm_up_ticks, memory_order_relaxed);
  uint64_t arrival = atomic_load_explicit(&open_of(limiter)->arrival, memory_order_relaxed);
  for (;;) {
    int64_t ahead = ahead_of(arrival, now);
    int64_t wait = (int64_t)((uint64_t)ahead + (uint64_t)price - (uint64_t)burst);
    int64_t over =
        (int64_t)((uint64_t)wait - (uint64_t)atomic_load_explicit(&limiter->wait_max_ticks, memory_order_relaxed));
    if (over > 0) {
      count_refusal(limiter);
      return -ns_ceil(over);
    }
    int64_t charge = warm_up ? ticks_ceil(exact * coldness(limiter, warm_up, arrival, now)) : price;
    if (move_arrival(limiter, &arrival, now + (uint64_t)ahead + (uint64_t)charge)) return wait > 0 ? ns_ceil(wait) : 0;
  }
}

double limiter_available(const struct limiter *limiter, int64_t now_ns)
{
  double interval = atomic_load_explicit(&limiter->interval, memory_order_relaxed);
  int64_t burst = atomic_load_explicit(&limiter->burst_ticks, memory_order_relaxed);
  uint64_t arrival = atomic_load_explicit(&open_of(limiter)->arrival, memory_order_relaxed);
  double left = (double)burst - (double)ahead_of(arrival, ticks_at(limiter, now_ns));
  return left > 0 && interval > 0 ? fmin(left / interval, atomic_load_explicit(&limiter->burst, memory_order_relaxed))
                                  : 0;
}

void limiter_drain(struct limiter *limiter, int64_t now_ns)
{
  uint64_t now = ticks_at(limiter, now_ns);
  int64_t burst = atomic_load_explicit(&limiter->burst_ticks, memory_order_relaxed);
  uint64_t arrival = atomic_load_explicit(&open_of(limiter)->arrival, memory_order_relaxed);
  while (ahead_of(arrival, now) < burst && !move_arrival(limiter, &arrival, now + (uint64_t)burst)) {
  }
}

uint64_t limiter_refused(const struct limiter *limiter)
{
  return atomic_load_explicit(&open_of(limiter)->refused, memory_order_relaxed);
}

// Defaults for zeros.
static nines_limiter_config config_read(const nines_limiter_config *config)
{
  nines_limiter_config given = { 0 };
  memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  if (given.per_ns == 0) given.per_ns = NS_PER_S;
  if (given.burst == 0) given.burst = fmax(given.rate, 1);
  if (given.cold_factor == 0) given.cold_factor = 3;
  return given;
}

static int config_check(const nines_limiter_config *config, struct status *status)
{
  if (!(config->rate > 0) || !isfinite(config->rate))
    return status_set(status, NINES_EINVAL, "rate is %g, must be above 0: so many calls in per_ns", config->rate);
  if (config->per_ns < 1 || config->per_ns > DAYS_MAX * NS_PER_DAY)
    return status_set(status, NINES_EINVAL, "per_ns is %lld, must be between 1 and %lld (%d days)",
                      (long long)config->per_ns, (long long)(DAYS_MAX * NS_PER_DAY), DAYS_MAX);
  double interval_ns = (double)config->per_ns / config->rate;
  if (interval_ns < 1)
    return status_set(status, NINES_EINVAL, "rate is %g in per_ns %lld, must be at most one in a nanosecond",
                      config->rate, (long long)config->per_ns);
  if (!(config->burst >= 1 && config->burst * interval_ns <= (double)(DAYS_MAX * NS_PER_DAY)))
    return status_set(status, NINES_EINVAL, "burst is %g, must be between 1 and what the rate earns in %d days (%g)",
                      config->burst, DAYS_MAX, (double)(DAYS_MAX * NS_PER_DAY) / interval_ns);
  if (config->wait_max_ns < 0 || config->wait_max_ns > NS_PER_DAY)
    return status_set(status, NINES_EINVAL, "wait_max_ns is %lld, must be between 0 and %lld (a day)",
                      (long long)config->wait_max_ns, (long long)NS_PER_DAY);
  if (config->warm_up_ns < 0 || config->warm_up_ns > NS_PER_DAY)
    return status_set(status, NINES_EINVAL, "warm_up_ns is %lld, must be between 0 and %lld (a day)",
                      (long long)config->warm_up_ns, (long long)NS_PER_DAY);
  if (!(config->cold_factor >= 1 && config->cold_factor <= COLD_FACTOR_MAX))
    return status_set(status, NINES_EINVAL, "cold_factor is %g, must be between 1 and %d", config->cold_factor,
                      COLD_FACTOR_MAX);
  if (config->owner != 0 && config->owner != 1)
    return status_set(status, NINES_EINVAL, "owner is %d, must be 0 or 1", config->owner);
  return 0;
}

// The debt is a number of calls: at another rate they take another time. An owner that asks right now may overwrite
// this: then its debt counts at the new rate as many ns as at the old one.
static void scale_debt(struct limiter *limiter, double interval, int64_t now_ns)
{
  double old = atomic_load_explicit(&limiter->interval, memory_order_relaxed);
  uint64_t now = ticks_at(limiter, now_ns);
  uint64_t arrival = atomic_load_explicit(&open_of(limiter)->arrival, memory_order_relaxed);
  int64_t ahead;
  do {
    ahead = ahead_of(arrival, now);
  } while (ahead > 0 && !move_arrival(limiter, &arrival, now + (uint64_t)ticks_ceil((double)ahead * (interval / old))));
}

int limiter_set(struct limiter *limiter, const nines_limiter_config *config, bool fresh, int64_t now_ns,
                struct status *status)
{
  nines_limiter_config given = config_read(config);
  int code = config_check(&given, status);
  if (code != 0) return code;
  double interval = (double)given.per_ns * LIMITER_TICKS_PER_NS / given.rate;
  if (fresh) apart_default(&limiter->apart, &limiter->own);
  if (fresh)
    atomic_store_explicit(&limiter->origin_ns, now_ns, memory_order_relaxed);
  else if (interval != atomic_load_explicit(&limiter->interval, memory_order_relaxed))
    scale_debt(limiter, interval, now_ns);
  atomic_store_explicit(&limiter->owner, (uint32_t)given.owner, memory_order_relaxed);
  atomic_store_explicit(&limiter->interval, interval, memory_order_relaxed);
  atomic_store_explicit(&limiter->burst_ticks, ticks_ceil(given.burst * interval), memory_order_relaxed);
  atomic_store_explicit(&limiter->wait_max_ticks, given.wait_max_ns * LIMITER_TICKS_PER_NS, memory_order_relaxed);
  atomic_store_explicit(&limiter->warm_up_ticks, given.warm_up_ns * LIMITER_TICKS_PER_NS, memory_order_relaxed);
  atomic_store_explicit(&limiter->cold_factor, given.cold_factor, memory_order_relaxed);
  atomic_store_explicit(&limiter->burst, given.burst, memory_order_release);
  return 0;
}

bool limiter_valid(const struct limiter *limiter)
{
  double interval = atomic_load_explicit(&limiter->interval, memory_order_relaxed);
  double burst = atomic_load_explicit(&limiter->burst, memory_order_relaxed);
  double cold_factor = atomic_load_explicit(&limiter->cold_factor, memory_order_relaxed);
  int64_t wait_max = atomic_load_explicit(&limiter->wait_max_ticks, memory_order_relaxed);
  int64_t warm_up = atomic_load_explicit(&limiter->warm_up_ticks, memory_order_relaxed);
  int64_t day = NS_PER_DAY * LIMITER_TICKS_PER_NS;
  return interval >= LIMITER_TICKS_PER_NS && burst >= 1 && interval * burst <= (double)DAYS_MAX * (double)day &&
         atomic_load_explicit(&limiter->burst_ticks, memory_order_relaxed) == ticks_ceil(burst * interval) &&
         wait_max >= 0 && wait_max <= day && warm_up >= 0 && warm_up <= day && cold_factor >= 1 &&
         cold_factor <= COLD_FACTOR_MAX && atomic_load_explicit(&limiter->owner, memory_order_relaxed) <= 1;
}

void limiter_rebase(struct limiter *limiter, int64_t then_ns, int64_t now_ns)
{
  int64_t origin_ns = atomic_load_explicit(&limiter->origin_ns, memory_order_relaxed);
  atomic_store_explicit(&limiter->origin_ns, (int64_t)((uint64_t)origin_ns + (uint64_t)now_ns - (uint64_t)then_ns),
                        memory_order_relaxed);
  // No honest arrival is further ahead than a burst and a wait (a clock that was wrong, a damaged word): else nothing
  // would be granted for as long.
  uint64_t now = ticks_at(limiter, now_ns);
  int64_t most = atomic_load_explicit(&limiter->burst_ticks, memory_order_relaxed) +
                 atomic_load_explicit(&limiter->wait_max_ticks, memory_order_relaxed);
  if (ahead_of(atomic_load_explicit(&open_of(limiter)->arrival, memory_order_relaxed), now) > most)
    atomic_store_explicit(&open_of(limiter)->arrival, now + (uint64_t)most, memory_order_relaxed);
  // Nor did a cold start begin in the future: calls would cost the cold price until then.
  if (ahead_of(atomic_load_explicit(&open_of(limiter)->cold_since, memory_order_relaxed), now) > 0)
    atomic_store_explicit(&open_of(limiter)->cold_since, now, memory_order_relaxed);
}
