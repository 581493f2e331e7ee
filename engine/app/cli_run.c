// `nines run`: the daemon in the foreground. Supervisors (systemd, runit, containers) do the rest.

#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "cli_args.h"
#include "duration.h"
#include "letter.h"
#include "live.h"

static const char *port_of(const char *address)
{
  const char *colon = strrchr(address, ':');
  return colon ? colon : address + strlen(address);
}

// An address with the port that the system chose for ":0".
static void add_address(struct buf *line, const char *address, int port)
{
  if (port > 0)
    buf_printf(line, "%.*s:%d", (int)(port_of(address) - address), address, port);
  else
    buf_text(line, address);
}

static void count_policies(const struct live *live, uint32_t *running, uint32_t *rejected)
{
  struct script_info info;
  for (uint32_t i = 0; i < scripts_count(live->engine->scripts); i++) {
    if (!scripts_info(live->engine->scripts, i, &info)) continue;
    *running += strcmp(info.state, "running") == 0;
    *rejected += info.error[0] != '\0';
  }
}

static uint32_t open_alerts(const nines *engine)
{
  uint32_t count = 0;
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->alerts, &at));)
    count += ((const struct alert *)entry->value)->resolved_wall_ns == 0;
  return count;
}

static const char *plural(uint32_t count)
{
  return count == 1 ? "" : "s";
}

static void announce(const struct live *live)
{
  struct buf line = { 0 };
  uint32_t running = 0, rejected = 0;
  const struct settings *settings = live->settings;
  count_policies(live, &running, &rejected);
  buf_printf(&line, "nines %s is running: ", NINES_VERSION);
  if (settings->listen) {
    buf_text(&line, "http://");
    add_address(&line, settings->listen, serve_port(live->serve));
    buf_text(&line, ", ");
  }
  if (settings->statsd) {
    buf_text(&line, "statsd ");
    add_address(&line, settings->statsd, statsd_port(live->statsd));
    buf_text(&line, ", ");
  }
  buf_printf(&line, "%u polic%s, %u path%s%s", running, running == 1 ? "y" : "ies", live->engine->path_count,
             plural(live->engine->path_count), live->engine->observe ? ", only observing" : "");
  puts(line.data);
  if (rejected) printf("%u polic%s rejected; `nines check` says why\n", rejected, rejected == 1 ? "y is" : "ies are");
  uint32_t alerts = open_alerts(live->engine), letters = letters_pending(live->engine);
  if (alerts || letters)
    printf("resumed: %u open alert%s, %u undelivered message%s\n", alerts, plural(alerts), letters, plural(letters));
  fflush(stdout);
  buf_free(&line);
}

int cli_run(struct cli *cli)
{
  struct live_config config = { .signals = true };
  const struct cli_option options[] = { { "observe", 0, &config.observe, NULL }, { 0 } };
  struct status status = { 0 };
  struct live *live;
  int code = cli_args(cli, options, 0, 1);
  if (code != CLI_OK) return code;
  config.dir = cli->word_count ? cli->words[0] : ".";
  if (live_open(&live, &config, &status) < 0) return cli_fail(CLI_NO, "%s", status.text);
  announce(live);
  do code = live_turn(live, -1);
  while (code == 0);
  live_close(live);
  if (code < 0) return cli_fail(CLI_INTERNAL, "the engine stopped: %s", nines_strerror(code));
  return CLI_OK;
}
