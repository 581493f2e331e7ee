// A pool of connections. A server may close a kept connection, or be replaced by its next version, in the very moment
// in which it is used again: a request on which not one byte came back is sent once more, on a new connection, at most
// twice. That is what lets a deploy pass unnoticed.

#include "client.h"

#include <llhttp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_MAX = 3 };

struct connection {
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_connect_t connect;
  uv_write_t write;
  struct client *client;
  struct connection *next;
  llhttp_t parser;
  char input[4096];
  char output[400];
  client_fn *done; // NULL: idle
  void *userdata;
  int tries;
  int open_handles;
  bool answered; // a byte of an answer came
  bool complete;
  bool keep; // after this answer
};

struct client {
  uv_loop_t *loop;
  struct sockaddr_in address;
  char name[64];
  llhttp_settings_t settings;
  struct connection *connections;
  int count, max, timeout_ms;
  bool closing;
};

static void start(struct client *client, const char *output, int tries, client_fn *done, void *userdata);

static void on_closed(uv_handle_t *handle)
{
  struct connection *connection = handle->data;
  struct client *client = connection->client;
  if (--connection->open_handles > 0) return;
  free(connection);
  client->count--;
  if (client->closing && client->count == 0) free(client);
}

static void connection_drop(struct connection *connection)
{
  struct client *client = connection->client;
  for (struct connection **link = &client->connections; *link; link = &(*link)->next) {
    if (*link != connection) continue;
    *link = connection->next;
    break;
  }
  uv_close((uv_handle_t *)&connection->tcp, on_closed);
  uv_close((uv_handle_t *)&connection->timer, on_closed);
}

// The connection is of no more use: its request is tried again, or ends with `status`.
static void connection_end(struct connection *connection, int status, bool again)
{
  struct client *client = connection->client;
  client_fn *done = connection->done;
  if (uv_is_closing((uv_handle_t *)&connection->tcp)) return;
  connection->done = NULL;
  connection_drop(connection);
  if (!done) return;
  if (again && !connection->answered && connection->tries < TRIES_MAX)
    start(client, connection->output, connection->tries + 1, done, connection->userdata);
  else
    done(connection->userdata, status);
}

static void on_late(uv_timer_t *timer)
{
  connection_end(timer->data, 0, false);
}

// --- the answer

static int on_complete(llhttp_t *parser)
{
  struct connection *connection = parser->data;
  connection->complete = true;
  connection->keep = llhttp_should_keep_alive(parser);
  return HPE_PAUSED;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  struct connection *connection = handle->data;
  (void)suggested;
  *buf = uv_buf_init(connection->input, sizeof connection->input);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
  struct connection *connection = stream->data;
  if (size == 0) return;
  if (size < 0) {
    connection_end(connection, 0, true);
    return;
  }
  connection->answered = true;
  llhttp_errno_t code = llhttp_execute(&connection->parser, buf->base, (size_t)size);
  if (code == HPE_OK) return;
  int status = connection->complete ? connection->parser.status_code : 0;
  if (!connection->complete || !connection->keep) {
    connection_end(connection, status, false);
    return;
  }
  client_fn *done = connection->done;
  void *userdata = connection->userdata;
  connection->done = NULL;
  uv_timer_stop(&connection->timer);
  uv_unref((uv_handle_t *)stream); // an idle connection keeps no loop alive
  if (done) done(userdata, status);
}

static void on_written(uv_write_t *write, int status)
{
  if (status != 0 && status != UV_ECANCELED) connection_end(write->data, 0, true);
}

static void ask(struct connection *connection)
{
  uv_buf_t buf = uv_buf_init(connection->output, (unsigned)strlen(connection->output));
  llhttp_init(&connection->parser, HTTP_RESPONSE, &connection->client->settings);
  connection->parser.data = connection;
  connection->write.data = connection;
  connection->answered = connection->complete = connection->keep = false;
  if (uv_write(&connection->write, (uv_stream_t *)&connection->tcp, &buf, 1, on_written) != 0)
    connection_end(connection, 0, true);
}

static void on_connected(uv_connect_t *connect, int status)
{
  struct connection *connection = connect->data;
  if (status == UV_ECANCELED) return;
  if (status != 0 || uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) != 0) {
    connection_end(connection, 0, true);
    return;
  }
  uv_tcp_nodelay(&connection->tcp, 1);
  ask(connection);
}

// --- the request

static struct connection *connection_new(struct client *client)
{
  struct connection *connection = client->count < client->max ? calloc(1, sizeof *connection) : NULL;
  if (!connection) return NULL;
  connection->client = client;
  connection->next = client->connections;
  client->connections = connection;
  client->count++;
  uv_tcp_init(client->loop, &connection->tcp);
  uv_timer_init(client->loop, &connection->timer);
  connection->open_handles = 2;
  connection->tcp.data = connection->timer.data = connection->connect.data = connection;
  return connection;
}

static struct connection *idle_connection(struct client *client)
{
  for (struct connection *connection = client->connections; connection; connection = connection->next)
    if (!connection->done) return connection;
  return NULL;
}

static void start(struct client *client, const char *output, int tries, client_fn *done, void *userdata)
{
  struct connection *connection = tries == 1 ? idle_connection(client) : NULL;
  bool fresh = !connection;
  if (!fresh) uv_ref((uv_handle_t *)&connection->tcp);
  if (fresh) connection = connection_new(client);
  if (!connection) {
    done(userdata, 0);
    return;
  }
  connection->done = done;
  connection->userdata = userdata;
  connection->tries = tries;
  memcpy(connection->output, output, strlen(output) + 1);
  uv_timer_start(&connection->timer, on_late, (uint64_t)client->timeout_ms, 0);
  if (!fresh) {
    ask(connection);
    return;
  }
  int code =
      uv_tcp_connect(&connection->connect, &connection->tcp, (const struct sockaddr *)&client->address, on_connected);
  if (code != 0) connection_end(connection, 0, false);
}

void client_send(struct client *client, const char *method, const char *path, client_fn *done, void *userdata)
{
  char output[sizeof((struct connection *)0)->output];
  int size = snprintf(output, sizeof output, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", method, path,
                      client->name);
  if (size < (int)sizeof output)
    start(client, output, 1, done, userdata);
  else
    done(userdata, 0);
}

int client_open(struct client **out, uv_loop_t *loop, const char *address, int connections_max, int timeout_ms)
{
  struct client *client = calloc(1, sizeof *client);
  const char *colon = strrchr(address, ':');
  char host[32];
  *out = client;
  if (!client) return UV_ENOMEM;
  if (!colon || colon - address >= (long)sizeof host) return UV_EINVAL;
  snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
  snprintf(client->name, sizeof client->name, "%s", address);
  client->loop = loop;
  client->max = connections_max;
  client->timeout_ms = timeout_ms;
  llhttp_settings_init(&client->settings);
  client->settings.on_message_complete = on_complete;
  return uv_ip4_addr(host, atoi(colon + 1), &client->address);
}

void client_close(struct client *client)
{
  client->closing = true;
  if (client->count == 0) {
    free(client);
    return;
  }
  while (client->connections) {
    struct connection *connection = client->connections;
    client_fn *done = connection->done;
    connection->done = NULL;
    connection_drop(connection);
    if (done) done(connection->userdata, 0);
  }
}
