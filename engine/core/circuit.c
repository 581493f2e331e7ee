// Every word carries the generation it belongs to, so that a transition has nothing to clear: what another generation
// left behind reads as empty, and whoever comes first makes it his. A kill between any two stores loses one call's
// count, or the log's entry, at most.
//
// Resilience4j judges the rates after every call. Judging after those calls only that failed, were slow, or made the
// minimum be reached is the same: any other call adds no bad one and may push one out, so no rate rises, and one that
// was below its threshold stays below. With many writers the one whose bit comes last sees all bits (each writes its
// own, then reads, in one order for all), and so decides. A minimum reached while the window's begin is still being
// settled, and a rule that changed, the fold judges.
#include "circuit.h"

#include <stddef.h>

#include "circuit_calls.h"
#include "circuit_probe.h"
#include "circuit_word.h"
#include "rng.h"

#define AGAIN_NS     (10 * CIRCUIT_NS_PER_MS) // refused while ramping: a fit time to ask again
#define OPENINGS_MAX 1000000
#define ATTEMPTS     16 // of a compare-and-swap that others keep beating; then the call is refused, or the fold's
#define RAMP_START   0.1

static const struct circuit_verdict by_time = { .cause = CIRCUIT_BY_TIME }, by_hand = { .cause = CIRCUIT_BY_HAND };

static uint64_t word_of(int state, uint32_t generation, uint64_t time_ms)
{
  return (uint64_t)state | (uint64_t)(generation & CIRCUIT_GENERATION_MASK) << 3 | time_ms << 24;
}

static nines_permit refuse(int64_t at_ns)
{
  return (nines_permit){ at_ns, 0 };
}

static void put_count(_Atomic uint32_t *at, uint64_t count)
{
  atomic_store_explicit(at, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX, memory_order_release);
}

static void log_step(struct circuit_step *step, uint64_t word, int from, struct circuit_verdict verdict, int64_t now_ns)
{
  atomic_store_explicit(&step->word, UINT64_MAX, memory_order_relaxed); // state 7: being written
  atomic_store_explicit(&step->at_ns, now_ns, memory_order_release);    // who reads this, reads that
  atomic_store_explicit(&step->cause, (uint32_t)verdict.cause, memory_order_release);
  put_count(&step->total, verdict.seen.total);
  put_count(&step->bad, verdict.seen.bad);
  put_count(&step->slow, verdict.seen.slow);
  atomic_store_explicit(&step->from, (uint32_t)from, memory_order_release);
  atomic_store_explicit(&step->word, word, memory_order_release);
}

// The transition. True for the one who made it; `word` is what the circuit was thought to be.
static bool become(struct circuit *circuit, uint64_t word, int state, uint64_t time_ms, struct circuit_verdict verdict,
                   int64_t now_ns)
{
  uint32_t generation = (circuit_word_generation(word) + 1) & CIRCUIT_GENERATION_MASK;
  uint64_t wanted = word_of(state, generation, time_ms), expected = word;
  uint32_t openings = word_get(&circuit->opened_in_a_row);
  if (!word_swap(&circuit->word, &expected, wanted)) return false;
  if (state == NINES_BREAKER_OPEN && openings < OPENINGS_MAX)
    atomic_store_explicit(&circuit->opened_in_a_row, openings + 1, memory_order_relaxed);
  else if (state == NINES_BREAKER_CLOSED)
    atomic_store_explicit(&circuit->opened_in_a_row, 0, memory_order_relaxed);
  log_step(&circuit->log[generation % CIRCUIT_LOG], wanted, circuit_word_state(word), verdict, now_ns);
  return true;
}

// How long the next opening lasts: open_ns * factor^(openings before it), at most open_max_ns; then the jitter.
static int64_t open_span_ns(const struct circuit *circuit, const struct circuit_rule *rule, uint64_t *random)
{
  double span = (double)word_ns(&rule->open_ns), most = (double)word_ns(&rule->open_max_ns);
  double factor = word_get(&rule->open_factor_milli) / 1000.0;
  if (factor > 1)
    for (uint32_t i = word_get(&circuit->opened_in_a_row); i > 0 && span < most; i--) span *= factor;
  if (span > most) span = most;
  double jitter = word_get(&rule->open_jitter_milli) / 1000.0;
  if (random && jitter > 0 && jitter <= 1) span *= 1 + jitter * (rng_quick(random) / 2147483648.0 - 1);
  return span > 0 ? (int64_t)span : 0;
}

static bool become_open(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word,
                        struct circuit_verdict verdict, int64_t now_ns, uint64_t *random)
{
  uint64_t until_ms = time_ms_of(time_later(now_ns, open_span_ns(circuit, rule, random)));
  return become(circuit, word, NINES_BREAKER_OPEN, until_ms, verdict, now_ns);
}

static bool become_closed(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word,
                          struct circuit_verdict verdict, int64_t now_ns)
{
  int64_t ramp_ns = word_ns(&rule->ramp_ns);
  uint64_t end_ms = ramp_ns > 0 ? time_ms_of(time_later(now_ns, ramp_ns)) : 0;
  return become(circuit, word, NINES_BREAKER_CLOSED, end_ms, verdict, now_ns);
}

// ---- Rates

static bool reaches(uint64_t count, uint64_t total, uint32_t permyriad)
{
  return permyriad != CIRCUIT_NEVER && count * 10000 >= (uint64_t)permyriad * total;
}

static enum circuit_cause judge(const struct circuit_rule *rule, struct tally window, uint32_t least)
{
  if (window.total == 0 || window.total < least) return 0;
  if (reaches(window.bad, window.total, word_get(&rule->failure_permyriad))) return CIRCUIT_BY_FAILURES;
  if (reaches(window.slow, window.total, word_get(&rule->slow_permyriad))) return CIRCUIT_BY_SLOW;
  return 0;
}

enum circuit_cause circuit_judge(const struct circuit_rule *rule, struct tally window)
{
  return judge(rule, window, word_get(&rule->calls_min));
}

struct tally circuit_window(const struct circuit *circuit, const struct circuit_rule *rule)
{
  return circuit_calls_sum(circuit, rule, word_load(&circuit->word));
}

// ---- Failures in a row: generation and count in one word

static uint32_t row_of(const struct circuit *circuit, uint32_t generation)
{
  uint64_t row = word_load(&circuit->in_a_row);
  return row >> 32 == generation ? (uint32_t)row : 0;
}

static void row_grow(struct circuit *circuit, uint32_t generation)
{
  uint64_t row = word_load(&circuit->in_a_row), wanted;
  do {
    uint32_t count = row >> 32 == generation ? (uint32_t)row : 0;
    wanted = (uint64_t)generation << 32 | (count < UINT32_MAX ? count + 1 : count);
  } while (!word_swap(&circuit->in_a_row, &row, wanted));
}

static void row_forget(struct circuit *circuit)
{
  if ((uint32_t)atomic_load_explicit(&circuit->in_a_row, memory_order_relaxed))
    atomic_store_explicit(&circuit->in_a_row, 0, memory_order_release);
}

static enum circuit_cause judge_row(const struct circuit *circuit, const struct circuit_rule *rule, uint32_t generation)
{
  uint32_t most = word_get(&rule->failures_in_a_row);
  return most && row_of(circuit, generation) >= most ? CIRCUIT_BY_ROW : 0;
}

// ---- Opening

// Metrics only: the word's time says since when it is over the rule, so that a crossing is told once.
static void note_would(struct circuit *circuit, uint64_t word, struct circuit_verdict verdict, int64_t now_ns)
{
  uint64_t since_ms = time_ms_of(now_ns), expected = word;
  if (word >> 24) return;
  uint64_t wanted = word_of(NINES_BREAKER_METRICS_ONLY, circuit_word_generation(word), since_ms ? since_ms : 1);
  if (word_swap(&circuit->word, &expected, wanted))
    log_step(&circuit->would, wanted, NINES_BREAKER_METRICS_ONLY, verdict, now_ns);
}

bool circuit_open(struct circuit *circuit, const struct circuit_rule *rule, uint32_t generation,
                  struct circuit_verdict verdict, int64_t now_ns, uint64_t *random)
{
  for (int i = 0; i < ATTEMPTS; i++) { // again only when a ramp has just ended
    uint64_t word = word_load(&circuit->word);
    int state = circuit_word_state(word);
    if (circuit_word_generation(word) != generation) return false;
    if (state == NINES_BREAKER_METRICS_ONLY) {
      note_would(circuit, word, verdict, now_ns);
      return false;
    }
    if (state != NINES_BREAKER_CLOSED && state != NINES_BREAKER_HALF_OPEN) return false;
    if (become_open(circuit, rule, word, verdict, now_ns, random)) return true;
  }
  return false;
}

void circuit_below(struct circuit *circuit, const struct circuit_rule *rule, uint32_t generation)
{
  uint64_t word = word_load(&circuit->word);
  if (circuit_word_state(word) != NINES_BREAKER_METRICS_ONLY || !(word >> 24)) return;
  if (circuit_word_generation(word) != generation || judge_row(circuit, rule, generation)) return;
  word_swap(&circuit->word, &word, word_of(NINES_BREAKER_METRICS_ONLY, generation, 0));
}

// What the closed (or metrics-only) circuit's own counts ask for.
static void review(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word, int64_t now_ns,
                   uint64_t *random)
{
  uint32_t generation = circuit_word_generation(word);
  bool counts = word_get(&rule->window_calls) != 0;
  struct circuit_verdict verdict = { 0 };
  if (counts) verdict.seen = circuit_calls_sum(circuit, rule, word);
  if (counts) verdict.cause = circuit_judge(rule, verdict.seen);
  if (!verdict.cause) {
    verdict.cause = judge_row(circuit, rule, generation);
    if (verdict.cause && !counts) verdict.seen.total = verdict.seen.bad = row_of(circuit, generation);
  }
  if (verdict.cause)
    circuit_open(circuit, rule, generation, verdict, now_ns, random);
  else if (counts)
    circuit_below(circuit, rule, generation);
}

// ---- Probes

struct tally circuit_trial(const struct circuit *circuit)
{
  uint64_t word = word_load(&circuit->word);
  if (circuit_word_state(word) != NINES_BREAKER_HALF_OPEN) return (struct tally){ 0 };
  return circuit_probe_sum(circuit, circuit_word_generation(word));
}

// Enough probes have ended: opens or closes. Of a rule on failures in a row, that many failed probes are one.
static void decide(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word, int64_t now_ns,
                   uint64_t *random)
{
  struct tally tally = circuit_probe_sum(circuit, circuit_word_generation(word));
  uint32_t least = word_get(&rule->calls_min), row = word_get(&rule->failures_in_a_row);
  if (least > circuit_probe_count(rule)) least = circuit_probe_count(rule);
  enum circuit_cause cause = judge(rule, tally, least);
  if (!cause && row && tally.bad > 0 && tally.bad >= (row < least ? row : least)) cause = CIRCUIT_BY_ROW;
  if (cause)
    become_open(circuit, rule, word, (struct circuit_verdict){ cause, tally }, now_ns, random);
  else if (tally.total >= least && tally.total > 0)
    become_closed(circuit, rule, word, (struct circuit_verdict){ CIRCUIT_BY_PROBES, tally }, now_ns);
}

// Half-open for too long: ends. True if it was.
static bool overstayed(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word, int64_t now_ns,
                       uint64_t *random)
{
  int64_t most_ns = word_ns(&rule->half_open_max_ns);
  if (most_ns <= 0 || now_ns < time_later(circuit_word_until_ns(word), most_ns)) return false;
  if (word_get(&rule->flags) & CIRCUIT_HALF_OPEN_CLOSES)
    become_closed(circuit, rule, word, by_time, now_ns);
  else
    become_open(circuit, rule, word, by_time, now_ns, random);
  return true;
}

// ---- Asking and telling

// 10 % to 100 % of calls while it lasts.
static nines_permit ask_ramping(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word, int64_t now_ns,
                                uint64_t *random)
{
  int64_t left_ns = circuit_word_until_ns(word) - now_ns, ramp_ns = word_ns(&rule->ramp_ns);
  if (left_ns <= 0 || ramp_ns <= 0) {
    uint64_t expected = word;
    word_swap(&circuit->word, &expected, word_of(NINES_BREAKER_CLOSED, circuit_word_generation(word), 0));
    return circuit_permit(word, now_ns);
  }
  double done = 1 - (double)left_ns / (double)ramp_ns;
  double share = RAMP_START + (1 - RAMP_START) * (done > 0 ? done : 0);
  if (rng_quick(random) >= share * 4294967296.0) return refuse(time_later(now_ns, AGAIN_NS));
  return circuit_permit(word, now_ns);
}

nines_permit circuit_ask_slow(struct circuit *circuit, const struct circuit_rule *rule, int64_t now_ns,
                              uint64_t *random)
{
  for (int i = 0; i < ATTEMPTS; i++) {
    uint64_t word = word_load(&circuit->word);
    nines_permit permit = circuit_permit(word, now_ns);
    bool stale = false;
    switch (circuit_word_state(word)) {
    case NINES_BREAKER_CLOSED:
      return word >> 24 ? ask_ramping(circuit, rule, word, now_ns, random) : permit;
    case NINES_BREAKER_OPEN:
      if (now_ns < circuit_word_until_ns(word)) return refuse(circuit_word_until_ns(word));
      become(circuit, word, NINES_BREAKER_HALF_OPEN, time_ms_of(now_ns), by_time, now_ns);
      break; // whoever did it
    case NINES_BREAKER_HALF_OPEN:
      if (overstayed(circuit, rule, word, now_ns, random)) break;
      permit = circuit_probe_lease(circuit, rule, word, now_ns, &stale);
      if (!stale) return permit;
      break;
    case NINES_BREAKER_FORCED_OPEN:
      return refuse(INT64_MAX);
    case NINES_BREAKER_METRICS_ONLY:
      return permit;
    default: // disabled
      permit.token |= CIRCUIT_TOKEN_UNSEEN;
      return permit;
    }
  }
  return refuse(time_later(now_ns, AGAIN_NS));
}

static enum circuit_told tell_call(struct circuit *circuit, const struct circuit_rule *rule, uint64_t word, bool bad,
                                   bool slow, int64_t now_ns, uint64_t *random)
{
  uint32_t generation = circuit_word_generation(word);
  bool look = bad || word >> 24 != 0; // a ramp, or metrics only and over the rule: rare
  if (word_get(&rule->failures_in_a_row)) {
    if (bad)
      row_grow(circuit, generation);
    else
      row_forget(circuit);
  }
  if (word_get(&rule->window_calls)) {
    uint64_t calls = circuit_calls_add(circuit, generation, bad, slow);
    if (calls == 0) return CIRCUIT_LATE;
    look = look || slow || calls == word_get(&rule->calls_min);
  }
  if (look) review(circuit, rule, word, now_ns, random);
  return CIRCUIT_COUNTED;
}

enum circuit_told circuit_tell(struct circuit *circuit, const struct circuit_rule *rule, nines_permit permit,
                               int outcome, bool slow, int64_t now_ns, uint64_t *random)
{
  uint64_t word = circuit_load(circuit);
  int state = circuit_word_state(word);
  if (permit.token == 0) return CIRCUIT_UNSEEN;
  if (circuit_word_generation(word) != circuit_permit_generation(permit)) return CIRCUIT_LATE;
  if (permit.token & CIRCUIT_TOKEN_UNSEEN) return CIRCUIT_UNSEEN;
  if (state == NINES_BREAKER_HALF_OPEN) {
    if (overstayed(circuit, rule, word, now_ns, random)) return CIRCUIT_LATE;
    enum circuit_told told = circuit_probe_end(circuit, permit, outcome, slow, now_ns);
    if (told == CIRCUIT_PROBED) decide(circuit, rule, word, now_ns, random);
    return told;
  }
  if (state != NINES_BREAKER_CLOSED && state != NINES_BREAKER_METRICS_ONLY) return CIRCUIT_LATE; // not one of ours
  if (outcome == NINES_IGNORED) return CIRCUIT_UNSEEN;
  return tell_call(circuit, rule, word, outcome != NINES_SUCCESS, slow, now_ns, random);
}

// ---- By hand, by the fold, after a restart

void circuit_put(struct circuit *circuit, const struct circuit_rule *rule, int state, int64_t hold_ns, int64_t now_ns)
{
  if (state < NINES_BREAKER_CLOSED || state > NINES_BREAKER_METRICS_ONLY) return;
  for (;;) {
    uint64_t word = word_load(&circuit->word), time_ms = 0;
    if (state == NINES_BREAKER_OPEN)
      time_ms = time_ms_of(time_later(now_ns, hold_ns > 0 ? hold_ns : open_span_ns(circuit, rule, NULL)));
    if (state == NINES_BREAKER_HALF_OPEN) time_ms = time_ms_of(now_ns);
    if (become(circuit, word, state, time_ms, by_hand, now_ns)) return;
  }
}

void circuit_fold(struct circuit *circuit, const struct circuit_rule *rule, int64_t now_ns, uint64_t *random)
{
  uint64_t word = word_load(&circuit->word);
  if (!word_get(&rule->failures_in_a_row)) row_forget(circuit); // or it would be stale when looked at again
  switch (circuit_word_state(word)) {
  case NINES_BREAKER_CLOSED:
    if (word >> 24 && now_ns >= circuit_word_until_ns(word)) {
      uint64_t plain = word_of(NINES_BREAKER_CLOSED, circuit_word_generation(word), 0);
      if (!word_swap(&circuit->word, &word, plain)) return;
      word = plain;
    }
    review(circuit, rule, word, now_ns, random);
    break;
  case NINES_BREAKER_METRICS_ONLY:
    review(circuit, rule, word, now_ns, random);
    break;
  case NINES_BREAKER_OPEN:
    if (word_get(&rule->flags) & CIRCUIT_HALF_OPEN_ITSELF && now_ns >= circuit_word_until_ns(word))
      become(circuit, word, NINES_BREAKER_HALF_OPEN, time_ms_of(now_ns), by_time, now_ns);
    break;
  case NINES_BREAKER_HALF_OPEN:
    if (overstayed(circuit, rule, word, now_ns, random)) break;
    circuit_probe_fold(circuit, circuit_word_generation(word), now_ns);
    decide(circuit, rule, word, now_ns, random);
    break;
  }
}

void circuit_init(struct circuit *circuit, const struct circuit_rule *rule, int state, int64_t now_ns)
{
  uint64_t time_ms = 0;
  if (state == NINES_BREAKER_OPEN) {
    time_ms = time_ms_of(time_later(now_ns, open_span_ns(circuit, rule, NULL)));
    atomic_store_explicit(&circuit->opened_in_a_row, 1, memory_order_relaxed);
  }
  if (state == NINES_BREAKER_HALF_OPEN) time_ms = time_ms_of(now_ns);
  atomic_store_explicit(&circuit->word, word_of(state, 0, time_ms), memory_order_release);
}

bool circuit_valid(const struct circuit *circuit)
{
  if (circuit_word_state(word_load(&circuit->word)) > NINES_BREAKER_METRICS_ONLY) return false;
  return word_get(&circuit->opened_in_a_row) <= OPENINGS_MAX && circuit_calls_valid(circuit);
}

static uint64_t rebased(uint64_t word, int64_t shift_ns)
{
  if (word >> 24 == 0 || word == UINT64_MAX) return word;
  int64_t time_ns = circuit_word_until_ns(word);
  uint64_t time_ms = shift_ns >= 0 ? time_ms_of(time_later(time_ns, shift_ns)) : time_ms_of(time_ns + shift_ns);
  if (circuit_word_state(word) == NINES_BREAKER_METRICS_ONLY && time_ms == 0) time_ms = 1;
  return (word & 0xffffff) | time_ms << 24;
}

static void rebase_step(struct circuit_step *step, int64_t shift_ns)
{
  uint64_t word = word_load(&step->word);
  int64_t at_ns = (int64_t)((uint64_t)word_ns(&step->at_ns) + (uint64_t)shift_ns); // wraps: others may have written it
  atomic_store_explicit(&step->at_ns, at_ns, memory_order_relaxed);
  atomic_store_explicit(&step->word, rebased(word, shift_ns), memory_order_release);
}

void circuit_rebase(struct circuit *circuit, int64_t then_ns, int64_t now_ns)
{
  int64_t shift_ns = now_ns - then_ns;
  atomic_store_explicit(&circuit->word, rebased(word_load(&circuit->word), shift_ns), memory_order_release);
  circuit_probe_rebase(circuit, shift_ns);
  for (uint32_t i = 0; i < CIRCUIT_LOG; i++) rebase_step(&circuit->log[i], shift_ns);
  rebase_step(&circuit->would, shift_ns);
}

// ---- What is told of it

static bool read_step(const struct circuit_step *step, struct circuit_move *move)
{
  uint64_t word = atomic_load_explicit(&step->word, memory_order_acquire);
  move->to = circuit_word_state(word);
  move->generation = circuit_word_generation(word);
  move->until_ns = circuit_word_until_ns(word);
  move->at_ns = atomic_load_explicit(&step->at_ns, memory_order_acquire);
  uint32_t cause = atomic_load_explicit(&step->cause, memory_order_acquire);
  uint32_t from = atomic_load_explicit(&step->from, memory_order_acquire);
  move->seen.total = atomic_load_explicit(&step->total, memory_order_acquire);
  move->seen.bad = atomic_load_explicit(&step->bad, memory_order_acquire);
  move->seen.slow = atomic_load_explicit(&step->slow, memory_order_acquire);
  if (atomic_load_explicit(&step->word, memory_order_relaxed) != word) return false;
  move->cause = cause <= CIRCUIT_BY_HAND ? (enum circuit_cause)cause : 0;
  move->from = from <= NINES_BREAKER_METRICS_ONLY ? (int)from : NINES_BREAKER_CLOSED;
  return move->cause && move->to <= NINES_BREAKER_METRICS_ONLY;
}

bool circuit_move_of(const struct circuit *circuit, uint32_t generation, struct circuit_move *move)
{
  return read_step(&circuit->log[generation % CIRCUIT_LOG], move) && move->generation == generation;
}

bool circuit_move_would(const struct circuit *circuit, struct circuit_move *move)
{
  if (!read_step(&circuit->would, move)) return false;
  move->to = NINES_BREAKER_OPEN;
  return true;
}

const char *circuit_cause_text(uint32_t cause)
{
  static const char *const text[] = { "none",       "failure rate", "slow rate", "latency", "failures in a row",
                                      "time is up", "probes",       "by hand" };
  return cause < sizeof text / sizeof *text ? text[cause] : "none";
}

const char *circuit_state_text(int state)
{
  static const char *const text[] = { "closed", "open", "half_open", "disabled", "forced_open", "metrics_only" };
  return state >= 0 && (size_t)state < sizeof text / sizeof *text ? text[state] : "unknown";
}
