// When a role ends: at a signal, or with its owner.

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shop.h"

static struct {
  uv_signal_t signals[2];
  uv_poll_t owner;
  bool owned;
  void (*over)(void *userdata);
  void *userdata;
} life;

static void end_once(void)
{
  void (*over)(void *userdata) = life.over;
  life.over = NULL;
  if (over) over(life.userdata);
}

static void on_signal(uv_signal_t *handle, int number)
{
  (void)handle, (void)number;
  end_once();
}

static void on_owner(uv_poll_t *handle, int status, int events)
{
  (void)status, (void)events;
  uv_poll_stop(handle); // the descriptor stays readable
  end_once();
}

void life_watch(uv_loop_t *loop, void (*over)(void *userdata), void *userdata)
{
  static const int numbers[] = { SIGTERM, SIGINT };
  const char *owner = getenv("SHOP_OWNER");
  life.over = over;
  life.userdata = userdata;
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 2; i++) {
    uv_signal_init(loop, &life.signals[i]);
    uv_signal_start(&life.signals[i], on_signal, numbers[i]);
    uv_unref((uv_handle_t *)&life.signals[i]);
  }
  if (!owner) return;
  int fd = (int)syscall(SYS_pidfd_open, atoi(owner), 0u);
  if (fd < 0 || uv_poll_init(loop, &life.owner, fd) != 0) {
    if (kill(atoi(owner), 0) != 0) end_once(); // gone already; else a system without pidfd_open: signals must do
    return;
  }
  life.owned = true;
  uv_poll_start(&life.owner, UV_READABLE, on_owner);
  uv_unref((uv_handle_t *)&life.owner);
}

void life_end(uv_loop_t *loop)
{
  for (int i = 0; i < 2; i++) uv_close((uv_handle_t *)&life.signals[i], NULL);
  if (life.owned) uv_close((uv_handle_t *)&life.owner, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  uv_loop_close(loop);
}
