// One small breaker for each key (a tenant, a host), in a table of fixed size that invented keys cannot flush.
//
// A key is a 64-bit seeded hash; entries are claimed by compare-and-swap, probed linearly over a bounded distance. When
// no place is left, an entry makes room only if it is closed, has no failure in its window and nothing in flight: who
// invents keys evicts what is healthy, never what fails. When none can, unknown keys share one entry. What was not
// asked for ten minutes is forgotten. Windows are over calls (circuit.h), so an entry needs no stripe: 0.9 KB, some 50
// ns.
#ifndef NINES_CORE_KEYED_BREAKER_H
#define NINES_CORE_KEYED_BREAKER_H

#include <stddef.h>

#include "circuit.h"

enum { KEYED_BREAKER_MAX = 4096 };

struct keyed_breaker; // shared, in the arena; no pointers

size_t keyed_breaker_size(uint32_t keys);
size_t keyed_breaker_open_size(uint32_t keys); // of it, what those who ask write: at the end
extern const size_t keyed_breaker_apart_at;    // of apart.h, in the first part
// `fresh` memory is zeroed and of keyed_breaker_size(config->keys); `seed` keeps hashes unpredictable. A time window in
// the config is read as 100 calls. A table keeps the number of keys and the initial state it was made with.
int keyed_breaker_set(struct keyed_breaker *table, const nines_breaker_config *config, uint64_t seed, bool fresh,
                      int64_t now_ns, struct status *status);
bool keyed_breaker_valid(const struct keyed_breaker *table, uint32_t keys);
void keyed_breaker_rebase(struct keyed_breaker *table, int64_t then_ns, int64_t now_ns);
void keyed_breaker_orphan(struct keyed_breaker *table); // nobody is left who would end the calls under way
// [any]
nines_permit keyed_breaker_ask(struct keyed_breaker *table, const void *key, size_t size, int64_t now_ns,
                               uint64_t *random);
enum circuit_told keyed_breaker_done(struct keyed_breaker *table, nines_permit permit, int outcome, int64_t now_ns,
                                     uint64_t *random);
static inline bool keyed_breaker_permit(nines_permit permit) // was it given by a table?
{
  return permit.token >> CIRCUIT_TOKEN_FREE_SHIFT != 0;
}
void keyed_breaker_fold(struct keyed_breaker *table, int64_t now_ns, uint64_t *random);
struct keyed_breaker_usage {
  uint32_t keys, keys_max, open; // in use; size; open now
  uint64_t evicted, crowded;     // since the start: made room; calls that had to share the last entry
  uint64_t refused;
};
struct keyed_breaker_usage keyed_breaker_usage(const struct keyed_breaker *table); // [any]
// [any] The state of a key; -1 when it has no entry.
int keyed_breaker_state(const struct keyed_breaker *table, const void *key, size_t size);

#endif
