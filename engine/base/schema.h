// One way to read settings: YAML configuration, Lua declarations and API bodies are decoded by the same tables.
//
// A schema lists the fields of a C struct: key, aliases (the seed's and rivals' spellings), type, limits, default.
// Decoding checks everything and reports the first error as "WHERE: key: what was found, what is allowed (did you mean
// ...)", with the line where the value has one. Unknown keys are errors; a key without a value (nil) counts as absent.
// Numbers, truths and choices may come as texts, as they do from the environment. The struct is untouched on error.
#ifndef NINES_BASE_SCHEMA_H
#define NINES_BASE_SCHEMA_H

#include <stddef.h>

#include "status.h"
#include "value.h"

enum schema_type {
  SCHEMA_TEXT,     // const char *, in the pool
  SCHEMA_BOOL,     // bool
  SCHEMA_INTEGER,  // int64_t, min..max
  SCHEMA_NUMBER,   // double, min..max
  SCHEMA_PERCENT,  // double in percent, min..max within 0..100; 99.9, "99.9", "99.9%"
  SCHEMA_FRACTION, // double 0..1; 0.25 or "25%"
  SCHEMA_INTERVAL, // int64_t ns; "30s", or a bare number of seconds
  SCHEMA_LATENCY,  // int64_t ns; "500ms"; a bare number is refused ("write \"500ms\"")
  SCHEMA_MS,       // int64_t ns; a bare number of milliseconds (the seed's latency keys), or a duration
  SCHEMA_CHOICE,   // int; index into `choices`
  SCHEMA_WORDS,    // struct view_list: a list of texts, or one text
  SCHEMA_VALUE,    // const struct value *: taken as it is
  SCHEMA_FUNCTION, // int64_t: the script's function reference; 0 when absent
};

struct view_list {
  struct view *items;
  size_t count;
};

struct schema_field {
  const char *key;
  const char *alias; // other spellings, separated by spaces; NULL: none
  enum schema_type type;
  size_t offset; // offsetof the target
  // For numbers, in the target's unit (ns for durations). Both 0: the type's own range; only max 0: no upper end but
  // the type's.
  double min, max;
  const char *const *choices; // NULL-terminated, for SCHEMA_CHOICE
  bool required;
  // The default, as text in the form the user would write, or NULL: the target keeps what the caller put there.
  const char *fallback;
};

enum { SCHEMA_FIELDS_MAX = 96 };

// Decodes `table` (NULL and nil: an empty one) into `target`. `fields` ends with a NULL key. `where` starts every
// message ("policies/pay.lua:3: critical_path \"payments\""). Texts and lists live in `pool`.
int schema_decode(const struct schema_field *fields, const struct value *table, void *target, const char *where,
                  struct pool *pool, struct status *status);

#endif
