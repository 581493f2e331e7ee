// The server on real sockets: grammar, order, limits, who may talk to it, streams, and its end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig_serve.h"
#include "rng.h"
#include <sys/stat.h>

#define H   "Host: localhost\r\n"
#define END "Connection: close\r\n\r\n"

static struct rig *plain(void)
{
  return rig_open((struct serve_config){ 0 });
}

static void assert_says(const char *text, const char *needle)
{
  if (!strstr(text, needle)) fail_msg("no \"%s\" in: %s", needle, text);
}

static void assert_asks(struct rig *rig, const char *request, const char *needle)
{
  const char *text = rig_ask(rig, request);
  if (!strstr(text, needle)) fail_msg("%s -> no \"%s\" in: %s", request, needle, text);
}

static void requests_are_answered(void **state)
{
  (void)state;
  struct rig *rig = plain();
  assert_asks(
      rig, "GET /echo/a%20b%2Fc?x=1 HTTP/1.1\r\n" H END,
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 17\r\n\r\nGET /echo/a b/c ");
  assert_asks(rig, "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n" END "hello", "POST /echo hello\n");
  assert_asks(rig,
              "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END
              "5;x=y\r\nhello\r\n1\r\n \r\n00\r\nTrailer: x\r\n\r\n",
              "POST /echo hello \n");
  assert_asks(rig, "GET http://127.0.0.1:80/echo HTTP/1.1\r\n" H END, "GET /echo \n");
  assert_asks(rig, "GET http://127.0.0.1?q=1 HTTP/1.1\r\n" H END, "GET / \n");
  assert_asks(rig, "OPTIONS * HTTP/1.1\r\n" H END, "OPTIONS * \n");
  assert_asks(rig, "GET /echo HTTP/1.0\r\n\r\n", "Connection: close");
  assert_asks(rig, "GET /problem HTTP/1.1\r\n" H END,
              "{\"type\":\"about:blank\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"it is "
              "\\\"so\\\"\",\"field\":\"name\"}");
  assert_says(rig->text, "Content-Type: application/problem+json\r\n");
  const char *head = rig_ask(rig, "HEAD /big?n=1000 HTTP/1.1\r\n" H END);
  assert_says(head, "Content-Length: 1000\r\n\r\n");
  assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
  assert_says(rig_ask(rig, "GET /empty HTTP/1.1\r\n" H END), "204 No Content\r\nConnection: close\r\nX-One: 1\r\n\r\n");
  assert_null(strstr(rig->text, "Content-Length"));
  const struct serve_usage *usage = serve_usage(rig->serve);
  assert_int_equal(usage->requests_total, rig->handled);
  assert_int_equal(usage->bad_syntax + usage->bad_host, 0);
  assert_true(usage->bytes_in_total > 500 && usage->bytes_out_total > 1000);
  rig_close(rig);
}

static void connections_are_kept(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int fd = rig_dial(rig);
  for (int i = 1; i <= 200; i++) { // byte by byte at first, whole ones later
    const char *text = "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc";
    for (size_t at = 0; i < 4 && at < strlen(text); at++) {
      rig_send(rig, fd, text + at, 1);
      loop_turn(rig->loop, 0);
    }
    if (i >= 4) rig_send(rig, fd, text, strlen(text));
    rig_expect(rig, fd, "POST /echo abc\n", i);
  }
  const char *old = "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  rig_send(rig, fd, old, strlen(old));
  rig_expect(rig, fd, "Connection: keep-alive\r\n", 1);
  assert_int_equal(serve_usage(rig->serve)->connections_total, 1);
  close(fd);
  rig_close(rig);
}

static void pipelined_answers_keep_their_order(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int fd = rig_dial(rig);
  const char *text = "GET /later HTTP/1.1\r\n" H "\r\nGET /echo/two HTTP/1.1\r\n" H "\r\nGET /later HTTP/1.1\r\n" H
                     "\r\nGET /echo/four HTTP/1.1\r\n" H END;
  rig_send(rig, fd, text, strlen(text));
  rig_turns(rig, 3);
  assert_int_equal(rig->held_count, 2);
  rig_take(rig, fd);
  assert_int_equal(rig->size, 0);
  exchange_reply(rig->held[1], 200, "text/plain", view_of("third"), NULL);
  rig_turns(rig, 3);
  rig_take(rig, fd);
  assert_int_equal(rig->size, 0);
  exchange_reply(rig->held[0], 200, "text/plain", view_of("first"), NULL);
  rig_expect_end(rig, fd);
  const char *one = strstr(rig->text, "first"), *two = strstr(rig->text, "/echo/two"),
             *three = strstr(rig->text, "third"), *four = strstr(rig->text, "/echo/four");
  assert_true(one && two && three && four && one < two && two < three && three < four);
  rig_close(rig);
}

// Thousands at once, answered late: reading stops at 64 waiting, and nothing is lost.
static void pipelines_press_back(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int fd = rig_dial(rig);
  struct buf text = { 0 };
  enum { REQUESTS = 4000 };
  for (int i = 0; i < REQUESTS; i++) buf_printf(&text, "GET /later?i=%d HTTP/1.1\r\n" H "\r\n", i);
  size_t sent = 0;
  int answered = 0;
  for (int64_t end = clock_now_ns() + 20 * NS_PER_S; answered < REQUESTS && clock_now_ns() < end;) {
    ssize_t size = send(fd, text.data + sent, text.size - sent, MSG_NOSIGNAL);
    if (size > 0) sent += (size_t)size;
    loop_turn(rig->loop, 0);
    assert_true(rig->held_count - answered <= 64);
    while (answered < rig->held_count) {
      char i[16], body[32];
      assert_true(exchange_query(rig->held[answered], "i", i, sizeof i));
      assert_int_equal(atoi(i), answered);
      snprintf(body, sizeof body, "answer %s.", i);
      exchange_reply(rig->held[answered++], 200, NULL, view_of(body), NULL);
    }
    rig_take(rig, fd);
  }
  assert_int_equal(answered, REQUESTS);
  rig_expect(rig, fd, "answer ", REQUESTS);
  const char *at = rig->text;
  for (int i = 0; i < REQUESTS; i++) {
    char body[32];
    snprintf(body, sizeof body, "answer %d.", i);
    at = strstr(at, body);
    assert_non_null(at);
  }
  buf_free(&text);
  close(fd);
  rig_close(rig);
}

static void a_reader_that_does_not_read_presses_back(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){ .limits = { .stream_bytes_max = 100000 } });
  int fd = rig_dial(rig);
  enum { REQUESTS = 60 };
  struct buf text = { 0 };
  for (int i = 0; i < REQUESTS; i++) buf_text(&text, "GET /big?n=1000000 HTTP/1.1\r\n" H "\r\n");
  rig_send(rig, fd, text.data, text.size);
  rig_turns(rig, 20);
  assert_true(rig->handled < 20); // the kernel's buffers and one more, not 60 MB of ours
  size_t received = 0;
  for (int64_t end = clock_now_ns() + 20 * NS_PER_S; received < REQUESTS * 1000000UL && clock_now_ns() < end;) {
    rig->size = 0;
    assert_true(rig_take(rig, fd));
    received += rig->size;
    loop_turn(rig->loop, 0);
  }
  assert_int_equal(rig->handled, REQUESTS);
  buf_free(&text);
  close(fd);
  rig_close(rig);
}

static void bad_grammar_is_refused(void **state)
{
  (void)state;
  struct rig *rig = plain();
  static const char *const corpus[] = {
    "\x16\x03\x01\x02", // TLS
    "GET\r\n\r\n",
    "hello\r\n\r\n",
    "get / HTTP/1.1\r\n" H END,
    "GET / HTTP/1.1 \r\n" H END,
    "GET / HTTP/9.9\r\n" H END,
    "GET / HTTP/2.0\r\n" H END,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET foo HTTP/1.1\r\n" H END,
    "GET /a%0 HTTP/1.1\r\n" H END,
    "GET /a%00b HTTP/1.1\r\n" H END,
    "GET /a%zz HTTP/1.1\r\n" H END,
    "GET /a#b HTTP/1.1\r\n" H END,
    "GET * HTTP/1.1\r\n" H END,
    "CONNECT localhost:80 HTTP/1.1\r\n" H END,
    "GET / HTTP/1.1\r\n" H "Na me: x\r\n" END,
    "GET / HTTP/1.1\r\n" H "Name : x\r\n" END,
    "GET / HTTP/1.1\r\n" H ": x\r\n" END,
    "GET / HTTP/1.1\r\n: x\r\n" H END,
    "GET / HTTP/1.1\r\n" H "A: b\x01\r\n" END,
    "GET / HTTP/1.1\r\n Folded: x\r\n" H END,
    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n" END "hello!",
    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n" END "hello",
    "POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n" END,
    "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n" END "hello",
    "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n" END "hello",
    "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n" END,
    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "zz\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "fffffffffffffffff\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "3\r\nhello\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "Expect: tea\r\n" END,
  };
  size_t count = sizeof corpus / sizeof corpus[0];
  for (size_t i = 0; i < count; i++) {
    int handled = rig->handled;
    const char *text = rig_ask(rig, corpus[i]);
    bool refused = strncmp(text, "HTTP/1.1 400", 12) == 0 || strncmp(text, "HTTP/1.1 5", 10) == 0 ||
                   strncmp(text, "HTTP/1.1 417", 12) == 0;
    if (!refused || !strstr(text, "application/problem+json") || rig->handled != handled)
      fail_msg("%s -> %s", corpus[i], text);
  }
  assert_int_equal(serve_usage(rig->serve)->bad_syntax, count);
  // A refusal comes after the answers before it, and nothing after it is read.
  const char *text = rig_ask(rig, "GET /echo/fine HTTP/1.1\r\n" H "\r\n@\r\n\r\nGET /echo/no HTTP/1.1\r\n" H "\r\n");
  assert_says(text, "/echo/fine");
  assert_true(strstr(text, "400 Bad Request") > strstr(text, "/echo/fine"));
  assert_null(strstr(text, "/echo/no"));
  rig_close(rig);
}

// What two readers of the same bytes could take for different requests: needs llhttp's strict mode.
static void line_ends_are_strict(void **state)
{
  (void)state;
  struct rig *rig = plain();
  static const char *const corpus[] = {
    "GET / HTTP/1.1\r\n" H "A: b\rTransfer-Encoding: chunked\r\n" END,
    "GET / HTTP/1.1\r\n" H "A: b\r\r\n" END,
    "GET / HTTP/1.1\r\n" H "A: b\rContent-Length: 3\r\n" END "abc",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "2\r\nabX0\r\n\r\n",
    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "2\rab\r\n0\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof corpus / sizeof corpus[0]; i++) {
    const char *text = rig_ask(rig, corpus[i]);
    if (strncmp(text, "HTTP/1.1 400", 12) != 0) fail_msg("%s -> %s", corpus[i], text);
  }
  assert_int_equal(rig->handled, 0);
  rig_close(rig);
}

static void sizes_are_limited(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){ .limits = { .header_bytes_max = 1000, .body_bytes_max = 100 } });
  struct buf text = { 0 };
  buf_text(&text, "GET /");
  for (int i = 0; i < 1000; i++) buf_byte(&text, 'x');
  buf_text(&text, " HTTP/1.1\r\n" H END);
  assert_asks(rig, text.data, "HTTP/1.1 431 ");
  buf_clear(&text);
  buf_text(&text, "GET / HTTP/1.1\r\n" H);
  for (int i = 0; i < 101; i++) buf_text(&text, "a:\r\n"); // many, small and empty ones
  buf_text(&text, END);
  assert_asks(rig, text.data, "HTTP/1.1 431 ");
  buf_clear(&text);
  buf_text(&text, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\r\na\r\n0\r\n");
  for (int i = 0; i < 300; i++) buf_text(&text, "a: trailer\r\n");
  buf_text(&text, "\r\n");
  assert_asks(rig, text.data, "HTTP/1.1 431 ");
  assert_int_equal(serve_usage(rig->serve)->header_too_large, 3);
  assert_asks(rig, "POST / HTTP/1.1\r\n" H "Content-Length: 101\r\n\r\n", "HTTP/1.1 413 ");
  buf_clear(&text);
  buf_text(&text, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; i++) buf_text(&text, "8\r\nabcdefgh\r\n");
  assert_asks(rig, text.data, "HTTP/1.1 413 ");
  assert_int_equal(serve_usage(rig->serve)->body_too_large, 2);
  assert_int_equal(rig->handled, 0);
  assert_asks(rig, "GET /echo HTTP/1.1\r\n" H "a:\r\nb: \r\n" END, "GET /echo");
  buf_free(&text);
  rig_close(rig);
}

// The refusal must reach a client that goes on sending a body nobody wants.
static void refusals_outlive_the_body(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){ .limits = { .body_bytes_max = 1000 } });
  int fd = rig_dial(rig);
  const char *head = "POST / HTTP/1.1\r\n" H "Content-Length: 2000000\r\n\r\n";
  rig_send(rig, fd, head, strlen(head));
  rig_send(rig, fd, rig->big, 2000000);
  rig_expect(rig, fd, "HTTP/1.1 413 Content Too Large", 1);
  shutdown(fd, SHUT_WR);
  rig_expect_end(rig, fd);
  rig_close(rig);
}

static void continue_is_sent_when_asked(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int fd = rig_dial(rig);
  const char *head = "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  rig_send(rig, fd, head, strlen(head));
  rig_expect(rig, fd, "HTTP/1.1 100 Continue\r\n\r\n", 1);
  rig_send(rig, fd, "ok", 2);
  rig_expect(rig, fd, "POST /echo ok\n", 1);
  // Behind an earlier request it comes after that one's answer.
  const char *later = "GET /later HTTP/1.1\r\n" H "\r\n";
  rig_send(rig, fd, later, strlen(later));
  rig_send(rig, fd, head, strlen(head));
  rig_turns(rig, 3);
  exchange_reply(rig->held[0], 200, NULL, view_of("first"), NULL);
  rig_expect(rig, fd, "100 Continue", 2);
  assert_true(strstr(strstr(rig->text, "first"), "100 Continue") != NULL);
  rig_send(rig, fd, "ok", 2);
  rig_expect(rig, fd, "POST /echo ok\n", 2);
  close(fd);
  rig_close(rig);
}

static void slow_clients_are_cut(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){
      .limits = { .header_ns_max = 40 * NS_PER_MS, .body_ns_max = 40 * NS_PER_MS, .idle_ns_max = 60 * NS_PER_MS } });
  assert_asks(rig, "GET / HTTP/1.1\r\nHo", "HTTP/1.1 408 ");
  assert_says(rig->text, "the header did not arrive in time");
  assert_asks(rig, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\na", "the body did not arrive in time");
  assert_int_equal(serve_usage(rig->serve)->timeouts, 2);
  assert_string_equal(rig_ask(rig, ""), ""); // idle: closed without a word
  assert_asks(rig, "GET /echo HTTP/1.1\r\n" H "\r\n", "GET /echo");
  // Dripping bytes does not help.
  int fd = rig_dial(rig);
  int64_t start = clock_now_ns();
  for (int i = 0; !strstr(rig->text, "408") && clock_now_ns() - start < 5 * NS_PER_S; i++) {
    rig_send(rig, fd, i == 0 ? "G" : i == 1 ? "E" : i == 2 ? "T" : i == 3 ? " " : "/", 1);
    loop_turn(rig->loop, 2 * NS_PER_MS);
    if (!rig_take(rig, fd)) break;
  }
  assert_says(rig->text, "408");
  close(fd);
  // A handler that takes its time is not the client's fault.
  fd = rig_dial(rig);
  const char *later = "GET /later HTTP/1.1\r\n" H END;
  rig_send(rig, fd, later, strlen(later));
  for (start = clock_now_ns(); clock_now_ns() - start < 150 * NS_PER_MS;) loop_turn(rig->loop, 5 * NS_PER_MS);
  exchange_reply(rig->held[0], 200, NULL, view_of("late"), NULL);
  rig_expect_end(rig, fd);
  assert_says(rig->text, "late");
  rig_close(rig);
}

static void only_our_hosts_and_origins(void **state)
{
  (void)state;
  static const char *const names[] = { "nines.example", NULL };
  struct rig *rig = rig_open((struct serve_config){ .hosts = names });
  static const struct {
    const char *lines, *code;
  } cases[] = {
    { "Host: localhost\r\n", "200" },
    { "Host: LOCALHOST:9999\r\n", "200" },
    { "Host: 127.0.0.1\r\n", "200" },
    { "Host: 127.0.0.1:1\r\n", "200" },
    { "Host: 127.9.9.9\r\n", "200" },
    { "Host: [::1]:80\r\n", "200" },
    { "Host: Nines.Example:80\r\n", "200" },
    { "Host: evil.example\r\n", "421" },
    { "Host: 10.0.0.1\r\n", "421" },
    { "Host: 8.8.8.8:9999\r\n", "421" },
    { "Host: localhost.evil.example\r\n", "421" },
    { "Host: localhost:\r\n", "421" },
    { "Host: localhost:x\r\n", "421" },
    { "Host: localhost:123456\r\n", "421" },
    { "Host: user@localhost\r\n", "421" },
    { "Host: ::1\r\n", "421" },
    { "Host: [::1\r\n", "421" },
    { "Host: [::1]x:1\r\n", "421" },
    { "Host: []\r\n", "421" },
    { "Host: [127.0.0.1]\r\n", "421" },
    { "Host: 127.1\r\n", "421" },
    { "Host: 2130706433\r\n", "421" },
    { "Host:\r\n", "421" },
    { "", "400" },
    { "Host: localhost\r\nHost: localhost\r\n", "400" },
    { "Host: localhost\r\nOrigin: http://localhost:9999\r\n", "200" },
    { "Host: localhost\r\nOrigin: https://nines.example\r\n", "200" },
    { "Host: localhost\r\nOrigin: null\r\n", "403" },
    { "Host: localhost\r\nOrigin: \r\n", "403" },
    { "Host: localhost\r\nOrigin: http://evil.example\r\n", "403" },
    { "Host: localhost\r\nOrigin: http://\r\n", "403" },
    { "Host: localhost\r\nOrigin: file://localhost\r\n", "403" },
    { "Host: localhost\r\nOrigin: http://localhost.evil\r\n", "403" },
    { "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n", "403" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char request[300], code[20];
    snprintf(request, sizeof request, "GET /echo HTTP/1.1\r\n%s" END, cases[i].lines);
    snprintf(code, sizeof code, "HTTP/1.1 %s ", cases[i].code);
    assert_asks(rig, request, code);
  }
  assert_asks(rig, "GET http://evil.example/ HTTP/1.1\r\n" H END, "HTTP/1.1 421 ");
  // An allowed Host remembered for the connection does not allow another one.
  assert_asks(rig, "GET /echo HTTP/1.1\r\n" H "\r\nGET /echo HTTP/1.1\r\nHost: localhos\r\n\r\n", "HTTP/1.1 421 ");
  assert_int_equal(serve_usage(rig->serve)->bad_origin, 7);
  rig_close(rig);
}

static void unix_sockets_trust_their_mode(void **state)
{
  (void)state;
  char dir[] = "/tmp/nines-test-XXXXXX", path[100];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/s", dir);
  struct serve_config config = { .socket = path, .handle = rig_handle };
  struct rig *rig = rig_open(config);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  int fd = rig_dial_unix(rig, path);
  const char *text = "GET /echo HTTP/1.1\r\nHost: anything\r\nOrigin: http://evil.example\r\n" END;
  rig_send(rig, fd, text, strlen(text));
  rig_expect_end(rig, fd);
  assert_says(rig->text, "200 OK");
  assert_int_equal(serve_port(rig->serve), 0);
  // A living one is left alone; a dead one is replaced; a file is not.
  struct serve *second;
  struct status status = { 0 };
  assert_int_equal(serve_open(&second, rig->loop, &config, &status), NINES_EBUSY);
  assert_null(second);
  assert_says(status.text, path);
  rig_close(rig);
  assert_int_equal(access(path, F_OK), -1); // removed
  int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un where = { .sun_family = AF_UNIX };
  strcpy(where.sun_path, path);
  assert_int_equal(bind(stale, (struct sockaddr *)&where, sizeof where), 0);
  close(stale);
  rig = rig_open(config);
  assert_int_equal(unlink(path), 0);
  FILE *file = fopen(path, "w");
  fclose(file);
  assert_int_equal(serve_open(&second, rig->loop, &config, &status), NINES_EEXISTS);
  rig_close(rig);
  assert_int_equal(access(path, F_OK), 0); // not ours, stays
  unlink(path);
  rmdir(dir);
}

static void addresses_that_fail_say_why(void **state)
{
  (void)state;
  struct rig *rig = plain();
  struct serve *second;
  struct status status = { 0 };
  char address[40];
  snprintf(address, sizeof address, "127.0.0.1:%d", serve_port(rig->serve));
  struct serve_config config = { .address = address, .handle = rig_handle };
  assert_int_equal(serve_open(&second, rig->loop, &config, &status), NINES_EBUSY);
  assert_says(status.text, address);
  char holder[40];
  snprintf(holder, sizeof holder, "probably by %d (", (int)getpid());
  assert_says(status.text, holder);
  static const char *const bad[] = { "",           "localhost",      "localhost:", ":1",   "1.2.3.4:65536",
                                     "1.2.3.4:1x", "example.org:80", "[::1:5",     "::1:5" };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    config.address = bad[i];
    assert_int_equal(serve_open(&second, rig->loop, &config, &status), NINES_EINVAL);
  }
  config.address = "203.0.113.7:0"; // nobody's
  assert_int_equal(serve_open(&second, rig->loop, &config, &status), NINES_EIO);
  rig_close(rig);
}

static void connections_are_counted_and_limited(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){ .limits = { .connections_max = 3 } });
  int fds[4];
  for (int i = 0; i < 4; i++) {
    fds[i] = rig_dial(rig);
    rig_turns(rig, 2);
  }
  rig_expect_end(rig, fds[3]);
  assert_says(rig->text, "HTTP/1.1 503 ");
  const char *body = strstr(rig->text, "\r\n\r\n") + 4;
  assert_int_equal(strlen(body), atoi(strstr(rig->text, "Content-Length: ") + 16));
  assert_int_equal(serve_usage(rig->serve)->too_many_connections, 1);
  close(fds[0]);
  rig_turns(rig, 5);
  assert_int_equal(serve_usage(rig->serve)->connections, 2);
  assert_asks(rig, "GET /echo HTTP/1.1\r\n" H END, "200 OK");
  close(fds[1]);
  close(fds[2]);
  rig_close(rig);
}

static void streams_flow_and_end(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int fd = rig_dial(rig);
  const char *text = "GET /stream HTTP/1.1\r\n" H "\r\nGET /echo/next HTTP/1.1\r\n" H "\r\n";
  rig_send(rig, fd, text, strlen(text));
  rig_expect(rig, fd, "Transfer-Encoding: chunked\r\n", 1);
  exchange_stream_write(rig->held[0], view_of("data: 1\n\n"));
  rig_expect(rig, fd, "9\r\ndata: 1\n\n\r\n", 1);
  exchange_stream_write(rig->held[0], view_of(""));
  exchange_stream_write(rig->held[0], view_of("data: 22\n\n"));
  exchange_stream_end(rig->held[0]);
  rig_expect(rig, fd, "a\r\ndata: 22\n\n\r\n0\r\n\r\nHTTP/1.1 200 OK", 1);
  rig_expect(rig, fd, "/echo/next", 1);
  assert_int_equal(rig->closed, 0);
  close(fd);
  // HTTP/1.0 has no chunks; the end of the connection is the end.
  fd = rig_dial(rig);
  text = "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  rig_send(rig, fd, text, strlen(text));
  rig_expect(rig, fd, "\r\n\r\n", 1);
  exchange_stream_write(rig->held[1], view_of("bare"));
  exchange_stream_end(rig->held[1]);
  rig_expect_end(rig, fd);
  assert_says(rig->text, "\r\n\r\nbare");
  assert_null(strstr(rig->text, "chunked"));
  rig_close(rig);
}

static void lost_peers_are_told(void **state)
{
  (void)state;
  struct rig *rig = plain();
  static const char *const texts[] = { "GET /stream HTTP/1.1\r\n" H "\r\n", "GET /watch HTTP/1.1\r\n" H "\r\n" };
  for (int i = 0; i < 2; i++) {
    int fd = rig_dial(rig);
    rig_send(rig, fd, texts[i], strlen(texts[i]));
    rig_turns(rig, 3);
    close(fd);
    rig_turns(rig, 5);
    assert_int_equal(rig->closed, i + 1);
  }
  // Without a callback the holder answers to nobody, later.
  int fd = rig_dial(rig);
  const char *later =
      "GET /later HTTP/1.1\r\n" H "\r\nGET /later HTTP/1.1\r\n" H "\r\nGET /later HTTP/1.1\r\n" H "\r\n";
  rig_send(rig, fd, later, strlen(later));
  rig_turns(rig, 3);
  struct linger reset = { .l_onoff = 1 };
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  rig_turns(rig, 5);
  assert_int_equal(serve_usage(rig->serve)->connections, 0);
  exchange_reply(rig->held[2], 200, NULL, view_of("x"), NULL);
  exchange_problem(rig->held[3], 500, "x", NULL);
  exchange_stream(rig->held[4], "text/plain");
  exchange_stream_write(rig->held[4], view_of("x"));
  exchange_stream_end(rig->held[4]);
  // A client that only closes its sending side still gets its answer.
  fd = rig_dial(rig);
  rig_send(rig, fd, later, strlen(later) / 3);
  shutdown(fd, SHUT_WR);
  rig_turns(rig, 5);
  exchange_reply(rig->held[5], 200, NULL, view_of("half"), NULL);
  rig_expect_end(rig, fd);
  assert_says(rig->text, "half");
  rig_close(rig);
}

static void slow_readers_of_streams_are_cut(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){ .limits = { .stream_bytes_max = 50000 } });
  int slow = rig_dial(rig), quick = rig_dial(rig);
  const char *text = "GET /stream HTTP/1.1\r\n" H "\r\n";
  rig_send(rig, slow, text, strlen(text));
  rig_turns(rig, 3);
  rig_send(rig, quick, text, strlen(text));
  rig_turns(rig, 3);
  assert_int_equal(rig->held_count, 2);
  for (int i = 0; i < 5000 && rig->closed == 0; i++) {
    for (int k = 0; k < 2; k++) exchange_stream_write(rig->held[k], (struct view){ rig->big, 10000 });
    rig->size = 0;
    assert_true(rig_take(rig, quick));
    loop_turn(rig->loop, 0);
  }
  assert_int_equal(rig->closed, 1);
  exchange_stream_write(rig->held[1], view_of("still here"));
  for (int i = 0; i < 100 && !strstr(rig->text, "still here"); i++) {
    rig->size = 0;
    rig_take(rig, quick);
    loop_turn(rig->loop, NS_PER_MS);
  }
  assert_says(rig->text, "still here");
  close(slow);
  close(quick);
  rig_close(rig);
  // rig_close tells the quick one's holder
}

static void draining_finishes_what_is_under_way(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int idle = rig_dial(rig);
  rig_turns(rig, 2);
  int busy = rig_dial(rig);
  const char *later = "GET /later HTTP/1.1\r\n" H "\r\n";
  rig_send(rig, busy, later, strlen(later));
  rig_turns(rig, 3);
  serve_drain(rig->serve);
  rig_turns(rig, 3);
  assert_false(serve_idle(rig->serve));
  char byte;
  assert_int_equal(recv(idle, &byte, 1, 0), 0); // closed
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons((uint16_t)serve_port(rig->serve)) };
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof where), -1);
  close(fd);
  exchange_reply(rig->held[0], 200, NULL, view_of("done"), NULL);
  rig_expect_end(rig, busy);
  assert_says(rig->text, "Connection: close");
  assert_says(rig->text, "done");
  rig_turns(rig, 3);
  assert_true(serve_idle(rig->serve));
  close(idle);
  rig_close(rig);
}

static void closing_flushes_and_tells(void **state)
{
  (void)state;
  struct rig *rig = plain();
  int fd = rig_dial(rig);
  const char *text = "GET /later HTTP/1.1\r\n" H "\r\nGET /watch HTTP/1.1\r\n" H "\r\nGET /later HTTP/1.1\r\n" H "\r\n";
  rig_send(rig, fd, text, strlen(text));
  rig_turns(rig, 3);
  exchange_reply(rig->held[0], 200, NULL, view_of("flushed"), NULL);
  serve_close(rig->serve);
  assert_int_equal(rig->closed, 1); // before it returned
  exchange_reply(rig->held[2], 200, NULL, view_of("nobody"), NULL);
  loop_close(rig->loop);
  rig_take(rig, fd);
  assert_says(rig->text, "flushed");
  close(fd);
  free(rig->text);
  free(rig->big);
  free(rig);
}

// Requests cut at random places, mutated at random bytes: no answer may break the form, and good ones still work.
static void random_bytes_are_survived(void **state)
{
  (void)state;
  struct rig *rig = rig_open((struct serve_config){ .limits = { .header_bytes_max = 500, .body_bytes_max = 200 } });
  struct rng rng;
  uint64_t seed = rng_system_seed();
  rng_init(&rng, seed, "serve");
  print_message("seed %llu\n", (unsigned long long)seed);
  static const char seedling[] = "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                                 "GET /echo?a=b HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nxyzGET / HTTP/1.0\r\n\r\n";
  for (int i = 0; i < 300; i++) {
    char text[sizeof seedling];
    memcpy(text, seedling, sizeof text);
    for (uint64_t n = rng_below(&rng, 4); n > 0; n--) text[rng_below(&rng, sizeof text)] = (char)rng_below(&rng, 256);
    int fd = rig_dial(rig);
    for (size_t at = 0; at < sizeof text - 1;) {
      size_t piece = 1 + rng_below(&rng, 60);
      if (piece > sizeof text - 1 - at) piece = sizeof text - 1 - at;
      rig_send(rig, fd, text + at, piece);
      at += piece;
    }
    shutdown(fd, SHUT_WR);
    rig_expect_end(rig, fd);
    if (rig->size > 0 && strncmp(rig->text, "HTTP/1.1 ", 9) != 0)
      fail_msg("seed %llu: %s", (unsigned long long)seed, rig->text);
  }
  assert_asks(rig, "GET /echo HTTP/1.1\r\n" H END, "200 OK");
  rig_close(rig);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(requests_are_answered),
    cmocka_unit_test(connections_are_kept),
    cmocka_unit_test(pipelined_answers_keep_their_order),
    cmocka_unit_test(pipelines_press_back),
    cmocka_unit_test(a_reader_that_does_not_read_presses_back),
    cmocka_unit_test(bad_grammar_is_refused),
    cmocka_unit_test(line_ends_are_strict),
    cmocka_unit_test(sizes_are_limited),
    cmocka_unit_test(refusals_outlive_the_body),
    cmocka_unit_test(continue_is_sent_when_asked),
    cmocka_unit_test(slow_clients_are_cut),
    cmocka_unit_test(only_our_hosts_and_origins),
    cmocka_unit_test(unix_sockets_trust_their_mode),
    cmocka_unit_test(addresses_that_fail_say_why),
    cmocka_unit_test(connections_are_counted_and_limited),
    cmocka_unit_test(streams_flow_and_end),
    cmocka_unit_test(lost_peers_are_told),
    cmocka_unit_test(slow_readers_of_streams_are_cut),
    cmocka_unit_test(draining_finishes_what_is_under_way),
    cmocka_unit_test(closing_flushes_and_tells),
    cmocka_unit_test(random_bytes_are_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
