// A small HTTP/1.1 client for one address: keep-alive connections, a timeout for each request.
#ifndef SHOP_CLIENT_H
#define SHOP_CLIENT_H

#include <uv.h>

struct client;
typedef void client_fn(void *userdata, int status); // HTTP status; 0: no answer

// `address` as "127.0.0.1:8080". At most connections_max requests under way; more are answered with 0 at once, and so
// are those that take longer than timeout_ms. 0, or a libuv error.
int client_open(struct client **out, uv_loop_t *loop, const char *address, int connections_max, int timeout_ms);
// The callback runs once; before client_send returns when all connections are taken.
void client_send(struct client *client, const char *method, const char *path, client_fn *done, void *userdata);
// What is under way is answered with 0. Freed when its last connection is closed.
void client_close(struct client *client);

#endif
