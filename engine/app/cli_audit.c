// `nines audit`: who did what, and is the record whole. Read from the data directory, with or without an engine.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "cli_args.h"
#include "cli_screen.h"
#include "clock.h"
#include "mem.h"
#include "settings.h"

static bool is_data(const char *dir)
{
  struct buf file = { 0 };
  buf_printf(&file, "%s/nines.db", dir);
  bool there = access(file.data, F_OK) == 0;
  buf_free(&file);
  return there;
}

// `dir` is a data directory, or that of a project. NULL when it has told what is wrong.
static char *data_of(const char *dir)
{
  struct settings *settings;
  struct status status = { 0 };
  if (is_data(dir)) return mem_must_copy(dir);
  if (settings_load(&settings, strcmp(dir, ".") == 0 ? "" : dir, &status) < 0) {
    cli_fail(CLI_NO, "%s. Name a project, or a data directory with its nines.db", status.text);
    return NULL;
  }
  char *data = mem_must_copy(settings->data);
  settings_free(settings);
  return data;
}

static int verify(const struct cli *cli, const char *data)
{
  struct status status = { 0 };
  struct buf json = { 0 };
  uint64_t entries = 0;
  int code = audit_verify(data, &entries, &status);
  if (cli->json) {
    buf_printf(&json, "{\"ok\":%s,\"entries\":%llu", code == 0 ? "true" : "false", (unsigned long long)entries);
    if (code < 0) {
      buf_text(&json, ",\"error\":");
      buf_json_text(&json, view_of(status.text));
    }
    buf_byte(&json, '}');
    puts(json.data);
    buf_free(&json);
  } else if (code == 0) {
    printf("%sok%s: %llu entries, each fits the one before it, the last fits the anchor %s/audit.head\n",
           screen_colour(GREEN), screen_plain(), (unsigned long long)entries, data);
  } else {
    cli_fail(CLI_NO, "%s", status.text);
  }
  return code == 0 ? CLI_OK : CLI_NO;
}

struct listing {
  const struct cli *cli;
  struct screen_table table;
};

static void print_json(const struct audit_entry *entry)
{
  struct buf json = { 0 };
  char time[CLOCK_TEXT_MAX];
  buf_printf(&json, "{\"sequence\":%llu,\"time\":\"%s\",\"actor\":", (unsigned long long)entry->sequence,
             clock_format(entry->wall_ns, time));
  buf_json_text(&json, view_of(entry->actor));
  buf_text(&json, ",\"action\":");
  buf_json_text(&json, view_of(entry->action));
  buf_text(&json, ",\"target\":");
  buf_json_text(&json, view_of(entry->target));
  buf_printf(&json, ",\"details\":%s,\"hash\":\"%s\"}", entry->json && entry->json[0] ? entry->json : "null",
             entry->hash);
  puts(json.data);
  buf_free(&json);
}

static void on_entry(void *userdata, const struct audit_entry *entry)
{
  struct listing *listing = userdata;
  char time[CLOCK_TEXT_MAX];
  if (listing->cli->json) {
    print_json(entry);
    return;
  }
  screen_table_add(&listing->table, PLAIN, "%llu", (unsigned long long)entry->sequence);
  screen_table_add(&listing->table, DIM, "%s", clock_format(entry->wall_ns, time));
  screen_table_add(&listing->table, PLAIN, "%s", entry->actor);
  screen_table_add(&listing->table, PLAIN, "%s", entry->action);
  screen_table_add(&listing->table, PLAIN, "%s", entry->target);
}

static int list(const struct cli *cli, const char *data, uint64_t after)
{
  struct listing listing = { .cli = cli };
  struct status status = { 0 };
  screen_table_init(&listing.table, (const char *const[]){ "N", "TIME", "WHO", "DID", "TO", NULL });
  int code = audit_each(data, after, on_entry, &listing, &status);
  screen_table_print(&listing.table);
  return code < 0 ? cli_fail(CLI_NO, "%s", status.text) : CLI_OK;
}

int cli_audit(struct cli *cli)
{
  const char *after = NULL;
  char *end = NULL;
  const struct cli_option options[] = { { "after", 0, NULL, &after }, { 0 } };
  int code = cli_args(cli, options, 1, 2);
  if (code != CLI_OK) return code;
  bool verifies = strcmp(cli->words[0], "verify") == 0;
  if (!verifies && strcmp(cli->words[0], "list") != 0)
    return cli_wrong(cli, "audit does not know \"%s\"", cli->words[0]);
  uint64_t after_number = after ? strtoull(after, &end, 10) : 0;
  if (after && (verifies || *end || after[0] < '0' || after[0] > '9'))
    return cli_wrong(cli, "--after goes with list and takes the number of an entry");
  char *data = data_of(cli->word_count > 1 ? cli->words[1] : ".");
  if (!data) return CLI_NO;
  code = verifies ? verify(cli, data) : list(cli, data, after_number);
  mem_free(data);
  return code;
}
