// The director of the demo: wakes the shop, installs v1, lets customers in, deploys a version that fails every other
// payment, and follows what the engine in the shop's gateway does, all through the engine's HTTP API as any client
// would. Nothing here notices or mends: policies/checkout.lua of the shop's project does.

#include "demo.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "demo_shop.h"
#include "demo_story.h"
#include "duration.h"
#include "fetch.h"
#include "json.h"
#include "loop.h"

enum { RATE = 200, SECONDS_DEFAULT = 15, SECONDS_MIN = 2, SECONDS_MAX = 50 };
#define POLL_NS  (100 * NS_PER_MS)
#define LIMIT_NS (85 * NS_PER_S) // so that all is over, cleaned up, within 90 s
#define AFTER_NS (2 * NS_PER_S)  // the story goes on after the recovery: the note to the team

enum phase { WAKING, INSTALLING, TRADING, WATCHING, AFTERWARDS, KEPT, OVER };

struct demo {
  bool keep;
  int64_t bad_after_ns;
  struct demo_shop shop;
  struct demo_story story;
  struct loop *loop;
  struct fetcher *fetcher;
  struct nines_clock *clock;
  enum phase phase;
  int64_t began_ns, phase_ns; // when it began, when its phase did
  struct buf lines;           // of the load
  uint64_t after;             // number of the last event seen
  bool asking;
  bool told; // the timeline
  struct status failure;
};

static void enter(struct demo *demo, enum phase phase)
{
  demo->phase = phase;
  demo->phase_ns = clock_now_ns();
}

static void fail(struct demo *demo)
{
  if (demo->phase != KEPT) enter(demo, OVER);
}

// --- the engine's API

static int ask(struct demo *demo, const char *path, struct view body, fetch_fn *done)
{
  static const char *const headers[] = { "Content-Type: application/json", "Nines-Actor: demo", NULL };
  struct buf url = { 0 };
  struct fetch *fetch;
  buf_printf(&url, "http://localhost%s", path);
  struct fetch_request request = {
    .url = url.data, .headers = headers, .body = body, .unix_socket = demo->shop.socket, .timeout_ns = 5 * NS_PER_S
  };
  int code = fetch_start(demo->fetcher, &request, done, demo, &fetch, &demo->failure);
  buf_free(&url);
  if (code < 0) fail(demo);
  return code;
}

static void on_ordered(void *userdata, const struct fetch_reply *reply)
{
  struct demo *demo = userdata;
  if (reply->code == 0 && reply->status < 300) return;
  status_set(&demo->failure, NINES_EIO, "the deployment was refused: %.*s", (int)(reply->code ? 0 : reply->body.size),
             reply->body.data ? reply->body.data : "");
  fail(demo);
}

static void deploy(struct demo *demo, const char *body)
{
  ask(demo, "/v1/services/payments/deployments", view_of(body), on_ordered);
}

// Hands over each line of JSON; what is left is less than a line.
static size_t each_line(struct demo *demo, struct view text, void (*take)(struct demo *demo, const struct value *line))
{
  size_t at = 0;
  for (const char *end; at < text.size && (end = memchr(text.data + at, '\n', text.size - at));) {
    struct pool pool = { 0 };
    struct value line;
    struct status status = { 0 };
    struct view json = { text.data + at, (size_t)(end - text.data) - at };
    if (json.size && json_parse(&pool, json, &line, &status) == 0) take(demo, &line);
    pool_fini(&pool);
    at = (size_t)(end - text.data) + 1;
  }
  return at;
}

static void take_event(struct demo *demo, const struct value *line)
{
  demo->after = (uint64_t)value_get_integer(line, "sequence", (int64_t)demo->after);
  demo_story_event(&demo->story, line);
  if (!view_is(value_get_text(line, "topic"), "deploy.failed") || demo->phase == KEPT) return;
  struct view why = value_get_text(value_get(line, "event"), "error");
  status_set(&demo->failure, NINES_EIO, "a deployment failed: %.*s", (int)why.size, why.data ? why.data : "");
  fail(demo);
}

static void on_events(void *userdata, const struct fetch_reply *reply)
{
  struct demo *demo = userdata;
  demo->asking = false;
  if (reply->code != 0 || reply->status != 200) return; // not awake yet, or busy: asked again
  each_line(demo, reply->body, take_event);
  if (demo->phase != WAKING) return;
  enter(demo, INSTALLING);
  deploy(demo, "{\"version\":\"v1\"}");
}

static void poll_events(struct demo *demo)
{
  char path[64];
  if (demo->asking) return;
  snprintf(path, sizeof path, "/v1/events?after=%llu", (unsigned long long)demo->after);
  demo->asking = ask(demo, path, (struct view){ 0 }, on_events) == 0;
}

// --- the plot

static void take_load(struct demo *demo, const struct value *line)
{
  if (demo->phase != KEPT || value_get(line, "failure")) demo_story_load(&demo->story, line);
}

static void order_bad_version(struct demo *demo)
{
  demo->story.deploy_wall_ns = demo->clock->wall_ns(demo->clock);
  demo_story_say(&demo->story, "  +0.00 s  deploy       payments v2 is ordered, which fails every other payment");
  enter(demo, WATCHING);
  deploy(demo, "{\"version\":\"v2\"}");
}

static void keep(struct demo *demo)
{
  const struct demo_shop *shop = &demo->shop;
  enter(demo, KEPT);
  demo_story_end(&demo->story, demo->clock->wall_ns(demo->clock), NULL);
  demo->told = true;
  demo_story_say(&demo->story,
                 "\nThe shop stays open, with its customers:\n"
                 "  project   %s\n"
                 "  engine    http://127.0.0.1:%d/v1/status and /metrics\n"
                 "  checkout  curl -X POST http://127.0.0.1:%d/checkout\n"
                 "  again     cd %s && nines deploy payments v2\n"
                 "What the engine does is told here. Ctrl-C ends everything (kill %d from elsewhere).",
                 shop->dir, shop->ports[DEMO_API], shop->ports[DEMO_GATEWAY], shop->dir, (int)getpid());
}

static void advance(struct demo *demo, int64_t now_ns)
{
  int64_t in_phase_ns = now_ns - demo->phase_ns;
  if (demo->phase == INSTALLING && demo->story.version[0]) {
    demo_story_say(&demo->story,
                   "The shop is open: inventory, payments v1, a gateway with the engine inside, %d checkouts a "
                   "second.",
                   RATE);
    enter(demo, TRADING);
    if (demo_shop_load(&demo->shop, RATE, &demo->failure) < 0) fail(demo);
  } else if (demo->phase == TRADING && in_phase_ns >= demo->bad_after_ns) {
    order_bad_version(demo);
  } else if (demo->phase == WATCHING && demo_story_complete(&demo->story)) {
    enter(demo, AFTERWARDS);
  } else if (demo->phase == AFTERWARDS && in_phase_ns >= AFTER_NS) {
    if (demo->keep)
      keep(demo);
    else
      enter(demo, OVER);
  } else if (demo->phase < AFTERWARDS && now_ns - demo->began_ns > LIMIT_NS) {
    status_set(&demo->failure, NINES_ETIMEOUT, "not everything happened within 90 s");
    fail(demo);
  }
}

static void tick(void *userdata)
{
  struct demo *demo = userdata;
  if (demo->phase == OVER) return;
  demo_shop_read(&demo->shop, &demo->lines);
  buf_drop_front(&demo->lines, each_line(demo, buf_view(&demo->lines), take_load));
  if (demo_shop_check(&demo->shop, &demo->failure) < 0) {
    enter(demo, OVER);
    return;
  }
  poll_events(demo);
  advance(demo, clock_now_ns());
}

static void on_signal(void *userdata, int signal)
{
  struct demo *demo = userdata;
  (void)signal;
  if (demo->phase != KEPT) status_set(&demo->failure, NINES_ECANCELED, "interrupted");
  enter(demo, OVER);
}

static int run(struct demo *demo)
{
  static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
  int code = loop_open(&demo->loop, &demo->failure);
  for (size_t i = 0; code == 0 && i < sizeof signals / sizeof *signals; i++)
    code = loop_on_signal(demo->loop, signals[i], on_signal, demo, &demo->failure);
  if (code < 0) return code;
  demo->fetcher = fetcher_open(demo->loop);
  code = demo_shop_open(&demo->shop, &demo->failure);
  if (code < 0) return code;
  enter(demo, WAKING);
  if (!loop_every(demo->loop, POLL_NS, POLL_NS, tick, demo))
    return status_set(&demo->failure, NINES_ENOMEM, "out of memory");
  while (code == 0 && demo->phase != OVER) code = loop_turn(demo->loop, -1);
  return demo->failure.code;
}

// --- the command

static int read_options(struct demo *demo, int argc, char **argv)
{
  int seconds = SECONDS_DEFAULT;
  for (int i = 1; i < argc; i++) {
    const char *value = strncmp(argv[i], "--seconds=", 10) == 0 ? argv[i] + 10 : NULL;
    if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) value = argv[++i];
    if (strcmp(argv[i], "--keep") == 0) {
      demo->keep = true;
    } else if (strcmp(argv[i], "--json") == 0) {
      demo->story.json = true;
    } else if (value) {
      char *end;
      long number = strtol(value, &end, 10);
      if (*end || end == value || number < SECONDS_MIN || number > SECONDS_MAX)
        return cli_fail(CLI_USAGE, "--seconds is %d to %d: how long after its opening the shop gets the bad version",
                        SECONDS_MIN, SECONDS_MAX);
      seconds = (int)number;
    } else {
      return cli_fail(CLI_USAGE, "demo does not take \"%s\"; usage: nines demo [--keep] [--seconds N] [--json]",
                      argv[i]);
    }
  }
  demo->bad_after_ns = seconds * NS_PER_S;
  if (demo->keep && demo->story.json) return cli_fail(CLI_USAGE, "--keep and --json do not go together");
  return CLI_OK;
}

int demo_command(int argc, char **argv)
{
  struct demo demo = { .shop.load_fd = -1 };
  int code = read_options(&demo, argc, argv);
  if (code != CLI_OK) return code;
  demo.clock = clock_system_open();
  demo.began_ns = clock_now_ns();
  demo.story.began_wall_ns = demo.clock->wall_ns(demo.clock);
  code = run(&demo);
  if (demo.fetcher) fetcher_close(demo.fetcher);
  demo_shop_close(&demo.shop);
  if (demo.loop) loop_close(demo.loop);
  if (!demo.told) demo_story_end(&demo.story, demo.clock->wall_ns(demo.clock), code < 0 ? demo.failure.text : NULL);
  if (code < 0) cli_fail(CLI_NO, "the demo did not end well: %s", demo.failure.text);
  buf_free(&demo.lines);
  clock_system_close(demo.clock);
  return code < 0 ? CLI_NO : CLI_OK;
}
