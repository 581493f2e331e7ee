// Colours are for standard output, progress is for standard error; both only where a person looks.

#include "cli_screen.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "duration.h"
#include "mem.h"

struct screen_cell {
  char *text;
  enum colour colour;
};

static bool coloured(void)
{
  static int known = -1;
  const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
  if (known < 0) known = isatty(STDOUT_FILENO) && !(no_colour && no_colour[0]) && !(term && strcmp(term, "dumb") == 0);
  return known > 0;
}

const char *screen_colour(enum colour colour)
{
  static const char *const sequences[] = { "", "\033[31m", "\033[32m", "\033[33m", "\033[2m" };
  return coloured() ? sequences[colour] : "";
}

const char *screen_plain(void)
{
  return coloured() ? "\033[0m" : "";
}

enum colour screen_state_colour(const char *state)
{
  static const struct {
    const char *state;
    enum colour colour;
  } known[] = {
    { "breached", RED },
    { "paged", RED },
    { "failed", RED },
    { "failing", RED },
    { "rejected", RED },
    { "disabled", RED },
    { "P0", RED },
    { "healthy", GREEN },
    { "finished", GREEN },
    { "running", GREEN },
    { "resolved", GREEN },
    { "ok", GREEN },
    { "held", YELLOW },
    { "started", YELLOW },
    { "acknowledged", YELLOW },
    { "rolled back", YELLOW },
    { "unknown", YELLOW },
    { "observe", YELLOW },
    { "no data", DIM },
    { "no objective", DIM },
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].state, state) == 0) return known[i].colour;
  return PLAIN;
}

// --- tables

static void add_cell(struct screen_table *table, enum colour colour, char *text)
{
  if (table->count == table->capacity) {
    table->capacity = table->capacity ? 2 * table->capacity : 64;
    table->cells = mem_must_resize(table->cells, table->capacity * sizeof *table->cells);
  }
  table->cells[table->count++] = (struct screen_cell){ text, colour };
}

void screen_table_init(struct screen_table *table, const char *const *headings)
{
  *table = (struct screen_table){ 0 };
  for (; headings[table->columns]; table->columns++) add_cell(table, DIM, mem_must_copy(headings[table->columns]));
  CHECK(table->columns <= SCREEN_COLUMNS_MAX);
}

void screen_table_add(struct screen_table *table, enum colour colour, const char *format, ...)
{
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (char *byte = text; *byte; byte++)
    if ((unsigned char)*byte < ' ') *byte = ' '; // what others have named does not steer the terminal
  add_cell(table, colour, mem_must_copy(text[0] ? text : "-"));
}

// Characters, not bytes.
static size_t width_of(const char *text)
{
  size_t width = 0;
  for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
  return width;
}

void screen_table_print(struct screen_table *table)
{
  size_t widths[SCREEN_COLUMNS_MAX] = { 0 };
  for (uint32_t i = 0; i < table->count; i++) {
    size_t width = width_of(table->cells[i].text);
    if (width > widths[i % table->columns]) widths[i % table->columns] = width;
  }
  for (uint32_t i = 0; i < table->count; i++) {
    const struct screen_cell *cell = &table->cells[i];
    bool last = (i + 1) % table->columns == 0;
    if (table->count > table->columns) {
      printf("%s%s%s", screen_colour(cell->colour), cell->text, cell->colour ? screen_plain() : "");
      if (last)
        putchar('\n');
      else
        printf("%*s", (int)(widths[i % table->columns] - width_of(cell->text) + 2), "");
    }
    mem_free(cell->text);
  }
  mem_free(table->cells);
  *table = (struct screen_table){ 0 };
}

// --- values

static int64_t wall_now_ns(void)
{
  static nines_clock *clock;
  if (!clock) clock = clock_system_open(); // for the life of the program
  return clock->wall_ns(clock);
}

char *screen_age(int64_t wall_ns, char out[static SCREEN_AGE_MAX])
{
  char span[DURATION_TEXT_MAX];
  out[0] = '\0';
  if (wall_ns == 0) return out;
  int64_t age_ns = wall_now_ns() - wall_ns;
  if (age_ns > -NS_PER_S && age_ns < NS_PER_S)
    snprintf(out, SCREEN_AGE_MAX, "just now");
  else if (age_ns < 0)
    snprintf(out, SCREEN_AGE_MAX, "in %s", duration_brief(-age_ns, span));
  else
    snprintf(out, SCREEN_AGE_MAX, "%s ago", duration_brief(age_ns, span));
  return out;
}

const char *screen_text(const struct value *table, const char *key)
{
  const char *text = value_get_text(table, key).data;
  return text ? text : "";
}

static bool is_time(struct view key)
{
  return key.size > 3 && memcmp(key.data + key.size - 3, "_ns", 3) == 0;
}

static void print_scalar(struct view key, const struct value *value)
{
  char time[CLOCK_TEXT_MAX], age[SCREEN_AGE_MAX];
  struct buf json = { 0 };
  if (value->type == VALUE_TEXT) {
    enum colour colour = screen_state_colour(value->text.data);
    printf("%s%.*s%s\n", screen_colour(colour), (int)value->text.size, value->text.data, screen_plain());
  } else if (value->type == VALUE_INTEGER && is_time(key)) {
    printf("%s (%s)\n", clock_format(value->integer, time), screen_age(value->integer, age));
  } else if (value->type == VALUE_NUMBER) {
    printf("%.6g\n", value->number);
  } else {
    value_to_json(value, &json);
    printf("%s\n", json.data);
    buf_free(&json);
  }
}

void screen_document(const struct value *value, int indent)
{
  for (size_t i = 0; value->type == VALUE_TABLE && i < value->table.count; i++) {
    const struct member *member = &value->table.members[i];
    bool nested = member->value.type == VALUE_TABLE || member->value.type == VALUE_LIST;
    struct view key = member->key;
    int cut = is_time(key) ? (int)key.size - 3 : (int)key.size;
    if (nested && member->value.list.count == 0) continue;
    printf("%*s%.*s:%*s", indent, "", cut, key.data, nested ? 0 : cut < 18 ? 19 - cut : 1, "");
    if (!nested) {
      print_scalar(key, &member->value);
      continue;
    }
    putchar('\n');
    screen_document(&member->value, indent + 2);
  }
  for (size_t i = 0; value->type == VALUE_LIST && i < value->list.count; i++) {
    const struct value *item = &value->list.items[i];
    if (item->type != VALUE_TABLE && item->type != VALUE_LIST) {
      printf("%*s- ", indent, "");
      print_scalar((struct view){ 0 }, item);
      continue;
    }
    if (i > 0) putchar('\n');
    screen_document(item, indent);
  }
}

void screen_progress(const char *text, int64_t elapsed_ns)
{
  if (!isatty(STDERR_FILENO)) return;
  if (text)
    fprintf(stderr, "\r\033[K%s %.1fs", text, (double)elapsed_ns / NS_PER_S);
  else
    fputs("\r\033[K", stderr);
  fflush(stderr);
}
