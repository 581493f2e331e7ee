// Alerts: what is wrong, since when, who knows. Opened in C, durable, never lost.
//
// A breached critical path opens one, and so does every firing instance of a rule (rule.h).
// open -> (held while a handler tries to mend) -> paged -> resolved. An alert without a handler is paged at once; a
// held one when the handler failed or its hold is over and the breach lasts. Resolution goes to whoever got the page.
// Timers are wall times, so that they survive a restart.
#ifndef NINES_APP_ALERT_H
#define NINES_APP_ALERT_H

#include "engine.h"
#include "path.h"
#include "rule.h"

enum { ALERTS_CLOSED_KEPT = 200, ALERTS_MAX = 5000 };

struct alert {
  char id[24];
  char *name; // "critical_path_breached"; of a rule's: the rule's
  bool of_rule;
  char *kind;    // of the object: "critical_path", "slo"; "" without
  char *object;  // its name
  char *service; // or ""
  int severity;
  uint32_t episode;
  char *summary;
  struct pool pool;
  struct value labels; // further ones, in the pool
  char silenced[40];   // id of the silence that keeps its page back; ""
  char *evidence;      // for the onset, or NULL
  char *runbook;       // or ""
  int64_t opened_wall_ns, onset_wall_ns, hold_wall_ns, paged_wall_ns, resolved_wall_ns, acked_wall_ns; // 0: not (yet)
  char *acked_by;                                                                                      // or NULL
  char *why_paged; // "handler failed: ...", "hold is over", "no handler", "policy payments.lua"
  bool observe;
  bool rerun;                // its handler was cut off by a restart or reload and has to run again
  bool orphan;               // of an earlier life, and no policy declares its path yet
  struct engine_timer timer; // the hold, or the next repeat to Alertmanager
  nines *engine;
};

struct alert *alert_open(nines *engine, struct path *path); // publishes alert.firing; starts the hold or pages
void alert_recovered(nines *engine, struct path *path);     // resolves the path's open alert
void alert_rule_fired(nines *engine, struct rule_instance *instance);
void alert_rule_resolved(nines *engine, struct rule_instance *instance, const char *why); // why may be NULL
bool alert_wants_handler(struct alert *alert); // once: a handler has to run again for it
struct alert *alert_of(const nines *engine, const char *kind, const char *object); // the open one, or NULL
struct alert *alert_of_rule(const nines *engine, const char *rule,
                            const char *object); // NULL object: the first not paged
// Pages now (once an episode; a second call returns false): title and text may be NULL for the summary.
bool alert_page(nines *engine, struct alert *alert, const char *severity, const char *title, const char *text,
                const char *why);
int alert_ack(nines *engine, const char *id, const char *actor, struct status *status);
void alert_handler_end(nines *engine, const struct caller *caller, enum task_end end, const char *why);
void alert_describe(const struct alert *alert, struct pool *pool, struct value *out);
void alerts_load(nines *engine); // from documents
void alerts_reconcile(
    nines *engine);               // after start: alerts of paths that recovered meanwhile, breaches without an alert
void alerts_adopt(nines *engine); // after a reload: open alerts whose path is declared only now
void alerts_unsilenced(nines *engine); // a silence has ended: what it kept quiet and still fires is paged
void alerts_republish(nines *engine);  // those of rules whose handler has to run again
// Mean time to detect of the kept alerts whose onset is known, in seconds; -1: none.
double alerts_mttd_s(const nines *engine);
void alerts_save(nines *engine); // puts all open ones, after the store had failed
void alerts_close(nines *engine);
struct value *alert_labels(const struct alert *alert, struct pool *pool);
const char *severity_name(int severity); // "P0"
int severity_number(const char *name);   // -1: unknown

#endif
