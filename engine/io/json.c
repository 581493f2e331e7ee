// JSON to values: jansson reads, we copy.
//
// jansson checks the grammar, UTF-8, the range of numbers and (on request) duplicate keys, and reports line and column.
// Its own limit of depth is 2,048; ours is checked before it allocates anything for a deep text, by a scan that counts
// brackets outside strings, and the copy is bounded by the pool's limit.
#include "json.h"

#include <jansson.h>
#include <string.h>

enum { JSON_BYTES_MAX = 64 << 20 };

// The offset of the first bracket that opens a level too deep, or text.size.
static size_t too_deep_at(struct view text)
{
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size; i++) {
    char c = text.data[i];
    if (quoted) {
      if (c == '\\')
        i++;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if ((c == '[' || c == '{') && ++depth > VALUE_DEPTH_MAX) {
      return i;
    } else if (c == ']' || c == '}') {
      depth--;
    }
  }
  return text.size;
}

static int place_error(struct view text, size_t at, struct status *status)
{
  int line = 1, column = 1;
  for (size_t i = 0; i < at; i++) {
    if (text.data[i] == '\n') {
      line++;
      column = 1;
    } else if ((text.data[i] & 0xc0) != 0x80) {
      column++;
    }
  }
  return status_set(status, NINES_ELIMIT, "line %d, column %d: nested deeper than %d levels", line, column,
                    VALUE_DEPTH_MAX);
}

static bool copy_text(struct pool *pool, const char *data, size_t size, struct view *out)
{
  char *copy = pool_copy(pool, (struct view){ data, size });
  *out = (struct view){ copy, size };
  return copy != NULL;
}

static bool copy_value(struct pool *pool, const json_t *from, struct value *to);

static bool copy_list(struct pool *pool, const json_t *from, struct value *to)
{
  size_t count = json_array_size(from);
  *to = value_list();
  if (count == 0) return true;
  to->list.items = pool_alloc(pool, count * sizeof *to->list.items);
  if (to->list.items == NULL) return false;
  for (size_t i = 0; i < count; i++) {
    if (!copy_value(pool, json_array_get(from, i), &to->list.items[i])) return false;
  }
  to->list.count = count;
  return true;
}

static bool copy_table(struct pool *pool, json_t *from, struct value *to)
{
  size_t count = json_object_size(from), at = 0;
  *to = value_table();
  if (count == 0) return true;
  to->table.members = pool_alloc(pool, count * sizeof *to->table.members);
  if (to->table.members == NULL) return false;
  for (void *iterator = json_object_iter(from); iterator; iterator = json_object_iter_next(from, iterator), at++) {
    struct member *member = &to->table.members[at];
    const char *key = json_object_iter_key(iterator);
    if (!copy_text(pool, key, strlen(key), &member->key)) return false;
    if (!copy_value(pool, json_object_iter_value(iterator), &member->value)) return false;
  }
  to->table.count = count;
  return true;
}

static bool copy_value(struct pool *pool, const json_t *from, struct value *to)
{
  switch (json_typeof(from)) {
  case JSON_OBJECT:
    return copy_table(pool, (json_t *)(uintptr_t)from, to); // the iterators of jansson want it mutable
  case JSON_ARRAY:
    return copy_list(pool, from, to);
  case JSON_STRING: {
    struct view text;
    if (!copy_text(pool, json_string_value(from), json_string_length(from), &text)) return false;
    *to = value_view(text);
    return true;
  }
  case JSON_INTEGER:
    *to = value_integer(json_integer_value(from));
    return true;
  case JSON_REAL:
    *to = value_number(json_real_value(from));
    return true;
  case JSON_TRUE:
  case JSON_FALSE:
    *to = value_bool(json_is_true(from));
    return true;
  case JSON_NULL:
    *to = value_nil();
    return true;
  }
  return false;
}

int json_parse(struct pool *pool, struct view text, struct value *out, struct status *status)
{
  if (text.size > JSON_BYTES_MAX) return status_set(status, NINES_ELIMIT, "longer than %d bytes", JSON_BYTES_MAX);
  if (text.size == 0) return status_set(status, NINES_EINVAL, "line 1, column 1: JSON expected, the text is empty");
  size_t deep = too_deep_at(text);
  if (deep < text.size) return place_error(text, deep, status);
  json_error_t error;
  json_t *root = json_loadb(text.data, text.size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (root == NULL)
    return status_set(status, json_error_code(&error) == json_error_out_of_memory ? NINES_ENOMEM : NINES_EINVAL,
                      "line %d, column %d: %s", error.line, error.column, error.text);
  struct value value;
  bool copied = copy_value(pool, root, &value);
  json_decref(root);
  if (!copied) return status_set(status, NINES_ELIMIT, "the document needs more memory than is allowed here");
  *out = value;
  return 0;
}
