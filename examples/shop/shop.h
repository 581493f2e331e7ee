// What the roles of the shop share: how they are called and when they end.
#ifndef SHOP_SHOP_H
#define SHOP_SHOP_H

#include <stdbool.h>
#include <uv.h>

struct options {
  int port;
  const char *project, *payments, *inventory; // of the gateway
  const char *version, *pid_file;             // of payments
  double failing;
  bool background;
  const char *target; // of the load
  int rate;
  int workers; // of inventory; 0: any number
  int seconds; // of overload
  bool bare;   // gateway: without protections
  bool report; // gateway: at its end, what the protections did
};

int backend_run(const struct options *options); // payments and inventory
int gateway_run(const struct options *options);
int load_run(const struct options *options);
int overload_run(const struct options *options);

// Calls once on SIGTERM or SIGINT, and when the process whose number is in SHOP_OWNER ends: nothing of a demo outlives
// it, even when it is killed. Does not keep the loop alive.
void life_watch(uv_loop_t *loop, void (*over)(void *userdata), void *userdata);
// The loop has nothing more to do: closes it. A signal that comes later ends the process as usual.
void life_end(uv_loop_t *loop);

// Prints "shop: WHAT: the error's words" and returns 1.
int shop_fail(const char *what, int uv_code);

#endif
