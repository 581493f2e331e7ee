// Decimal numbers in text that is not NUL-terminated, in the C locale whatever the host set.
#ifndef NINES_IO_DECIMAL_H
#define NINES_IO_DECIMAL_H

enum { DECIMAL_TEXT_MAX = 127 };

// Reads [+-] digits [. digits] [e [+-] digits] at the front; "5." and ".5" are fine. Returns the place after it, or
// NULL when there is no number, it is longer than DECIMAL_TEXT_MAX, or too big for a double.
const char *decimal_take(const char *at, const char *end, double *out);

#endif
