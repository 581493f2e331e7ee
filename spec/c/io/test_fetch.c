// Fetching from our own server in the same loop: what arrives, what fails and how it says so, and cancelling.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fetch.h"
#include "rig_serve.h"

struct got {
  int calls, code, status;
  char body[400], headers[400], error[400];
  struct fetch *to_cancel;
  struct fetcher *to_close;
};

static void keep(char *to, size_t to_size, struct view from)
{
  snprintf(to, to_size, "%.*s", (int)from.size, from.size ? from.data : "");
}

static void on_reply(void *userdata, const struct fetch_reply *reply)
{
  struct got *got = userdata;
  got->calls++;
  got->code = reply->code;
  got->status = reply->status;
  keep(got->body, sizeof got->body, reply->body);
  keep(got->headers, sizeof got->headers, reply->headers);
  keep(got->error, sizeof got->error, view_of(reply->error));
  fetch_cancel(got->to_cancel);
  fetcher_close(got->to_close);
}

static struct fetcher *fetcher;

static void assert_says(const char *text, const char *needle)
{
  if (!strstr(text, needle)) fail_msg("no \"%s\" in: %s", needle, text);
}

static char *url(struct rig *rig, const char *path)
{
  static char text[200];
  snprintf(text, sizeof text, "http://127.0.0.1:%d%s", serve_port(rig->serve), path);
  return text;
}

static struct fetch *start(struct fetch_request request, struct got *got)
{
  struct fetch *fetch;
  struct status status = { 0 };
  if (fetch_start(fetcher, &request, on_reply, got, &fetch, &status) != 0) fail_msg("%s", status.text);
  assert_int_equal(got->calls, 0); // later, never inside the call
  return fetch;
}

static void wait_for(struct rig *rig, const struct got *got)
{
  for (int64_t end = clock_now_ns() + 10 * NS_PER_S; got->calls == 0 && clock_now_ns() < end;)
    loop_turn(rig->loop, 10 * NS_PER_MS);
  assert_int_equal(got->calls, 1);
}

static struct got fetched(struct rig *rig, struct fetch_request request)
{
  struct got got = { 0 };
  start(request, &got);
  wait_for(rig, &got);
  return got;
}

static struct rig *open_rig(void)
{
  struct rig *rig = rig_open((struct serve_config){ 0 });
  fetcher = fetcher_open(rig->loop);
  return rig;
}

static void close_rig(struct rig *rig)
{
  fetcher_close(fetcher);
  rig_close(rig);
}

static void replies_arrive(void **state)
{
  (void)state;
  struct rig *rig = open_rig();
  struct got got = fetched(rig, (struct fetch_request){ .url = url(rig, "/echo/a?b=c") });
  assert_int_equal(got.code, 0);
  assert_int_equal(got.status, 200);
  assert_string_equal(got.body, "GET /echo/a \n");
  assert_says(got.headers, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n");
  char body[] = "{\"a\":1}"; // copied: changed right after
  struct got posted = { 0 };
  start((struct fetch_request){ .url = url(rig, "/echo"), .body = { body, strlen(body) } }, &posted);
  memset(body, 'x', sizeof body - 1);
  wait_for(rig, &posted);
  assert_string_equal(posted.body, "POST /echo {\"a\":1}\n");
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/echo"), .method = "PUT", .body = view_of("x") });
  assert_string_equal(got.body, "PUT /echo x\n");
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/echo"), .method = "POST" });
  assert_string_equal(got.body, "POST /echo \n");
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/big?n=5"), .method = "HEAD" });
  assert_string_equal(got.body, "");
  assert_says(got.headers, "Content-Length: 5");
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/problem") });
  assert_int_equal(got.code, 0); // an answer is an answer
  assert_int_equal(got.status, 409);
  static const char *const lines[] = { "Host: evil.example", NULL };
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/echo"), .headers = lines });
  assert_int_equal(got.status, 421);
  assert_int_equal(fetch_count(fetcher), 0);
  close_rig(rig);
}

static void unix_sockets_work(void **state)
{
  (void)state;
  char dir[] = "/tmp/nines-test-XXXXXX", path[100];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/s", dir);
  struct rig *rig = rig_open((struct serve_config){ .socket = path });
  fetcher = fetcher_open(rig->loop);
  struct got got = fetched(rig, (struct fetch_request){ .url = "http://nines/echo", .unix_socket = path });
  assert_string_equal(got.body, "GET /echo \n");
  close_rig(rig);
  assert_int_equal(rmdir(dir), 0);
}

static void failures_say_what_failed(void **state)
{
  (void)state;
  struct rig *rig = open_rig();
  struct got got =
      fetched(rig, (struct fetch_request){ .url = url(rig, "/later?token=secret"), .timeout_ns = 30 * NS_PER_MS });
  assert_int_equal(got.code, NINES_ETIMEOUT);
  assert_says(got.error, "timeout after 30ms: http://127.0.0.1:");
  assert_null(strstr(got.error, "secret"));
  exchange_reply(rig->held[0], 200, NULL, view_of("too late"), NULL);
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/big?n=1001"), .reply_bytes_max = 1000 });
  assert_int_equal(got.code, NINES_ELIMIT);
  assert_says(got.error, "larger than 1000 bytes");
  got = fetched(rig, (struct fetch_request){ .url = url(rig, "/big?n=1000"), .reply_bytes_max = 1000 });
  assert_int_equal(got.code, 0);
  struct got streamed = { 0 }; // without a length, too large only as it comes
  start((struct fetch_request){ .url = url(rig, "/stream"), .reply_bytes_max = 1000 }, &streamed);
  for (int i = 0; i < 1000 && rig->held_count < 2; i++) loop_turn(rig->loop, NS_PER_MS);
  exchange_stream_write(rig->held[1], (struct view){ rig->big, 1001 });
  wait_for(rig, &streamed);
  assert_int_equal(streamed.code, NINES_ELIMIT);
  char closed[60];
  int fd = socket(AF_INET, SOCK_STREAM, 0); // bound, not listening: refused for as long as it is open
  struct sockaddr_in where = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof where;
  assert_int_equal(bind(fd, (struct sockaddr *)&where, sizeof where), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &size), 0);
  snprintf(closed, sizeof closed, "http://127.0.0.1:%d/x", ntohs(where.sin_port));
  got = fetched(rig, (struct fetch_request){ .url = closed });
  assert_int_equal(got.code, NINES_EIO);
  assert_says(got.error, "http://127.0.0.1:");
  close(fd);
  got = fetched(rig, (struct fetch_request){ .url = "http://nines/", .unix_socket = "/nonexistent/socket" });
  assert_int_equal(got.code, NINES_EIO);
  close_rig(rig);
}

static void nonsense_is_refused_at_once(void **state)
{
  (void)state;
  struct rig *rig = open_rig();
  static const char *const split[] = { "A: b\r\nC: d", NULL }, *const bare[] = { "nothing", NULL };
  const struct fetch_request requests[] = {
    { .url = "" },
    { .url = "file:///etc/passwd" },
    { .url = "ftp://localhost/" },
    { .url = "http://" },
    { .url = url(rig, "/"), .headers = split },
    { .url = url(rig, "/"), .headers = bare },
    { .url = url(rig, "/"), .method = "GET / HTTP/1.1\r\nX: y" },
  };
  for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
    struct status status = { 0 };
    struct fetch *fetch;
    assert_int_equal(fetch_start(fetcher, &requests[i], on_reply, NULL, &fetch, &status), NINES_EINVAL);
    assert_null(fetch);
    assert_true(status.text[0] != '\0');
  }
  assert_int_equal(fetch_count(fetcher), 0);
  close_rig(rig);
}

static void cancelled_ones_stay_silent(void **state)
{
  (void)state;
  struct rig *rig = open_rig();
  struct got never = { 0 }, first = { 0 };
  char slow[200];
  snprintf(slow, sizeof slow, "%s", url(rig, "/later"));
  const struct fetch_request later = { .url = slow };
  fetch_cancel(start(later, &never)); // before anything happened
  struct fetch *held = start(later, &never);
  for (int i = 0; i < 1000 && rig->held_count == 0; i++) loop_turn(rig->loop, NS_PER_MS);
  first.to_cancel = held; // from inside another's callback
  start((struct fetch_request){ .url = url(rig, "/echo") }, &first);
  wait_for(rig, &first);
  assert_int_equal(fetch_count(fetcher), 0);
  // From inside its own callback: nothing happens.
  struct got own = { 0 };
  own.to_cancel = start((struct fetch_request){ .url = url(rig, "/echo") }, &own);
  wait_for(rig, &own);
  // Closing from inside a callback, with others under way.
  struct got last = { .to_close = fetcher };
  start(later, &never);
  start((struct fetch_request){ .url = url(rig, "/echo") }, &last);
  wait_for(rig, &last);
  rig_turns(rig, 5);
  assert_int_equal(never.calls, 0);
  while (rig->held_count > 0) exchange_reply(rig->held[--rig->held_count], 200, NULL, view_of(""), NULL);
  rig_close(rig);
}

static void many_at_once_have_a_limit(void **state)
{
  (void)state;
  struct rig *rig = open_rig();
  static struct got all[256];
  struct status status = { 0 };
  struct fetch *fetch;
  const struct fetch_request request = { .url = url(rig, "/echo") };
  for (int i = 0; i < 256; i++) start(request, &all[i]);
  assert_int_equal(fetch_start(fetcher, &request, on_reply, NULL, &fetch, &status), NINES_ELIMIT);
  for (int i = 0; i < 256; i++) {
    wait_for(rig, &all[i]);
    assert_int_equal(all[i].status, 200);
  }
  close_rig(rig);
}

int main(void)
{
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  unsetenv("all_proxy");
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(replies_arrive),
    cmocka_unit_test(unix_sockets_work),
    cmocka_unit_test(failures_say_what_failed),
    cmocka_unit_test(nonsense_is_refused_at_once),
    cmocka_unit_test(cancelled_ones_stay_silent),
    cmocka_unit_test(many_at_once_have_a_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
