// What the parts of a circuit (circuit.c, circuit_calls.c, circuit_probe.c) share: its words are read and swapped in
// one order that all threads agree on (sequential consistency; on x86 the loads are plain moves), its settings as they
// happen to be, its times in milliseconds, rounded up so that nothing ends early.
#ifndef NINES_CORE_CIRCUIT_WORD_H
#define NINES_CORE_CIRCUIT_WORD_H

#include "circuit.h"

#define CIRCUIT_NS_PER_MS   INT64_C(1000000)
#define CIRCUIT_TIME_MS_MAX ((UINT64_C(1) << 40) - 1)

static inline uint64_t word_load(const _Atomic uint64_t *word)
{
  return atomic_load_explicit(word, memory_order_seq_cst);
}

static inline bool word_swap(_Atomic uint64_t *word, uint64_t *expected, uint64_t wanted)
{
  return atomic_compare_exchange_strong_explicit(word, expected, wanted, memory_order_seq_cst, memory_order_seq_cst);
}

static inline uint32_t word_get(const _Atomic uint32_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static inline int64_t word_ns(const _Atomic int64_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static inline uint64_t time_ms_of(int64_t ns)
{
  if (ns <= 0) return 0;
  uint64_t ms = ((uint64_t)ns + CIRCUIT_NS_PER_MS - 1) / CIRCUIT_NS_PER_MS;
  return ms < CIRCUIT_TIME_MS_MAX ? ms : CIRCUIT_TIME_MS_MAX;
}

static inline int64_t time_later(int64_t now_ns, int64_t span_ns)
{
  if (span_ns < 0) span_ns = 0;
  return now_ns > INT64_MAX - span_ns ? INT64_MAX : now_ns + span_ns;
}

#endif
