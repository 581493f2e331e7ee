// A clock that stands still until somebody moves it: the time of worlds, replays and tests.
#include "clock.h"

static int64_t virtual_now(struct nines_clock *self)
{
  return ((struct clock_virtual *)self)->now_ns;
}

static int64_t virtual_wall(struct nines_clock *self)
{
  const struct clock_virtual *clock = (struct clock_virtual *)self;
  return clock->now_ns + clock->wall_offset_ns;
}

void clock_virtual_init(struct clock_virtual *clock)
{
  *clock = (struct clock_virtual){
    .clock = { .now_ns = virtual_now, .wall_ns = virtual_wall },
    .wall_offset_ns = CLOCK_VIRTUAL_WALL_NS,
  };
}
