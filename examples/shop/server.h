// A small HTTP/1.1 server: keep-alive, one request at a time on a connection, answers when the owner is ready.
#ifndef SHOP_SERVER_H
#define SHOP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct server;
struct request; // one request; lives until server_reply

typedef void server_fn(void *userdata, struct request *request);

enum { PATH_BYTES_MAX = 200 };

// Listens on 127.0.0.1:port. `shared`: another process may listen on the same port meanwhile, so that a new version can
// take over without a gap. 0, or a libuv error.
int server_open(struct server **out, uv_loop_t *loop, int port, bool shared, server_fn *handle, void *userdata);
const char *request_path(const struct request *request);
bool request_is(const struct request *request, const char *method);
void server_reply(struct request *request, int status, const char *json);
void server_refuse(struct request *request, int status, int64_t retry_after_s, const char *json); // with Retry-After
// Takes no new connections, finishes what was asked, closes the rest; the loop ends when nothing else is open.
void server_drain(struct server *server);
void server_free(struct server *server); // after the loop has ended

#endif
