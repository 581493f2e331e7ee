// Series: slots in one block, found through an open-addressing index, written by one thread and read by any.
//
// Readers take no lock and never stop the writer. A slot's numbers exist twice: the writer fills the copy that is not
// current and then makes it so, hence a writer that is preempted in the middle leaves a readable slot behind. A slot's
// key changes only when the slot is reused, and `generation` is odd meanwhile. Key bytes are kept in atomic words in
// blocks that live as long as the table, so that a late reader reads stale bytes at worst and then notices. Data is
// stored with release and loaded with acquire, which costs nothing on x86 and needs no fences.
#include "series.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "check.h"
#include "hash.h"
#include "mem.h"

enum { REGISTERS = 256, TRIES_MAX = 100, SCAN_PAUSE_NS = 100000000 };

struct key_block {
  struct key_block *next;
  uint32_t capacity; // words
  _Atomic uint64_t word[];
};

struct numbers {
  _Atomic double value, count, min, max;
  _Atomic int64_t last_ns;
};

struct series {
  _Alignas(64) struct numbers copy[2];
  _Atomic uint32_t version;    // copy[version & 1] is current
  _Atomic uint32_t generation; // odd while the key changes; 0: never used
  _Atomic uint32_t shape;      // type, size of the name, size of the tags
  uint32_t hash;               // of the key; the writer's
  _Atomic(struct key_block *) key;
  _Atomic(_Atomic uint8_t *) registers; // sets only
};

struct series_table {
  struct series *slots; // aligned, in memory
  void *memory;
  _Atomic uint64_t *index; // high 32 bits: of the hash; low: slot + 1; 0: free
  uint32_t mask;
  uint32_t limit;
  int64_t time_to_live_ns;
  _Atomic uint32_t count;
  _Atomic uint32_t index_version; // odd while an entry is taken out
  _Atomic uint64_t dropped, conflicts;
  struct key_block *blocks;
  uint32_t hand;        // where the search for an idle slot goes on
  int64_t next_scan_ns; // no slot can be idle before
};

#define LOAD(place)         atomic_load_explicit(&(place), memory_order_acquire)
#define STORE(place, value) atomic_store_explicit(&(place), (value), memory_order_release)

static uint32_t shape_pack(enum series_type type, size_t name_size, size_t tags_size)
{
  return (uint32_t)type << 24 | (uint32_t)name_size << 16 | (uint32_t)tags_size;
}
static enum series_type shape_type(uint32_t shape)
{
  return (enum series_type)(shape >> 24);
}
static size_t shape_name_size(uint32_t shape)
{
  return shape >> 16 & 0xff;
}
static size_t shape_tags_size(uint32_t shape)
{
  return shape & 0xffff;
}

static uint64_t mix(uint64_t x) // the finaliser of splitmix64
{
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
  return x ^ x >> 31;
}

static uint32_t key_hash(struct view name, struct view tags)
{
  uint64_t hash = hash_add(hash_add(HASH_START, name.data, name.size), "{", 1);
  return (uint32_t)mix(hash_add(hash, tags.data, tags.size));
}

struct series_table *series_open(uint32_t limit, int64_t time_to_live_ns)
{
  CHECK(limit > 0 && limit <= 1u << 24);
  uint32_t size = 16;
  while (size < 2 * limit) size *= 2;
  struct series_table *table = mem_zalloc(sizeof *table);
  if (table == NULL) return NULL;
  table->memory = mem_zalloc((size_t)limit * sizeof(struct series) + 64);
  table->index = mem_zalloc(size * sizeof *table->index);
  if (table->memory == NULL || table->index == NULL) {
    mem_free(table->memory);
    mem_free((void *)table->index);
    mem_free(table);
    return NULL;
  }
  table->slots = (struct series *)(((uintptr_t)table->memory + 63) & ~(uintptr_t)63);
  table->mask = size - 1;
  table->limit = limit;
  table->time_to_live_ns = time_to_live_ns;
  return table;
}

void series_close(struct series_table *table)
{
  if (table == NULL) return;
  for (uint32_t i = 0; i < table->count; i++) mem_free((void *)table->slots[i].registers);
  while (table->blocks != NULL) {
    struct key_block *next = table->blocks->next;
    mem_free(table->blocks);
    table->blocks = next;
  }
  mem_free(table->memory);
  mem_free((void *)table->index);
  mem_free(table);
}

static void count_one(_Atomic uint64_t *counter)
{
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static struct numbers *numbers_current(const struct series *series)
{
  return (struct numbers *)&series->copy[series->version & 1];
}

// Fills the copy that is not current, and makes it so.
static void numbers_publish(struct series *series, double value, double count, double min, double max, int64_t last_ns)
{
  uint32_t version = atomic_load_explicit(&series->version, memory_order_relaxed) + 1;
  struct numbers *next = &series->copy[version & 1];
  STORE(next->value, value);
  STORE(next->count, count);
  STORE(next->min, min);
  STORE(next->max, max);
  STORE(next->last_ns, last_ns);
  STORE(series->version, version);
}

static bool key_is(const struct series *series, struct view name, struct view tags)
{
  uint32_t shape = series->shape;
  if (shape_name_size(shape) != name.size || shape_tags_size(shape) != tags.size) return false;
  const char *key = (const char *)series->key->word; // the writer compares its own stores
  return memcmp(key, name.data, name.size) == 0 &&
         (tags.size == 0 || memcmp(key + name.size, tags.data, tags.size) == 0);
}

static bool key_store(struct series_table *table, struct series *series, struct view name, struct view tags)
{
  uint64_t words[(SERIES_NAME_MAX + SERIES_TAGS_MAX + 7) / 8];
  size_t size = name.size + tags.size;
  uint32_t count = (uint32_t)((size + 7) / 8);
  struct key_block *block = series->key;
  if (block == NULL || block->capacity < count) {
    uint32_t capacity = 8; // doubling, so that a slot's outgrown blocks are never more than its last one
    while (capacity < count) capacity *= 2;
    block = mem_zalloc(sizeof *block + capacity * sizeof block->word[0]);
    if (block == NULL) return false;
    block->capacity = capacity;
    block->next = table->blocks;
    table->blocks = block;
  }
  words[count > 0 ? count - 1 : 0] = 0;
  memcpy(words, name.data, name.size);
  if (tags.size > 0) memcpy((char *)words + name.size, tags.data, tags.size);
  for (uint32_t i = 0; i < count; i++) STORE(block->word[i], words[i]);
  STORE(series->key, block);
  return true;
}

// A slot's new life: key, type and empty numbers. False: out of memory, the slot is as it was.
static bool slot_begin(struct series_table *table, struct series *series, struct view name, struct view tags,
                       enum series_type type, int64_t now_ns)
{
  _Atomic uint8_t *registers = series->registers;
  if (type == SERIES_SET && registers == NULL) {
    registers = mem_zalloc(REGISTERS);
    if (registers == NULL) return false;
    STORE(series->registers, registers);
  }
  uint32_t generation = series->generation;
  STORE(series->generation, generation + 1);
  bool done = key_store(table, series, name, tags);
  if (done) {
    for (int i = 0; registers != NULL && i < REGISTERS; i++) STORE(registers[i], 0);
    STORE(series->shape, shape_pack(type, name.size, tags.size));
    numbers_publish(series, 0, 0, INFINITY, -INFINITY, now_ns);
  }
  STORE(series->generation, done ? generation + 2 : generation);
  return done;
}

static void index_add(struct series_table *table, uint32_t hash, uint32_t slot)
{
  uint32_t at = hash & table->mask;
  while (table->index[at] != 0) at = (at + 1) & table->mask;
  STORE(table->index[at], (uint64_t)hash << 32 | (slot + 1));
}

// Linear probing without tombstones: entries after the hole move up (Knuth 6.4, algorithm R).
static void index_remove(struct series_table *table, uint32_t hash, uint32_t slot)
{
  uint32_t hole = hash & table->mask;
  while ((uint32_t)table->index[hole] != slot + 1) hole = (hole + 1) & table->mask;
  uint32_t version = table->index_version;
  STORE(table->index_version, version + 1);
  for (uint32_t at = (hole + 1) & table->mask; table->index[at] != 0; at = (at + 1) & table->mask) {
    uint32_t home = (uint32_t)(table->index[at] >> 32) & table->mask;
    if (((at - home) & table->mask) < ((at - hole) & table->mask)) continue;
    STORE(table->index[hole], table->index[at]);
    hole = at;
  }
  STORE(table->index[hole], 0);
  STORE(table->index_version, version + 2);
}

static bool slot_idle(const struct series_table *table, const struct series *series, int64_t now_ns)
{
  return now_ns - numbers_current(series)->last_ns >= table->time_to_live_ns;
}

// The next idle slot of a full table, out of the index; NULL when all live. A vain search is not repeated before a slot
// can have become idle, nor at once, so that a flood of new keys costs no more than their own lookups.
static struct series *slot_reclaim(struct series_table *table, int64_t now_ns)
{
  if (now_ns < table->next_scan_ns) return NULL;
  int64_t oldest_ns = now_ns;
  for (uint32_t i = 0; i < table->limit; i++) {
    uint32_t at = table->hand;
    table->hand = at + 1 == table->limit ? 0 : at + 1;
    struct series *series = &table->slots[at];
    if (slot_idle(table, series, now_ns)) {
      index_remove(table, series->hash, at);
      return series;
    }
    int64_t last_ns = numbers_current(series)->last_ns;
    if (last_ns < oldest_ns) oldest_ns = last_ns;
  }
  table->next_scan_ns = oldest_ns + table->time_to_live_ns;
  if (table->next_scan_ns < now_ns + SCAN_PAUSE_NS) table->next_scan_ns = now_ns + SCAN_PAUSE_NS;
  return NULL;
}

static struct series *series_create(struct series_table *table, struct view name, struct view tags,
                                    enum series_type type, uint32_t hash, int64_t now_ns)
{
  bool fresh = table->count < table->limit;
  struct series *series = fresh ? &table->slots[table->count] : slot_reclaim(table, now_ns);
  if (series == NULL) {
    count_one(&table->dropped);
    return NULL;
  }
  uint32_t slot = (uint32_t)(series - table->slots);
  if (!slot_begin(table, series, name, tags, type, now_ns)) {
    if (!fresh) index_add(table, series->hash, slot);
    count_one(&table->dropped);
    return NULL;
  }
  series->hash = hash;
  if (fresh) STORE(table->count, table->count + 1);
  index_add(table, hash, slot);
  return series;
}

struct series *series_get(struct series_table *table, struct view name, struct view tags, enum series_type type,
                          int64_t now_ns)
{
  if (name.size == 0 || name.size > SERIES_NAME_MAX || tags.size > SERIES_TAGS_MAX) {
    count_one(&table->dropped);
    return NULL;
  }
  uint32_t hash = key_hash(name, tags);
  for (uint32_t at = hash & table->mask; table->index[at] != 0; at = (at + 1) & table->mask) {
    uint64_t entry = table->index[at];
    if (entry >> 32 != hash) continue;
    struct series *series = &table->slots[(uint32_t)entry - 1];
    if (!key_is(series, name, tags)) continue;
    if (shape_type(series->shape) == type) return series;
    if (slot_idle(table, series, now_ns) && slot_begin(table, series, name, tags, type, now_ns)) return series;
    count_one(&table->conflicts);
    return NULL;
  }
  return series_create(table, name, tags, type, hash, now_ns);
}

uint32_t series_generation(const struct series *series)
{
  return atomic_load_explicit(&series->generation, memory_order_relaxed);
}

void series_add(struct series *series, double amount, double weight, int64_t now_ns)
{
  const struct numbers *now = numbers_current(series);
  double min = now->min, max = now->max;
  if (amount < min) min = amount;
  if (amount > max) max = amount;
  double sum = now->value + amount * weight;
  numbers_publish(series, isfinite(sum) ? sum : now->value, now->count + weight, min, max, now_ns);
}

void series_set(struct series *series, double value, bool relative, int64_t now_ns)
{
  const struct numbers *now = numbers_current(series);
  double next = relative ? now->value + value : value;
  if (!isfinite(next)) next = now->value;
  double min = now->min, max = now->max;
  if (next < min) min = next;
  if (next > max) max = next;
  numbers_publish(series, next, now->count + 1, min, max, now_ns);
}

void series_insert(struct series *series, uint64_t member_hash, int64_t now_ns)
{
  uint64_t hash = mix(member_hash);
  uint8_t rank = (uint8_t)(__builtin_clzll(hash << 8 | 0x80) + 1);
  _Atomic uint8_t *place = &series->registers[hash >> 56];
  if (*place < rank) STORE(*place, rank);
  const struct numbers *now = numbers_current(series);
  numbers_publish(series, 0, now->count + 1, 0, 0, now_ns);
}

// HyperLogLog (Flajolet and others, 2007), with linear counting while registers are empty.
static double set_estimate(const _Atomic uint8_t *registers)
{
  double sum = 0;
  int empty = 0;
  for (int i = 0; i < REGISTERS; i++) {
    uint8_t rank = LOAD(registers[i]);
    sum += ldexp(1, -(int)rank);
    empty += rank == 0;
  }
  double estimate = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS * REGISTERS / sum;
  if (estimate <= 2.5 * REGISTERS && empty > 0) estimate = REGISTERS * log((double)REGISTERS / empty);
  return estimate;
}

uint32_t series_count(const struct series_table *table)
{
  return LOAD(table->count);
}

static bool numbers_read(const struct series *series, struct series_reading *out)
{
  for (int i = 0; i < TRIES_MAX; i++) {
    uint32_t version = LOAD(series->version);
    const struct numbers *now = &series->copy[version & 1];
    out->value = LOAD(now->value);
    out->count = (uint64_t)llround(LOAD(now->count));
    out->min = LOAD(now->min);
    out->max = LOAD(now->max);
    out->last_ns = LOAD(now->last_ns);
    if (LOAD(series->version) == version) return true;
  }
  return false;
}

bool series_read(const struct series_table *table, uint32_t i, struct series_reading *out)
{
  const struct series *series = &table->slots[i];
  uint32_t generation = LOAD(series->generation);
  if ((generation & 1) != 0 || !numbers_read(series, out)) return false;
  uint32_t shape = LOAD(series->shape);
  const struct key_block *block = LOAD(series->key);
  out->type = shape_type(shape);
  out->name = (struct view){ out->text, shape_name_size(shape) };
  out->tags = (struct view){ out->text + out->name.size, shape_tags_size(shape) };
  size_t words = (out->name.size + out->tags.size + 7) / 8;
  if (words > block->capacity) return false; // shape and key of two lives
  for (size_t at = 0; at < words; at++) {
    uint64_t word = LOAD(block->word[at]);
    memcpy(out->text + 8 * at, &word, 8);
  }
  if (out->type == SERIES_SET) out->value = set_estimate(LOAD(series->registers));
  if (out->count == 0) out->min = out->max = 0;
  return LOAD(series->generation) == generation;
}

bool series_find(const struct series_table *table, struct view name, struct view tags, struct series_reading *out)
{
  uint32_t hash = key_hash(name, tags);
  for (int i = 0; i < TRIES_MAX; i++) {
    uint32_t version = LOAD(table->index_version);
    for (uint32_t at = hash & table->mask; LOAD(table->index[at]) != 0; at = (at + 1) & table->mask) {
      uint64_t entry = LOAD(table->index[at]);
      if (entry == 0) break;
      if (entry >> 32 != hash || !series_read(table, (uint32_t)entry - 1, out)) continue;
      if (view_equal(out->name, name) && view_equal(out->tags, tags)) return true;
    }
    if ((version & 1) == 0 && LOAD(table->index_version) == version) return false;
  }
  return false;
}

struct series_usage series_usage(const struct series_table *table)
{
  return (struct series_usage){ LOAD(table->count), table->limit, LOAD(table->dropped), LOAD(table->conflicts) };
}
