// The files of a starter project (cli_init_files.c).
#ifndef NINES_APP_CLI_INIT_H
#define NINES_APP_CLI_INIT_H

#include <stdbool.h>

struct init_file {
  const char *name; // NULL: the end
  bool executable;
  const char *text;
};

extern const struct init_file init_files[];

#endif
