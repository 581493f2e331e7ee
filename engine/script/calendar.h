// Times of the week: "mon-fri 09:00".
#ifndef NINES_SCRIPT_CALENDAR_H
#define NINES_SCRIPT_CALENDAR_H

#include "buf.h"
#include "status.h"

struct calendar {
  uint32_t days;   // bit 0: Monday
  uint32_t minute; // of the day
};

// "[DAYS] HH:MM", where DAYS is days or ranges separated by commas: "mon,wed 09:30", "fri-mon 23:00".
int calendar_parse(struct view text, struct calendar *out, struct status *status);
// The first such moment after `local_ns` (nanoseconds of local time since 1970).
int64_t calendar_next(const struct calendar *calendar, int64_t local_ns);
// When the calendar period that local_ns lies in began: the week (Monday) for window_ns up to 7 d, the month up to 31
// d, else the quarter.
int64_t calendar_period_start(int64_t local_ns, int64_t window_ns);

#endif
