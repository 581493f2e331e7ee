// What went wrong, as a code and a sentence.
//
// The codes are the public ones (nines.h); the sentence names the place and the remedy. Functions that can fail take a
// `struct status *` last, fill it, and return its code, so that `return status_set(...)` is the usual way out.
#ifndef NINES_BASE_STATUS_H
#define NINES_BASE_STATUS_H

#include <stdarg.h>

#include "nines.h"

enum { STATUS_TEXT_MAX = 512 };

struct status {
  int code; // 0 or NINES_E*
  char text[STATUS_TEXT_MAX];
};

// Formats the sentence (cut at STATUS_TEXT_MAX) and returns `code`. `status` may be NULL.
int status_set(struct status *status, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Puts "PREFIX: " before the sentence, for callers that know the place (a file, a key). Returns the code.
int status_prefix(struct status *status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
