// Deliveries against a server in the same loop and against real processes: what they receive, and the verdict on each
// answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "courier.h"
#include "digest.h"
#include "duration.h"
#include "loop.h"
#include "payload.h"
#include "serve.h"

#define WALL_NS (CLOCK_VIRTUAL_WALL_NS + NS_PER_MIN)

struct world {
  struct loop *loop;
  struct serve *serve;
  struct fetcher *fetcher;
  struct commander *commander;
  struct courier *courier;
  struct settings *settings;
  char dir[64], commands[80];
  // the last request
  char method[8], path[100], type[60], signature[120];
  struct buf body;
  int requests;
  struct exchange *hanging; // answered at the end, as each must be
  // the last verdict
  int verdicts, code;
  uint64_t op;
  char why[400];
};

static void keep(char *out, size_t size, struct view text)
{
  snprintf(out, size, "%.*s", (int)text.size, text.data ? text.data : "");
}

// Answers /status/NNN (and what is below it) with that status, /hang when the server closes.
static void handle(void *userdata, struct exchange *exchange)
{
  struct world *world = userdata;
  int status = 200;
  world->requests++;
  keep(world->method, sizeof world->method, exchange_method(exchange));
  keep(world->path, sizeof world->path, exchange_path(exchange));
  keep(world->type, sizeof world->type, exchange_header(exchange, "content-type"));
  keep(world->signature, sizeof world->signature, exchange_header(exchange, "nines-signature"));
  struct view body = exchange_body(exchange);
  buf_clear(&world->body);
  buf_add(&world->body, body.data, body.size);
  if (strcmp(world->path, "/hang") == 0) {
    world->hanging = exchange;
    return;
  }
  sscanf(world->path, "/status/%d", &status);
  exchange_reply(exchange, status, "text/plain", view_of(status == 200 ? "" : "because\nof it \xc3\xa4"), NULL);
}

static void on_done(void *userdata, uint64_t op, int code, const char *why)
{
  struct world *world = userdata;
  world->verdicts++;
  world->op = op;
  world->code = code;
  snprintf(world->why, sizeof world->why, "%s", why);
}

static int world_open(void **state)
{
  struct world *world = calloc(1, sizeof *world);
  struct status status = { 0 };
  snprintf(world->dir, sizeof world->dir, "/tmp/test_courier_XXXXXX");
  assert_non_null(mkdtemp(world->dir));
  snprintf(world->commands, sizeof world->commands, "%s/commands", world->dir);
  struct serve_config config = { .address = "127.0.0.1:0", .handle = handle, .userdata = world };
  assert_int_equal(loop_open(&world->loop, &status), 0);
  assert_int_equal(serve_open(&world->serve, world->loop, &config, &status), 0);
  assert_int_equal(commander_open(&world->commander, world->loop, world->commands, &status), 0);
  world->fetcher = fetcher_open(world->loop);
  world->courier = courier_open(world->loop, world->fetcher, world->commander, on_done, world);
  *state = world;
  return 0;
}

static void close_server(struct world *world)
{
  if (world->hanging) exchange_reply(world->hanging, 200, "text/plain", view_of(""), NULL);
  if (world->serve) serve_close(world->serve);
  world->hanging = NULL;
  world->serve = NULL;
}

static int world_close(void **state)
{
  struct world *world = *state;
  fetcher_close(world->fetcher);
  commander_close(world->commander);
  courier_close(world->courier);
  courier_close(NULL);
  close_server(world);
  loop_close(world->loop);
  settings_free(world->settings);
  buf_free(&world->body);
  rmdir(world->commands); // empty: every command was forgotten
  assert_int_equal(rmdir(world->dir), 0);
  free(world);
  return 0;
}

// PORT in `format` becomes the port of the server.
static void configure(struct world *world, const char *format)
{
  char text[1000];
  const char *port = strstr(format, "PORT");
  if (port)
    snprintf(text, sizeof text, "%.*s%d%s", (int)(port - format), format, serve_port(world->serve), port + 4);
  else
    snprintf(text, sizeof text, "%s", format);
  struct status status = { 0 };
  settings_free(world->settings);
  if (settings_parse(&world->settings, view_of(text), "nines.yaml", world->dir, &status) < 0)
    fail_msg("%s", status.text);
}

static struct message page(void)
{
  static struct member members[] = { { { "alertname", 9 }, { .type = VALUE_TEXT, .text = { "down", 4 } } } };
  static const struct value labels = { .type = VALUE_TABLE, .table = { members, 1 } };
  static const struct value annotations = { .type = VALUE_TABLE };
  return (struct message){ .id = "m1",
                           .notifier = "n",
                           .kind = "page",
                           .status = "firing",
                           .alert = "a1",
                           .severity = "P0",
                           .title = "it is down",
                           .text = "",
                           .labels = &labels,
                           .annotations = &annotations,
                           .started_wall_ns = CLOCK_VIRTUAL_WALL_NS,
                           .wall_ns = WALL_NS,
                           .attempt = 1 };
}

static void turn_until(struct world *world, int verdicts)
{
  for (int64_t end_ns = clock_now_ns() + 20 * NS_PER_S; world->verdicts < verdicts;) {
    assert_true(clock_now_ns() < end_ns);
    assert_int_equal(loop_turn(world->loop, 100 * NS_PER_MS), 0);
  }
}

// Delivers the page and waits for the verdict, which must not come from within the call.
static int deliver(struct world *world, const struct message *message)
{
  static uint64_t op = 100;
  int before = world->verdicts;
  courier_deliver(world->courier, world->settings, ++op, message);
  assert_int_equal(world->verdicts, before);
  turn_until(world, before + 1);
  assert_true(world->op == op);
  return world->code;
}

static void test_alertmanager(void **state)
{
  struct world *world = *state;
  struct message message = page();
  struct buf expected = { 0 };
  configure(world, "notify: { n: { alertmanager: { url: 'http://127.0.0.1:PORT/prefix/' } } }\n");
  assert_int_equal(deliver(world, &message), 0);
  assert_string_equal(world->method, "POST");
  assert_string_equal(world->path, "/prefix/api/v2/alerts");
  assert_string_equal(world->type, "application/json");
  assert_string_equal(world->signature, "");
  payload_alertmanager(&message, "http://127.0.0.1:9999", &expected);
  assert_string_equal(world->body.data, expected.data);
  assert_string_equal(world->why, "n answered 200");
  buf_free(&expected);
}

static void test_webhook_is_signed(void **state)
{
  struct world *world = *state;
  struct message message = page();
  struct buf expected = { 0 }, signed_text = { 0 };
  char hex[DIGEST_HEX], header[120];
  configure(world, "public_url: https://n.test/\n"
                   "notify: { n: { webhook: { url: 'http://127.0.0.1:PORT/hook/', secret: key } } }\n");
  assert_int_equal(deliver(world, &message), 0);
  assert_string_equal(world->method, "POST");
  assert_string_equal(world->path, "/hook/");
  assert_string_equal(world->type, "application/json");
  payload_webhook(&message, "https://n.test", &expected);
  assert_string_equal(world->body.data, expected.data);
  long long seconds = WALL_NS / NS_PER_S;
  buf_printf(&signed_text, "%lld.%s", seconds, world->body.data); // as a receiver checks it
  digest_hmac_sha256(view_of("key"), buf_view(&signed_text), hex);
  snprintf(header, sizeof header, "t=%lld,v1=%s", seconds, hex);
  assert_string_equal(world->signature, header);
  buf_free(&expected);
  buf_free(&signed_text);
}

static void test_verdicts(void **state)
{
  struct world *world = *state;
  static const struct {
    int status, code;
  } answers[] = {
    { 200, 0 },
    { 201, 0 },
    { 202, 0 },
    { 299, 0 },
    { 400, NINES_EINVAL },
    { 401, NINES_EINVAL },
    { 404, NINES_EINVAL },
    { 410, NINES_EINVAL },
    { 422, NINES_EINVAL },
    { 408, NINES_EIO },
    { 425, NINES_EIO },
    { 429, NINES_EIO },
    { 500, NINES_EIO },
    { 502, NINES_EIO },
    { 503, NINES_EIO },
    { 302, NINES_EIO },
  };
  struct message message = page();
  for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
    char text[200], why[100];
    snprintf(text, sizeof text, "notify: { n: { webhook: { url: 'http://127.0.0.1:PORT/status/%d?token=t0ken' } } }",
             answers[i].status);
    configure(world, text);
    if (deliver(world, &message) != answers[i].code) fail_msg("%d gave %d", answers[i].status, world->code);
    snprintf(why, sizeof why, "n answered %d%s", answers[i].status,
             answers[i].status == 200 ? "" : ": because of it ??");
    assert_string_equal(world->why, why);
  }
  assert_int_equal(world->requests, (int)(sizeof answers / sizeof answers[0]));
}

static void test_no_answer(void **state)
{
  struct world *world = *state;
  struct message message = page();
  configure(world, "notify: { n: { webhook: { url: 'http://127.0.0.1:PORT/hang', timeout: 100ms } } }");
  assert_int_equal(deliver(world, &message), NINES_EIO);
  assert_non_null(strstr(world->why, "no answer from n: "));
  configure(world, "notify: { n: { webhook: { url: 'http://127.0.0.1:PORT/?token=t0ken' } } }");
  close_server(world); // nobody listens there any more
  assert_int_equal(deliver(world, &message), NINES_EIO);
  assert_non_null(strstr(world->why, "no answer from n: "));
  assert_null(strstr(world->why, "t0ken"));
}

static void test_unknown_notifier(void **state)
{
  struct world *world = *state;
  struct message message = page();
  configure(world, "notify: { team: { command: x } }");
  message.notifier = "taem";
  assert_int_equal(deliver(world, &message), NINES_EINVAL);
  assert_string_equal(world->why, "nines.yaml has no notifier taem (did you mean team?)");
}

static void test_command(void **state)
{
  struct world *world = *state;
  struct message message = page();
  struct buf expected = { 0 }, got = { 0 };
  char path[100];
  configure(world, "notify: { n: { command: [sh, -c, 'cat > got; echo sent'] } }");
  if (deliver(world, &message) != 0) fail_msg("%s", world->why);
  assert_string_equal(world->why, "the command of n exited with status 0: sent");
  snprintf(path, sizeof path, "%s/got", world->dir); // it ran in the project's directory
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  for (int byte; (byte = fgetc(file)) != EOF;) buf_byte(&got, (char)byte);
  fclose(file);
  unlink(path);
  payload_webhook(&message, "http://127.0.0.1:9999", &expected);
  buf_byte(&expected, '\n');
  assert_string_equal(got.data, expected.data);
  buf_free(&expected);
  buf_free(&got);
}

static void test_command_fails(void **state)
{
  struct world *world = *state;
  struct message message = page();
  configure(world, "notify: { n: { command: [sh, -c, 'echo no line >&2; exit 3'] } }");
  assert_int_equal(deliver(world, &message), NINES_EIO);
  assert_string_equal(world->why, "the command of n exited with status 3: no line");
  assert_int_equal(deliver(world, &message), NINES_EIO); // again, under the same name
  configure(world, "notify: { n: { command: ./nothing-here } }");
  assert_int_equal(deliver(world, &message), NINES_EIO);
  assert_non_null(strstr(world->why, "could not be started: No such file"));
  configure(world, "notify: { n: { command: [sleep, '20'], timeout: 100ms } }");
  assert_int_equal(deliver(world, &message), NINES_EIO);
  assert_string_equal(world->why, "the command of n ran longer than 100ms");
}

// The engine dies while the command runs; the next one delivers the same letter and finds the outcome of the first.
static void test_command_of_an_earlier_life(void **state)
{
  struct world *world = *state;
  struct message message = page();
  struct status status = { 0 };
  char path[100];
  configure(world, "notify: { n: { command: [sh, -c, 'echo x >> ran; until [ -e go ]; do sleep 0.02; done'] } }");
  courier_deliver(world->courier, world->settings, 1, &message);
  fetcher_close(world->fetcher);
  commander_close(world->commander);
  courier_close(world->courier);
  assert_int_equal(commander_open(&world->commander, world->loop, world->commands, &status), 0);
  world->fetcher = fetcher_open(world->loop);
  world->courier = courier_open(world->loop, world->fetcher, world->commander, on_done, world);
  courier_deliver(world->courier, world->settings, 2, &message);
  assert_int_equal(world->verdicts, 0);
  snprintf(path, sizeof path, "%s/go", world->dir);
  fclose(fopen(path, "w"));
  turn_until(world, 1);
  unlink(path);
  assert_int_equal(world->code, 0);
  assert_true(world->op == 2);
  snprintf(path, sizeof path, "%s/ran", world->dir);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  assert_int_equal(ftell(file), 2); // once
  fclose(file);
  unlink(path);
}

// Deliveries under way at the end are forgotten without a verdict.
static void test_close_under_way(void **state)
{
  struct world *world = *state;
  struct message message = page();
  configure(world, "notify: { n: { webhook: { url: 'http://127.0.0.1:PORT/hang' } } }");
  courier_deliver(world->courier, world->settings, 1, &message);
  message.notifier = "nobody";
  courier_deliver(world->courier, world->settings, 2, &message);
  assert_int_equal(world->verdicts, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
  const struct CMUnitTest tests[] = {
    TEST(test_alertmanager),  TEST(test_webhook_is_signed),          TEST(test_verdicts),
    TEST(test_no_answer),     TEST(test_unknown_notifier),           TEST(test_command),
    TEST(test_command_fails), TEST(test_command_of_an_earlier_life), TEST(test_close_under_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
