// Messages with numbers in them: "p95 is {{ p95 }} (limit 800ms)".
//
// Between the braces stands a field of the condition language, optionally with a window, or one of: name, object,
// service, severity. Everything is checked when the template is compiled. What has no data when it is filled says "no
// data": filling never fails, so that no page is lost to its wording. At most 2,000 bytes come out.
#ifndef NINES_APP_TEMPLATE_H
#define NINES_APP_TEMPLATE_H

#include "condition.h"

enum { TEMPLATE_BYTES_MAX = 2000, TEMPLATE_PARTS_MAX = 64 };

struct template;

struct template_words {
  const char *name, *object, *service, *severity;
};

// `engine` NULL: only the check.
int template_compile(struct template **out, nines *engine, struct subject own, struct view text, struct status *status);
void template_free(struct template *template);
void template_fill(const struct template *template, const struct template_words *words, struct buf *out);

#endif
