// Two sums and the times at which each last was zero.
//
// A sum that becomes zero moves its time along; while it is above, the time stays and is the best guess at when the
// change began (Page; the maximum likelihood estimate for a shift of twice the drift).
#include "change_point.h"

#include <math.h>

static double feed(double sum, double toward, int64_t *zero_ns, int64_t now_ns)
{
  sum += toward - CHANGE_POINT_DRIFT;
  if (sum > 0) return sum;
  *zero_ns = now_ns;
  return 0;
}

int change_point_add(nines_change *change, double standardised, int64_t now_ns, int64_t *onset_ns)
{
  if (isnan(standardised)) return 0;
  if (change->values++ == 0) change->up_zero_ns = change->down_zero_ns = now_ns;
  change->up = feed(change->up, standardised, &change->up_zero_ns, now_ns);
  change->down = feed(change->down, -standardised, &change->down_zero_ns, now_ns);
  int decided = change->up > CHANGE_POINT_DECISION ? 1 : change->down > CHANGE_POINT_DECISION ? -1 : 0;
  if (decided == 0) return 0;
  if (onset_ns) *onset_ns = decided > 0 ? change->up_zero_ns : change->down_zero_ns;
  change->up = change->down = 0;
  change->up_zero_ns = change->down_zero_ns = now_ns;
  return decided;
}
