// YAML text to values, by libyaml: bounded, each value with its line.
#ifndef NINES_IO_YAML_H
#define NINES_IO_YAML_H

#include "status.h"
#include "value.h"

// One document. Plain scalars follow the core schema (null ~ true false integers floats), quoted ones are text. Aliases
// and merges are resolved by copying, within the pool's limit and 100,000 nodes; tags are refused; duplicate keys and
// keys that are no text are errors; so are texts with a NUL, more than 4 MiB, and more than VALUE_DEPTH_MAX levels. An
// empty text is nil. Every error is "FILE:LINE: sentence".
int yaml_parse(struct pool *pool, struct view text, const char *file, struct value *out, struct status *status);

#endif
