// `nines slo`: what was promised, and what is left of it.

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"

static void add_number(struct screen_table *table, const struct value *item, const char *key, const char *format)
{
  double number = value_get_number(item, key, -1e300);
  if (number > -1e299)
    screen_table_add(table, PLAIN, format, number);
  else
    screen_table_add(table, DIM, "-");
}

static void print_table(const struct value *slos)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "SLO", "STATE", "OBJECTIVE", "WINDOW", "LAST HOUR", "BURN",
                                                   "BUDGET LEFT", "BAD", "SERVICE", NULL });
  for (size_t i = 0; i < slos->list.count; i++) {
    const struct value *item = &slos->list.items[i];
    const char *state = screen_text(item, "state");
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "slo"));
    screen_table_add(&table, screen_state_colour(state), "%s", state);
    add_number(&table, item, "objective", "%.6g%%");
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "window"));
    add_number(&table, item, "success_rate", "%.5g%%");
    add_number(&table, item, "burn", "%.3g");
    add_number(&table, item, "budget_left", "%.1f%%");
    screen_table_add(&table, PLAIN, "%lld of %lld", (long long)value_get_integer(item, "bad", 0),
                     (long long)value_get_integer(item, "total", 0));
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "service"));
  }
  screen_table_print(&table);
}

int cli_slo(struct cli *cli)
{
  const struct cli_option options[] = { { 0 } };
  int code = cli_args(cli, options, 0, 0);
  if (code != CLI_OK) return code;
  struct client_reply reply;
  struct client *client = client_open(cli);
  code = client_call(client, "GET", "/v1/slos", NULL, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK && (reply.body.type != VALUE_LIST || reply.body.list.count == 0))
    puts("no policy declares an slo");
  else if (code == CLI_OK)
    print_table(&reply.body);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}
