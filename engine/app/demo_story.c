// Four moments make the timeline, each told by whoever saw it: the onset by the customers (the load's first failed
// checkout after the order to deploy), the rest by the engine's own events, with the times of those events. All are
// wall times of one machine, shown in seconds after the order.

#include "demo_story.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli_screen.h"
#include "duration.h"

static const struct {
  const char *name, *key, *meaning;
  enum colour colour;
} marks[] = {
  { "onset", "onset_s", "the first failed checkout, as the customers' load saw it", RED },
  { "detected", "detected_s", "the engine's event critical_path.breached", YELLOW },
  { "rolled back", "rolled_back_s", "deploy.rolled_back: the version before runs again", GREEN },
  { "recovered", "recovered_s", "critical_path.recovered: the objective is met again over 5 s", GREEN },
};

static double after_deploy_s(const struct demo_story *story, int64_t wall_ns)
{
  return (double)(wall_ns - story->deploy_wall_ns) / NS_PER_S;
}

void demo_story_say(const struct demo_story *story, const char *format, ...)
{
  va_list arguments;
  if (story->json) return;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}

// "  +0.37 s  detected     TEXT"
static void tell(const struct demo_story *story, int64_t wall_ns, enum colour colour, const char *what,
                 const char *text)
{
  demo_story_say(story, "%s%+7.2f s  %-11s  %s%s", screen_colour(colour), after_deploy_s(story, wall_ns), what, text,
                 screen_plain());
}

void demo_story_mark(struct demo_story *story, enum demo_mark mark, int64_t wall_ns, const char *text)
{
  if (!story->deploy_wall_ns || wall_ns < story->deploy_wall_ns || story->at_wall_ns[mark]) return;
  story->at_wall_ns[mark] = wall_ns;
  tell(story, wall_ns, marks[mark].colour, marks[mark].name, text);
}

void demo_story_load(struct demo_story *story, const struct value *line)
{
  int64_t wall_ns = value_get_integer(line, "wall_ms", 0) * NS_PER_MS;
  if (value_get_bool(line, "failure", false)) {
    story->failure_wall_ns = wall_ns;
    demo_story_mark(story, DEMO_ONSET, wall_ns, "a checkout failed");
    return;
  }
  int64_t ok = value_get_integer(line, "ok", 0), failed = value_get_integer(line, "failed", 0);
  double success = ok + failed ? 100.0 * (double)ok / (double)(ok + failed) : 0;
  story->checkouts += ok + failed;
  story->failed += failed;
  demo_story_say(story, "%s%5.0f s  %4lld requests/s  %s%5.1f %% ok%s%s  p95 %3.0f ms  payments %s%s",
                 screen_colour(DIM), (double)(wall_ns - story->began_wall_ns) / NS_PER_S, (long long)(ok + failed),
                 failed ? screen_colour(RED) : "", success, failed ? screen_plain() : "",
                 failed ? screen_colour(DIM) : "", (double)value_get_integer(line, "p95_us", 0) / 1000, story->version,
                 screen_plain());
}

// "2026-01-05T00:00:00.000Z"
static int64_t wall_of(const char *text)
{
  struct tm utc = { 0 };
  int ms = 0;
  if (sscanf(text, "%d-%d-%dT%d:%d:%d.%3dZ", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour, &utc.tm_min,
             &utc.tm_sec, &ms) != 7)
    return 0;
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  return timegm(&utc) * NS_PER_S + ms * NS_PER_MS;
}

static void set_version(struct demo_story *story, const char *version)
{
  snprintf(story->version, sizeof story->version, "%s", version);
}

void demo_story_event(struct demo_story *story, const struct value *line)
{
  const struct value *event = value_get(line, "event");
  const char *topic = screen_text(line, "topic");
  int64_t wall_ns = wall_of(screen_text(line, "time"));
  char text[512];
  if (strcmp(topic, "critical_path.breached") == 0) {
    demo_story_mark(story, DEMO_DETECTED, wall_ns, screen_text(event, "summary"));
  } else if (strcmp(topic, "critical_path.recovered") == 0) {
    demo_story_mark(story, DEMO_RECOVERED, wall_ns, screen_text(event, "summary"));
  } else if (strcmp(topic, "deploy.started") == 0 && story->at_wall_ns[DEMO_RECOVERED]) { // the shop was kept
    memset(story->at_wall_ns, 0, sizeof story->at_wall_ns);
    story->deploy_wall_ns = wall_ns;
    snprintf(text, sizeof text, "payments %s is ordered by %s", screen_text(event, "version"),
             screen_text(event, "actor"));
    tell(story, wall_ns, PLAIN, "deploy", text);
    demo_story_mark(story, DEMO_ONSET, story->failure_wall_ns, "a checkout failed"); // if it was told before this event
  } else if (strcmp(topic, "deploy.finished") == 0) {
    set_version(story, screen_text(event, "version"));
    if (story->deploy_wall_ns) {
      snprintf(text, sizeof text, "payments %s has taken over", story->version);
      tell(story, wall_ns, PLAIN, "deployed", text);
    }
  } else if (strcmp(topic, "deploy.rolled_back") == 0) {
    set_version(story, screen_text(event, "version"));
    snprintf(text, sizeof text, "payments %s again, by %s", story->version, screen_text(event, "actor"));
    demo_story_mark(story, DEMO_ROLLED_BACK, wall_ns, text);
  } else if (strcmp(topic, "notify.delivered") == 0 && strcmp(screen_text(event, "kind"), "page") == 0) {
    story->pages++;
    tell(story, wall_ns, RED, "paged", screen_text(event, "title"));
  } else if (strcmp(topic, "notify.delivered") == 0) {
    snprintf(text, sizeof text, "%s: \"%s\"", screen_text(line, "name"), screen_text(event, "title"));
    tell(story, wall_ns, PLAIN, "notified", text);
  } else if (strcmp(topic, "deploy.failed") == 0) {
    tell(story, wall_ns, RED, "failed", screen_text(event, "error"));
  }
}

bool demo_story_complete(const struct demo_story *story)
{
  for (int mark = 0; mark < DEMO_MARKS; mark++)
    if (!story->at_wall_ns[mark]) return false;
  return true;
}

static void print_json(const struct demo_story *story, double total_s, const char *why)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  struct buf out = { 0 };
  value_put(&pool, &document, "ok", value_bool(!why));
  if (why) value_put_text(&pool, &document, "error", why);
  for (int mark = 0; mark < DEMO_MARKS; mark++)
    value_put(&pool, &document, marks[mark].key,
              story->at_wall_ns[mark] ? value_number(after_deploy_s(story, story->at_wall_ns[mark])) : value_nil());
  value_put(&pool, &document, "total_s", value_number(total_s));
  value_put(&pool, &document, "checkouts", value_integer(story->checkouts));
  value_put(&pool, &document, "failed", value_integer(story->failed));
  value_put(&pool, &document, "pages", value_integer(story->pages));
  value_to_json(&document, &out);
  printf("%s\n", out.data);
  buf_free(&out);
  pool_fini(&pool);
}

void demo_story_end(const struct demo_story *story, int64_t now_wall_ns, const char *why)
{
  double total_s = (double)(now_wall_ns - story->began_wall_ns) / NS_PER_S;
  if (story->json) {
    print_json(story, total_s, why);
    return;
  }
  if (story->deploy_wall_ns) printf("\nTimeline, in seconds after the bad version was ordered:\n");
  for (int mark = 0; story->deploy_wall_ns && mark < DEMO_MARKS; mark++) {
    int64_t wall_ns = story->at_wall_ns[mark];
    if (wall_ns)
      printf("  %s%-11s %6.2f%s   %s%s%s\n", screen_colour(marks[mark].colour), marks[mark].name,
             after_deploy_s(story, wall_ns), screen_plain(), screen_colour(DIM), marks[mark].meaning, screen_plain());
    else
      printf("  %-11s      -   did not happen\n", marks[mark].name);
  }
  if (why) return;
  printf("%lld checkouts, %lld of them failed; %s. %.0f s in all.\n", (long long)story->checkouts,
         (long long)story->failed, story->pages ? "somebody was paged" : "nobody was paged", total_s);
  printf("This path uses a short window (10 s, recovery 5 s) for the demo; 5 minutes are usual.\n");
}
