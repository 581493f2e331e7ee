// The command line: what the commands share. main.c has the table of commands; each cli_NOUN.c has those of its noun.
//
// A command reads its words with cli_args (cli_args.h), talks to a running engine by cli_client.h, prints by
// cli_screen.h, and returns one of the exit codes. Errors go to standard error as "nines: SENTENCE", saying what to do
// next.
#ifndef NINES_APP_CLI_H
#define NINES_APP_CLI_H

#include <stdbool.h>

enum cli_exit { CLI_OK, CLI_NO, CLI_USAGE, CLI_UNREACHABLE, CLI_INTERNAL };
enum { CLI_WORDS_MAX = 256 };

struct cli;

struct cli_command {
  const char *name;
  const char *usage;   // "deploy SERVICE VERSION [--record]"
  const char *summary; // a line for the list
  const char *help;    // what it does, its options, an example
  int (*run)(struct cli *cli);
};

struct cli {
  const struct cli_command *command;
  int argc; // what follows the command's name
  char **argv;
  // By cli_args:
  bool json;
  const char *engine; // --engine, or NULL
  const char *words[CLI_WORDS_MAX + 1];
  int word_count;
  char **rest; // what follows "--", NULL-terminated; NULL: no "--"
};

// Prints "nines: SENTENCE" on standard error and returns `code`.
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The same with the usage of the command; returns CLI_USAGE.
int cli_wrong(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

int cli_init(struct cli *cli);
int cli_run(struct cli *cli);
int cli_check(struct cli *cli);
int cli_test(struct cli *cli);
int cli_status(struct cli *cli);
int cli_events(struct cli *cli);
int cli_explain(struct cli *cli);
int cli_track(struct cli *cli);
int cli_deploy(struct cli *cli);
int cli_rollback(struct cli *cli);
int cli_alert(struct cli *cli);
int cli_slo(struct cli *cli);
int cli_flag(struct cli *cli);
int cli_breaker(struct cli *cli);
int cli_limiter(struct cli *cli);
int cli_bulkhead(struct cli *cli);
int cli_shed(struct cli *cli);
int cli_audit(struct cli *cli);
int cli_backup(struct cli *cli);
int cli_replay(struct cli *cli);
int cli_stop(struct cli *cli);
int cli_reload(struct cli *cli);

#endif
