// The budget as one sum over stripes, asked before it is spent.
//
// A window of calls and retries says what is left without a bucket that many writers would fight over: calls are far
// more than retries, so they pay one plain store, and whoever wants to retry pays for the sum. What is spent leaves the
// window with the calls that earned it, so no credit is ever hoarded.
#include "retry.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "rng.h"

#define NS_PER_S  INT64_C(1000000000)
#define UNBOUNDED UINT32_MAX // of budget_ppm
enum { PPM = 1000000, ATTEMPTS_MAX = 1000, FACTOR_MAX = 1000 };
static const int64_t wait_most_ns = 24 * 3600 * NS_PER_S, budget_most_ns = 3600 * NS_PER_S;
static const int64_t slice_least_ns = NS_PER_S / STRIPE_SLICES, slice_most_ns = 3600 * NS_PER_S / STRIPE_SLICES;
static const double budget_most = 1000, floor_most = 1e6; // percent; a second

static int64_t load_ns(const _Atomic int64_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}
static uint32_t load32(const _Atomic uint32_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static struct stripe *stripe_of(const struct retry_view *view, uint32_t writer)
{
  return atomic_load_explicit(&view->stripes[writer], memory_order_acquire);
}

// A stripe's total is of everything counted; here it becomes that of the calls.
static struct tally calls_of(struct tally tally)
{
  uint64_t others = tally.bad + tally.slow;
  tally.total = tally.total > others ? tally.total - others : 0;
  return tally;
}

// ---- Settings ----

static int check_duration(const char *field, int64_t value_ns, int64_t least_ns, int64_t most_ns, struct status *status)
{
  if (value_ns == 0 || (value_ns >= least_ns && value_ns <= most_ns)) return 0;
  return status_set(status, NINES_EINVAL, "%s is %" PRId64 ", must be %" PRId64 " to %" PRId64 "; 0: the default",
                    field, value_ns, least_ns, most_ns);
}

static int check_number(const char *field, double value, double least, double most, struct status *status)
{
  if (value == 0 || (value >= least && value <= most)) return 0;
  return status_set(status, NINES_EINVAL, "%s is %g, must be %g to %g; 0: the default", field, value, least, most);
}

static int check(const nines_retry_config *given, struct status *status)
{
  if (given->attempts > ATTEMPTS_MAX)
    return status_set(status, NINES_EINVAL, "attempts is %" PRIu32 ", must be 1 to %d; 0: 3", given->attempts,
                      ATTEMPTS_MAX);
  if (!(given->jitter <= 1))
    return status_set(status, NINES_EINVAL, "jitter is %g, must be above 0 to 1; 0: 0.5; negative: none",
                      given->jitter);
  if (!(given->budget <= budget_most))
    return status_set(status, NINES_EINVAL, "budget is %g, must be above 0 to %g percent; 0: 20; negative: no budget",
                      given->budget, budget_most);
  if (!(given->budget_floor <= floor_most))
    return status_set(status, NINES_EINVAL, "budget_floor is %g, must be above 0 to %g a second; 0: 1; negative: none",
                      given->budget_floor, floor_most);
  int failed = check_duration("wait_ns", given->wait_ns, 1, wait_most_ns, status);
  if (!failed) failed = check_duration("wait_max_ns", given->wait_max_ns, 1, wait_most_ns, status);
  if (!failed) failed = check_number("factor", given->factor, 1, FACTOR_MAX, status);
  if (!failed) failed = check_duration("budget_ns", given->budget_ns, NS_PER_S, budget_most_ns, status);
  if (!failed) failed = check_duration("hedge_ns", given->hedge_ns, 1, wait_most_ns, status);
  return failed;
}

static double or_default(double value, double standard) // negative: nothing of it
{
  return value < 0 ? 0 : value > 0 ? value : standard;
}

int retry_set(struct retry *retry, const nines_retry_config *config, bool fresh, struct status *status)
{
  nines_retry_config given = { 0 };
  if (!config && !fresh) return 0;
  if (config) {
    if (config->size < sizeof config->size)
      return status_set(status, NINES_EINVAL, "size is %zu, must be sizeof(nines_retry_config)", config->size);
    memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  }
  int failed = check(&given, status);
  if (failed) return failed;
  int64_t slice_ns = (given.budget_ns ? given.budget_ns : 10 * NS_PER_S) / STRIPE_SLICES;
  double seconds = (double)slice_ns * STRIPE_SLICES / (double)NS_PER_S;
  uint64_t floor_ppm = (uint64_t)llround(or_default(given.budget_floor, 1) * seconds * PPM);
  uint32_t budget_ppm = given.budget < 0 ? UNBOUNDED : (uint32_t)lround(or_default(given.budget, 20) / 100 * PPM);
  atomic_store_explicit(&retry->slice_ns, slice_ns, memory_order_relaxed);
  atomic_store_explicit(&retry->floor_ppm, floor_ppm, memory_order_relaxed);
  atomic_store_explicit(&retry->budget_ppm, budget_ppm, memory_order_relaxed);
  atomic_store_explicit(&retry->attempts, given.attempts ? given.attempts : 3, memory_order_relaxed);
  atomic_store_explicit(&retry->wait_ns, given.wait_ns ? given.wait_ns : NS_PER_S / 2, memory_order_relaxed);
  atomic_store_explicit(&retry->wait_max_ns, given.wait_max_ns ? given.wait_max_ns : 10 * NS_PER_S,
                        memory_order_relaxed);
  atomic_store_explicit(&retry->hedge_ns, given.hedge_ns, memory_order_relaxed);
  atomic_store_explicit(&retry->factor_milli, (uint32_t)lround(or_default(given.factor, 2) * 1000),
                        memory_order_relaxed);
  atomic_store_explicit(&retry->jitter_ppm, (uint32_t)lround(or_default(given.jitter, 0.5) * PPM),
                        memory_order_relaxed);
  return 0;
}

bool retry_valid(const struct retry *retry)
{
  int64_t slice_ns = load_ns(&retry->slice_ns), wait_ns = load_ns(&retry->wait_ns);
  int64_t wait_max_ns = load_ns(&retry->wait_max_ns), hedge_ns = load_ns(&retry->hedge_ns);
  uint32_t attempts = load32(&retry->attempts), factor = load32(&retry->factor_milli);
  uint32_t budget_ppm = load32(&retry->budget_ppm);
  return slice_ns >= slice_least_ns && slice_ns <= slice_most_ns && wait_ns > 0 && wait_ns <= wait_most_ns &&
         wait_max_ns > 0 && wait_max_ns <= wait_most_ns && hedge_ns >= 0 && hedge_ns <= wait_most_ns && attempts > 0 &&
         attempts <= ATTEMPTS_MAX && factor >= 1000 && factor <= FACTOR_MAX * 1000 &&
         load32(&retry->jitter_ppm) <= PPM && (budget_ppm == UNBOUNDED || budget_ppm <= budget_most / 100 * PPM) &&
         (double)atomic_load_explicit(&retry->floor_ppm, memory_order_relaxed) <= floor_most * 3600 * PPM;
}

void retry_rebase(const struct retry_view *view, int64_t then_ns, int64_t now_ns)
{
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct stripe *stripe = stripe_of(view, i);
    if (stripe) stripe_rebase(stripe, then_ns, now_ns);
  }
}

// ---- The budget ----

static void count(const struct retry_view *view, uint32_t writer, bool retry, bool denied, int64_t now_ns)
{
  struct stripe *stripe = stripe_of(view, writer);
  if (writer == WRITER_SHARED) {
    stripe_add_shared(stripe, retry, denied);
    return;
  }
  stripe_keep(stripe, load_ns(&view->retry->slice_ns), now_ns);
  stripe_add(stripe, retry, denied, now_ns);
}

void retry_call(const struct retry_view *view, uint32_t writer, int64_t now_ns)
{
  count(view, writer, false, false, now_ns);
}

// What is left, in millionths of a retry.
static int64_t left_ppm(const struct retry_view *view, int64_t now_ns)
{
  struct tally sum = { 0 };
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct stripe *stripe = stripe_of(view, i);
    if (stripe) sum = tally_add(sum, calls_of(stripe_sum(stripe, 0, now_ns)));
  }
  uint64_t earned = sum.total * load32(&view->retry->budget_ppm) +
                    atomic_load_explicit(&view->retry->floor_ppm, memory_order_relaxed);
  return (int64_t)(earned - sum.bad * PPM);
}

static bool spend(const struct retry_view *view, uint32_t writer, int64_t now_ns)
{
  bool granted = load32(&view->retry->budget_ppm) == UNBOUNDED || left_ppm(view, now_ns) >= PPM;
  count(view, writer, granted, !granted, now_ns);
  return granted;
}

double retry_budget(const struct retry_view *view, int64_t now_ns)
{
  if (load32(&view->retry->budget_ppm) == UNBOUNDED) return INFINITY;
  int64_t left = left_ppm(view, now_ns);
  return left > 0 ? (double)left / PPM : 0;
}

// ---- Retries and hedges ----

static int64_t draw_wait(const struct retry *retry, uint32_t attempt, uint64_t *random)
{
  double length = (double)load_ns(&retry->wait_ns) * pow(load32(&retry->factor_milli) / 1000.0, attempt - 1.0);
  double jitter = load32(&retry->jitter_ppm) / (double)PPM;
  double unit = rng_quick(random) * (1 / 4294967296.0);
  double wait = fmin(length, (double)load_ns(&retry->wait_max_ns)) * (1 - jitter + 2 * jitter * unit);
  return wait >= 0 && wait <= 2.0 * (double)wait_most_ns ? (int64_t)wait : 0; // else the memory is damaged
}

int64_t retry_next(const struct retry_view *view, uint32_t writer, uint32_t attempt, int64_t now_ns, uint64_t *random)
{
  if (attempt == 0) attempt = 1;
  if (attempt >= load32(&view->retry->attempts)) return NINES_RETRY_NO_ATTEMPT;
  if (!spend(view, writer, now_ns)) return NINES_RETRY_NO_BUDGET;
  return draw_wait(view->retry, attempt, random);
}

int64_t retry_hedge(const struct retry_view *view, uint32_t writer, int64_t began_ns, int64_t now_ns)
{
  int64_t hedge_ns = load_ns(&view->retry->hedge_ns);
  if (hedge_ns <= 0) return 0;
  int64_t wait_ns = began_ns + hedge_ns - now_ns;
  if (wait_ns > 0) return wait_ns > 1 ? wait_ns : 2; // 1 says yes
  return spend(view, writer, now_ns) ? 1 : 0;
}

void retry_fold(const struct retry_view *view, int64_t now_ns)
{
  struct stripe *shared = stripe_of(view, WRITER_SHARED);
  if (!shared) return;
  stripe_keep(shared, load_ns(&view->retry->slice_ns), now_ns);
  stripe_turn(shared, now_ns);
}

struct tally retry_total(const struct retry_view *view)
{
  struct tally sum = { 0 };
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct stripe *stripe = stripe_of(view, i);
    if (stripe) sum = tally_add(sum, calls_of(stripe_total(stripe)));
  }
  return sum;
}
