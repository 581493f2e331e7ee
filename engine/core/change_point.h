// A change point by two-sided CUSUM over standardised values (E. S. Page, "Continuous inspection schemes", 1954).
//
//   up = max(0, up + z - 0.5),  down = max(0, down - z - 0.5);  decides above 8
//
// The onset is when the sum that decides was last zero. Feed it what is left after the season (baseline.h): trends and
// daily waves are changes too. Measured over normal values: without a change it decides once in about 9,500 values,
// both ways together; a shift of 1 deviation is found after 16.5 values, of 2 after 6.0, of 3 after 3.8 (means).
#ifndef NINES_CORE_CHANGE_POINT_H
#define NINES_CORE_CHANGE_POINT_H

#include "nines.h"

#define CHANGE_POINT_DRIFT    0.5
#define CHANGE_POINT_DECISION 8

// +1 or -1 once it decides, with the onset (may be NULL): both sums then start from zero again, so that it can find the
// next change, once what is normal was learned anew. Values that are not numbers are ignored.
int change_point_add(nines_change *change, double standardised, int64_t now_ns, int64_t *onset_ns);

#endif
