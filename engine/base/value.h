// The one shape in which data crosses borders: YAML, JSON, Lua tables, documents of the store, payloads of events.
//
// A value is a small tagged union; texts and children are borrowed from a pool (or from the caller, for literals), so a
// tree is freed by freeing its pool and copied with value_copy. Numbers keep whether they were whole, so that a counter
// in `keep` stays a counter. Lines are those of the file that a value was read from, 0 elsewhere.
#ifndef NINES_BASE_VALUE_H
#define NINES_BASE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "pool.h"
#include "status.h"

enum value_type {
  VALUE_NIL,
  VALUE_BOOL,
  VALUE_INTEGER,
  VALUE_NUMBER,
  VALUE_TEXT,
  VALUE_LIST,
  VALUE_TABLE,    // text keys, in order of insertion
  VALUE_FUNCTION, // a Lua function, as its script's reference number (`integer`)
  VALUE_OBJECT,   // an engine object: noun and handle (script/noun.h)
};

struct noun;
struct member;
struct value {
  uint8_t type;  // enum value_type
  uint8_t grown; // set by value_append and value_put: the array has room up to the next power of two
  uint32_t line;
  union {
    bool boolean;
    int64_t integer;
    double number;
    struct view text;
    struct {
      struct value *items;
      size_t count;
    } list;
    struct {
      struct member *members;
      size_t count;
    } table;
    struct {
      const struct noun *noun;
      uint64_t handle;  // 0: yet to be made
      const char *name; // borrowed as texts are; NULL: known by its handle alone
    } object;
  };
};
struct member {
  struct view key;
  struct value value;
};

enum { VALUE_DEPTH_MAX = 16 };

// Makers. Text is borrowed.
struct value value_nil(void);
struct value value_bool(bool boolean);
struct value value_integer(int64_t integer);
struct value value_number(double number);
struct value value_text(const char *text); // NULL gives nil
struct value value_view(struct view text);
struct value value_list(void);
struct value value_table(void);
// Grows by one; children arrays live in `pool`. Out of memory leaves the value unchanged and returns false. A struct
// copy shares its children: grow only one of the two.
bool value_append(struct pool *pool, struct value *list, struct value item);
bool value_put(struct pool *pool, struct value *table, const char *key, struct value item); // key borrowed; replaces
bool value_put_text(struct pool *pool, struct value *table, const char *key, const char *text); // copies the text
// Formats into the pool and puts the text.
bool value_put_format(struct pool *pool, struct value *table, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Readers, forgiving: absent or of another type gives the default.
const struct value *value_get(const struct value *table, const char *key); // NULL when absent or not a table
struct view value_get_text(const struct value *table, const char *key);    // empty when absent
int64_t value_get_integer(const struct value *table, const char *key, int64_t fallback); // takes whole numbers too
double value_get_number(const struct value *table, const char *key, double fallback);
bool value_get_bool(const struct value *table, const char *key, bool fallback);
bool value_as_number(const struct value *value, double *out); // integer or number

bool value_copy(struct pool *pool, struct value *to,
                const struct value *from);                      // deep; false: out of memory or too deep
bool value_equal(const struct value *a, const struct value *b); // deep; order of members does not count
const char *value_type_name(const struct value *value);         // "a number", "a list", ...

// Compact JSON (the reader is io/json.h). Functions and objects become their kind in angle brackets, as text.
void value_to_json(const struct value *value, struct buf *out);

#endif
