// Alert rules: conditions that are asked once a second, and what their alerts say.
//
// A rule has an instance for each object it looks at: the one it names (`on`), every declared critical path when its
// condition asks for a path's fields without naming one, or none (series alone). An instance's state (core/alarm.h)
// lives in the arena under rule and object, so that neither a reload nor a crash loses a timer; a reload of an
// unchanged rule touches nothing. A firing instance opens an alert (alert.h), which is durable of its own.
#ifndef NINES_APP_RULE_H
#define NINES_APP_RULE_H

#include "alarm.h"
#include "condition.h"
#include "engine.h"
#include "template.h"

enum { RULES_MAX = 10000, RULE_NAME_MAX = 150, RULE_LABELS_MAX = 16 };

enum rule_burning { RULE_CONDITION, RULE_PAGE_BURN, RULE_TICKET_BURN }; // the latter two: slo_burning

struct rule_settings {
  struct subject on;  // kind NONE: see above
  const char *object; // name of `on`
  enum rule_burning burning;
  const char *when;         // NULL for a burn
  const char *resolve_when; // NULL: when `when` is false
  struct alarm_rule alarm;
  const char *message; // template; NULL: the condition itself
  const char *service, *runbook;
  const struct value *labels; // texts; NULL: none
  int severity;               // 0..2
  bool observe;
  bool for_every_path; // decided by rule_declare
};

struct rule_instance {
  struct rule *rule;
  struct subject subject;
  const char *object; // "" without a subject
  struct condition *when, *resolve_when;
  struct template *message;
  struct alarm *alarm; // in the arena
  bool fresh;          // its alarm is of this life only
  enum truth truth;    // of the last evaluation
};

struct rule {
  nines *engine;
  char *name;
  char *declared_by; // script or file; NULL: nobody
  struct pool pool;
  struct rule_settings settings;
  struct rule_instance *instances;
  uint32_t count;
  uint64_t paths_seen;   // engine->paths_changed when the instances were made
  int64_t evaluation_ns; // processor time of the last evaluation of all instances; 0 in virtual time
  int64_t evaluated_wall_ns;
};

struct rule *rule_find(const nines *engine, const char *name);
// For declarations, before anything is made; `object` names what `on` may not hold yet.
int rule_check(nines *engine, const struct rule_settings *settings, struct status *status);
// Takes over `pool`.
int rule_declare(nines *engine, const char *script, const char *name, const struct rule_settings *settings,
                 struct pool *pool, struct status *status);
void rule_retire(nines *engine, const char *name); // its alerts are resolved
struct rule_instance *rule_instance_of(const nines *engine, const char *name,
                                       const char *object); // NULL: there is none
void rules_wake(nines *engine);                             // there is something to evaluate from now on
// "p95 > 800ms for 5m", or the pairs of windows of a burn.
const char *rule_text(const struct rule *rule, struct pool *pool);
const char *rule_state_name(const struct rule_instance *instance); // "inactive", "pending", "firing", "flapping"
void rule_describe(const struct rule *rule, struct pool *pool, struct value *out);
void rules_close(nines *engine);

extern const struct noun alert_noun;

#endif
