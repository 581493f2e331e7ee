// Values that stand elsewhere: "${NAME}" in the environment, "file:PATH" in a file's first line.
#ifndef NINES_APP_SECRET_H
#define NINES_APP_SECRET_H

#include "pool.h"
#include "status.h"

// Puts in what `text` refers to. ${NAME} may stand anywhere in it, several times; an unset or empty variable is an
// error; "$${" is a plain "${". "file:PATH" must be the whole text: PATH is relative to `dir`, a regular file, and its
// first line, of at most 4096 bytes and not empty, is the value. What is put in is not searched again. Sentences name
// variables and files, never values.
int secret_expand(struct pool *pool, const char *text, const char *dir, const char **out, struct status *status);
// Only ${NAME}: for settings that are no secrets.
int secret_expand_environment(struct pool *pool, const char *text, const char **out, struct status *status);

#endif
