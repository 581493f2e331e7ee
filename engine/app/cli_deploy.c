// `nines deploy` and `nines rollback`: asked for, then watched to the end.
//
// The engine has journaled the deployment when it answers, so that a watcher who goes away (Ctrl-C) changes nothing.

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"
#include "clock.h"
#include "duration.h"
#include "mem.h"

#define LOOK_NS (200 * NS_PER_MS)

static const struct value *find_deployment(const struct value *explained, const char *id)
{
  const struct value *service = value_get(explained, "service");
  const struct value *list = value_get(service, "deployments");
  for (size_t i = 0; list && list->type == VALUE_LIST && i < list->list.count; i++)
    if (strcmp(screen_text(&list->list.items[i], "id"), id) == 0) return &list->list.items[i];
  return NULL;
}

static bool under_way(const struct value *deployment)
{
  return strcmp(screen_text(deployment, "state"), "started") == 0;
}

static void print_end(const struct cli *cli, const struct value *deployment, int64_t elapsed_ns)
{
  char took[DURATION_TEXT_MAX];
  const char *state = screen_text(deployment, "state"), *error = screen_text(deployment, "error");
  struct buf json = { 0 };
  if (cli->json) {
    value_to_json(deployment, &json);
    puts(json.data);
    buf_free(&json);
    return;
  }
  printf("%s %s %s: %s%s%s after %s\n", screen_text(deployment, "id"), screen_text(deployment, "service"),
         screen_text(deployment, "version"), screen_colour(screen_state_colour(state)), state, screen_plain(),
         duration_brief(elapsed_ns, took));
  if (error[0]) fprintf(stderr, "nines: %s\n", error);
}

// Looks until the deployment of `reply` has ended; its last look replaces `reply`'s.
static int watch(const struct cli *cli, struct client *client, const struct value *asked)
{
  const struct timespec pause = { .tv_nsec = LOOK_NS };
  struct buf path = { 0 }, text = { 0 };
  char *id = mem_must_copy(screen_text(asked, "id"));
  int64_t start_ns = clock_now_ns();
  int code = CLI_OK;
  buf_text(&path, "/v1/services/");
  client_add_name(&path, screen_text(asked, "service"));
  buf_printf(&text, "%s %s %s: under way,", id, screen_text(asked, "service"), screen_text(asked, "version"));
  for (bool ended = false; code == CLI_OK && !ended;) {
    struct client_reply reply;
    screen_progress(text.data, clock_now_ns() - start_ns);
    code = client_call(client, "GET", path.data, NULL, &reply);
    const struct value *deployment = code == CLI_OK ? find_deployment(&reply.body, id) : NULL;
    ended = code == CLI_OK && (!deployment || !under_way(deployment));
    if (ended) screen_progress(NULL, 0);
    if (ended && !deployment)
      code = cli_fail(CLI_INTERNAL, "%s is gone from the engine's list; `nines audit list` has its end", id);
    else if (ended) {
      print_end(cli, deployment, clock_now_ns() - start_ns);
      code = strcmp(screen_text(deployment, "state"), "finished") == 0 ? CLI_OK : CLI_NO;
    }
    client_reply_fini(&reply);
    if (code == CLI_OK && !ended) nanosleep(&pause, NULL);
  }
  mem_free(id);
  buf_free(&path);
  buf_free(&text);
  return code;
}

static int ask(const struct cli *cli, const char *what, const struct value *body, bool rollback)
{
  struct client_reply reply;
  struct buf path = { 0 };
  struct client *client = client_open(cli);
  buf_text(&path, "/v1/services/");
  client_add_name(&path, cli->words[0]);
  buf_text(&path, what);
  int code = client_call(client, "POST", path.data, body, &reply);
  if (code == CLI_OK && rollback && !value_get_bool(&reply.body, "rollback", false))
    code = cli_fail(CLI_NO, "the engine only observes: nothing was rolled back");
  else if (code == CLI_OK && under_way(&reply.body))
    code = watch(cli, client, &reply.body);
  else if (code == CLI_OK)
    print_end(cli, &reply.body, 0);
  buf_free(&path);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

int cli_deploy(struct cli *cli)
{
  bool record = false;
  const struct cli_option options[] = { { "record", 0, &record, NULL }, { 0 } };
  struct pool pool = { 0 };
  struct value body = value_table();
  int code = cli_args(cli, options, 2, 2);
  if (code != CLI_OK) return code;
  value_put_text(&pool, &body, "version", cli->words[1]);
  value_put(&pool, &body, "record", value_bool(record));
  code = ask(cli, "/deployments", &body, false);
  pool_fini(&pool);
  return code;
}

int cli_rollback(struct cli *cli)
{
  const char *reason = NULL;
  const struct cli_option options[] = { { "reason", 'r', NULL, &reason }, { 0 } };
  struct pool pool = { 0 };
  struct value body = value_table();
  int code = cli_args(cli, options, 1, 1);
  if (code != CLI_OK) return code;
  if (reason) value_put_text(&pool, &body, "reason", reason);
  code = ask(cli, "/rollback", &body, true);
  pool_fini(&pool);
  return code;
}
