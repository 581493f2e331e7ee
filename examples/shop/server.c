// The server of every role. A connection reads until one request is complete, stops reading until that is answered,
// and goes on: no pipelining, no queue, and the connection outlives its request by construction. Bodies are skipped:
// this shop sells by URL.

#include "server.h"

#include <arpa/inet.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct request {
  uv_tcp_t tcp;
  uv_write_t write;
  struct request *next;
  struct server *server;
  llhttp_t parser;
  char input[4096];
  char path[PATH_BYTES_MAX];
  size_t path_size;
  char output[512];
  bool asked; // complete, not answered yet
  bool keep;  // after this answer
};

struct server {
  uv_tcp_t listener;
  llhttp_settings_t settings;
  struct request *connections;
  server_fn *handle;
  void *userdata;
  bool draining;
};

const char *request_path(const struct request *request)
{
  return request->path;
}

bool request_is(const struct request *request, const char *method)
{
  return strcmp(llhttp_method_name((llhttp_method_t)request->parser.method), method) == 0;
}

static void on_closed(uv_handle_t *handle)
{
  struct request *request = handle->data;
  for (struct request **link = &request->server->connections; *link; link = &(*link)->next) {
    if (*link != request) continue;
    *link = request->next;
    break;
  }
  free(request);
}

static void hang_up(struct request *request)
{
  uv_handle_t *handle = (uv_handle_t *)&request->tcp;
  if (!uv_is_closing(handle)) uv_close(handle, on_closed);
}

// --- reading

static int on_url(llhttp_t *parser, const char *data, size_t size)
{
  struct request *request = parser->data;
  if (request->path_size + size >= sizeof request->path) return -1;
  memcpy(request->path + request->path_size, data, size);
  request->path_size += size;
  request->path[request->path_size] = '\0';
  return 0;
}

static int on_complete(llhttp_t *parser)
{
  struct request *request = parser->data;
  request->asked = true;
  request->keep = llhttp_should_keep_alive(parser);
  return HPE_PAUSED;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  struct request *request = handle->data;
  (void)suggested;
  *buf = uv_buf_init(request->input, sizeof request->input);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
  struct request *request = stream->data;
  if (size == 0) return;
  if (size < 0) {
    hang_up(request);
    return;
  }
  llhttp_errno_t code = llhttp_execute(&request->parser, buf->base, (size_t)size);
  if (code == HPE_PAUSED) {
    uv_read_stop(stream);
    if (llhttp_get_error_pos(&request->parser) != buf->base + size) request->keep = false; // it was pipelining
    request->server->handle(request->server->userdata, request);
  } else if (code != HPE_OK) {
    hang_up(request);
  }
}

static void await_request(struct request *request)
{
  request->path_size = 0;
  llhttp_init(&request->parser, HTTP_REQUEST, &request->server->settings);
  request->parser.data = request;
  if (uv_read_start((uv_stream_t *)&request->tcp, on_alloc, on_read) != 0) hang_up(request);
}

// --- answering

static void on_written(uv_write_t *write, int status)
{
  struct request *request = write->data;
  if (status != 0 || !request->keep || request->server->draining)
    hang_up(request);
  else
    await_request(request);
}

static void answer(struct request *request, int status, const char *header, const char *json)
{
  bool close = !request->keep || request->server->draining;
  int size = snprintf(request->output, sizeof request->output,
                      "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s%s\r\n%s", status,
                      status < 400 ? "OK" : "Failed", strlen(json), header, close ? "Connection: close\r\n" : "", json);
  request->asked = false;
  request->keep = !close;
  request->write.data = request;
  uv_buf_t buf = uv_buf_init(request->output, (unsigned)size);
  if (size >= (int)sizeof request->output ||
      uv_write(&request->write, (uv_stream_t *)&request->tcp, &buf, 1, on_written) != 0)
    hang_up(request);
}

void server_reply(struct request *request, int status, const char *json)
{
  answer(request, status, "", json);
}

void server_refuse(struct request *request, int status, int64_t retry_after_s, const char *json)
{
  char header[48];
  snprintf(header, sizeof header, "Retry-After: %lld\r\n", (long long)retry_after_s);
  answer(request, status, header, json);
}

// --- listening

static void on_connection(uv_stream_t *listener, int status)
{
  struct server *server = listener->data;
  struct request *request = status == 0 ? calloc(1, sizeof *request) : NULL;
  if (!request) return;
  request->server = server;
  request->next = server->connections;
  server->connections = request;
  uv_tcp_init(listener->loop, &request->tcp);
  request->tcp.data = request;
  if (uv_accept(listener, (uv_stream_t *)&request->tcp) != 0) {
    hang_up(request);
    return;
  }
  uv_tcp_nodelay(&request->tcp, 1);
  await_request(request);
}

int server_open(struct server **out, uv_loop_t *loop, int port, bool shared, server_fn *handle, void *userdata)
{
  struct sockaddr_in address;
  struct server *server = calloc(1, sizeof *server);
  *out = server;
  if (!server) return UV_ENOMEM;
  server->handle = handle;
  server->userdata = userdata;
  server->listener.data = server;
  llhttp_settings_init(&server->settings);
  server->settings.on_url = on_url;
  server->settings.on_message_complete = on_complete;
  int code = uv_tcp_init_ex(loop, &server->listener, AF_INET);
  uv_os_fd_t fd;
  if (code == 0 && shared && uv_fileno((uv_handle_t *)&server->listener, &fd) == 0)
    code = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, sizeof(int)) == 0 ? 0 : UV_ENOTSUP;
  if (code == 0) code = uv_ip4_addr("127.0.0.1", port, &address);
  if (code == 0) code = uv_tcp_bind(&server->listener, (const struct sockaddr *)&address, 0);
  if (code == 0) code = uv_listen((uv_stream_t *)&server->listener, 128, on_connection);
  return code;
}

void server_drain(struct server *server)
{
  uv_handle_t *listener = (uv_handle_t *)&server->listener;
  server->draining = true;
  if (!uv_is_closing(listener)) uv_close(listener, NULL);
  for (struct request *request = server->connections; request; request = request->next)
    if (!request->asked && request->path_size == 0) hang_up(request);
}

void server_free(struct server *server)
{
  free(server);
}
