// A ring of cumulative snapshots: what the counts were when each bucket began.
//
// Nothing is ever added up here, so nothing can be added twice: a fold stores what it was given, and a sum is one
// subtraction (mod 2^32). A SIGKILL keeps the stores made before it, in program order; `head` is one word that names
// both the current bucket and which of the two `latest` cells is in force, and everything is written before the `head`
// that makes it count. Buckets advance one `head` at a time, so the only snapshot ever overwritten while it might still
// be asked for is the oldest of the ring, and that one is never asked for: n buckets serve n - 1.
#include "window.h"

#include <stdatomic.h>

#include "check.h"

enum { WINDOW_MAGIC = 0x57494e31 };
#define TIME_LIMIT_NS (INT64_C(1) << 62)

// A tally mod 2^32.
struct cell {
  uint32_t total, bad, slow;
};

struct window {
  uint32_t magic; // written last by window_init
  uint32_t buckets;
  int64_t width_ns;
  int64_t origin_ns;     // when bucket number 0 began; bucket `i` began at origin + i * width
  _Atomic uint64_t head; // number of the current bucket, times two, plus the index of the latest cell
  struct cell latest[2]; // the cumulative tally of the last fold, and the place for the next
  struct cell began[];   // of bucket i at [i % buckets]
};

// A store that everything before it precedes and everything after it follows, also for a kill between the two: the
// fence stops the compiler, and the processor retires stores in program order.
static inline void publish_head(struct window *window, uint64_t number, uint64_t which)
{
  atomic_store_explicit(&window->head, number << 1 | which, memory_order_release);
  atomic_signal_fence(memory_order_seq_cst);
}

static inline uint64_t load_head(const struct window *window)
{
  return atomic_load_explicit(&window->head, memory_order_acquire);
}

static inline struct cell cell_of(struct tally tally)
{
  return (struct cell){ (uint32_t)tally.total, (uint32_t)tally.bad, (uint32_t)tally.slow };
}

static inline int64_t began_ns(const struct window *window, uint64_t number)
{
  return window->origin_ns + (int64_t)number * window->width_ns;
}

size_t window_size(uint32_t buckets)
{
  size_t size = sizeof(struct window) + buckets * sizeof(struct cell);
  return (size + _Alignof(struct window) - 1) & ~(_Alignof(struct window) - 1);
}

void window_init(struct window *window, int64_t width_ns, uint32_t buckets, int64_t now_ns, struct tally cumulative)
{
  CHECK(buckets >= 2 && width_ns > 0 && width_ns < TIME_LIMIT_NS / buckets);
  window->magic = 0;
  atomic_signal_fence(memory_order_seq_cst);
  window->buckets = buckets;
  window->width_ns = width_ns;
  // Numbers start at `buckets`, so that the ring's whole past has numbers too.
  window->origin_ns = now_ns - width_ns * (int64_t)buckets;
  struct cell cell = cell_of(cumulative);
  window->latest[0] = window->latest[1] = cell;
  for (uint32_t i = 0; i < buckets; i++) window->began[i] = cell;
  publish_head(window, buckets, 0);
  window->magic = WINDOW_MAGIC;
}

// Begins the buckets up to the one of now_ns with the counts of the last fold. After as many steps as there are
// buckets all snapshots are alike, and the rest of a long gap is one step.
static void advance(struct window *window, int64_t now_ns)
{
  uint64_t target = (uint64_t)((now_ns - window->origin_ns) / window->width_ns);
  uint64_t head = load_head(window);
  uint64_t number = head >> 1, which = head & 1;
  struct cell latest = window->latest[which];
  uint32_t slot = (uint32_t)(number % window->buckets);
  for (uint32_t steps = 0; number < target && steps < window->buckets; steps++) {
    if (++slot == window->buckets) slot = 0;
    window->began[slot] = latest;
    publish_head(window, ++number, which);
  }
  if (number < target) publish_head(window, target, which);
}

void window_fold(struct window *window, int64_t now_ns, struct tally cumulative)
{
  int64_t into_ns = now_ns - began_ns(window, load_head(window) >> 1);
  if (into_ns >= window->width_ns)
    advance(window, now_ns);
  else if (into_ns < 0)
    window->origin_ns += into_ns;
  uint64_t head = load_head(window);
  uint64_t next = ~head & 1;
  window->latest[next] = cell_of(cumulative);
  publish_head(window, head >> 1, next);
}

struct tally window_sum(const struct window *window, int64_t now_ns, int64_t span_ns)
{
  uint64_t head = load_head(window);
  uint64_t current = head >> 1;
  uint64_t seen = current; // the bucket that now_ns is in; later than `current` when nothing was folded since
  int64_t into_ns = now_ns - began_ns(window, current);
  if (into_ns >= window->width_ns) seen += (uint64_t)(into_ns / window->width_ns);

  uint64_t k = window->buckets - 1;
  if (span_ns < window_span_ns(window)) k = span_ns <= 0 ? 1 : (uint64_t)((span_ns - 1) / window->width_ns + 1);
  uint64_t first = seen - k + 1;
  if (first > current) return (struct tally){ 0 };
  const struct cell *from = &window->began[first % window->buckets], *to = &window->latest[head & 1];
  uint32_t total = to->total - from->total, bad = to->bad - from->bad, slow = to->slow - from->slow;
  return (struct tally){ total, bad, slow };
}

int64_t window_width_ns(const struct window *window)
{
  return window->width_ns;
}

int64_t window_span_ns(const struct window *window)
{
  return window->width_ns * (int64_t)(window->buckets - 1);
}

void window_rebase(struct window *window, int64_t then_ns, int64_t now_ns)
{
  window->origin_ns += now_ns - then_ns;
}

bool window_valid(const struct window *window, int64_t width_ns, uint32_t buckets)
{
  if (window->magic != WINDOW_MAGIC || window->buckets != buckets || window->width_ns != width_ns) return false;
  if (window->origin_ns <= -TIME_LIMIT_NS || window->origin_ns >= TIME_LIMIT_NS) return false;
  uint64_t number = load_head(window) >> 1;
  return number >= buckets && number < (uint64_t)(TIME_LIMIT_NS / width_ns);
}
