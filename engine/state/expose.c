// Families are written head first, with the first sample, so that an empty family leaves no trace.

#include "expose.h"

#include <math.h>
#include <string.h>

void expose_begin(struct expose *expose, bool open_metrics)
{
  *expose = (struct expose){ .open_metrics = open_metrics };
}

void expose_family(struct expose *expose, const char *name, enum expose_type type, const char *help)
{
  expose->family = name;
  expose->type = type;
  expose->help = help;
  expose->head_written = false;
}

// Help escapes backslash and newline; label values and OpenMetrics' help the quote too.
static void add_escaped(struct buf *out, const char *text, bool quote)
{
  for (; *text; text++) {
    if (*text == '\\')
      buf_text(out, "\\\\");
    else if (*text == '\n')
      buf_text(out, "\\n");
    else if (*text == '"' && quote)
      buf_text(out, "\\\"");
    else
      buf_byte(out, *text);
  }
}

static void write_head(struct expose *expose)
{
  static const char *const types[] = { "counter", "gauge", "summary" };
  int size = (int)strlen(expose->family);
  if (expose->open_metrics && expose->type == EXPOSE_COUNTER && size > 6 &&
      strcmp(expose->family + size - 6, "_total") == 0)
    size -= 6;
  buf_printf(&expose->out, "# HELP %.*s ", size, expose->family);
  add_escaped(&expose->out, expose->help, expose->open_metrics);
  buf_printf(&expose->out, "\n# TYPE %.*s %s\n", size, expose->family, types[expose->type]);
  expose->head_written = true;
}

static void add_value(struct buf *out, double value)
{
  if (isnan(value))
    buf_text(out, "NaN");
  else if (isinf(value))
    buf_text(out, value > 0 ? "+Inf" : "-Inf");
  else
    buf_json_number(out, value);
}

void expose_sample(struct expose *expose, const char *suffix, const struct expose_label *labels, double value)
{
  struct buf *out = &expose->out;
  if (!expose->head_written) write_head(expose);
  buf_text(out, expose->family);
  buf_text(out, suffix);
  for (const struct expose_label *label = labels; label && label->name; label++) {
    buf_printf(out, "%s%s=\"", label == labels ? "{" : ",", label->name);
    add_escaped(out, label->value, true);
    buf_byte(out, '"');
  }
  buf_text(out, labels && labels->name ? "} " : " ");
  add_value(out, value);
  buf_byte(out, '\n');
}

void expose_end(struct expose *expose)
{
  if (expose->open_metrics) buf_text(&expose->out, "# EOF\n");
}

void expose_fini(struct expose *expose)
{
  buf_free(&expose->out);
}
