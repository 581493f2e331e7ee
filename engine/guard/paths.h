// What a process that records a critical path needs of it: a meter for each writer, and when a call is slow.
//
// The engine's judgement of the path (app/path.h) sums the meters; whoever records knows nothing of it.
#ifndef NINES_GUARD_PATHS_H
#define NINES_GUARD_PATHS_H

#include "guards.h"
#include "meter.h"

enum { PATH_GUARDS_MAX = 1000 };

struct path_rule {
  _Atomic uint32_t made;        // 1; 0: damaged or fresh
  _Atomic int64_t slow_over_ns; // 0: no latency objective
};

struct nines_path {
  struct guard guard; // shared: struct path_rule; stripes: struct meter
  void *owner;        // the engine's struct path; NULL: not judged (yet)
};

static inline struct meter *path_meter_of(const nines_path *path, uint32_t writer) // NULL: none
{
  return atomic_load_explicit(&path->guard.stripes[writer], memory_order_acquire);
}
static inline int64_t path_slow_ns(const nines_path *path)
{
  const struct path_rule *rule = path->guard.shared;
  return atomic_load_explicit(&rule->slow_over_ns, memory_order_relaxed);
}
static inline void path_slow_over(const nines_path *path, int64_t ns)
{
  struct path_rule *rule = path->guard.shared;
  atomic_store_explicit(&rule->slow_over_ns, ns, memory_order_relaxed);
}

#endif
