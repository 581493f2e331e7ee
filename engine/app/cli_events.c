// `nines events`: what happened, and with -f what happens.
//
// Following asks for the events after the last one seen, five times a second. That survives a restart of the engine,
// whose events are numbered from 1 again: an engine that was gone is asked from the beginning.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"
#include "duration.h"
#include "json.h"

#define LOOK_NS (200 * NS_PER_MS)
enum { LAST_FOLLOWED = 10 };

struct follower {
  const struct cli *cli;
  const char *topic;
  uint64_t after;
  uint64_t shown_max; // of this look: the newest ones
  bool gone;
};

static void print_event(const struct follower *follower, struct view line)
{
  static const char *const tellers[] = { "summary", "title", "error", "why", "reason", "version", "state", NULL };
  struct pool pool = { 0 };
  struct value event;
  struct status ignored = { 0 };
  if (follower->cli->json) {
    printf("%.*s\n", (int)line.size, line.data);
  } else if (json_parse(&pool, line, &event, &ignored) == 0) {
    const struct value *payload = value_get(&event, "event");
    const char *tells = "";
    for (const char *const *key = tellers; *key && !tells[0]; key++) tells = screen_text(payload, *key);
    printf("%s%s%s  %-24s  %-24s  %s\n", screen_colour(DIM), screen_text(&event, "time"), screen_plain(),
           screen_text(&event, "topic"), screen_text(&event, "name"), tells);
  }
  pool_fini(&pool);
}

static uint64_t sequence_of(struct view line)
{
  static const char key[] = "{\"sequence\":";
  return line.size > sizeof key ? strtoull(line.data + sizeof key - 1, NULL, 10) : 0;
}

// NDJSON, oldest first.
static void print_events(struct follower *follower, struct view text)
{
  uint64_t count = 0;
  for (size_t i = 0; i < text.size; i++) count += text.data[i] == '\n';
  while (text.size > 0) {
    const char *end = memchr(text.data, '\n', text.size);
    struct view line = { text.data, end ? (size_t)(end - text.data) : text.size };
    if (count <= follower->shown_max) print_event(follower, line);
    if (count > 0) count--;
    follower->after = sequence_of(line);
    size_t taken = line.size + (end != NULL);
    text = (struct view){ text.data + taken, text.size - taken };
  }
  fflush(stdout);
}

static void path_of(const struct follower *follower, struct buf *out)
{
  buf_printf(out, "/v1/events?after=%llu", (unsigned long long)follower->after);
  if (!follower->topic) return;
  buf_text(out, "&topic=");
  client_add_name(out, follower->topic);
}

static int look(struct follower *follower, struct client *client)
{
  struct client_reply reply;
  struct buf path = { 0 };
  path_of(follower, &path);
  int code = client_call(client, "GET", path.data, NULL, &reply);
  if (code == CLI_OK) print_events(follower, buf_view(&reply.text));
  buf_free(&path);
  client_reply_fini(&reply);
  return code;
}

static void look_again(struct follower *follower, struct client *client)
{
  struct client_reply reply;
  struct buf path = { 0 };
  path_of(follower, &path);
  bool gone = client_try(client, "GET", path.data, NULL, 0, &reply) < 0 || reply.status >= 400;
  if (gone && !follower->gone) {
    fprintf(stderr, "nines: the engine at %s does not answer; waiting for it\n", client_where(client));
    follower->after = 0;
  }
  follower->gone = gone;
  if (!gone) print_events(follower, buf_view(&reply.text));
  buf_free(&path);
  client_reply_fini(&reply);
}

int cli_events(struct cli *cli)
{
  const struct timespec pause = { .tv_nsec = LOOK_NS };
  bool follow = false;
  const char *last = NULL;
  struct follower follower = { .cli = cli, .shown_max = UINT64_MAX };
  const struct cli_option options[] = {
    { "follow", 'f', &follow, NULL }, { "topic", 't', NULL, &follower.topic }, { "last", 'n', NULL, &last }, { 0 }
  };
  int code = cli_args(cli, options, 0, 0);
  if (code != CLI_OK) return code;
  if (follow) follower.shown_max = LAST_FOLLOWED;
  if (last) {
    char *end;
    follower.shown_max = strtoull(last, &end, 10);
    if (*end || last[0] < '0' || last[0] > '9') return cli_wrong(cli, "--last takes a number, not \"%s\"", last);
  }
  struct client *client = client_open(cli);
  code = look(&follower, client);
  follower.shown_max = UINT64_MAX;
  while (code == CLI_OK && follow && !ferror(stdout)) {
    nanosleep(&pause, NULL);
    look_again(&follower, client);
  }
  client_close(client);
  return code;
}
