// From the raw bytes of a line's name and tags to what is known about them, so that tags are made canonical, series
// looked up and routes matched once for each distinct raw key and not once a line. Private to the StatsD intake.
//
// Bounded: a cache that is full forgets everything and starts again.
#ifndef NINES_IO_STATSD_CACHE_H
#define NINES_IO_STATSD_CACHE_H

#include "statsd.h"
#include "statsd_routes.h"

struct statsd_entry {
  uint64_t hash; // 0: free
  const char *key;
  uint16_t name_size, tags_size;
  uint8_t type, separator;
  uint8_t role;  // enum statsd_role under routes of routes_generation
  uint8_t fault; // enum statsd_fault of the key itself
  bool failed;   // its tags tell of a failure
  uint32_t routes_generation;
  uint32_t series_generation;
  const struct statsd_route *route;
  struct series *series; // NULL: not looked up yet
  double carry;          // weight that did not make a whole observation yet
};

struct statsd_cache;
struct statsd_cache *statsd_cache_open(uint32_t entries_max); // NULL: out of memory
void statsd_cache_close(struct statsd_cache *cache);
// The entry of a line's name, tags and type; *fresh: only the key is filled in. Valid until the next call. NULL: out of
// memory.
struct statsd_entry *statsd_cache_get(struct statsd_cache *cache, const struct statsd_line *line, bool *fresh);

#endif
