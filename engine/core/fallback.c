// A bulkhead and a window.
//
// A call that began in one slice may fall back in a later one, so the window can hold more fallbacks than calls; the
// share is then all of them. The window's span is fixed: what it is for is a figure on a screen and in a rule.
#include "fallback.h"

#include <string.h>

#define SLICE_NS INT64_C(1000000000) // of the window of 10 s
enum { CONCURRENT_DEFAULT = 10 };

static struct stripe *stripe_of(const struct fallback_view *view, uint32_t writer)
{
  return atomic_load_explicit(&view->stripes[writer], memory_order_acquire);
}

int fallback_set(struct fallback *fallback, const nines_fallback_config *config, bool fresh, int64_t now_ns,
                 struct status *status)
{
  nines_fallback_config given = { 0 };
  if (!config && !fresh) return 0;
  if (config) {
    if (config->size < sizeof config->size)
      return status_set(status, NINES_EINVAL, "size is %zu, must be sizeof(nines_fallback_config)", config->size);
    memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  }
  const nines_bulkhead_config bulkhead = {
    .size = sizeof bulkhead,
    .concurrent_max = given.concurrent_max ? given.concurrent_max : CONCURRENT_DEFAULT,
  };
  return bulkhead_set(&fallback->bulkhead, &bulkhead, fresh, now_ns, status);
}

bool fallback_valid(const struct fallback *fallback)
{
  return bulkhead_valid(&fallback->bulkhead);
}

void fallback_rebase(const struct fallback_view *view, int64_t then_ns, int64_t now_ns)
{
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct stripe *stripe = stripe_of(view, i);
    if (stripe) stripe_rebase(stripe, then_ns, now_ns);
  }
}

// A stripe's total is of everything counted; here it becomes that of the calls.
static struct tally calls_of(struct tally tally)
{
  uint64_t others = tally.bad + tally.slow;
  tally.total = tally.total > others ? tally.total - others : 0;
  return tally;
}

static void count(const struct fallback_view *view, uint32_t writer, bool served, bool refused, int64_t now_ns)
{
  struct stripe *stripe = stripe_of(view, writer);
  if (writer == WRITER_SHARED) {
    stripe_add_shared(stripe, served, refused);
    return;
  }
  stripe_keep(stripe, SLICE_NS, now_ns);
  stripe_add(stripe, served, refused, now_ns);
}

void fallback_call(const struct fallback_view *view, uint32_t writer, int64_t now_ns)
{
  count(view, writer, false, false, now_ns);
}

nines_permit fallback_enter(const struct fallback_view *view, uint32_t writer, uint32_t cell, int64_t now_ns)
{
  nines_permit permit = bulkhead_enter(&view->fallback->bulkhead, cell, now_ns);
  count(view, writer, nines_permitted(permit), !nines_permitted(permit), now_ns);
  return permit;
}

void fallback_leave(const struct fallback_view *view, nines_permit permit)
{
  bulkhead_leave(&view->fallback->bulkhead, permit);
}

void fallback_fold(const struct fallback_view *view, int64_t now_ns)
{
  struct stripe *shared = stripe_of(view, WRITER_SHARED);
  if (!shared) return;
  stripe_keep(shared, SLICE_NS, now_ns);
  stripe_turn(shared, now_ns);
}

double fallback_share(const struct fallback_view *view, int64_t now_ns)
{
  struct tally sum = { 0 };
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct stripe *stripe = stripe_of(view, i);
    if (stripe) sum = tally_add(sum, calls_of(stripe_sum(stripe, 0, now_ns)));
  }
  if (sum.total == 0 && sum.bad == 0) return -1;
  return sum.bad < sum.total ? (double)sum.bad / (double)sum.total * 100 : 100;
}

struct tally fallback_total(const struct fallback_view *view)
{
  struct tally sum = { 0 };
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct stripe *stripe = stripe_of(view, i);
    if (stripe) sum = tally_add(sum, calls_of(stripe_total(stripe)));
  }
  return sum;
}
