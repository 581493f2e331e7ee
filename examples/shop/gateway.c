// The gateway sells: a checkout reserves in the inventory and then pays. It embeds the engine that watches it: the
// engine has no thread of its own here, it is one more descriptor in the gateway's loop, and every checkout is one call
// of nines_path_record. Everything about nines in this shop is in this file, under "the engine".

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nines.h>

#include "client.h"
#include "server.h"
#include "shop.h"

enum { UPSTREAM_MAX = 256 };

struct gateway {
  uv_loop_t loop;
  struct server *server;
  struct client *inventory, *payments;
  nines *engine;
  nines_path *checkout;
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

static int engine_start(struct gateway *gateway, const char *project)
{
  char error[512];
  nines_config config = NINES_CONFIG_INIT;
  config.dir = project;
  if (nines_open(&gateway->engine, &config, error, sizeof error) < 0) {
    fprintf(stderr, "shop: %s\n", error);
    return 1;
  }
  if (nines_path_get(gateway->engine, "checkout", &gateway->checkout) < 0) {
    fprintf(stderr, "shop: %s\n", nines_errmsg(gateway->engine));
    return 1;
  }
  gateway->engine_poll.data = gateway;
  uv_poll_init(&gateway->loop, &gateway->engine_poll, nines_fd(gateway->engine));
  uv_poll_start(&gateway->engine_poll, UV_READABLE, engine_turn);
  engine_turn(&gateway->engine_poll, 0, 0); // from here on the descriptor tells when the next turn is due
  return 0;
}

// --- a checkout

struct checkout {
  struct gateway *gateway;
  struct request *request;
  uint64_t began_ns;
};

static void checkout_end(struct checkout *checkout, int status, const char *json)
{
  nines_path_record(checkout->gateway->checkout, status == 200, (int64_t)(uv_hrtime() - checkout->began_ns));
  server_reply(checkout->request, status, json);
  free(checkout);
}

static void on_paid(void *userdata, int status)
{
  if (status == 200)
    checkout_end(userdata, 200, "{\"sold\":true}");
  else
    checkout_end(userdata, 502, "{\"sold\":false,\"why\":\"payments\"}");
}

static void on_reserved(void *userdata, int status)
{
  struct checkout *checkout = userdata;
  if (status == 200)
    client_send(checkout->gateway->payments, "POST", "/pay", on_paid, checkout);
  else
    checkout_end(checkout, 502, "{\"sold\":false,\"why\":\"inventory\"}");
}

static void handle(void *userdata, struct request *request)
{
  struct gateway *gateway = userdata;
  if (request_is(request, "GET") && strcmp(request_path(request), "/healthz") == 0) {
    server_reply(request, 200, "{}");
    return;
  }
  if (!request_is(request, "POST") || strcmp(request_path(request), "/checkout") != 0) {
    server_reply(request, 404, "{\"why\":\"there is only POST /checkout\"}");
    return;
  }
  struct checkout *checkout = calloc(1, sizeof *checkout);
  if (!checkout) {
    server_reply(request, 503, "{\"why\":\"out of memory\"}");
    return;
  }
  *checkout = (struct checkout){ gateway, request, uv_hrtime() };
  client_send(gateway->inventory, "POST", "/reserve", on_reserved, checkout);
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

int gateway_run(const struct options *options)
{
  struct gateway gateway = { 0 };
  uv_loop_init(&gateway.loop);
  tell_scripts(options);
  int code = client_open(&gateway.inventory, &gateway.loop, options->inventory, UPSTREAM_MAX);
  if (code != 0) return shop_fail(options->inventory, code);
  code = client_open(&gateway.payments, &gateway.loop, options->payments, UPSTREAM_MAX);
  if (code != 0) return shop_fail(options->payments, code);
  code = server_open(&gateway.server, &gateway.loop, options->port, false, handle, &gateway);
  if (code != 0) return shop_fail("cannot listen", code);
  if (engine_start(&gateway, options->project) != 0) return 1;
  life_watch(&gateway.loop, over, &gateway);
  uv_run(&gateway.loop, UV_RUN_DEFAULT); // until the engine has drained and every checkout is answered
  nines_close(gateway.engine);
  client_close(gateway.inventory);
  client_close(gateway.payments);
  life_end(&gateway.loop);
  server_free(gateway.server);
  return 0;
}
