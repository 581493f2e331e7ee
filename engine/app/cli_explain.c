// `nines explain NAME`: the numbers, the rule, the history of a path, alert, service, flag, protection or policy.

#include <stdio.h>
#include <string.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"

static void print_history(const struct value *history)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "TIME", "WHAT", "WHY", NULL });
  for (size_t i = 0; history->type == VALUE_LIST && i < history->list.count; i++) {
    screen_table_add(&table, DIM, "%s", screen_text(&history->list.items[i], "time"));
    screen_table_add(&table, PLAIN, "%s", screen_text(&history->list.items[i], "topic"));
    screen_table_add(&table, PLAIN, "%s", screen_text(&history->list.items[i], "why"));
  }
  screen_table_print(&table);
}

static void print(const struct value *document)
{
  for (size_t i = 0; document->type == VALUE_TABLE && i < document->table.count; i++) {
    const struct member *member = &document->table.members[i];
    bool history = view_is(member->key, "history");
    if (history && member->value.list.count == 0) continue;
    printf("%s%.*s\n", i ? "\n" : "", (int)member->key.size, member->key.data);
    if (history)
      print_history(&member->value);
    else
      screen_document(&member->value, 2);
  }
}

int cli_explain(struct cli *cli)
{
  struct client_reply reply;
  struct buf path = { 0 };
  int code = cli_args(cli, NULL, 1, 1);
  if (code != CLI_OK) return code;
  struct client *client = client_open(cli);
  buf_text(&path, "/v1/explain/");
  client_add_name(&path, cli->words[0]);
  code = client_call(client, "GET", path.data, NULL, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK)
    print(&reply.body);
  buf_free(&path);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}
