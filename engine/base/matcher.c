// The regular expressions are libc's: compiled once, anchored by a group around the whole.

#include "matcher.h"

#include <regex.h>
#include <string.h>

#include "mem.h"

struct matcher {
  char *name, *value;
  bool is_regex, is_equal;
  regex_t regex;
};

int matcher_make(struct matcher **out, struct view name, struct view value, bool is_regex, bool is_equal,
                 struct status *status)
{
  *out = NULL;
  if (!name.size) return status_set(status, NINES_EINVAL, "a matcher has no label name");
  if (is_regex && value.size > MATCHER_REGEX_MAX)
    return status_set(status, NINES_EINVAL, "a regular expression has at most %d bytes", MATCHER_REGEX_MAX);
  struct matcher *matcher = mem_must(sizeof *matcher);
  matcher->name = mem_must_copy_n(name.data, name.size);
  matcher->value = mem_must_copy_n(value.size ? value.data : "", value.size);
  matcher->is_equal = is_equal;
  char anchored[MATCHER_REGEX_MAX + 8], why[100];
  if (is_regex) {
    size_t size = strlen(matcher->value);
    memcpy(anchored, "^(", 2);
    memcpy(anchored + 2, matcher->value, size);
    memcpy(anchored + 2 + size, ")$", 3);
    int code = regcomp(&matcher->regex, size ? anchored : "^$", REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
      regerror(code, &matcher->regex, why, sizeof why);
      matcher_free(matcher);
      return status_set(status, NINES_EINVAL, "\"%.*s\" is not a regular expression (POSIX extended): %s",
                        (int)value.size, value.data, why);
    }
    matcher->is_regex = true;
  }
  *out = matcher;
  return 0;
}

static struct view unquoted(struct view text)
{
  while (text.size && text.data[0] == ' ') text.data++, text.size--;
  while (text.size && text.data[text.size - 1] == ' ') text.size--;
  if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
    return (struct view){ text.data + 1, text.size - 2 };
  return text;
}

int matcher_parse(struct matcher **out, struct view text, struct status *status)
{
  size_t at = 0;
  *out = NULL;
  while (at < text.size && text.data[at] != '=' && text.data[at] != '!') at++;
  bool equal = at < text.size && text.data[at] == '=';
  char second = at + 1 < text.size ? text.data[at + 1] : '\0';
  bool regex = second == '~';
  if (at >= text.size || (!equal && second != '=' && second != '~'))
    return status_set(status, NINES_EINVAL, "\"%.*s\" is not a matcher; write name=\"value\", !=, =~ or !~",
                      text.size > 100 ? 100 : (int)text.size, text.data);
  size_t from = at + (equal && !regex ? 1 : 2);
  return matcher_make(out, unquoted((struct view){ text.data, at }),
                      unquoted((struct view){ text.data + from, text.size - from }), regex, equal, status);
}

void matcher_free(struct matcher *matcher)
{
  if (!matcher) return;
  if (matcher->is_regex) regfree(&matcher->regex);
  mem_free(matcher->name);
  mem_free(matcher->value);
  mem_free(matcher);
}

static bool is_match(const struct matcher *matcher, struct view value)
{
  if (!matcher->is_regex) return view_is(value, matcher->value);
  char *text = mem_must_copy_n(value.size ? value.data : "", value.size); // a view does not end with a NUL
  bool match = regexec(&matcher->regex, text, 0, NULL, 0) == 0;
  mem_free(text);
  return match;
}

bool matcher_matches(const struct matcher *matcher, struct view value)
{
  return is_match(matcher, value) == matcher->is_equal;
}

const char *matcher_name(const struct matcher *matcher)
{
  return matcher->name;
}

const char *matcher_value(const struct matcher *matcher)
{
  return matcher->value;
}

bool matcher_is_regex(const struct matcher *matcher)
{
  return matcher->is_regex;
}

bool matcher_is_equal(const struct matcher *matcher)
{
  return matcher->is_equal;
}
