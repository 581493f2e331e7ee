// Load shedding by criticality: the least important requests are refused first.
//
// Fullness acts at once, without a fold: the host tells how full what is behind is (inside / limit of its bulkhead or
// adaptive limit), and from 50 % on sheddable, from 70 % sheddable plus, from 95 % critical requests are refused; what
// room is left belongs to those above. That holds the more important from the first moment of an overload.
//
// The other rules are shares. Asking compares one draw to one word, the refusal threshold of its criticality; 0 refuses
// none, so that a quiet shedder costs a load and a branch more than counting. The fold makes the thresholds out of the
// greatest of three shares of all requests: what was put by hand; the client throttle of the SRE book (chapter 21,
// "Handling overload"), max(0, (requests - K accepts) / (requests + 1)) over throttle_window; and the latency rule of
// DAGOR (Zhou et al., SoCC 2018): 5 points more for a second whose mean latency is over the target, else 1 less, up
// to 95. What share of the requests has which criticality is measured over some 10 s, and the share is taken from the
// least critical first.
//
// Where everything is critical, the critical are refused, by the throttle too, up to its throttle_max: a client that
// goes on sending what a backend refuses helps nobody. Mark what matters less, or set throttle_k negative.
//
// Requests count for the throttle when it refuses them or when their outcome is known: calls in flight are no evidence
// yet (at first all requests would be unaccepted ones), one whose caller was killed weighs on nothing, and what another
// share refuses says nothing about the backend (a share put by hand would outlive being lifted by minutes).
#ifndef NINES_CORE_SHEDDER_H
#define NINES_CORE_SHEDDER_H

#include "apart.h"
#include "rng.h"
#include "status.h"
#include "stripe.h"
#include "writer.h"

enum { CRITICALITIES = 4 };

struct shedder_stripe {
  struct stripe stripe; // total: requests, bad: those not accepted; over the throttle's window
  _Alignas(64) _Atomic uint64_t asked[CRITICALITIES];
  _Atomic uint64_t refused[CRITICALITIES];
  _Alignas(64) _Atomic uint64_t ended;
  _Atomic uint64_t latency_ns; // sum over those ended
};

struct shedder_open {
  _Atomic uint32_t floor;  // by fullness: criticalities below it are refused
  _Atomic uint32_t wished; // percent in ppm, plus one, of who may not write settings; 0: nothing
};

struct shedder {
  _Alignas(64) _Atomic uint32_t threshold[CRITICALITIES]; // refused when a draw is at most this; 0: none
  struct apart apart;                                     // of the open part
  // Settings.
  _Atomic int64_t retry_after_ns;
  _Atomic uint32_t retry_jitter_ppm;
  _Atomic uint32_t throttle_k_milli; // 0: never throttles
  _Atomic int64_t throttle_slice_ns; // a tenth of its window
  _Atomic uint32_t throttle_max_ppm;
  _Atomic int64_t latency_target_ns; // 0: no latency rule
  // Shares of all requests, in millionths, and the mix they are taken from.
  _Atomic uint32_t by_hand_ppm, by_throttle_ppm, by_latency_ppm;
  _Atomic uint32_t mix_ppm[CRITICALITIES];
  _Atomic uint32_t throttling; // 1: the throttle's share is the greatest
  // Of the thread that folds.
  uint32_t folded; // 0: never
  int64_t folded_ns;
  int64_t second_ns;                 // when the latency rule's second began
  uint64_t second_ended, second_sum; // what was counted then
  uint64_t second_admitted;
  uint64_t seen[CRITICALITIES]; // asked, at the last fold
  double recent[CRITICALITIES]; // asked, each weighing exp(-age / 10 s)
  struct shedder_open own;
};
static inline struct shedder_open *shedder_open(const struct shedder *shedder)
{
  return apart_at(&shedder->apart);
}

struct shedder_view {
  struct shedder *shedder;
  _Atomic(struct shedder_stripe *) *stripes; // [WRITERS_MAX], NULL: none yet; the caller's own is there
};

// `fresh` memory is zeroed. `config` NULL: the defaults when fresh, else what is set stays. Counts and shares stay.
int shedder_set(struct shedder *shedder, const nines_shedder_config *config, bool fresh, struct status *status);
bool shedder_valid(const struct shedder *shedder);
void shedder_rebase(const struct shedder_view *view, int64_t then_ns, int64_t now_ns);

// [any] When there is something to refuse.
nines_permit shedder_ask_slow(const struct shedder_view *view, uint32_t writer, uint32_t criticality, int64_t now_ns,
                              uint64_t *random);
// [any] A criticality that is none is taken for the nearest.
static inline nines_permit shedder_ask(const struct shedder_view *view, uint32_t writer, int criticality,
                                       int64_t now_ns, uint64_t *random)
{
  uint32_t of = criticality < 0 ? 0 : criticality >= CRITICALITIES ? CRITICALITIES - 1 : (uint32_t)criticality;
  bool quiet = !atomic_load_explicit(&view->shedder->threshold[of], memory_order_relaxed) &&
               of >= atomic_load_explicit(&shedder_open(view->shedder)->floor, memory_order_relaxed);
  if (__builtin_expect(!quiet || writer == WRITER_SHARED, 0)) return shedder_ask_slow(view, writer, of, now_ns, random);
  struct shedder_stripe *stripe = atomic_load_explicit(&view->stripes[writer], memory_order_relaxed);
  stripe_grow(&stripe->asked[of], 1);
  return (nines_permit){ now_ns, of + 1 };
}
// [any] The outcome of a granted one; what of it is remembered is when it began.
void shedder_done(const struct shedder_view *view, uint32_t writer, nines_permit permit, int outcome, int64_t now_ns);
// [any] How full what is behind is, 0 to 1: before asking, or whenever it changes.
void shedder_load(struct shedder *shedder, double fullness);
// [any] By hand: so many percent of all requests, at once (in the mix of the last fold).
void shedder_put(struct shedder *shedder, double percent);
void shedder_wish(const struct shedder *shedder, double percent);           // [any] the same, from the next fold on
void shedder_fold(const struct shedder_view *view, int64_t now_ns);         // each beat, one thread
double shedder_share(const struct shedder *shedder, int criticality);       // [any] percent of it refused now
uint64_t shedder_refused(const struct shedder_view *view, int criticality); // [any] since the start
struct shedder_reading { // percent of all requests that each rule asks for; the greatest is done
  double by_hand, by_throttle, by_latency;
};
struct shedder_reading shedder_read(const struct shedder *shedder); // [any] as of the last fold

#endif
