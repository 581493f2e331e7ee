// The event loop, libuv inside: timers, wake-ups from other threads, signals, watched directories.
//
// All callbacks run on the thread that turns the loop. libuv's types stay inside io/ (loop_uv.h is private to io/ and
// proxy/).
#ifndef NINES_IO_LOOP_H
#define NINES_IO_LOOP_H

#include <stdint.h>

#include "status.h"

struct loop;
struct loop_timer;
struct loop_watch;
typedef void loop_fn(void *userdata);
typedef void loop_signal_fn(void *userdata, int signal);
typedef void loop_watch_fn(void *userdata, const char *dir);

int loop_open(struct loop **out, struct status *status);
// Closes everything still open on it (handles are closed, their callbacks do not run) and frees it.
void loop_close(struct loop *loop);
// Waits for at most wait_max_ns (0: not at all; <0: until something happens), runs what is due. 0, or NINES_EIO.
int loop_turn(struct loop *loop, int64_t wait_max_ns);
int loop_fd(const struct loop *loop);

// Repeats every interval_ns (whole ms), first after delay_ns; missed ticks are not made up.
struct loop_timer *loop_every(struct loop *loop, int64_t delay_ns, int64_t interval_ns, loop_fn *fn, void *userdata);
struct loop_timer *loop_after(struct loop *loop, int64_t delay_ns, loop_fn *fn,
                              void *userdata);  // once; freed after it ran
void loop_timer_stop(struct loop_timer *timer); // NULL is fine

void loop_on_wake(struct loop *loop, loop_fn *fn, void *userdata); // several may be set; each runs on every wake
void loop_wake(struct loop *loop);                                 // [any]

int loop_on_signal(struct loop *loop, int signal, loop_signal_fn *fn, void *userdata, struct status *status);
// Calls once when the directory has been quiet for debounce_ns after changes in it (not below it).
int loop_watch(struct loop *loop, const char *dir, int64_t debounce_ns, loop_watch_fn *fn, void *userdata,
               struct loop_watch **out, struct status *status);
void loop_watch_stop(struct loop_watch *watch);

#endif
