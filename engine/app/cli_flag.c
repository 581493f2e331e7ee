// `nines flag`: switches by hand. What a person sets stays until a person lifts it.

#include "cli_flag.h"

#include <stdio.h>
#include <string.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"

void flag_table_print(const struct value *flags)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "FLAG", "NOW", "DEFAULT", "SET BY", "CHANGED", "REASON", NULL });
  for (size_t i = 0; flags->type == VALUE_LIST && i < flags->list.count; i++) {
    const struct value *item = &flags->list.items[i];
    bool on = value_get_bool(item, "on", false);
    char age[SCREEN_AGE_MAX];
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "flag"));
    screen_table_add(&table, on ? GREEN : YELLOW, "%s", on ? "on" : "off");
    screen_table_add(&table, PLAIN, "%s", value_get_bool(item, "default", false) ? "on" : "off");
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "actor"));
    screen_table_add(&table, PLAIN, "%s", screen_age(value_get_integer(item, "changed_ns", 0), age));
    screen_table_add(&table, PLAIN, "%s", screen_text(item, "reason"));
  }
  screen_table_print(&table);
}

static int list(const struct cli *cli)
{
  struct client_reply reply;
  struct client *client = client_open(cli);
  int code = client_call(client, "GET", "/v1/status", NULL, &reply);
  const struct value *flags = code == CLI_OK ? value_get(&reply.body, "flags") : NULL;
  struct buf json = { 0 };
  if (flags && cli->json) {
    value_to_json(flags, &json);
    puts(json.data);
  } else if (flags && flags->type == VALUE_LIST && flags->list.count == 0) {
    puts("no policy declares a flag");
  } else if (flags) {
    flag_table_print(flags);
  }
  buf_free(&json);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

static int change(const struct cli *cli, const char *method, const struct value *body)
{
  struct client_reply reply;
  struct buf path = { 0 };
  struct client *client = client_open(cli);
  buf_text(&path, "/v1/flags/");
  client_add_name(&path, cli->words[1]);
  int code = client_call(client, method, path.data, body, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK)
    printf("%s is %s%s\n", cli->words[1], value_get_bool(&reply.body, "on", false) ? "on" : "off",
           body ? ", whatever policies say, until `nines flag lift`" : " and left to the policies");
  buf_free(&path);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

int cli_flag(struct cli *cli)
{
  const char *reason = NULL;
  const struct cli_option options[] = { { "reason", 'r', NULL, &reason }, { 0 } };
  int code = cli_args(cli, options, 0, 2);
  if (code != CLI_OK) return code;
  const char *what = cli->word_count ? cli->words[0] : "list";
  bool on = strcmp(what, "on") == 0, off = strcmp(what, "off") == 0, lift = strcmp(what, "lift") == 0;
  if (strcmp(what, "list") == 0 && cli->word_count < 2) return list(cli);
  if (!on && !off && !lift) return cli_wrong(cli, "flag does not know \"%s\"", cli->words[cli->word_count - 1]);
  if (cli->word_count < 2) return cli_wrong(cli, "say which flag: nines flag %s NAME", what);
  if (lift) return change(cli, "DELETE", NULL);
  struct pool pool = { 0 };
  struct value body = value_table();
  value_put(&pool, &body, "on", value_bool(on));
  if (reason) value_put_text(&pool, &body, "reason", reason);
  code = change(cli, "PUT", &body);
  pool_fini(&pool);
  return code;
}
