// What protects the gateway and what is behind it: where a request may be turned away, and why.
//
//   door       a shedder: when the inventory is nearly full, the least important are refused first
//   search     a limiter: searching is cheap to ask for and dear to answer
//   inventory  a breaker (stop asking what fails), a bulkhead (so many at once), a retry with a budget
//   payments   a breaker and a bulkhead; a payment is never repeated
// Settings are here; a policy of the project that declares the same name outranks them, while the shop runs.
#ifndef SHOP_GUARDS_H
#define SHOP_GUARDS_H

#include <stdbool.h>

#include <nines.h>

enum dependency { INVENTORY, PAYMENTS, DEPENDENCIES };
enum refusal { BY_SHEDDER, BY_LIMITER, BY_BULKHEAD, BY_BREAKER, REFUSALS };

struct guards {
  nines_shedder *door;
  nines_limiter *search;
  nines_retry *retry;
  nines_breaker *breaker[DEPENDENCIES];
  nines_bulkhead *bulkhead[DEPENDENCIES];
  unsigned refused[REFUSALS], retries; // for the shop's own report
};

// A call of a dependency under way.
struct passage {
  nines_permit breaker, bulkhead;
};

// 0, or a negative code with the sentence in nines_arena_errmsg.
int guards_open(struct guards *guards, nines_arena *arena);
// At the door. Refused: `retry_after_ns` says when to come again, and `status` how to say it (503; 429: the limiter).
nines_permit guards_admit(struct guards *guards, int criticality, bool searches, int64_t now_ns, int *status,
                          int64_t *retry_after_ns);
void guards_leave(struct guards *guards, nines_permit permit, bool ok, int64_t now_ns);
// Around each call of a dependency. False: not now, and `retry_after_ns` says when.
bool guards_call(struct guards *guards, enum dependency on, int64_t now_ns, struct passage *passage,
                 int64_t *retry_after_ns);
void guards_return(struct guards *guards, enum dependency on, struct passage passage, bool ok, int64_t now_ns);
// After attempt number `attempt` of an idempotent call failed: ms to wait before the next; negative: no more.
int64_t guards_again_ms(struct guards *guards, unsigned attempt, int64_t now_ns);

#endif
