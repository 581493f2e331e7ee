// The protections of the gateway, by nines.h. Each is some nanoseconds and no system call.

#include "guards.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

// The inventory has 8 workers: a queue of four times as many is 100 ms of work, and room for what is important.
enum { INVENTORY_AT_ONCE = 40, PAYMENTS_AT_ONCE = 64, SEARCHES_A_SECOND = 100 };

int guards_open(struct guards *guards, nines_arena *arena)
{
  static const char *const name[DEPENDENCIES] = { "inventory", "payments" };
  static const uint32_t at_once[DEPENDENCIES] = { INVENTORY_AT_ONCE, PAYMENTS_AT_ONCE };
  *guards = (struct guards){ 0 };
  // No throttle: the breakers answer an outage, and it would go on refusing checkouts for seconds after one.
  nines_shedder_config door = { .size = sizeof door, .retry_after_ns = NS_PER_S, .throttle_k = -1 };
  nines_limiter_config search = { .size = sizeof search, .rate = SEARCHES_A_SECOND, .burst = 20 };
  nines_retry_config retry = { .size = sizeof retry, .attempts = 2, .wait_ns = 20 * NS_PER_MS, .budget = 10 };
  int code = nines_shedder_get(arena, "door", &door, &guards->door);
  if (code == 0) code = nines_limiter_get(arena, "search", &search, &guards->search);
  if (code == 0) code = nines_retry_get(arena, "inventory", &retry, &guards->retry);
  for (int on = 0; on < DEPENDENCIES && code == 0; on++) {
    nines_breaker_config breaker = { .size = sizeof breaker, .open_ns = 5 * NS_PER_S, .failure_rate = 60 };
    nines_bulkhead_config bulkhead = { .size = sizeof bulkhead, .concurrent_max = at_once[on] };
    code = nines_breaker_get(arena, name[on], &breaker, &guards->breaker[on]);
    if (code == 0) code = nines_bulkhead_get(arena, name[on], &bulkhead, &guards->bulkhead[on]);
  }
  return code;
}

nines_permit guards_admit(struct guards *guards, int criticality, bool searches, int64_t now_ns, int *status,
                          int64_t *retry_after_ns)
{
  int64_t wait_ns = searches ? nines_limiter_ask(guards->search, 1, now_ns) : 0;
  if (wait_ns < 0) {
    guards->refused[BY_LIMITER]++;
    *status = 429;
    *retry_after_ns = -wait_ns;
    return (nines_permit){ 0, 0 };
  }
  double inside = nines_bulkhead_inside(guards->bulkhead[INVENTORY]);
  uint32_t limit = nines_bulkhead_limit(guards->bulkhead[INVENTORY]); // a policy may have set another
  nines_shedder_load(guards->door, inside / (limit ? limit : 1));
  nines_permit permit = nines_shedder_ask(guards->door, criticality, now_ns);
  if (!nines_permitted(permit)) {
    guards->refused[BY_SHEDDER]++;
    *status = 503;
    *retry_after_ns = permit.at_ns - now_ns;
  }
  return permit;
}

void guards_leave(struct guards *guards, nines_permit permit, bool ok, int64_t now_ns)
{
  nines_shedder_done(guards->door, permit, ok ? NINES_SUCCESS : NINES_FAILURE, now_ns);
}

bool guards_call(struct guards *guards, enum dependency on, int64_t now_ns, struct passage *passage,
                 int64_t *retry_after_ns)
{
  passage->breaker = nines_breaker_ask(guards->breaker[on], now_ns);
  if (!nines_permitted(passage->breaker)) {
    guards->refused[BY_BREAKER]++;
    *retry_after_ns = passage->breaker.at_ns - now_ns;
    return false;
  }
  passage->bulkhead = nines_bulkhead_enter(guards->bulkhead[on], now_ns);
  if (nines_permitted(passage->bulkhead)) return true;
  nines_breaker_done(guards->breaker[on], passage->breaker, NINES_IGNORED, now_ns); // it was never asked
  guards->refused[BY_BULKHEAD]++;
  *retry_after_ns = passage->bulkhead.at_ns - now_ns;
  return false;
}

void guards_return(struct guards *guards, enum dependency on, struct passage passage, bool ok, int64_t now_ns)
{
  nines_bulkhead_leave(guards->bulkhead[on], passage.bulkhead, now_ns);
  nines_breaker_done(guards->breaker[on], passage.breaker, ok ? NINES_SUCCESS : NINES_FAILURE, now_ns);
}

int64_t guards_again_ms(struct guards *guards, unsigned attempt, int64_t now_ns)
{
  int64_t wait_ns = nines_retry_next(guards->retry, attempt, now_ns);
  if (wait_ns < 0) return -1;
  guards->retries++;
  return wait_ns / NS_PER_MS;
}
