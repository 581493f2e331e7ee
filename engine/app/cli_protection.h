// Protections on the screen.
#ifndef NINES_APP_CLI_PROTECTION_H
#define NINES_APP_CLI_PROTECTION_H

#include "value.h"

// Those that are not at rest: breakers that are not closed, shedders that shed, what a person holds. Nothing when there
// are none.
void protection_table_print(const struct value *active);

#endif
