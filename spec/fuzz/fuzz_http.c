// The HTTP server on a real Unix or TCP socket: any bytes, in any pieces, with answers now, later, or as streams.
//
// The first byte chooses the socket, the second the pieces' size. Whatever comes in, what goes out begins as an answer,
// and the server lives on.
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

#include "check.h"
#include "serve.h"

enum { HELD_MAX = 4096 };

static struct loop *loop;
static struct serve *serve;
static struct exchange *held[HELD_MAX];
static int held_count;
static char dir[] = "/tmp/nines-fuzz-XXXXXX", path[64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void forget(void *userdata)
{
  *(struct exchange **)userdata = NULL;
}

static void handle(void *userdata, struct exchange *exchange)
{
  (void)userdata;
  struct view path_view = exchange_path(exchange), body = exchange_body(exchange);
  char text[16];
  CHECK(path_view.size > 0 && memchr(path_view.data, '\0', path_view.size) == NULL);
  CHECK(body.size <= 4096);
  exchange_header(exchange, "content-type");
  char choice = exchange_query(exchange, "a", text, sizeof text) ? text[0] : 'e';
  if (choice == 'p') {
    exchange_problem(exchange, 404, "nothing here", text);
  } else if ((choice == 'l' || choice == 's' || choice == 'w') && held_count < HELD_MAX) {
    if (choice == 'w') exchange_on_close(exchange, forget, &held[held_count]);
    held[held_count++] = exchange;
    if (choice == 's') return; // becomes a stream when it is answered
  } else {
    exchange_reply(exchange, 200, "text/plain", body, "X-Fuzz: 1\r\n");
  }
}

static void remove_files(void)
{
  serve_close(serve);
  loop_close(loop);
  rmdir(dir);
}

static void start(void)
{
  struct status status;
  CHECK(mkdtemp(dir) != NULL);
  snprintf(path, sizeof path, "%s/s", dir);
  CHECK(loop_open(&loop, &status) == 0);
  struct serve_config config = { .address = "127.0.0.1:0", .socket = path, .handle = handle };
  config.limits.header_bytes_max = 2048;
  config.limits.body_bytes_max = 4096;
  CHECK(serve_open(&serve, loop, &config, &status) == 0);
  atexit(remove_files);
}

static int dial(bool local)
{
  struct sockaddr_un un = { .sun_family = AF_UNIX };
  struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  in.sin_port = htons((uint16_t)serve_port(serve));
  strcpy(un.sun_path, path);
  int fd = socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int code = local ? connect(fd, (struct sockaddr *)&un, sizeof un) : connect(fd, (struct sockaddr *)&in, sizeof in);
  // The fuzzer's own alarm interrupts; and minutes of this use up the ports, because those closed first linger.
  int why = code != 0 ? errno : 0;
  if (why == EINTR || (!local && why == EADDRNOTAVAIL)) {
    close(fd);
    return dial(local || why == EADDRNOTAVAIL);
  }
  if (code != 0) fprintf(stderr, "connect to %s: %s\n", local ? "the socket" : "the port", strerror(errno));
  CHECK(code == 0);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  struct linger reset = { .l_onoff = 1 }; // no ports left in TIME_WAIT
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
  return fd;
}

static void answer_held(void)
{
  for (int i = held_count; i-- > 0;) { // the youngest first: their answers must wait
    struct exchange *exchange = held[i];
    if (exchange == NULL) continue;
    exchange_on_close(exchange, NULL, NULL);
    if (i % 3 != 0) {
      exchange_reply(exchange, 200, NULL, view_of("later"), NULL);
    } else {
      exchange_stream(exchange, "text/plain");
      exchange_stream_write(exchange, view_of("piece"));
      exchange_stream_end(exchange);
    }
  }
  held_count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (serve == NULL) start();
  if (size < 2 || size > 16384) return 0;
  int fd = dial(data[0] & 1);
  size_t piece = data[1] < 128 ? (size_t)data[1] + 1 : size;
  bool first = true;
  char text[8192];
  for (size_t at = 2; at < size; at += piece) {
    size_t rest = size - at < piece ? size - at : piece;
    if (send(fd, data + at, rest, MSG_NOSIGNAL) != (ssize_t)rest) break; // refused and closed, or full
    loop_turn(loop, 0);
    if (data[0] & 2) answer_held();
  }
  loop_turn(loop, 0);
  if (data[0] & 4) shutdown(fd, SHUT_WR);
  loop_turn(loop, 0);
  answer_held();
  for (int i = 0; i < 4; i++) {
    loop_turn(loop, 0);
    ssize_t got = recv(fd, text, sizeof text, 0);
    if (got <= 0) continue;
    CHECK(!first || (got >= 9 && memcmp(text, "HTTP/1.1 ", 9) == 0));
    first = false;
  }
  close(fd);
  for (int i = 0; i < 4 || serve_usage(serve)->connections > 0; i++) {
    CHECK(i < 100000);
    loop_turn(loop, 0);
    answer_held();
  }
  return 0;
}
