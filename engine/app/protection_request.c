// The verbs of people about protections: checked here, done, audited and kept by protection.c.

#include "protection_request.h"

#include "duration.h"
#include "protection.h"
#include "protection_overview.h"
#include "schema.h"

struct arguments {
  const char *actor, *breaker, *shedder, *reason;
  int state;       // index into `states`; -1: not given
  double percent;  // -1: not given
  int64_t hold_ns; // 0: until lifted
};

static const char *const state_names[] = { "closed", "open", "forced_open", "disabled", "metrics_only", NULL };
static const int states[] = { NINES_BREAKER_CLOSED, NINES_BREAKER_OPEN, NINES_BREAKER_FORCED_OPEN,
                              NINES_BREAKER_DISABLED, NINES_BREAKER_METRICS_ONLY };

static const struct schema_field fields[] = {
  { .key = "actor", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, actor), .fallback = "person:unknown" },
  { .key = "breaker", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, breaker) },
  { .key = "shedder", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, shedder) },
  { .key = "reason", .type = SCHEMA_TEXT, .offset = offsetof(struct arguments, reason) },
  { .key = "state", .type = SCHEMA_CHOICE, .offset = offsetof(struct arguments, state), .choices = state_names },
  { .key = "percent", .type = SCHEMA_PERCENT, .offset = offsetof(struct arguments, percent), .min = 0, .max = 100 },
  { .key = "for",
    .type = SCHEMA_INTERVAL,
    .offset = offsetof(struct arguments, hold_ns),
    .min = (double)NS_PER_S,
    .max = 366 * (double)NS_PER_DAY },
  { 0 },
};

bool protection_request_is(struct view verb)
{
  static const char *const verbs[] = { "breaker.set", "breaker.lift", "breaker.reset", "shedder.set", "shedder.lift" };
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (view_is(verb, verbs[i])) return true;
  return false;
}

static int do_breaker(nines *engine, struct view verb, const struct arguments *arguments, struct protection *breaker,
                      const char **field, struct status *status)
{
  if (view_is(verb, "breaker.lift")) {
    protection_lift(engine, breaker, arguments->actor);
  } else if (view_is(verb, "breaker.reset")) {
    protection_reset(engine, breaker, arguments->actor, arguments->reason);
  } else if (arguments->state < 0) {
    *field = "state";
    return status_set(status, NINES_EINVAL,
                      "\"state\" is missing: open, closed, forced_open, disabled or metrics_only");
  } else {
    protection_put(engine, breaker, states[arguments->state], arguments->hold_ns, arguments->actor, arguments->reason);
  }
  return 0;
}

static int do_shedder(nines *engine, struct view verb, const struct arguments *arguments, struct protection *shedder,
                      const char **field, struct status *status)
{
  if (view_is(verb, "shedder.lift")) {
    protection_lift(engine, shedder, arguments->actor);
  } else if (arguments->percent < 0) {
    *field = "percent";
    return status_set(status, NINES_EINVAL, "\"percent\" is missing: how many of all requests to refuse, 0 to 100");
  } else {
    protection_put(engine, shedder, arguments->percent, arguments->hold_ns, arguments->actor, arguments->reason);
  }
  return 0;
}

int protection_request(nines *engine, struct view verb, const struct value *arguments, struct pool *pool,
                       struct value *out, const char **field, struct status *status)
{
  struct arguments given = { .state = -1, .percent = -1 };
  int code = schema_decode(fields, arguments, &given, "request", pool, status);
  if (code < 0) return code;
  bool breaker = verb.data[0] == 'b';
  const char *name = breaker ? given.breaker : given.shedder;
  *field = breaker ? "breaker" : "shedder";
  if (!name) return status_set(status, NINES_EINVAL, "\"%s\" is missing", *field);
  struct protection *protection =
      protection_overview_find(engine, breaker ? PROTECTION_BREAKER : PROTECTION_SHEDDER, name, status);
  if (!protection) return status->code;
  code = breaker ? do_breaker(engine, verb, &given, protection, field, status)
                 : do_shedder(engine, verb, &given, protection, field, status);
  if (code == 0) protection_describe(engine, protection, pool, out);
  return code;
}
