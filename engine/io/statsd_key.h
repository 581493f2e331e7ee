// A line's raw tags, made canonical, and what they say about success; private to the StatsD intake.
#ifndef NINES_IO_STATSD_KEY_H
#define NINES_IO_STATSD_KEY_H

#include <stdbool.h>

#include "statsd.h"

struct statsd_key {
  size_t size;
  char tags[SERIES_TAGS_MAX]; // `a="b",c="d"` in order of names; a backslash stands before backslash and " in values
};

// STATSD_OK, or the fault of the name (no UTF-8, control characters) or the tags.
enum statsd_fault statsd_key_make(const struct statsd_line *line, struct statsd_key *out);
// Do the tags tell of a failure? (statsd.h has the list.)
bool statsd_tags_failed(const struct statsd_line *line);

#endif
