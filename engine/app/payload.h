// What notifiers receive, to the byte.
//
// Labels and annotations are written in the order of their names, so that one set is one text however it was put
// together. Times are RFC 3339 in UTC.
#ifndef NINES_APP_PAYLOAD_H
#define NINES_APP_PAYLOAD_H

#include "buf.h"
#include "door.h"

// POST /api/v2/alerts of Alertmanager: a list of one alert with labels, annotations (title as summary, text as
// description), startsAt, endsAt (firing: four repeat intervals of one minute from now; resolved: its end, never before
// startsAt) and generatorURL (left out without a public_url). What Alertmanager would refuse for good is mended: values
// become text, other characters of label names become _, empty labels are left out, and alertname is the title when
// there is none. `public_url` may be NULL.
void payload_alertmanager(const struct message *message, const char *public_url, struct buf *out);
// The webhook's and the command's body: {"version":1,"id","kind","status","alert","severity","title","text","labels",
// "annotations","started_at","ended_at","sent_at","attempt","dedup_key","url"}; started_at and ended_at are null when
// there is none. dedup_key is the same for all letters of one alert. url is the alert's page (without an alert, the
// engine's), null without a public_url.
void payload_webhook(const struct message *message, const char *public_url, struct buf *out);
// "Nines-Signature: t=UNIX_SECONDS,v1=HEX" with HEX = HMAC-SHA-256(secret, "SECONDS." + body).
void payload_signature(const char *secret, int64_t wall_ns, struct view body, struct buf *header);

#endif
