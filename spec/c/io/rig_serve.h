// A server in a loop, a handler that does what the path says, and clients on real sockets turned by the same thread.
//
// /echo answers METHOD PATH BODY; /big?n= that many bytes; /problem a problem; /later, /watch and /stream are held in
// `held` (watch and stream count their end in `closed`).
#ifndef NINES_SPEC_IO_RIG_SERVE_H
#define NINES_SPEC_IO_RIG_SERVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "duration.h"
#include "serve.h"

enum { RIG_HELD_MAX = 5000, RIG_TEXT_MAX = 4 << 20 };

struct rig {
  struct loop *loop;
  struct serve *serve;
  struct exchange *held[RIG_HELD_MAX];
  int held_count, closed, handled;
  char *text; // what the client has received
  size_t size;
  char *big;
};

static inline void rig_closed(void *userdata)
{
  ((struct rig *)userdata)->closed++;
}

static inline void rig_handle(void *userdata, struct exchange *exchange)
{
  struct rig *rig = userdata;
  struct view path = exchange_path(exchange);
  char n[16] = "0";
  rig->handled++;
  if (view_is(path, "/big")) {
    assert_true(exchange_query(exchange, "n", n, sizeof n));
    exchange_reply(exchange, 200, "text/plain", (struct view){ rig->big, (size_t)atol(n) }, NULL);
  } else if (view_is(path, "/problem")) {
    exchange_problem(exchange, 409, "it is \"so\"", "name");
  } else if (view_is(path, "/empty")) {
    exchange_reply(exchange, 204, NULL, (struct view){ 0 }, "X-One: 1\r\n");
  } else if (view_is(path, "/later") || view_is(path, "/watch") || view_is(path, "/stream")) {
    rig->held[rig->held_count++] = exchange;
    if (!view_is(path, "/later")) exchange_on_close(exchange, rig_closed, rig);
    if (view_is(path, "/stream")) exchange_stream(exchange, "text/event-stream");
  } else {
    struct buf text = { 0 };
    struct view parts[] = { exchange_method(exchange), path, exchange_body(exchange) };
    for (int i = 0; i < 3; i++) {
      buf_add(&text, parts[i].data, parts[i].size);
      buf_byte(&text, i < 2 ? ' ' : '\n');
    }
    exchange_reply(exchange, 200, "text/plain", buf_view(&text), NULL);
    buf_free(&text);
  }
}

static inline struct rig *rig_open(struct serve_config config)
{
  struct rig *rig = calloc(1, sizeof *rig);
  struct status status = { 0 };
  rig->text = malloc(RIG_TEXT_MAX);
  rig->big = malloc(RIG_TEXT_MAX);
  memset(rig->big, 'b', RIG_TEXT_MAX);
  assert_int_equal(loop_open(&rig->loop, &status), 0);
  if (!config.address && !config.socket) config.address = "127.0.0.1:0";
  config.handle = rig_handle;
  config.userdata = rig;
  if (serve_open(&rig->serve, rig->loop, &config, &status) != 0) fail_msg("%s", status.text);
  return rig;
}

static inline void rig_close(struct rig *rig)
{
  serve_close(rig->serve);
  loop_close(rig->loop);
  free(rig->text);
  free(rig->big);
  free(rig);
}

static inline int rig_dial(struct rig *rig)
{
  struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons((uint16_t)serve_port(rig->serve)) };
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof where), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  rig->size = 0;
  rig->text[0] = '\0';
  return fd;
}

static inline int rig_dial_unix(struct rig *rig, const char *path)
{
  struct sockaddr_un where = { .sun_family = AF_UNIX };
  snprintf(where.sun_path, sizeof where.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof where), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  rig->size = 0;
  rig->text[0] = '\0';
  return fd;
}

// Takes what there is; false at the end of file (or a reset).
static inline bool rig_take(struct rig *rig, int fd)
{
  ssize_t size = recv(fd, rig->text + rig->size, RIG_TEXT_MAX - 1 - rig->size, 0);
  if (size == 0 || (size < 0 && errno != EAGAIN)) return false;
  if (size > 0) rig->size += (size_t)size;
  rig->text[rig->size] = '\0';
  return true;
}

static inline void rig_send(struct rig *rig, int fd, const char *data, size_t size)
{
  for (int64_t end = clock_now_ns() + 20 * NS_PER_S; size > 0 && clock_now_ns() < end;) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return; // refused and closed: what came back counts
    if (sent > 0) {
      data += sent;
      size -= (size_t)sent;
    }
    loop_turn(rig->loop, 0);
  }
  assert_int_equal(size, 0);
}

// Receives until `needle` has come `count` times after `from`.
static inline void rig_expect(struct rig *rig, int fd, const char *needle, int count)
{
  for (int64_t end = clock_now_ns() + 10 * NS_PER_S;;) {
    int found = 0;
    for (const char *at = rig->text; (at = strstr(at, needle)) != NULL; at++) found++;
    if (found >= count) return;
    if (clock_now_ns() > end || !rig_take(rig, fd))
      fail_msg("\"%s\" came %d times, not %d, in: %s", needle, found, count, rig->text);
    loop_turn(rig->loop, NS_PER_MS);
  }
}

// Receives until the server closes, and closes.
static inline void rig_expect_end(struct rig *rig, int fd)
{
  for (int64_t end = clock_now_ns() + 10 * NS_PER_S; rig_take(rig, fd); loop_turn(rig->loop, NS_PER_MS))
    if (clock_now_ns() > end) fail_msg("the server did not close; received: %s", rig->text);
  close(fd);
}

// One connection: sends the text, then everything until the server closes is in rig->text.
static inline const char *rig_ask(struct rig *rig, const char *text)
{
  int fd = rig_dial(rig);
  rig_send(rig, fd, text, strlen(text));
  rig_expect_end(rig, fd);
  return rig->text;
}

static inline void rig_turns(struct rig *rig, int turns)
{
  while (turns-- > 0) loop_turn(rig->loop, NS_PER_MS);
}

#endif
