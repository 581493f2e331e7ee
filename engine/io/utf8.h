// Is it UTF-8? Shortest forms only, no surrogates, nothing above U+10FFFF (RFC 3629).
#ifndef NINES_IO_UTF8_H
#define NINES_IO_UTF8_H

#include <stdbool.h>

#include "buf.h"

bool utf8_valid(struct view text);
// Valid and without control characters: fit for a name, a label, a log line.
bool utf8_printable(struct view text);

#endif
