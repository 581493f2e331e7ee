// The body of a beat (beat.c); collecting and folding are declared with the engine and the paths.
#ifndef NINES_APP_BEAT_H
#define NINES_APP_BEAT_H

#include "path.h"

// The arguments of the request "path.declare" that tells a recording which number the path has.
void beat_declaration(const struct path *path, struct buf *out);

#endif
