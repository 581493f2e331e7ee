// `nines alert`: what is open, and who has seen it.

#include "cli_alert.h"

#include <stdio.h>
#include <string.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"

void alert_table_print(const struct value *alerts)
{
  struct screen_table table;
  screen_table_init(&table,
                    (const char *const[]){ "ALERT", "SEVERITY", "STATE", "ABOUT", "OPENED", "BY", "SUMMARY", NULL });
  for (size_t i = 0; alerts->type == VALUE_LIST && i < alerts->list.count; i++) {
    const struct value *item = &alerts->list.items[i];
    const char *severity = screen_text(item, "severity"), *state = screen_text(item, "state");
    char age[SCREEN_AGE_MAX];
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "id"));
    screen_table_add(&table, screen_state_colour(severity), "%s", severity);
    screen_table_add(&table, screen_state_colour(state), "%s", state);
    screen_table_add(&table, PLAIN, "%s", screen_text(item, screen_text(item, "object")[0] ? "object" : "name"));
    screen_table_add(&table, PLAIN, "%s", screen_age(value_get_integer(item, "opened_ns", 0), age));
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "acked_by"));
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "summary"));
  }
  screen_table_print(&table);
}

static int list(const struct cli *cli, bool all)
{
  struct client_reply reply;
  struct client *client = client_open(cli);
  int code = client_call(client, "GET", all ? "/v1/alerts?all=1" : "/v1/alerts", NULL, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK && reply.body.type == VALUE_LIST && reply.body.list.count == 0)
    puts(all ? "no alerts" : "no open alerts");
  else if (code == CLI_OK)
    alert_table_print(&reply.body);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

static int acknowledge(const struct cli *cli)
{
  struct client_reply reply;
  struct buf path = { 0 };
  struct client *client = client_open(cli);
  buf_text(&path, "/v1/alerts/");
  client_add_name(&path, cli->words[1]);
  buf_text(&path, "/ack");
  int code = client_call(client, "POST", path.data, NULL, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK)
    printf("%s (%s) is acknowledged by %s\n", screen_text(&reply.body, "id"), screen_text(&reply.body, "object"),
           screen_text(&reply.body, "acked_by"));
  buf_free(&path);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

int cli_alert(struct cli *cli)
{
  bool all = false;
  const struct cli_option options[] = { { "all", 'a', &all, NULL }, { 0 } };
  int code = cli_args(cli, options, 0, 2);
  if (code != CLI_OK) return code;
  const char *what = cli->word_count ? cli->words[0] : "list";
  if (strcmp(what, "list") == 0 && cli->word_count < 2) return list(cli, all);
  if (strcmp(what, "ack") == 0 && cli->word_count == 2 && !all) return acknowledge(cli);
  if (strcmp(what, "ack") == 0) return cli_wrong(cli, "say which alert: nines alert ack ID");
  return cli_wrong(cli, "alert does not know \"%s\"", cli->words[cli->word_count - 1]);
}
