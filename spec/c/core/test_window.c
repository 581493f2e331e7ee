// A window against a list of events, and against SIGKILL.
//
// The oracle keeps every fold with its time and its increment and adds up, from scratch, those whose bucket (counted
// from the window's start by plain division) is one of the last k.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/seed.h"
#include "window.h"

#define NS_PER_S INT64_C(1000000000)

enum { EVENTS_MAX = 4096 };
struct event {
  int64_t time_ns;
  struct tally more;
};
struct oracle {
  int64_t begin_ns, width_ns;
  uint32_t buckets;
  size_t first, end; // of the ring of events
  struct event event[EVENTS_MAX];
};

static int64_t bucket_of(const struct oracle *oracle, int64_t time_ns)
{
  return (time_ns - oracle->begin_ns) / oracle->width_ns;
}

static void oracle_add(struct oracle *oracle, int64_t time_ns, struct tally more)
{
  // Events that the ring no longer holds are dropped, so that adding up stays affordable.
  while (oracle->first < oracle->end && bucket_of(oracle, oracle->event[oracle->first % EVENTS_MAX].time_ns) <
                                            bucket_of(oracle, time_ns) - (int64_t)oracle->buckets)
    oracle->first++;
  assert_true(oracle->end - oracle->first < EVENTS_MAX);
  oracle->event[oracle->end++ % EVENTS_MAX] = (struct event){ time_ns, more };
}

static struct tally oracle_sum(const struct oracle *oracle, int64_t now_ns, int64_t span_ns)
{
  int64_t k = (span_ns + oracle->width_ns - 1) / oracle->width_ns;
  if (k < 1) k = 1;
  if (k > (int64_t)oracle->buckets - 1) k = (int64_t)oracle->buckets - 1;
  struct tally sum = { 0 };
  for (size_t i = oracle->first; i < oracle->end; i++) {
    const struct event *event = &oracle->event[i % EVENTS_MAX];
    if (bucket_of(oracle, event->time_ns) > bucket_of(oracle, now_ns) - k) sum = tally_add(sum, event->more);
  }
  return sum;
}

static void assert_tally(struct tally got, struct tally expected)
{
  assert_int_equal(got.total, expected.total);
  assert_int_equal(got.bad, expected.bad);
  assert_int_equal(got.slow, expected.slow);
}

static struct tally random_more(struct rng *rng)
{
  struct tally more;
  more.total = rng_below(rng, 16) == 0 ? rng_below(rng, 1000000) : rng_below(rng, 4);
  more.bad = rng_below(rng, more.total + 1);
  more.slow = rng_below(rng, more.total + 1);
  return more;
}

// Mostly beats, sometimes an idle gap within, around or far beyond the ring.
static int64_t random_step_ns(struct rng *rng, int64_t width_ns, uint32_t buckets)
{
  switch (rng_below(rng, 64)) {
  case 0:
    return (int64_t)rng_below(rng, (uint64_t)width_ns * buckets * 2);
  case 1:
    return (int64_t)rng_below(rng, (uint64_t)width_ns * 4);
  case 2:
    return rng_below(rng, 64) == 0 ? (int64_t)rng_below(rng, 3650 * 86400 * (uint64_t)NS_PER_S / 100) : 0;
  case 3:
    return width_ns;
  default:
    return (int64_t)rng_below(rng, (uint64_t)width_ns / 4 + 2);
  }
}

static void random_walk(struct rng *rng, int64_t width_ns, uint32_t buckets, int steps)
{
  struct window *window = malloc(window_size(buckets));
  static struct oracle oracle;
  int64_t now_ns = (int64_t)rng_below(rng, 1000 * (uint64_t)NS_PER_S);
  // Starts close below 2^32, so that the counters wrap; and above, so that truncation of the start is seen.
  struct tally cumulative = { rng_below(rng, UINT64_C(1) << 34), UINT32_MAX - rng_below(rng, 1000), UINT32_MAX };
  oracle = (struct oracle){ .begin_ns = now_ns, .width_ns = width_ns, .buckets = buckets };
  window_init(window, width_ns, buckets, now_ns, cumulative);
  for (int i = 0; i < steps; i++) {
    now_ns += random_step_ns(rng, width_ns, buckets);
    if (rng_below(rng, 8)) {
      struct tally more = random_more(rng);
      cumulative = tally_add(cumulative, more);
      window_fold(window, now_ns, cumulative);
      oracle_add(&oracle, now_ns, more);
    }
    if (rng_below(rng, 4096) == 0) { // a restart: another origin of time
      int64_t shift_ns = (int64_t)rng_below(rng, 2000 * (uint64_t)NS_PER_S) - 1000 * NS_PER_S;
      window_rebase(window, now_ns, now_ns + shift_ns);
      oracle.begin_ns += shift_ns;
      for (size_t e = oracle.first; e < oracle.end; e++) oracle.event[e % EVENTS_MAX].time_ns += shift_ns;
      now_ns += shift_ns;
    }
    if (rng_below(rng, 8) == 0) {
      int64_t span_ns = (int64_t)rng_below(rng, (uint64_t)width_ns * (buckets + 2));
      if (rng_below(rng, 4) == 0) span_ns = span_ns / width_ns * width_ns;
      assert_tally(window_sum(window, now_ns, span_ns), oracle_sum(&oracle, now_ns, span_ns));
    }
  }
  assert_true(window_valid(window, width_ns, buckets));
  free(window);
}

static void a_million_random_steps(void **state)
{
  (void)state;
  struct rng rng = seed_stream("window_walk");
  random_walk(&rng, NS_PER_S, 61, 400000);
  random_walk(&rng, 5 * NS_PER_S, 13, 200000);
  random_walk(&rng, NS_PER_S / 10, 2, 200000);
  random_walk(&rng, 7, 5, 100000);
  random_walk(&rng, 1, 3, 100000);
}

static void every_span_of_every_length(void **state)
{
  (void)state;
  struct rng rng = seed_stream("window_spans");
  enum { BUCKETS = 24 };
  struct window *window = malloc(window_size(BUCKETS));
  static struct oracle oracle;
  struct tally cumulative = { 0 };
  oracle = (struct oracle){ .width_ns = 10, .buckets = BUCKETS };
  window_init(window, 10, BUCKETS, 0, cumulative);
  assert_int_equal(window_width_ns(window), 10);
  assert_int_equal(window_span_ns(window), 230);
  for (int64_t now_ns = 0; now_ns < 600; now_ns++) {
    struct tally more = random_more(&rng);
    cumulative = tally_add(cumulative, more);
    window_fold(window, now_ns, cumulative);
    oracle_add(&oracle, now_ns, more);
    for (int64_t span_ns = 0; span_ns < 300; span_ns += 1)
      assert_tally(window_sum(window, now_ns, span_ns), oracle_sum(&oracle, now_ns, span_ns));
  }
  for (int64_t now_ns = 600; now_ns < 900; now_ns++) // read ahead of the last fold
    for (int64_t span_ns = 0; span_ns < 300; span_ns += 7)
      assert_tally(window_sum(window, now_ns, span_ns), oracle_sum(&oracle, now_ns, span_ns));
  free(window);
}

static void validity(void **state)
{
  (void)state;
  struct window *window = calloc(1, window_size(8));
  assert_false(window_valid(window, 10, 8));
  window_init(window, 10, 8, 1000, (struct tally){ 5, 4, 3 });
  assert_true(window_valid(window, 10, 8));
  assert_false(window_valid(window, 11, 8));
  assert_false(window_valid(window, 10, 9));
  assert_tally(window_sum(window, 1000, 70), (struct tally){ 0 });
  memset((void *)window, 0xff, window_size(8));
  assert_false(window_valid(window, 10, 8));
  free(window);
}

static void a_clock_that_went_back_keeps_counting(void **state)
{
  (void)state;
  struct window *window = malloc(window_size(8));
  window_init(window, 10, 8, 1000000, (struct tally){ 0 });
  window_fold(window, 1000015, (struct tally){ 5, 1, 0 });
  window_fold(window, 3, (struct tally){ 7, 1, 0 });
  assert_tally(window_sum(window, 3, 10), (struct tally){ 7, 1, 0 });
  window_fold(window, 14, (struct tally){ 8, 1, 0 });
  assert_tally(window_sum(window, 14, 10), (struct tally){ 1, 0, 0 });
  assert_tally(window_sum(window, 14, 20), (struct tally){ 8, 1, 0 });
  free(window);
}

// The child folds steps of a fixed sequence and is killed somewhere. The parent replays the sequence up to the last
// step known to be done, with and without the one that may have been half done, and folds one more: one of the two
// histories has to fit for every span at once.
enum { CRASH_WIDTH_NS = 20, CRASH_BUCKETS = 16, CRASH_ROUNDS = 200 };
struct shared {
  volatile uint64_t begun, done;
  _Alignas(8) char window[4096];
};

static void next_step(struct rng *rng, int64_t *now_ns, struct tally *cumulative, struct tally *more)
{
  *more = random_more(rng);
  *now_ns += random_step_ns(rng, CRASH_WIDTH_NS, CRASH_BUCKETS) * 3;
  *cumulative = tally_add(*cumulative, *more);
}

static void fold_until_killed(struct shared *shared, struct rng rng)
{
  int64_t now_ns = 0;
  struct tally cumulative = { 0 }, more;
  for (uint64_t step = 1;; step++) {
    next_step(&rng, &now_ns, &cumulative, &more);
    shared->begun = step;
    window_fold((struct window *)shared->window, now_ns, cumulative);
    shared->done = step;
  }
}

static struct oracle *replay(struct rng *rng, uint64_t steps, bool last_counts_in_next, int64_t *now_ns,
                             struct tally *cumulative)
{
  static struct oracle oracle;
  oracle = (struct oracle){ .width_ns = CRASH_WIDTH_NS, .buckets = CRASH_BUCKETS };
  struct tally carried = { 0 }, more;
  *now_ns = 0;
  *cumulative = (struct tally){ 0 };
  for (uint64_t step = 1; step <= steps; step++) {
    next_step(rng, now_ns, cumulative, &more);
    if (step == steps - 1 && last_counts_in_next)
      carried = more;
    else
      oracle_add(&oracle, *now_ns, tally_add(more, carried));
  }
  return &oracle;
}

static bool history_fits(const struct window *window, struct rng rng, uint64_t steps, bool last_counts_in_next)
{
  int64_t now_ns;
  struct tally cumulative;
  const struct oracle *oracle = replay(&rng, steps, last_counts_in_next, &now_ns, &cumulative);
  for (int64_t span_ns = 1; span_ns <= CRASH_WIDTH_NS * CRASH_BUCKETS; span_ns++) {
    struct tally got = window_sum(window, now_ns, span_ns), expected = oracle_sum(oracle, now_ns, span_ns);
    if (got.total != expected.total || got.bad != expected.bad || got.slow != expected.slow) return false;
  }
  return true;
}

static void a_kill_loses_nothing_and_counts_nothing_twice(void **state)
{
  (void)state;
  struct rng rng = seed_stream("window_kill");
  struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(shared != MAP_FAILED && window_size(CRASH_BUCKETS) <= sizeof shared->window);
  int half_done = 0;
  for (int round = 0; round < CRASH_ROUNDS; round++) {
    struct rng sequence;
    rng_init(&sequence, rng_next(&rng), "sequence");
    struct window *window = (struct window *)shared->window;
    shared->begun = shared->done = 0;
    window_init(window, CRASH_WIDTH_NS, CRASH_BUCKETS, 0, (struct tally){ 0 });
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) fold_until_killed(shared, sequence);
    uint64_t goal = 1 + rng_below(&rng, 2000);
    while (shared->begun < goal) usleep(20);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);

    uint64_t begun = shared->begun, done = shared->done;
    assert_true(begun == done || begun == done + 1);
    half_done += begun != done;
    struct rng replayed = sequence;
    int64_t now_ns;
    struct tally cumulative;
    replay(&replayed, begun + 1, false, &now_ns, &cumulative);
    assert_true(window_valid(window, CRASH_WIDTH_NS, CRASH_BUCKETS));
    window_fold(window, now_ns, cumulative);
    assert_true(history_fits(window, sequence, begun + 1, false) ||
                (begun != done && history_fits(window, sequence, begun + 1, true)));
  }
  print_message("%d of %d kills hit a fold half way\n", half_done, CRASH_ROUNDS);
  munmap(shared, sizeof *shared);
}

// The same exhaustively: a fold that begins several buckets is run one instruction at a time, and after each one a copy
// of the memory, as a kill would leave it, takes the next fold.
static void be_single_stepped(struct shared *shared, int64_t now_ns, struct tally cumulative)
{
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(1); // not allowed here
  raise(SIGSTOP);
  window_fold((struct window *)shared->window, now_ns, cumulative);
  shared->done = 1;
  _exit(0);
}

static bool fits_at_every_span(const struct window *window, const struct oracle *oracle, int64_t now_ns)
{
  for (int64_t span_ns = 1; span_ns <= oracle->width_ns * oracle->buckets; span_ns += oracle->width_ns / 2) {
    struct tally got = window_sum(window, now_ns, span_ns), expected = oracle_sum(oracle, now_ns, span_ns);
    if (memcmp(&got, &expected, sizeof got) != 0) return false;
  }
  return true;
}

static void fold_dies_at_every_instruction(int64_t gap_ns, int64_t next_ns)
{
  enum { WIDTH_NS = 20, BUCKETS = 8 };
  struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(shared != MAP_FAILED);
  struct window *window = (struct window *)shared->window;
  static struct oracle applied, carried;
  applied = carried = (struct oracle){ .width_ns = WIDTH_NS, .buckets = BUCKETS };
  struct tally cumulative = { 0 };
  window_init(window, WIDTH_NS, BUCKETS, 0, cumulative);
  int64_t now_ns = 0;
  for (uint64_t i = 1; i <= 20; i++) { // one and a half rings of history, a different count in each bucket
    struct tally more = { i * i + 3, i * 3, i };
    cumulative = tally_add(cumulative, more);
    now_ns += 11;
    window_fold(window, now_ns, cumulative);
    oracle_add(&applied, now_ns, more);
    oracle_add(&carried, now_ns, more);
  }
  const struct tally dying = { 1000, 100, 10 }, next = { 5000, 500, 50 };
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) be_single_stepped(shared, now_ns + gap_ns, tally_add(cumulative, dying));
  oracle_add(&applied, now_ns + gap_ns, dying);
  oracle_add(&applied, now_ns + gap_ns + next_ns, next);
  oracle_add(&carried, now_ns + gap_ns + next_ns, tally_add(dying, next));
  cumulative = tally_add(cumulative, tally_add(dying, next));
  now_ns += gap_ns + next_ns;

  struct window *copy = malloc(window_size(BUCKETS)), *last = calloc(1, window_size(BUCKETS));
  int status, states = 0;
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    if (memcmp(last, window, window_size(BUCKETS)) != 0) { // another store was made
      states++;
      memcpy((void *)last, window, window_size(BUCKETS));
      memcpy((void *)copy, window, window_size(BUCKETS));
      assert_true(window_valid(copy, WIDTH_NS, BUCKETS));
      window_fold(copy, now_ns, cumulative);
      assert_true(fits_at_every_span(copy, &applied, now_ns) || fits_at_every_span(copy, &carried, now_ns));
    }
    if (states == 1) ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL);
    if (shared->done)
      kill(child, SIGKILL); // what follows the fold is of no interest, and long under a sanitizer
    else
      assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 1) skip();
  print_message("gap %lld ns: %d states of memory\n", (long long)gap_ns, states);
  assert_true(shared->done && states >= 4);
  free(copy);
  free(last);
  munmap(shared, sizeof *shared);
}

static void every_instruction_is_a_safe_place_to_die(void **state)
{
  (void)state;
  static const int64_t gap_ns[] = { 1, 20, 45, 165, 1000 };
  for (size_t i = 0; i < sizeof gap_ns / sizeof *gap_ns; i++) {
    fold_dies_at_every_instruction(gap_ns[i], 1);
    fold_dies_at_every_instruction(gap_ns[i], 25); // the next fold begins a bucket with what it finds
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_million_random_steps),
    cmocka_unit_test(every_span_of_every_length),
    cmocka_unit_test(validity),
    cmocka_unit_test(a_clock_that_went_back_keeps_counting),
    cmocka_unit_test(a_kill_loses_nothing_and_counts_nothing_twice),
    cmocka_unit_test(every_instruction_is_a_safe_place_to_die),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
