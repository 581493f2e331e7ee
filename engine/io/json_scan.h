// Walking over JSON text without building anything: for bodies that come too often for a tree.
//
// Each call reads one thing at the cursor and moves past it; at the first error `error` is set to what was wrong and
// the cursor stays there. What is accepted is RFC 8259 with jansson's limits: valid UTF-8, no NUL in texts, no lone
// surrogates, numbers within a double.
#ifndef NINES_IO_JSON_SCAN_H
#define NINES_IO_JSON_SCAN_H

#include <stdbool.h>

#include "buf.h"

struct json_scan {
  char *at;
  const char *end;
  const char *error; // "expected a value"; NULL: none
};

void json_scan_space(struct json_scan *scan);
// Takes `byte` (after space) if it comes next.
bool json_scan_byte(struct json_scan *scan, char byte);
// A quoted text, unescaped in place. The cursor must be at the quote or at what should be one.
bool json_scan_text(struct json_scan *scan, struct view *out);
bool json_scan_number(struct json_scan *scan, double *out);
// "null", "true", "false".
bool json_scan_word(struct json_scan *scan, const char *word);
// Any value; containers at most `depth` deep.
bool json_scan_skip(struct json_scan *scan, int depth);

#endif
