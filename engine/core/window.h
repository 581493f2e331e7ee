// A time-bucketed window over cumulative counts: exact over its buckets, O(1) to fold and to read, no running sum to
// drift.
//
// Bucket i keeps the cumulative tally as it was when the bucket began (mod 2^32), so the count over the last k buckets
// is one subtraction, any span up to the ring's is served, and an idle gap costs at most one pass over the ring. The
// window's edge is quantised: a span of S covers at least S - width and at most S of the past. One of the buckets is
// always the one being overwritten, so n of them serve n - 1. One writer (the fold);
// crash-safe in the arena: every order of stores leaves a window that the next fold makes whole.
#ifndef NINES_CORE_WINDOW_H
#define NINES_CORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tally.h"

struct window;

size_t window_size(uint32_t buckets); // bytes to give to window_init
// Starts empty at now_ns: what was counted before does not belong to it. buckets >= 2, width_ns > 0.
void window_init(struct window *window, int64_t width_ns, uint32_t buckets, int64_t now_ns, struct tally cumulative);
// Every beat in which something changed, and before reading: time goes forward, `cumulative` never shrinks. A now_ns
// before the last fold (a clock that went back, a reboot: monotonic time restarts) is handled by window_rebase; without
// it, the current bucket begins again at now_ns.
void window_fold(struct window *window, int64_t now_ns, struct tally cumulative);
// The tally over the last span_ns (rounded up to whole buckets, at most the ring's span), as of the last fold, seen at
// now_ns.
struct tally window_sum(const struct window *window, int64_t now_ns, int64_t span_ns);
int64_t window_width_ns(const struct window *window);
int64_t window_span_ns(const struct window *window); // the longest served: (buckets - 1) * width
// After a restart the monotonic clock has another origin: shifts the window so that what was `then_ns` is now `now_ns`.
void window_rebase(struct window *window, int64_t then_ns, int64_t now_ns);
// False when the header makes no sense (a damaged arena): the caller starts a fresh one.
bool window_valid(const struct window *window, int64_t width_ns, uint32_t buckets);

#endif
