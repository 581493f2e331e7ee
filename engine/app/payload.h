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
// POST /v2/enqueue of PagerDuty's Events API v2: trigger, or resolve with the same dedup_key; P0 is critical, P1 error,
// P2 warning, a notification info; summary cut to 1,024 bytes, labels and annotations as custom_details.
void payload_pagerduty(const struct message *message, const char *routing_key, const char *public_url, struct buf *out);
// A Slack incoming webhook: `text` for notifications and old clients, blocks with the same; &, < and > escaped;
// sections cut to 3,000 bytes, above which Slack answers 400.
void payload_slack(const struct message *message, const char *public_url, struct buf *out);
// POST /api/v1/events of Datadog: title of at most 100 and text of at most 4,000 bytes, labels as tags; alert_type
// error for P0 and P1, warning for P2, success for a resolution, info for a notification.
void payload_datadog(const struct message *message, const char *public_url, struct buf *out);
// "Nines-Signature: t=UNIX_SECONDS,v1=HEX" with HEX = HMAC-SHA-256(secret, "SECONDS." + body).
void payload_signature(const char *secret, int64_t wall_ns, struct view body, struct buf *header);

#endif
