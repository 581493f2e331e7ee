// What the demo tells: a line a second, a line for what happens, and the timeline at the end.
#ifndef NINES_APP_DEMO_STORY_H
#define NINES_APP_DEMO_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include "value.h"

enum demo_mark { DEMO_ONSET, DEMO_DETECTED, DEMO_ROLLED_BACK, DEMO_RECOVERED, DEMO_MARKS };

struct demo_story {
  bool json;              // one document at the end, nothing before
  int64_t began_wall_ns;  // of the demo
  int64_t deploy_wall_ns; // when the bad version was ordered; 0: not yet
  int64_t at_wall_ns[DEMO_MARKS];
  int64_t failure_wall_ns; // what the load told last
  int64_t checkouts, failed;
  int pages;
  char version[64]; // of payments, that runs
};

void demo_story_say(const struct demo_story *story, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The first mark of a kind counts; those before the deploy don't.
void demo_story_mark(struct demo_story *story, enum demo_mark mark, int64_t wall_ns, const char *text);
// A line of the load: {"wall_ms","ok","failed","p95_us"}, or {"failure","wall_ms"}.
void demo_story_load(struct demo_story *story, const struct value *line);
// An event of the engine, as GET /v1/events gives it.
void demo_story_event(struct demo_story *story, const struct value *line);
bool demo_story_complete(const struct demo_story *story);
// `why`: what went wrong, or NULL.
void demo_story_end(const struct demo_story *story, int64_t now_wall_ns, const char *why);

#endif
