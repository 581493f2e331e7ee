// The body of a beat: what every path's meters got since the last one, and the watched series that changed.
//
//   0x01 path: number, total, bad, slow, timed, sum of us, buckets, then (gap to the bucket, count) each; varints
//   0x02 gauge: size of key, key, 8 bytes of the value
//   0x03 a breaker's move: protection.c
// The live engine writes it from its meters, so that the recorder has it; a replay puts it into the meters before it
// folds.

#include <math.h>
#include <string.h>

#include "beat.h"
#include "duration.h"
#include "engine.h"
#include "path.h"
#include "protection.h"

#define STALE_NS (5 * NS_PER_MIN) // a series that nobody has sent for so long has no data
enum { BEAT_PATH = 1, BEAT_GAUGE = 2, BEAT_MOVE = 3 };

static void collect_latency(struct path *path, struct buf *out)
{
  uint32_t count[HISTOGRAM_BUCKETS] = { 0 };
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct meter *meter = path_meter_of(path->recorded, writer);
    if (meter) meter_add_latency(meter, count);
  }
  uint32_t changed = 0;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) changed += count[i] != path->seen_latency[i];
  buf_varint(out, changed);
  for (uint32_t i = 0, last = 0; i < HISTOGRAM_BUCKETS && changed; i++) {
    if (count[i] == path->seen_latency[i]) continue;
    buf_varint(out, i - last);
    buf_varint(out, count[i] - path->seen_latency[i]);
    last = i;
  }
  memcpy(path->seen_latency, count, sizeof count);
}

static void collect_path(struct path *path, struct buf *out)
{
  struct tally tally = path_tally(path);
  struct tally delta = tally_sub(tally, path->seen);
  if (delta.total == 0 && delta.bad == 0 && delta.slow == 0) return;
  uint64_t timed = 0, sum_us = 0;
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct meter *meter = path_meter_of(path->recorded, writer);
    if (!meter) continue;
    timed += atomic_load_explicit(&meter->timed, memory_order_relaxed);
    sum_us += atomic_load_explicit(&meter->sum_us, memory_order_relaxed);
  }
  buf_byte(out, BEAT_PATH);
  buf_varint(out, path->number);
  buf_varint(out, delta.total);
  buf_varint(out, delta.bad);
  buf_varint(out, delta.slow);
  buf_varint(out, timed - path->seen_timed);
  buf_varint(out, sum_us - path->seen_sum_us);
  collect_latency(path, out);
  path->seen = tally;
  path->seen_timed = timed;
  path->seen_sum_us = sum_us;
}

static void collect_gauges(nines *engine, int64_t now_ns, struct buf *out)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->gauges, &at));) {
    struct gauge *gauge = entry->value;
    const char *split = memchr(entry->key, '\n', entry->key_size);
    struct view name = { entry->key, (size_t)(split - entry->key) };
    struct series_reading reading;
    double value = NAN;
    // A counter keeps its sum: that nothing was counted is no lack of data.
    if (series_find(engine->series, name, view_of(split + 1), &reading) &&
        (reading.type == SERIES_COUNTER || now_ns - reading.last_ns < STALE_NS))
      value = reading.value;
    if (memcmp(&value, &gauge->seen, sizeof value) == 0) continue;
    gauge->seen = value;
    buf_byte(out, BEAT_GAUGE);
    buf_varint(out, entry->key_size);
    buf_add(out, entry->key, entry->key_size);
    buf_add(out, &value, sizeof value);
  }
}

void engine_collect(nines *engine, int64_t now_ns, struct buf *body)
{
  for (uint32_t i = 0; i < engine->path_count; i++) collect_path(engine->path_index[i], body);
  if (engine->series) collect_gauges(engine, now_ns, body);
  protections_collect(engine, now_ns, BEAT_MOVE, body);
}

void beat_declaration(const struct path *path, struct buf *out)
{
  buf_text(out, "{\"path\":");
  buf_json_text(out, view_of(path->name));
  buf_printf(out, ",\"number\":%u,\"actor\":\"engine\"}", path->number);
}

static void collect_second(struct path *path, struct buf *out)
{
  struct tally delta = tally_sub(path->seen, path->second_seen);
  if (delta.total == 0) return;
  uint32_t octave[PATH_OCTAVES] = { 0 }, changed = 0;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) octave[i / HISTOGRAM_PER_OCTAVE] += path->seen_latency[i];
  for (uint32_t i = 0; i < PATH_OCTAVES; i++) changed += octave[i] != path->second_octave[i];
  buf_byte(out, BEAT_PATH);
  buf_varint(out, path->number);
  buf_varint(out, delta.total);
  buf_varint(out, delta.bad);
  buf_varint(out, delta.slow);
  buf_varint(out, 0); // the sum of durations is the beats'
  buf_varint(out, 0);
  buf_varint(out, changed);
  for (uint32_t i = 0, last = 0; i < PATH_OCTAVES; i++) {
    if (octave[i] == path->second_octave[i]) continue;
    uint32_t middle = i * HISTOGRAM_PER_OCTAVE + HISTOGRAM_PER_OCTAVE / 2;
    buf_varint(out, middle - last);
    buf_varint(out, octave[i] - path->second_octave[i]);
    last = middle;
  }
  memcpy(path->second_octave, octave, sizeof octave);
  path->second_seen = path->seen;
}

void engine_collect_second(nines *engine, struct buf *body)
{
  for (uint32_t i = 0; i < engine->path_count; i++) collect_second(engine->path_index[i], body);
}

// Puts a recorded delta where live traffic would have put it.
static bool replay_path(struct view *in, struct path *path, const uint64_t field[6])
{
  struct meter *meter = path ? path_meter_of(path->recorded, WRITER_LOOP) : NULL;
  if (meter) {
    atomic_fetch_add_explicit(&meter->total, field[1], memory_order_relaxed);
    atomic_fetch_add_explicit(&meter->bad, field[2], memory_order_relaxed);
    atomic_fetch_add_explicit(&meter->slow, field[3], memory_order_relaxed);
    atomic_fetch_add_explicit(&meter->timed, field[4], memory_order_relaxed);
    atomic_fetch_add_explicit(&meter->sum_us, field[5], memory_order_relaxed);
  }
  uint64_t buckets;
  if (!view_varint(in, &buckets) || buckets > HISTOGRAM_BUCKETS) return false;
  for (uint64_t index = 0; buckets > 0; buckets--) {
    uint64_t gap, count;
    if (!view_varint(in, &gap) || !view_varint(in, &count)) return false;
    index += gap;
    if (gap >= HISTOGRAM_BUCKETS || index >= HISTOGRAM_BUCKETS) return false;
    if (meter) atomic_fetch_add_explicit(&meter->latency.count[index], (uint32_t)count, memory_order_relaxed);
  }
  return true;
}

static bool fold_path(nines *engine, struct view *in)
{
  uint64_t field[6];
  for (int i = 0; i < 6; i++)
    if (!view_varint(in, &field[i])) return false;
  struct path *path = field[0] < engine->path_count ? engine->path_index[field[0]] : NULL;
  if (engine->replay) {
    if (!replay_path(in, path, field)) return false;
  } else {
    uint64_t buckets, skipped;
    if (!view_varint(in, &buckets)) return false;
    for (uint64_t i = 0; i < 2 * buckets; i++)
      if (!view_varint(in, &skipped)) return false;
  }
  if (path) path_fold(path);
  return true;
}

static bool fold_gauge(nines *engine, struct view *in)
{
  uint64_t size;
  struct view key, bytes;
  double value;
  if (!view_varint(in, &size) || !view_take(in, (size_t)size, &key) || !view_take(in, sizeof value, &bytes))
    return false;
  memcpy(&value, bytes.data, sizeof value);
  struct gauge *gauge = map_get(&engine->gauges, key);
  if (gauge) gauge->value = value;
  return true;
}

int paths_fold(nines *engine, struct view beat, struct status *status)
{
  while (beat.size > 0) {
    char kind = beat.data[0];
    beat.data++;
    beat.size--;
    bool whole = kind == BEAT_PATH    ? fold_path(engine, &beat)
                 : kind == BEAT_GAUGE ? fold_gauge(engine, &beat)
                 : kind == BEAT_MOVE  ? protections_fold(engine, &beat)
                                      : false;
    if (!whole)
      return status_set(status, NINES_ECORRUPT, "a beat in the recording cannot be read; the rest of it is skipped");
  }
  return 0;
}
