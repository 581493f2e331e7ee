// The event loop over libuv.
//
// Every object owns its uv handle and is freed in the handle's close callback, which libuv runs one phase later: so
// stopping anything from inside its own callback is safe. A timer that ran asks libuv not to block in the same turn,
// because a turn that has done something is over. libuv's timers live outside its epoll descriptor; for hosts that wait
// on loop_fd and turn with wait 0, a timerfd inside the loop makes the descriptor readable when the next timer is due.
#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "duration.h"
#include "list.h"
#include "loop_uv.h"
#include "mem.h"

struct loop_wake {
  loop_fn *fn;
  void *userdata;
};

struct loop {
  uv_loop_t uv;
  uv_async_t wake;
  uv_timer_t wait; // bounds one turn
  uv_poll_t due;   // timer_fd: timers, for hosts that wait on the descriptor themselves
  int timer_fd;
  struct list timers, signals, watches;
  struct loop_wake *wakes;
  size_t wake_count;
};

struct loop_timer {
  uv_timer_t uv;
  struct list node;
  loop_fn *fn;
  void *userdata;
  uint64_t due_ms, interval_ms; // interval 0: once
};

struct loop_signal {
  uv_signal_t uv;
  struct list node;
  loop_signal_fn *fn;
  void *userdata;
};

struct loop_watch {
  uv_fs_event_t uv;
  uv_timer_t quiet;
  int open_handles;
  struct list node;
  uint64_t debounce_ms;
  loop_watch_fn *fn;
  void *userdata;
  char *dir;
};

uv_loop_t *loop_uv(struct loop *loop)
{
  return &loop->uv;
}

static uint64_t ms_of(int64_t ns)
{
  return ns <= 0 ? 0 : (uint64_t)((ns - 1) / NS_PER_MS + 1);
}

static void on_wake(uv_async_t *handle)
{
  struct loop *loop = handle->data;
  for (size_t i = 0; i < loop->wake_count; i++) loop->wakes[i].fn(loop->wakes[i].userdata);
}

static void on_wait_over(uv_timer_t *handle)
{
  (void)handle; // its only purpose was to end the wait
}

static void on_due(uv_poll_t *handle, int status, int events)
{
  (void)status, (void)events;
  struct loop *loop = handle->data;
  uint64_t expirations;
  (void)!read(loop->timer_fd, &expirations, sizeof expirations); // the timers themselves run by libuv's own account
}

int loop_open(struct loop **out, struct status *status)
{
  *out = NULL;
  struct loop *loop = mem_must(sizeof *loop);
  int code = uv_loop_init(&loop->uv);
  if (code != 0) {
    mem_free(loop);
    return status_set(status, NINES_EIO, "cannot start the event loop: %s; raise the limit of open files (ulimit -n)",
                      uv_strerror(code));
  }
  list_init(&loop->timers);
  list_init(&loop->signals);
  list_init(&loop->watches);
  CHECK(uv_timer_init(&loop->uv, &loop->wait) == 0);
  loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  code = loop->timer_fd < 0 ? -errno : uv_poll_init(&loop->uv, &loop->due, loop->timer_fd);
  if (code == 0) {
    loop->due.data = loop;
    code = uv_poll_start(&loop->due, UV_READABLE, on_due);
  }
  if (code == 0) code = uv_async_init(&loop->uv, &loop->wake, on_wake);
  if (code != 0) {
    loop_close(loop);
    return status_set(status, NINES_EIO, "cannot start the event loop: %s; raise the limit of open files (ulimit -n)",
                      uv_strerror(code));
  }
  loop->wake.data = loop;
  // A peer that went away must be an error of the write, not the end of the process; a handler of the host's stays.
  struct sigaction action;
  if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
  *out = loop;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  mem_free(handle->data);
}

static void signal_closed(uv_handle_t *handle)
{
  mem_free(handle->data);
}

static void watch_closed(uv_handle_t *handle)
{
  struct loop_watch *watch = handle->data;
  if (--watch->open_handles > 0) return;
  mem_free(watch->dir);
  mem_free(watch);
}

static void close_leftover(uv_handle_t *handle, void *unused)
{
  (void)unused;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void loop_close(struct loop *loop)
{
  if (loop == NULL) return;
  list_each (node, &loop->timers) loop_timer_stop(list_entry(node, struct loop_timer, node));
  list_each (node, &loop->watches) loop_watch_stop(list_entry(node, struct loop_watch, node));
  list_each (node, &loop->signals) {
    struct loop_signal *entry = list_entry(node, struct loop_signal, node);
    list_remove(node);
    uv_close((uv_handle_t *)&entry->uv, signal_closed);
  }
  uv_walk(&loop->uv, close_leftover, NULL);
  while (uv_loop_close(&loop->uv) == UV_EBUSY) uv_run(&loop->uv, UV_RUN_DEFAULT);
  if (loop->timer_fd >= 0) close(loop->timer_fd);
  mem_free(loop->wakes);
  mem_free(loop);
}

// The host waits on the descriptor by itself: let it become readable when the next timer is due.
static void arm_descriptor(struct loop *loop)
{
  int timeout_ms = uv_backend_timeout(&loop->uv);
  struct itimerspec spec = { 0 };
  if (timeout_ms >= 0) {
    spec.it_value.tv_sec = timeout_ms / 1000;
    spec.it_value.tv_nsec = timeout_ms == 0 ? 1 : (timeout_ms % 1000) * NS_PER_MS;
  }
  (void)timerfd_settime(loop->timer_fd, 0, &spec, NULL);
}

int loop_turn(struct loop *loop, int64_t wait_max_ns)
{
  if (wait_max_ns == 0) {
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    arm_descriptor(loop);
    return 0;
  }
  if (wait_max_ns > 0) {
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->wait, on_wait_over, ms_of(wait_max_ns), 0);
  }
  uv_run(&loop->uv, UV_RUN_ONCE);
  if (wait_max_ns > 0) uv_timer_stop(&loop->wait);
  return 0;
}

int loop_fd(const struct loop *loop)
{
  return uv_backend_fd(&loop->uv);
}

static uint64_t now_in_ms(void)
{
  return (uint64_t)(clock_now_ns() / NS_PER_MS);
}

static void on_timer(uv_timer_t *handle)
{
  struct loop_timer *timer = handle->data;
  loop_fn *fn = timer->fn;
  void *userdata = timer->userdata;
  uv_stop(handle->loop);
  if (timer->interval_ms == 0) {
    loop_timer_stop(timer);
  } else {
    // On the grid of the first tick, so that a late tick does not shift the following ones.
    uint64_t now_ms = now_in_ms();
    timer->due_ms += timer->interval_ms;
    if (timer->due_ms <= now_ms)
      timer->due_ms += ((now_ms - timer->due_ms) / timer->interval_ms + 1) * timer->interval_ms;
    uv_timer_start(handle, on_timer, timer->due_ms - now_ms, 0);
  }
  fn(userdata);
}

static struct loop_timer *timer_start(struct loop *loop, int64_t delay_ns, uint64_t interval_ms, loop_fn *fn,
                                      void *userdata)
{
  struct loop_timer *timer = mem_must(sizeof *timer);
  CHECK(uv_timer_init(&loop->uv, &timer->uv) == 0);
  timer->uv.data = timer;
  timer->fn = fn;
  timer->userdata = userdata;
  timer->interval_ms = interval_ms;
  uv_update_time(&loop->uv); // libuv counts from its cached time
  timer->due_ms = now_in_ms() + ms_of(delay_ns);
  uv_timer_start(&timer->uv, on_timer, ms_of(delay_ns), 0);
  list_append(&loop->timers, &timer->node);
  return timer;
}

struct loop_timer *loop_every(struct loop *loop, int64_t delay_ns, int64_t interval_ns, loop_fn *fn, void *userdata)
{
  CHECK(interval_ns > 0);
  return timer_start(loop, delay_ns, ms_of(interval_ns), fn, userdata);
}

struct loop_timer *loop_after(struct loop *loop, int64_t delay_ns, loop_fn *fn, void *userdata)
{
  return timer_start(loop, delay_ns, 0, fn, userdata);
}

void loop_timer_stop(struct loop_timer *timer)
{
  if (timer == NULL || uv_is_closing((uv_handle_t *)&timer->uv)) return;
  list_remove(&timer->node);
  uv_close((uv_handle_t *)&timer->uv, timer_closed);
}

void loop_on_wake(struct loop *loop, loop_fn *fn, void *userdata)
{
  loop->wakes = mem_must_resize(loop->wakes, (loop->wake_count + 1) * sizeof *loop->wakes);
  loop->wakes[loop->wake_count++] = (struct loop_wake){ fn, userdata };
}

void loop_wake(struct loop *loop)
{
  uv_async_send(&loop->wake);
}

static void on_signal(uv_signal_t *handle, int number)
{
  struct loop_signal *entry = handle->data;
  entry->fn(entry->userdata, number);
}

int loop_on_signal(struct loop *loop, int number, loop_signal_fn *fn, void *userdata, struct status *status)
{
  struct loop_signal *entry = mem_must(sizeof *entry);
  int code = uv_signal_init(&loop->uv, &entry->uv);
  if (code != 0) {
    mem_free(entry);
    return status_set(status, NINES_EIO, "cannot listen for signals: %s", uv_strerror(code));
  }
  entry->uv.data = entry;
  entry->fn = fn;
  entry->userdata = userdata;
  code = uv_signal_start(&entry->uv, on_signal, number);
  if (code != 0) {
    uv_close((uv_handle_t *)&entry->uv, signal_closed);
    return status_set(status, NINES_EINVAL, "cannot listen for signal %d: %s", number, uv_strerror(code));
  }
  list_append(&loop->signals, &entry->node);
  return 0;
}

static void on_quiet(uv_timer_t *handle)
{
  struct loop_watch *watch = handle->data;
  uv_stop(handle->loop);
  watch->fn(watch->userdata, watch->dir);
}

static void on_change(uv_fs_event_t *handle, const char *name, int events, int status)
{
  (void)name, (void)events, (void)status;
  struct loop_watch *watch = handle->data;
  if (uv_is_closing((uv_handle_t *)&watch->quiet)) return;
  uv_timer_start(&watch->quiet, on_quiet, watch->debounce_ms, 0);
}

int loop_watch(struct loop *loop, const char *dir, int64_t debounce_ns, loop_watch_fn *fn, void *userdata,
               struct loop_watch **out, struct status *status)
{
  *out = NULL;
  struct loop_watch *watch = mem_must(sizeof *watch);
  watch->debounce_ms = ms_of(debounce_ns);
  watch->fn = fn;
  watch->userdata = userdata;
  watch->dir = mem_must_copy(dir);
  watch->open_handles = 2;
  CHECK(uv_fs_event_init(&loop->uv, &watch->uv) == 0);
  CHECK(uv_timer_init(&loop->uv, &watch->quiet) == 0);
  watch->uv.data = watch->quiet.data = watch;
  list_append(&loop->watches, &watch->node);
  int code = uv_fs_event_start(&watch->uv, on_change, dir, 0);
  if (code != 0) {
    loop_watch_stop(watch);
    if (code == UV_ENOENT) return status_set(status, NINES_ENOTFOUND, "cannot watch %s: no such directory", dir);
    return status_set(status, NINES_EIO, "cannot watch %s: %s%s", dir, uv_strerror(code),
                      code == UV_ENOSPC ? " (raise fs.inotify.max_user_watches)" : "");
  }
  *out = watch;
  return 0;
}

void loop_watch_stop(struct loop_watch *watch)
{
  if (watch == NULL || uv_is_closing((uv_handle_t *)&watch->uv)) return;
  list_remove(&watch->node);
  uv_close((uv_handle_t *)&watch->uv, watch_closed);
  uv_close((uv_handle_t *)&watch->quiet, watch_closed);
}
