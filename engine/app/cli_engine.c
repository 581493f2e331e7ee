// `nines backup`, `nines reload`, `nines stop`: what is asked of the running engine as a whole.

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"
#include "clock.h"
#include "duration.h"

#define STOP_NS      (5 * NS_PER_S)
#define STOP_LOOK_NS (50 * NS_PER_MS)

int cli_backup(struct cli *cli)
{
  char here[4096];
  struct pool pool = { 0 };
  struct client_reply reply;
  struct value body = value_table();
  int code = cli_args(cli, NULL, 1, 1);
  if (code != CLI_OK) return code;
  const char *file = cli->words[0];
  if (file[0] == '/')
    value_put_text(&pool, &body, "file", file);
  else if (getcwd(here, sizeof here))
    value_put_format(&pool, &body, "file", "%s/%s", here, file);
  struct client *client = client_open(cli);
  code = client_call(client, "POST", "/v1/backup", &body, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK)
    printf("%s holds everything as of now\n", screen_text(&body, "file"));
  client_reply_fini(&reply);
  client_close(client);
  pool_fini(&pool);
  return code;
}

static int print_rejected(const struct value *body)
{
  const struct value *rejected = value_get(body, "rejected");
  for (size_t i = 0; i < rejected->list.count; i++)
    cli_fail(CLI_NO, "%s is rejected, its old version stays: %s", screen_text(&rejected->list.items[i], "file"),
             screen_text(&rejected->list.items[i], "error"));
  return CLI_NO;
}

int cli_reload(struct cli *cli)
{
  struct client_reply reply;
  int code = cli_args(cli, NULL, 0, 0);
  if (code != CLI_OK) return code;
  struct client *client = client_open(cli);
  const struct value *rejected = NULL;
  if (client_try(client, "POST", "/v1/reload", NULL, 0, &reply) < 0) {
    code = client_unreachable(client, &reply);
  } else if ((rejected = value_get(&reply.body, "rejected")) && cli->json) {
    fputs(reply.text.data, stdout);
    code = rejected->list.count ? CLI_NO : CLI_OK;
  } else if (rejected && rejected->list.count) {
    code = print_rejected(&reply.body);
  } else if (rejected) {
    int64_t changed = value_get_integer(&reply.body, "changed", 0);
    printf("%lld file%s changed\n", (long long)changed, changed == 1 ? "" : "s");
  } else {
    code = cli_fail(CLI_NO, "%s", screen_text(&reply.body, "detail"));
  }
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

// Until nobody answers any more.
static int wait_for_end(struct client *client)
{
  const struct timespec pause = { .tv_nsec = STOP_LOOK_NS };
  for (int64_t start_ns = clock_now_ns(); clock_now_ns() - start_ns < STOP_NS;) {
    struct client_reply reply;
    int code = client_try(client, "GET", "/healthz", NULL, NS_PER_S, &reply);
    client_reply_fini(&reply);
    if (code < 0) return CLI_OK;
    nanosleep(&pause, NULL);
  }
  return cli_fail(CLI_INTERNAL, "the engine was asked to stop and still answers; look at its log");
}

int cli_stop(struct cli *cli)
{
  struct client_reply reply;
  int code = cli_args(cli, NULL, 0, 0);
  if (code != CLI_OK) return code;
  struct client *client = client_open(cli);
  code = client_call(client, "POST", "/v1/stop", NULL, &reply);
  client_reply_fini(&reply);
  if (code == CLI_OK) code = wait_for_end(client);
  if (code == CLI_OK) puts(cli->json ? "{}" : "stopped");
  client_close(client);
  return code;
}
