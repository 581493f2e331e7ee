// Routes by name. A line's own name wins over its name without ".ok" and the like, so that a path may be called
// "x.error"; only counters have such suffixes.
#include "statsd_routes.h"

#include <string.h>

#include "map.h"
#include "mem.h"

struct statsd_routes {
  uint32_t generation;
  struct map by_name;
  struct statsd_route route[]; // names belong to the map
};

struct statsd_routes *statsd_routes_make(const struct statsd_route *routes, uint32_t count, uint32_t generation)
{
  struct statsd_routes *made = mem_zalloc(sizeof *made + count * sizeof made->route[0]);
  if (made == NULL) return NULL;
  made->generation = generation;
  for (uint32_t i = 0; i < count; i++) {
    made->route[i] = (struct statsd_route){ NULL, routes[i].meter, routes[i].slow_over_ns };
    if (map_put(&made->by_name, view_of(routes[i].name), &made->route[i]) != 0) {
      statsd_routes_free(made);
      return NULL;
    }
  }
  return made;
}

void statsd_routes_free(struct statsd_routes *routes)
{
  if (routes == NULL) return;
  map_fini(&routes->by_name);
  mem_free(routes);
}

uint32_t statsd_routes_generation(const struct statsd_routes *routes)
{
  return routes->generation;
}

const struct statsd_route *statsd_routes_match(const struct statsd_routes *routes, struct view name,
                                               enum statsd_type type, enum statsd_role *role)
{
  static const struct {
    const char *suffix;
    enum statsd_role role;
  } ending[] = { { ".ok", STATSD_ROLE_GOOD },    { ".success", STATSD_ROLE_GOOD }, { ".error", STATSD_ROLE_BAD },
                 { ".errors", STATSD_ROLE_BAD }, { ".failure", STATSD_ROLE_BAD },  { ".failed", STATSD_ROLE_BAD } };
  *role = STATSD_ROLE_NONE;
  if (type != STATSD_COUNTER && type != STATSD_TIMER) return NULL;
  const struct statsd_route *route = map_get(&routes->by_name, name);
  if (route != NULL) {
    *role = STATSD_ROLE_OBSERVE;
    return route;
  }
  for (size_t i = 0; type == STATSD_COUNTER && i < sizeof ending / sizeof *ending; i++) {
    size_t size = strlen(ending[i].suffix);
    if (name.size <= size || memcmp(name.data + name.size - size, ending[i].suffix, size) != 0) continue;
    route = map_get(&routes->by_name, (struct view){ name.data, name.size - size });
    if (route != NULL) *role = ending[i].role;
    return route;
  }
  return NULL;
}
