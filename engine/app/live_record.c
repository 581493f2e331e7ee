// The recording of a life: every input in its order, decisions beside them, whole seconds apart.
//
// A segment can be read by itself, because it begins by repeating what earlier ones told.

#include <string.h>

#include "beat.h"
#include "live.h"
#include "mem.h"

static void record_into(struct recorder *recorder, struct input_clock *clock, const struct input *input)
{
  struct buf out = { 0 };
  if (!recorder) return;
  input_encode(input, clock, &out);
  recorder_append(recorder, (uint8_t)input->kind, buf_view(&out));
  buf_free(&out);
}

static void repeat_sources(const struct map *sources, struct input input, struct recorder *recorder,
                           struct input_clock *clock)
{
  size_t at = 0;
  input.kind = INPUT_SOURCE;
  for (struct map_entry *entry; (entry = map_next(sources, &at));) {
    input.name = view_of(entry->key);
    input.body = view_of(entry->value);
    record_into(recorder, clock, &input);
  }
}

// What makes a segment readable by itself: seed and mode, the numbers of paths, the texts of policies.
static void begin_segment(void *userdata, struct recorder *recorder)
{
  struct live *live = userdata;
  struct input_clock *clock = recorder == live->seconds ? &live->seconds_clock : &live->beats_clock;
  *clock = (struct input_clock){ 0 };
  if (!live->engine) return; // the very first: START is recorded as an input
  struct input base = { .now_ns = live->engine->now_ns, .wall_ns = live->engine->wall_ns, .code = INPUT_PREAMBLE };
  repeat_sources(&live->sources, base, recorder, clock);
  repeat_sources(&live->loaded, base, recorder, clock);
  struct input reload = base;
  reload.kind = INPUT_RELOAD;
  record_into(recorder, clock, &reload);
  for (uint32_t i = 0; i < live->engine->path_count; i++) {
    struct buf body = { 0 };
    beat_declaration(live->engine->path_index[i], &body);
    struct input input = base;
    input.kind = INPUT_CALL;
    input.name = view_of("path.declare");
    input.body = buf_view(&body);
    record_into(recorder, clock, &input);
    buf_free(&body);
  }
}

void live_record(struct live *live, struct input *input)
{
  input->now_ns = live->clock->now_ns(live->clock);
  input->wall_ns = live->clock->wall_ns(live->clock);
  record_into(live->beats, &live->beats_clock, input);
}

// Decisions go into the recording beside the inputs, so that a replay can say where it differs.
void live_record_event(struct live *live, const struct event *event)
{
  struct buf out = { 0 };
  if (!live->beats) return;
  buf_add(&out, event->topic, strlen(event->topic) + 1);
  buf_add(&out, event->name, strlen(event->name) + 1);
  buf_add(&out, event->json, strlen(event->json) + 1);
  recorder_append(live->beats, RECORDED_EVENT, buf_view(&out));
  buf_free(&out);
}

void live_record_second(struct live *live, int64_t now_ns, int64_t wall_ns)
{
  struct status status = { 0 };
  if (!live->seconds) return;
  struct buf body = { 0 };
  engine_collect_second(live->engine, &body);
  if (body.size) {
    struct input input = { .kind = INPUT_BEAT, .now_ns = now_ns, .wall_ns = wall_ns, .body = buf_view(&body) };
    record_into(live->seconds, &live->seconds_clock, &input);
  }
  if (recorder_flush(live->seconds, now_ns, wall_ns, &status) < 0)
    live_log(live, "error", "recording: %s", status.text);
  buf_free(&body);
}

void live_record_flush(struct live *live, int64_t now_ns, int64_t wall_ns)
{
  struct status status = { 0 };
  if (live->beats && recorder_flush(live->beats, now_ns, wall_ns, &status) < 0)
    live_log(live, "error", "recording: %s", status.text);
}

int live_record_open(struct live *live, struct status *status)
{
  struct status notice = { 0 };
  int64_t now_ns = live->clock->now_ns(live->clock), wall_ns = live->clock->wall_ns(live->clock);
  char *dir = live_in_data(live, "recording");
  struct recorder_config beats = { .dir = dir,
                                   .prefix = "beats",
                                   .total_bytes = (size_t)live->settings->record_bytes_max,
                                   .on_segment = begin_segment,
                                   .userdata = live };
  struct recorder_config seconds = beats;
  seconds.prefix = "seconds";
  int code = recorder_open(&live->beats, &beats, now_ns, wall_ns, &notice, status);
  if (code == 0 && notice.text[0]) live_log(live, "warn", "%s", notice.text);
  notice.text[0] = '\0';
  if (code == 0) code = recorder_open(&live->seconds, &seconds, now_ns, wall_ns, &notice, status);
  if (code == 0 && notice.text[0]) live_log(live, "warn", "%s", notice.text);
  mem_free(dir);
  return code;
}
