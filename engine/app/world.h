// A world: one whole engine in virtual time, with simulated users, services and receivers around it.
//
// The engine is the real one; only its host differs from live.h: the clock is moved by hand, the store is memory, the
// door records what goes out and answers from a script. A moment in which nothing is due costs nothing, so that days
// pass in milliseconds. Everything is drawn from the seed: the same calls give the same world.
#ifndef NINES_APP_WORLD_H
#define NINES_APP_WORLD_H

#include "engine.h"

struct world;

enum { WORLD_RECORDS_MAX = 100000 }; // of each list; when it is full, the older half goes

struct world_config {
  const struct view *policies; // files and directories
  size_t policy_count;
  const char *config; // a project's nines.yaml, with the door still simulated; NULL: one notifier "world" gets all
  uint64_t seed;
  int64_t beat_ns;       // 0: 50 ms
  int64_t latency_ns;    // of the store and of everything behind the door; 0: until the next beat
  int64_t page_after_ns; // <0: the project's
  bool observe;
};

// What the users of a path, or of a version of a service, get. Negative: not said.
struct world_behaviour {
  double rps;
  double success; // percent
  int64_t latency_ns;
  int64_t jitter_ns; // 0: exactly the latency; not said: a quarter of it
};

// How a version is deployed and what it does to the traffic of its service.
struct world_version {
  struct world_behaviour behaviour;
  int64_t takes_ns; // of its deploy command; 0: the latency of everything
  bool fails;       // the deploy command does
};

// The answer to a request, a command ("exec", its words) or a delivery ("deliver", the notifier).
struct world_reply {
  int status; // 0: 200, and 0 for commands
  struct view body;
  const char *error; // a sentence; NULL: it works
  int code;          // of the error, NINES_E*
  int64_t latency_ns;
  int64_t times; // 0: always
};

// What is remembered for the test, oldest first, as values.
enum world_list {
  WORLD_PAGES, // one for each that a receiver would show: repeated deliveries are counted in `deliveries`
  WORLD_NOTIFICATIONS,
  WORLD_RESOLUTIONS,
  WORLD_COMMANDS,
  WORLD_HTTP,
  WORLD_EVENTS,
  WORLD_LOG,
  WORLD_LISTS
};

// Fails when a policy is rejected, with its sentence.
int world_open(struct world **out, const struct world_config *config, struct status *status);
void world_close(struct world *world);    // NULL is fine
nines *world_engine(struct world *world); // valid until the next world_crash

// From now on, users come to the path like this; another call replaces it.
int world_traffic(struct world *world, const char *path, const struct world_behaviour *behaviour,
                  struct status *status);
// What runs before the first deployment ("v0" when nobody says). Makes the service known.
int world_service(struct world *world, const char *service, const char *version, struct status *status);
const char *world_version(const struct world *world, const char *service); // that runs; NULL: no such service
// Time goes on for `span_ns`, rounded up to the beat.
void world_advance(struct world *world, int64_t span_ns);
// The same until `done` says so, asked after each beat. False: it never did.
bool world_advance_until(struct world *world, int64_t span_ns, bool (*done)(void *userdata), void *userdata);
// A request as the API would make it; time goes on until it is answered. HTTP status; *document lives until the next
// call.
int world_call(struct world *world, const char *verb, const struct value *arguments, const struct value **document);
// Deploys, and returns when that has ended: 200, or as world_call.
int world_deploy(struct world *world, const char *service, const char *version, const char *actor,
                 const struct world_version *details, const struct value **document);
// Announces a policy's text (NULL data: the file is gone) and reloads; the sentence when it is rejected.
int world_load(struct world *world, const char *file, struct view text, struct status *status);
int world_load_file(struct world *world, const char *path, struct status *status);
// The engine is killed and starts again after `down_ns`: the arena and what the store has taken survive. A drawn number
// of the commits under way were stored.
int world_crash(struct world *world, int64_t down_ns, struct status *status);
// A sample of a series, `name` or `name{label="x"}`: the value of a gauge, or how much a counter grows.
int world_send(struct world *world, struct view key, bool counter, double value, struct status *status);
void world_store_fail(struct world *world, bool fail); // from now on commits fail
// `method` as "GET", `target` an URL or its start with a *.
void world_reply(struct world *world, const char *method, const char *target, const struct world_reply *reply);

uint32_t world_count(const struct world *world, enum world_list list);
const struct value *world_at(const struct world *world, enum world_list list, uint32_t index);
uint64_t world_hash(const struct world *world); // of everything that happened so far
int64_t world_now_ns(const struct world *world);
int64_t world_wall_ns(const struct world *world);

#endif
