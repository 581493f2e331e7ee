// nines.yaml, read and checked: what the project is, apart from its policies.
//
// Read by settings_load from a file (with ${NAME} and file: secrets put in) or made by settings_default. Immutable; the
// engine borrows it. ${NAME} is put into listen, statsd, data, public_url, url and secret; file:PATH into url and
// secret; commands are taken as written. Keys of later releases are refused by name.
#ifndef NINES_APP_SETTINGS_H
#define NINES_APP_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "pool.h"
#include "schema.h"
#include "status.h"

enum notifier_type {
  NOTIFIER_ALERTMANAGER,
  NOTIFIER_WEBHOOK,
  NOTIFIER_COMMAND,
  NOTIFIER_PAGERDUTY,
  NOTIFIER_SLACK,
  NOTIFIER_DATADOG,
  NOTIFIER_TYPES
};

struct notifier_settings {
  const char *name;
  enum notifier_type type;
  const char *url;         // alertmanager, datadog: base URL; else the URL
  const char *secret;      // webhook: HMAC key, NULL: unsigned; pagerduty: routing key; datadog: API key
  const char *const *argv; // command: NULL-terminated
  int64_t timeout_ns;      // of one attempt, 100 ms to 10 min, default 10 s
};

struct route_settings {
  const char *severities; // bit set as text "P0 P1"; NULL: all
  const char *service;    // NULL: all
  const char *const *to;  // names of notifiers, NULL-terminated
  bool go_on;             // `continue: true`
};

struct service_settings {
  const char *name;
  const char *tier;                // "" when absent
  const char *const *dependencies; // as written, NULL-terminated
  const char *const *deploy;       // argv; NULL: cannot be deployed from here
  const char *const *current;      // argv that prints the running version; NULL: none
  int64_t timeout_ns;              // of deploy; default 5 min
};

struct settings {
  struct pool pool;
  const char *file;   // as in messages; "" for defaults
  const char *dir;    // of the project; "": the working directory
  const char *listen; // "127.0.0.1:9999", always of the loopback; NULL: no TCP
  const char *statsd; // "127.0.0.1:8125" or "unix:/path", the path joined with dir; NULL: off
  const char *data;   // directory, joined with dir
  bool observe;
  int64_t utc_offset_ns;
  const char *const *policies; // directories or files, relative to dir
  int64_t page_after_ns;       // default 2 min
  const char *public_url;      // for links in messages, without / at its end; NULL: http://<listen>
  struct service_settings *services;
  uint32_t service_count;
  struct notifier_settings *notifiers;
  uint32_t notifier_count;
  struct route_settings *routes; // without `routes:` one that leads to all notifiers, so that a page goes somewhere
  uint32_t route_count;
  int64_t record_bytes_max; // of the beats; default 64 MiB
};

// `dir` holds nines.yaml. Errors: "DIR/nines.yaml:12: notify.am.alertmanager.url: ..." (without DIR when it is "" or
// "."). NINES_ENOTFOUND when there is no such file.
int settings_load(struct settings **out, const char *dir, struct status *status);
// From text: for tests and `nines check`. `dir` may be "".
int settings_parse(struct settings **out, struct view text, const char *file, const char *dir, struct status *status);
// Those of an empty nines.yaml; `dir` may be NULL.
struct settings *settings_default(const char *dir);
void settings_free(struct settings *settings);
const struct notifier_settings *settings_notifier(const struct settings *settings, const char *name);
const struct service_settings *settings_service(const struct settings *settings, const char *name);

#endif
