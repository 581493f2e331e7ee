// What people ask of protections, as INPUT_CALL: a breaker's state, a shedder's percentage, by hand.
//
//   breaker.set {breaker, state, for, reason}      breaker.lift {breaker}      breaker.reset {breaker, reason}
//   shedder.set {shedder, percent, for, reason}    shedder.lift {shedder}
// Each has "actor" ("person:ann"). The answer is the protection's document.
#ifndef NINES_APP_PROTECTION_REQUEST_H
#define NINES_APP_PROTECTION_REQUEST_H

#include "engine.h"

bool protection_request_is(struct view verb); // one of these
// 0 with the document in `out`, or an error with its sentence, and the field at fault if there is one.
int protection_request(nines *engine, struct view verb, const struct value *arguments, struct pool *pool,
                       struct value *out, const char **field, struct status *status);

#endif
