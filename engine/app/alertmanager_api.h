// Alertmanager's API v2, as far as amtool and its like ask it: status, receivers, alerts, silences.
#ifndef NINES_APP_ALERTMANAGER_API_H
#define NINES_APP_ALERTMANAGER_API_H

#include "engine.h"
#include "matcher.h"

struct alertmanager_filter {
  struct matcher *matchers[MATCHERS_MAX];
  uint32_t count;
  bool active, silenced;
};

uint64_t
labels_fingerprint(const struct value *labels); // Alertmanager's: FNV-1a over names and values, in order of names
void alertmanager_status(nines *engine, struct pool *pool, struct value *out);
void alertmanager_receivers(nines *engine, struct pool *pool, struct value *out);
void alertmanager_alerts(nines *engine, const struct alertmanager_filter *filter, struct pool *pool, struct value *out);
void alertmanager_silences(nines *engine, const struct alertmanager_filter *filter, struct pool *pool,
                           struct value *out);

#endif
