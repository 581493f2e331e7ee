// Observations from JSON in one pass: each known key is read straight into its field, texts stay where they are.
//
// The first byte tells an array from objects that follow each other, one a line. The last place of `items` is filled
// while an object is read, and counts only when it is whole.
#include "observation.h"

#include <string.h>

#include "duration.h"
#include "json_scan.h"
#include "mem.h"
#include "utf8.h"

enum field { PATH, DURATION, OK, STATUS, SERVICE, VERSION, REGION, TS, FIELDS, UNKNOWN = FIELDS };

static const char *const field_name[FIELDS] = { "path",    "duration_ms", "ok",     "status",
                                                "service", "version",     "region", "ts" };

#define TS_MAX_S 9e9 // the year 2255; nanoseconds since 1970 fit an int64

struct reader {
  struct json_scan scan;
  const char *body;
  struct observations *out;
  struct status *status;
};

static int refuse_syntax(struct reader *reader, const char *error)
{
  struct observations *out = reader->out;
  out->bad_index = out->count;
  return status_set(reader->status, NINES_EINVAL, "observation %zu: byte %zu: %s", out->count,
                    (size_t)(reader->scan.at - reader->body), error);
}

static int refuse(struct reader *reader, enum field field, const char *reason)
{
  struct observations *out = reader->out;
  out->bad_index = out->count;
  out->field = field_name[field];
  return status_set(reader->status, NINES_EINVAL, "observation %zu: %s: %s", out->count, out->field, reason);
}

static int refuse_number(struct reader *reader, enum field field, double number, const char *reason)
{
  struct observations *out = reader->out;
  out->bad_index = out->count;
  out->field = field_name[field];
  return status_set(reader->status, NINES_EINVAL, "observation %zu: %s: %.15g %s", out->count, out->field, number,
                    reason);
}

static enum field field_of(struct view key)
{
  for (enum field field = PATH; field < FIELDS; field++)
    if (*key.data == *field_name[field] && view_is(key, field_name[field])) return field;
  return UNKNOWN;
}

static int read_text(struct reader *reader, enum field field, struct view *out)
{
  if (*reader->scan.at != '"') return refuse(reader, field, "expected a text");
  if (!json_scan_text(&reader->scan, out)) return refuse_syntax(reader, reader->scan.error);
  if (out->size > OBSERVATION_NAME_MAX) return refuse(reader, field, "longer than 200 bytes");
  if (field == PATH && out->size == 0) return refuse(reader, field, "empty");
  return utf8_printable(*out) ? 0 : refuse(reader, field, "contains a control character");
}

static int read_number(struct reader *reader, enum field field, double *out)
{
  char c = *reader->scan.at;
  if (c != '-' && (c < '0' || c > '9')) return refuse(reader, field, "expected a number");
  return json_scan_number(&reader->scan, out) ? 0 : refuse_syntax(reader, reader->scan.error);
}

static int read_duration(struct reader *reader, int64_t *out_ns)
{
  double ms;
  int code = read_number(reader, DURATION, &ms);
  if (code != 0) return code;
  if (ms < 0) return refuse_number(reader, DURATION, ms, "is negative");
  if (ms > (double)(DURATION_MAX_NS / NS_PER_MS)) return refuse_number(reader, DURATION, ms, "is over 100 years");
  *out_ns = (int64_t)(ms * 1e6 + 0.5);
  return 0;
}

static int read_status(struct reader *reader, bool *out_ok)
{
  double number;
  int code = read_number(reader, STATUS, &number);
  if (code != 0) return code;
  if (!(number >= 100 && number <= 599) || number != (int)number) {
    return refuse_number(reader, STATUS, number, "is no HTTP status (100 to 599)");
  }
  *out_ok = number < 500;
  return 0;
}

static bool take_digits(struct view *text, int count, int64_t *out)
{
  struct view digits;
  *out = 0;
  if (!view_take(text, (size_t)count, &digits)) return false;
  for (size_t i = 0; i < digits.size; i++) {
    if (digits.data[i] < '0' || digits.data[i] > '9') return false;
    *out = *out * 10 + (digits.data[i] - '0');
  }
  return true;
}

static bool take_one_of(struct view *text, const char *bytes)
{
  struct view byte;
  return text->size > 0 && strchr(bytes, *text->data) != NULL && *text->data != '\0' && view_take(text, 1, &byte);
}

// Days since 1970-01-01 (H. Hinnant's days_from_civil).
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
  year -= month <= 2;
  int64_t era = year / 400, of_era = year - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool take_fraction(struct view *text, int64_t *out_ns)
{
  int64_t unit = NS_PER_S / 10, digit;
  *out_ns = 0;
  if (!take_one_of(text, ".")) return true;
  if (!take_digits(text, 1, &digit)) return false;
  do {
    *out_ns += digit * unit;
    unit /= 10;
  } while (text->size > 0 && *text->data >= '0' && *text->data <= '9' && take_digits(text, 1, &digit));
  return true;
}

// RFC 3339, as "2026-01-05T10:00:00.5+01:00"; a leap second is the next second.
static bool parse_rfc3339(struct view text, int64_t *out_ns)
{
  static const int days_in[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  int64_t year, month, day, hour, minute, second, fraction_ns, offset_hour = 0, offset_minute = 0;
  if (!take_digits(&text, 4, &year) || !take_one_of(&text, "-") || !take_digits(&text, 2, &month) ||
      !take_one_of(&text, "-") || !take_digits(&text, 2, &day) || !take_one_of(&text, "Tt ") ||
      !take_digits(&text, 2, &hour) || !take_one_of(&text, ":") || !take_digits(&text, 2, &minute) ||
      !take_one_of(&text, ":") || !take_digits(&text, 2, &second) || !take_fraction(&text, &fraction_ns)) {
    return false;
  }
  int sign = 0;
  if (!take_one_of(&text, "Zz")) {
    sign = text.size > 0 && *text.data == '-' ? -1 : 1;
    if (!take_one_of(&text, "+-") || !take_digits(&text, 2, &offset_hour) || !take_one_of(&text, ":") ||
        !take_digits(&text, 2, &offset_minute)) {
      return false;
    }
  }
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (text.size > 0 || year < 1970 || year > 2250 || month < 1 || month > 12 || day < 1 ||
      day > days_in[month - 1] + (month == 2 && leap) || hour > 23 || minute > 59 || second > 60 || offset_hour > 23 ||
      offset_minute > 59) {
    return false;
  }
  int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
  seconds -= sign * (offset_hour * 3600 + offset_minute * 60);
  *out_ns = seconds * NS_PER_S + fraction_ns;
  return seconds >= 0;
}

static int read_ts(struct reader *reader, int64_t *out_ns)
{
  struct view text;
  double seconds;
  if (*reader->scan.at == '"') {
    int code = read_text(reader, TS, &text);
    if (code != 0) return code;
    return parse_rfc3339(text, out_ns) ? 0 : refuse(reader, TS, "no time of RFC 3339, as 2026-01-05T10:00:00Z");
  }
  int code = read_number(reader, TS, &seconds);
  if (code != 0) return code;
  if (seconds < 0) return refuse_number(reader, TS, seconds, "is negative");
  if (seconds > TS_MAX_S) {
    return refuse_number(reader, TS, seconds, "is too far ahead; Unix seconds are expected, not milliseconds");
  }
  *out_ns = (int64_t)(seconds * 1e9 + 0.5);
  return 0;
}

static int read_ok(struct reader *reader, bool *out_ok)
{
  char c = *reader->scan.at;
  if (c != 't' && c != 'f') return refuse(reader, OK, "expected true or false");
  *out_ok = c == 't';
  if (json_scan_word(&reader->scan, *out_ok ? "true" : "false")) return 0;
  return refuse_syntax(reader, reader->scan.error);
}

static int read_field(struct reader *reader, enum field field, struct observation *into, bool *status_ok)
{
  if (*reader->scan.at == 'n' && field != PATH) {
    return json_scan_word(&reader->scan, "null") ? 0 : refuse_syntax(reader, reader->scan.error);
  }
  switch (field) {
  case PATH:
    return read_text(reader, field, &into->path);
  case DURATION:
    return read_duration(reader, &into->duration_ns);
  case OK:
    return read_ok(reader, &into->ok);
  case STATUS:
    return read_status(reader, status_ok);
  case SERVICE:
    return read_text(reader, field, &into->service);
  case VERSION:
    return read_text(reader, field, &into->version);
  case REGION:
    return read_text(reader, field, &into->region);
  case TS:
    return read_ts(reader, &into->wall_ns);
  default:
    return 0;
  }
}

static int reserve(struct reader *reader)
{
  struct observations *out = reader->out;
  if (out->count == OBSERVATIONS_MAX) {
    out->bad_index = out->count;
    return status_set(reader->status, NINES_ELIMIT, "more than %d observations; send them in several requests",
                      OBSERVATIONS_MAX);
  }
  if (out->count < out->capacity) return 0;
  size_t capacity = out->capacity > 0 ? out->capacity * 2 : 64;
  struct observation *items = mem_resize(out->items, capacity * sizeof *items);
  if (items == NULL) return status_set(reader->status, NINES_ENOMEM, "observations: out of memory");
  out->items = items;
  out->capacity = capacity;
  return 0;
}

// Bits of the fields met, and of those that were not null.
struct draft {
  unsigned met, given;
  bool status_ok;
};

// One member, at its key's quote.
static int read_member(struct reader *reader, struct observation *into, struct draft *draft)
{
  struct view key;
  if (!json_scan_text(&reader->scan, &key)) return refuse_syntax(reader, reader->scan.error);
  if (!json_scan_byte(&reader->scan, ':')) return refuse_syntax(reader, "expected ':'");
  json_scan_space(&reader->scan);
  if (reader->scan.at == reader->scan.end) return refuse_syntax(reader, "expected a value");
  enum field field = key.size > 0 ? field_of(key) : UNKNOWN;
  if (field == UNKNOWN) {
    return json_scan_skip(&reader->scan, OBSERVATION_DEPTH_MAX) ? 0 : refuse_syntax(reader, reader->scan.error);
  }
  if ((draft->met & 1u << field) != 0) return refuse(reader, field, "given twice");
  draft->met |= 1u << field;
  if (*reader->scan.at != 'n') draft->given |= 1u << field;
  return read_field(reader, field, into, &draft->status_ok);
}

// One object, at its brace.
static int read_object(struct reader *reader)
{
  int code = reserve(reader);
  if (code != 0) return code;
  if (!json_scan_byte(&reader->scan, '{')) return refuse_syntax(reader, "expected an object");
  struct observation *into = &reader->out->items[reader->out->count];
  *into = (struct observation){ .duration_ns = -1, .ok = true };
  struct draft draft = { .status_ok = true };
  if (!json_scan_byte(&reader->scan, '}')) {
    do {
      json_scan_space(&reader->scan);
      code = read_member(reader, into, &draft);
      if (code != 0) return code;
    } while (json_scan_byte(&reader->scan, ','));
    if (!json_scan_byte(&reader->scan, '}')) return refuse_syntax(reader, "expected ',' or '}'");
  }
  if ((draft.given & 1u << PATH) == 0) return refuse(reader, PATH, "missing");
  if ((draft.given & 1u << OK) == 0) into->ok = draft.status_ok;
  reader->out->count++;
  return 0;
}

static int read_array(struct reader *reader)
{
  if (json_scan_byte(&reader->scan, ']')) return 0;
  do {
    int code = read_object(reader);
    if (code != 0) return code;
  } while (json_scan_byte(&reader->scan, ','));
  return json_scan_byte(&reader->scan, ']') ? 0 : refuse_syntax(reader, "expected ',' or ']'");
}

static int read_lines(struct reader *reader)
{
  struct json_scan *scan = &reader->scan;
  for (;;) {
    int code = read_object(reader);
    if (code != 0) return code;
    const char *object_end = scan->at;
    json_scan_space(scan);
    if (scan->at == scan->end) return 0;
    if (memchr(object_end, '\n', (size_t)(scan->at - object_end)) == NULL)
      return refuse_syntax(reader, "expected the end or a new line; several objects go in an array or one a line");
  }
}

int observations_parse(char *body, size_t size, struct observations *out, struct status *status)
{
  struct reader reader = { { body, body + size, NULL }, body, out, status };
  out->count = out->bad_index = 0;
  out->field = NULL;
  json_scan_space(&reader.scan);
  if (reader.scan.at == reader.scan.end) return refuse_syntax(&reader, "expected an object or an array, found nothing");
  if (*reader.scan.at != '[') return read_lines(&reader);
  reader.scan.at++;
  int code = read_array(&reader);
  json_scan_space(&reader.scan);
  if (code == 0 && reader.scan.at != reader.scan.end) return refuse_syntax(&reader, "text after the array");
  return code;
}

void observations_fini(struct observations *observations)
{
  mem_free(observations->items);
  *observations = (struct observations){ 0 };
}
