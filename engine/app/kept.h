// What policies `keep`: one document a script, as the script layer hands it over.
#ifndef NINES_APP_KEPT_H
#define NINES_APP_KEPT_H

#include "engine.h"

void keep_changed(void *app, const char *script, struct view json);
struct value keep_stored(void *app, const char *script, struct pool *pool);
void keeps_load(nines *engine);
void keeps_save(nines *engine);
void keeps_close(nines *engine);

#endif
