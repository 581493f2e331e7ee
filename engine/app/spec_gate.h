// A changed policy that has a spec beside it is taken over only when the spec passes, in a child process, within 30 s.
#ifndef NINES_APP_SPEC_GATE_H
#define NINES_APP_SPEC_GATE_H

#include "live.h"

// True while `text` (the new one of `file`, announced as `name`) must not be loaded: its spec is still running, or has
// failed for this text. Starts the spec when it has not run for this text; when it passes, the sources are looked at
// again.
bool spec_gate_holds(struct live *live, const char *name, const char *file, const char *text);
void spec_gate_close(struct live *live);

#endif
