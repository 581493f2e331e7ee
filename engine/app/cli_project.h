// A project's Lua files as they lie there: its policies and libraries, and its specs.
#ifndef NINES_APP_CLI_PROJECT_H
#define NINES_APP_CLI_PROJECT_H

#include "map.h"
#include "settings.h"

// Policies as the engine names them -> their paths (mem_free each), by the rules of live_files.c: NAME.lua of each
// directory or file in `policies:`, lib/PATH.lua below lib/, never *_spec.lua.
int project_policies(const struct settings *settings, const char *dir, struct map *out, struct status *status);
// Paths of *_spec.lua at any depth below `dir` -> themselves; a directory that is not there has none.
void project_specs(const char *dir, struct map *out);
void project_free(struct map *files);

#endif
