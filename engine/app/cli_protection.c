// `nines breaker`, `limiter`, `bulkhead`, `shed`: protections looked at, and set by hand. What a person sets stays
// until its time is over or a person lifts it.

#include "cli_protection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_args.h"
#include "cli_client.h"
#include "cli_screen.h"
#include "duration.h"

// --- cells

static enum colour state_colour(const char *state)
{
  if (strcmp(state, "open") == 0 || strcmp(state, "forced_open") == 0) return RED;
  return strcmp(state, "closed") == 0 ? GREEN : YELLOW;
}

static void add_text(struct screen_table *table, const char *text)
{
  screen_table_add(table, PLAIN, "%s", text);
}

static void add_count(struct screen_table *table, const struct value *item, const char *key)
{
  screen_table_add(table, PLAIN, "%lld", (long long)value_get_integer(item, key, 0));
}

static void add_number(struct screen_table *table, const struct value *item, const char *key, const char *unit)
{
  const struct value *member = value_get(item, key);
  double number;
  if (member && value_as_number(member, &number))
    screen_table_add(table, PLAIN, "%.4g%s", number, unit);
  else
    screen_table_add(table, DIM, "-");
}

static void add_span(struct screen_table *table, const struct value *item, const char *key, bool ahead)
{
  char text[DURATION_TEXT_MAX];
  double seconds = value_get_number(item, key, -1);
  if (seconds < 0)
    screen_table_add(table, DIM, "-");
  else
    screen_table_add(table, PLAIN, "%s%s%s", ahead ? "in " : "", duration_brief((int64_t)(seconds * NS_PER_S), text),
                     ahead ? "" : " ago");
}

// Who has set it, until when, and why: of what a person holds.
static void add_say(struct screen_table *table, const struct value *item)
{
  char until[SCREEN_AGE_MAX];
  if (!value_get_bool(item, "by_person", false)) {
    add_text(table, "");
    add_span(table, item, "until_seconds", true);
    add_text(table, "");
    return;
  }
  int64_t expires_ns = value_get_integer(item, "expires_ns", 0);
  add_text(table, screen_text(item, "actor"));
  add_text(table, expires_ns ? screen_age(expires_ns, until) : "lifted");
  add_text(table, screen_text(item, "reason"));
}

static double shed_of(const struct value *item)
{
  double most = 0;
  static const char *const shares[] = { "by_hand", "by_throttle", "by_latency" };
  for (int i = 0; i < 3; i++) {
    double share = value_get_number(item, shares[i], 0);
    if (share > most) most = share;
  }
  return most;
}

// --- rows

static void breaker_row(struct screen_table *table, const struct value *item)
{
  const char *state = screen_text(item, "state");
  add_text(table, screen_text(item, "name"));
  screen_table_add(table, state_colour(state), "%s", state);
  add_span(table, item, "since_seconds", false);
  add_count(table, item, "calls");
  add_number(table, item, "failure_rate", "%");
  add_number(table, item, "slow_rate", "%");
  add_count(table, item, "refused");
  add_say(table, item);
}

static void limiter_row(struct screen_table *table, const struct value *item)
{
  add_text(table, screen_text(item, "name"));
  add_number(table, item, "rate", "");
  add_number(table, item, "burst", "");
  add_number(table, item, "available", "");
  add_count(table, item, "refused");
  add_text(table, screen_text(item, "declared_by"));
}

static void bulkhead_row(struct screen_table *table, const struct value *item)
{
  add_text(table, screen_text(item, "name"));
  add_count(table, item, "inside");
  add_count(table, item, "limit");
  add_count(table, item, "refused");
  add_text(table, screen_text(item, "declared_by"));
}

static void shedder_row(struct screen_table *table, const struct value *item)
{
  static const char *const criticalities[] = { "sheddable", "sheddable_plus", "critical", "critical_plus" };
  const struct value *share = value_get(item, "share");
  double shed = shed_of(item);
  add_text(table, screen_text(item, "name"));
  screen_table_add(table, shed > 0 ? RED : GREEN, "%.4g%%", shed);
  for (int i = 0; i < 4; i++) add_number(table, share, criticalities[i], "%");
  add_count(table, item, "refused");
  add_say(table, item);
}

struct resource {
  const char *path, *none;
  const char *const *headings;
  void (*row)(struct screen_table *table, const struct value *item);
};

static const struct resource breakers = {
  "/v1/breakers/", "there is no breaker; a policy declares one: breaker \"payment_gateway\" { failure_rate = 50 }",
  (const char *const[]){ "BREAKER", "STATE", "SINCE", "CALLS", "FAILED", "SLOW", "REFUSED", "SET BY", "UNTIL", "REASON",
                         NULL },
  breaker_row
};
static const struct resource limiters = {
  "/v1/limiters/", "there is no limiter; a policy declares one: limiter \"search\" { rate = 100 }",
  (const char *const[]){ "LIMITER", "RATE/S", "BURST", "AVAILABLE", "REFUSED", "DECLARED BY", NULL }, limiter_row
};
static const struct resource bulkheads = {
  "/v1/bulkheads/", "there is no bulkhead; a policy declares one: bulkhead \"reports\" { max = 10 }",
  (const char *const[]){ "BULKHEAD", "INSIDE", "LIMIT", "REFUSED", "DECLARED BY", NULL }, bulkhead_row
};
static const struct resource shedders = { "/v1/shedders/",
                                          "there is no shedder; a policy declares one: shedder \"api\" {}",
                                          (const char *const[]){ "SHEDDER", "SHEDS", "SHEDDABLE", "PLUS", "CRITICAL",
                                                                 "CRITICAL+", "REFUSED", "SET BY", "UNTIL", "REASON",
                                                                 NULL },
                                          shedder_row };

void protection_table_print(const struct value *active)
{
  struct screen_table table;
  screen_table_init(&table, (const char *const[]){ "PROTECTION", "STATE", "SINCE", "WHY", "UNTIL", NULL });
  for (size_t i = 0; active->type == VALUE_LIST && i < active->list.count; i++) {
    const struct value *item = &active->list.items[i];
    const char *state = screen_text(item, "state"), *reason = screen_text(item, "reason");
    int64_t expires_ns = value_get_integer(item, "expires_ns", 0);
    char age[SCREEN_AGE_MAX];
    bool by_person = value_get_bool(item, "by_person", false);
    screen_table_add(&table, PLAIN, "%s %s", screen_text(item, "noun"), screen_text(item, "name"));
    if (state[0])
      screen_table_add(&table, state_colour(state), "%s", state);
    else
      screen_table_add(&table, RED, "sheds %.4g%%", shed_of(item));
    if (by_person)
      add_text(&table, screen_age(value_get_integer(item, "changed_ns", 0), age));
    else
      add_span(&table, item, "since_seconds", false);
    screen_table_add(&table, PLAIN, "%s%s%s", by_person ? screen_text(item, "actor") : screen_text(item, "cause"),
                     by_person && reason[0] ? ": " : "", by_person ? reason : "");
    if (by_person)
      add_text(&table, expires_ns ? screen_age(expires_ns, age) : "lifted");
    else
      add_span(&table, item, "until_seconds", true);
  }
  screen_table_print(&table);
}

// --- commands

static int list(const struct cli *cli, const struct resource *resource)
{
  struct client_reply reply;
  struct screen_table table;
  struct buf path = { 0 };
  struct client *client = client_open(cli);
  buf_add(&path, resource->path, strlen(resource->path) - 1);
  int code = client_call(client, "GET", path.data, NULL, &reply);
  const struct value *items = &reply.body;
  if (code == CLI_OK && cli->json) {
    fputs(reply.text.data, stdout);
  } else if (code == CLI_OK && items->type == VALUE_LIST && items->list.count == 0) {
    puts(resource->none);
  } else if (code == CLI_OK) {
    screen_table_init(&table, resource->headings);
    for (size_t i = 0; items->type == VALUE_LIST && i < items->list.count; i++)
      resource->row(&table, &items->list.items[i]);
    screen_table_print(&table);
  }
  buf_free(&path);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

static void tell(const struct resource *resource, const char *name, const struct value *document)
{
  char until[SCREEN_AGE_MAX];
  int64_t expires_ns = value_get_integer(document, "expires_ns", 0);
  if (resource == &breakers)
    printf("%s is %s", name, screen_text(document, "state"));
  else
    printf("%s sheds %.4g%% of all requests", name, shed_of(document));
  if (!value_get_bool(document, "by_person", false))
    puts(", and left to its rule and the policies");
  else if (expires_ns)
    printf(", whatever its rule and policies say; that ends %s, or with `nines %s lift %s`\n",
           screen_age(expires_ns, until), resource == &breakers ? "breaker" : "shed", name);
  else
    printf(", whatever its rule and policies say, until `nines %s lift %s`\n",
           resource == &breakers ? "breaker" : "shed", name);
}

// `method` on the resource, "reset" below it when `action` says so.
static int change(const struct cli *cli, const struct resource *resource, const char *method, const char *name,
                  const char *action, const struct value *body)
{
  struct client_reply reply;
  struct buf path = { 0 };
  struct client *client = client_open(cli);
  buf_text(&path, resource->path);
  client_add_name(&path, name);
  if (action) buf_printf(&path, "/%s", action);
  int code = client_call(client, method, path.data, body, &reply);
  if (code == CLI_OK && cli->json)
    fputs(reply.text.data, stdout);
  else if (code == CLI_OK)
    tell(resource, name, &reply.body);
  buf_free(&path);
  client_reply_fini(&reply);
  client_close(client);
  return code;
}

// What --for and --reason say, into the body.
static int add_options(const struct cli *cli, const char *span, const char *reason, struct pool *pool,
                       struct value *body)
{
  struct status status = { 0 };
  int64_t span_ns;
  if (span && duration_parse(view_of(span), &span_ns, &status) < 0)
    return cli_wrong(cli, "--for is a duration (\"10m\"): %s", status.text);
  if (span) value_put_text(pool, body, "for", span);
  if (reason) value_put_text(pool, body, "reason", reason);
  return CLI_OK;
}

static const char *state_of(const char *verb)
{
  static const char *const states[][2] = {
    { "open", "open" }, { "close", "closed" }, { "force", "forced_open" }, { "disable", "disabled" }
  };
  for (size_t i = 0; i < sizeof states / sizeof *states; i++)
    if (strcmp(states[i][0], verb) == 0) return states[i][1];
  return NULL;
}

int cli_breaker(struct cli *cli)
{
  const char *reason = NULL, *span = NULL;
  const struct cli_option options[] = { { "for", 'f', NULL, &span }, { "reason", 'r', NULL, &reason }, { 0 } };
  int code = cli_args(cli, options, 0, 2);
  if (code != CLI_OK) return code;
  const char *verb = cli->word_count ? cli->words[0] : "list", *name = cli->words[1], *state = state_of(verb);
  bool lift = strcmp(verb, "lift") == 0, reset = strcmp(verb, "reset") == 0;
  if (strcmp(verb, "list") == 0 && cli->word_count < 2) return list(cli, &breakers);
  if (!state && !lift && !reset)
    return cli_wrong(cli, "breaker does not know \"%s\"", strcmp(verb, "list") == 0 ? name : verb);
  if (cli->word_count < 2) return cli_wrong(cli, "say which breaker: nines breaker %s NAME", verb);
  if (span && (!state || strcmp(state, "closed") == 0))
    return cli_wrong(cli, "--for belongs to open, force and disable");
  if (reason && lift) return cli_wrong(cli, "--reason does not belong to lift");
  struct pool pool = { 0 };
  struct value body = value_table();
  code = add_options(cli, span, reason, &pool, &body);
  if (state) value_put_text(&pool, &body, "state", state);
  if (code == CLI_OK)
    code = change(cli, &breakers,
                  lift    ? "DELETE"
                  : reset ? "POST"
                          : "PUT",
                  name, reset ? "reset" : NULL, lift ? NULL : &body);
  pool_fini(&pool);
  return code;
}

int cli_shed(struct cli *cli)
{
  const char *reason = NULL, *span = NULL;
  const struct cli_option options[] = { { "for", 'f', NULL, &span }, { "reason", 'r', NULL, &reason }, { 0 } };
  int code = cli_args(cli, options, 0, 2);
  if (code != CLI_OK) return code;
  const char *first = cli->word_count ? cli->words[0] : "list";
  if (strcmp(first, "list") == 0 && cli->word_count < 2) return list(cli, &shedders);
  if (cli->word_count < 2) return cli_wrong(cli, "say how much: nines shed %s PERCENT", first);
  if (strcmp(first, "lift") == 0) {
    if (span || reason) return cli_wrong(cli, "--%s does not belong to lift", span ? "for" : "reason");
    return change(cli, &shedders, "DELETE", cli->words[1], NULL, NULL);
  }
  char *end;
  double percent = strtod(cli->words[1], &end);
  if (end == cli->words[1] || strcmp(end + (*end == '%'), "") != 0 || !(percent >= 0 && percent <= 100))
    return cli_wrong(cli, "\"%s\" is no percentage; 0 to 100", cli->words[1]);
  struct pool pool = { 0 };
  struct value body = value_table();
  value_put(&pool, &body, "percent", value_number(percent));
  code = add_options(cli, span, reason, &pool, &body);
  if (code == CLI_OK) code = change(cli, &shedders, "PUT", first, NULL, &body);
  pool_fini(&pool);
  return code;
}

static int only_list(struct cli *cli, const struct resource *resource)
{
  int code = cli_args(cli, NULL, 0, 1);
  if (code != CLI_OK) return code;
  if (cli->word_count && strcmp(cli->words[0], "list") != 0)
    return cli_wrong(cli, "%s does not know \"%s\"; `nines explain %s` tells of one", cli->command->name, cli->words[0],
                     cli->words[0]);
  return list(cli, resource);
}

int cli_limiter(struct cli *cli)
{
  return only_list(cli, &limiters);
}

int cli_bulkhead(struct cli *cli)
{
  return only_list(cli, &bulkheads);
}
