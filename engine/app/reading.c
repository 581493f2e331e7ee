// The schema decodes; this file adds what is nines.yaml's own: the full path of a key in every sentence, keys that this
// release does not have yet, commands, URLs that may hold a secret.

#include "reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

enum { NAME_BYTES_MAX = 100, ARGUMENTS_MAX = 100, URL_BYTES_MAX = 2000, SHOWN_MAX = 40 };

int reading_fail(const struct reading *reading, uint32_t line, const char *path, const char *format, ...)
{
  char sentence[STATUS_TEXT_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  return status_set(reading->status, NINES_EINVAL, "%s:%u: %s%s%s", reading->file, line ? line : 1, path,
                    path[0] ? ": " : "", sentence);
}

int reading_no_memory(const struct reading *reading)
{
  return status_set(reading->status, NINES_ENOMEM, "%s: out of memory", reading->file);
}

const char *reading_path(const struct reading *reading, const char *path, struct view key)
{
  struct buf joined = { 0 };
  size_t size = key.size < NAME_BYTES_MAX ? key.size : NAME_BYTES_MAX;
  if (path[0]) buf_printf(&joined, "%s%s", path, size && key.data[0] == '[' ? "" : ".");
  buf_add(&joined, key.data, size);
  const char *copy = joined.failed ? NULL : pool_copy(reading->pool, buf_view(&joined));
  buf_free(&joined);
  return copy;
}

static bool is_table(const struct value *table)
{
  return !table || table->type == VALUE_NIL || table->type == VALUE_TABLE;
}

static int refuse_later(const struct reading *reading, const char *path, const struct value *table,
                        const char *const *later)
{
  for (; later && *later; later++) {
    const struct value *value = value_get(table, *later);
    if (value)
      return reading_fail(reading, value->line, path,
                          "\"%s\" is for a later release: this one does not have it yet; "
                          "remove the key",
                          *later);
  }
  return 0;
}

// The schema says "line 3: key: sentence".
static int place(const struct reading *reading, const char *path, int code, const struct status *inner)
{
  const char *sentence = inner->text;
  unsigned long line = 0;
  if (code == NINES_ENOMEM) return reading_no_memory(reading);
  if (strncmp(sentence, "line ", 5) == 0) {
    char *end;
    line = strtoul(sentence + 5, &end, 10);
    sentence = strncmp(end, ": ", 2) == 0 ? end + 2 : sentence;
  }
  return status_set(reading->status, code, "%s:%lu: %s%s%s", reading->file, line ? line : 1, path, path[0] ? "." : "",
                    sentence);
}

int reading_table(const struct reading *reading, const char *path, const struct value *table,
                  const struct schema_field *fields, const char *const *later, void *target)
{
  if (!is_table(table))
    return reading_fail(reading, table->line, path, "%s is not a table of settings", value_type_name(table));
  int code = table ? refuse_later(reading, path, table, later) : 0;
  if (code < 0) return code;
  if (value_get(table, "")) return reading_fail(reading, table->line, path, "a key is empty");
  struct status inner = { 0 };
  code = schema_decode(fields, table, target, "", reading->pool, &inner);
  return code < 0 ? place(reading, path, code, &inner) : 0;
}

int reading_names(const struct reading *reading, const char *path, const struct value *table, size_t max)
{
  if (!is_table(table))
    return reading_fail(reading, table->line, path, "%s is not a table of names with settings", value_type_name(table));
  size_t count = table && table->type == VALUE_TABLE ? table->table.count : 0;
  if (count > max) return reading_fail(reading, table->line, path, "%zu of them; at most %zu", count, max);
  for (size_t i = 0; i < count; i++) {
    const struct member *member = &table->table.members[i];
    if (member->key.size == 0 || member->key.size > NAME_BYTES_MAX)
      return reading_fail(reading, member->value.line, path, "a name has %zu bytes; it must have 1 to %d",
                          member->key.size, NAME_BYTES_MAX);
  }
  return 0;
}

const char *const *reading_words(const struct reading *reading, struct view_list words)
{
  const char **out = pool_alloc(reading->pool, (words.count + 1) * sizeof *out);
  for (size_t i = 0; out && i < words.count; i++) out[i] = words.items[i].data; // with a NUL at their end
  return out;
}

// --- commands

static int split(const struct reading *reading, const char *path, const struct value *value, struct value *list)
{
  static const char shell[] = "'\"\\`$&|;<>(){}*?[]~#\n";
  const char *at = value->text.data;
  for (size_t i = 0; i < value->text.size; i++) {
    if (strchr(shell, at[i]))
      return reading_fail(reading, value->line, path,
                          "no shell runs this text, so %c has no meaning in it; write a list: [\"program\", "
                          "\"argument\"], or [sh, -c, \"...\"]",
                          at[i] == '\n' ? ' ' : at[i]);
  }
  *list = value_list();
  for (size_t i = 0; i < value->text.size;) {
    size_t begin = i;
    while (i < value->text.size && at[i] != ' ' && at[i] != '\t') i++;
    if (i > begin && !value_append(reading->pool, list, value_view((struct view){ at + begin, i - begin })))
      return reading_no_memory(reading);
    if (i == begin) i++;
  }
  return 0;
}

int reading_argv(const struct reading *reading, const char *path, const struct value *value, const char *const **out)
{
  struct value list = *value;
  int code = value->type == VALUE_TEXT ? split(reading, path, value, &list) : 0;
  if (code < 0) return code;
  if (list.type != VALUE_LIST)
    return reading_fail(reading, value->line, path, "%s is not a command; write a list: [\"./deploy.sh\"]",
                        value_type_name(value));
  if (list.list.count == 0) return reading_fail(reading, value->line, path, "the command is empty");
  if (list.list.count > ARGUMENTS_MAX)
    return reading_fail(reading, value->line, path, "%zu words; a command has at most %d", list.list.count,
                        ARGUMENTS_MAX);
  const char **argv = pool_alloc(reading->pool, (list.list.count + 1) * sizeof *argv);
  if (!argv) return reading_no_memory(reading);
  for (size_t i = 0; i < list.list.count; i++) {
    const struct value *word = &list.list.items[i];
    if (word->type != VALUE_TEXT)
      return reading_fail(reading, word->line, path, "%s is not a word of a command; put it in quotes",
                          value_type_name(word));
    if (i == 0 && word->text.size == 0) return reading_fail(reading, word->line, path, "the program has no name");
    argv[i] = pool_copy(reading->pool, word->text);
    if (!argv[i]) return reading_no_memory(reading);
  }
  *out = argv;
  return 0;
}

// --- URLs

static bool is_url(const char *url)
{
  size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
  if (scheme == 0 || strchr("/?#:@", url[scheme])) return false; // strchr finds the NUL, too
  for (const char *at = url; *at; at++)
    if ((unsigned char)*at <= ' ' || *at == 127) return false;
  return strlen(url) <= URL_BYTES_MAX;
}

// A URL may hold a token: only a reference, or what comes before its first slash or colon, is shown.
static int fail_url(const struct reading *reading, uint32_t line, const char *path, const char *text)
{
  bool reference = strncmp(text, "${", 2) == 0 || strncmp(text, "file:", 5) == 0;
  size_t size = reference ? strlen(text) : strcspn(text, ":/@?");
  return reading_fail(reading, line, path,
                      "\"%.*s%s\" is no URL; it must begin with http:// or https:// and have a "
                      "host, no spaces and at most %d bytes",
                      (int)(size < SHOWN_MAX ? size : SHOWN_MAX), text, text[size] || size > SHOWN_MAX ? "..." : "",
                      URL_BYTES_MAX);
}

int reading_url(const struct reading *reading, uint32_t line, const char *path, const char *text, const char **out)
{
  struct status inner = { 0 };
  const char *url;
  int code = secret_expand(reading->pool, text ? text : "", reading->dir, &url, &inner);
  if (code < 0) return reading_fail(reading, line, path, "%s", inner.text);
  if (!is_url(url)) return fail_url(reading, line, path, text ? text : "");
  *out = url;
  return 0;
}
