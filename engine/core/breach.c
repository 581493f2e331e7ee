// Chance or breach: the binomial tail, and the small state machine around it.
//
// The first term of the sum is taken by Loader's saddle-point form (C. Loader, "Fast and accurate computation of
// binomial probabilities", 2000): log-gamma differences lose six digits at a billion requests, deviances lose none. The
// other terms follow by their ratio. The test needs no sum in nearly all cases: the tail is at least its first term,
// and at most that term divided by one minus the first ratio, because the ratios fall.
#include "breach.h"

#include <math.h>
#include <stdatomic.h>

#define TWO_PI       6.283185307179586476925
#define HALF_LOG_2PI 0.918938533204672741780
// What is left of a sum is ignored below this share of it.
#define NEGLIGIBLE 1e-13
// A tail within this share of alpha is alpha: two bad of two at 99.9 % are 1e-6 exactly and not a breach, whichever way
// a library rounds.
#define TIE 1e-9

// ln n! minus Stirling's formula for it.
static double stirling_error(double n)
{
  if (n < 16) return lgamma(n + 1) - (n + 0.5) * log(n) + n - HALF_LOG_2PI;
  double square = n * n;
  return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / square) / square) / square) / square) / n;
}

// x ln(x / mean) - (x - mean), where the caller knows the difference better than a subtraction would.
static double deviance(double x, double mean, double difference)
{
  if (fabs(difference) >= 0.1 * (x + mean)) return x * log(x / mean) - difference;
  double v = difference / (x + mean);
  double sum = difference * v, term = 2 * x * v;
  for (int odd = 3;; odd += 2) { // each term is below a hundredth of the last
    term *= v * v;
    double more = sum + term / odd;
    if (more == sum) return sum;
    sum = more;
  }
}

// P(X = x) for X ~ Binomial(n, p), 0 < p < 1.
static double binomial_term(double n, double x, double p)
{
  if (x <= 0) return exp(n * log1p(-p));
  if (x >= n) return exp(n * log(p));
  double mean = n * p;
  double difference = (x - mean) - fma(n, p, -mean); // to the last bit
  double exponent = stirling_error(n) - stirling_error(x) - stirling_error(n - x) - deviance(x, mean, difference) -
                    deviance(n - x, n - mean, -difference);
  return exp(exponent) * sqrt(n / (TWO_PI * x * (n - x)));
}

// term(x) + term(x + 1) + ... up to n, for x above the mean; gives up once the sum is above `enough`.
static double sum_up(double n, double x, double p, double enough)
{
  double term = binomial_term(n, x, p), sum = term, odds = p / (1 - p);
  while (x < n && sum <= enough) {
    double ratio = (n - x) / (x + 1) * odds;
    term *= ratio;
    sum += term;
    if (term * ratio <= NEGLIGIBLE * (1 - ratio) * sum) break;
    x++;
  }
  return sum;
}

// term(x) + term(x - 1) + ... + term(0), for x below the mean.
static double sum_down(double n, double x, double p)
{
  double term = binomial_term(n, x, p), sum = term, odds = (1 - p) / p;
  while (x > 0) {
    double ratio = x / (n - x + 1) * odds;
    term *= ratio;
    sum += term;
    if (term * ratio <= NEGLIGIBLE * (1 - ratio) * sum) break;
    x--;
  }
  return sum;
}

double breach_tail(uint64_t total, uint64_t bad, double p)
{
  if (bad == 0) return 1;
  if (bad > total || p <= 0) return 0;
  double n = (double)total, x = (double)bad;
  if (x > n * p) return fmin(sum_up(n, x, p, INFINITY), 1);
  return fmax(1 - sum_down(n, x - 1, p), 0);
}

bool breach_test(uint64_t total, uint64_t bad, double allowed)
{
  if (bad > total) bad = total;
  double n = (double)total, x = (double)bad;
  if (bad == 0 || !(x > allowed * n) || !(allowed < 1)) return false;
  if (allowed <= 0) return true;
  double alpha = BREACH_ALPHA * (1 - TIE);
  double first = binomial_term(n, x, allowed);
  if (first > alpha) return false;
  double ratio = (n - x) / (x + 1) * (allowed / (1 - allowed));
  if (first <= alpha * (1 - ratio)) return true;
  return sum_up(n, x, allowed, alpha) <= alpha;
}

static bool is_met(uint64_t total, uint64_t bad, double allowed)
{
  return (double)bad <= allowed * (double)total;
}

static bool is_recovered(const struct breach_reading *reading)
{
  uint64_t least = reading->min_requests > 0 ? reading->min_requests : 1;
  return reading->recovery_total >= least && is_met(reading->recovery_total, reading->recovery_bad, reading->allowed);
}

static bool is_breaching(const struct breach_reading *reading)
{
  return !is_met(reading->recovery_total, reading->recovery_bad, reading->allowed) &&
         breach_test(reading->total, reading->bad, reading->allowed);
}

static enum breach_change enter(struct breach *breach, enum breach_state state, int64_t now_ns,
                                enum breach_change change)
{
  breach->since_ns = now_ns;
  if (state == BREACH_BREACHED) breach->episode++;
  atomic_signal_fence(memory_order_seq_cst); // killed in between, an episode number is skipped, never used twice
  breach->state = state;
  return change;
}

int64_t breach_span_ns(const struct breach *breach, int64_t now_ns, int64_t window_ns)
{
  if (breach->state != BREACH_HEALTHY || breach->episode == 0) return window_ns;
  int64_t since_ns = now_ns - breach->since_ns;
  return since_ns < window_ns ? since_ns : window_ns;
}

enum breach_change breach_feed(struct breach *breach, int64_t now_ns, const struct breach_reading *reading)
{
  if (reading->total == 0) return BREACH_SAME;
  if (breach->state == BREACH_BREACHED)
    return is_recovered(reading) ? enter(breach, BREACH_HEALTHY, now_ns, BREACH_ENDED) : BREACH_SAME;
  if (is_breaching(reading)) return enter(breach, BREACH_BREACHED, now_ns, BREACH_BEGAN);
  if (breach->state == BREACH_NO_DATA && is_met(reading->total, reading->bad, reading->allowed))
    return enter(breach, BREACH_HEALTHY, now_ns, BREACH_SAME);
  return BREACH_SAME;
}
