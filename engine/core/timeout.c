// The settings of a timeout: one word, so that a change is seen whole or not at all.
//
// What is asked on the request path is in the header; nothing here is ever called from there.
#include "timeout.h"

#include <inttypes.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)
static const int64_t limit_max_ns = 24 * 3600 * NS_PER_S;

int timeout_set(struct timeout *timeout, const nines_timeout_config *config, bool fresh, struct status *status)
{
  nines_timeout_config given = { 0 };
  if (!config && !fresh) return 0;
  if (config) {
    if (config->size < sizeof config->size)
      return status_set(status, NINES_EINVAL, "size is %zu, must be sizeof(nines_timeout_config)", config->size);
    memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  }
  if (given.limit_ns < 0 || given.limit_ns > limit_max_ns)
    return status_set(status, NINES_EINVAL, "limit_ns is %" PRId64 ", must be 1 to %" PRId64 " (a day); 0: 1 s",
                      given.limit_ns, limit_max_ns);
  if (fresh) apart_default(&timeout->apart, &timeout->own);
  atomic_store_explicit(&timeout->limit_ns, given.limit_ns ? given.limit_ns : NS_PER_S, memory_order_relaxed);
  return 0;
}

bool timeout_valid(const struct timeout *timeout)
{
  int64_t limit_ns = atomic_load_explicit(&timeout->limit_ns, memory_order_relaxed);
  return limit_ns > 0 && limit_ns <= limit_max_ns;
}
