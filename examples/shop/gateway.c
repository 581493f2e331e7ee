// The gateway sells: a checkout reserves in the inventory and then pays; browsing, recommendations and search ask the
// inventory. It embeds the engine that watches it: the engine has no thread of its own here, it is one more descriptor
// in the gateway's loop, and every checkout is one call of nines_path_record. What turns requests away when there are
// too many is in guards.c. Everything else about nines in this shop is under "the engine".

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nines.h>

#include "client.h"
#include "guards.h"
#include "server.h"
#include "shop.h"

enum { UPSTREAM_MAX = 4096, TIMEOUT_MS = 2000 };
#define NS_PER_S INT64_C(1000000000)

struct gateway {
  uv_loop_t loop;
  struct server *server;
  struct client *upstream[DEPENDENCIES];
  nines *engine;
  nines_path *checkout;
  struct guards guards;
  bool bare; // without protections: for the comparison
  unsigned opened;
  uv_poll_t engine_poll;
};

// --- the engine

static void engine_turn(uv_poll_t *poll, int status, int events)
{
  struct gateway *gateway = poll->data;
  (void)status, (void)events;
  int code = nines_turn(gateway->engine, 0);
  if (code == 0) return;
  if (code < 0) fprintf(stderr, "shop: the engine stopped: %s\n", nines_errmsg(gateway->engine));
  uv_close((uv_handle_t *)poll, NULL);
}

static void on_event(void *userdata, const char *topic, const char *name, const char *json)
{
  struct gateway *gateway = userdata;
  (void)name, (void)json;
  if (strcmp(topic, "breaker.opened") == 0) gateway->opened++;
}

static int engine_start(struct gateway *gateway, const char *project)
{
  char error[512];
  nines_config config = NINES_CONFIG_INIT;
  config.dir = project;
  config.on_event = on_event;
  config.userdata = gateway;
  if (nines_open(&gateway->engine, &config, error, sizeof error) < 0) {
    fprintf(stderr, "shop: %s\n", error);
    return 1;
  }
  if (nines_path_get(gateway->engine, "checkout", &gateway->checkout) < 0) {
    fprintf(stderr, "shop: %s\n", nines_errmsg(gateway->engine));
    return 1;
  }
  nines_arena *arena = nines_arena_of(gateway->engine);
  if (guards_open(&gateway->guards, arena) < 0) {
    fprintf(stderr, "shop: %s\n", nines_arena_errmsg(arena));
    return 1;
  }
  gateway->engine_poll.data = gateway;
  uv_poll_init(&gateway->loop, &gateway->engine_poll, nines_fd(gateway->engine));
  uv_poll_start(&gateway->engine_poll, UV_READABLE, engine_turn);
  engine_turn(&gateway->engine_poll, 0, 0); // from here on the descriptor tells when the next turn is due
  return 0;
}

// --- what customers ask for

static const struct offer {
  const char *method, *path, *upstream;
  int criticality;
  bool searches, sells; // sells: a checkout, which pays too
} offers[] = {
  { "POST", "/checkout", "/reserve", NINES_CRITICAL, false, true },
  { "GET", "/browse", "/stock", NINES_SHEDDABLE_PLUS, false, false },
  { "GET", "/recommendations", "/similar", NINES_SHEDDABLE, false, false },
  { "GET", "/search", "/find", NINES_SHEDDABLE, true, false },
};

struct order {
  struct gateway *gateway;
  struct request *request;
  const struct offer *offer;
  nines_permit admission;
  struct passage passage;
  unsigned attempt;
  int64_t began_ns;
  uv_timer_t again;
};

static int64_t now(void)
{
  return (int64_t)uv_hrtime(); // CLOCK_MONOTONIC, as nines_now_ns
}

// Retry-After is in whole seconds, and never now.
static void refuse(struct request *request, int status, int64_t retry_after_ns, const char *json)
{
  server_refuse(request, status, retry_after_ns < NS_PER_S ? 1 : (retry_after_ns + NS_PER_S - 1) / NS_PER_S, json);
}

static void on_order_closed(uv_handle_t *timer)
{
  free(timer->data);
}

// `retry_after_ns`: when to come again; negative: nothing is known of that.
static void order_end(struct order *order, int status, int64_t retry_after_ns, const char *json)
{
  struct gateway *gateway = order->gateway;
  if (order->offer->sells) nines_path_record(gateway->checkout, status == 200, now() - order->began_ns);
  if (!gateway->bare) guards_leave(&gateway->guards, order->admission, status == 200, now());
  if (retry_after_ns >= 0)
    refuse(order->request, status, retry_after_ns, json);
  else
    server_reply(order->request, status, json);
  uv_close((uv_handle_t *)&order->again, on_order_closed);
}

static void ask(struct order *order, enum dependency on, const char *method, const char *path, client_fn *done)
{
  struct gateway *gateway = order->gateway;
  int64_t retry_after_ns = 0;
  if (!gateway->bare && !guards_call(&gateway->guards, on, now(), &order->passage, &retry_after_ns))
    order_end(order, 503, retry_after_ns < 0 ? 0 : retry_after_ns, "{\"why\":\"too much to do\"}");
  else
    client_send(gateway->upstream[on], method, path, done, order);
}

static void came_back(struct order *order, enum dependency on, int status)
{
  if (!order->gateway->bare) guards_return(&order->gateway->guards, on, order->passage, status == 200, now());
}

static void on_paid(void *userdata, int status)
{
  struct order *order = userdata;
  came_back(order, PAYMENTS, status);
  if (status == 200)
    order_end(order, 200, -1, "{\"sold\":true}");
  else
    order_end(order, 502, -1, "{\"sold\":false,\"why\":\"payments\"}");
}

static void on_inventory(void *userdata, int status);

static void on_again(uv_timer_t *timer)
{
  struct order *order = timer->data;
  ask(order, INVENTORY, order->offer->method, order->offer->upstream, on_inventory);
}

static void on_inventory(void *userdata, int status)
{
  struct order *order = userdata;
  came_back(order, INVENTORY, status);
  if (status == 200 && order->offer->sells) {
    ask(order, PAYMENTS, "POST", "/pay", on_paid);
  } else if (status == 200) {
    order_end(order, 200, -1, "{\"ok\":true}");
  } else {
    // What only reads may be asked again.
    bool reads = !order->offer->sells && !order->gateway->bare;
    int64_t wait_ms = reads ? guards_again_ms(&order->gateway->guards, order->attempt++, now()) : -1;
    if (wait_ms >= 0)
      uv_timer_start(&order->again, on_again, (uint64_t)wait_ms, 0);
    else
      order_end(order, 502, -1, "{\"why\":\"inventory\"}");
  }
}

static void handle(void *userdata, struct request *request)
{
  struct gateway *gateway = userdata;
  if (request_is(request, "GET") && strcmp(request_path(request), "/healthz") == 0) {
    server_reply(request, 200, "{}");
    return;
  }
  const struct offer *offer = offers, *end = offers + sizeof offers / sizeof *offers;
  while (offer < end && !(request_is(request, offer->method) && strcmp(request_path(request), offer->path) == 0))
    offer++;
  if (offer == end) {
    server_reply(request, 404, "{\"why\":\"POST /checkout, GET /browse, /recommendations, /search\"}");
    return;
  }
  nines_permit admission = { 0, 0 };
  int64_t retry_after_ns = 0;
  int status = 0;
  if (!gateway->bare) {
    admission = guards_admit(&gateway->guards, offer->criticality, offer->searches, now(), &status, &retry_after_ns);
    if (!nines_permitted(admission)) {
      if (offer->sells) nines_path_record(gateway->checkout, 0, -1);
      refuse(request, status, retry_after_ns, "{\"why\":\"too many\"}");
      return;
    }
    nines_retry_call(gateway->guards.retry, now());
  }
  struct order *order = calloc(1, sizeof *order);
  if (!order) {
    if (!gateway->bare) guards_leave(&gateway->guards, admission, false, now());
    server_reply(request, 503, "{\"why\":\"out of memory\"}");
    return;
  }
  *order = (struct order){ gateway, request, offer, admission, .attempt = 1, .began_ns = now() };
  uv_timer_init(&gateway->loop, &order->again);
  order->again.data = order;
  ask(order, INVENTORY, offer->method, offer->upstream, on_inventory);
}

// --- life

static void over(void *userdata)
{
  struct gateway *gateway = userdata;
  server_drain(gateway->server);
  nines_stop(gateway->engine);
}

// What deploy.sh of the project has to know.
static void tell_scripts(const struct options *options)
{
  char program[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
  program[size > 0 ? size : 0] = '\0';
  setenv("SHOP_PROGRAM", program, 1);
  setenv("SHOP_PAYMENTS", options->payments, 1);
}

static void report(const struct gateway *gateway)
{
  const unsigned *refused = gateway->guards.refused;
  printf("shed %u limited %u full %u open %u opened %u retries %u\n", refused[BY_SHEDDER], refused[BY_LIMITER],
         refused[BY_BULKHEAD], refused[BY_BREAKER], gateway->opened, gateway->guards.retries);
}

int gateway_run(const struct options *options)
{
  const char *const addresses[DEPENDENCIES] = { options->inventory, options->payments };
  struct gateway gateway = { .bare = options->bare };
  uv_loop_init(&gateway.loop);
  tell_scripts(options);
  int code = 0;
  for (int on = 0; on < DEPENDENCIES; on++) {
    code = client_open(&gateway.upstream[on], &gateway.loop, addresses[on], UPSTREAM_MAX, TIMEOUT_MS);
    if (code != 0) return shop_fail(addresses[on], code);
  }
  code = server_open(&gateway.server, &gateway.loop, options->port, false, handle, &gateway);
  if (code != 0) return shop_fail("cannot listen", code);
  if (engine_start(&gateway, options->project) != 0) return 1;
  life_watch(&gateway.loop, over, &gateway);
  uv_run(&gateway.loop, UV_RUN_DEFAULT); // until the engine has drained and every checkout is answered
  if (options->report) report(&gateway);
  nines_close(gateway.engine);
  for (int on = 0; on < DEPENDENCIES; on++) client_close(gateway.upstream[on]);
  life_end(&gateway.loop);
  server_free(gateway.server);
  return 0;
}
