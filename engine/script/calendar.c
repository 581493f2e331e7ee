// Times of the week. Only days and a time: what a rota says. 1970-01-01 was a Thursday.
#include "calendar.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "duration.h"

enum { EVERY_DAY = 0x7f, THURSDAY = 3 };

static const char *const day_names[] = { "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday" };

static int bad(struct view text, struct status *status)
{
  return status_set(status, NINES_EINVAL,
                    "at: \"%.*s\" is no time; write \"09:00\", \"mon-fri 09:00\" or \"mon,wed 09:30\"",
                    (int)(text.size < 64 ? text.size : 64), text.data);
}

// Takes "mon" or "monday" off the front; -1: no day.
static int take_day(struct view *in)
{
  size_t size = 0;
  while (size < in->size && isalpha((unsigned char)in->data[size])) size++;
  for (int day = 0; day < 7; day++) {
    bool whole = size == strlen(day_names[day]);
    if ((size != 3 && !whole) || strncasecmp(in->data, day_names[day], size) != 0) continue;
    *in = (struct view){ in->data + size, in->size - size };
    return day;
  }
  return -1;
}

static bool take_byte(struct view *in, char byte)
{
  if (in->size == 0 || in->data[0] != byte) return false;
  *in = (struct view){ in->data + 1, in->size - 1 };
  return true;
}

static bool take_days(struct view *in, uint32_t *days)
{
  do {
    int first = take_day(in), last = first;
    if (first < 0) return false;
    if (take_byte(in, '-') && (last = take_day(in)) < 0) return false;
    for (int day = first;; day = (day + 1) % 7) {
      *days |= 1U << day;
      if (day == last) break;
    }
  } while (take_byte(in, ','));
  return take_byte(in, ' ');
}

static bool take_number(struct view *in, uint32_t limit, uint32_t *out)
{
  if (in->size < 2 || !isdigit((unsigned char)in->data[0]) || !isdigit((unsigned char)in->data[1])) return false;
  *out = (uint32_t)(in->data[0] - '0') * 10 + (uint32_t)(in->data[1] - '0');
  *in = (struct view){ in->data + 2, in->size - 2 };
  return *out < limit;
}

int calendar_parse(struct view text, struct calendar *out, struct status *status)
{
  struct view in = text;
  uint32_t days = 0, hour, minute;
  if (in.size > 0 && isalpha((unsigned char)in.data[0])) {
    if (!take_days(&in, &days)) return bad(text, status);
    while (take_byte(&in, ' ')) continue;
  } else {
    days = EVERY_DAY;
  }
  if (!take_number(&in, 24, &hour) || !take_byte(&in, ':') || !take_number(&in, 60, &minute) || in.size > 0)
    return bad(text, status);
  *out = (struct calendar){ days, hour * 60 + minute };
  return 0;
}

int64_t calendar_next(const struct calendar *calendar, int64_t local_ns)
{
  int64_t day = local_ns / NS_PER_DAY - (local_ns % NS_PER_DAY < 0);
  for (;; day++) {
    int64_t moment = day * NS_PER_DAY + calendar->minute * NS_PER_MIN;
    int64_t weekday = ((day + THURSDAY) % 7 + 7) % 7;
    if (moment > local_ns && calendar->days >> weekday & 1) return moment;
  }
}

static bool is_leap(int64_t year)
{
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int64_t calendar_period_start(int64_t local_ns, int64_t window_ns)
{
  static const int days_of[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  int64_t day = local_ns / NS_PER_DAY, year = 1970, began = 0;
  if (window_ns <= 7 * NS_PER_DAY) return (day - (day + 3) % 7) * NS_PER_DAY; // 1970-01-01 was a Thursday
  while (began + 365 + is_leap(year) <= day) began += 365 + is_leap(year++);
  for (int month = 0, quarter = 0; month < 12; month++) {
    int days = days_of[month] + (month == 1 && is_leap(year));
    if (month % 3 == 0) quarter = (int)began;
    if (began + days > day) return (window_ns <= 31 * NS_PER_DAY ? began : quarter) * NS_PER_DAY;
    began += days;
  }
  return began * NS_PER_DAY;
}
