// Label matchers: name = "x", != , =~ , !~ as in Prometheus and Alertmanager.
//
// A missing label is the same as an empty one. Regular expressions are POSIX extended ones, matched against the whole
// value; they lack RE2's \d, \w and non-greedy forms, and are limited to 200 bytes.
#ifndef NINES_BASE_MATCHER_H
#define NINES_BASE_MATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

enum { MATCHERS_MAX = 32, MATCHER_REGEX_MAX = 200 };

struct matcher;

int matcher_make(struct matcher **out, struct view name, struct view value, bool is_regex, bool is_equal,
                 struct status *status);
// `name="value"`, `name=value`, `name=~"a|b"`, `"name"!="x"`.
int matcher_parse(struct matcher **out, struct view text, struct status *status);
void matcher_free(struct matcher *matcher);
bool matcher_matches(const struct matcher *matcher, struct view value); // empty: the label is missing
const char *matcher_name(const struct matcher *matcher);
const char *matcher_value(const struct matcher *matcher);
bool matcher_is_regex(const struct matcher *matcher);
bool matcher_is_equal(const struct matcher *matcher);

#endif
