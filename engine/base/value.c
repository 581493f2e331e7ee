// Trees of tagged values in a pool. Arrays of children grow by doubling inside the pool: the old array is left behind,
// which wastes at most as much again, and everything is freed at once. An array that somebody else made (a parser, a
// literal) has no spare room and is copied when it first grows; `grown` tells the two apart.
#include "value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHILDREN_FIRST = 4 };

struct value value_nil(void)
{
  return (struct value){ .type = VALUE_NIL };
}

struct value value_bool(bool boolean)
{
  return (struct value){ .type = VALUE_BOOL, .boolean = boolean };
}

struct value value_integer(int64_t integer)
{
  return (struct value){ .type = VALUE_INTEGER, .integer = integer };
}

struct value value_number(double number)
{
  return (struct value){ .type = VALUE_NUMBER, .number = number };
}

struct value value_text(const char *text)
{
  return text ? value_view(view_of(text)) : value_nil();
}

struct value value_view(struct view text)
{
  return (struct value){ .type = VALUE_TEXT, .text = text };
}

struct value value_list(void)
{
  return (struct value){ .type = VALUE_LIST };
}

struct value value_table(void)
{
  return (struct value){ .type = VALUE_TABLE };
}

// `array` when it has room for one more than `count`, else a larger copy of it; NULL when memory is out.
static void *with_room(struct pool *pool, void *array, size_t count, size_t item_size, bool grown)
{
  size_t capacity = CHILDREN_FIRST;
  while (capacity < count) capacity *= 2;
  if (grown && count < capacity) return array;
  while (capacity <= count) capacity *= 2;
  void *larger = pool_alloc(pool, capacity * item_size);
  if (larger && count > 0) memcpy(larger, array, count * item_size);
  return larger;
}

bool value_append(struct pool *pool, struct value *list, struct value item)
{
  if (list->type != VALUE_LIST) return false;
  struct value *items = with_room(pool, list->list.items, list->list.count, sizeof *items, list->grown);
  if (!items) return false;
  items[list->list.count] = item;
  list->list.items = items;
  list->list.count++;
  list->grown = true;
  return true;
}

static struct member *find_member(const struct value *table, const char *key)
{
  struct view wanted = view_of(key);
  for (size_t i = 0; table->type == VALUE_TABLE && i < table->table.count; i++) {
    if (view_equal(table->table.members[i].key, wanted)) return &table->table.members[i];
  }
  return NULL;
}

bool value_put(struct pool *pool, struct value *table, const char *key, struct value item)
{
  if (table->type != VALUE_TABLE) return false;
  struct member *known = find_member(table, key);
  if (known) {
    known->value = item;
    return true;
  }
  struct member *members = with_room(pool, table->table.members, table->table.count, sizeof *members, table->grown);
  if (!members) return false;
  members[table->table.count] = (struct member){ view_of(key), item };
  table->table.members = members;
  table->table.count++;
  table->grown = true;
  return true;
}

bool value_put_text(struct pool *pool, struct value *table, const char *key, const char *text)
{
  if (!text) return value_put(pool, table, key, value_nil());
  char *copy = pool_copy(pool, view_of(text));
  return copy && value_put(pool, table, key, value_text(copy));
}

bool value_put_format(struct pool *pool, struct value *table, const char *key, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = length < 0 ? NULL : pool_alloc(pool, (size_t)length + 1);
  if (!text) return false;
  va_start(arguments, format);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  va_end(arguments);
  return value_put(pool, table, key, value_text(text));
}

const struct value *value_get(const struct value *table, const char *key)
{
  const struct member *member = table ? find_member(table, key) : NULL;
  return member ? &member->value : NULL;
}

struct view value_get_text(const struct value *table, const char *key)
{
  const struct value *value = value_get(table, key);
  return value && value->type == VALUE_TEXT ? value->text : view_of(NULL);
}

int64_t value_get_integer(const struct value *table, const char *key, int64_t fallback)
{
  const struct value *value = value_get(table, key);
  if (!value) return fallback;
  if (value->type == VALUE_INTEGER) return value->integer;
  bool whole = value->type == VALUE_NUMBER && value->number >= -0x1p63 && value->number < 0x1p63 &&
               value->number == floor(value->number);
  return whole ? (int64_t)value->number : fallback;
}

double value_get_number(const struct value *table, const char *key, double fallback)
{
  double number;
  const struct value *value = value_get(table, key);
  return value && value_as_number(value, &number) ? number : fallback;
}

bool value_get_bool(const struct value *table, const char *key, bool fallback)
{
  const struct value *value = value_get(table, key);
  return value && value->type == VALUE_BOOL ? value->boolean : fallback;
}

bool value_as_number(const struct value *value, double *out)
{
  if (value->type != VALUE_INTEGER && value->type != VALUE_NUMBER) return false;
  *out = value->type == VALUE_INTEGER ? (double)value->integer : value->number;
  return true;
}

static bool copy_text(struct pool *pool, struct view *to, struct view from)
{
  char *copy = pool_copy(pool, from);
  *to = (struct view){ copy, from.size };
  return copy != NULL;
}

static bool copy_deep(struct pool *pool, struct value *to, const struct value *from, int depth);

static bool copy_list(struct pool *pool, struct value *to, const struct value *from, int depth)
{
  size_t count = from->list.count;
  struct value *items = pool_alloc(pool, count * sizeof *items);
  if (!items) return false;
  for (size_t i = 0; i < count; i++) {
    if (!copy_deep(pool, &items[i], &from->list.items[i], depth + 1)) return false;
  }
  to->list.items = items;
  to->grown = false;
  return true;
}

static bool copy_table(struct pool *pool, struct value *to, const struct value *from, int depth)
{
  size_t count = from->table.count;
  struct member *members = pool_alloc(pool, count * sizeof *members);
  if (!members) return false;
  for (size_t i = 0; i < count; i++) {
    const struct member *member = &from->table.members[i];
    if (!copy_text(pool, &members[i].key, member->key)) return false;
    if (!copy_deep(pool, &members[i].value, &member->value, depth + 1)) return false;
  }
  to->table.members = members;
  to->grown = false;
  return true;
}

static bool copy_deep(struct pool *pool, struct value *to, const struct value *from, int depth)
{
  if (depth > VALUE_DEPTH_MAX) return false;
  *to = *from;
  switch (from->type) {
  case VALUE_TEXT:
    return copy_text(pool, &to->text, from->text);
  case VALUE_LIST:
    return copy_list(pool, to, from, depth);
  case VALUE_TABLE:
    return copy_table(pool, to, from, depth);
  default:
    return true;
  }
}

bool value_copy(struct pool *pool, struct value *to, const struct value *from)
{
  struct value copy;
  if (!copy_deep(pool, &copy, from, 0)) return false;
  *to = copy;
  return true;
}

static bool equal_deep(const struct value *a, const struct value *b, int depth);

static bool equal_tables(const struct value *a, const struct value *b, int depth)
{
  if (a->table.count != b->table.count) return false;
  for (size_t i = 0; i < a->table.count; i++) {
    const struct member *member = &a->table.members[i], *other = NULL;
    // Mostly both have the same order; a search is for when they do not.
    for (size_t j = 0; j < b->table.count && !other; j++) {
      const struct member *candidate = &b->table.members[(i + j) % b->table.count];
      if (view_equal(candidate->key, member->key)) other = candidate;
    }
    if (!other || !equal_deep(&member->value, &other->value, depth + 1)) return false;
  }
  return true;
}

static bool equal_deep(const struct value *a, const struct value *b, int depth)
{
  if (a->type != b->type || depth > VALUE_DEPTH_MAX) return false;
  switch (a->type) {
  case VALUE_BOOL:
    return a->boolean == b->boolean;
  case VALUE_INTEGER:
  case VALUE_FUNCTION:
    return a->integer == b->integer;
  case VALUE_NUMBER: // a NaN equals itself here: the question is whether something changed
    return a->number == b->number || (isnan(a->number) && isnan(b->number));
  case VALUE_TEXT:
    return view_equal(a->text, b->text);
  case VALUE_LIST:
    if (a->list.count != b->list.count) return false;
    for (size_t i = 0; i < a->list.count; i++) {
      if (!equal_deep(&a->list.items[i], &b->list.items[i], depth + 1)) return false;
    }
    return true;
  case VALUE_TABLE:
    return equal_tables(a, b, depth);
  case VALUE_OBJECT:
    return a->object.noun == b->object.noun && a->object.handle == b->object.handle;
  default:
    return true;
  }
}

bool value_equal(const struct value *a, const struct value *b)
{
  return equal_deep(a, b, 0);
}

const char *value_type_name(const struct value *value)
{
  static const char *const names[] = {
    [VALUE_NIL] = "nothing",     [VALUE_BOOL] = "true or false",  [VALUE_INTEGER] = "a number",
    [VALUE_NUMBER] = "a number", [VALUE_TEXT] = "a text",         [VALUE_LIST] = "a list",
    [VALUE_TABLE] = "a table",   [VALUE_FUNCTION] = "a function", [VALUE_OBJECT] = "an object",
  };
  return value->type < sizeof names / sizeof names[0] ? names[value->type] : "nothing";
}

static void write_json(const struct value *value, struct buf *out, int depth);

static void write_list(const struct value *value, struct buf *out, int depth)
{
  buf_byte(out, '[');
  for (size_t i = 0; i < value->list.count; i++) {
    if (i > 0) buf_byte(out, ',');
    write_json(&value->list.items[i], out, depth + 1);
  }
  buf_byte(out, ']');
}

static void write_table(const struct value *value, struct buf *out, int depth)
{
  buf_byte(out, '{');
  for (size_t i = 0; i < value->table.count; i++) {
    if (i > 0) buf_byte(out, ',');
    buf_json_text(out, value->table.members[i].key);
    buf_byte(out, ':');
    write_json(&value->table.members[i].value, out, depth + 1);
  }
  buf_byte(out, '}');
}

static void write_json(const struct value *value, struct buf *out, int depth)
{
  if (depth > VALUE_DEPTH_MAX) {
    buf_text(out, "null");
    return;
  }
  switch (value->type) {
  case VALUE_BOOL:
    buf_text(out, value->boolean ? "true" : "false");
    break;
  case VALUE_INTEGER:
    buf_printf(out, "%lld", (long long)value->integer);
    break;
  case VALUE_NUMBER:
    buf_json_number(out, value->number);
    break;
  case VALUE_TEXT:
    buf_json_text(out, value->text);
    break;
  case VALUE_LIST:
    write_list(value, out, depth);
    break;
  case VALUE_TABLE:
    write_table(value, out, depth);
    break;
  case VALUE_FUNCTION:
    buf_text(out, "\"<function>\"");
    break;
  case VALUE_OBJECT:
    buf_text(out, "\"<object>\"");
    break;
  default:
    buf_text(out, "null");
  }
}

void value_to_json(const struct value *value, struct buf *out)
{
  write_json(value, out, 0);
}
