// The one condition language: "p95(1m) > 500ms and requests >= 100 for 5m".
//
//   condition  := or-expression [ "for" DURATION ]
//   or         := and { "or" and }          and := not { "and" not }        not := [ "not" ] comparison
//   comparison := sum [ ( < <= > >= == != ) sum ]          sum := product { (+ -) product }
//   product    := unary { (* /) unary }                    unary := [ - ] primary
//   primary    := NUMBER [UNIT] | NUMBER % | field | ( or-expression ) | true | false
//   field      := NAME [ . NAME ] [ { label="text", ... } ] [ ( DURATION ) ]
//
// Three-valued: a field without data is unknown; a comparison or sum with an unknown is unknown; `and`, `or`, `not`
// follow Kleene. Division by zero is unknown. Units are checked when compiled: latency fields (p50 p90 p95 p99 mean)
// are in seconds and refuse a bare number ("write 500ms"); success_rate, error_rate and budget_left are in percent, so
// that 99.5 and 99.5% mean the same there, while "80%" beside any other field, and as a factor, means 0.8 (`error_rate
// > 150% * baseline.error_rate`). Gauges (every name not known here) go with any unit; a product keeps the unit of its
// one side that has one; a quotient of two of a kind is a plain number. The whole must be a truth, not a number. A
// compiled expression is immutable and may be shared. Limits: 1,000 bytes of text, 128 nodes, depth 32, 16 labels.
#ifndef NINES_BASE_EXPR_H
#define NINES_BASE_EXPR_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

enum truth { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN };

struct expr;

// One field that the text mentions; the same mention twice is one field.
struct expr_field {
  const char *
      object; // "payment_processing" in payment_processing.error_rate, "baseline" in baseline.p95; NULL: the own object
  const char *name;
  const char *labels; // canonical `k="v",k2="v2"` in order of names, or NULL
  int64_t window_ns;  // 0: the object's own window
  uint32_t column;    // 1-based, for errors found while resolving
};

// Errors name the column and what was expected: `column 14: "p95 > 500" compares a latency with a bare number; write
// 500ms`.
int expr_compile(struct expr **out, struct view text, struct status *status);
void expr_free(struct expr *expr);

uint32_t expr_field_count(const struct expr *expr);
const struct expr_field *expr_field_at(const struct expr *expr, uint32_t index);
int64_t expr_for_ns(const struct expr *expr); // 0: none
// The most that the condition, as a chain of `and`, demands of a field: N of `field > N` or `field >= N`; -INFINITY:
// nothing, or it cannot be told (an `or`, a `not`).
double expr_demands(const struct expr *expr, uint32_t field);
const char *expr_text(const struct expr *expr);

// Reads field `index` into *out; false: no data. Every field that is needed is read; `and`/`or` stop early.
typedef bool expr_read_fn(void *userdata, uint32_t index, double *out);

// Ignores the trailing `for`.
enum truth expr_eval(const struct expr *expr, expr_read_fn *read, void *userdata);

// The trailing `for`: true once the condition has held at every call for that long. Unknown gives unknown and keeps the
// memory as it was. `since_ns` is the caller's memory (start it with EXPR_HOLD_START) and may be stored; one that lies
// in the future (the clock began anew) starts again.
#define EXPR_HOLD_START INT64_MIN
enum truth expr_hold(const struct expr *expr, enum truth now_true, int64_t now_ns, int64_t *since_ns);

#endif
