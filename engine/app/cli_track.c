// `nines track`: one observation of a critical path, from a script or around a command.
//
// Around a command its exit status comes first: an engine that is not there costs a line on standard error, nothing
// else.

#include <stdio.h>

#include "cli_args.h"
#include "cli_child.h"
#include "cli_client.h"
#include "clock.h"
#include "duration.h"

#define TRACK_TIMEOUT_NS (2 * NS_PER_S)

static void observation_of(struct pool *pool, const char *path, bool ok, int64_t duration_ns, struct value *out)
{
  *out = value_table();
  value_put_text(pool, out, "path", path);
  value_put(pool, out, "ok", value_bool(ok));
  if (duration_ns >= 0) value_put(pool, out, "duration_ms", value_number((double)duration_ns / NS_PER_MS));
}

static int around(const struct cli *cli)
{
  struct pool pool = { 0 };
  struct client_reply reply;
  struct value body;
  int64_t start_ns = clock_now_ns();
  int status = child_run(cli->rest, NULL);
  observation_of(&pool, cli->words[0], status == 0, clock_now_ns() - start_ns, &body);
  struct client *client = client_open(cli); // after the command, so that it inherits nothing
  if (client_try(client, "POST", "/v1/observations", &body, TRACK_TIMEOUT_NS, &reply) < 0)
    cli_fail(0, "not tracked, the engine cannot be reached: %s", reply.error);
  else if (reply.status >= 400)
    cli_fail(0, "not tracked: %.*s", (int)value_get_text(&reply.body, "detail").size,
             value_get_text(&reply.body, "detail").data);
  client_reply_fini(&reply);
  client_close(client);
  pool_fini(&pool);
  return status;
}

static int single(const struct cli *cli, bool ok, int64_t duration_ns)
{
  struct pool pool = { 0 };
  struct client_reply reply;
  struct value body;
  struct client *client = client_open(cli);
  observation_of(&pool, cli->words[0], ok, duration_ns, &body);
  int code = client_call(client, "POST", "/v1/observations", &body, &reply);
  if (code == CLI_OK && cli->json) puts("{}");
  client_reply_fini(&reply);
  client_close(client);
  pool_fini(&pool);
  return code;
}

int cli_track(struct cli *cli)
{
  const char *duration = NULL;
  bool ok = false, failed = false;
  const struct cli_option options[] = {
    { "duration", 'd', NULL, &duration }, { "ok", 0, &ok, NULL }, { "failed", 0, &failed, NULL }, { 0 }
  };
  struct status status = { 0 };
  int64_t duration_ns = -1;
  int code = cli_args(cli, options, 1, 1);
  if (code != CLI_OK) return code;
  if (cli->rest) {
    if (!cli->rest[0]) return cli_wrong(cli, "a command is missing after --");
    if (duration || ok || failed) return cli_wrong(cli, "the command's own duration and exit status are recorded");
    return around(cli);
  }
  if (ok == failed) return cli_wrong(cli, "say --ok or --failed");
  if (duration && duration_parse(view_of(duration), &duration_ns, &status) < 0)
    return cli_wrong(cli, "--duration: %s", status.text);
  return single(cli, ok, duration_ns);
}
