// The stream of events: a ring of owned copies, delivered to subscribers in order, folded into the trace hash.
//
// A publish inside a delivery is stored and hashed at once, so its sequence tells when it was published, and delivered
// after the current event has reached everybody: subscribers see one order, whoever publishes. The hash takes each
// text with its length, so that ("ab","c") and ("a","bc") differ.
#include "event.h"

#include <string.h>

#include "check.h"
#include "hash.h"
#include "mem.h"

struct subscriber {
  char *pattern;
  event_fn *fn;
  void *userdata;
};

struct events {
  struct event ring[EVENT_RING_MAX]; // slot: sequence % EVENT_RING_MAX; topic owns the block of all three texts
  uint64_t last;
  uint64_t delivered;
  bool delivering;
  uint64_t hash;
  struct subscriber subscribers[EVENT_SUBSCRIBERS_MAX];
  uint32_t subscriber_count;
};

struct events *events_open(void)
{
  struct events *events = mem_must(sizeof *events);
  events->hash = HASH_START;
  return events;
}

void events_close(struct events *events)
{
  if (!events) return;
  for (size_t i = 0; i < EVENT_RING_MAX; i++) mem_free((void *)events->ring[i].topic);
  for (uint32_t i = 0; i < events->subscriber_count; i++) mem_free(events->subscribers[i].pattern);
  mem_free(events);
}

void events_subscribe(struct events *events, const char *pattern, event_fn *fn, void *userdata)
{
  CHECK(events->subscriber_count < EVENT_SUBSCRIBERS_MAX);
  events->subscribers[events->subscriber_count++] = (struct subscriber){ mem_must_copy(pattern), fn, userdata };
}

void events_mix(struct events *events, const void *data, size_t size)
{
  uint64_t length = size;
  events->hash = hash_add(events->hash, &length, sizeof length);
  events->hash = hash_add(events->hash, data, size);
}

static void store(struct events *events, int64_t now_ns, int64_t wall_ns, const char *topic, const char *name,
                  const char *json)
{
  size_t topic_size = strlen(topic) + 1, name_size = strlen(name) + 1, json_size = strlen(json) + 1;
  char *block = mem_must(topic_size + name_size + json_size);
  memcpy(block, topic, topic_size);
  memcpy(block + topic_size, name, name_size);
  memcpy(block + topic_size + name_size, json, json_size);
  struct event *slot = &events->ring[++events->last % EVENT_RING_MAX];
  mem_free((void *)slot->topic);
  *slot = (struct event){ .sequence = events->last,
                          .now_ns = now_ns,
                          .wall_ns = wall_ns,
                          .topic = block,
                          .name = block + topic_size,
                          .json = block + topic_size + name_size };
}

static void deliver(struct events *events)
{
  events->delivering = true;
  while (events->delivered < events->last) {
    const struct event *event = &events->ring[++events->delivered % EVENT_RING_MAX];
    for (uint32_t i = 0; i < events->subscriber_count; i++) {
      struct subscriber *subscriber = &events->subscribers[i];
      if (event_matches(subscriber->pattern, event->topic)) subscriber->fn(subscriber->userdata, event);
    }
  }
  events->delivering = false;
}

void events_publish(struct events *events, int64_t now_ns, int64_t wall_ns, const char *topic, const char *name,
                    const char *json)
{
  // The event that is being delivered and those that wait for it stay in the ring.
  CHECK(!events->delivering || events->last + 1 - events->delivered < EVENT_RING_MAX);
  if (!name) name = "";
  if (!json) json = "{}";
  store(events, now_ns, wall_ns, topic, name, json);
  events_mix(events, &now_ns, sizeof now_ns);
  events_mix(events, topic, strlen(topic));
  events_mix(events, name, strlen(name));
  events_mix(events, json, strlen(json));
  if (!events->delivering) deliver(events);
}

const struct event *events_after(const struct events *events, uint64_t after)
{
  if (after >= events->last) return NULL;
  uint64_t oldest = events->last < EVENT_RING_MAX ? 1 : events->last - EVENT_RING_MAX + 1;
  uint64_t wanted = after + 1 < oldest ? oldest : after + 1;
  return &events->ring[wanted % EVENT_RING_MAX];
}

uint64_t events_last(const struct events *events)
{
  return events->last;
}

uint64_t events_hash(const struct events *events)
{
  return events->hash;
}

bool event_matches(const char *pattern, const char *topic)
{
  size_t size = strlen(pattern);
  if (size > 0 && pattern[size - 1] == '*') return strncmp(pattern, topic, size - 1) == 0;
  return strcmp(pattern, topic) == 0;
}
