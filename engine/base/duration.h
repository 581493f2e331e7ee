// "1h30m" to nanoseconds and back.
//
// Grammar: one or more NUMBER UNIT, without spaces inside or with single spaces between the parts; NUMBER is decimal
// with an optional fraction; UNIT is ns us ms s sec secs second seconds m min mins minute minutes h hour hours d day
// days w week weeks. No sign, at most 100 years. A bare number is not a duration here: callers that take seconds say
// so.
#ifndef NINES_BASE_DURATION_H
#define NINES_BASE_DURATION_H

#include <stdint.h>

#include "buf.h"
#include "status.h"

#define NS_PER_US         1000LL
#define NS_PER_MS         1000000LL
#define NS_PER_S          1000000000LL
#define NS_PER_MIN        (60 * NS_PER_S)
#define NS_PER_H          (3600 * NS_PER_S)
#define NS_PER_DAY        (86400 * NS_PER_S)
#define DURATION_TEXT_MAX 48
#define DURATION_MAX_NS   (36525LL * NS_PER_DAY)

int duration_parse(struct view text, int64_t *out_ns, struct status *status);
// The shortest exact form, as "1h30m" or "250ms"; 0 is "0s"; negative gets a "-". Returns `out`.
char *duration_format(int64_t ns, char out[static DURATION_TEXT_MAX]);
// For people: three significant digits in one unit, as "1.52s" or "350ms". Returns `out`.
char *duration_brief(int64_t ns, char out[static DURATION_TEXT_MAX]);

#endif
