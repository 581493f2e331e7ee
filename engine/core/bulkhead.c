// Why it is never over the limit: of all who are inside at some moment, look at the one whose addition came last in the
// single order of sequentially consistent operations. The others had added before and had not left, so each was counted
// in its cell all the while this one added the cells up; had they been too many, it would have found so.
//
// This needs cells that never count too few: who leaves subtracts where the permit was counted, and never below zero,
// so that a permit given back twice or after its writer was forgotten does not lend a place to two.
#include "bulkhead.h"

#include <string.h>

#define NS_PER_MS  INT64_C(1000000)
#define NS_PER_DAY (86400 * 1000 * NS_PER_MS)
enum { LIMIT_MAX = 1000000, QUEUE_MAX = 1000000 };

// A refused permit is no debt: its token is 0. Others name the cell.
static nines_permit permit_of(uint32_t writer, int64_t now_ns)
{
  return (nines_permit){ now_ns, (uint64_t)writer + 1 };
}

static inline struct bulkhead_open *open_of(const struct bulkhead *bulkhead)
{
  return apart_at(&bulkhead->apart);
}

static bool is_owned(const struct bulkhead *bulkhead)
{
  return atomic_load_explicit(&bulkhead->owner, memory_order_relaxed) != 0;
}

// Who adds to a cell has counted it among `cells` before, so whoever comes later in the order sees it.
static inline uint64_t sum_of(const struct bulkhead *bulkhead)
{
  uint32_t cells = atomic_load_explicit(&open_of(bulkhead)->cells, memory_order_seq_cst);
  uint64_t sum = 0;
  if (cells > WRITERS_MAX) cells = WRITERS_MAX; // damaged
  for (uint32_t i = 0; i < cells; i++) sum += atomic_load_explicit(&open_of(bulkhead)->held[i], memory_order_seq_cst);
  return sum;
}

static __attribute__((noinline, cold)) void cells_grow(struct bulkhead *bulkhead, uint32_t wanted)
{
  uint32_t cells = atomic_load_explicit(&open_of(bulkhead)->cells, memory_order_seq_cst);
  while (cells < wanted && !atomic_compare_exchange_weak_explicit(&open_of(bulkhead)->cells, &cells, wanted,
                                                                  memory_order_seq_cst, memory_order_seq_cst)) {
  }
}

// Takes one from the cell, unless it is empty.
static void take_back(_Atomic uint32_t *cell)
{
  uint32_t held = atomic_load_explicit(cell, memory_order_relaxed);
  while (held > 0 &&
         !atomic_compare_exchange_weak_explicit(cell, &held, held - 1, memory_order_seq_cst, memory_order_relaxed)) {
  }
}

nines_permit bulkhead_try(struct bulkhead *bulkhead, uint32_t writer, int64_t now_ns)
{
  // The owner has one cell whatever its number is, which may change as engines come and go.
  if (is_owned(bulkhead)) writer = WRITER_LOOP;
  if (__builtin_expect(writer >= atomic_load_explicit(&open_of(bulkhead)->cells, memory_order_relaxed), 0))
    cells_grow(bulkhead, writer + 1);
  _Atomic uint32_t *cell = &open_of(bulkhead)->held[writer];
  if (is_owned(bulkhead)) {
    uint32_t held = atomic_load_explicit(cell, memory_order_relaxed);
    if (held >= bulkhead_limit(bulkhead)) return (nines_permit){ now_ns, 0 };
    atomic_store_explicit(cell, held + 1, memory_order_relaxed);
    return permit_of(writer, now_ns);
  }
  if (sum_of(bulkhead) >= bulkhead_limit(bulkhead)) return (nines_permit){ now_ns, 0 }; // full: no write, no contention
  atomic_fetch_add_explicit(cell, 1, memory_order_seq_cst);
  if (sum_of(bulkhead) <= bulkhead_limit(bulkhead)) return permit_of(writer, now_ns);
  take_back(cell);
  return (nines_permit){ now_ns, 0 };
}

nines_permit bulkhead_enter(struct bulkhead *bulkhead, uint32_t writer, int64_t now_ns)
{
  nines_permit permit = bulkhead_try(bulkhead, writer, now_ns);
  if (__builtin_expect(nines_permitted(permit), 1)) return permit;
  if (is_owned(bulkhead))
    atomic_store_explicit(&open_of(bulkhead)->refused,
                          atomic_load_explicit(&open_of(bulkhead)->refused, memory_order_relaxed) + 1,
                          memory_order_relaxed);
  else
    atomic_fetch_add_explicit(&open_of(bulkhead)->refused, 1, memory_order_relaxed);
  return permit;
}

void bulkhead_leave(struct bulkhead *bulkhead, nines_permit permit)
{
  if (permit.token == 0 || permit.token > WRITERS_MAX) return;
  _Atomic uint32_t *cell = &open_of(bulkhead)->held[permit.token - 1];
  if (!is_owned(bulkhead)) {
    take_back(cell);
    return;
  }
  uint32_t held = atomic_load_explicit(cell, memory_order_relaxed);
  if (held > 0) atomic_store_explicit(cell, held - 1, memory_order_relaxed);
}

uint32_t bulkhead_inside(const struct bulkhead *bulkhead)
{
  uint64_t sum = sum_of(bulkhead);
  return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

uint64_t bulkhead_refused(const struct bulkhead *bulkhead)
{
  return atomic_load_explicit(&open_of(bulkhead)->refused, memory_order_relaxed);
}

void bulkhead_forget(struct bulkhead *bulkhead, uint32_t writers)
{
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++)
    if (writers >> writer & 1) atomic_store_explicit(&open_of(bulkhead)->held[writer], 0, memory_order_seq_cst);
}

// Defaults for zeros.
static nines_bulkhead_config config_read(const nines_bulkhead_config *config)
{
  nines_bulkhead_config given = { 0 };
  memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  if (given.concurrent_max == 0) given.concurrent_max = 25;
  if (given.wait_max_ns == 0) given.wait_max_ns = 100 * NS_PER_MS;
  if (given.codel_target_ns == 0) given.codel_target_ns = 5 * NS_PER_MS;
  if (given.codel_interval_ns == 0) given.codel_interval_ns = 100 * NS_PER_MS;
  return given;
}

static int time_check(const char *name, int64_t value_ns, struct status *status)
{
  if (value_ns >= 1 && value_ns <= NS_PER_DAY) return 0;
  return status_set(status, NINES_EINVAL, "%s is %lld, must be between 1 and %lld (a day)", name, (long long)value_ns,
                    (long long)NS_PER_DAY);
}

static int config_check(const nines_bulkhead_config *config, struct status *status)
{
  if (config->concurrent_max > LIMIT_MAX)
    return status_set(status, NINES_EINVAL, "concurrent_max is %u, must be between 1 and %d", config->concurrent_max,
                      LIMIT_MAX);
  if (config->queue_max > QUEUE_MAX)
    return status_set(status, NINES_EINVAL, "queue_max is %u, must be between 0 and %d", config->queue_max, QUEUE_MAX);
  int code = time_check("wait_max_ns", config->wait_max_ns, status);
  if (code == 0) code = time_check("codel_target_ns", config->codel_target_ns, status);
  if (code == 0) code = time_check("codel_interval_ns", config->codel_interval_ns, status);
  if (code != 0) return code;
  if (config->owner != 0 && config->owner != 1)
    return status_set(status, NINES_EINVAL, "owner is %d, must be 0 or 1", config->owner);
  return 0;
}

int bulkhead_set(struct bulkhead *bulkhead, const nines_bulkhead_config *config, bool fresh, int64_t now_ns,
                 struct status *status)
{
  (void)now_ns;
  nines_bulkhead_config given = config_read(config);
  int code = config_check(&given, status);
  if (code != 0) return code;
  if (fresh) apart_default(&bulkhead->apart, &bulkhead->own);
  atomic_store_explicit(&bulkhead->owner, (uint32_t)given.owner, memory_order_relaxed);
  atomic_store_explicit(&bulkhead->queue_max, given.queue_max, memory_order_relaxed);
  atomic_store_explicit(&bulkhead->wait_max_ns, given.wait_max_ns, memory_order_relaxed);
  atomic_store_explicit(&bulkhead->codel_target_ns, given.codel_target_ns, memory_order_relaxed);
  atomic_store_explicit(&bulkhead->codel_interval_ns, given.codel_interval_ns, memory_order_relaxed);
  bulkhead_resize(bulkhead, given.concurrent_max);
  return 0;
}

static bool time_valid(const _Atomic int64_t *value_ns)
{
  int64_t value = atomic_load_explicit(value_ns, memory_order_relaxed);
  return value >= 1 && value <= NS_PER_DAY;
}

bool bulkhead_valid(const struct bulkhead *bulkhead)
{
  for (uint32_t i = 0; i < WRITERS_MAX; i++)
    if (atomic_load_explicit(&open_of(bulkhead)->held[i], memory_order_relaxed) > 2 * LIMIT_MAX) return false;
  uint32_t limit = bulkhead_limit(bulkhead);
  return limit >= 1 && limit <= LIMIT_MAX && atomic_load_explicit(&bulkhead->owner, memory_order_relaxed) <= 1 &&
         atomic_load_explicit(&bulkhead->queue_max, memory_order_relaxed) <= QUEUE_MAX &&
         time_valid(&bulkhead->wait_max_ns) && time_valid(&bulkhead->codel_target_ns) &&
         time_valid(&bulkhead->codel_interval_ns);
}
