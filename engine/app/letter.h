// The outbox: each page, notification and resolution as a letter to one notifier, kept until it was delivered.
//
// At least once, same id and labels at every try. Backoff 1 s doubling to 1 min with +-20 % jitter; given up after 24 h
// or when the notifier refuses it for good (an event and a metric say so, and a page goes to the route's next notifier
// if it has one). Letters are sent even when the store fails. A later state of the same alert for the same notifier
// waits for the earlier one, so that a resolution never overtakes its page.
#ifndef NINES_APP_LETTER_H
#define NINES_APP_LETTER_H

#include "engine.h"

enum { LETTERS_MAX = 10000 };

// Writes one letter for each notifier that the routes name for it. `to` (NULL: by the routes): a notifier. Returns how
// many.
struct letter_draft {
  const char *kind, *status, *alert, *severity, *title, *text, *to, *service;
  const struct value *labels, *annotations;
  int64_t started_wall_ns, ended_wall_ns;
};
uint32_t letters_write(nines *engine, const struct letter_draft *draft);
// Resolution for everybody who was sent (or is being sent) the firing state of this alert.
uint32_t letters_resolve(nines *engine, const struct letter_draft *draft);
void letters_load(nines *engine);
void letters_save(nines *engine);
void letters_close(nines *engine);
uint32_t letters_pending(const nines *engine);

#endif
