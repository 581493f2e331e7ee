// One request and its answer: its life, what the handler reads of it, and the bytes sent back (http_request.c fills
// it).
//
// Exchanges wait in their connection's queue in the order of the requests. The oldest writes straight into the
// connection's output; a younger one that is answered earlier keeps its bytes until its turn comes. Exchanges and their
// buffers are reused, so a small request on a living connection allocates nothing.
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "serve_private.h"

struct exchange *exchange_oldest(const struct connection *connection)
{
  return list_empty(&connection->queue) ? NULL : list_entry(connection->queue.next, struct exchange, node);
}

struct exchange *exchange_begin(struct connection *connection)
{
  struct serve *serve = connection->serve;
  struct exchange *exchange;
  if (serve->spare_count > 0) {
    exchange = list_entry(serve->spare.next, struct exchange, node);
    list_remove(&exchange->node);
    serve->spare_count--;
  } else {
    exchange = mem_zalloc(sizeof *exchange);
    if (exchange == NULL) return NULL;
  }
  exchange->serve = serve;
  exchange->connection = connection;
  exchange->state = EXCHANGE_READING;
  exchange->local = connection->local;
  exchange->loopback = connection->loopback;
  list_append(&connection->queue, &exchange->node);
  connection->queued++;
  return exchange;
}

void exchange_free(struct exchange *exchange)
{
  buf_free(&exchange->head);
  buf_free(&exchange->body);
  buf_free(&exchange->answer);
  mem_free(exchange);
}

// Out of the queue, and kept for the next request.
static void retire(struct exchange *exchange)
{
  struct serve *serve = exchange->serve;
  list_remove(&exchange->node);
  exchange->connection->queued--;
  if (serve->closing || serve->spare_count >= SERVE_SPARE_MAX) {
    exchange_free(exchange);
    return;
  }
  struct buf head = exchange->head, body = exchange->body, answer = exchange->answer;
  memset(exchange, 0, offsetof(struct exchange, fields)); // the fields are read only as far as field_count
  serve_trim(&head);
  serve_trim(&body);
  serve_trim(&answer);
  exchange->head = head;
  exchange->body = body;
  exchange->answer = answer;
  list_append(&serve->spare, &exchange->node);
  serve->spare_count++;
}

void exchange_drop_unread(struct connection *connection)
{
  struct exchange *exchange = connection->current;
  connection->current = NULL;
  if (exchange) retire(exchange);
}

void exchange_abandon_all(struct connection *connection)
{
  connection->current = NULL;
  list_each (node, &connection->queue) {
    struct exchange *exchange = list_entry(node, struct exchange, node);
    bool owed = exchange->state == EXCHANGE_WAITING || exchange->state == EXCHANGE_STREAMING;
    if (owed && exchange->on_close == NULL) { // its holder will still answer, to nobody
      list_remove(node);
      connection->queued--;
      exchange->connection = NULL;
      exchange->serve = NULL;
      continue;
    }
    if (owed) exchange->on_close(exchange->on_close_data);
    retire(exchange);
  }
}

// Moves on in the queue: what is complete leaves it, and the next one's bytes become output.
void exchange_advance(struct connection *connection)
{
  for (struct exchange *exchange; (exchange = exchange_oldest(connection)) != NULL;) {
    if (exchange->answer.size > 0) buf_add(&connection->out, exchange->answer.data, exchange->answer.size);
    serve_trim(&exchange->answer);
    if (exchange->wants_continue) buf_text(&connection->out, "HTTP/1.1 100 Continue\r\n\r\n");
    exchange->wants_continue = false;
    if (exchange->state != EXCHANGE_DONE) break;
    retire(exchange);
  }
  if (connection->out.failed)
    connection_close(connection);
  else
    connection_mark(connection);
}

// ---- The request ----

struct view exchange_method(const struct exchange *exchange)
{
  return view_of(llhttp_method_name(exchange->method));
}

struct view exchange_path(const struct exchange *exchange)
{
  if (exchange->path_size == 0) return view_of("/"); // the absolute form may leave it out
  return (struct view){ exchange->head.data + exchange->path_start, exchange->path_size };
}

struct view exchange_value(const struct exchange *exchange, const struct exchange_field *field)
{
  struct view value = { exchange->head.data + field->value, field->value_size };
  while (value.size > 0 && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t')) value.size--;
  return value;
}

struct view exchange_header(const struct exchange *exchange, const char *name)
{
  size_t size = strlen(name);
  for (uint32_t i = 0; i < exchange->field_count; i++) {
    const struct exchange_field *field = &exchange->fields[i];
    if (field->name_size == size && memcmp(exchange->head.data + field->name, name, size) == 0)
      return exchange_value(exchange, field);
  }
  return (struct view){ "", 0 };
}

struct view exchange_body(const struct exchange *exchange)
{
  return buf_view(&exchange->body);
}

char *exchange_body_mutable(struct exchange *exchange, size_t *size)
{
  *size = exchange->body.size;
  return exchange->body.data;
}

static int hex_digit(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int exchange_decode(struct view text, size_t *at)
{
  char c = text.data[(*at)++];
  if (c != '%') return (unsigned char)c;
  if (text.size - *at < 2) return -1;
  int high = hex_digit(text.data[*at]), low = hex_digit(text.data[*at + 1]);
  *at += 2;
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Decodes one side of a parameter into `out` (cut at its size) and returns the whole length.
static size_t decode_parameter(struct view text, char *out, size_t out_size)
{
  size_t size = 0;
  for (size_t at = 0; at < text.size; size++) {
    char raw = text.data[at];
    int byte = exchange_decode(text, &at);
    if (size + 1 < out_size) out[size] = raw == '+' ? ' ' : byte < 0 ? '?' : (char)byte;
  }
  if (out_size > 0) out[size < out_size ? size : out_size - 1] = '\0';
  return size;
}

bool exchange_query(const struct exchange *exchange, const char *name, char *out, size_t out_size)
{
  return exchange_query_at(exchange, name, 0, out, out_size);
}

bool exchange_query_at(const struct exchange *exchange, const char *name, uint32_t index, char *out, size_t out_size)
{
  struct view query = { exchange->head.data + exchange->query_start, exchange->query_size };
  char key[64];
  while (query.size > 0) {
    const char *end = memchr(query.data, '&', query.size);
    struct view pair = { query.data, end ? (size_t)(end - query.data) : query.size };
    size_t used = end ? pair.size + 1 : pair.size;
    query = (struct view){ query.data + used, query.size - used };
    const char *equals = memchr(pair.data, '=', pair.size);
    size_t key_size = equals ? (size_t)(equals - pair.data) : pair.size;
    if (decode_parameter((struct view){ pair.data, key_size }, key, sizeof key) >= sizeof key) continue;
    if (strcmp(key, name) != 0 || index-- > 0) continue;
    size_t value_at = equals ? key_size + 1 : key_size;
    decode_parameter((struct view){ pair.data + value_at, pair.size - value_at }, out, out_size);
    return true;
  }
  return false;
}

bool exchange_is_local(const struct exchange *exchange)
{
  return exchange->local;
}

bool exchange_is_loopback(const struct exchange *exchange)
{
  return exchange->loopback;
}

void exchange_on_close(struct exchange *exchange, loop_fn *fn, void *userdata)
{
  exchange->on_close = fn;
  exchange->on_close_data = userdata;
  if (exchange->connection) return;
  if (fn == NULL) return;
  fn(userdata); // it has gone already
  exchange_free(exchange);
}

// ---- The answer ----

static const char *title_of(int status)
{
  static const struct {
    int status;
    const char *title;
  } titles[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 423, "Locked" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
  };
  for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
    if (titles[i].status == status) return titles[i].title;
  return "Status";
}

static void add_number(struct buf *out, size_t number)
{
  char digits[24];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  buf_add(out, digits + at, sizeof digits - at);
}

// Where this exchange's bytes go: straight out when it is the oldest.
static struct buf *destination(struct exchange *exchange)
{
  struct connection *connection = exchange->connection;
  return exchange_oldest(connection) == exchange ? &connection->out : &exchange->answer;
}

// While the server drains, the last answer of a connection says so.
static void note_last(struct exchange *exchange)
{
  struct connection *connection = exchange->connection;
  if (exchange->serve->draining && connection->queue.prev == &exchange->node) exchange->last = true;
  if (exchange->last) connection->last_seen = true;
}

static void add_head(struct exchange *exchange, struct buf *out, int status, const char *content_type)
{
  note_last(exchange);
  buf_add(out, "HTTP/1.1 ", 9);
  add_number(out, (size_t)status);
  buf_byte(out, ' ');
  buf_text(out, title_of(status));
  if (content_type) {
    buf_text(out, "\r\nContent-Type: ");
    buf_text(out, content_type);
  }
  if (exchange->last)
    buf_text(out, "\r\nConnection: close");
  else if (exchange->http_1_0)
    buf_text(out, "\r\nConnection: keep-alive");
}

// The peer has gone, or is about to be: nobody reads the answer.
static bool unheard(const struct exchange *exchange)
{
  return exchange->connection == NULL || uv_is_closing(&exchange->connection->uv.handle);
}

static void complete(struct exchange *exchange)
{
  exchange->state = EXCHANGE_DONE;
  if (exchange->connection == NULL)
    exchange_free(exchange);
  else if (!unheard(exchange)) // else freed with its connection
    exchange_advance(exchange->connection);
}

void exchange_reply(struct exchange *exchange, int status, const char *content_type, struct view body,
                    const char *headers)
{
  CHECK(exchange->state == EXCHANGE_WAITING && status >= 200 && status <= 999);
  if (!unheard(exchange)) {
    struct buf *out = destination(exchange);
    add_head(exchange, out, status, content_type);
    if (status != 204 && status != 304) {
      buf_text(out, "\r\nContent-Length: ");
      add_number(out, body.size);
    } else {
      body.size = 0;
    }
    buf_add(out, "\r\n", 2);
    if (headers) buf_text(out, headers);
    buf_add(out, "\r\n", 2);
    if (exchange->method != HTTP_HEAD) buf_add(out, body.data, body.size);
    if (out->failed) connection_close(exchange->connection);
  }
  complete(exchange);
}

void exchange_problem(struct exchange *exchange, int status, const char *detail, const char *field)
{
  struct buf json = { 0 };
  if (exchange->serve) json = exchange->serve->scratch;
  buf_clear(&json);
  buf_printf(&json, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", title_of(status), status);
  buf_json_text(&json, view_of(detail));
  if (field) {
    buf_text(&json, ",\"field\":");
    buf_json_text(&json, view_of(field));
  }
  buf_text(&json, "}\n");
  struct serve *serve = exchange->serve;
  exchange_reply(exchange, status, "application/problem+json", buf_view(&json), NULL);
  if (serve)
    serve->scratch = json;
  else
    buf_free(&json);
}

void exchange_stream(struct exchange *exchange, const char *content_type)
{
  CHECK(exchange->state == EXCHANGE_WAITING);
  exchange->state = EXCHANGE_STREAMING;
  if (unheard(exchange)) return;
  exchange->mute = exchange->method == HTTP_HEAD;
  exchange->last = exchange->last || exchange->http_1_0; // without chunks only the end of file ends it
  struct buf *out = destination(exchange);
  add_head(exchange, out, 200, content_type);
  if (!exchange->http_1_0) buf_text(out, "\r\nTransfer-Encoding: chunked");
  buf_text(out, "\r\nCache-Control: no-store\r\n\r\n");
  connection_mark(exchange->connection);
}

static bool lags(struct exchange *exchange)
{
  size_t limit = exchange->serve->limits.stream_bytes_max;
  if (exchange->answer.size > limit) return true;
  if (connection_unsent(exchange->connection) <= limit) return false;
  connection_flush(exchange->connection);
  return connection_unsent(exchange->connection) > limit;
}

void exchange_stream_write(struct exchange *exchange, struct view data)
{
  CHECK(exchange->state == EXCHANGE_STREAMING);
  if (unheard(exchange) || exchange->mute || data.size == 0) return;
  if (lags(exchange)) {
    connection_close(exchange->connection);
    return;
  }
  struct buf *out = destination(exchange);
  if (exchange->http_1_0) {
    buf_add(out, data.data, data.size);
  } else {
    buf_printf(out, "%zx\r\n", data.size);
    buf_add(out, data.data, data.size);
    buf_add(out, "\r\n", 2);
  }
  if (out->failed)
    connection_close(exchange->connection);
  else
    connection_mark(exchange->connection);
}

void exchange_stream_end(struct exchange *exchange)
{
  CHECK(exchange->state == EXCHANGE_STREAMING);
  if (!unheard(exchange) && !exchange->http_1_0 && !exchange->mute) buf_text(destination(exchange), "0\r\n\r\n");
  complete(exchange);
}
