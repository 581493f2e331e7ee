// What people and programs ask of the engine, as INPUT_CALL: a verb, JSON arguments, an answer after the commit.
//
//   deploy {service, version, record}      rollback {service, reason}      alert.ack {id}
//   flag.set {flag, on, reason}            flag.lift {flag}                policy.enable {file}     path.declare {path,
//   number}
// Those of protections are in protection_request.h.
// Each has "actor" ("person:ann"). Answers are documents of the object, or problems with `detail` and `field`.
#ifndef NINES_APP_REQUEST_H
#define NINES_APP_REQUEST_H

#include "engine.h"

void request_apply(nines *engine, const struct input *input);

#endif
