// Settings from a table of values into a C struct, in two passes: every field is decoded and checked into a slot on the
// stack first, and only when all are good are the slots stored. So the target is untouched on error, and a default is
// decoded by the same code as what a user writes.
//
// The messages are the point: each names the place, the line, the key as it was spelled, what was found, and what to
// write instead.
#include "schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "nearest.h"

enum { SHOWN_MAX = 64, NUMBER_TEXT_MAX = 64 };

// A decoded field, not yet stored.
struct slot {
  bool given;
  union {
    const char *text;
    bool boolean;
    int64_t integer;
    double number;
    int choice;
    struct view_list words;
    const struct value *value;
  };
};

// What is being decoded, for the messages.
struct site {
  const struct schema_field *field;
  const char *where;
  struct view key; // as the user spelled it
  uint32_t line;
  struct pool *pool;
  struct status *status;
};

// Puts "WHERE: line N: KEY: " before the sentence that `status` holds.
static int place(const struct site *site)
{
  if (!site->status) return NINES_EINVAL;
  if (site->key.size > 0) {
    status_prefix(site->status, "%.*s", (int)(site->key.size < SHOWN_MAX ? site->key.size : SHOWN_MAX), site->key.data);
  }
  if (site->line > 0) status_prefix(site->status, "line %u", site->line);
  if (site->where && site->where[0]) status_prefix(site->status, "%s", site->where);
  return site->status->code;
}

#define FAIL(site, ...) (status_set((site)->status, NINES_EINVAL, __VA_ARGS__), place(site))

// The value as a message shows it: the text in quotes, the number, or its type.
static const char *shown(const struct value *value, char out[static SHOWN_MAX])
{
  switch (value->type) {
  case VALUE_TEXT:
    snprintf(out, SHOWN_MAX, value->text.size < SHOWN_MAX - 8 ? "\"%.*s\"" : "\"%.*s...\"",
             (int)(value->text.size < SHOWN_MAX - 8 ? value->text.size : SHOWN_MAX - 8), value->text.data);
    break;
  case VALUE_INTEGER:
    snprintf(out, SHOWN_MAX, "%lld", (long long)value->integer);
    break;
  case VALUE_NUMBER:
    snprintf(out, SHOWN_MAX, "%.10g", value->number);
    break;
  case VALUE_BOOL:
    snprintf(out, SHOWN_MAX, "%s", value->boolean ? "true" : "false");
    break;
  default:
    snprintf(out, SHOWN_MAX, "%s", value_type_name(value));
  }
  return out;
}

static int fail_type(const struct site *site, const struct value *value, const char *expected)
{
  char found[SHOWN_MAX];
  return FAIL(site, "%s is not %s", shown(value, found), expected);
}

// The whole of `text` as a decimal number, finite; "%" at its end is allowed when `percent` is given and told there.
static bool text_number(struct view text, double *out, bool *percent)
{
  char copy[NUMBER_TEXT_MAX];
  if (percent) *percent = text.size > 1 && text.data[text.size - 1] == '%';
  size_t size = percent && *percent ? text.size - 1 : text.size;
  if (size == 0 || size >= sizeof copy) return false;
  memcpy(copy, text.data, size);
  copy[size] = '\0';
  if (strspn(copy, "0123456789.eE+-") != size) return false; // strtod would take hex, names and spaces
  char *end;
  *out = strtod(copy, &end);
  return *end == '\0' && isfinite(*out);
}

// A finite number out of a number or a numeric text.
static bool as_number(const struct value *value, double *out, bool *percent)
{
  if (percent) *percent = false;
  if (value->type == VALUE_TEXT) return text_number(value->text, out, percent);
  return value_as_number(value, out) && isfinite(*out);
}

static bool is_span(enum schema_type type)
{
  return type == SCHEMA_INTERVAL || type == SCHEMA_LATENCY || type == SCHEMA_MS;
}

static double range_max(const struct schema_field *field)
{
  if (field->max != 0 || field->min < 0) return field->max;
  if (is_span(field->type)) return (double)DURATION_MAX_NS;
  if (field->type == SCHEMA_PERCENT) return 100;
  return field->type == SCHEMA_FRACTION ? 1 : INFINITY;
}

static double range_min(const struct schema_field *field)
{
  bool open = field->min == 0 && field->max == 0;
  return open && (field->type == SCHEMA_INTEGER || field->type == SCHEMA_NUMBER) ? -INFINITY : field->min;
}

// A limit as the user would write it.
static const char *limit_text(const struct schema_field *field, double limit, char out[static DURATION_TEXT_MAX])
{
  if (is_span(field->type)) return duration_format((int64_t)limit, out);
  snprintf(out, DURATION_TEXT_MAX, "%.10g", limit);
  return out;
}

static int check_range(const struct site *site, const struct value *value, double number, const char *hint)
{
  double min = range_min(site->field), max = range_max(site->field);
  if (number >= min && number <= max) return 0;
  char found[SHOWN_MAX], low[DURATION_TEXT_MAX], high[DURATION_TEXT_MAX];
  shown(value, found);
  limit_text(site->field, min, low);
  if (isinf(max)) return FAIL(site, "%s is out of range (at least %s)%s", found, low, hint);
  limit_text(site->field, max, high);
  return FAIL(site, "%s is out of range (%s to %s)%s", found, low, high, hint);
}

static int fail_memory(const struct site *site)
{
  return status_set(site->status, NINES_ENOMEM, "%s: out of memory for settings",
                    site->where ? site->where : "settings");
}

static int decode_text(const struct site *site, const struct value *value, struct slot *slot)
{
  if (value->type != VALUE_TEXT) {
    bool scalar = value->type == VALUE_BOOL || value->type == VALUE_INTEGER || value->type == VALUE_NUMBER;
    return fail_type(site, value, scalar ? "a text (put it in quotes)" : "a text");
  }
  if (value->text.size > 0 && memchr(value->text.data, '\0', value->text.size)) {
    return FAIL(site, "the text has a NUL byte in it");
  }
  slot->text = pool_copy(site->pool, value->text);
  return slot->text ? 0 : fail_memory(site);
}

static int decode_bool(const struct site *site, const struct value *value, struct slot *slot)
{
  static const char *const words[] = { "false", "true", "no", "yes", "off", "on" }; // odd places are true
  if (value->type == VALUE_BOOL) {
    slot->boolean = value->boolean;
    return 0;
  }
  for (size_t i = 0; value->type == VALUE_TEXT && i < sizeof words / sizeof words[0]; i++) {
    if (!view_is(value->text, words[i])) continue;
    slot->boolean = i % 2 == 1;
    return 0;
  }
  return fail_type(site, value, "true or false");
}

// Exact over all 64 bits, which a double is not.
static bool as_integer(const struct value *value, int64_t *out)
{
  double number;
  char copy[NUMBER_TEXT_MAX], *end;
  if (value->type == VALUE_INTEGER) {
    *out = value->integer;
    return true;
  }
  if (value->type == VALUE_TEXT && value->text.size < sizeof copy && value->text.size > 0) {
    memcpy(copy, value->text.data, value->text.size);
    copy[value->text.size] = '\0';
    long long whole = strtoll(copy, &end, 10);
    if (*end == '\0' && strspn(copy, "-0123456789") == value->text.size && llabs(whole) < INT64_MAX) {
      *out = whole;
      return true;
    }
  }
  if (!as_number(value, &number, NULL) || number != floor(number) || fabs(number) >= 0x1p63) return false;
  *out = (int64_t)number;
  return true;
}

static int decode_integer(const struct site *site, const struct value *value, struct slot *slot)
{
  if (!as_integer(value, &slot->integer)) return fail_type(site, value, "a whole number");
  return check_range(site, value, (double)slot->integer, "");
}

static int decode_number(const struct site *site, const struct value *value, struct slot *slot)
{
  if (!as_number(value, &slot->number, NULL)) return fail_type(site, value, "a number");
  return check_range(site, value, slot->number, "");
}

static int decode_percent(const struct site *site, const struct value *value, struct slot *slot)
{
  bool percent;
  if (!as_number(value, &slot->number, &percent)) {
    return fail_type(site, value, "a percentage (write 99.9 or \"99.9%\")");
  }
  return check_range(site, value, slot->number, "");
}

static int decode_fraction(const struct site *site, const struct value *value, struct slot *slot)
{
  bool percent;
  if (!as_number(value, &slot->number, &percent)) return fail_type(site, value, "a fraction (write 0.25 or \"25%\")");
  char hint[NUMBER_TEXT_MAX] = "";
  if (!percent && slot->number > 1 && slot->number <= 100) {
    snprintf(hint, sizeof hint, "; write \"%.10g%%\" if percent was meant", slot->number);
  }
  if (percent) slot->number /= 100;
  return check_range(site, value, slot->number, hint);
}

static int fail_latency(const struct site *site, const struct value *value, double number)
{
  char found[SHOWN_MAX];
  // Whoever writes 500 means milliseconds, whoever writes 0.5 means seconds.
  double ms = number >= 1 ? number : number * 1000;
  if (ms <= 0) ms = 500;
  return FAIL(site, "%s is not a latency (write \"%.10gms\")", shown(value, found), ms);
}

static int decode_span(const struct site *site, const struct value *value, struct slot *slot)
{
  double number;
  if (as_number(value, &number, NULL)) {
    if (site->field->type == SCHEMA_LATENCY) return fail_latency(site, value, number);
    double ns = round(number * (double)(site->field->type == SCHEMA_MS ? NS_PER_MS : NS_PER_S));
    if (fabs(ns) > (double)DURATION_MAX_NS) return fail_type(site, value, "a duration below 100 years");
    slot->integer = (int64_t)ns;
  } else if (value->type == VALUE_TEXT) {
    if (duration_parse(value->text, &slot->integer, site->status) != 0) return place(site);
  } else {
    return fail_type(site, value, "a duration (write \"30s\")");
  }
  return check_range(site, value, (double)slot->integer, "");
}

static int decode_choice(const struct site *site, const struct value *value, struct slot *slot)
{
  struct buf list = { 0 };
  struct nearest nearest;
  nearest_init(&nearest, value->type == VALUE_TEXT ? value->text : view_of(NULL));
  for (int i = 0; site->field->choices[i]; i++) {
    const char *choice = site->field->choices[i];
    if (value->type == VALUE_TEXT && view_is(value->text, choice)) {
      buf_free(&list);
      slot->choice = i;
      return 0;
    }
    buf_printf(&list, "%s%s", i > 0 ? ", " : "", choice);
    if (nearest.word.size > 0) nearest_try(&nearest, choice);
  }
  char found[SHOWN_MAX];
  const char *known = buf_view(&list).data;
  int code = nearest.best
                 ? FAIL(site, "%s is not one of %s (did you mean \"%s\"?)", shown(value, found), known, nearest.best)
                 : FAIL(site, "%s is not one of %s", shown(value, found), known);
  buf_free(&list);
  return code;
}

static int decode_words(const struct site *site, const struct value *value, struct slot *slot)
{
  const struct value *items = value->type == VALUE_LIST ? value->list.items : value;
  size_t count = value->type == VALUE_LIST ? value->list.count : 1;
  if (value->type == VALUE_TABLE && value->table.count == 0) count = 0; // Lua's {} is either
  struct view *words = pool_alloc(site->pool, count * sizeof *words);
  if (!words) return fail_memory(site);
  for (size_t i = 0; i < count; i++) {
    if (items[i].type != VALUE_TEXT) return fail_type(site, &items[i], "a text or a list of texts");
    char *copy = pool_copy(site->pool, items[i].text);
    if (!copy) return fail_memory(site);
    words[i] = (struct view){ copy, items[i].text.size };
  }
  slot->words = (struct view_list){ words, count };
  return 0;
}

static int decode_field(const struct site *site, const struct value *value, struct slot *slot)
{
  slot->given = true;
  switch (site->field->type) {
  case SCHEMA_TEXT:
    return decode_text(site, value, slot);
  case SCHEMA_BOOL:
    return decode_bool(site, value, slot);
  case SCHEMA_INTEGER:
    return decode_integer(site, value, slot);
  case SCHEMA_NUMBER:
    return decode_number(site, value, slot);
  case SCHEMA_PERCENT:
    return decode_percent(site, value, slot);
  case SCHEMA_FRACTION:
    return decode_fraction(site, value, slot);
  case SCHEMA_INTERVAL:
  case SCHEMA_LATENCY:
  case SCHEMA_MS:
    return decode_span(site, value, slot);
  case SCHEMA_CHOICE:
    return decode_choice(site, value, slot);
  case SCHEMA_WORDS:
    return decode_words(site, value, slot);
  case SCHEMA_VALUE:
    slot->value = value;
    return 0;
  case SCHEMA_FUNCTION:
    slot->integer = value->integer;
    return value->type == VALUE_FUNCTION ? 0 : fail_type(site, value, "a function");
  }
  check_failed("a known schema type", __FILE__, __LINE__);
}

static void store(const struct schema_field *field, const struct slot *slot, void *target)
{
  void *at = (char *)target + field->offset;
  switch (field->type) {
  case SCHEMA_TEXT:
    memcpy(at, &slot->text, sizeof slot->text);
    break;
  case SCHEMA_BOOL:
    memcpy(at, &slot->boolean, sizeof slot->boolean);
    break;
  case SCHEMA_NUMBER:
  case SCHEMA_PERCENT:
  case SCHEMA_FRACTION:
    memcpy(at, &slot->number, sizeof slot->number);
    break;
  case SCHEMA_INTEGER:
  case SCHEMA_INTERVAL:
  case SCHEMA_LATENCY:
  case SCHEMA_MS:
  case SCHEMA_FUNCTION:
    memcpy(at, &slot->integer, sizeof slot->integer);
    break;
  case SCHEMA_CHOICE:
    memcpy(at, &slot->choice, sizeof slot->choice);
    break;
  case SCHEMA_WORDS:
    memcpy(at, &slot->words, sizeof slot->words);
    break;
  case SCHEMA_VALUE:
    memcpy(at, &slot->value, sizeof slot->value);
  }
}

// Takes the next word of a list of words separated by spaces; false at its end.
static bool next_alias(const char **rest, struct view *word)
{
  if (!*rest) return false;
  *rest += strspn(*rest, " ");
  *word = (struct view){ *rest, strcspn(*rest, " ") };
  *rest += word->size;
  return word->size > 0;
}

static bool has_name(const struct schema_field *field, struct view key)
{
  const char *rest = field->alias;
  struct view alias;
  bool found = view_is(key, field->key);
  while (!found && next_alias(&rest, &alias)) found = view_equal(alias, key);
  return found;
}

static int fail_unknown(const struct schema_field *fields, const struct site *site)
{
  struct nearest nearest;
  char aliases[SCHEMA_FIELDS_MAX * 4][48]; // whoever writes another's spelling misspells that
  size_t alias_count = 0;
  nearest_init(&nearest, site->key);
  for (const struct schema_field *field = fields; field->key; field++) {
    const char *rest = field->alias;
    struct view alias;
    nearest_try(&nearest, field->key);
    for (; next_alias(&rest, &alias) && alias_count < SCHEMA_FIELDS_MAX * 4; alias_count++) {
      snprintf(aliases[alias_count], sizeof *aliases, "%.*s", (int)alias.size, alias.data);
      nearest_try(&nearest, aliases[alias_count]);
    }
  }
  if (nearest.best) return FAIL(site, "unknown key (did you mean \"%s\"?)", nearest.best);
  struct buf list = { 0 };
  for (const struct schema_field *field = fields; field->key; field++) {
    buf_printf(&list, "%s%s", field == fields ? "" : ", ", field->key);
  }
  int code = FAIL(site, "unknown key (known: %s)", buf_view(&list).data);
  buf_free(&list);
  return code;
}

static int decode_members(const struct schema_field *fields, const struct value *table, struct slot *slots,
                          struct site *site)
{
  for (size_t i = 0; i < table->table.count; i++) {
    const struct member *member = &table->table.members[i];
    size_t index = 0;
    while (fields[index].key && !has_name(&fields[index], member->key)) index++;
    site->field = &fields[index];
    site->key = member->key;
    site->line = member->value.line;
    if (!site->field->key) return fail_unknown(fields, site);
    if (member->value.type == VALUE_NIL) continue;
    if (slots[index].given) return FAIL(site, "given twice (\"%s\" is the same setting)", site->field->key);
    int code = decode_field(site, &member->value, &slots[index]);
    if (code != 0) return code;
  }
  return 0;
}

// A default, decoded from its text. A bad one is a bug of the schema.
static int decode_fallback(const struct site *site, struct slot *slot)
{
  struct value *value = pool_alloc(site->pool, sizeof *value); // a SCHEMA_VALUE keeps the pointer
  if (!value) return fail_memory(site);
  *value = value_text(site->field->fallback);
  int code = decode_field(site, value, slot);
  CHECK(code != NINES_EINVAL);
  return code;
}

static int decode_absent(const struct schema_field *fields, uint32_t line, struct slot *slots, struct site *site)
{
  for (size_t i = 0; fields[i].key; i++) {
    site->field = &fields[i];
    site->key = view_of(fields[i].key);
    site->line = line;
    if (slots[i].given) continue;
    if (fields[i].required) return FAIL(site, "missing, and required");
    int code = fields[i].fallback ? decode_fallback(site, &slots[i]) : 0;
    if (code != 0) return code;
    if (fields[i].type == SCHEMA_FUNCTION) slots[i] = (struct slot){ .given = true, .integer = 0 };
  }
  return 0;
}

int schema_decode(const struct schema_field *fields, const struct value *table, void *target, const char *where,
                  struct pool *pool, struct status *status)
{
  struct slot slots[SCHEMA_FIELDS_MAX] = { 0 };
  struct site site = { .where = where, .line = table ? table->line : 0, .pool = pool, .status = status };
  size_t count = 0;
  while (fields[count].key) count++;
  CHECK(count <= SCHEMA_FIELDS_MAX);

  bool empty = !table || table->type == VALUE_NIL || (table->type == VALUE_LIST && table->list.count == 0);
  if (!empty && table->type != VALUE_TABLE) return fail_type(&site, table, "a table of settings");
  int code = empty ? 0 : decode_members(fields, table, slots, &site);
  if (code == 0) code = decode_absent(fields, table ? table->line : 0, slots, &site);
  if (code != 0) return code;
  for (size_t i = 0; i < count; i++) {
    if (slots[i].given) store(&fields[i], &slots[i], target);
  }
  return 0;
}
