// The processes and files of the demo's shop: made in a temporary directory, started, ended, removed.
#ifndef NINES_APP_DEMO_SHOP_H
#define NINES_APP_DEMO_SHOP_H

#include <sys/types.h>

#include "buf.h"
#include "status.h"

enum demo_port { DEMO_PAYMENTS, DEMO_INVENTORY, DEMO_GATEWAY, DEMO_API, DEMO_PORTS };
enum demo_role { DEMO_ROLE_INVENTORY, DEMO_ROLE_GATEWAY, DEMO_ROLE_LOAD, DEMO_ROLES };

struct demo_shop {
  char program[512]; // shop
  char dir[128];     // of the project; "": not made yet
  char socket[160];  // of the engine in the gateway
  int ports[DEMO_PORTS];
  pid_t pids[DEMO_ROLES];
  int load_fd; // what the load prints; -1: not started
};

// Copies the project, starts inventory and gateway. After a failure close it too.
int demo_shop_open(struct demo_shop *shop, struct status *status);
int demo_shop_load(struct demo_shop *shop, int rate, struct status *status);
// Appends what the load has printed since; never waits.
void demo_shop_read(struct demo_shop *shop, struct buf *out);
// Are they all alive? Else the sentence has the end of the log.
int demo_shop_check(struct demo_shop *shop, struct status *status);
// Ends every process that descends from this one, removes the directory.
void demo_shop_close(struct demo_shop *shop);

#endif
