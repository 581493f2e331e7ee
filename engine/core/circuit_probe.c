// A slot is one word: lease, then result, changed by compare-and-swap only, so no result is ever written without its
// lease, nor a lease without its slot; the counts of a trial are what the slots say. A slot whose lease is over is
// leased again under the next serial, and the late result of the first finds another word. A slot of another generation
// is free: nothing is cleared when a trial begins.
#include "circuit_probe.h"

#include "circuit_word.h"

#define AGAIN_NS (10 * CIRCUIT_NS_PER_MS) // refused: a fit time to ask again

// A slot: status 2 bits, failed, slow, serial 12, generation 21, deadline in ms 27 (mod 2^27: leases are 12 h at most,
// and the fold frees what is over).
enum { SLOT_FREE = 0, SLOT_LEASED = 1, SLOT_ENDED = 2, SLOT_STATUS = 3, SLOT_FAILED = 4, SLOT_SLOW = 8 };
enum { SLOT_SERIAL_SHIFT = 4, SLOT_GENERATION_SHIFT = 16, SLOT_DEADLINE_SHIFT = 37 };
#define SLOT_SERIAL_MASK UINT64_C(0xfff)
#define DEADLINE_MASK    ((UINT64_C(1) << 27) - 1)

static uint64_t slot_deadline(int64_t now_ns, const struct circuit_rule *rule)
{
  return time_ms_of(time_later(now_ns, word_ns(&rule->probe_lease_ns))) & DEADLINE_MASK;
}

static bool slot_lapsed(uint64_t slot, int64_t now_ns)
{
  uint64_t now_ms = now_ns > 0 ? (uint64_t)(now_ns / CIRCUIT_NS_PER_MS) : 0;
  return ((now_ms - (slot >> SLOT_DEADLINE_SHIFT)) & DEADLINE_MASK) <= DEADLINE_MASK / 2;
}

static bool slot_of(uint64_t slot, uint32_t generation)
{
  return (slot >> SLOT_GENERATION_SHIFT & CIRCUIT_GENERATION_MASK) == generation;
}

uint32_t circuit_probe_count(const struct circuit_rule *rule)
{
  uint32_t count = word_get(&rule->probes);
  return count < CIRCUIT_PROBES_MAX ? count : CIRCUIT_PROBES_MAX;
}

struct tally circuit_probe_sum(const struct circuit *circuit, uint32_t generation)
{
  struct tally tally = { 0 };
  for (uint32_t i = 0; i < CIRCUIT_PROBES_MAX; i++) {
    uint64_t slot = word_load(&circuit->probe[i]);
    if (!slot_of(slot, generation) || (slot & SLOT_STATUS) != SLOT_ENDED) continue;
    tally.total++;
    tally.bad += (slot & SLOT_FAILED) != 0;
    tally.slow += (slot & SLOT_SLOW) != 0;
  }
  return tally;
}

nines_permit circuit_probe_lease(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word,
                                 int64_t now_ns, bool *stale)
{
  uint32_t generation = circuit_word_generation(word);
  for (uint32_t i = 0; i < circuit_probe_count(rule); i++) {
    uint64_t slot = word_load(&circuit->probe[i]);
    if (!slot_of(slot, generation)) {
      // An older generation's, to be overwritten; or a newer one's, and then the word, read after it, is newer too.
      if ((*stale = word_load(&circuit->word) != word)) return (nines_permit){ now_ns, 0 };
    } else if ((slot & SLOT_STATUS) == SLOT_ENDED ||
               ((slot & SLOT_STATUS) == SLOT_LEASED && !slot_lapsed(slot, now_ns))) {
      continue;
    }
    uint64_t serial = ((slot >> SLOT_SERIAL_SHIFT) + 1) & SLOT_SERIAL_MASK;
    uint64_t leased = SLOT_LEASED | serial << SLOT_SERIAL_SHIFT | (uint64_t)generation << SLOT_GENERATION_SHIFT |
                      slot_deadline(now_ns, rule) << SLOT_DEADLINE_SHIFT;
    if (!word_swap(&circuit->probe[i], &slot, leased)) continue; // another call has it now
    if ((*stale = word_load(&circuit->word) != word)) {
      word_swap(&circuit->probe[i], &leased, leased & ~(uint64_t)SLOT_STATUS);
      return (nines_permit){ now_ns, 0 };
    }
    nines_permit permit = circuit_permit(word, now_ns);
    permit.token |= (uint64_t)(i + 1) << CIRCUIT_TOKEN_SLOT_SHIFT | serial << CIRCUIT_TOKEN_SERIAL_SHIFT;
    return permit;
  }
  return (nines_permit){ time_later(now_ns, AGAIN_NS), 0 };
}

void circuit_probe_fold(struct circuit *circuit, uint32_t generation, int64_t now_ns)
{
  for (uint32_t i = 0; i < CIRCUIT_PROBES_MAX; i++) {
    uint64_t slot = word_load(&circuit->probe[i]);
    if (slot_of(slot, generation) && (slot & SLOT_STATUS) == SLOT_LEASED && slot_lapsed(slot, now_ns))
      word_swap(&circuit->probe[i], &slot, slot & ~(uint64_t)SLOT_STATUS);
  }
}

void circuit_probe_orphan(struct circuit *circuit)
{
  for (uint32_t i = 0; i < CIRCUIT_PROBES_MAX; i++) {
    uint64_t slot = word_load(&circuit->probe[i]);
    if ((slot & SLOT_STATUS) == SLOT_LEASED) word_swap(&circuit->probe[i], &slot, slot & ~(uint64_t)SLOT_STATUS);
  }
}

enum circuit_told circuit_probe_end(struct circuit *circuit, nines_permit permit, int outcome, bool slow,
                                    int64_t now_ns)
{
  uint32_t index = (uint32_t)(permit.token >> CIRCUIT_TOKEN_SLOT_SHIFT & 63) - 1;
  if (index >= CIRCUIT_PROBES_MAX) return CIRCUIT_LATE;
  uint64_t slot = word_load(&circuit->probe[index]);
  uint64_t serial = permit.token >> CIRCUIT_TOKEN_SERIAL_SHIFT & SLOT_SERIAL_MASK;
  if ((slot & SLOT_STATUS) != SLOT_LEASED || !slot_of(slot, circuit_permit_generation(permit)) ||
      (slot >> SLOT_SERIAL_SHIFT & SLOT_SERIAL_MASK) != serial)
    return CIRCUIT_LATE;
  uint64_t ended = slot & ~(uint64_t)SLOT_STATUS;
  enum circuit_told told = CIRCUIT_PROBED;
  if (slot_lapsed(slot, now_ns))
    told = CIRCUIT_LATE;
  else if (outcome == NINES_IGNORED)
    told = CIRCUIT_UNSEEN;
  else
    ended |= SLOT_ENDED | (outcome == NINES_SUCCESS ? 0u : (uint64_t)SLOT_FAILED) | (slow ? (uint64_t)SLOT_SLOW : 0u);
  return word_swap(&circuit->probe[index], &slot, ended) ? told : CIRCUIT_LATE;
}

void circuit_probe_rebase(struct circuit *circuit, int64_t shift_ns)
{
  uint64_t shift_ms = (uint64_t)(shift_ns / CIRCUIT_NS_PER_MS);
  for (uint32_t i = 0; i < CIRCUIT_PROBES_MAX; i++) {
    uint64_t slot = word_load(&circuit->probe[i]);
    uint64_t deadline = ((slot >> SLOT_DEADLINE_SHIFT) + shift_ms) & DEADLINE_MASK;
    slot = (slot & ((UINT64_C(1) << SLOT_DEADLINE_SHIFT) - 1)) | deadline << SLOT_DEADLINE_SHIFT;
    atomic_store_explicit(&circuit->probe[i], slot, memory_order_release);
  }
}
