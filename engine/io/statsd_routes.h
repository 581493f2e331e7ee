// Which critical path a StatsD line observes; an immutable table, private to the StatsD intake.
#ifndef NINES_IO_STATSD_ROUTES_H
#define NINES_IO_STATSD_ROUTES_H

#include "statsd.h"

struct statsd_routes;

// What a line says to its path.
enum statsd_role { STATSD_ROLE_NONE, STATSD_ROLE_OBSERVE, STATSD_ROLE_GOOD, STATSD_ROLE_BAD };

// `generation` differs from all others in the process's life. NULL: out of memory.
struct statsd_routes *statsd_routes_make(const struct statsd_route *routes, uint32_t count, uint32_t generation);
void statsd_routes_free(struct statsd_routes *routes);
uint32_t statsd_routes_generation(const struct statsd_routes *routes);
// The route of a line by its name and type, valid as long as the table; NULL with STATSD_ROLE_NONE: none.
const struct statsd_route *statsd_routes_match(const struct statsd_routes *routes, struct view name,
                                               enum statsd_type type, enum statsd_role *role);

#endif
