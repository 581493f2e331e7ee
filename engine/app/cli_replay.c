// nines replay: a recording fed to the engine again, the same decisions or what would have been different.

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_args.h"
#include "cli_screen.h"
#include "clock.h"
#include "live.h"
#include "mem.h"
#include "replay.h"

enum { POLICIES_MAX = 32, POLICY_BYTES_MAX = 1 << 20 };

static void tell(void *userdata, const struct event *event, bool same)
{
  const struct cli *cli = userdata;
  char time[CLOCK_TEXT_MAX];
  if (cli->json) {
    struct buf out = { 0 };
    buf_printf(&out, "{\"time\":\"%s\",\"same\":%s,\"topic\":", clock_format(event->wall_ns, time),
               same ? "true" : "false");
    buf_json_text(&out, view_of(event->topic));
    buf_text(&out, ",\"name\":");
    buf_json_text(&out, view_of(event->name));
    buf_printf(&out, ",\"event\":%s}\n", event->json);
    fputs(out.data, stdout);
    buf_free(&out);
    return;
  }
  printf("%s%s  %-24s %s%s\n", same ? "" : screen_colour(YELLOW), clock_format(event->wall_ns, time), event->topic,
         event->name, same ? "" : screen_plain());
}

static int finish(const struct cli *cli, const struct replay_result *result)
{
  if (cli->json) {
    struct buf out = { 0 };
    buf_printf(&out, "{\"inputs\":%llu,\"lives\":%llu,\"decisions\":%llu,\"recorded_decisions\":%llu,\"same\":%s,",
               (unsigned long long)result->inputs, (unsigned long long)result->lives,
               (unsigned long long)result->decisions, (unsigned long long)result->recorded_decisions,
               result->parted ? "false" : "true");
    buf_printf(&out, "\"parted_at\":%llu,\"parted\":", (unsigned long long)(result->parted ? result->parted_at : 0));
    buf_json_text(&out, view_of(result->parted ? result->parted_text : ""));
    buf_printf(&out, ",\"hash\":\"%016llx\"}\n", (unsigned long long)result->hash);
    fputs(out.data, stdout);
    buf_free(&out);
  } else {
    printf("%llu inputs, %llu lives of the engine, %llu decisions (%llu recorded), trace %016llx\n",
           (unsigned long long)result->inputs, (unsigned long long)result->lives, (unsigned long long)result->decisions,
           (unsigned long long)result->recorded_decisions, (unsigned long long)result->hash);
    if (result->windows_unknown)
      printf(
          "the recording begins in the middle of a life: what happened until its windows were filled is approximate\n");
    if (result->parted)
      printf("parted at decision %llu: %s\n", (unsigned long long)result->parted_at, result->parted_text);
    else
      printf("the same decisions\n");
  }
  return result->parted ? CLI_NO : CLI_OK;
}

// The project is the directory that holds the recording's data directory, or this one.
static struct settings *project_settings(void)
{
  struct settings *settings = NULL;
  struct status status = { 0 };
  struct stat about;
  if (stat("nines.yaml", &about) != 0) return settings_default(".");
  if (settings_load(&settings, ".", &status) == 0) return settings;
  cli_fail(CLI_NO, "%s; going on with the defaults", status.text);
  return settings_default(".");
}

int cli_replay(struct cli *cli)
{
  const char *policy = NULL;
  bool seconds = false;
  const struct cli_option options[] = { { "policy", 'p', NULL, &policy }, { "seconds", 0, &seconds, NULL }, { 0 } };
  int code = cli_args(cli, options, 1, 1 + POLICIES_MAX);
  if (code != CLI_OK) return code;
  struct replay_policy policies[POLICIES_MAX + 1];
  uint32_t count = 0;
  struct status status = { 0 };
  for (int i = 0; i < cli->word_count; i++) {
    const char *file = i == 0 ? policy : cli->words[i];
    const char *slash = file ? strrchr(file, '/') : NULL;
    size_t size;
    if (!file) continue;
    char *text = live_read_file(file, POLICY_BYTES_MAX, &size, &status);
    if (!text) {
      while (count > 0) mem_free((char *)policies[--count].text.data);
      return cli_fail(CLI_USAGE, "%s", status.text);
    }
    policies[count++] = (struct replay_policy){ slash ? slash + 1 : file, { text, size } };
  }
  struct settings *settings = project_settings();
  struct replay_result result;
  struct replay_config config = { .recording = cli->words[0],
                                  .prefix = seconds ? "seconds" : NULL,
                                  .settings = settings,
                                  .policies = policies,
                                  .policy_count = count,
                                  .on_decision = tell,
                                  .userdata = cli };
  int outcome = replay_run(&config, &result, &status);
  code = outcome < 0 ? cli_fail(CLI_NO, "%s", status.text) : finish(cli, &result);
  while (count > 0) mem_free((char *)policies[--count].text.data);
  settings_free(settings);
  return code;
}
