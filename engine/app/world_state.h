// The inside of a world, shared by its parts.
#ifndef NINES_APP_WORLD_STATE_H
#define NINES_APP_WORLD_STATE_H

#include "clock.h"
#include "memory_store.h"
#include "world.h"

enum { WORLD_CLASSES = 64 }; // of latency, equally likely

// Something under way outside of the engine: it ends at its time and comes back as an input.
struct world_pending {
  struct heap_node node; // first
  enum input_kind kind;
  uint64_t op; // 0: the engine that asked is gone
  int code;
  struct buf body;
  struct txn txn; // of a commit
  char *command;  // id of a command, or NULL
  char *service;  // of a deploy command, or NULL
  char *version;
};

// A command that was started, for engines that ask again after a crash.
struct world_command {
  struct world_pending *pending; // NULL: it has ended
  int code;
  struct buf body;
};

struct world_users {
  char *path;
  struct path *handle;
  struct world_behaviour asked, now;  // of the path; with the version that runs
  uint64_t paths_seen, versions_seen; // counts at which `now` was made
  struct rng random;
  bool exact;
  int64_t latency_ns[WORLD_CLASSES];
};

struct world_script {
  char *method, *target;
  struct world_reply reply;
  char *body, *error;
};

struct world_record {
  struct pool pool;
  struct value value;
  uint32_t deliveries;
};

struct world_records {
  struct world_record *items;
  uint32_t count, capacity;
};

struct world {
  struct clock_virtual clock;
  struct settings *settings;
  struct memory_store *store;
  struct series_table *series; // what senders have sent; theirs, so a crash of the engine leaves it
  nines *engine;
  int arena_fd;
  char arena_path[40];
  uint64_t seed;
  int64_t beat_ns, latency_ns;
  bool store_fails;

  struct heap pending;
  struct map commands; // id -> struct world_command
  struct map services; // name -> text: the version that runs
  struct map versions; // service and version -> struct world_version
  uint64_t versions_changed;
  struct map users;   // path -> struct world_users
  struct map sources; // policy file -> text
  struct map library_dirs;
  struct map libraries; // name -> text
  struct world_script *scripts;
  uint32_t script_count;
  int64_t drawn_ns; // traffic up to then has come
  struct rng chance;
  struct buf beat;

  uint64_t next_exchange, answered;
  int answer_status;
  struct pool answer_pool;
  struct value answer;
  struct world_records records[WORLD_LISTS];
  uint64_t past_hash; // of engines that have crashed
};

// world_door.c
struct door world_door(struct world *world);
void world_pending_free(struct world_pending *pending);
struct world_record *world_record(struct world *world, enum world_list list);
void world_record_event(void *world, const struct event *event);
void world_door_crash(struct world *world);
void world_door_close(struct world *world);
// world_traffic.c
bool world_users_active(const struct world *world);
void world_users_draw(struct world *world);
void world_users_attach(struct world *world); // to the paths of a new engine
void world_users_close(struct world *world);
// world_file.c
int world_file_check(const char *name, struct status *status);
int world_files_read(struct world *world, struct view path, struct status *status);
bool world_library(struct world *world, const char *name, struct view *text);
void world_files_close(struct world *world);

#endif
