// The end of a CHECK that did not hold. It goes to stderr with plain stdio, because whatever is broken may be anything,
// logging included; and it aborts, so that a core dump shows the state that was thought impossible.
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expression, const char *file, int line)
{
  fprintf(stderr, "nines: bug: %s:%d: CHECK(%s) failed\n", file, line, expression);
  fflush(stderr);
  abort();
}
