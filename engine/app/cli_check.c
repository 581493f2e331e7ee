// `nines check`: everything that the engine would refuse, found without running it.
//
// nines.yaml is read as the engine reads it; the policies are compiled and resolved together in a world (world.h),
// whose engine lives in memory and whose door leads nowhere.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_args.h"
#include "cli_project.h"
#include "cli_screen.h"
#include "live.h"
#include "mem.h"
#include "world.h"

struct check {
  struct pool pool;
  struct map policies;
  struct value errors;
};

// "FILE:LINE: sentence"; `path` stands for `file`, the name that the engine knows it by.
static void note(struct check *check, const char *file, const char *path, const char *error)
{
  struct value item = value_table();
  size_t size = strlen(file);
  if (size && strncmp(error, file, size) == 0 && error[size] == ':') error += size + 1;
  char *end;
  long line = strtol(error, &end, 10);
  if (line > 0 && *end == ':')
    error = end + 1;
  else
    line = 0;
  error += strspn(error, " ");
  value_put_text(&check->pool, &item, "file", path);
  if (line > 0) value_put(&check->pool, &item, "line", value_integer(line));
  value_put_text(&check->pool, &item, "error", error);
  value_append(&check->pool, &check->errors, item);
}

static void on_policy_error(void *userdata, const char *file, const char *error)
{
  struct check *check = userdata;
  const char *path = map_get(&check->policies, view_of(file));
  note(check, file, path ? path : file, error);
}

static void check_policies(struct check *check, const char *yaml)
{
  enum { POLICY_BYTES_MAX = 1 << 20 };
  struct world_config config = { .config = yaml, .seed = 1, .page_after_ns = -1 };
  struct status status = { 0 };
  struct world *world;
  if (world_open(&world, &config, &status) < 0) {
    note(check, "", yaml, status.text);
    return;
  }
  struct scripts *scripts = world_engine(world)->scripts;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&check->policies, &at));) {
    size_t size;
    char *text = live_read_file(entry->value, POLICY_BYTES_MAX, &size, &status);
    if (!text || scripts_source(scripts, entry->key, (struct view){ text, size }, &status) < 0)
      note(check, "", entry->value, status.text);
    mem_free(text);
  }
  scripts_check(scripts, on_policy_error, check);
  world_close(world);
}

static void check_project(struct check *check, const char *dir)
{
  struct settings *settings;
  struct status status = { 0 };
  struct buf yaml = { 0 };
  bool here = strcmp(dir, ".") == 0;
  buf_printf(&yaml, "%s%snines.yaml", here ? "" : dir, here ? "" : "/");
  if (settings_load(&settings, dir, &status) < 0) {
    note(check, yaml.data, yaml.data, status.text);
  } else {
    if (project_policies(settings, dir, &check->policies, &status) < 0)
      note(check, yaml.data, yaml.data, status.text);
    else
      check_policies(check, yaml.data);
    settings_free(settings);
  }
  buf_free(&yaml);
}

static int64_t count_policies(const struct map *policies)
{
  int64_t count = 0;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(policies, &at));) count += strncmp(entry->key, "lib/", 4) != 0;
  return count;
}

static void print_json(struct check *check, int64_t policies)
{
  struct value document = value_table();
  struct buf json = { 0 };
  value_put(&check->pool, &document, "ok", value_bool(check->errors.list.count == 0));
  value_put(&check->pool, &document, "policies", value_integer(policies));
  value_put(&check->pool, &document, "errors", check->errors);
  value_to_json(&document, &json);
  puts(json.data);
  buf_free(&json);
}

static void print_errors(const struct check *check, int64_t policies)
{
  size_t count = check->errors.list.count;
  for (size_t i = 0; i < count; i++) {
    const struct value *item = &check->errors.list.items[i];
    int64_t line = value_get_integer(item, "line", 0);
    fprintf(stderr, "%s:", screen_text(item, "file"));
    if (line) fprintf(stderr, "%lld:", (long long)line);
    fprintf(stderr, " %s\n", screen_text(item, "error"));
  }
  if (count)
    fprintf(stderr, "%zu error%s\n", count, count == 1 ? "" : "s");
  else
    printf("%sok%s: nines.yaml and %lld polic%s\n", screen_colour(GREEN), screen_plain(), (long long)policies,
           policies == 1 ? "y" : "ies");
}

int cli_check(struct cli *cli)
{
  struct check check = { .errors = value_list() };
  int code = cli_args(cli, NULL, 0, 1);
  if (code != CLI_OK) return code;
  check_project(&check, cli->word_count ? cli->words[0] : ".");
  int64_t policies = count_policies(&check.policies);
  if (cli->json)
    print_json(&check, policies);
  else
    print_errors(&check, policies);
  code = check.errors.list.count ? CLI_NO : CLI_OK;
  project_free(&check.policies);
  pool_fini(&check.pool);
  return code;
}
