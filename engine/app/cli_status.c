// `nines status`: what is going on, on one screen. The worst comes first.

#include <stdio.h>
#include <string.h>

#include "cli_alert.h"
#include "cli_args.h"
#include "cli_client.h"
#include "cli_flag.h"
#include "cli_protection.h"
#include "cli_screen.h"
#include "duration.h"

static const struct value *list_of(const struct value *document, const char *key)
{
  static const struct value empty = { .type = VALUE_LIST };
  const struct value *list = value_get(document, key);
  return list && list->type == VALUE_LIST ? list : &empty;
}

static void add_number(struct screen_table *table, const struct value *item, const char *key, const char *format)
{
  const struct value *member = value_get(item, key);
  double number;
  char text[64];
  if (!member || !value_as_number(member, &number)) {
    screen_table_add(table, DIM, "-");
    return;
  }
  int size = snprintf(text, sizeof text, "%.*f", strcmp(format, "%") == 0 ? 3 : 1, number);
  screen_table_add(table, PLAIN, "%.*s%s", size, text, format);
}

static void add_latency(struct screen_table *table, const struct value *item, const char *key)
{
  char text[DURATION_TEXT_MAX];
  double seconds = value_get_number(item, key, -1);
  if (seconds < 0)
    screen_table_add(table, DIM, "-");
  else
    screen_table_add(table, PLAIN, "%s", duration_brief((int64_t)(seconds * NS_PER_S), text));
}

static void add_state(struct screen_table *table, const char *state)
{
  screen_table_add(table, screen_state_colour(state), "%s", state);
}

static void print_paths(const struct value *list)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "PATH", "STATE", "SUCCESS", "OBJECTIVE", "P95", "RATE/S", "BURN",
                                                   "WINDOW", NULL });
  for (size_t i = 0; i < list->list.count; i++) {
    const struct value *item = &list->list.items[i];
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "path"));
    add_state(&table, screen_text(item, "state"));
    add_number(&table, item, "success_rate", "%");
    add_number(&table, item, "objective", "%");
    add_latency(&table, item, "p95");
    add_number(&table, item, "rate", "");
    add_number(&table, item, "burn", "");
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "window"));
  }
  if (list->list.count) putchar('\n');
  screen_table_print(&table);
}

static void print_services(const struct value *list)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "SERVICE", "VERSION", "LAST DEPLOY", "STATE", "WHEN", "BY", NULL });
  for (size_t i = 0; i < list->list.count; i++) {
    const struct value *item = &list->list.items[i], *deployments = list_of(item, "deployments");
    const struct value *last = deployments->list.count ? &deployments->list.items[0] : NULL;
    char age[SCREEN_AGE_MAX];
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "service"));
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "version"));
    screen_table_add(&table, PLAIN, "%s%s", last && value_get_bool(last, "rollback", false) ? "back to " : "",
                     screen_text(last, "version"));
    add_state(&table, screen_text(last, "state"));
    screen_table_add(&table, PLAIN, "%s", screen_age(value_get_integer(last, "started_ns", 0), age));
    screen_table_add(&table, PLAIN, "%s", screen_text(last, "actor"));
  }
  if (list->list.count) putchar('\n');
  screen_table_print(&table);
}

static void print_policies(const struct value *list)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "POLICY", "STATE", "TASKS", "MEMORY", "KILLS", "ERROR", NULL });
  for (size_t i = 0; i < list->list.count; i++) {
    const struct value *item = &list->list.items[i];
    const char *error = screen_text(item, "error");
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "file"));
    add_state(&table, screen_text(item, "state"));
    screen_table_add(&table, PLAIN, "%lld", (long long)value_get_integer(item, "tasks", 0));
    screen_table_add(&table, PLAIN, "%lld KiB", (long long)value_get_integer(item, "bytes", 0) / 1024);
    screen_table_add(&table, PLAIN, "%lld", (long long)value_get_integer(item, "kills", 0));
    screen_table_add(&table, error[0] ? RED : PLAIN, "%s", error);
  }
  if (list->list.count) putchar('\n');
  screen_table_print(&table);
}

static void print_head(const struct client *client, const struct value *status)
{
  char uptime[DURATION_TEXT_MAX];
  const char *mode = screen_text(status, "mode"), *store = screen_text(status, "store");
  int64_t outbox = value_get_integer(status, "outbox", 0);
  int64_t attached = value_get_integer(status, "attached_processes", 0);
  duration_brief((int64_t)(value_get_number(status, "uptime_s", 0) * NS_PER_S), uptime);
  printf("nines %s at %s, up %s, mode %s%s%s, store %s%s%s", screen_text(status, "version"), client_where(client),
         uptime, screen_colour(screen_state_colour(mode)), mode, screen_plain(),
         screen_colour(screen_state_colour(store)), store, screen_plain());
  if (outbox) printf(", %lld message%s to deliver", (long long)outbox, outbox == 1 ? "" : "s");
  if (attached) printf(", %lld process%s attached", (long long)attached, attached == 1 ? "" : "es");
  putchar('\n');
  if (screen_text(status, "store_error")[0]) printf("store: %s\n", screen_text(status, "store_error"));
}

int cli_status(struct cli *cli)
{
  struct client_reply reply;
  int code = cli_args(cli, NULL, 0, 0);
  if (code != CLI_OK) return code;
  struct client *client = client_open(cli);
  code = client_call(client, "GET", "/v1/status", NULL, &reply);
  if (code == CLI_OK && cli->json) {
    fputs(reply.text.data, stdout);
  } else if (code == CLI_OK) {
    const struct value *alerts = list_of(&reply.body, "alerts"), *flags = list_of(&reply.body, "flags");
    const struct value *protections = list_of(&reply.body, "protections");
    print_head(client, &reply.body);
    if (alerts->list.count) putchar('\n');
    alert_table_print(alerts);
    if (protections->list.count) putchar('\n');
    protection_table_print(protections);
    print_paths(list_of(&reply.body, "paths"));
    print_services(list_of(&reply.body, "services"));
    if (flags->list.count) putchar('\n');
    flag_table_print(flags);
    print_policies(list_of(&reply.body, "policies"));
    if (!alerts->list.count) printf("\n%sno open alerts%s\n", screen_colour(GREEN), screen_plain());
  }
  client_reply_fini(&reply);
  client_close(client);
  return code;
}
