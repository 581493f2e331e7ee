// `nines demo`: a small real shop, a bad deploy, and what the engine does about it, in half a minute.
#ifndef NINES_APP_DEMO_H
#define NINES_APP_DEMO_H

// `argv`: "demo" [--keep] [--seconds N] [--json]. The exit code: 0 when everything happened
// within 90 s, 1 when not, 2 for wrong usage.
int demo_command(int argc, char **argv);

#endif
