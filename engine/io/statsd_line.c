// One StatsD or DogStatsD line to a struct, without copying.
//
//   NAME:VALUE[:VALUE...]|TYPE[|@RATE][|#TAGS][|c:ID][|T<unix s>][|e:ID][|card:LEVEL]
//
// Clients disagree about everything after the type, so sections come in any order and unknown ones are skipped. A set's
// member may hold ':' and '|': a line that ends in "|s" is read from the right, and one that makes no sense from the
// left is tried so. Tags may also stand at the name (NAME,a=b NAME#a=b NAME[a=b]); both kinds in one line are refused.
#include <math.h>
#include <string.h>

#include "decimal.h"
#include "statsd.h"

enum { EVENT_LENGTH_MAX = 65535, TIMESTAMP_DIGITS_MAX = 12 };
#define RATE_MIN 1e-9

const char *statsd_fault_name(enum statsd_fault fault)
{
  static const char *const name[STATSD_FAULTS] = { "ok",       "no_name",  "no_value",  "bad_value", "bad_type",
                                                   "bad_rate", "bad_tags", "bad_event", "too_long" };
  return (unsigned)fault < STATSD_FAULTS ? name[fault] : "unknown";
}

static struct view between(const char *from, const char *to)
{
  return (struct view){ from, (size_t)(to - from) };
}

static bool starts(struct view text, const char *prefix)
{
  size_t size = strlen(prefix);
  return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

bool statsd_next_value(struct view *values, double *value, bool *is_signed)
{
  if (values->size == 0) return false;
  const char *end = values->data + values->size;
  *is_signed = *values->data == '+' || *values->data == '-';
  const char *at = decimal_take(values->data, end, value);
  if (at == NULL || (at < end && *at != ':')) return false;
  *values = at < end ? between(at + 1, end) : between(end, end);
  return true;
}

static int64_t take_timestamp(struct view digits)
{
  int64_t seconds = 0;
  if (digits.size > TIMESTAMP_DIGITS_MAX) return 0;
  for (size_t i = 0; i < digits.size; i++) {
    if (digits.data[i] < '0' || digits.data[i] > '9') return 0;
    seconds = seconds * 10 + (digits.data[i] - '0');
  }
  return seconds;
}

static enum statsd_fault section(struct view text, struct statsd_line *out)
{
  if (text.size == 0) return STATSD_OK;
  const char *rest = text.data + 1, *end = text.data + text.size;
  switch (*text.data) {
  case '@':
    if (decimal_take(rest, end, &out->rate) != end || !(out->rate >= RATE_MIN && out->rate <= 1)) {
      return STATSD_BAD_RATE;
    }
    break;
  case '#':
    if (out->tags.data != NULL) return STATSD_BAD_TAGS;
    out->tags = between(rest, end);
    out->dogstatsd = true;
    if (out->tags.size > SERIES_TAGS_MAX) return STATSD_TOO_LONG;
    break;
  case 'T':
    out->timestamp_s = take_timestamp(between(rest, end));
    out->dogstatsd = true;
    break;
  case 'd': // of events and checks
    if (starts(text, "d:")) out->timestamp_s = take_timestamp(between(rest + 1, end));
    break;
  default:
    if (starts(text, "c:") || starts(text, "e:") || starts(text, "card:")) out->dogstatsd = true;
  }
  return STATSD_OK;
}

// `at` is at the '|' before the first section, or at the end. `last`: sections end before one that starts so.
static enum statsd_fault sections(const char *at, const char *end, const char *last, struct statsd_line *out)
{
  while (at < end) {
    at++;
    const char *stop = memchr(at, '|', (size_t)(end - at));
    if (stop == NULL) stop = end;
    if (last != NULL && starts(between(at, end), last)) break;
    enum statsd_fault fault = section(between(at, stop), out);
    if (fault != STATSD_OK) return fault;
    at = stop;
  }
  return STATSD_OK;
}

// Splits tags off the name; a ',' '#' or '[' that no '=' follows belongs to the name.
static enum statsd_fault head(struct view text, struct statsd_line *out)
{
  out->name = text;
  const char *end = text.data + text.size;
  if (memchr(text.data, '=', text.size) != NULL) {
    const char *at = text.data;
    while (at < end && *at != ',' && *at != '#' && *at != '[') at++;
    if (at < end && memchr(at, '=', (size_t)(end - at)) != NULL) {
      out->name = between(text.data, at);
      if (*at == '[' && end[-1] != ']') return STATSD_BAD_TAGS;
      out->tags = between(at + 1, *at == '[' ? end - 1 : end);
      out->tag_separator = '=';
    }
  }
  if (out->name.size == 0) return STATSD_NO_NAME;
  return out->name.size > SERIES_NAME_MAX || out->tags.size > SERIES_TAGS_MAX ? STATSD_TOO_LONG : STATSD_OK;
}

static bool read_type(struct view text, enum statsd_type *type)
{
  if (text.size == 2 && memcmp(text.data, "ms", 2) == 0) {
    *type = STATSD_TIMER;
    return true;
  }
  if (text.size != 1) return false;
  switch (*text.data) {
  case 'c':
    *type = STATSD_COUNTER;
    return true;
  case 'g':
    *type = STATSD_GAUGE;
    return true;
  case 'h':
  case 'd':
    *type = STATSD_TIMER;
    return true;
  case 's':
    *type = STATSD_SET;
    return true;
  default:
    return false;
  }
}

static enum statsd_fault check_values(struct statsd_line *out)
{
  if (out->values.size == 0) return STATSD_NO_VALUE;
  if (out->type == STATSD_SET) return STATSD_OK;
  struct view rest = out->values;
  bool is_signed;
  double next;
  if (!statsd_next_value(&rest, &out->value, &is_signed)) return STATSD_BAD_VALUE;
  out->packed = rest.size > 0;
  while (rest.size > 0)
    if (!statsd_next_value(&rest, &next, &is_signed)) return STATSD_BAD_VALUE;
  return out->values.data[out->values.size - 1] == ':' ? STATSD_BAD_VALUE : STATSD_OK;
}

// From the left: `value` is the place after the first ':'.
static enum statsd_fault body(const char *value, const char *end, struct statsd_line *out)
{
  const char *pipe = memchr(value, '|', (size_t)(end - value));
  if (pipe == NULL) return STATSD_BAD_TYPE;
  const char *type_end = memchr(pipe + 1, '|', (size_t)(end - pipe - 1));
  if (type_end == NULL) type_end = end;
  if (!read_type(between(pipe + 1, type_end), &out->type)) return STATSD_BAD_TYPE;
  out->values = between(value, pipe);
  enum statsd_fault fault = check_values(out);
  return fault != STATSD_OK ? fault : sections(type_end, end, NULL, out);
}

// The '|' of the "|s" that ends a set's member: the last one before the end or before a section; NULL: none.
static const char *set_end(const char *value, const char *end)
{
  for (const char *at = end - 2; at >= value; at--) {
    if (at[0] != '|' || at[1] != 's') continue;
    struct view rest = between(at + 2, end);
    if (rest.size == 0 || starts(rest, "|@") || starts(rest, "|#") || starts(rest, "|T") || starts(rest, "|c:") ||
        starts(rest, "|e:") || starts(rest, "|card:")) {
      return at;
    }
  }
  return NULL;
}

static enum statsd_fault metric(struct view line, struct statsd_line *out)
{
  const char *end = line.data + line.size;
  const char *colon = line.size > 0 ? memchr(line.data, ':', line.size) : NULL;
  if (colon == NULL) return line.size > 0 && *line.data != '|' ? STATSD_NO_VALUE : STATSD_NO_NAME;
  enum statsd_fault fault = head(between(line.data, colon), out);
  if (fault != STATSD_OK) return fault;
  struct statsd_line start = *out;
  bool set = end - colon > 2 && end[-1] == 's' && end[-2] == '|';
  if (!set) {
    fault = body(colon + 1, end, out);
    if (fault != STATSD_BAD_TYPE && fault != STATSD_BAD_VALUE) return fault;
  }
  const char *member_end = set_end(colon + 1, end);
  if (member_end == NULL) return fault;
  *out = start;
  out->type = STATSD_SET;
  out->values = between(colon + 1, member_end);
  if (out->values.size == 0) return STATSD_NO_VALUE;
  return sections(member_end + 2, end, NULL, out);
}

static const char *take_length(const char *at, const char *end, char stop, size_t *out)
{
  *out = 0;
  const char *start = at;
  for (; at < end && *at >= '0' && *at <= '9'; at++) {
    *out = *out * 10 + (size_t)(*at - '0');
    if (*out > EVENT_LENGTH_MAX) return NULL;
  }
  return at > start && at < end && *at == stop ? at + 1 : NULL;
}

static const char *skip_bytes(const char *at, const char *end, size_t count)
{
  return (size_t)(end - at) >= count ? at + count : NULL;
}

static const char *skip_utf16_units(const char *at, const char *end, size_t count)
{
  while (count > 0 && at < end) {
    unsigned char lead = (unsigned char)*at;
    size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    size_t units = size == 4 ? 2 : 1;
    if ((size_t)(end - at) < size || units > count) return NULL;
    at += size;
    count -= units;
  }
  return count == 0 ? at : NULL;
}

// _e{TITLE_LENGTH,TEXT_LENGTH}:TITLE|TEXT|sections. datadog-go counts bytes, hot-shots UTF-16 units.
static enum statsd_fault event(struct view line, struct statsd_line *out)
{
  const char *end = line.data + line.size;
  size_t title_size, text_size;
  const char *at = take_length(line.data + 3, end, ',', &title_size);
  if (at != NULL) at = take_length(at, end, '}', &text_size);
  if (at == NULL || at == end || *at != ':' || title_size == 0) return STATSD_BAD_EVENT;
  at++;
  for (int utf16 = 0; utf16 < 2; utf16++) {
    const char *(*skip)(const char *, const char *, size_t) = utf16 ? skip_utf16_units : skip_bytes;
    const char *title_end = skip(at, end, title_size);
    if (title_end == NULL || title_end == end || *title_end != '|') continue;
    const char *text_end = skip(title_end + 1, end, text_size);
    if (text_end == NULL || (text_end < end && *text_end != '|')) continue;
    out->type = STATSD_EVENT;
    out->dogstatsd = true;
    out->name = between(at, title_end);
    out->values = between(title_end + 1, text_end);
    return sections(text_end, end, NULL, out);
  }
  return STATSD_BAD_EVENT;
}

// _sc|NAME|STATUS|sections|m:MESSAGE; the message is last and may hold anything.
static enum statsd_fault service_check(struct view line, struct statsd_line *out)
{
  const char *end = line.data + line.size, *name = line.data + 4;
  const char *pipe = memchr(name, '|', (size_t)(end - name));
  if (pipe == name || name == end) return STATSD_NO_NAME;
  if (pipe == NULL || pipe + 1 == end) return STATSD_NO_VALUE;
  const char *status = pipe + 1;
  if (*status < '0' || *status > '3' || (status + 1 < end && status[1] != '|')) return STATSD_BAD_VALUE;
  out->type = STATSD_CHECK;
  out->dogstatsd = true;
  out->name = between(name, pipe);
  out->values = between(status, status + 1);
  out->value = *status - '0';
  return sections(status + 1, end, "m:", out);
}

enum statsd_fault statsd_parse(struct view line, struct statsd_line *out)
{
  *out = (struct statsd_line){ .rate = 1, .unit_s = 0.001, .tag_separator = ':' };
  if (line.size > 3 && line.data[0] == '_') {
    if (starts(line, "_e{")) return event(line, out);
    if (starts(line, "_sc|")) return service_check(line, out);
  }
  return metric(line, out);
}
