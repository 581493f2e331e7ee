// A table says which bytes end the quick walk through a text: quote, backslash, control characters, and bytes beyond
// ASCII, whose encoding is then checked once for the whole text.
#include "json_scan.h"

#include <string.h>

#include "decimal.h"
#include "utf8.h"

static bool fail(struct json_scan *scan, const char *error)
{
  if (scan->error == NULL) scan->error = error;
  return false;
}

void json_scan_space(struct json_scan *scan)
{
  while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
    scan->at++;
}

bool json_scan_byte(struct json_scan *scan, char byte)
{
  json_scan_space(scan);
  if (scan->at == scan->end || *scan->at != byte) return false;
  scan->at++;
  return true;
}

static int hex_digit(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Four hex digits at `at`; -1: they are none.
static int32_t code_unit(const char *at, const char *end)
{
  int32_t unit = 0;
  if (end - at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

static char *put_utf8(char *to, int32_t code)
{
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

// After "\u": one code unit, or a pair. The result is never longer than what was read.
static char *unescape_unicode(struct json_scan *scan, char *to)
{
  int32_t code = code_unit(scan->at, scan->end);
  if (code < 0) return NULL;
  scan->at += 4;
  if (code >= 0xd800 && code <= 0xdbff) {
    if (scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u') return NULL;
    int32_t low = code_unit(scan->at + 2, scan->end);
    if (low < 0xdc00 || low > 0xdfff) return NULL;
    scan->at += 6;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code == 0 || (code >= 0xdc00 && code <= 0xdfff)) {
    return NULL;
  }
  return put_utf8(to, code);
}

// After the backslash.
static char *unescape(struct json_scan *scan, char *to)
{
  static const char from[] = "\"\\/bfnrt", result[] = "\"\\/\b\f\n\r\t";
  if (scan->at == scan->end) return NULL;
  char c = *scan->at++;
  if (c == 'u') return unescape_unicode(scan, to);
  const char *found = c != '\0' ? strchr(from, c) : NULL;
  if (found == NULL) return NULL;
  *to = result[found - from];
  return to + 1;
}

bool json_scan_text(struct json_scan *scan, struct view *out)
{
  static const bool stops[256] = { [0 ... 0x1f] = true, ['"'] = true, ['\\'] = true, [0x80 ... 0xff] = true };
  if (scan->at == scan->end || *scan->at != '"') return fail(scan, "expected a text in quotes");
  char *start = ++scan->at;
  char *to = start;
  bool beyond_ascii = false;
  for (;;) {
    char *run = scan->at;
    while (scan->at < scan->end && !stops[(unsigned char)*scan->at]) scan->at++;
    if (to != run) memmove(to, run, (size_t)(scan->at - run));
    to += scan->at - run;
    if (scan->at == scan->end) return fail(scan, "a text without its closing quote");
    unsigned char c = (unsigned char)*scan->at;
    if (c < 0x20) return fail(scan, "a control character in a text");
    scan->at++;
    if (c == '"') break;
    if (c == '\\') {
      to = unescape(scan, to);
      if (to == NULL) return fail(scan, "a bad escape in a text");
    } else {
      beyond_ascii = true;
      *to++ = (char)c;
    }
  }
  *out = (struct view){ start, (size_t)(to - start) };
  return !beyond_ascii || utf8_valid(*out) || fail(scan, "a text that is not UTF-8");
}

bool json_scan_number(struct json_scan *scan, double *out)
{
  const char *at = scan->at, *end = scan->end;
  if (at < end && *at == '-') at++;
  if (at == end || *at < '0' || *at > '9') return fail(scan, "expected a number");
  if (*at == '0' && at + 1 < end && at[1] >= '0' && at[1] <= '9') return fail(scan, "a number with a leading zero");
  const char *stop = decimal_take(scan->at, end, out);
  if (stop == NULL) return fail(scan, "a number out of range");
  while (at < stop && *at != '.') at++;
  if (at < stop && (at + 1 == end || at[1] < '0' || at[1] > '9')) return fail(scan, "a number without a digit after .");
  if (stop < end && (*stop | 0x20) == 'e') return fail(scan, "a number with a bad exponent");
  scan->at += stop - scan->at;
  return true;
}

bool json_scan_word(struct json_scan *scan, const char *word)
{
  size_t size = strlen(word);
  if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0) return fail(scan, "expected a value");
  scan->at += size;
  return true;
}

// After the opening bracket; `object` tells {} from [].
static bool skip_items(struct json_scan *scan, int depth, bool object)
{
  struct view key;
  const char close = object ? '}' : ']';
  if (json_scan_byte(scan, close)) return true;
  do {
    json_scan_space(scan);
    if (object && !json_scan_text(scan, &key)) return false;
    if (object && !json_scan_byte(scan, ':')) return fail(scan, "expected ':'");
    if (!json_scan_skip(scan, depth - 1)) return false;
  } while (json_scan_byte(scan, ','));
  return json_scan_byte(scan, close) || fail(scan, object ? "expected ',' or '}'" : "expected ',' or ']'");
}

bool json_scan_skip(struct json_scan *scan, int depth)
{
  struct view text;
  double number;
  json_scan_space(scan);
  if (scan->at == scan->end) return fail(scan, "expected a value");
  switch (*scan->at) {
  case '"':
    return json_scan_text(scan, &text);
  case 't':
    return json_scan_word(scan, "true");
  case 'f':
    return json_scan_word(scan, "false");
  case 'n':
    return json_scan_word(scan, "null");
  case '{':
  case '[':
    if (depth <= 0) return fail(scan, "nested too deeply");
    return skip_items(scan, depth, *scan->at++ == '{');
  default:
    if (*scan->at != '-' && (*scan->at < '0' || *scan->at > '9')) return fail(scan, "expected a value");
    return json_scan_number(scan, &number);
  }
}
