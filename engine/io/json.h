// JSON text to values, by jansson: bounded, with the place of an error.
#ifndef NINES_IO_JSON_H
#define NINES_IO_JSON_H

#include "status.h"
#include "value.h"

// Everything is copied into `pool`; `line` of every value is 0 (jansson does not keep it). Errors name line and column.
// Depth at most VALUE_DEPTH_MAX. Whole numbers within int64 stay whole. Duplicate keys are an error.
int json_parse(struct pool *pool, struct view text, struct value *out, struct status *status);

#endif
