// Reading requests: llhttp's callbacks, and everything that is refused before a handler hears of it.
//
// llhttp checks the grammar strictly and refuses what smugglers use (two lengths, a length and chunks). We add the
// limits, one Host, the allowed hosts and origins, the target's form, and the codings we know. A callback that refuses
// stops the parser; request_parse then answers after what was asked before, and the connection takes nothing more.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "serve_private.h"

// Stops the parser; request_parse answers once it has returned.
static int refuse(struct connection *connection, uint64_t *counter, int status, const char *detail)
{
  if (counter) (*counter)++;
  connection->fault_status = status;
  connection->fault_detail = detail;
  return -1;
}

static int count_header(struct connection *connection, size_t size)
{
  connection->header_bytes += size;
  if (connection->header_bytes <= connection->serve->limits.header_bytes_max) return 0;
  return refuse(connection, &connection->serve->usage.header_too_large, 431, "the header is too large");
}

static int on_message_begin(llhttp_t *parser)
{
  struct connection *connection = parser->data;
  connection->current = exchange_begin(connection);
  connection->header_bytes = 0;
  connection->body_phase = false;
  connection->phase_since_ns = connection->serve->now_ns;
  return connection->current ? 0 : refuse(connection, NULL, 503, "out of memory");
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
  struct connection *connection = parser->data;
  buf_add(&connection->current->head, at, size);
  return count_header(connection, size);
}

// RFC 9110's token characters. llhttp built without its strict mode lets spaces pass, and "Content-Length : 5" is a
// length to some readers and none to others.
static bool is_token(const char *text, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c))) return false;
  }
  return true;
}

static int on_field(llhttp_t *parser, const char *at, size_t size)
{
  struct connection *connection = parser->data;
  struct exchange *exchange = connection->current;
  if (!is_token(at, size))
    return refuse(connection, &connection->serve->usage.bad_syntax, 400,
                  "a field's name has a character it cannot have");
  if (connection->body_phase) return count_header(connection, size); // trailers are read over
  struct buf *head = &exchange->head;
  if (exchange->span != SPAN_NAME) {
    if (exchange->field_count == EXCHANGE_HEADERS_MAX)
      return refuse(connection, &connection->serve->usage.header_too_large, 431, "the header has too many fields");
    exchange->span = SPAN_NAME;
    exchange->fields[exchange->field_count++] =
        (struct exchange_field){ .name = (uint32_t)head->size, .value = (uint32_t)head->size };
  }
  size_t start = head->size, overhead = exchange->fields[exchange->field_count - 1].name_size == 0 ? 4 : 0;
  buf_add(head, at, size);
  if (head->failed) return refuse(connection, NULL, 503, "out of memory");
  for (char *c = head->data + start; c < head->data + head->size; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c | 0x20);
  exchange->fields[exchange->field_count - 1].name_size += (uint32_t)size;
  return count_header(connection, size + overhead);
}

static int on_field_complete(llhttp_t *parser)
{
  struct connection *connection = parser->data;
  const struct exchange *exchange = connection->current;
  if (connection->body_phase) return 0;
  if (exchange->span == SPAN_NAME && exchange->fields[exchange->field_count - 1].name_size > 0) return 0;
  return refuse(connection, &connection->serve->usage.bad_syntax, 400, "a field has no name");
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
  struct connection *connection = parser->data;
  struct exchange *exchange = connection->current;
  if (connection->body_phase) return count_header(connection, size);
  struct exchange_field *field = &exchange->fields[exchange->field_count - 1];
  if (exchange->span == SPAN_NAME) field->value = (uint32_t)exchange->head.size;
  exchange->span = SPAN_VALUE;
  field->value_size += (uint32_t)size;
  buf_add(&exchange->head, at, size);
  return count_header(connection, size);
}

static int on_value_complete(llhttp_t *parser)
{
  struct connection *connection = parser->data;
  if (!connection->body_phase) connection->current->span = SPAN_VALUE; // an empty value has no span of its own
  return 0;
}

// Splits the target into path (decoded in place) and query. `authority` is set for the absolute form.
static bool split_target(struct exchange *exchange, size_t size, struct view *authority)
{
  char *data = exchange->head.data;
  size_t start = 0;
  *authority = (struct view){ 0 };
  if (size == 1 && data[0] == '*') {
    exchange->path_size = 1;
    return exchange->method == HTTP_OPTIONS;
  }
  if (size > 7 && strncasecmp(data, "http://", 7) == 0) {
    start = 7 + strcspn(data + 7, "/?");
    if (start > size) start = size;
    *authority = (struct view){ data + 7, start - 7 };
    if (authority->size == 0) return false;
  } else if (size == 0 || data[0] != '/') {
    return false;
  }
  if (memchr(data, '#', size)) return false;
  const char *mark = memchr(data + start, '?', size - start);
  size_t end = mark ? (size_t)(mark - data) : size;
  exchange->query_start = mark ? end + 1 : end;
  exchange->query_size = size - exchange->query_start;
  exchange->path_start = start;
  struct view raw = { data, end };
  size_t out = start;
  for (size_t at = start; at < end;) {
    int byte = exchange_decode(raw, &at);
    if (byte <= 0) return false;
    data[out++] = (char)byte;
  }
  exchange->path_size = out - start;
  return true;
}

static uint32_t count_fields(const struct exchange *exchange, const char *name)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < exchange->field_count; i++) {
    const struct exchange_field *field = &exchange->fields[i];
    count += view_is((struct view){ exchange->head.data + field->name, field->name_size }, name);
  }
  return count;
}

static int check_host(struct connection *connection, const struct exchange *exchange, struct view authority)
{
  struct serve *serve = connection->serve;
  uint32_t hosts = count_fields(exchange, "host");
  if (hosts > 1 || (hosts == 0 && !exchange->http_1_0))
    return refuse(connection, &serve->usage.bad_host, 400, "a request needs exactly one Host");
  if (connection->local) return 0;
  struct view host = exchange_header(exchange, "host");
  if (authority.size > 0 && !authority_allowed(authority, connection->address, serve->hosts))
    return refuse(connection, &serve->usage.bad_host, 421, "the target names a host that is not this engine");
  bool known = host.size > 0 && view_is(host, connection->host_known);
  if (hosts == 1 && !known) {
    if (!authority_allowed(host, connection->address, serve->hosts))
      return refuse(connection, &serve->usage.bad_host, 421,
                    "the Host is not this engine's: ask for its address, or for localhost");
    memcpy(connection->host_known, host.data, host.size);
    connection->host_known[host.size] = '\0';
  }
  for (uint32_t i = 0; i < exchange->field_count; i++) {
    const struct exchange_field *field = &exchange->fields[i];
    if (!view_is((struct view){ exchange->head.data + field->name, field->name_size }, "origin")) continue;
    if (!origin_allowed(exchange_value(exchange, field), connection->address, serve->hosts))
      return refuse(connection, &serve->usage.bad_origin, 403, "pages of another origin may not use this engine");
  }
  return 0;
}

static bool text_is(struct view view, const char *lower_case)
{
  return view.size == strlen(lower_case) && strncasecmp(view.data, lower_case, view.size) == 0;
}

static int check_body(struct connection *connection, struct exchange *exchange, const llhttp_t *parser)
{
  struct serve *serve = connection->serve;
  if (count_fields(exchange, "transfer-encoding") > 0) {
    if (exchange->http_1_0 || count_fields(exchange, "transfer-encoding") > 1)
      return refuse(connection, &serve->usage.bad_syntax, 400, "Transfer-Encoding is not valid here");
    if (!text_is(exchange_header(exchange, "transfer-encoding"), "chunked"))
      return refuse(connection, &serve->usage.bad_syntax, 501, "the only Transfer-Encoding known here is chunked");
  } else if (parser->content_length > serve->limits.body_bytes_max) {
    return refuse(connection, &serve->usage.body_too_large, 413, "the body is too large");
  }
  struct view expect = exchange_header(exchange, "expect");
  if (expect.size == 0 || exchange->http_1_0) return 0;
  if (!text_is(expect, "100-continue"))
    return refuse(connection, &serve->usage.bad_syntax, 417, "the only expectation known here is 100-continue");
  exchange->wants_continue = (parser->flags & F_CHUNKED) || parser->content_length > 0;
  return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
  struct connection *connection = parser->data;
  struct exchange *exchange = connection->current;
  struct serve *serve = connection->serve;
  connection->body_phase = true;
  connection->phase_since_ns = serve->now_ns;
  parser->upgrade = 0; // offers to upgrade are declined by not mentioning them
  exchange->method = (llhttp_method_t)parser->method;
  exchange->http_1_0 = parser->http_minor == 0;
  if (exchange->head.failed) return refuse(connection, NULL, 503, "out of memory");
  if (parser->http_major != 1 || parser->http_minor > 1)
    return refuse(connection, &serve->usage.bad_syntax, 505, "write HTTP/1.1");
  if (exchange->method == HTTP_CONNECT)
    return refuse(connection, &serve->usage.bad_syntax, 501, "this is not a forward proxy");
  size_t target_size = exchange->field_count > 0 ? exchange->fields[0].name : exchange->head.size;
  struct view authority;
  if (!split_target(exchange, target_size, &authority))
    return refuse(connection, &serve->usage.bad_syntax, 400, "the target is not a valid path");
  int code = check_host(connection, exchange, authority);
  if (code == 0) code = check_body(connection, exchange, parser);
  if (code == 0 && exchange->wants_continue && exchange_oldest(connection) == exchange) exchange_advance(connection);
  return code;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
  struct connection *connection = parser->data;
  struct buf *body = &connection->current->body;
  if (size > connection->serve->limits.body_bytes_max - body->size)
    return refuse(connection, &connection->serve->usage.body_too_large, 413, "the body is too large");
  buf_add(body, at, size);
  return body->failed ? refuse(connection, NULL, 503, "out of memory") : 0;
}

static int on_message_complete(llhttp_t *parser)
{
  struct connection *connection = parser->data;
  struct exchange *exchange = connection->current;
  struct serve *serve = connection->serve;
  connection->current = NULL;
  connection->phase_since_ns = serve->now_ns;
  exchange->last = !llhttp_should_keep_alive(parser);
  exchange->wants_continue = false; // the body came unasked
  exchange->state = EXCHANGE_WAITING;
  if (exchange->last) connection->last_seen = true;
  serve->usage.requests_total++;
  serve->handle(serve->userdata, exchange);
  bool go_on = !connection->last_seen && !connection_congested(connection);
  return go_on ? 0 : HPE_PAUSED;
}

const llhttp_settings_t request_parsing = {
  .on_message_begin = on_message_begin,
  .on_url = on_url,
  .on_header_field = on_field,
  .on_header_field_complete = on_field_complete,
  .on_header_value = on_value,
  .on_header_value_complete = on_value_complete,
  .on_headers_complete = on_headers_complete,
  .on_body = on_body,
  .on_message_complete = on_message_complete,
};

void request_parse(struct connection *connection, const char *data, size_t size)
{
  llhttp_t *parser = &connection->parser;
  struct buf *rest = &connection->rest;
  bool from_rest = data == rest->data;
  llhttp_errno_t error = llhttp_execute(parser, data, size);
  if (connection->last_seen) { // closed meanwhile, or nothing after the last request counts
    buf_clear(rest);
  } else if (error == HPE_OK) {
    if (from_rest) serve_trim(rest);
  } else if (error == HPE_PAUSED) {
    size_t done = (size_t)(llhttp_get_error_pos(parser) - data);
    if (from_rest)
      buf_drop_front(rest, done);
    else
      buf_add(rest, data + done, size - done);
    llhttp_resume(parser);
    connection->paused = true;
    if (rest->failed) connection_close(connection);
  } else if (connection->fault_status != 0) {
    request_fault(connection, connection->fault_status, connection->fault_detail);
  } else {
    char detail[160];
    const char *reason = llhttp_get_error_reason(parser);
    snprintf(detail, sizeof detail, "this is not HTTP/1.1: %s", reason ? reason : llhttp_errno_name(error));
    connection->serve->usage.bad_syntax++;
    request_fault(connection, 400, detail);
  }
}

void request_fault(struct connection *connection, int status, const char *detail)
{
  struct exchange *exchange = connection->current ? connection->current : exchange_begin(connection);
  connection->current = NULL;
  connection->last_seen = connection->faulted = true;
  buf_clear(&connection->rest);
  if (exchange == NULL) {
    connection_close(connection);
    return;
  }
  exchange->state = EXCHANGE_WAITING;
  exchange->last = true;
  exchange->wants_continue = false;
  exchange_problem(exchange, status, detail, NULL);
}
