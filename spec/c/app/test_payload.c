// What notifiers receive, compared to the byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"
#include "duration.h"
#include "payload.h"

static struct pool pool;
static struct value labels, annotations;

// A page as alert.c writes it, at 2026-01-05 00:01:00.
static struct message page(void)
{
  labels = value_table();
  value_put(&pool, &labels, "severity", value_text("P0"));
  value_put(&pool, &labels, "alertname", value_text("critical_path_breached"));
  value_put(&pool, &labels, "critical_path", value_text("payment \"x\""));
  annotations = value_table();
  value_put(&pool, &annotations, "summary", value_text("old"));
  value_put(&pool, &annotations, "burn", value_number(14.4));
  return (struct message){ .id = "m7",
                           .notifier = "am",
                           .kind = "page",
                           .status = "firing",
                           .alert = "a3",
                           .severity = "P0",
                           .title = "payments fail",
                           .text = "line 1\nline 2",
                           .labels = &labels,
                           .annotations = &annotations,
                           .started_wall_ns = CLOCK_VIRTUAL_WALL_NS,
                           .wall_ns = CLOCK_VIRTUAL_WALL_NS + NS_PER_MIN,
                           .attempt = 2 };
}

static void assert_alertmanager(const struct message *message, const char *public_url, const char *expected)
{
  struct buf out = { 0 };
  payload_alertmanager(message, public_url, &out);
  assert_string_equal(out.data, expected);
  buf_free(&out);
}

static void test_alertmanager_firing(void **state)
{
  (void)state;
  struct message message = page();
  assert_alertmanager(&message, "https://n.test",
                      "[{\"labels\":{\"alertname\":\"critical_path_breached\",\"critical_path\":\"payment \\\"x\\\"\","
                      "\"severity\":\"P0\"},\"annotations\":{\"burn\":\"14.4\",\"description\":\"line 1\\nline 2\","
                      "\"summary\":\"payments fail\"},\"startsAt\":\"2026-01-05T00:00:00.000Z\","
                      "\"endsAt\":\"2026-01-05T00:05:00.000Z\",\"generatorURL\":\"https://n.test/v1/alerts/a3\"}]");
}

static void test_alertmanager_resolved(void **state)
{
  (void)state;
  struct message message = page();
  message.status = "resolved";
  message.text = "";
  message.ended_wall_ns = CLOCK_VIRTUAL_WALL_NS + 30 * NS_PER_S;
  annotations = value_table();
  static const char head[] = "[{\"labels\":{\"alertname\":\"critical_path_breached\",\"critical_path\":\"payment "
                             "\\\"x\\\"\",\"severity\":\"P0\"},\"annotations\":{\"summary\":\"payments fail\"},"
                             "\"startsAt\":\"2026-01-05T00:00:00.000Z\",\"endsAt\":\"";
  char expected[500];
  snprintf(expected, sizeof expected, "%s2026-01-05T00:00:30.000Z\"}]", head);
  assert_alertmanager(&message, NULL, expected);
  message.ended_wall_ns = CLOCK_VIRTUAL_WALL_NS - NS_PER_S; // a clock set back: never before the start
  snprintf(expected, sizeof expected, "%s2026-01-05T00:00:00.000Z\"}]", head);
  assert_alertmanager(&message, NULL, expected);
}

// What Alertmanager answers with 400 is mended: names with other characters, empty values, no labels.
static void test_alertmanager_mends(void **state)
{
  (void)state;
  struct message message = page();
  message.alert = "";
  message.text = "";
  message.started_wall_ns = 0;
  annotations = labels = value_table();
  static const char tail[] =
      "\"annotations\":{\"summary\":\"payments fail\"},\"startsAt\":\"2026-01-05T00:01:00.000Z\","
      "\"endsAt\":\"2026-01-05T00:05:00.000Z\",\"generatorURL\":\"http://n\"}]";
  char expected[500];
  snprintf(expected, sizeof expected, "[{\"labels\":{\"alertname\":\"payments fail\"},%s", tail);
  assert_alertmanager(&message, "http://n", expected);
  value_put(&pool, &labels, "us-east", value_integer(3));
  value_put(&pool, &labels, "us_east", value_text("hidden"));
  value_put(&pool, &labels, "2nd", value_bool(true));
  value_put(&pool, &labels, "empty", value_text(""));
  value_put(&pool, &labels, "nothing", value_nil());
  value_put(&pool, &labels, "bad", value_view((struct view){ "a\xff", 2 }));
  snprintf(
      expected, sizeof expected,
      "[{\"labels\":{\"_2nd\":\"true\",\"alertname\":\"payments fail\",\"bad\":\"a\xef\xbf\xbd\",\"us_east\":\"3\"},%s",
      tail);
  assert_alertmanager(&message, "http://n", expected);
}

static void test_webhook(void **state)
{
  (void)state;
  struct message message = page();
  struct buf out = { 0 };
  payload_webhook(&message, "https://n.test", &out);
  assert_string_equal(out.data,
                      "{\"version\":1,\"id\":\"m7\",\"kind\":\"page\",\"status\":\"firing\",\"alert\":\"a3\","
                      "\"severity\":\"P0\",\"title\":\"payments fail\",\"text\":\"line 1\\nline 2\","
                      "\"labels\":{\"alertname\":\"critical_path_breached\",\"critical_path\":\"payment \\\"x\\\"\","
                      "\"severity\":\"P0\"},\"annotations\":{\"burn\":14.4,\"summary\":\"old\"},"
                      "\"started_at\":\"2026-01-05T00:00:00.000Z\",\"ended_at\":null,"
                      "\"sent_at\":\"2026-01-05T00:01:00.000Z\",\"attempt\":2,\"dedup_key\":\"a3\","
                      "\"url\":\"https://n.test/v1/alerts/a3\"}");
  buf_clear(&out);
  message = (struct message){ .id = "m8", .notifier = "x", .kind = "notify", .attempt = 1 };
  payload_webhook(&message, NULL, &out);
  assert_string_equal(
      out.data, "{\"version\":1,\"id\":\"m8\",\"kind\":\"notify\",\"status\":\"\",\"alert\":\"\",\"severity\":\"\","
                "\"title\":\"\",\"text\":\"\",\"labels\":{},\"annotations\":{},\"started_at\":null,"
                "\"ended_at\":null,\"sent_at\":null,\"attempt\":1,\"dedup_key\":\"m8\",\"url\":null}");
  buf_free(&out);
}

// One set of labels is one text, however it was put together.
static void test_order_of_labels(void **state)
{
  (void)state;
  static const char *const names[] = { "b", "a", "ab", "B", "a_", "aa" };
  struct message message = page();
  struct buf first = { 0 };
  for (size_t turn = 0; turn < 6; turn++) {
    labels = value_table();
    for (size_t i = 0; i < 6; i++) value_put(&pool, &labels, names[(i + turn) % 6], value_text("x"));
    struct buf out = { 0 };
    payload_webhook(&message, NULL, &out);
    assert_non_null(strstr(out.data, "{\"B\":\"x\",\"a\":\"x\",\"a_\":\"x\",\"aa\":\"x\",\"ab\":\"x\",\"b\":\"x\"}"));
    if (turn == 0) buf_text(&first, out.data);
    assert_string_equal(out.data, first.data);
    buf_free(&out);
  }
  buf_free(&first);
}

// HEX is what `printf '1767571260.{"a":1}' | openssl dgst -sha256 -hmac key` prints.
static void test_signature(void **state)
{
  (void)state;
  struct buf header = { 0 };
  payload_signature("key", CLOCK_VIRTUAL_WALL_NS + NS_PER_MIN, view_of("{\"a\":1}"), &header);
  assert_string_equal(header.data, "Nines-Signature: t=1767571260,v1="
                                   "52b8553f25f92d820ba1ef783f7d4ae0a263175fa13483ff326ebf0f3b56bcd4");
  buf_free(&header);
}

static void assert_text(struct buf *out, const char *expected)
{
  assert_false(out->failed);
  assert_string_equal(out->data, expected);
  buf_free(out);
}

static void test_pagerduty(void **state)
{
  (void)state;
  struct message message = page();
  struct buf out = { 0 };
  value_put(&pool, &annotations, "runbook_url", value_text("https://r.test/x"));
  payload_pagerduty(&message, "0123456789abcdef0123456789abcdef", "https://n.test", &out);
  assert_text(&out,
              "{\"routing_key\":\"0123456789abcdef0123456789abcdef\",\"event_action\":\"trigger\",\"dedup_key\":\"a3\","
              "\"client\":\"nines\",\"client_url\":\"https://n.test/v1/alerts/a3\",\"payload\":{\"summary\":"
              "\"payments fail\",\"source\":\"payment \\\"x\\\"\",\"severity\":\"critical\",\"timestamp\":"
              "\"2026-01-05T00:00:00.000Z\",\"class\":\"critical_path_breached\",\"custom_details\":{\"text\":"
              "\"line 1\\nline 2\",\"labels\":{\"alertname\":\"critical_path_breached\",\"critical_path\":"
              "\"payment \\\"x\\\"\",\"severity\":\"P0\"},\"annotations\":{\"burn\":14.4,\"runbook_url\":"
              "\"https://r.test/x\",\"summary\":\"old\"}}},\"links\":[{\"href\":\"https://n.test/v1/alerts/a3\","
              "\"text\":\"the alert\"},{\"href\":\"https://r.test/x\",\"text\":\"runbook\"}]}");
  message.status = "resolved";
  payload_pagerduty(&message, "k", NULL, &out);
  assert_non_null(strstr(out.data, "\"event_action\":\"resolve\",\"dedup_key\":\"a3\""));
  buf_free(&out);
}

static void test_slack(void **state)
{
  (void)state;
  struct message message = page();
  struct buf out = { 0 };
  message.title = "a < b & c > d";
  payload_slack(&message, "https://n.test", &out);
  assert_text(
      &out,
      "{\"text\":\"P0 a &lt; b &amp; c &gt; d\",\"blocks\":[{\"type\":\"section\",\"text\":{\"type\":\"mrkdwn\","
      "\"text\":\"*P0* a &lt; b &amp; c &gt; d\\nline 1\\nline 2\\n<https://n.test/v1/alerts/a3|the alert>\"}}]}");
  char longer[20000];
  memset(longer, '&', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  message.title = message.text = longer;
  payload_slack(&message, NULL, &out);
  assert_true(out.size < 6500); // the line of 500 and the section of 3,000 at most
  buf_free(&out);
}

static void test_datadog(void **state)
{
  (void)state;
  struct message message = page();
  struct buf out = { 0 };
  payload_datadog(&message, NULL, &out);
  assert_text(
      &out, "{\"title\":\"payments fail\",\"text\":\"line 1\\nline 2\\n\",\"alert_type\":\"error\",\"aggregation_key\":"
            "\"a3\",\"date_happened\":1767571200,\"priority\":\"normal\",\"source_type_name\":\"nines\",\"tags\":["
            "\"alertname:critical_path_breached\",\"critical_path:payment \\\"x\\\"\",\"severity:P0\"]}");
  char title[200]; // two-byte characters, and the cut would be within one
  for (size_t i = 0; i + 1 < sizeof title; i++) title[i] = i % 2 ? '\xa4' : '\xc3';
  memmove(title + 1, title, sizeof title - 2);
  title[0] = 'x';
  title[sizeof title - 1] = '\0';
  message.title = title;
  message.status = "resolved";
  payload_datadog(&message, NULL, &out);
  assert_non_null(strstr(out.data, "\xc3\xa4\",\"text\""));
  assert_non_null(strstr(out.data, "\"alert_type\":\"success\""));
  buf_free(&out);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pagerduty),
    cmocka_unit_test(test_slack),
    cmocka_unit_test(test_datadog),
    cmocka_unit_test(test_alertmanager_firing),
    cmocka_unit_test(test_alertmanager_resolved),
    cmocka_unit_test(test_alertmanager_mends),
    cmocka_unit_test(test_webhook),
    cmocka_unit_test(test_order_of_labels),
    cmocka_unit_test(test_signature),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  pool_fini(&pool);
  return failed;
}
