// A sequence word without the loop: a torn read is no fault at all.
//
// Sound because the word's numbers never repeat: fields are stored with release after the word was set to 0, and
// loaded with acquire before the word is looked at again, so a reader that got any newer field also sees that the word
// is no longer its own. No fence is needed (on x86 all of it is plain moves), and every field is sound by itself
// besides: what a damaged arena holds is a wrong fault at worst, never a crash.
#include "fault.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "rng.h"

enum { MATCH_WORDS = (FAULT_MATCH_MAX + 1) / sizeof(uint64_t) };
enum fault_matching { MATCH_ALL = 0, MATCH_KEY = 1, MATCH_PREFIX = 2 };
#define NS_PER_S INT64_C(1000000000)
static const int64_t latency_max_ns = 3600 * NS_PER_S;

static int check_latency(const nines_fault_config *given, struct status *status)
{
  if (given->kind == NINES_FAULT_LATENCY) {
    if (given->latency_ns < 1 || given->latency_ns > latency_max_ns)
      return status_set(status, NINES_EINVAL,
                        "latency_ns is %" PRId64 ", a fault of latency needs 1 to %" PRId64 " (an hour)",
                        given->latency_ns, latency_max_ns);
    if (given->jitter_ns < 0 || given->jitter_ns > given->latency_ns)
      return status_set(status, NINES_EINVAL, "jitter_ns is %" PRId64 ", must be 0 to latency_ns (%" PRId64 ")",
                        given->jitter_ns, given->latency_ns);
    return 0;
  }
  if (given->latency_ns != 0 || given->jitter_ns != 0)
    return status_set(status, NINES_EINVAL, "%s is %" PRId64 ", but only a fault of latency has one",
                      given->latency_ns ? "latency_ns" : "jitter_ns",
                      given->latency_ns ? given->latency_ns : given->jitter_ns);
  return 0;
}

static int check(const nines_fault_config *given, int64_t now_ns, struct status *status)
{
  if (given->kind < NINES_FAULT_LATENCY || given->kind > NINES_FAULT_DROP)
    return status_set(status, NINES_EINVAL,
                      "kind is %d, must be NINES_FAULT_LATENCY (1), _ERROR (2), _ABORT (3) or _DROP (4)", given->kind);
  if (!(given->rate > 0 && given->rate <= 1))
    return status_set(status, NINES_EINVAL, "rate is %g, must be above 0 and at most 1 (a share of calls)",
                      given->rate);
  if (given->match && (given->match[0] == '\0' || strnlen(given->match, FAULT_MATCH_MAX + 1) > FAULT_MATCH_MAX))
    return status_set(status, NINES_EINVAL, "match has %s bytes, must have 1 to %d; NULL matches all",
                      given->match[0] ? "too many" : "no", FAULT_MATCH_MAX);
  if (given->until_ns <= now_ns)
    return status_set(status, NINES_EINVAL,
                      "until_ns is %" PRId64 ", must be after now (%" PRId64 "): every fault heals itself",
                      given->until_ns, now_ns);
  if (given->error != 0 && given->kind != NINES_FAULT_ERROR)
    return status_set(status, NINES_EINVAL, "error is %d, but only a fault of error has one", given->error);
  return check_latency(given, status);
}

static void store_match(struct fault *fault, const char *match)
{
  uint64_t words[MATCH_WORDS] = { 0 };
  uint32_t matching = MATCH_ALL;
  if (match) {
    size_t length = strlen(match);
    bool prefix = match[length - 1] == '*';
    memcpy(words, match, length - prefix);
    matching = prefix ? MATCH_PREFIX : MATCH_KEY;
  }
  for (uint32_t i = 0; i < MATCH_WORDS; i++) atomic_store_explicit(&fault->match[i], words[i], memory_order_release);
  atomic_store_explicit(&fault->matching, matching, memory_order_release);
}

int fault_inject(struct fault *fault, const nines_fault_config *config, int64_t now_ns, struct status *status)
{
  nines_fault_config given = { 0 };
  if (!config || config->size < sizeof config->size)
    return status_set(status, NINES_EINVAL, "size is %zu, must be sizeof(nines_fault_config)",
                      config ? config->size : 0);
  memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  int failed = check(&given, now_ns, status);
  if (failed) return failed;
  atomic_store_explicit(&fault->word, 0, memory_order_release);
  uint64_t number = atomic_load_explicit(&fault->injections, memory_order_relaxed) + 1;
  if (number == 0) number = 1;
  atomic_store_explicit(&fault->injections, number, memory_order_release);
  atomic_store_explicit(&fault->kind, given.kind, memory_order_release);
  atomic_store_explicit(&fault->error, given.error, memory_order_release);
  atomic_store_explicit(&fault->latency_ns, given.latency_ns, memory_order_release);
  atomic_store_explicit(&fault->jitter_ns, given.jitter_ns, memory_order_release);
  double draws = ceil(given.rate * 4294967296.0); // of 2^32 that hit: at least one
  atomic_store_explicit(&fault->threshold, (uint32_t)(draws - 1), memory_order_release);
  store_match(fault, given.match);
  atomic_store_explicit(&fault->until_ns, given.until_ns, memory_order_release);
  atomic_store_explicit(&fault->word, number, memory_order_release);
  return 0;
}

bool fault_valid(const struct fault *fault)
{
  int32_t kind = atomic_load_explicit(&fault->kind, memory_order_relaxed);
  if (atomic_load_explicit(&fault->word, memory_order_relaxed) == 0) return true; // whatever else, nothing is injected
  return kind >= NINES_FAULT_LATENCY && kind <= NINES_FAULT_DROP &&
         atomic_load_explicit(&fault->matching, memory_order_relaxed) <= MATCH_PREFIX &&
         atomic_load_explicit(&fault->word, memory_order_relaxed) <=
             atomic_load_explicit(&fault->injections, memory_order_relaxed);
}

void fault_rebase(struct fault *fault, int64_t then_ns, int64_t now_ns)
{
  int64_t until_ns = atomic_load_explicit(&fault->until_ns, memory_order_relaxed), left_ns;
  if (__builtin_sub_overflow(until_ns, then_ns, &left_ns) || left_ns <= 0 ||
      __builtin_add_overflow(now_ns, left_ns, &until_ns)) {
    fault_heal(fault);
    return;
  }
  atomic_store_explicit(&fault->until_ns, until_ns, memory_order_relaxed);
}

void fault_init(struct fault *fault)
{
  apart_default(&fault->apart, &fault->own);
}

static bool is_healed(const struct fault *fault, uint64_t number)
{
  return atomic_load_explicit(&fault_open(fault)->healed, memory_order_acquire) == number;
}

void fault_fold(struct fault *fault, int64_t now_ns)
{
  uint64_t number = atomic_load_explicit(&fault->word, memory_order_relaxed);
  if (number == 0) return;
  if (is_healed(fault, number) || now_ns >= atomic_load_explicit(&fault->until_ns, memory_order_relaxed))
    atomic_store_explicit(&fault->word, 0, memory_order_release);
}

int64_t fault_until(const struct fault *fault, int64_t now_ns)
{
  uint64_t number = atomic_load_explicit(&fault->word, memory_order_acquire);
  int64_t until_ns = atomic_load_explicit(&fault->until_ns, memory_order_acquire);
  if (number == 0 || atomic_load_explicit(&fault->word, memory_order_relaxed) != number) return 0;
  return until_ns > now_ns && !is_healed(fault, number) ? until_ns : 0;
}

static bool matches(const struct fault *fault, const char *key)
{
  uint32_t matching = atomic_load_explicit(&fault->matching, memory_order_acquire);
  if (matching == MATCH_ALL) return true;
  if (!key) return false;
  uint64_t words[MATCH_WORDS];
  for (uint32_t i = 0; i < MATCH_WORDS; i++) words[i] = atomic_load_explicit(&fault->match[i], memory_order_acquire);
  char match[FAULT_MATCH_MAX + 1];
  memcpy(match, words, sizeof match);
  match[FAULT_MATCH_MAX] = '\0';
  return matching == MATCH_PREFIX ? strncmp(key, match, strlen(match)) == 0 : strcmp(key, match) == 0;
}

// latency +- jitter, uniformly; both clamped, whatever the words hold.
static int64_t draw_latency(int64_t latency_ns, int64_t jitter_ns, uint64_t *random)
{
  if (latency_ns < 0 || latency_ns > latency_max_ns) latency_ns = 0;
  if (jitter_ns < 0 || jitter_ns > latency_ns) jitter_ns = 0;
  double unit = rng_quick(random) * (1 / 4294967295.0); // of [0, 1]
  return latency_ns - jitter_ns + (int64_t)(unit * (double)(2 * jitter_ns) + 0.5);
}

nines_fault_action fault_strike(struct fault *fault, const char *key, int64_t now_ns, uint64_t *random)
{
  const nines_fault_action none = { NINES_FAULT_NONE, 0, 0 };
  uint64_t number = atomic_load_explicit(&fault->word, memory_order_acquire);
  if (number == 0) return none;
  int64_t until_ns = atomic_load_explicit(&fault->until_ns, memory_order_acquire);
  bool hit = rng_quick(random) <= atomic_load_explicit(&fault->threshold, memory_order_acquire);
  hit = hit && matches(fault, key);
  nines_fault_action action = {
    .kind = atomic_load_explicit(&fault->kind, memory_order_acquire),
    .error = atomic_load_explicit(&fault->error, memory_order_acquire),
    .latency_ns = atomic_load_explicit(&fault->latency_ns, memory_order_acquire),
  };
  int64_t jitter_ns = atomic_load_explicit(&fault->jitter_ns, memory_order_acquire);
  if (atomic_load_explicit(&fault->word, memory_order_relaxed) != number) return none;
  if (now_ns >= until_ns || is_healed(fault, number)) return none;
  if (!hit || action.kind < NINES_FAULT_LATENCY || action.kind > NINES_FAULT_DROP) return none;
  action.latency_ns = action.kind == NINES_FAULT_LATENCY ? draw_latency(action.latency_ns, jitter_ns, random) : 0;
  atomic_fetch_add_explicit(&fault_open(fault)->hits, 1, memory_order_relaxed);
  return action;
}
