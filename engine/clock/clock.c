// The system's clocks. Wall time is the monotonic clock plus an offset taken once, so that it never jumps under a
// decision; when somebody sets the system's clock, clock_step_ns tells, and the owner re-anchors as an input of its
// own.
#include "clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "duration.h"
#include "mem.h"

struct clock_system {
  struct nines_clock clock; // first
  // Atomic, because threads that format log lines read the wall clock while the loop re-anchors.
  _Atomic int64_t wall_offset_ns;
};

static int64_t read_ns(clockid_t id)
{
  struct timespec now;
  CHECK(clock_gettime(id, &now) == 0);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_now_ns(void)
{
  return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_coarse_ns(void)
{
  return read_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_thread_cpu_ns(void)
{
  return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

// Wall minus monotonic, the best of three readings: one that was interrupted between the clocks is off by the pause.
static int64_t read_offset(void)
{
  int64_t offset = 0, narrowest = INT64_MAX;
  for (int i = 0; i < 3; i++) {
    int64_t before = clock_now_ns(), wall = read_ns(CLOCK_REALTIME), after = clock_now_ns();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    offset = wall - (before + narrowest / 2);
  }
  return offset;
}

static int64_t system_now(struct nines_clock *self)
{
  (void)self;
  return clock_now_ns();
}

static int64_t system_wall(struct nines_clock *self)
{
  const struct clock_system *clock = (struct clock_system *)self;
  return clock_now_ns() + atomic_load_explicit(&clock->wall_offset_ns, memory_order_relaxed);
}

struct nines_clock *clock_system_open(void)
{
  struct clock_system *clock = mem_must(sizeof *clock);
  clock->clock = (struct nines_clock){ .now_ns = system_now, .wall_ns = system_wall };
  clock_reanchor(&clock->clock);
  return &clock->clock;
}

void clock_system_close(struct nines_clock *clock)
{
  mem_free(clock);
}

int64_t clock_step_ns(struct nines_clock *clock)
{
  if (clock->now_ns != system_now) return 0; // a virtual or a host's clock is its own truth
  const struct clock_system *own = (struct clock_system *)clock;
  return read_offset() - atomic_load_explicit(&own->wall_offset_ns, memory_order_relaxed);
}

void clock_reanchor(struct nines_clock *clock)
{
  if (clock->now_ns != system_now) return;
  struct clock_system *own = (struct clock_system *)clock;
  atomic_store_explicit(&own->wall_offset_ns, read_offset(), memory_order_relaxed);
}

char *clock_format(int64_t wall_ns, char out[static CLOCK_TEXT_MAX])
{
  int64_t rest = wall_ns % NS_PER_S; // towards zero; times before 1970 need the floor
  int64_t ns = rest < 0 ? rest + NS_PER_S : rest;
  time_t seconds = (time_t)((wall_ns - rest) / NS_PER_S - (rest < 0 ? 1 : 0));
  struct tm utc;
  CHECK(gmtime_r(&seconds, &utc) != NULL);
  size_t length = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(out + length, CLOCK_TEXT_MAX - length, ".%03dZ", (int)(ns / NS_PER_MS));
  return out;
}

static bool take_digits(struct view *text, int count, int64_t *out)
{
  if (text->size < (size_t)count) return false;
  *out = 0;
  for (int i = 0; i < count; i++) {
    if (text->data[i] < '0' || text->data[i] > '9') return false;
    *out = *out * 10 + (text->data[i] - '0');
  }
  text->data += count;
  text->size -= (size_t)count;
  return true;
}

static bool take_one_of(struct view *text, const char *bytes, char *out)
{
  if (!text->size || !strchr(bytes, text->data[0])) return false;
  *out = text->data[0];
  text->data++;
  text->size--;
  return true;
}

// Days since 1970 of a date of the Gregorian calendar.
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
  static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
  int64_t past = year - 1;
  int64_t leaps = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return (year - 1970) * 365 + leaps + before[month - 1] + (leap && month > 2) + day - 1;
}

static bool take_fraction(struct view *text, int64_t *out_ns)
{
  char dot;
  int64_t digit, unit_ns = 100000000;
  *out_ns = 0;
  if (!take_one_of(text, ".", &dot)) return true;
  bool any = false;
  for (; take_digits(text, 1, &digit); unit_ns /= 10, any = true) *out_ns += digit * unit_ns;
  return any;
}

static bool take_zone(struct view *text, int64_t *out_s)
{
  char sign, colon;
  int64_t hours = 0, minutes = 0;
  *out_s = 0;
  if (!take_one_of(text, "Zz+-", &sign)) return false;
  if (sign == 'Z' || sign == 'z') return text->size == 0;
  if (!take_digits(text, 2, &hours) || !take_one_of(text, ":", &colon) || !take_digits(text, 2, &minutes)) return false;
  *out_s = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
  return text->size == 0 && hours < 24 && minutes < 60;
}

bool clock_parse(struct view text, int64_t *wall_ns)
{
  int64_t year, month, day, hour, minute, second, fraction_ns, zone_s;
  char mark;
  if (!take_digits(&text, 4, &year) || !take_one_of(&text, "-", &mark) || !take_digits(&text, 2, &month) ||
      !take_one_of(&text, "-", &mark) || !take_digits(&text, 2, &day) || !take_one_of(&text, "Tt ", &mark) ||
      !take_digits(&text, 2, &hour) || !take_one_of(&text, ":", &mark) || !take_digits(&text, 2, &minute) ||
      !take_one_of(&text, ":", &mark) || !take_digits(&text, 2, &second))
    return false;
  if (!take_fraction(&text, &fraction_ns) || !take_zone(&text, &zone_s)) return false;
  if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
      second > 60)
    return false;
  int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone_s;
  *wall_ns = seconds * 1000000000 + fraction_ns;
  return seconds >= 0;
}
