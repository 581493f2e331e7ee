// Carries letters to notifiers: Alertmanager, PagerDuty, Slack, Datadog, signed webhooks, commands.
//
// Formats are pure functions of the message (payload.h), so that tests compare them to the byte; this file chooses,
// sends and judges the answer: 2xx and exit status 0 are delivered, 4xx other than 408, 425 and 429 are refused for
// good, everything else is tried again. A command runs under a name made of its letter: when the engine was restarted
// meanwhile, the second delivery of the letter finds the outcome of the first and does not page twice.
#ifndef NINES_APP_COURIER_H
#define NINES_APP_COURIER_H

#include "command.h"
#include "door.h"
#include "fetch.h"
#include "loop.h"
#include "settings.h"

struct courier;
// code 0: delivered; NINES_EIO: try again; NINES_EINVAL: refused for good. `why` is a sentence without secrets: neither
// the URL nor what was sent is in it.
// A notifier that says when to come back (429 or 503 with Retry-After in seconds, up to 1 h) makes the sentence begin
// with "retry after 30s: ".
typedef void courier_fn(void *userdata, uint64_t op, int code, const char *why);

struct courier *courier_open(struct loop *loop, struct fetcher *fetcher, struct commander *commander, courier_fn *done,
                             void *userdata);
// Forgets what is under way without calling `done`. To be called after fetcher_close and commander_close (which end the
// requests and let commands go on under their helpers) and before loop_close.
void courier_close(struct courier *courier);
// `settings` are those of the moment; the message is copied as far as needed. `done` is called once, later.
void courier_deliver(struct courier *courier, const struct settings *settings, uint64_t op,
                     const struct message *message);

#endif
