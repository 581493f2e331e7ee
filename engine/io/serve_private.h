// What serve.c (sockets, lifecycle, limits) and exchange.c (requests and their answers) share.
#ifndef NINES_IO_SERVE_PRIVATE_H
#define NINES_IO_SERVE_PRIVATE_H

#include <llhttp.h>
#include <netinet/in.h>

#include "list.h"
#include "loop_uv.h"
#include "serve.h"

enum {
  SERVE_READ_BYTES = 128 << 10, // one read
  SERVE_PIPELINE_MAX = 64,      // requests of one connection waiting for their answers; beyond it reading stops
  SERVE_KEEP_BYTES = 64 << 10,  // larger buffers are given back after use
  SERVE_SPARE_MAX = 256,        // exchanges kept for reuse
  EXCHANGE_HEADERS_MAX = 100,
  HOST_TEXT_MAX = 256,
};

enum exchange_state {
  EXCHANGE_READING,   // the request is not complete
  EXCHANGE_WAITING,   // for its answer
  EXCHANGE_STREAMING, // answered so far
  EXCHANGE_DONE,      // the answer is complete, but earlier ones are not
};

enum exchange_span { SPAN_TARGET, SPAN_NAME, SPAN_VALUE };

struct exchange_field { // offsets into `head`
  uint32_t name, name_size, value, value_size;
};

struct exchange {
  struct list node;              // in the connection's queue, oldest first; or among the spare ones
  struct serve *serve;           // NULL once the server is closed
  struct connection *connection; // NULL once the peer is gone
  enum exchange_state state;
  llhttp_method_t method;
  bool http_1_0, last;     // last: the connection ends after the answer
  bool wants_continue;     // 100 Continue is due once the earlier answers are out
  bool mute;               // a stream asked for with HEAD
  bool local, loopback;    // as the connection's
  enum exchange_span span; // what the parser is in
  struct buf head;         // target, then names (lower case) and values of the header
  size_t path_start, path_size, query_start, query_size;
  uint32_t field_count;
  struct buf body;
  struct buf answer; // while earlier answers are incomplete
  loop_fn *on_close;
  void *on_close_data;
  struct exchange_field fields[EXCHANGE_HEADERS_MAX]; // last: not cleared between uses
};

struct connection {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv;
  struct serve *serve;
  struct list node;  // of serve->connections
  struct list dirty; // of serve->dirty: has something to write, resume or end
  llhttp_t parser;
  struct list queue;              // exchanges, oldest first
  uint32_t queued;                // their number
  struct exchange *current;       // being read: the youngest of the queue, or NULL
  bool local, loopback;           // Unix socket; peer on this host
  bool reading;                   // uv_read_start is on
  bool paused;                    // too many waiting, or too much unsent: `rest` is not parsed
  bool last_seen;                 // no request will be taken any more
  bool ended;                     // the peer sent its end of file
  bool faulted;                   // the last answer refuses: linger, so that the peer can read it
  bool lingering;                 // all is written, waiting for the peer's end of file
  bool body_phase;                // of `current`
  int fault_status;               // set by a parser callback that refuses
  const char *fault_detail;       // literal
  size_t header_bytes;            // of `current`
  int64_t phase_since_ns;         // start of the header or body of `current`, of lingering, or of being idle
  int64_t write_since_ns;         // start of the write under way
  struct buf rest;                // read but not parsed, while paused
  struct buf out;                 // to write
  struct buf writing;             // handed to libuv
  bool write_busy;                // `writing` is under way
  uv_write_t write;               //
  uv_shutdown_t shutdown;         //
  char address[INET6_ADDRSTRLEN]; // our end's, as the peer reached it; "" on Unix sockets
  char host_known[HOST_TEXT_MAX]; // the last Host that was allowed
};

struct serve {
  struct loop *loop;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
  uv_prepare_t prepare;
  uv_check_t check;
  struct loop_timer *tick;
  int open_handles;
  bool has_tcp, has_pipe, draining, closing;
  struct serve_limits limits;
  char **hosts;
  void (*handle)(void *userdata, struct exchange *exchange);
  void *userdata;
  int port;
  char *socket_path;
  uint64_t socket_device, socket_inode; // of the file we made: only that one is removed
  int64_t now_ns;                       // at the start of the current callback
  struct list connections, dirty, spare;
  size_t spare_count;
  struct serve_usage usage;
  struct buf scratch;
  char *input; // SERVE_READ_BYTES: one buffer for all reads, as parsing is done before the next one
};

// serve.c
void serve_trim(struct buf *buf); // empties it, and gives memory back that only a large message needed
void connection_mark(struct connection *connection); // settle it before the loop waits next
void connection_close(struct connection *connection);
void connection_flush(struct connection *connection); // as far as the socket takes it; may close the connection
size_t connection_unsent(const struct connection *connection);
bool connection_congested(const struct connection *connection); // take no further request for now

// http_request.c
extern const llhttp_settings_t request_parsing;
void request_parse(struct connection *connection, const char *data, size_t size); // data may be connection->rest
// Answers with a problem after what was asked before, and takes nothing any more.
void request_fault(struct connection *connection, int status, const char *detail);

// exchange.c
struct exchange *exchange_begin(struct connection *connection); // at the end of the queue; NULL: out of memory
struct exchange *exchange_oldest(const struct connection *connection);
void exchange_advance(struct connection *connection);     // moves complete answers out
void exchange_drop_unread(struct connection *connection); // forgets the request being read
void exchange_abandon_all(struct connection *connection); // the peer is gone
void exchange_free(struct exchange *exchange);
struct view exchange_value(const struct exchange *exchange, const struct exchange_field *field);
// The byte at *at, percent-decoded, with *at moved past it; -1: not valid.
int exchange_decode(struct view text, size_t *at);

// authority.c: may this Host or Origin talk to us? `address` is our end of the connection.
bool authority_allowed(struct view host, const char *address, char *const *names);
bool origin_allowed(struct view origin, const char *address, char *const *names);

// listen.c
int listen_tcp(struct serve *serve, const char *address, struct status *status);
int listen_unix(struct serve *serve, const char *path, struct status *status);
void listen_unlink(struct serve *serve);
void serve_accept(uv_stream_t *listener, int status); // serve.c: libuv's callback

#endif
