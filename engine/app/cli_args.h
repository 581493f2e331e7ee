// The words of a command: options by name, the rest in order, and what follows "--".
#ifndef NINES_APP_CLI_ARGS_H
#define NINES_APP_CLI_ARGS_H

#include "cli.h"

struct cli_option {
  const char *name;  // "topic" for --topic; NULL ends the list
  char letter;       // 'f' for -f; 0: none
  bool *flag;        // takes no value; or
  const char **text; // takes one: --topic X, --topic=X
};

// Fills `cli` and the options' targets; --json and --engine belong to every command. At least `min`, at most `max`
// words (CLI_WORDS_MAX at most). `options` may be NULL. CLI_OK, or CLI_USAGE when it has told what is wrong.
int cli_args(struct cli *cli, const struct cli_option *options, int min, int max);
// Is --help among the words, before "--"?
bool cli_args_help(int argc, char **argv);

#endif
