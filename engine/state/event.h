// What happened: a numbered stream of events with topics, kept in a ring, handed to subscribers, summed up in a trace
// hash.
//
// Topics are "kind.what" ("critical_path.breached"); `name` is the object's. The payload is JSON text. Subscribers are
// called at once, in order of subscription; what they publish in turn is delivered after the current event. The trace
// hash runs over time, topic, name and payload of every event: two runs with the same inputs and seed have the same
// hash.
#ifndef NINES_STATE_EVENT_H
#define NINES_STATE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

enum { EVENT_RING_MAX = 1024, EVENT_SUBSCRIBERS_MAX = 16 };

struct event {
  uint64_t sequence; // from 1, without gaps
  int64_t now_ns;
  int64_t wall_ns;
  const char *topic;
  const char *name; // "" when the event is about no object
  const char *json; // an object
};

typedef void event_fn(void *userdata, const struct event *event);

struct events;

struct events *events_open(void);
void events_close(struct events *events);
// `pattern`: "*", "breaker.*" or a whole topic. At most EVENT_SUBSCRIBERS_MAX (CHECKed: subscribers are parts of the
// engine).
void events_subscribe(struct events *events, const char *pattern, event_fn *fn, void *userdata);
void events_publish(struct events *events, int64_t now_ns, int64_t wall_ns, const char *topic, const char *name,
                    const char *json);
// The oldest kept event with a sequence above `after`, or NULL; valid until the next publish.
const struct event *events_after(const struct events *events, uint64_t after);
uint64_t events_last(const struct events *events); // sequence of the newest; 0: none yet
uint64_t events_hash(const struct events *events);
// Mixes something that is no event into the trace hash (an effect that left the engine).
void events_mix(struct events *events, const void *data, size_t size);
bool event_matches(const char *pattern, const char *topic);

#endif
