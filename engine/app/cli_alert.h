// A table of alerts.
#ifndef NINES_APP_CLI_ALERT_H
#define NINES_APP_CLI_ALERT_H

#include "value.h"

void alert_table_print(const struct value *alerts);

#endif
