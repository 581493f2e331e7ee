// The text of /metrics: Prometheus 0.0.4 and OpenMetrics 1.0 from one description.
//
//   expose_family(e, "nines_beats_total", EXPOSE_COUNTER, "Beats since the start.");
//   expose_sample(e, "", (struct expose_label[]){ { "path", "checkout" }, { 0 } }, 12);
//
// Counters are named with _total in both formats (OpenMetrics drops it from TYPE and HELP). Label values and help are
// escaped; a family without samples is left out. Families must not repeat.
#ifndef NINES_STATE_EXPOSE_H
#define NINES_STATE_EXPOSE_H

#include <stdbool.h>

#include "buf.h"

enum expose_type { EXPOSE_COUNTER, EXPOSE_GAUGE, EXPOSE_SUMMARY };

struct expose_label {
  const char *name;
  const char *value;
};

struct expose {
  struct buf out;
  bool open_metrics;
  const char *family;
  const char *help;
  enum expose_type type;
  bool head_written;
};

#define EXPOSE_TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"
#define EXPOSE_TYPE_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"

void expose_begin(struct expose *expose, bool open_metrics);
void expose_family(struct expose *expose, const char *name, enum expose_type type, const char *help);
// `suffix`: "", "_sum" or "_count". `labels` ends with a NULL name; NULL: none. NaN is written as NaN, infinities as
// +Inf, -Inf.
void expose_sample(struct expose *expose, const char *suffix, const struct expose_label *labels, double value);
void expose_end(struct expose *expose); // "# EOF" for OpenMetrics; the text is in out
void expose_fini(struct expose *expose);

#endif
