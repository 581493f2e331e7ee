// A template is a list of parts: text as it stands, a word, or a field bound like that of a condition.

#include "template.h"

#include <math.h>
#include <string.h>

#include "duration.h"
#include "mem.h"

enum part_kind { PART_TEXT, PART_NAME, PART_OBJECT, PART_SERVICE, PART_SEVERITY, PART_FIELD };

struct part {
  enum part_kind kind;
  struct view text;
  struct condition *field; // `f == f`: its field 0 is what is shown
};

struct template
{
  char *text;
  uint32_t count;
  struct part parts[TEMPLATE_PARTS_MAX];
};

static const char *const words[] = { "", "name", "object", "service", "severity" };

static struct view trim(struct view text)
{
  while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) text.data++, text.size--;
  while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) text.size--;
  return text;
}

static bool is_field(struct view text)
{
  struct expr *expr;
  if (expr_compile(&expr, text, NULL) < 0) return false;
  bool one = expr_field_count(expr) == 1;
  expr_free(expr);
  return one;
}

// Without an engine its grammar is checked and nothing bound.
static int compile_field(struct part *part, nines *engine, struct subject own, struct status *status)
{
  struct buf text = { 0 };
  buf_printf(&text, "%.*s == %.*s", (int)part->text.size, part->text.data, (int)part->text.size, part->text.data);
  int code = 0;
  if (is_field(buf_view(&text)))
    code = engine ? condition_compile(&part->field, engine, own, buf_view(&text), status) : 0;
  else
    code = status_set(
        status, NINES_EINVAL,
        "{{ %.*s }} is not a field; write one such as p95, success_rate(1h) or the name of a series, or name, "
        "object, service, severity",
        part->text.size > 60 ? 60 : (int)part->text.size, part->text.data);
  buf_free(&text);
  return code;
}

static int add_part(struct template *template, nines *engine, struct subject own, bool braced, struct view text,
                    struct status *status)
{
  if (!braced && !text.size) return 0;
  if (template->count == TEMPLATE_PARTS_MAX)
    return status_set(status, NINES_ELIMIT, "a message has at most %d parts", TEMPLATE_PARTS_MAX);
  struct part *part = &template->parts[template->count++];
  part->text = braced ? trim(text) : text;
  if (!braced) return 0;
  for (int kind = PART_NAME; kind <= PART_SEVERITY; kind++)
    if (view_is(part->text, words[kind])) return part->kind = (enum part_kind)kind, 0;
  part->kind = PART_FIELD;
  return compile_field(part, engine, own, status);
}

int template_compile(struct template **out, nines *engine, struct subject own, struct view text, struct status *status)
{
  *out = NULL;
  if (text.size > TEMPLATE_BYTES_MAX)
    return status_set(status, NINES_EINVAL, "a message has at most %d bytes", TEMPLATE_BYTES_MAX);
  struct template *template = mem_must(sizeof *template);
  template->text = mem_must_copy_n(text.data, text.size);
  const char *at = template->text;
  int code = 0;
  while (code == 0 && *at) {
    const char *open = strstr(at, "{{"), *close = open ? strstr(open, "}}") : NULL;
    if (open && !close) code = status_set(status, NINES_EINVAL, "{{ is never closed; write {{ field }}");
    size_t size = open ? (size_t)(open - at) : strlen(at);
    if (code == 0) code = add_part(template, engine, own, false, (struct view){ at, size }, status);
    if (code == 0 && open)
      code = add_part(template, engine, own, true, (struct view){ open + 2, (size_t)(close - open) - 2 }, status);
    at = close ? close + 2 : at + size;
  }
  if (code < 0) {
    template_free(template);
    return code;
  }
  *out = template;
  return 0;
}

void template_free(struct template *template)
{
  if (!template) return;
  for (uint32_t i = 0; i < template->count; i++) condition_free(template->parts[i].field);
  mem_free(template->text);
  mem_free(template);
}

static bool is_one_of(const char *name, const char *const *names)
{
  for (; *names; names++)
    if (strcmp(name, *names) == 0) return true;
  return false;
}

static void add_field(const struct condition *condition, struct buf *out)
{
  static const char *const latencies[] = { "p50", "p90", "p95", "p99", "mean", NULL };
  static const char *const percents[] = { "success_rate", "error_rate", "budget_left", NULL };
  const char *name = expr_field_at(condition_expr(condition), 0)->name;
  double number;
  char text[DURATION_TEXT_MAX];
  if (!condition_read(condition, 0, &number) || !isfinite(number))
    buf_text(out, "no data");
  else if (is_one_of(name, latencies) && fabs(number) < 1e9)
    buf_text(out, duration_format((int64_t)(number * 1e6) * 1000, text));
  else
    buf_printf(out, "%.4g%s", number, is_one_of(name, percents) ? "%" : "");
}

void template_fill(const struct template *template, const struct template_words *with, struct buf *out)
{
  const char *const fill[] = { "", with->name, with->object, with->service, with->severity };
  size_t before = out->size;
  for (uint32_t i = 0; i < template->count; i++) {
    const struct part *part = &template->parts[i];
    if (part->kind == PART_TEXT)
      buf_add(out, part->text.data, part->text.size);
    else if (part->kind == PART_FIELD)
      add_field(part->field, out);
    else
      buf_text(out, fill[part->kind] ? fill[part->kind] : "");
  }
  if (out->size - before > TEMPLATE_BYTES_MAX) out->data[out->size = before + TEMPLATE_BYTES_MAX] = '\0';
}
