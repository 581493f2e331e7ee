// The order of three stores keeps keys apart when an entry changes hands: the life word (a tag, and calls in flight)
// says so first, then the key, then the circuit begins a new generation. A call counts itself in, asks, and only then
// looks at the key again: had the entry been given away, it would see it. A permit of the former key is of another tag,
// so it does not count down the new key's calls, and of another generation, so its result is late.
//
// Two threads may enter the same key at once, by evicting two entries: the first in probe order is found from then on,
// the other is healthy and makes room like any. Entries are never empty again, so a search may end at an empty one.
//
// Windows over calls do not age, so keys that failed once and are never asked for again would fill the table: the fold
// forgets an entry that was not asked for IDLE_NS (and, while open, until that long after its time).
#include "keyed_breaker.h"

#include <string.h>

#include "apart.h"
#include "circuit_probe.h"
#include "rng.h"

enum { KEYED_MAGIC = 0x4b455931, PROBE_MAX = 16, ATTEMPTS = 4, SWEEP_BEATS = 20, CALLS = 100 };
enum { TAG_BITS = 9, INDEX_BITS = 13 }; // of a permit, from CIRCUIT_TOKEN_FREE_SHIFT on: entry plus one, tag
#define TAG_MASK ((1u << TAG_BITS) - 1)
#define IDLE_NS  (600 * INT64_C(1000000000))
#define NS_PER_S INT64_C(1000000000)

struct entry {
  _Atomic uint64_t key;  // its hash; 0: empty
  _Atomic uint64_t life; // tag in the upper half, calls in flight in the lower
  _Atomic int64_t seen_s;
  struct circuit circuit;
};

struct keyed_breaker {
  _Atomic uint32_t magic; // written last when fresh
  uint32_t keys;
  uint64_t seed;
  int32_t initial_state;
  uint32_t sweep; // by the fold: where it goes on
  struct circuit_rule rule;
  struct apart apart; // of the entries
};

struct keyed_open {
  _Alignas(64) _Atomic uint64_t evicted, crowded, refused;
  struct entry entry[]; // keys of them, and one that crowded keys share
};

static inline struct keyed_open *open_of(const struct keyed_breaker *table)
{
  return apart_at(&table->apart);
}

static uint64_t load(const _Atomic uint64_t *word)
{
  return atomic_load_explicit(word, memory_order_seq_cst);
}

static bool swap(_Atomic uint64_t *word, uint64_t expected, uint64_t wanted)
{
  return atomic_compare_exchange_strong_explicit(word, &expected, wanted, memory_order_seq_cst, memory_order_seq_cst);
}

static void count(_Atomic uint64_t *counter)
{
  atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

// ---- SipHash-1-3 (Aumasson and Bernstein, 2012): invented keys cannot aim at an entry

struct sip {
  uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t x, int by)
{
  return x << by | x >> (64 - by);
}

static inline void sip_round(struct sip *v)
{
  v->a += v->b;
  v->c += v->d;
  v->b = rotate(v->b, 13) ^ v->a;
  v->d = rotate(v->d, 16) ^ v->c;
  v->a = rotate(v->a, 32);
  v->c += v->b;
  v->a += v->d;
  v->b = rotate(v->b, 17) ^ v->c;
  v->d = rotate(v->d, 21) ^ v->a;
  v->c = rotate(v->c, 32);
}

static uint64_t key_of(const struct keyed_breaker *table, const void *data, size_t size)
{
  uint64_t k0 = table->seed, k1 = (table->seed ^ UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
  struct sip v = { k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                   k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573) };
  const unsigned char *bytes = data;
  for (size_t left = size;; left -= 8, bytes += 8) {
    uint64_t m = 0;
    memcpy(&m, bytes, left < 8 ? left : 8);
    if (left < 8) m |= (uint64_t)size << 56;
    v.d ^= m;
    sip_round(&v);
    v.a ^= m;
    if (left < 8) break;
  }
  v.c ^= 0xff;
  for (int i = 0; i < 3; i++) sip_round(&v);
  uint64_t hash = v.a ^ v.b ^ v.c ^ v.d;
  return hash ? hash : 1;
}

// ---- Entries

static uint32_t probe_length(const struct keyed_breaker *table)
{
  return table->keys < PROBE_MAX ? table->keys : PROBE_MAX;
}

static uint32_t place(const struct keyed_breaker *table, uint64_t key, uint32_t step)
{
  uint32_t home = (uint32_t)((key >> 32) * table->keys >> 32), index = home + step;
  return index < table->keys ? index : index - table->keys;
}

static bool is_healthy(const struct keyed_breaker *table, const struct entry *entry)
{
  uint64_t word = circuit_load(&entry->circuit);
  int state = circuit_word_state(word);
  if (state == NINES_BREAKER_OPEN || state == NINES_BREAKER_HALF_OPEN) return false;
  if (state == NINES_BREAKER_CLOSED && circuit_word_until_ns(word) != 0) return false; // a ramp
  if ((uint32_t)atomic_load_explicit(&entry->circuit.in_a_row, memory_order_relaxed)) return false;
  struct tally window = circuit_window(&entry->circuit, &table->rule);
  return window.bad == 0 && window.slow == 0;
}

// Takes a healthy entry with nothing in flight for another key. False: not to be had, or another thread was first.
static bool evict(struct keyed_breaker *table, struct entry *entry, uint64_t key, int64_t now_ns)
{
  uint64_t life = load(&entry->life);
  if ((uint32_t)life != 0 || !is_healthy(table, entry)) return false;
  if (!swap(&entry->life, life, ((life >> 32) + 1) << 32)) return false;
  atomic_store_explicit(&entry->key, key, memory_order_seq_cst);
  circuit_put(&entry->circuit, &table->rule, table->initial_state, 0, now_ns);
  count(&open_of(table)->evicted);
  return true;
}

// The key's entry, made if need be; the shared one when there is no room.
static uint32_t find(struct keyed_breaker *table, uint64_t key, int64_t now_ns)
{
  uint32_t length = probe_length(table), oldest = table->keys;
  for (uint32_t step = 0; step < length; step++) {
    uint32_t index = place(table, key, step);
    struct entry *entry = &open_of(table)->entry[index];
    uint64_t held = load(&entry->key);
    if (held == 0 && swap(&entry->key, 0, key)) return index;
    if (held == 0) held = load(&entry->key);
    if (held == key) return index;
  }
  for (uint32_t step = 0; step < length; step++) { // the one not asked for longest among those that may go
    uint32_t index = place(table, key, step);
    struct entry *entry = &open_of(table)->entry[index];
    if ((uint32_t)load(&entry->life) != 0 || !is_healthy(table, entry)) continue;
    if (oldest == table->keys || atomic_load_explicit(&entry->seen_s, memory_order_relaxed) <
                                     atomic_load_explicit(&open_of(table)->entry[oldest].seen_s, memory_order_relaxed))
      oldest = index;
  }
  if (oldest != table->keys && evict(table, &open_of(table)->entry[oldest], key, now_ns)) return oldest;
  return table->keys;
}

// ---- Calls

static void leave(struct entry *entry, uint32_t tag)
{
  uint64_t life = load(&entry->life);
  while (((life >> 32) & TAG_MASK) == tag && (uint32_t)life != 0)
    if (atomic_compare_exchange_weak_explicit(&entry->life, &life, life - 1, memory_order_seq_cst,
                                              memory_order_seq_cst))
      return;
}

static nines_permit ask_entry(struct keyed_breaker *table, uint32_t index, uint64_t key, int64_t now_ns,
                              uint64_t *random, bool *gone)
{
  struct entry *entry = &open_of(table)->entry[index];
  int64_t now_s = now_ns / NS_PER_S;
  if (atomic_load_explicit(&entry->seen_s, memory_order_relaxed) != now_s)
    atomic_store_explicit(&entry->seen_s, now_s, memory_order_relaxed);
  uint64_t life = atomic_fetch_add_explicit(&entry->life, 1, memory_order_seq_cst);
  uint32_t tag = (uint32_t)(life >> 32) & TAG_MASK;
  nines_permit permit = circuit_ask(&entry->circuit, &table->rule, now_ns, random);
  *gone = index != table->keys && load(&entry->key) != key;
  if (*gone || !nines_permitted(permit)) leave(entry, tag);
  if (*gone) { // a probe's slot must not stay leased
    circuit_tell(&entry->circuit, &table->rule, permit, NINES_IGNORED, false, now_ns, random);
    return (nines_permit){ now_ns, 0 };
  }
  if (nines_permitted(permit))
    permit.token |= (uint64_t)(index + 1) << CIRCUIT_TOKEN_FREE_SHIFT | (uint64_t)tag
                                                                            << (CIRCUIT_TOKEN_FREE_SHIFT + INDEX_BITS);
  return permit;
}

nines_permit keyed_breaker_ask(struct keyed_breaker *table, const void *key, size_t size, int64_t now_ns,
                               uint64_t *random)
{
  uint64_t hash = key_of(table, key, size);
  nines_permit permit = { now_ns, 0 };
  bool gone = true;
  for (int i = 0; gone && i < ATTEMPTS; i++) {
    uint32_t index = i < ATTEMPTS - 1 ? find(table, hash, now_ns) : table->keys;
    if (index == table->keys) count(&open_of(table)->crowded);
    permit = ask_entry(table, index, hash, now_ns, random, &gone);
  }
  if (!nines_permitted(permit)) count(&open_of(table)->refused);
  return permit;
}

enum circuit_told keyed_breaker_done(struct keyed_breaker *table, nines_permit permit, int outcome, int64_t now_ns,
                                     uint64_t *random)
{
  uint32_t index = (uint32_t)(permit.token >> CIRCUIT_TOKEN_FREE_SHIFT) & ((1u << INDEX_BITS) - 1);
  if (!nines_permitted(permit) || index == 0 || index > table->keys + 1) return CIRCUIT_UNSEEN;
  struct entry *entry = &open_of(table)->entry[index - 1];
  int64_t took_ns = (int64_t)((uint64_t)now_ns - (uint64_t)permit.at_ns); // wraps: a permit's time is the caller's word
  bool slow = took_ns > atomic_load_explicit(&table->rule.slow_ns, memory_order_relaxed);
  enum circuit_told told = circuit_tell(&entry->circuit, &table->rule, permit, outcome, slow, now_ns, random);
  leave(entry, (uint32_t)(permit.token >> (CIRCUIT_TOKEN_FREE_SHIFT + INDEX_BITS)) & TAG_MASK);
  return told;
}

// ---- The fold

static void forget_idle(struct keyed_breaker *table, struct entry *entry, int64_t now_ns)
{
  int64_t seen_s = atomic_load_explicit(&entry->seen_s, memory_order_relaxed), seen_ns;
  uint64_t word = circuit_load(&entry->circuit), life = load(&entry->life);
  if (__builtin_mul_overflow(seen_s, NS_PER_S, &seen_ns)) seen_ns = 0; // damaged: not asked for since the start
  if (circuit_word_state(word) == NINES_BREAKER_OPEN && circuit_word_until_ns(word) > seen_ns)
    seen_ns = circuit_word_until_ns(word);
  if ((int64_t)((uint64_t)now_ns - (uint64_t)seen_ns) < IDLE_NS || ((uint32_t)life == 0 && is_healthy(table, entry)))
    return;
  if (swap(&entry->life, life, ((life >> 32) + 1) << 32))
    circuit_put(&entry->circuit, &table->rule, table->initial_state, 0, now_ns);
}

// Whatever is not plainly closed each beat; all in a second.
void keyed_breaker_fold(struct keyed_breaker *table, int64_t now_ns, uint64_t *random)
{
  for (uint32_t i = 0; i <= table->keys; i++) {
    struct circuit *circuit = &open_of(table)->entry[i].circuit;
    if (circuit_word_state(circuit_load(circuit)) != NINES_BREAKER_CLOSED)
      circuit_fold(circuit, &table->rule, now_ns, random);
  }
  uint32_t all = table->keys + 1;
  for (uint32_t n = (all + SWEEP_BEATS - 1) / SWEEP_BEATS; n > 0; n--) {
    table->sweep = table->sweep + 1 < all ? table->sweep + 1 : 0;
    struct entry *entry = &open_of(table)->entry[table->sweep];
    circuit_fold(&entry->circuit, &table->rule, now_ns, random);
    forget_idle(table, entry, now_ns);
  }
}

// ---- Set up and readings

static size_t own_at(void)
{
  return (sizeof(struct keyed_breaker) + _Alignof(struct keyed_open) - 1) & ~(_Alignof(struct keyed_open) - 1);
}

size_t keyed_breaker_size(uint32_t keys)
{
  return own_at() + keyed_breaker_open_size(keys);
}

size_t keyed_breaker_open_size(uint32_t keys)
{
  return sizeof(struct keyed_open) + ((size_t)keys + 1) * sizeof(struct entry);
}

const size_t keyed_breaker_apart_at = offsetof(struct keyed_breaker, apart);

int keyed_breaker_set(struct keyed_breaker *table, const nines_breaker_config *config, uint64_t seed, bool fresh,
                      int64_t now_ns, struct status *status)
{
  nines_breaker_config c = { 0 };
  memcpy(&c, config, config->size < sizeof c ? config->size : sizeof c);
  if (c.keys == 0 || c.keys > KEYED_BREAKER_MAX)
    return status_set(status, NINES_EINVAL, "keys is %u: 1 to %d is allowed", c.keys, KEYED_BREAKER_MAX);
  if (!fresh && c.keys != table->keys)
    return status_set(status, NINES_EINVAL,
                      "keys is %u, but the table was made for %u: it keeps its size until the next start", c.keys,
                      table->keys);
  if (c.window_calls == 0) c.window_calls = CALLS;
  int code = circuit_rule_set(&table->rule, &c, status);
  if (code || !fresh) return code;
  apart_default(&table->apart, (char *)table + own_at());
  table->keys = c.keys;
  table->seed = seed;
  table->initial_state = c.initial_state;
  for (uint32_t i = 0; i <= c.keys; i++)
    circuit_init(&open_of(table)->entry[i].circuit, &table->rule, c.initial_state, now_ns);
  atomic_store_explicit(&table->magic, KEYED_MAGIC, memory_order_release);
  return 0;
}

bool keyed_breaker_valid(const struct keyed_breaker *table, uint32_t keys)
{
  if (atomic_load_explicit(&table->magic, memory_order_acquire) != KEYED_MAGIC || table->keys != keys) return false;
  if (table->initial_state < NINES_BREAKER_CLOSED || table->initial_state > NINES_BREAKER_METRICS_ONLY) return false;
  for (uint32_t i = 0; i <= keys; i++)
    if (!circuit_valid(&open_of(table)->entry[i].circuit)) return false;
  return keys > 0 && keys <= KEYED_BREAKER_MAX;
}

void keyed_breaker_orphan(struct keyed_breaker *table)
{
  for (uint32_t i = 0; i <= table->keys; i++) {
    struct entry *entry = &open_of(table)->entry[i];
    // A tag further on: should somebody be left after all, his permit is of another life.
    atomic_store_explicit(&entry->life, ((load(&entry->life) >> 32) + 1) << 32, memory_order_seq_cst);
    circuit_probe_orphan(&entry->circuit);
  }
}

void keyed_breaker_rebase(struct keyed_breaker *table, int64_t then_ns, int64_t now_ns)
{
  for (uint32_t i = 0; i <= table->keys; i++) {
    struct entry *entry = &open_of(table)->entry[i];
    int64_t seen_s = atomic_load_explicit(&entry->seen_s, memory_order_relaxed);
    seen_s = (int64_t)((uint64_t)seen_s + (uint64_t)((now_ns - then_ns) / NS_PER_S)); // wraps: others may write it
    atomic_store_explicit(&entry->seen_s, seen_s, memory_order_relaxed);
    circuit_rebase(&entry->circuit, then_ns, now_ns);
  }
}

struct keyed_breaker_usage keyed_breaker_usage(const struct keyed_breaker *table)
{
  struct keyed_breaker_usage usage = { .keys_max = table->keys,
                                       .evicted = load(&open_of(table)->evicted),
                                       .crowded = load(&open_of(table)->crowded),
                                       .refused = load(&open_of(table)->refused) };
  for (uint32_t i = 0; i <= table->keys; i++) {
    if (i < table->keys && load(&open_of(table)->entry[i].key) != 0) usage.keys++;
    int state = circuit_word_state(circuit_load(&open_of(table)->entry[i].circuit));
    usage.open += state == NINES_BREAKER_OPEN || state == NINES_BREAKER_FORCED_OPEN;
  }
  return usage;
}

int keyed_breaker_state(const struct keyed_breaker *table, const void *key, size_t size)
{
  uint64_t hash = key_of(table, key, size);
  for (uint32_t step = 0; step < probe_length(table); step++) {
    const struct entry *entry = &open_of(table)->entry[place(table, hash, step)];
    if (load(&entry->key) == hash) return circuit_word_state(circuit_load(&entry->circuit));
  }
  return -1;
}
