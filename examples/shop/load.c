// Customers: so many checkouts a second, whether they succeed or not, over keep-alive connections. What they see goes
// to standard output as JSON lines: one a second, and one at the first failure after 100 ms without any.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "shop.h"

enum { RATE_MAX = 5000, CONNECTIONS_MAX = 512, TICK_MS = 5, QUIET_MS = 100 };

struct load {
  uv_loop_t loop;
  uv_timer_t tick, second;
  struct client *client;
  int rate;
  uint64_t began_ns, sent;
  uint64_t failed_ms; // wall time of the last failure
  int ok, failed;     // since the last report
  uint32_t took_us[2 * RATE_MAX];
  int took_count;
  bool over;
};

struct order {
  struct load *load;
  uint64_t began_ns;
};

static uint64_t wall_ms(void)
{
  uv_timeval64_t time = { 0 };
  uv_gettimeofday(&time);
  return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_usec / 1000;
}

static void on_answer(void *userdata, int status)
{
  struct order *order = userdata;
  struct load *load = order->load;
  uint64_t took_us = (uv_hrtime() - order->began_ns) / 1000;
  free(order);
  if (load->over) return;
  if (load->took_count < 2 * RATE_MAX) load->took_us[load->took_count++] = (uint32_t)took_us;
  if (status == 200) {
    load->ok++;
    return;
  }
  uint64_t now_ms = wall_ms();
  if (now_ms - load->failed_ms > QUIET_MS) printf("{\"failure\":true,\"wall_ms\":%llu}\n", (unsigned long long)now_ms);
  load->failed_ms = now_ms;
  load->failed++;
}

static void on_tick(uv_timer_t *timer)
{
  struct load *load = timer->data;
  uint64_t due = (uv_hrtime() - load->began_ns) * (uint64_t)load->rate / 1000000000u;
  for (; load->sent < due; load->sent++) {
    struct order *order = calloc(1, sizeof *order);
    if (!order) return;
    *order = (struct order){ load, uv_hrtime() };
    client_send(load->client, "POST", "/checkout", on_answer, order);
  }
}

static int compare(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void on_second(uv_timer_t *timer)
{
  struct load *load = timer->data;
  int count = load->took_count;
  qsort(load->took_us, (size_t)count, sizeof *load->took_us, compare);
  printf("{\"wall_ms\":%llu,\"ok\":%d,\"failed\":%d,\"p50_us\":%u,\"p95_us\":%u}\n", (unsigned long long)wall_ms(),
         load->ok, load->failed, count ? load->took_us[count / 2] : 0, count ? load->took_us[count * 95 / 100] : 0);
  load->ok = load->failed = load->took_count = 0;
}

static void over(void *userdata)
{
  struct load *load = userdata;
  load->over = true; // what is under way is nobody's failure
  uv_close((uv_handle_t *)&load->tick, NULL);
  uv_close((uv_handle_t *)&load->second, NULL);
  client_close(load->client);
}

int load_run(const struct options *options)
{
  static struct load load;
  if (options->rate < 1 || options->rate > RATE_MAX) {
    fprintf(stderr, "shop: --rate is 1 to %d a second\n", RATE_MAX);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  uv_loop_init(&load.loop);
  int code = client_open(&load.client, &load.loop, options->target, CONNECTIONS_MAX, 2000);
  if (code != 0) return shop_fail(options->target, code);
  load.rate = options->rate;
  load.began_ns = uv_hrtime();
  load.tick.data = load.second.data = &load;
  uv_timer_init(&load.loop, &load.tick);
  uv_timer_start(&load.tick, on_tick, TICK_MS, TICK_MS);
  uv_timer_init(&load.loop, &load.second);
  uv_timer_start(&load.second, on_second, 1000, 1000);
  life_watch(&load.loop, over, &load);
  uv_run(&load.loop, UV_RUN_DEFAULT);
  life_end(&load.loop);
  return 0;
}
