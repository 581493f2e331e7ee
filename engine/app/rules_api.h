// What Prometheus would answer about rules and alerts: for Grafana and everything else that reads its API.
#ifndef NINES_APP_RULES_API_H
#define NINES_APP_RULES_API_H

#include "engine.h"

// GET /api/v1/rules: {"status":"success","data":{"groups":[...]}}, a group for each file, rules in order of
// declaration, of type "alerting". `query` is the condition.
void rules_api_rules(nines *engine, struct pool *pool, struct value *out);
// GET /api/v1/alerts: the pending and firing ones, of breached critical paths too.
void rules_api_alerts(nines *engine, struct pool *pool, struct value *out);

#endif
