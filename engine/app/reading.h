// nines.yaml while it is read: where a value stands, for sentences as "nines.yaml:12: notify.am.url: ...".
//
// Paths are keys joined by dots, with [N] for the N-th of a list, counted from 1; the root is "".
#ifndef NINES_APP_READING_H
#define NINES_APP_READING_H

#include "schema.h"
#include "value.h"

struct reading {
  const char *file; // for sentences
  const char *dir;  // of the project, "" for none
  struct pool *pool;
  struct status *status;
};

int reading_fail(const struct reading *reading, uint32_t line, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int reading_no_memory(const struct reading *reading);
// "PATH.KEY" in the pool; NULL: out of memory.
const char *reading_path(const struct reading *reading, const char *path, struct view key);
// schema_decode with the path in its sentences. `later`: keys, NULL-terminated or NULL, that a later release will have.
int reading_table(const struct reading *reading, const char *path, const struct value *table,
                  const struct schema_field *fields, const char *const *later, void *target);
// A table or nothing, whose members have names that the user chose: at most `max`, none empty or over 100 bytes.
int reading_names(const struct reading *reading, const char *path, const struct value *table, size_t max);
// Words as a NULL-terminated array; NULL: out of memory.
const char *const *reading_words(const struct reading *reading, struct view_list words);
// A command: a list of texts, or a text that is split at spaces and must not need a shell.
int reading_argv(const struct reading *reading, const char *path, const struct value *value, const char *const **out);
// An http or https URL, with secrets put in.
int reading_url(const struct reading *reading, uint32_t line, const char *path, const char *text, const char **out);

#endif
