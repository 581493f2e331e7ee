// Durations in integers throughout: a fraction is scaled by its power of ten and rounded once to the nanosecond, so
// that "0.1s" is 100 ms exactly and what duration_format writes reads back as the same number.
//
// Weeks are read but not written: people think of "30d", not of "4w2d".
#include "duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
  const char *name;
  int64_t ns;
};

static const struct unit units[] = {
  { "ns", 1 },
  { "us", NS_PER_US },
  { "ms", NS_PER_MS },
  { "s", NS_PER_S },
  { "sec", NS_PER_S },
  { "secs", NS_PER_S },
  { "second", NS_PER_S },
  { "seconds", NS_PER_S },
  { "m", NS_PER_MIN },
  { "min", NS_PER_MIN },
  { "mins", NS_PER_MIN },
  { "minute", NS_PER_MIN },
  { "minutes", NS_PER_MIN },
  { "h", NS_PER_H },
  { "hour", NS_PER_H },
  { "hours", NS_PER_H },
  { "d", NS_PER_DAY },
  { "day", NS_PER_DAY },
  { "days", NS_PER_DAY },
  { "w", 7 * NS_PER_DAY },
  { "week", 7 * NS_PER_DAY },
  { "weeks", 7 * NS_PER_DAY },
};

// What duration_format and duration_brief write, the smallest first.
static const struct unit written[] = {
  { "ns", 1 },         { "us", NS_PER_US }, { "ms", NS_PER_MS }, { "s", NS_PER_S },
  { "m", NS_PER_MIN }, { "h", NS_PER_H },   { "d", NS_PER_DAY },
};
enum { WRITTEN = sizeof written / sizeof written[0], WRITTEN_S = 3, FRACTION_DIGITS = 18, SHOWN_MAX = 40 };

static bool is_digit(char byte)
{
  return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static int shown(struct view text)
{
  return text.size < SHOWN_MAX ? (int)text.size : SHOWN_MAX;
}

static int bad(struct status *status, struct view text, const char *why)
{
  return status_set(status, NINES_EINVAL, "\"%.*s\" is not a duration: %s", shown(text), text.data, why);
}

static const struct unit *take_unit(struct view *rest)
{
  size_t length = 0;
  while (length < rest->size && is_letter(rest->data[length])) length++;
  struct view name;
  if (!view_take(rest, length, &name)) return NULL;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (view_is(name, units[i].name)) return &units[i];
  }
  return NULL;
}

// NUMBER as whole + fraction / scale; false when there is none. `whole` saturates: the limit is checked later.
static bool take_number(struct view *rest, int64_t *whole, int64_t *fraction, int64_t *scale)
{
  size_t at = 0;
  *whole = *fraction = 0;
  *scale = 1;
  for (; at < rest->size && is_digit(rest->data[at]); at++) {
    *whole = *whole > DURATION_MAX_NS / 10 ? DURATION_MAX_NS + 1 : *whole * 10 + (rest->data[at] - '0');
  }
  if (at == 0) return false;
  if (at < rest->size && rest->data[at] == '.') {
    size_t first = ++at;
    for (; at < rest->size && is_digit(rest->data[at]); at++) {
      if (at - first >= FRACTION_DIGITS) continue; // far below a nanosecond
      *fraction = *fraction * 10 + (rest->data[at] - '0');
      *scale *= 10;
    }
    if (at == first) return false;
  }
  struct view number;
  return view_take(rest, at, &number);
}

int duration_parse(struct view text, int64_t *out_ns, struct status *status)
{
  struct view rest = text;
  __int128 total = 0;
  if (rest.size == 0) return bad(status, text, "it is empty; write \"30s\"");
  while (rest.size > 0) {
    int64_t whole, fraction, scale;
    if (rest.data[0] == '-') return bad(status, text, "it has a sign; durations are never negative");
    if (!take_number(&rest, &whole, &fraction, &scale)) {
      return bad(status, text, "a number with a unit was expected; write \"30s\" or \"1h30m\"");
    }
    if (rest.size == 0) return bad(status, text, "the unit is missing; write \"30s\", \"5m\" or \"250ms\"");
    if (rest.data[0] == ' ') return bad(status, text, "a space before the unit; write \"30s\"");
    const struct unit *unit = take_unit(&rest);
    if (!unit) return bad(status, text, "unknown unit; the units are ns us ms s m h d w");
    total += (__int128)whole * unit->ns + ((__int128)fraction * unit->ns + scale / 2) / scale;
    if (total > DURATION_MAX_NS) return bad(status, text, "it is longer than 100 years");
    struct view space;
    if (rest.size > 1 && rest.data[0] == ' ') view_take(&rest, 1, &space);
  }
  *out_ns = (int64_t)total;
  return 0;
}

struct writer {
  char *out;
  size_t size;
};

__attribute__((format(printf, 2, 3))) static void write_text(struct writer *writer, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(writer->out + writer->size, DURATION_TEXT_MAX - writer->size, format, arguments);
  va_end(arguments);
  if (length > 0) writer->size += (size_t)length;
}

// `scaled` / 10^digits without the zeros at the end, then the unit.
static void write_decimal(struct writer *writer, uint64_t scaled, int digits, const char *unit)
{
  uint64_t power = 1;
  for (; digits > 0 && scaled % 10 == 0; digits--) scaled /= 10;
  for (int i = 0; i < digits; i++) power *= 10;
  write_text(writer, "%llu", (unsigned long long)(scaled / power));
  if (digits > 0) write_text(writer, ".%0*llu", digits, (unsigned long long)(scaled % power));
  write_text(writer, "%s", unit);
}

static uint64_t magnitude(int64_t ns)
{
  return ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
}

char *duration_format(int64_t ns, char out[static DURATION_TEXT_MAX])
{
  struct writer writer = { out, 0 };
  uint64_t rest = magnitude(ns);
  if (ns < 0) write_text(&writer, "-");
  if (ns == 0) write_text(&writer, "0s");
  for (int i = WRITTEN - 1; i > WRITTEN_S; i--) {
    uint64_t count = rest / (uint64_t)written[i].ns;
    if (count > 0) write_text(&writer, "%llu%s", (unsigned long long)count, written[i].name);
    rest %= (uint64_t)written[i].ns;
  }
  for (int i = WRITTEN_S; i >= 0; i--) {
    if (rest < (uint64_t)written[i].ns) continue;
    write_decimal(&writer, rest, 3 * i, written[i].name); // each of these units is a thousand of the one below
    break;
  }
  return out;
}

char *duration_brief(int64_t ns, char out[static DURATION_TEXT_MAX])
{
  struct writer writer = { out, 0 };
  uint64_t size = magnitude(ns);
  if (ns < 0) write_text(&writer, "-");
  if (ns == 0) write_text(&writer, "0s");
  int unit = WRITTEN - 1;
  while (unit > 0 && size < (uint64_t)written[unit].ns) unit--;
  for (; size > 0; unit++) {
    uint64_t unit_ns = (uint64_t)written[unit].ns;
    int digits = size / unit_ns < 10 ? 2 : size / unit_ns < 100 ? 1 : 0;
    uint64_t power = digits == 2 ? 100 : digits == 1 ? 10 : 1;
    uint64_t scaled = (uint64_t)(((unsigned __int128)size * power + unit_ns / 2) / unit_ns);
    // 999.9 ms rounds to 1000 ms, which is better said as 1 s.
    bool carries = unit + 1 < WRITTEN &&
                   (unsigned __int128)scaled * unit_ns >= (unsigned __int128)power * (uint64_t)written[unit + 1].ns;
    if (carries) continue;
    write_decimal(&writer, scaled, digits, written[unit].name);
    break;
  }
  return out;
}
