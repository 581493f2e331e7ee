// Shares of all requests become thresholds by criticality.
//
// Taking the share from the least critical first is one walk over the mix: a criticality that is smaller than what is
// left to refuse is refused whole, the next one in part. Thresholds, shares and mix are words of their own: a put and
// a fold at the same time leave, for one beat at most, the thresholds of a share of a moment ago. Everything the fold
// remembers is clamped when read, so that a kill or a damaged arena costs some seconds of a wrong share, no more.
#include "shedder.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)
enum { PPM = 1000000, STEP_UP_PPM = 50000, STEP_DOWN_PPM = 10000, LATENCY_MAX_PPM = 950000 };
static const int64_t mix_memory_ns = 10 * NS_PER_S;
static const int64_t slice_least_ns = NS_PER_S / STRIPE_SLICES, slice_most_ns = 3600 * NS_PER_S / STRIPE_SLICES;

static uint32_t load32(const _Atomic uint32_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}
static uint64_t load64(const _Atomic uint64_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}
static int64_t load_ns(const _Atomic int64_t *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}
static void store32(_Atomic uint32_t *word, uint32_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}
static void store_ns(_Atomic int64_t *word, int64_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

static struct shedder_stripe *stripe_of(const struct shedder_view *view, uint32_t writer)
{
  return atomic_load_explicit(&view->stripes[writer], memory_order_acquire);
}

// ---- Settings ----

static int check_duration(const char *field, int64_t value_ns, int64_t least_ns, int64_t most_ns, struct status *status)
{
  if (value_ns == 0 || (value_ns >= least_ns && value_ns <= most_ns)) return 0;
  return status_set(status, NINES_EINVAL, "%s is %" PRId64 ", must be %" PRId64 " to %" PRId64 "; 0: the default",
                    field, value_ns, least_ns, most_ns);
}

static int check(const nines_shedder_config *given, struct status *status)
{
  if (!(given->throttle_k <= 0 || (given->throttle_k >= 1 && given->throttle_k <= 1000)))
    return status_set(status, NINES_EINVAL, "throttle_k is %g, must be 1 to 1000; 0: 2; negative: never",
                      given->throttle_k);
  if (!(given->throttle_max >= 0 && given->throttle_max <= 100))
    return status_set(status, NINES_EINVAL, "throttle_max is %g, must be above 0 to 100 percent; 0: 90",
                      given->throttle_max);
  if (!(given->retry_jitter <= 1))
    return status_set(status, NINES_EINVAL, "retry_jitter is %g, must be above 0 to 1; 0: 0.5; negative: none",
                      given->retry_jitter);
  int failed = check_duration("throttle_window_ns", given->throttle_window_ns, NS_PER_S, 3600 * NS_PER_S, status);
  if (!failed) failed = check_duration("latency_target_ns", given->latency_target_ns, 1, 3600 * NS_PER_S, status);
  if (!failed) failed = check_duration("retry_after_ns", given->retry_after_ns, 1, 24 * 3600 * NS_PER_S, status);
  return failed;
}

int shedder_set(struct shedder *shedder, const nines_shedder_config *config, bool fresh, struct status *status)
{
  nines_shedder_config given = { 0 };
  if (!config && !fresh) return 0;
  if (config) {
    if (config->size < sizeof config->size)
      return status_set(status, NINES_EINVAL, "size is %zu, must be sizeof(nines_shedder_config)", config->size);
    memcpy(&given, config, config->size < sizeof given ? config->size : sizeof given);
  }
  int failed = check(&given, status);
  if (failed) return failed;
  double k = given.throttle_k < 0 ? 0 : given.throttle_k > 0 ? given.throttle_k : 2;
  double max = given.throttle_max > 0 ? given.throttle_max : 90;
  double jitter = given.retry_jitter < 0 ? 0 : given.retry_jitter > 0 ? given.retry_jitter : 0.5;
  if (fresh) apart_default(&shedder->apart, &shedder->own);
  store32(&shedder->throttle_k_milli, (uint32_t)lround(k * 1000));
  store32(&shedder->throttle_max_ppm, (uint32_t)lround(max / 100 * PPM));
  store_ns(&shedder->throttle_slice_ns,
           (given.throttle_window_ns ? given.throttle_window_ns : 120 * NS_PER_S) / STRIPE_SLICES);
  store_ns(&shedder->latency_target_ns, given.latency_target_ns);
  store32(&shedder->retry_jitter_ppm, (uint32_t)lround(jitter * PPM));
  store_ns(&shedder->retry_after_ns, given.retry_after_ns ? given.retry_after_ns : 60 * NS_PER_S);
  return 0;
}

bool shedder_valid(const struct shedder *shedder)
{
  int64_t slice_ns = load_ns(&shedder->throttle_slice_ns), retry_ns = load_ns(&shedder->retry_after_ns);
  int64_t target_ns = load_ns(&shedder->latency_target_ns);
  uint32_t k = load32(&shedder->throttle_k_milli);
  for (int i = 0; i < CRITICALITIES; i++)
    if (!(shedder->recent[i] >= 0 && isfinite(shedder->recent[i])) || load32(&shedder->mix_ppm[i]) > PPM) return false;
  return slice_ns >= slice_least_ns && slice_ns <= slice_most_ns && retry_ns > 0 && retry_ns <= 24 * 3600 * NS_PER_S &&
         target_ns >= 0 && target_ns <= 3600 * NS_PER_S && k <= 1000 * 1000 &&
         load32(&shedder->throttle_max_ppm) <= PPM && load32(&shedder->retry_jitter_ppm) <= PPM &&
         load32(&shedder->by_hand_ppm) <= PPM && load32(&shedder->by_throttle_ppm) <= PPM &&
         load32(&shedder->by_latency_ppm) <= LATENCY_MAX_PPM;
}

void shedder_rebase(const struct shedder_view *view, int64_t then_ns, int64_t now_ns)
{
  struct shedder *shedder = view->shedder;
  for (uint32_t i = 0; i < WRITERS_MAX; i++) {
    struct shedder_stripe *stripe = stripe_of(view, i);
    if (stripe) stripe_rebase(&stripe->stripe, then_ns, now_ns);
  }
  shedder->folded_ns = now_ns; // the time between is no one's
  shedder->second_ns = now_ns;
}

// ---- The request path ----

static void count_request(const struct shedder_view *view, uint32_t writer, struct shedder_stripe *stripe,
                          bool accepted, int64_t now_ns)
{
  if (writer == WRITER_SHARED) {
    stripe_add_shared(&stripe->stripe, !accepted, false);
    return;
  }
  stripe_keep(&stripe->stripe, load_ns(&view->shedder->throttle_slice_ns), now_ns);
  stripe_add(&stripe->stripe, !accepted, false, now_ns);
}

static void grow(uint32_t writer, _Atomic uint64_t *counter, uint64_t by)
{
  if (writer == WRITER_SHARED)
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
  else
    stripe_grow(counter, by);
}

static int64_t retry_at(const struct shedder *shedder, int64_t now_ns, uint64_t *random)
{
  double jitter = load32(&shedder->retry_jitter_ppm) / (double)PPM;
  double unit = rng_quick(random) * (1 / 4294967296.0);
  return now_ns + (int64_t)((double)load_ns(&shedder->retry_after_ns) * (1 - jitter + 2 * jitter * unit));
}

nines_permit shedder_ask_slow(const struct shedder_view *view, uint32_t writer, uint32_t criticality, int64_t now_ns,
                              uint64_t *random)
{
  struct shedder_stripe *stripe = stripe_of(view, writer);
  uint32_t threshold = load32(&view->shedder->threshold[criticality]);
  grow(writer, &stripe->asked[criticality], 1);
  if (criticality < load32(&shedder_open(view->shedder)->floor)) {
    grow(writer, &stripe->refused[criticality], 1);
    return (nines_permit){ retry_at(view->shedder, now_ns, random), 0 };
  }
  if (threshold == 0 || rng_quick(random) > threshold) return (nines_permit){ now_ns, criticality + 1 };
  grow(writer, &stripe->refused[criticality], 1);
  if (load32(&view->shedder->throttling)) count_request(view, writer, stripe, false, now_ns);
  return (nines_permit){ retry_at(view->shedder, now_ns, random), 0 };
}

void shedder_done(const struct shedder_view *view, uint32_t writer, nines_permit permit, int outcome, int64_t now_ns)
{
  if (permit.token == 0 || outcome == NINES_IGNORED) return;
  struct shedder_stripe *stripe = stripe_of(view, writer);
  int64_t latency_ns = (int64_t)((uint64_t)now_ns - (uint64_t)permit.at_ns); // wraps: a permit's time is the caller's
  grow(writer, &stripe->latency_ns, latency_ns > 0 ? (uint64_t)latency_ns : 0);
  grow(writer, &stripe->ended, 1);
  count_request(view, writer, stripe, outcome == NINES_SUCCESS, now_ns);
}

// ---- Shares and thresholds ----

static uint32_t threshold_of(double share)
{
  double draws = rint(share * 4294967296.0); // of 2^32; a threshold of t refuses t + 1 of them, 0 none
  return draws < 2 ? 0 : draws >= 4294967296.0 ? UINT32_MAX : (uint32_t)draws - 1;
}

// [any] As long as nothing is known of the mix, all criticalities are as frequent.
static void publish(struct shedder *shedder)
{
  uint32_t left = load32(&shedder->by_hand_ppm), latency = load32(&shedder->by_latency_ppm);
  uint32_t throttle = load32(&shedder->by_throttle_ppm), mix[CRITICALITIES];
  if (latency > left) left = latency;
  store32(&shedder->throttling, throttle > left);
  if (throttle > left) left = throttle;
  uint64_t sum = 0;
  for (int i = 0; i < CRITICALITIES; i++) sum += mix[i] = load32(&shedder->mix_ppm[i]);
  for (int i = 0; i < CRITICALITIES; i++) {
    if (sum == 0) mix[i] = PPM / CRITICALITIES;
    double share = left >= PPM ? 1 : left == 0 ? 0 : left >= mix[i] ? 1 : (double)left / mix[i];
    store32(&shedder->threshold[i], threshold_of(share));
    left = left >= PPM ? left : left > mix[i] ? left - mix[i] : 0;
  }
}

void shedder_load(struct shedder *shedder, double fullness)
{
  static const double from[CRITICALITIES - 1] = { 0.5, 0.7, 0.95 };
  uint32_t floor = 0;
  while (floor < CRITICALITIES - 1 && fullness >= from[floor]) floor++;
  if (load32(&shedder_open(shedder)->floor) != floor)
    store32(&shedder_open(shedder)->floor, floor); // the line stays clean while nothing changes
}

static uint32_t ppm_of(double percent)
{
  return (uint32_t)lround((percent > 0 ? fmin(percent, 100) / 100 : 0) * PPM); // what is no number is 0
}

void shedder_put(struct shedder *shedder, double percent)
{
  store32(&shedder->by_hand_ppm, ppm_of(percent));
  publish(shedder);
}

void shedder_wish(const struct shedder *shedder, double percent)
{
  store32(&shedder_open(shedder)->wished, ppm_of(percent) + 1);
}

static void grant_wish(struct shedder *shedder)
{
  uint32_t wished = load32(&shedder_open(shedder)->wished);
  if (wished == 0) return;
  store32(&shedder_open(shedder)->wished, 0);
  store32(&shedder->by_hand_ppm, wished - 1 < PPM ? wished - 1 : PPM);
}

struct sums {
  struct tally window; // requests, not accepted
  uint64_t asked[CRITICALITIES], asked_all, refused_all, ended, latency_ns;
};

static struct sums merge(const struct shedder_view *view, int64_t now_ns)
{
  struct sums sums = { 0 };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct shedder_stripe *stripe = stripe_of(view, writer);
    if (!stripe) continue;
    sums.window = tally_add(sums.window, stripe_sum(&stripe->stripe, 0, now_ns));
    for (int i = 0; i < CRITICALITIES; i++) {
      uint64_t asked = load64(&stripe->asked[i]);
      sums.asked[i] += asked;
      sums.asked_all += asked;
      sums.refused_all += load64(&stripe->refused[i]);
    }
    sums.ended += load64(&stripe->ended);
    sums.latency_ns += load64(&stripe->latency_ns);
  }
  return sums;
}

static void fold_mix(struct shedder *shedder, const struct sums *sums, int64_t now_ns)
{
  int64_t since_ns = now_ns - shedder->folded_ns;
  double keeps = since_ns > 0 ? exp(-(double)since_ns / (double)mix_memory_ns) : 1, all = 0;
  for (int i = 0; i < CRITICALITIES; i++) {
    uint64_t more = sums->asked[i] > shedder->seen[i] ? sums->asked[i] - shedder->seen[i] : 0;
    double recent = shedder->recent[i] >= 0 && shedder->recent[i] < 1e18 ? shedder->recent[i] : 0;
    shedder->seen[i] = sums->asked[i];
    all += shedder->recent[i] = recent * keeps + (double)more;
  }
  if (all < 1e-6) return; // silence for minutes: the last mix known stays
  for (int i = 0; i < CRITICALITIES; i++)
    store32(&shedder->mix_ppm[i], (uint32_t)lround(shedder->recent[i] / all * PPM));
}

static void fold_throttle(struct shedder *shedder, struct tally window)
{
  double k = load32(&shedder->throttle_k_milli) / 1000.0, requests = (double)window.total;
  double accepts = window.bad < window.total ? (double)(window.total - window.bad) : 0;
  double share = k > 0 ? fmax(0, (requests - k * accepts) / (requests + 1)) : 0;
  uint32_t most = load32(&shedder->throttle_max_ppm);
  store32(&shedder->by_throttle_ppm, (uint32_t)fmin(rint(share * PPM), most < PPM ? most : PPM));
}

// A second in which requests were let in and none ended tells nothing: the share stays.
static void fold_latency(struct shedder *shedder, const struct sums *sums, int64_t now_ns)
{
  int64_t target_ns = load_ns(&shedder->latency_target_ns);
  int64_t since_ns = now_ns - shedder->second_ns;
  if (since_ns >= 0 && since_ns < NS_PER_S) return;
  uint64_t ended = sums->ended > shedder->second_ended ? sums->ended - shedder->second_ended : 0;
  uint64_t latency_ns = sums->latency_ns - shedder->second_sum;
  uint64_t admitted = sums->asked_all - sums->refused_all;
  bool silent = ended == 0, hanging = silent && admitted != shedder->second_admitted;
  uint32_t share = load32(&shedder->by_latency_ppm);
  if (target_ns == 0)
    share = 0;
  else if (!silent && latency_ns / ended > (uint64_t)target_ns)
    share = share + STEP_UP_PPM < LATENCY_MAX_PPM ? share + STEP_UP_PPM : LATENCY_MAX_PPM;
  else if (!hanging)
    share = share > STEP_DOWN_PPM ? share - STEP_DOWN_PPM : 0;
  store32(&shedder->by_latency_ppm, share);
  shedder->second_ns = now_ns;
  shedder->second_ended = sums->ended;
  shedder->second_sum = sums->latency_ns;
  shedder->second_admitted = admitted;
}

void shedder_fold(const struct shedder_view *view, int64_t now_ns)
{
  struct shedder *shedder = view->shedder;
  struct shedder_stripe *shared = stripe_of(view, WRITER_SHARED);
  if (shared) {
    stripe_keep(&shared->stripe, load_ns(&shedder->throttle_slice_ns), now_ns);
    stripe_turn(&shared->stripe, now_ns);
  }
  struct sums sums = merge(view, now_ns);
  if (!shedder->folded) shedder->folded_ns = shedder->second_ns = now_ns;
  shedder->folded = 1;
  grant_wish(shedder);
  fold_mix(shedder, &sums, now_ns);
  fold_throttle(shedder, sums.window);
  fold_latency(shedder, &sums, now_ns);
  shedder->folded_ns = now_ns;
  publish(shedder);
}

// ---- Reading ----

double shedder_share(const struct shedder *shedder, int criticality)
{
  int of = criticality < 0 ? 0 : criticality >= CRITICALITIES ? CRITICALITIES - 1 : criticality;
  uint32_t threshold = load32(&shedder->threshold[of]);
  if ((uint32_t)of < load32(&shedder_open(shedder)->floor)) return 100;
  return threshold ? (threshold + 1.0) / 4294967296.0 * 100 : 0;
}

uint64_t shedder_refused(const struct shedder_view *view, int criticality)
{
  int of = criticality < 0 ? 0 : criticality >= CRITICALITIES ? CRITICALITIES - 1 : criticality;
  uint64_t refused = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    struct shedder_stripe *stripe = stripe_of(view, writer);
    if (stripe) refused += load64(&stripe->refused[of]);
  }
  return refused;
}

struct shedder_reading shedder_read(const struct shedder *shedder)
{
  return (struct shedder_reading){
    .by_hand = load32(&shedder->by_hand_ppm) * 100.0 / PPM,
    .by_throttle = load32(&shedder->by_throttle_ppm) * 100.0 / PPM,
    .by_latency = load32(&shedder->by_latency_ppm) * 100.0 / PPM,
  };
}
