// The program: the table of commands, and help.

#include <stdio.h>
#include <string.h>

#include "cli_args.h"
#include "demo.h"
#include "nearest.h"
#include "nines.h"

static int version(struct cli *cli)
{
  int code = cli_args(cli, NULL, 0, 0);
  if (code != CLI_OK) return code;
  if (cli->json)
    printf("{\"version\":\"%s\"}\n", nines_version());
  else
    printf("nines %s\n", nines_version());
  return CLI_OK;
}

static int demo(struct cli *cli)
{
  return demo_command(cli->argc + 1, cli->argv - 1); // with its name before it, as main gets it
}

static int help(struct cli *cli);

static const struct cli_command commands[] = {
  { "init", "init [DIR]", "write a commented starter project",
    "Writes nines.yaml, a policy with its spec, a runbook, and example scripts into DIR (default: here).\n"
    "Nothing is written when one of the files is there already.\n"
    "\n"
    "  nines init shop && cd shop && nines check && nines test && nines run\n",
    cli_init },
  { "run", "run [DIR] [--observe]", "run the engine of a project",
    "Runs in the foreground until SIGTERM, SIGINT or `nines stop`; SIGHUP reads nines.yaml and policies again.\n"
    "\n"
    "  --observe   do nothing but watch, whatever nines.yaml says: effects are recorded as \"would have\"\n"
    "\n"
    "  nines run /etc/nines/shop --observe\n",
    cli_run },
  { "demo", "demo [--keep] [--seconds N] [--json]", "a small real shop, a bad deploy, and how it is mended",
    "Runs a real engine and a small real shop: traffic, a bad deploy, detection, rollback, recovery.\n"
    "\n"
    "  --keep        stay up afterwards, to look around and to deploy again; Ctrl-C ends it\n"
    "  --seconds N   when the bad version comes (2 to 50, default 15)\n"
    "\n"
    "  nines demo\n",
    demo },
  { "check", "check [DIR]", "find mistakes in a project without running it",
    "Reads nines.yaml, loads all policies together into an engine in memory, and reports each mistake as\n"
    "FILE:LINE: what is wrong. Exit status 1 when there is one.\n"
    "\n"
    "  nines check --json | jq -r '.errors[].error'\n",
    cli_check },
  { "test", "test [DIR | SPEC...]", "run the specs of policies, in virtual time",
    "Runs policies/**/*_spec.lua and spec/**/*_spec.lua of the project, or the named specs, with busted under Lua "
    "5.4.\n"
    "\n"
    "  nines test policies/example_spec.lua\n",
    cli_test },
  { "status", "status", "what is going on",
    "Open alerts, open breakers and active shedding, critical paths, services, flags and policies of the running "
    "engine.\n"
    "\n"
    "  nines status --json | jq '.paths[] | select(.state == \"breached\")'\n",
    cli_status },
  { "events", "events [-f] [--topic PATTERN] [--last N]", "what happened, and what happens",
    "Prints the events that the engine still holds (the newest 1,024), oldest first.\n"
    "\n"
    "  -f, --follow     the last 10, then new ones as they come\n"
    "  -t, --topic P    only these: \"alert.*\", \"critical_path.breached\"\n"
    "  -n, --last N     the last N\n"
    "\n"
    "  nines events -f --topic 'deploy.*'\n",
    cli_events },
  { "explain", "explain NAME", "why a path, alert, service, flag, protection or policy is in its state",
    "The numbers, the rule, the history. Of a breaker: since when it is in its state, what its last step was for, who "
    "has\n"
    "the say.\n"
    "\n"
    "  nines explain checkout\n"
    "  nines explain payment_gateway\n",
    cli_explain },
  { "track", "track PATH [--duration D] --ok|--failed | track PATH -- CMD...",
    "record one observation of a critical path",
    "From a script, or around a command: its time and whether it exits with 0. The command's exit status is passed "
    "on,\n"
    "also when the engine cannot be reached.\n"
    "\n"
    "  nines track nightly_backup --duration 12m30s --ok\n"
    "  nines track checkout -- curl -fsS https://shop.example/checkout/health\n",
    cli_track },
  { "deploy", "deploy SERVICE VERSION [--record]", "deploy a version and wait for its end",
    "Runs the service's deploy command (nines.yaml) and waits. Exit status 1 when it failed.\n"
    "\n"
    "  --record   somebody else has deployed it: only take note, so that it can be rolled back\n"
    "\n"
    "  nines deploy payment-service v2.3.1\n",
    cli_deploy },
  { "rollback", "rollback SERVICE [--reason R]", "go back to what ran before, and wait for the end",
    "Undoes the last deployment of the service.\n"
    "\n"
    "  nines rollback payment-service --reason 'errors in checkout'\n",
    cli_rollback },
  { "slo", "slo", "service levels and what is left of their budgets",
    "Each SLO with its objective, the last hour, how fast its budget burns (1: exactly the budget) and what is left of "
    "it.\n"
    "\n"
    "  nines slo --json | jq '.[] | select(.budget_left < 25) | .slo'\n",
    cli_slo },
  { "alert", "alert [list [--all] | ack ID]", "list alerts, acknowledge one",
    "  list [--all]   open ones, or with the resolved ones that are still held\n"
    "  ack ID         you have seen it; it stays open until its cause is gone\n"
    "\n"
    "  nines alert ack a17\n",
    cli_alert },
  { "flag", "flag [list | on NAME | off NAME | lift NAME] [--reason R]", "switch flags by hand",
    "What a person sets stays, whatever policies say, until it is lifted.\n"
    "\n"
    "  nines flag off recommendations --reason 'database is slow'\n"
    "  nines flag lift recommendations\n",
    cli_flag },
  { "breaker",
    "breaker [list | open NAME | close NAME | force NAME | disable NAME | lift NAME | reset NAME]\n"
    "                     [--for D] [--reason R]",
    "list circuit breakers, set one by hand",
    "What a person sets stays, whatever the breaker's rule and policies say, until its time is over or it is lifted;\n"
    "also over a restart.\n"
    "\n"
    "  list           states, numbers of the window, who has set what\n"
    "  open, force    refuse all calls\n"
    "  disable        let all calls through, and count nothing\n"
    "  close          closed now, and left to its rule again\n"
    "  lift           what a person has set ends: closed, and left to its rule\n"
    "  reset          closed, and what it has counted is forgotten\n"
    "  --for D        so long (\"10m\"); without it until lifted\n"
    "\n"
    "  nines breaker open payment_gateway --for 10m --reason 'their maintenance'\n"
    "  nines breaker lift payment_gateway\n",
    cli_breaker },
  { "limiter", "limiter [list]", "list rate limiters",
    "What each grants, what is available now, and how many calls it has refused.\n"
    "\n"
    "  nines limiter\n",
    cli_limiter },
  { "bulkhead", "bulkhead [list]", "list bulkheads",
    "How many calls are inside each, its limit, and how many it has refused.\n"
    "\n"
    "  nines bulkhead --json | jq '.[] | select(.inside == .limit)'\n",
    cli_bulkhead },
  { "shed", "shed [list | NAME PERCENT | lift NAME] [--for D] [--reason R]", "list shedders, shed load by hand",
    "Refuses so many percent of all requests, the least critical first. What a person sets stays until its time is "
    "over\n"
    "or it is lifted, also over a restart; a shedder's own rules may shed more.\n"
    "\n"
    "  --for D   so long (\"10m\"); without it until lifted\n"
    "\n"
    "  nines shed api 20 --for 10m --reason 'database is slow'\n"
    "  nines shed lift api\n",
    cli_shed },
  { "audit", "audit verify [DIR] | audit list [DIR] [--after N]", "who did what, and is the record whole",
    "Reads the data directory of the project DIR (default: here), or DIR itself, also while no engine runs.\n"
    "\n"
    "  nines audit verify\n",
    cli_audit },
  { "replay", "replay RECORDING [--policy FILE] [FILE...] [--seconds]", "feed a recording to the engine again",
    "RECORDING is DATA/recording of a project. Prints every decision, and whether the recording has the same one; exit "
    "status\n"
    "1 when they part. Routes and services are those of the nines.yaml of this directory.\n"
    "\n"
    "  --policy FILE   this text instead of the recorded policy of the same name: what would have been different\n"
    "  --seconds       the recording of seconds: days instead of hours, approximate\n"
    "\n"
    "  nines replay nines-data/recording --policy policies/payments.lua\n",
    cli_replay },
  { "backup", "backup FILE", "a consistent copy of the living database",
    "The running engine writes FILE, which must not exist.\n"
    "\n"
    "  nines backup \"backup-$(date +%F).db\"\n",
    cli_backup },
  { "reload", "reload", "read nines.yaml and policies again",
    "It happens by itself when files change. What is wrong is told, and its old version stays. Exit status 1 then.\n"
    "\n"
    "  nines reload\n",
    cli_reload },
  { "stop", "stop", "stop the engine",
    "Waits until it has stored everything and is gone, as SIGTERM would make it.\n"
    "\n"
    "  nines stop\n",
    cli_stop },
  { "version", "version", "which nines this is",
    "\n"
    "  nines version --json\n",
    version },
  { "help", "help [COMMAND]", "this list, or about one command",
    "\n"
    "  nines help deploy\n",
    help },
  { 0 },
};

static void print_overview(FILE *out)
{
  fputs("nines notices trouble on critical paths, mends it by policies, and pages when that did not help.\n\n"
        "  nines init shop && cd shop    a project to start from\n"
        "  nines run                     its engine; then, in another terminal:\n"
        "  nines status                  what is going on\n"
        "  nines demo                    the whole story in a minute\n\n"
        "Commands:\n",
        out);
  for (const struct cli_command *command = commands; command->name; command++)
    fprintf(out, "  %-10s %s\n", command->name, command->summary);
  fputs("\nEvery command takes --help and --json; those that ask an engine also --engine URL|SOCKET. Without it they "
        "take\n"
        "NINES_ENGINE, the nines.yaml of this directory, or http://127.0.0.1:9999.\n"
        "Exit status: 0 yes, 1 no, 2 wrong usage, 3 engine not reachable, 4 internal error.\n",
        out);
}

static void print_help(const struct cli_command *command)
{
  printf("usage: nines %s\n\n%c%s.\n", command->usage, command->summary[0] - ('a' <= command->summary[0] ? 32 : 0),
         command->summary + 1);
  printf("%s%s", command->help[0] == '\n' ? "" : "\n", command->help);
}

static const struct cli_command *find(const char *name)
{
  for (const struct cli_command *command = commands; command->name; command++)
    if (strcmp(command->name, name) == 0) return command;
  return NULL;
}

static int unknown(const char *name)
{
  struct nearest nearest;
  nearest_init(&nearest, view_of(name));
  for (const struct cli_command *command = commands; command->name; command++) nearest_try(&nearest, command->name);
  if (nearest.best) return cli_fail(CLI_USAGE, "there is no command \"%s\"; did you mean \"%s\"?", name, nearest.best);
  return cli_fail(CLI_USAGE, "there is no command \"%s\"; `nines help` lists them", name);
}

static int help(struct cli *cli)
{
  int code = cli_args(cli, NULL, 0, 1);
  if (code != CLI_OK) return code;
  if (cli->word_count == 0) {
    print_overview(stdout);
    return CLI_OK;
  }
  const struct cli_command *command = find(cli->words[0]);
  if (!command) return unknown(cli->words[0]);
  print_help(command);
  return CLI_OK;
}

int main(int argc, char **argv)
{
  if (argc < 2) {
    print_overview(stdout);
    return CLI_OK;
  }
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
  if (name[0] == '-') return cli_fail(CLI_USAGE, "options come after the command: nines COMMAND %s", name);
  const struct cli_command *command = find(name);
  if (!command) return unknown(name);
  if (cli_args_help(argc - 2, argv + 2)) {
    print_help(command);
    return CLI_OK;
  }
  struct cli cli = { .command = command, .argc = argc - 2, .argv = argv + 2 };
  return command->run(&cli);
}
