// A table of flags.
#ifndef NINES_APP_CLI_FLAG_H
#define NINES_APP_CLI_FLAG_H

#include "value.h"

void flag_table_print(const struct value *flags);

#endif
