// `notify:` and `routes:` of nines.yaml: who is told, and of what.
#ifndef NINES_APP_NOTIFIER_H
#define NINES_APP_NOTIFIER_H

#include "reading.h"
#include "settings.h"

enum { NOTIFIERS_MAX = 100, ROUTES_MAX = 200 };

// `notify` and `routes` are the values of these keys, NULL when absent. Fills notifiers and routes of `settings`.
int notifiers_read(const struct reading *reading, const struct value *notify, struct settings *settings);
int routes_read(const struct reading *reading, const struct value *routes, struct settings *settings);

#endif
