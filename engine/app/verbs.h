// The words that act: page, notify, exec, http.*; and the tables of nouns and verbs that policies see.
#ifndef NINES_APP_VERBS_H
#define NINES_APP_VERBS_H

#include "engine.h"

extern const struct noun *const nouns[];
extern const struct verb verbs[];

void verbs_cancel(nines *engine, uint64_t token); // the task that waits for it is gone
void verbs_settle(nines *engine);                 // after a crash: commands and requests that were under way
void verbs_close(nines *engine);

#endif
