// Silences: what a person does not want to be told for a while, by whom, why, until when. Durable.
//
// As in Alertmanager: every matcher must match; a silence that is changed while active is expired and gets a new id.
// While one is active, alerts that it matches open and stay visible but send nothing; when it ends, what still fires is
// told at once. Expired ones are kept for 5 days.
#ifndef NINES_APP_SILENCE_H
#define NINES_APP_SILENCE_H

#include "engine.h"

enum { SILENCES_MAX = 1000 };

struct silence;

// `body` as in POST /api/v2/silences: matchers [{name, value, isRegex, isEqual}], startsAt, endsAt, createdBy, comment,
// id. The id goes to `out`: 37 bytes.
int silence_put(nines *engine, const struct value *body, const char *actor, char out[static 40], struct status *status);
int silence_expire(nines *engine, const char *id, const char *actor, struct status *status);
const struct silence *silence_find(const nines *engine, const char *id);
const struct silence *silence_of(const nines *engine,
                                 const struct value *labels); // an active one that matches, or NULL
const char *silence_id(const struct silence *silence);
void silence_describe(const struct silence *silence, struct pool *pool, struct value *out); // as GET /api/v2/silence/ID
void silences_stepped(nines *engine); // the wall clock was set: some may have begun or ended
void silences_load(nines *engine);
void silences_save(nines *engine);
void silences_close(nines *engine);

#endif
