// What people see: aligned tables, ages, colour on terminals, a line of progress.
#ifndef NINES_APP_CLI_SCREEN_H
#define NINES_APP_CLI_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "value.h"

enum colour { PLAIN, RED, GREEN, YELLOW, DIM };

// ANSI sequences, or "" when standard output is no terminal or NO_COLOR is set.
const char *screen_colour(enum colour colour);
const char *screen_plain(void);
enum colour screen_state_colour(const char *state); // of the words engines use: "breached", "failed", "ok", ...

enum { SCREEN_COLUMNS_MAX = 10 };
struct screen_table {
  uint32_t columns;
  struct screen_cell *cells;
  uint32_t count, capacity;
};
// Headings, NULL-terminated.
void screen_table_init(struct screen_table *table, const char *const *headings);
// The next cell, row by row. "" and NULL print as "-".
void screen_table_add(struct screen_table *table, enum colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void screen_table_print(struct screen_table *table); // and frees it; nothing when there are no rows

// "3m ago"; "" for 0.
enum { SCREEN_AGE_MAX = 64 };
char *screen_age(int64_t wall_ns, char out[static SCREEN_AGE_MAX]);
// The member as a C string; "" when absent.
const char *screen_text(const struct value *table, const char *key);
// A value of any shape, indented: for documents whose members this program does not know. `..._ns` are wall times.
void screen_document(const struct value *value, int indent);

// A line on standard error that is written over, when that is a terminal: "TEXT 3.4s". NULL clears it.
void screen_progress(const char *text, int64_t elapsed_ns);

#endif
