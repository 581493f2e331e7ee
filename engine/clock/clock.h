// The only place that reads the system's clocks; and a clock moved by hand.
//
// Monotonic nanoseconds for every decision; wall nanoseconds (since 1970, UTC) for display and for timers that must
// survive a restart. Wall time is anchored once and advanced with the monotonic clock; clock_step tells how far the
// system's wall clock has moved away from it since, so that a step is an input and never a surprise.
#ifndef NINES_CLOCK_CLOCK_H
#define NINES_CLOCK_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#include "nines.h"

struct nines_clock *clock_system_open(void); // never NULL
void clock_system_close(struct nines_clock *clock);

// How far the system's wall clock is now ahead of `clock`'s (negative: behind); beyond 500 ms the caller should
// re-anchor.
int64_t clock_step_ns(struct nines_clock *clock);
void clock_reanchor(struct nines_clock *clock);

int64_t clock_now_ns(void);        // [any] CLOCK_MONOTONIC
int64_t clock_coarse_ns(void);     // [any] CLOCK_MONOTONIC_COARSE: a few ms behind, a few ns to read
int64_t clock_thread_cpu_ns(void); // [any] CPU time of this thread, for budgets

// A clock moved by hand. Starts at monotonic 0 and Monday 2026-01-05 00:00 UTC.
#define CLOCK_VIRTUAL_WALL_NS (1767571200LL * 1000000000LL)
struct clock_virtual {
  struct nines_clock clock; // first: a struct clock_virtual * is a nines_clock *
  int64_t now_ns;
  int64_t wall_offset_ns; // wall = now + offset
};
void clock_virtual_init(struct clock_virtual *clock);

// "2026-01-05T00:00:00.000Z" (RFC 3339, UTC, milliseconds). Returns `out`.
enum { CLOCK_TEXT_MAX = 32 };
char *clock_format(int64_t wall_ns, char out[static CLOCK_TEXT_MAX]);
// The other way: RFC 3339 with Z or an offset, up to nanoseconds, years 1970 to 2200. False: it is none.
bool clock_parse(struct view text, int64_t *wall_ns);

#endif
