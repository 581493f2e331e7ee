// An HTTP/1.1 server on TCP and Unix sockets: libuv for the sockets, llhttp for the parsing.
//
// Keep-alive, pipelining (answers in order), chunked request bodies, Expect: 100-continue, HEAD. Limits: header bytes
// (16 KiB), body bytes (8 MiB, per route smaller by the handler), connections (512), time for a whole header (10 s),
// for a whole body (30 s), for an idle connection (75 s). What breaks a limit or the grammar is answered with a problem
// document (RFC 9457) and closed, and counted by reason. On TCP the Host must be an address, localhost or a configured
// name, and an Origin, if any, must name the same host: a page in somebody's browser cannot talk to the engine (DNS
// rebinding, CSRF). On a Unix socket the file's permissions are the authorisation.
#ifndef NINES_IO_SERVE_H
#define NINES_IO_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "loop.h"
#include "status.h"

struct serve;
struct exchange; // one request and its answer

struct serve_limits { // 0: the default
  size_t header_bytes_max, body_bytes_max, connections_max,
      stream_bytes_max; // stream: unsent bytes of a slow reader, 1 MiB
  int64_t header_ns_max, body_ns_max, idle_ns_max;
};

struct serve_config {
  const char *address;      // "127.0.0.1:9999", "[::1]:0" (0: any free port); NULL: no TCP
  const char *socket;       // path of a Unix socket (mode 0600, replaced when nobody listens on it); NULL: none
  const char *const *hosts; // further names allowed in Host, NULL-terminated; NULL: none
  struct serve_limits limits;
  // Answers now, or later from any callback on the loop's thread: every exchange gets exactly one answer.
  void (*handle)(void *userdata, struct exchange *exchange);
  void *userdata;
};

struct serve_usage {
  uint64_t connections, connections_total, requests_total, bytes_in_total, bytes_out_total;
  // Refused, by reason.
  uint64_t bad_syntax, header_too_large, body_too_large, too_many_connections, timeouts, bad_host, bad_origin;
};

// A taken port: "cannot listen on 127.0.0.1:9999: address in use, probably by PID (NAME); choose another with
// `listen:`" (NINES_EBUSY).
int serve_open(struct serve **out, struct loop *loop, const struct serve_config *config, struct status *status);
void serve_close(
    struct serve *serve); // at once; answers that were complete are flushed as far as the socket takes them
// Stops accepting, closes idle connections, lets requests under way finish; serve_idle tells when none is left.
void serve_drain(struct serve *serve);
bool serve_idle(const struct serve *serve);
int serve_port(const struct serve *serve); // of TCP; 0: none
const struct serve_usage *serve_usage(const struct serve *serve);

// The request. Views are valid until it is answered.
struct view exchange_method(const struct exchange *exchange);
struct view exchange_path(const struct exchange *exchange);                     // decoded, without query
struct view exchange_header(const struct exchange *exchange, const char *name); // empty when absent; name in lower case
struct view exchange_body(const struct exchange *exchange);
char *exchange_body_mutable(struct exchange *exchange,
                            size_t *size); // the same bytes, for parsers that unescape in place
// A parameter of the query, decoded; false when absent. `out` is cut at its size.
bool exchange_query(const struct exchange *exchange, const char *name, char *out, size_t out_size);
// The same for one that is given several times, counted from 0.
bool exchange_query_at(const struct exchange *exchange, const char *name, uint32_t index, char *out, size_t out_size);
bool exchange_is_local(const struct exchange *exchange); // came over the Unix socket
bool exchange_is_loopback(const struct exchange *exchange);
// Called when the peer goes away before the answer, or when a stream ends, instead of an answer being possible.
void exchange_on_close(struct exchange *exchange, loop_fn *fn, void *userdata);

// The answer. `headers` are whole lines ("Retry-After: 1\r\n"), NULL: none. `body` is copied.
void exchange_reply(struct exchange *exchange, int status, const char *content_type, struct view body,
                    const char *headers);
// {"type":"about:blank","title":...,"status":...,"detail":...,"field":...}; field may be NULL.
void exchange_problem(struct exchange *exchange, int status, const char *detail, const char *field);
// A chunked answer without end (server-sent events). A reader that lags by more than stream_bytes_max is cut off.
void exchange_stream(struct exchange *exchange, const char *content_type);
void exchange_stream_write(struct exchange *exchange, struct view data);
void exchange_stream_end(struct exchange *exchange);

#endif
