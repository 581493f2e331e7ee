// nines.yaml: what a full one gives, what an empty one gives, and for each mistake the sentence, with its line and key.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "duration.h"
#include "mem.h"
#include "settings.h"

static struct settings *parse(const char *text)
{
  struct settings *settings;
  struct status status = { 0 };
  if (settings_parse(&settings, view_of(text), "nines.yaml", "/srv/shop", &status) != 0)
    fail_msg("%s\n%s", text, status.text);
  return settings;
}

static void test_defaults(void **state)
{
  (void)state;
  struct settings *settings = settings_default(NULL);
  assert_string_equal(settings->file, "");
  assert_string_equal(settings->dir, "");
  assert_string_equal(settings->listen, "127.0.0.1:9999");
  assert_null(settings->statsd);
  assert_string_equal(settings->data, "nines-data");
  assert_false(settings->observe);
  assert_true(settings->utc_offset_ns == 0);
  assert_string_equal(settings->policies[0], "policies");
  assert_null(settings->policies[1]);
  assert_true(settings->page_after_ns == 2 * NS_PER_MIN);
  assert_null(settings->public_url);
  assert_true(settings->record_bytes_max == 64 << 20);
  assert_int_equal(settings->service_count + settings->notifier_count + settings->route_count, 0);
  assert_null(settings_notifier(settings, "am"));
  assert_null(settings_service(settings, "pay"));
  settings_free(settings);
  settings_free(NULL);
}

static const char full[] =
    "listen: localhost:7777\n"
    "statsd: unix:run/statsd.sock\n"
    "data: state\n"
    "mode: observe\n"
    "timezone: -05:30\n"
    "policies: [policies, extra/pay.lua]\n"
    "page_after: 90s\n"
    "public_url: https://nines.example.test/\n"
    "record: 128MB\n"
    "services:\n"
    "  pay:\n"
    "    tier: critical\n"
    "    dependencies: [gateway, orders-db]\n"
    "    deploy: { command: [./deploy.sh, \"a b\", \"${X}\"], current: ./current.sh -q, timeout: 10m }\n"
    "  search:\n"
    "notify:\n"
    "  am: { alertmanager: { url: \"http://localhost:9093/\", timeout: 3s } }\n"
    "  hook: { webhook: { url: \"https://${NINES_TEST_HOST}/$${x}/\", secret: \"${NINES_TEST_KEY}\" } }\n"
    "  local: { command: ./page.sh --now, timeout: 30s }\n"
    "routes:\n"
    "  - { severity: P0, service: pay, to: [am, local], continue: true }\n"
    "  - { severity: [P1, P2], to: hook }\n"
    "  - { to: [hook] }\n";

static void test_full_services(void **state)
{
  (void)state;
  struct settings *settings = parse(full);
  assert_string_equal(settings->listen, "127.0.0.1:7777");
  assert_string_equal(settings->statsd, "unix:/srv/shop/run/statsd.sock");
  assert_string_equal(settings->data, "/srv/shop/state");
  assert_true(settings->observe);
  assert_true(settings->utc_offset_ns == -(5 * NS_PER_H + 30 * NS_PER_MIN));
  assert_string_equal(settings->policies[1], "extra/pay.lua");
  assert_null(settings->policies[2]);
  assert_true(settings->page_after_ns == 90 * NS_PER_S);
  assert_string_equal(settings->public_url, "https://nines.example.test");
  assert_true(settings->record_bytes_max == 128000000);
  assert_int_equal(settings->service_count, 2);
  const struct service_settings *pay = settings_service(settings, "pay");
  assert_string_equal(pay->tier, "critical");
  assert_string_equal(pay->dependencies[1], "orders-db");
  assert_null(pay->dependencies[2]);
  assert_string_equal(pay->deploy[1], "a b");
  assert_string_equal(pay->deploy[2], "${X}");
  assert_null(pay->deploy[3]);
  assert_string_equal(pay->current[0], "./current.sh");
  assert_string_equal(pay->current[1], "-q");
  assert_true(pay->timeout_ns == 10 * NS_PER_MIN);
  const struct service_settings *search = settings_service(settings, "search");
  assert_string_equal(search->tier, "");
  assert_null(search->deploy);
  assert_null(search->dependencies[0]);
  assert_true(search->timeout_ns == 5 * NS_PER_MIN);
  settings_free(settings);
}

static void test_full_notify(void **state)
{
  (void)state;
  struct settings *settings = parse(full);
  assert_int_equal(settings->notifier_count, 3);
  const struct notifier_settings *am = settings_notifier(settings, "am");
  assert_int_equal(am->type, NOTIFIER_ALERTMANAGER);
  assert_string_equal(am->url, "http://localhost:9093/");
  assert_true(am->timeout_ns == 3 * NS_PER_S);
  const struct notifier_settings *hook = settings_notifier(settings, "hook");
  assert_int_equal(hook->type, NOTIFIER_WEBHOOK);
  assert_string_equal(hook->url, "https://hook.example.test/${x}/");
  assert_string_equal(hook->secret, "s3cret");
  assert_true(hook->timeout_ns == 10 * NS_PER_S);
  const struct notifier_settings *local = settings_notifier(settings, "local");
  assert_int_equal(local->type, NOTIFIER_COMMAND);
  assert_string_equal(local->argv[1], "--now");
  assert_null(local->argv[2]);
  assert_true(local->timeout_ns == 30 * NS_PER_S);
  assert_int_equal(settings->route_count, 3);
  assert_string_equal(settings->routes[0].severities, "P0");
  assert_string_equal(settings->routes[0].service, "pay");
  assert_string_equal(settings->routes[0].to[1], "local");
  assert_null(settings->routes[0].to[2]);
  assert_true(settings->routes[0].go_on);
  assert_string_equal(settings->routes[1].severities, "P1 P2");
  assert_null(settings->routes[2].severities);
  assert_null(settings->routes[2].service);
  settings_free(settings);
}

static void test_no_routes_lead_to_all(void **state)
{
  (void)state;
  struct settings *settings = parse("notify: { a: { command: x }, b: { command: y } }\nlisten: off\n");
  assert_null(settings->listen);
  assert_int_equal(settings->route_count, 1);
  assert_string_equal(settings->routes[0].to[1], "b");
  assert_null(settings->routes[0].to[2]);
  settings_free(settings);
  settings = parse("notify: { a: { command: x } }\nroutes: []\nlisten: false\n");
  assert_null(settings->listen);
  assert_int_equal(settings->route_count, 0);
  settings_free(settings);
}

static const struct {
  const char *text, *error;
} mistakes[] = {
  { "- a\n", "nines.yaml:1: a list is not a table of settings" },
  { "listn: x\n", "nines.yaml:1: listn: unknown key (did you mean \"listen\"?)" },
  { "mode: act\nlisten: 9999\n", "nines.yaml:2: listen: a number is not an address; write 127.0.0.1:9999, or off" },
  { "listen: 127.0.0.1\n",
    "nines.yaml:1: listen: \"127.0.0.1\" is not an address; write 127.0.0.1:9999, [::1]:9999 or off" },
  { "listen: 127.0.0.1:65536\n", "nines.yaml:1: listen: \"127.0.0.1:65536\" is not an address" },
  { "\nlisten: 0.0.0.0:9999\n", "nines.yaml:2: listen: \"0.0.0.0:9999\" can be reached from other machines, which "
                                "needs tokens, and those come with "
                                "a later release; write 127.0.0.1:PORT" },
  { "listen: '[::]:9999'\n", "nines.yaml:1: listen: \"[::]:9999\" can be reached from other machines" },
  { "listen: example.test:80\n", "nines.yaml:1: listen: \"example.test:80\" is not an address" },
  { "listen: '${NINES_TEST_UNSET}'\n",
    "nines.yaml:1: listen: the environment variable NINES_TEST_UNSET is not set; set it where nines is started" },
  { "statsd: 8125\n", "nines.yaml:1: statsd: 8125 is not a text (put it in quotes)" },
  { "statsd: here\n", "nines.yaml:1: statsd: \"here\" is not an address; write 127.0.0.1:8125, unix:/path or off" },
  { "data: ''\n", "nines.yaml:1: data: the path is empty; write ./nines-data" },
  { "mode: obsrve\n", "nines.yaml:1: mode: \"obsrve\" is not one of act, observe (did you mean \"observe\"?)" },
  { "timezone: Europe/Berlin\n", "nines.yaml:1: timezone: \"Europe/Berlin\" is neither UTC nor a fixed offset such as "
                                 "\"+02:00\" (at most 14 hours); this release does not know zones by name" },
  { "timezone: '+15:00'\n", "nines.yaml:1: timezone: \"+15:00\" is neither UTC nor" },
  { "policies: [a, 1]\n", "nines.yaml:1: policies: 1 is not a text or a list of texts" },
  { "policies: ['']\n", "nines.yaml:1: policies: a path is empty" },
  { "page_after: 2x\n", "nines.yaml:1: page_after: " },
  { "page_after: 25h\n", "nines.yaml:1: page_after: \"25h\" is out of range (0s to 1d)" },
  { "public_url: nines.example.test\n", "nines.yaml:1: public_url: \"nines.example.test\" is no URL" },
  { "record: 64\n", "nines.yaml:1: record: a number is not a size; write \"64MB\" (KB, MB, GB, KiB, MiB, GiB)" },
  { "record: 5KB\n", "nines.yaml:1: record: \"5KB\" is out of range (1MB to 1000GB)" },
  { "otlp: 127.0.0.1:4318\n",
    "nines.yaml:1: \"otlp\" is for a later release: this one does not have it yet; remove the key" },
  { "toxiproxy: x\n", "nines.yaml:1: \"toxiproxy\" is for a later release" },
  { "sources: { prometheus: { url: x } }\n", "nines.yaml:1: \"sources\" is for a later release" },
  { "playbooks: [playbooks]\n", "nines.yaml:1: \"playbooks\" is for a later release" },
  { "tokens: []\n", "nines.yaml:1: \"tokens\" is for a later release" },
  { "services: [pay]\n", "nines.yaml:1: services: a list is not a table of names with settings" },
  { "services: { '': {} }\n", "nines.yaml:1: services: a name has 0 bytes; it must have 1 to 100" },
  { "services:\n  pay:\n    teir: x\n", "nines.yaml:3: services.pay.teir: unknown key (did you mean \"tier\"?)" },
  { "services:\n  pay:\n    regions: {}\n", "nines.yaml:3: services.pay: \"regions\" is for a later release" },
  { "services:\n  pay:\n    route: {}\n", "nines.yaml:3: services.pay: \"route\" is for a later release" },
  { "services:\n  pay:\n    deploy: { current: x }\n", "nines.yaml:3: services.pay.deploy.command: missing" },
  { "services: { pay: { deploy: x } }\n", "nines.yaml:1: services.pay.deploy: a text is not a table of settings" },
  { "services: { pay: { deploy: { command: [] } } }\n",
    "nines.yaml:1: services.pay.deploy.command: the command is empty" },
  { "services: { pay: { deploy: { command: [a, 1] } } }\n",
    "nines.yaml:1: services.pay.deploy.command: a number is not a word of a command; put it in quotes" },
  { "services: { pay: { deploy: { command: \"a | b\" } } }\n",
    "nines.yaml:1: services.pay.deploy.command: no shell runs this text, so | has no meaning in it; write a list" },
  { "services: { pay: { deploy: { command: '  ' } } }\n",
    "nines.yaml:1: services.pay.deploy.command: the command is empty" },
  { "services: { pay: { deploy: { command: a, timeout: 1ms } } }\n",
    "nines.yaml:1: services.pay.deploy.timeout: \"1ms\" is out of range (1s to 1d)" },
  { "notify: { am: }\n", "nines.yaml:1: notify.am: none of alertmanager, pagerduty, slack, datadog, webhook and "
                         "command; a notifier has exactly one" },
  { "notify: { am: { command: x, webhook: { url: 'http://x' } } }\n",
    "nines.yaml:1: notify.am: several of alertmanager, pagerduty, slack, datadog, webhook and command; a notifier has "
    "exactly one" },
  { "notify: { a: { email: {} } }\n", "nines.yaml:1: notify.a: \"email\" is for a later release" },
  { "notify: { a: { pagerduty: {} } }\n", "nines.yaml:1: notify.a.pagerduty.routing_key: " },
  { "notify: { a: { pagerduty: { routing_key: \"\" } } }\n",
    "nines.yaml:1: notify.a.pagerduty.routing_key: it is empty" },
  { "notify: { a: { slack: {} } }\n", "nines.yaml:1: notify.a.slack.url: " },
  { "notify: { a: { datadog: { api_key: 12 } } }\n", "nines.yaml:1: notify.a.datadog.api_key: a number is no text" },
  { "notify: { a: { webhok: {} } }\n", "nines.yaml:1: notify.a.webhok: unknown key (did you mean \"webhook\"?)" },
  { "notify: { a: { alertmanager: {} } }\n", "nines.yaml:1: notify.a.alertmanager.url: missing, and required" },
  { "notify: { a: { alertmanager: { url: } } }\n", "nines.yaml:1: notify.a.alertmanager.url: missing, and required" },
  { "notify: { a: { alertmanager: { url: ftp://tok3n } } }\n",
    "nines.yaml:1: notify.a.alertmanager.url: \"ftp...\" is no URL" },
  { "notify: { a: { alertmanager: { url: 'http://am:9093/api/v2/alerts' } } }\n",
    "nines.yaml:1: notify.a.alertmanager.url: has /api/... in it; write Alertmanager's base URL alone" },
  { "notify: { a: { webhook: { url: '${NINES_TEST_KEY}' } } }\n",
    "nines.yaml:1: notify.a.webhook.url: \"${NINES_TEST_KEY}\" is no URL" },
  { "notify: { a: { webhook: { url: 'file:/nowhere/at/all' } } }\n",
    "nines.yaml:1: notify.a.webhook.url: cannot read the file /nowhere/at/all: No such file or directory" },
  { "notify: { a: { webhook: { url: 'file:/dev/null' } } }\n",
    "nines.yaml:1: notify.a.webhook.url: /dev/null is not a regular file" },
  { "notify: { a: { webhook: { url: 'http://x', secret: 8371 } } }\n",
    "nines.yaml:1: notify.a.webhook.secret: a number is no text; put it in quotes" },
  { "notify: { a: { webhook: { url: 'http://x', secret: '${NINES TEST}' } } }\n",
    "nines.yaml:1: notify.a.webhook.secret: \"${\" is not followed by a name and \"}\"" },
  { "notify: { a: { webhook: { url: 'http://x', secret: '' } } }\n",
    "nines.yaml:1: notify.a.webhook.secret: it is empty" },
  { "notify: { a: { webhook: { url: 'http://x' }, timeout: 3s } }\n",
    "nines.yaml:1: notify.a: timeout stands beside webhook; write it inside" },
  { "notify: { a: { webhook: { url: 'http://x', timeout: 1h } } }\n",
    "nines.yaml:1: notify.a.webhook.timeout: \"1h\" is out of range (100ms to 10m)" },
  { "routes: { to: x }\n", "nines.yaml:1: routes: a table is not a list; write - { severity: P0, to: [NAME] }" },
  { "routes:\n  - { to: [team] }\n",
    "nines.yaml:2: routes[1].to: there is no notifier \"team\" under `notify:`, which has none" },
  { "notify: { team: { command: x } }\nroutes:\n  - { to: [team] }\n  - { to: [taem] }\n",
    "nines.yaml:4: routes[2].to: there is no notifier \"taem\" under `notify:` (did you mean \"team\"?)" },
  { "routes:\n  - { severity: P0 }\n", "nines.yaml:2: routes[1].to: missing, and required" },
  { "notify: { a: { command: x } }\nroutes:\n  - { severity: [P0, P7], to: a }\n",
    "nines.yaml:3: routes[1].severity: \"P7\" is not one of P0, P1, P2" },
  { "routes:\n  - { severity: [], to: a }\n",
    "nines.yaml:2: routes[1].severity: an empty list; remove the key for all" },
  { "routes:\n  - { to: [] }\n", "nines.yaml:2: routes[1].to: 0 notifiers; a route has 1 to 50" },
  { "routes:\n  - { to: a, group_wait: 30s }\n", "nines.yaml:2: routes[1]: \"group_wait\" is for a later release" },
  { "routes:\n  - { to: a, repeat_interval: 4h }\n",
    "nines.yaml:2: routes[1]: \"repeat_interval\" is for a later release" },
  { "listen: a\nlisten: b\n", "nines.yaml:2: the key \"listen\" is here twice" },
};

static void test_mistakes(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
    struct settings *settings = (struct settings *)&mistakes;
    struct status status = { 0 };
    int code = settings_parse(&settings, view_of(mistakes[i].text), "nines.yaml", "", &status);
    if (code != NINES_EINVAL || strncmp(status.text, mistakes[i].error, strlen(mistakes[i].error)) != 0)
      fail_msg("%sgave %d: %s\nexpected: %s", mistakes[i].text, code, status.text, mistakes[i].error);
    assert_null(settings);
    assert_int_equal(status.code, code);
    assert_null(strstr(status.text, "s3cret"));
    assert_null(strstr(status.text, "tok3n"));
    assert_null(strstr(status.text, "8371"));
  }
}

static void write_file(const char *dir, const char *name, const char *text)
{
  char path[200];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void test_load(void **state)
{
  (void)state;
  char dir[] = "/tmp/test_settings_XXXXXX", expected[200];
  assert_non_null(mkdtemp(dir));
  struct settings *settings;
  struct status status = { 0 };
  assert_int_equal(settings_load(&settings, dir, &status), NINES_ENOTFOUND);
  snprintf(expected, sizeof expected,
           "cannot read %s/nines.yaml: No such file or directory; `nines init DIR` makes a project", dir);
  assert_string_equal(status.text, expected);

  write_file(dir, "nines.yaml", "notify: { hook: { webhook: { url: http://x, secret: file:key } } }\n");
  write_file(dir, "key", "s3cret\r\nmore\n");
  assert_int_equal(settings_load(&settings, dir, &status), 0);
  assert_string_equal(settings->notifiers[0].secret, "s3cret");
  snprintf(expected, sizeof expected, "%s/nines-data", dir);
  assert_string_equal(settings->data, expected);
  settings_free(settings);

  write_file(dir, "key", "\ns3cret");
  assert_int_equal(settings_load(&settings, dir, &status), NINES_EINVAL);
  snprintf(expected, sizeof expected,
           "%s/nines.yaml:1: notify.hook.webhook.secret: the first line of the file %s/key is empty", dir, dir);
  assert_string_equal(status.text, expected);

  assert_int_equal(chdir(dir), 0);
  write_file(dir, "nines.yaml", "\nmod: act\n");
  assert_int_equal(settings_load(&settings, ".", &status), NINES_EINVAL);
  assert_string_equal(status.text, "nines.yaml:2: mod: unknown key (did you mean \"mode\"?)");
  unlink("key");
  unlink("nines.yaml");
  assert_int_equal(chdir("/"), 0);
  rmdir(dir);
}

// Each allocation fails once: an error or, where small things are mem_must, success; never a crash or a leak.
static void test_no_memory(void **state)
{
  (void)state;
  long before = mem_count();
  settings_free(parse(full));
  long count = mem_count() - before;
  for (long n = 1; n <= count; n++) {
    struct settings *settings = NULL;
    struct status status = { 0 };
    mem_fail_at(n, 1);
    int code = settings_parse(&settings, view_of(full), "nines.yaml", "/srv/shop", &status);
    mem_fail_at(0, 0);
    assert_true((code == 0) == (settings != NULL));
    if (code != 0) assert_true(status.text[0]);
    settings_free(settings);
  }
}

int main(void)
{
  setenv("NINES_TEST_HOST", "hook.example.test", 1);
  setenv("NINES_TEST_KEY", "s3cret", 1);
  unsetenv("NINES_TEST_UNSET");
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_defaults),    cmocka_unit_test(test_full_services),
    cmocka_unit_test(test_full_notify), cmocka_unit_test(test_no_routes_lead_to_all),
    cmocka_unit_test(test_mistakes),    cmocka_unit_test(test_load),
    cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
