// A recursive descent over libyaml's events, at most VALUE_DEPTH_MAX deep. (libyaml's own document loader would keep no
// lines for us and expand nothing.)
//
// Every node is counted, and an alias counts as many nodes as what it copies, so that a text of ten lines cannot become
// a billion nodes. An anchor is known only after its node has ended: nothing can contain itself.
#include "yaml.h"

#include <errno.h>
#include <libyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "mem.h"

enum { NODES_MAX = 100000, TEXT_MAX = 4 << 20, ANCHORS_MAX = 1000, SHOWN_MAX = 40 };

struct anchor {
  struct value value;
  uint32_t nodes;
  uint32_t height; // levels of lists and tables in it
};

struct reader {
  yaml_parser_t parser;
  yaml_event_t event; // the current one
  struct pool *pool;
  struct map anchors; // of struct anchor
  uint32_t nodes;
  const char *file;
  struct view text;
  struct status *status;
};

static int fail(struct reader *reader, size_t line, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct reader *reader, size_t line, const char *format, ...)
{
  char sentence[STATUS_TEXT_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof(sentence), format, arguments);
  va_end(arguments);
  return status_set(reader->status, NINES_EINVAL, "%s:%zu: %s", reader->file, line, sentence);
}

static size_t line_of(const struct reader *reader)
{
  return reader->event.start_mark.line + 1;
}

static int no_memory(struct reader *reader)
{
  return fail(reader, line_of(reader), "too large: more than %zu bytes when read", reader->pool->limit_bytes);
}

static int fail_parser(struct reader *reader)
{
  const yaml_parser_t *parser = &reader->parser;
  if (parser->error == YAML_MEMORY_ERROR) return fail(reader, 1, "out of memory");
  if (parser->error == YAML_READER_ERROR) {
    size_t line = 1;
    for (size_t i = 0; i < parser->problem_offset && i < reader->text.size; i++) line += reader->text.data[i] == '\n';
    return fail(reader, line, "%s; the file must be UTF-8 text", parser->problem);
  }
  size_t at = parser->problem_mark.index, line = parser->problem_mark.line + 1;
  if (at < reader->text.size && reader->text.data[at] == '\t') return fail(reader, line, "a tab; indent with spaces");
  if (!parser->context) return fail(reader, line, "%s", parser->problem);
  return fail(reader, line, "%s %s (line %zu)", parser->problem, parser->context, parser->context_mark.line + 1);
}

static int next(struct reader *reader)
{
  yaml_event_delete(&reader->event);
  return yaml_parser_parse(&reader->parser, &reader->event) ? 0 : fail_parser(reader);
}

static bool is_one_of(const char *text, const char *const *words)
{
  for (; *words; words++) {
    if (strcmp(text, *words) == 0) return true;
  }
  return false;
}

static bool is_number(const char *text)
{
  if (*text == '-' || *text == '+') text++;
  size_t before = strspn(text, "0123456789"), after = 0;
  text += before;
  if (*text == '.') {
    after = strspn(text + 1, "0123456789");
    text += 1 + after;
  }
  if (before + after == 0) return false;
  if (*text == 'e' || *text == 'E') {
    text++;
    if (*text == '-' || *text == '+') text++;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0) return false;
    text += digits;
  }
  return *text == '\0';
}

static bool is_whole(const char *text, int *base, const char **digits)
{
  *base = 10;
  *digits = text;
  const char *allowed = "0123456789";
  if (strncmp(text, "0x", 2) == 0) {
    *base = 16;
    allowed = "0123456789abcdefABCDEF";
  } else if (strncmp(text, "0o", 2) == 0) {
    *base = 8;
    allowed = "01234567";
  }
  if (*base != 10)
    *digits = text += 2;
  else if (*text == '-' || *text == '+')
    text++;
  size_t count = strspn(text, allowed);
  return count > 0 && text[count] == '\0';
}

// The core schema of YAML 1.2. Whole numbers beyond 64 bits become numbers.
static struct value plain_value(const char *text)
{
  static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
  static const char *const trues[] = { "true", "True", "TRUE", NULL };
  static const char *const falses[] = { "false", "False", "FALSE", NULL };
  static const char *const infinities[] = { ".inf", ".Inf", ".INF", NULL };
  static const char *const not_numbers[] = { ".nan", ".NaN", ".NAN", NULL };
  if (is_one_of(text, nulls)) return value_nil();
  if (is_one_of(text, trues)) return value_bool(true);
  if (is_one_of(text, falses)) return value_bool(false);
  int base;
  const char *digits;
  if (is_whole(text, &base, &digits)) {
    errno = 0;
    long long whole = strtoll(digits, NULL, base);
    if (errno == 0) return value_integer(whole);
    return value_number(strtod(text[0] == '0' && base == 8 ? "inf" : text, NULL));
  }
  if (is_number(text)) return value_number(strtod(text, NULL));
  bool negative = *text == '-';
  if (is_one_of(text + (negative || *text == '+'), infinities)) {
    return value_number(negative ? -__builtin_inf() : __builtin_inf());
  }
  if (is_one_of(text, not_numbers)) return value_number(__builtin_nan(""));
  return value_text(text);
}

static int copy_text(struct reader *reader, struct view *out)
{
  const char *data = (const char *)reader->event.data.scalar.value;
  size_t size = reader->event.data.scalar.length;
  if (size > 0 && memchr(data, '\0', size)) return fail(reader, line_of(reader), "a text must not contain a NUL");
  char *copy = pool_copy(reader->pool, (struct view){ data, size });
  if (!copy) return no_memory(reader);
  *out = (struct view){ copy, size };
  return 0;
}

static int read_scalar(struct reader *reader, struct value *out)
{
  struct view text = { 0 };
  int code = copy_text(reader, &text);
  if (code != 0) return code;
  if (reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
    *out = plain_value(text.data);
  else
    *out = value_view(text);
  return 0;
}

static int read_alias(struct reader *reader, struct value *out, uint32_t depth, uint32_t *height)
{
  const char *name = (const char *)reader->event.data.alias.anchor;
  const struct anchor *anchor = map_get(&reader->anchors, view_of(name));
  if (!anchor) return fail(reader, line_of(reader), "*%.*s: no such anchor above", SHOWN_MAX, name);
  reader->nodes += anchor->nodes; // its own node is counted already; one more does not matter
  if (reader->nodes > NODES_MAX) {
    return fail(reader, line_of(reader), "*%.*s: more than %d values when written out", SHOWN_MAX, name, NODES_MAX);
  }
  if (depth - 1 + anchor->height > VALUE_DEPTH_MAX) {
    return fail(reader, line_of(reader), "*%.*s: nested deeper than %d levels", SHOWN_MAX, name, VALUE_DEPTH_MAX);
  }
  *height = anchor->height;
  if (!value_copy(reader->pool, out, &anchor->value)) return no_memory(reader);
  return 0;
}

static int read_node(struct reader *reader, struct value *out, uint32_t depth, uint32_t *height);

static int read_list(struct reader *reader, struct value *out, uint32_t depth, uint32_t *height)
{
  *out = value_list();
  for (;;) {
    int code = next(reader);
    if (code != 0) return code;
    if (reader->event.type == YAML_SEQUENCE_END_EVENT) return 0;
    struct value item = { 0 };
    uint32_t item_height = 0;
    code = read_node(reader, &item, depth + 1, &item_height);
    if (code != 0) return code;
    if (item_height + 1 > *height) *height = item_height + 1;
    if (!value_append(reader->pool, out, item)) return no_memory(reader);
  }
}

// A table while it is read: its members, and the keys for finding duplicates.
struct draft {
  struct buf members; // of struct member
  struct map keys;
  struct value merges; // a list of the tables behind "<<"
};

static int add_member(struct reader *reader, struct draft *draft, struct member member)
{
  static char present;
  buf_add(&draft->members, &member, sizeof(member));
  if (draft->members.failed || map_put(&draft->keys, member.key, &present) != 0) return no_memory(reader);
  return 0;
}

static int add_merge(struct reader *reader, struct draft *draft, struct value from)
{
  const struct value *tables = from.type == VALUE_LIST ? from.list.items : &from;
  size_t count = from.type == VALUE_LIST ? from.list.count : 1;
  for (size_t i = 0; i < count; i++) {
    if (tables[i].type != VALUE_TABLE) return fail(reader, from.line, "<< takes a table or a list of tables");
    if (!value_append(reader->pool, &draft->merges, tables[i])) return no_memory(reader);
  }
  return 0;
}

static int read_member(struct reader *reader, struct draft *draft, uint32_t depth, uint32_t *height)
{
  size_t line = line_of(reader);
  if (reader->event.type != YAML_SCALAR_EVENT) return fail(reader, line, "a key must be text");
  if (reader->event.data.scalar.tag) return fail(reader, line, "tags (!...) are not taken");
  if (reader->event.data.scalar.anchor) return fail(reader, line, "a key cannot have an anchor");
  if (++reader->nodes > NODES_MAX) return fail(reader, line, "more than %d values", NODES_MAX);
  bool plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  struct member member = { 0 };
  int code = copy_text(reader, &member.key);
  if (code != 0) return code;
  if (plain && plain_value(member.key.data).type != VALUE_TEXT) {
    return fail(reader, line, "the key %.*s is no text; put it in quotes", SHOWN_MAX,
                member.key.size > 0 ? member.key.data : "\"\"");
  }
  bool merge = plain && view_is(member.key, "<<");
  if (map_get(&draft->keys, member.key)) {
    return fail(reader, line, "the key \"%.*s\" is here twice", SHOWN_MAX, member.key.data);
  }
  uint32_t value_height = 0;
  code = next(reader);
  if (code == 0) code = read_node(reader, &member.value, depth + 1, &value_height);
  if (code != 0) return code;
  // A merged table's children move up by one level or two; as they are counted here they only seem deeper.
  if (value_height + 1 > *height) *height = value_height + 1;
  return merge ? add_merge(reader, draft, member.value) : add_member(reader, draft, member);
}

// What the table does not say itself comes from the merged ones, the first that has it.
static int merge(struct reader *reader, struct draft *draft)
{
  for (size_t i = 0; i < draft->merges.list.count; i++) {
    const struct value *from = &draft->merges.list.items[i];
    for (size_t j = 0; j < from->table.count; j++) {
      if (map_get(&draft->keys, from->table.members[j].key)) continue;
      int code = add_member(reader, draft, from->table.members[j]);
      if (code != 0) return code;
    }
  }
  return 0;
}

static int finish_table(struct reader *reader, struct draft *draft, struct value *out)
{
  size_t count = draft->members.size / sizeof(struct member);
  *out = value_table();
  if (count == 0) return 0;
  out->table.members = pool_alloc(reader->pool, draft->members.size);
  if (!out->table.members) return no_memory(reader);
  memcpy(out->table.members, draft->members.data, draft->members.size);
  out->table.count = count;
  return 0;
}

static int read_table(struct reader *reader, struct value *out, uint32_t depth, uint32_t *height)
{
  struct draft draft = { .merges = value_list() };
  int code;
  while ((code = next(reader)) == 0 && reader->event.type != YAML_MAPPING_END_EVENT) {
    code = read_member(reader, &draft, depth, height);
    if (code != 0) break;
  }
  if (code == 0) code = merge(reader, &draft);
  if (code == 0) code = finish_table(reader, &draft, out);
  buf_free(&draft.members);
  map_fini(&draft.keys);
  return code;
}

static int keep_anchor(struct reader *reader, const char *name, const struct anchor *found)
{
  struct anchor *anchor = map_get(&reader->anchors, view_of(name));
  if (!anchor) {
    if (reader->anchors.count == ANCHORS_MAX) return fail(reader, line_of(reader), "more than %d anchors", ANCHORS_MAX);
    anchor = pool_alloc(reader->pool, sizeof(*anchor));
    if (!anchor || map_put(&reader->anchors, view_of(name), anchor) != 0) return no_memory(reader);
  }
  *anchor = *found;
  return 0;
}

// Reads the node that begins with the current event.
static int read_node(struct reader *reader, struct value *out, uint32_t depth, uint32_t *height)
{
  const yaml_event_t *event = &reader->event;
  size_t line = line_of(reader);
  if (++reader->nodes > NODES_MAX) return fail(reader, line, "more than %d values", NODES_MAX);
  uint32_t nodes_before = reader->nodes;
  const yaml_char_t *tag = NULL, *anchor_name = NULL;
  if (event->type == YAML_SCALAR_EVENT) {
    tag = event->data.scalar.tag;
    anchor_name = event->data.scalar.anchor;
  } else if (event->type == YAML_SEQUENCE_START_EVENT) {
    tag = event->data.sequence_start.tag;
    anchor_name = event->data.sequence_start.anchor;
  } else if (event->type == YAML_MAPPING_START_EVENT) {
    tag = event->data.mapping_start.tag;
    anchor_name = event->data.mapping_start.anchor;
  }
  if (tag) return fail(reader, line, "tags (%.*s) are not taken", SHOWN_MAX, (const char *)tag);
  char *anchor = anchor_name ? mem_must_copy((const char *)anchor_name) : NULL;

  int code;
  *height = event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT;
  if (depth - 1 + *height > VALUE_DEPTH_MAX)
    code = fail(reader, line, "nested deeper than %d levels", VALUE_DEPTH_MAX);
  else if (event->type == YAML_SEQUENCE_START_EVENT)
    code = read_list(reader, out, depth, height);
  else if (event->type == YAML_MAPPING_START_EVENT)
    code = read_table(reader, out, depth, height);
  else if (event->type == YAML_ALIAS_EVENT)
    code = read_alias(reader, out, depth, height);
  else
    code = read_scalar(reader, out);
  out->line = (uint32_t)line;
  if (code == 0 && anchor) {
    code = keep_anchor(reader, anchor, &(struct anchor){ *out, reader->nodes - nodes_before + 1, *height });
  }
  mem_free(anchor);
  return code;
}

static int read_stream(struct reader *reader, struct value *out)
{
  uint32_t height = 0;
  int code = next(reader); // the stream's start
  if (code == 0) code = next(reader);
  if (code != 0) return code;
  if (reader->event.type == YAML_STREAM_END_EVENT) {
    *out = value_nil();
    return 0;
  }
  code = next(reader); // the root
  if (code == 0) code = read_node(reader, out, 1, &height);
  if (code == 0) code = next(reader); // the document's end
  if (code == 0) code = next(reader);
  if (code != 0 || reader->event.type == YAML_STREAM_END_EVENT) return code;
  return fail(reader, line_of(reader), "a second document; a file holds one");
}

int yaml_parse(struct pool *pool, struct view text, const char *file, struct value *out, struct status *status)
{
  *out = value_nil();
  if (text.size > TEXT_MAX) return status_set(status, NINES_ELIMIT, "%s:1: larger than %d bytes", file, TEXT_MAX);
  struct reader reader = { .pool = pool, .file = file, .text = text, .status = status };
  if (!yaml_parser_initialize(&reader.parser)) return status_set(status, NINES_ENOMEM, "%s:1: out of memory", file);
  yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(text.data ? text.data : ""), text.size);
  struct value root = value_nil();
  int code = read_stream(&reader, &root);
  yaml_event_delete(&reader.event);
  yaml_parser_delete(&reader.parser);
  map_fini(&reader.anchors);
  if (code == 0) *out = root;
  return code;
}
