// The server's sockets, limits and life.
//
// Everything a connection has to do after a callback (write, resume parsing, end) is settled once, just before and just
// after the loop waits: so the answers of one turn, pipelined or not, leave in one write each connection, and no
// handler is ever entered from inside an answer. Deadlines are points in time that one timer compares for all
// connections.
#include <string.h>

#include "check.h"
#include "clock.h"
#include "duration.h"
#include "mem.h"
#include "serve_private.h"

#define LINGER_NS (1 * NS_PER_S)

static const char too_many[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                               "Content-Length: 104\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
                               "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                               "\"detail\":\"too many connections; retry\"}";

void connection_mark(struct connection *connection)
{
  if (list_empty(&connection->dirty)) list_append(&connection->serve->dirty, &connection->dirty);
}

size_t connection_unsent(const struct connection *connection)
{
  return connection->out.size + connection->uv.stream.write_queue_size;
}

// The last handle to close frees the server.
static void handle_closed(struct serve *serve)
{
  if (--serve->open_handles > 0) return;
  list_each (node, &serve->spare) exchange_free(list_entry(node, struct exchange, node));
  for (char **host = serve->hosts; host && *host; host++) mem_free(*host);
  mem_free(serve->hosts);
  mem_free(serve->input);
  buf_free(&serve->scratch);
  mem_free(serve);
}

static void own_closed(uv_handle_t *handle)
{
  handle_closed(handle->data);
}

static void connection_closed(uv_handle_t *handle)
{
  struct connection *connection = handle->data;
  struct serve *serve = connection->serve;
  exchange_abandon_all(connection);
  list_remove(&connection->node);
  list_remove(&connection->dirty);
  buf_free(&connection->rest);
  buf_free(&connection->out);
  buf_free(&connection->writing);
  mem_free(connection);
  serve->usage.connections--;
  handle_closed(serve);
}

void connection_close(struct connection *connection)
{
  if (uv_is_closing(&connection->uv.handle)) return;
  list_remove(&connection->dirty);
  connection->last_seen = true;
  uv_close(&connection->uv.handle, connection_closed);
}

void serve_trim(struct buf *buf)
{
  if (buf->capacity > SERVE_KEEP_BYTES)
    buf_free(buf);
  else
    buf_clear(buf);
}

static void on_written(uv_write_t *request, int status)
{
  struct connection *connection = request->data;
  connection->write_busy = false;
  serve_trim(&connection->writing);
  if (status != 0)
    connection_close(connection);
  else
    connection_mark(connection);
}

void connection_flush(struct connection *connection)
{
  struct buf *out = &connection->out;
  if (connection->write_busy || out->size == 0) return;
  uv_buf_t piece = uv_buf_init(out->data, (unsigned)out->size);
  int written = uv_try_write(&connection->uv.stream, &piece, 1);
  if (written < 0 && written != UV_EAGAIN) {
    connection_close(connection);
    return;
  }
  size_t done = written > 0 ? (size_t)written : 0;
  connection->serve->usage.bytes_out_total += out->size; // the rest is libuv's from here on
  if (done == out->size) {
    serve_trim(out);
    return;
  }
  struct buf spare = connection->writing;
  connection->writing = *out;
  connection->out = spare;
  piece = uv_buf_init(connection->writing.data + done, (unsigned)(connection->writing.size - done));
  connection->write.data = connection;
  connection->write_since_ns = connection->serve->now_ns;
  if (uv_write(&connection->write, &connection->uv.stream, &piece, 1, on_written) == 0)
    connection->write_busy = true;
  else
    connection_close(connection);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
  (void)request, (void)status; // lingering goes on until the peer's end of file or the deadline
}

// All answers are written and none will follow.
static void finish(struct connection *connection)
{
  if (!connection->faulted || connection->ended) {
    connection_close(connection);
    return;
  }
  // Closing with unread bytes would reset the connection, and the peer could lose the refusal.
  connection->lingering = true;
  connection->phase_since_ns = connection->serve->now_ns;
  if (uv_shutdown(&connection->shutdown, &connection->uv.stream, on_shutdown) != 0) connection_close(connection);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
  (void)suggested;
  struct connection *connection = handle->data;
  *out = uv_buf_init(connection->serve->input, SERVE_READ_BYTES);
}

// The peer sent its end of file: answers it still waits for are written, unless somebody asked to hear of its leaving.
static void on_end(struct connection *connection)
{
  connection->ended = connection->last_seen = true;
  exchange_drop_unread(connection);
  bool watched = connection->lingering;
  list_each (node, &connection->queue) {
    struct exchange *exchange = list_entry(node, struct exchange, node);
    watched = watched || exchange->state == EXCHANGE_STREAMING || exchange->on_close;
  }
  if (watched)
    connection_close(connection);
  else
    connection_mark(connection);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
  struct connection *connection = stream->data;
  struct serve *serve = connection->serve;
  if (size == 0) return;
  serve->now_ns = clock_now_ns();
  if (size == UV_EOF) {
    on_end(connection);
  } else if (size < 0) {
    connection_close(connection);
  } else {
    serve->usage.bytes_in_total += (uint64_t)size;
    if (connection->last_seen) return;
    request_parse(connection, buf->base, (size_t)size);
    connection_mark(connection);
  }
}

static void read_as_needed(struct connection *connection)
{
  bool wanted = !connection->paused && !connection->ended;
  if (wanted == connection->reading || uv_is_closing(&connection->uv.handle)) return;
  connection->reading = wanted;
  if (!wanted) {
    uv_read_stop(&connection->uv.stream);
  } else if (uv_read_start(&connection->uv.stream, on_alloc, on_read) != 0) {
    connection_close(connection);
  } else {
    connection->phase_since_ns = connection->serve->now_ns; // we kept the peer waiting, not it us
  }
}

bool connection_congested(const struct connection *connection)
{
  return connection->queued >= SERVE_PIPELINE_MAX ||
         connection_unsent(connection) > connection->serve->limits.stream_bytes_max;
}

static void settle_one(struct connection *connection)
{
  connection_flush(connection);
  if (uv_is_closing(&connection->uv.handle) || connection->lingering) return;
  if (connection->paused && !connection_congested(connection)) {
    connection->paused = false;
    if (connection->rest.size > 0 && !connection->last_seen) {
      request_parse(connection, connection->rest.data, connection->rest.size);
      connection_mark(connection);
    }
  } else if (!connection->paused && connection_congested(connection)) {
    connection->paused = true;
  }
  read_as_needed(connection);
  if (!list_empty(&connection->dirty) || uv_is_closing(&connection->uv.handle)) return;
  bool quiet = list_empty(&connection->queue) && connection_unsent(connection) == 0;
  if (!quiet) return;
  connection->phase_since_ns = connection->serve->now_ns;
  if (connection->last_seen || connection->serve->draining) finish(connection);
}

static void settle(struct serve *serve)
{
  if (list_empty(&serve->dirty)) return;
  serve->now_ns = clock_now_ns();
  while (!list_empty(&serve->dirty)) {
    struct connection *connection = list_entry(serve->dirty.next, struct connection, dirty);
    list_remove(&connection->dirty);
    settle_one(connection);
  }
}

static void on_prepare(uv_prepare_t *handle)
{
  settle(handle->data);
}

static void on_check(uv_check_t *handle)
{
  settle(handle->data);
}

static void learn_ends(struct connection *connection)
{
  struct sockaddr_storage own = { 0 }, peer = { 0 };
  int own_size = sizeof own, peer_size = sizeof peer;
  if (uv_tcp_getsockname(&connection->uv.tcp, (struct sockaddr *)&own, &own_size) == 0)
    uv_ip_name((struct sockaddr *)&own, connection->address, sizeof connection->address);
  // On a dual-stack socket an IPv4 peer reaches us at ::ffff:a.b.c.d, and says a.b.c.d in Host.
  if (strncmp(connection->address, "::ffff:", 7) == 0 && strchr(connection->address, '.'))
    memmove(connection->address, connection->address + 7, strlen(connection->address + 7) + 1);
  char text[INET6_ADDRSTRLEN] = "";
  if (uv_tcp_getpeername(&connection->uv.tcp, (struct sockaddr *)&peer, &peer_size) == 0)
    uv_ip_name((struct sockaddr *)&peer, text, sizeof text);
  const char *plain = strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text;
  connection->loopback = strncmp(plain, "127.", 4) == 0 || strcmp(plain, "::1") == 0;
}

void serve_accept(uv_stream_t *listener, int status)
{
  struct serve *serve = listener->data;
  struct connection *connection = status == 0 ? mem_zalloc(sizeof *connection) : NULL;
  if (connection == NULL) return;
  connection->serve = serve;
  connection->local = connection->loopback = listener == (uv_stream_t *)&serve->pipe;
  int code = connection->local ? uv_pipe_init(loop_uv(serve->loop), &connection->uv.pipe, 0)
                               : uv_tcp_init(loop_uv(serve->loop), &connection->uv.tcp);
  if (code != 0) {
    mem_free(connection);
    return;
  }
  connection->uv.handle.data = connection;
  list_init(&connection->queue);
  list_init(&connection->dirty);
  list_append(&serve->connections, &connection->node);
  serve->open_handles++;
  serve->usage.connections++;
  serve->usage.connections_total++;
  serve->now_ns = connection->phase_since_ns = clock_now_ns();
  llhttp_init(&connection->parser, HTTP_REQUEST, &request_parsing);
  connection->parser.data = connection;
  if (uv_accept(listener, &connection->uv.stream) != 0) {
    connection_close(connection);
  } else if (serve->usage.connections > serve->limits.connections_max) {
    serve->usage.too_many_connections++;
    uv_buf_t refusal = uv_buf_init((char *)(uintptr_t)too_many, sizeof too_many - 1);
    (void)uv_try_write(&connection->uv.stream, &refusal, 1);
    connection_close(connection);
  } else {
    if (!connection->local) {
      uv_tcp_nodelay(&connection->uv.tcp, 1);
      learn_ends(connection);
    }
    read_as_needed(connection);
  }
}

// One look at every connection: whose time is over?
static void on_tick(void *userdata)
{
  struct serve *serve = userdata;
  const struct serve_limits *limits = &serve->limits;
  int64_t now_ns = serve->now_ns = clock_now_ns();
  list_each (node, &serve->connections) {
    struct connection *connection = list_entry(node, struct connection, node);
    int64_t phase_ns = now_ns - connection->phase_since_ns;
    if (uv_is_closing(&connection->uv.handle)) continue;
    if (connection->write_busy && now_ns - connection->write_since_ns > limits->idle_ns_max) {
      serve->usage.timeouts++;
      connection_close(connection);
    } else if (connection->lingering) {
      if (phase_ns > LINGER_NS) connection_close(connection);
    } else if (connection->current && connection->reading) {
      if (phase_ns <= (connection->body_phase ? limits->body_ns_max : limits->header_ns_max)) continue;
      serve->usage.timeouts++;
      request_fault(connection, 408,
                    connection->body_phase ? "the body did not arrive in time" : "the header did not arrive in time");
    } else if (list_empty(&connection->queue) && connection_unsent(connection) == 0 && phase_ns > limits->idle_ns_max) {
      connection_close(connection);
    }
  }
}

static int64_t least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static void take_config(struct serve *serve, const struct serve_config *config)
{
  struct serve_limits *limits = &serve->limits;
  *limits = config->limits;
  if (limits->header_bytes_max == 0) limits->header_bytes_max = 16 << 10;
  if (limits->body_bytes_max == 0) limits->body_bytes_max = 8 << 20;
  if (limits->connections_max == 0) limits->connections_max = 512;
  if (limits->stream_bytes_max == 0) limits->stream_bytes_max = 1 << 20;
  if (limits->header_ns_max == 0) limits->header_ns_max = 10 * NS_PER_S;
  if (limits->body_ns_max == 0) limits->body_ns_max = 30 * NS_PER_S;
  if (limits->idle_ns_max == 0) limits->idle_ns_max = 75 * NS_PER_S;
  serve->handle = config->handle;
  serve->userdata = config->userdata;
  size_t count = 0;
  while (config->hosts && config->hosts[count]) count++;
  serve->hosts = mem_must((count + 1) * sizeof *serve->hosts);
  for (size_t i = 0; i < count; i++) serve->hosts[i] = mem_must_copy(config->hosts[i]);
}

int serve_open(struct serve **out, struct loop *loop, const struct serve_config *config, struct status *status)
{
  *out = NULL;
  struct serve *serve = mem_must(sizeof *serve);
  serve->loop = loop;
  list_init(&serve->connections);
  list_init(&serve->dirty);
  list_init(&serve->spare);
  take_config(serve, config);
  serve->input = mem_must(SERVE_READ_BYTES);
  CHECK(uv_prepare_init(loop_uv(loop), &serve->prepare) == 0 && uv_check_init(loop_uv(loop), &serve->check) == 0);
  serve->prepare.data = serve->check.data = serve;
  serve->open_handles = 2;
  uv_prepare_start(&serve->prepare, on_prepare);
  uv_check_start(&serve->check, on_check);
  const struct serve_limits *limits = &serve->limits;
  int64_t tick_ns = least(least(limits->header_ns_max, limits->body_ns_max), limits->idle_ns_max) / 4;
  tick_ns = tick_ns < 5 * NS_PER_MS ? 5 * NS_PER_MS : least(tick_ns, NS_PER_S / 2);
  serve->tick = loop_every(loop, tick_ns, tick_ns, on_tick, serve);
  int code = config->address ? listen_tcp(serve, config->address, status) : 0;
  if (code == 0 && config->socket) code = listen_unix(serve, config->socket, status);
  if (code != 0) {
    serve_close(serve);
    return code;
  }
  *out = serve;
  return 0;
}

static void stop_listening(struct serve *serve)
{
  listen_unlink(serve);
  if (serve->has_tcp) uv_close((uv_handle_t *)&serve->tcp, own_closed);
  if (serve->has_pipe) uv_close((uv_handle_t *)&serve->pipe, own_closed);
  serve->has_tcp = serve->has_pipe = false;
}

void serve_close(struct serve *serve)
{
  if (serve == NULL) return;
  serve->closing = true;
  stop_listening(serve);
  loop_timer_stop(serve->tick);
  list_each (node, &serve->connections) {
    struct connection *connection = list_entry(node, struct connection, node);
    connection_flush(connection);
    exchange_abandon_all(connection); // now: what the callers lent us may be gone when the loop turns next
    connection_close(connection);
  }
  uv_close((uv_handle_t *)&serve->prepare, own_closed);
  uv_close((uv_handle_t *)&serve->check, own_closed);
}

void serve_drain(struct serve *serve)
{
  serve->draining = true;
  stop_listening(serve);
  list_each (node, &serve->connections) {
    struct connection *connection = list_entry(node, struct connection, node);
    if (!uv_is_closing(&connection->uv.handle)) connection_mark(connection);
  }
}

bool serve_idle(const struct serve *serve)
{
  return list_empty(&serve->connections);
}

int serve_port(const struct serve *serve)
{
  return serve->port;
}

const struct serve_usage *serve_usage(const struct serve *serve)
{
  return &serve->usage;
}
