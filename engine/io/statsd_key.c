// Raw tags to canonical labels: names cleaned, sorted, the last of equals kept, values quoted.
//
// This runs once for each distinct raw key (statsd_cache.h remembers), so it may take its microsecond. Sorting is by
// insertion: there are seldom more than ten tags.
#include "statsd_key.h"

#include <string.h>
#include <strings.h>

#include "utf8.h"

enum { TAGS_MAX = 64 };

struct tag {
  struct view name, value;
};

// Takes the next tag that has a name; false at the end.
static bool next_tag(struct view *rest, char separator, struct tag *out)
{
  while (rest->size > 0) {
    const char *comma = memchr(rest->data, ',', rest->size);
    struct view tag = { rest->data, comma != NULL ? (size_t)(comma - rest->data) : rest->size };
    size_t used = comma != NULL ? tag.size + 1 : tag.size;
    *rest = (struct view){ rest->data + used, rest->size - used };
    const char *split = tag.size > 0 ? memchr(tag.data, separator, tag.size) : NULL;
    out->name = (struct view){ tag.data, split != NULL ? (size_t)(split - tag.data) : tag.size };
    out->value = split != NULL ? (struct view){ split + 1, tag.size - out->name.size - 1 } : view_of("true");
    if (out->name.size > 0) return true;
  }
  return false;
}

// Byte `i` of a tag's name as it will be in the label: [a-zA-Z_][a-zA-Z0-9_]*.
static char label_char(struct view name, size_t i)
{
  char c = name.data[i];
  bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || (i > 0 && c >= '0' && c <= '9') ? c : '_';
}

static int compare_labels(struct view a, struct view b)
{
  size_t size = a.size < b.size ? a.size : b.size;
  for (size_t i = 0; i < size; i++) {
    int difference = label_char(a, i) - label_char(b, i);
    if (difference != 0) return difference;
  }
  return a.size < b.size ? -1 : a.size > b.size;
}

static bool put(struct statsd_key *key, char c)
{
  if (key->size == sizeof key->tags) return false;
  key->tags[key->size++] = c;
  return true;
}

static bool put_tag(struct statsd_key *key, const struct tag *tag)
{
  bool fits = key->size == 0 || put(key, ',');
  for (size_t i = 0; i < tag->name.size; i++) fits = fits && put(key, label_char(tag->name, i));
  fits = fits && put(key, '=') && put(key, '"');
  for (size_t i = 0; i < tag->value.size; i++) {
    char c = tag->value.data[i];
    if (c == '"' || c == '\\') fits = fits && put(key, '\\');
    fits = fits && put(key, c);
  }
  return fits && put(key, '"');
}

enum statsd_fault statsd_key_make(const struct statsd_line *line, struct statsd_key *out)
{
  struct tag tags[TAGS_MAX], tag;
  size_t count = 0;
  struct view rest = line->tags;
  out->size = 0;
  if (!utf8_printable(line->name)) return STATSD_NO_NAME;
  if (!utf8_printable(line->tags)) return STATSD_BAD_TAGS;
  while (next_tag(&rest, line->tag_separator, &tag)) {
    size_t at = count;
    int order = -1;
    while (at > 0 && (order = compare_labels(tags[at - 1].name, tag.name)) > 0) at--;
    if (at > 0 && order == 0) {
      tags[at - 1] = tag;
      continue;
    }
    if (count == TAGS_MAX) return STATSD_TOO_LONG;
    memmove(&tags[at + 1], &tags[at], (count - at) * sizeof *tags);
    tags[at] = tag;
    count++;
  }
  for (size_t i = 0; i < count; i++)
    if (!put_tag(out, &tags[i])) return STATSD_TOO_LONG;
  return STATSD_OK;
}

static bool is_word(struct view text, const char *const *words)
{
  for (; *words != NULL; words++)
    if (strlen(*words) == text.size && strncasecmp(*words, text.data, text.size) == 0) return true;
  return false;
}

static bool is_5xx(struct view value)
{
  if (value.size != 3 || value.data[0] != '5') return false;
  bool digits = value.data[1] >= '0' && value.data[1] <= '9' && value.data[2] >= '0' && value.data[2] <= '9';
  return digits || strncasecmp(value.data, "5xx", 3) == 0;
}

bool statsd_tags_failed(const struct statsd_line *line)
{
  static const char *const verdict[] = { "ok", "success", NULL }, *const error[] = { "error", NULL };
  static const char *const code[] = { "status", "code", "http.status_code", NULL };
  static const char *const outcome[] = { "outcome", "result", "status", NULL };
  static const char *const no[] = { "false", NULL }, *const yes[] = { "true", NULL };
  static const char *const failure[] = { "failure", "failed", "error", "fail", NULL };
  struct view rest = line->tags;
  struct tag tag;
  while (next_tag(&rest, line->tag_separator, &tag)) {
    if (is_word(tag.name, verdict) && is_word(tag.value, no)) return true;
    if (is_word(tag.name, error) && is_word(tag.value, yes)) return true;
    if (is_word(tag.name, code) && is_5xx(tag.value)) return true;
    if (is_word(tag.name, outcome) && is_word(tag.value, failure)) return true;
  }
  return false;
}
