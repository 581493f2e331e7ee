// The living host of an engine: real time, real sockets, real effects, on one loop.
//
// live_open reads the project, takes up what an earlier life left, and listens; live_turn runs the loop. All inputs
// pass live_input, which records them before the engine sees them. Parts with many routes are in api.c, effects in
// live_door.c (those of a host in live_host.c), files in live_files.c, the recording in live_record.c.
#ifndef NINES_APP_LIVE_H
#define NINES_APP_LIVE_H

#include "command.h"
#include "courier.h"
#include "engine.h"
#include "fetch.h"
#include "loop.h"
#include "observation.h"
#include "recorder.h"
#include "serve.h"
#include "statsd.h"
#include "store.h"

struct live;

struct live_config {
  const char *dir; // of the project; NULL: none, nothing is listened to, nothing is kept
  uint64_t seed;   // 0: from the system
  bool observe;    // whatever nines.yaml says
  bool signals;    // SIGTERM and SIGINT stop, SIGHUP reloads: for the daemon, not for embedding
  void (*on_event)(void *userdata, const struct event *event);
  void (*on_log)(void *userdata, const char *level, const char *text);
  struct nines_clock *clock; // NULL: the system's
  int (*on_effect)(void *userdata, const struct nines_effect *effect);
  unsigned hosted; // NINES_EFFECT_* that go to on_effect
  void *userdata;
};

// A queued input: what callbacks bring while a turn runs.
struct live_input;
struct live_ticket {
  struct list node;
  uint64_t engine_ticket, store_ticket;
};

struct live {
  struct live_config config;
  char *dir; // absolute; NULL: none
  struct settings *settings;
  struct nines_clock *clock;
  struct loop *loop;
  struct store *store;         // NULL without a project: commits succeed at once
  struct commander *commander; // without a project: NULL before the first command
  char *commands_dir;          // of that one: removed at the end
  struct fetcher *fetcher;
  struct courier *courier;
  struct live_host *host;
  struct serve *serve;
  struct statsd *statsd;
  struct series_table *series;
  struct recorder *beats, *seconds;
  struct input_clock beats_clock, seconds_clock;
  nines *engine;
  uint64_t seed;

  bool in_turn;
  struct list queue;         // struct live_input
  struct list tickets;       // struct live_ticket
  struct list streams;       // event streams of the API
  struct list backups;       // exchanges that wait for a backup
  struct map ended_commands; // ids whose files are forgotten once everything is durable
  struct map operations;     // op -> struct live_operation
  struct map exchanges;      // op -> struct exchange
  uint64_t next_exchange;
  struct map sources; // policy file -> its text as announced
  struct map loaded;  // the same of files that the host loaded by itself
  struct map specs;   // policy file -> struct spec_run
  struct list watches;
  struct observations observations;
  struct buf beat;

  uint32_t paths_met;      // of the engine's guards, those looked at for paths that nobody declared
  struct loop_watch *door; // of the arena: attached processes ring it
  uint64_t routes_version; // engine->paths_changed as told to StatsD
  int64_t second_wall_ns;
  int64_t last_beat_ns;
  int64_t next_beat_ns; // by the host's clock
  int64_t late_ns_max;  // of beats
  bool stopping;
  _Atomic int stop_asked, reload_asked;
  int64_t stop_deadline_ns;
  uint64_t observations_total, observations_refused;
};

int live_open(struct live **out, const struct live_config *config, struct status *status);
void live_close(struct live *live);
// Waits for at most wait_max_ns. 1: stopped and drained; 0; or an error.
int live_turn(struct live *live, int64_t wait_max_ns);
void live_stop(struct live *live);   // [any]
void live_reload(struct live *live); // [any]

// For its parts.
void live_input(struct live *live, struct input input); // times are filled in; texts are copied when it has to wait
void live_declare_path(struct live *live, const char *name);
void live_log(struct live *live, const char *level, const char *format, ...) __attribute__((format(printf, 3, 4)));
char *live_in_data(const struct live *live, const char *name); // a path in the data directory; mem_free it
// live_record.c
int live_record_open(struct live *live, struct status *status);
void live_record(struct live *live, struct input *input); // an input that the engine has already
void live_record_event(struct live *live, const struct event *event);
void live_record_second(struct live *live, int64_t now_ns, int64_t wall_ns);
void live_record_flush(struct live *live, int64_t now_ns, int64_t wall_ns);
// live_door.c
struct door live_door(struct live *live);
int live_commander(struct live *live, struct status *status); // opens it when it is not there
void live_delivered(void *live, uint64_t op, int code, const char *why);
void live_store_poll(struct live *live);
void live_door_close(struct live *live);
// live_files.c
int live_settings(struct live *live, struct status *status); // loads nines.yaml of the project
void live_public_url(struct live *live);                     // links in messages name the port that was got
int live_sources(struct live *live,
                 struct status *status); // announces policies that changed and reloads; the number of changed ones
int live_watch(struct live *live, struct status *status);
void live_files_close(struct live *live);
char *live_read_file(const char *path, size_t limit, size_t *size, struct status *status); // mem_free it
// api.c
void api_handle(void *live, struct exchange *exchange);
void api_event(struct live *live, const struct event *event); // to the streams
void api_reply(struct live *live, uint64_t op, int status, const struct value *document);
void api_backup_done(struct live *live, uint64_t ticket, int code, const char *error);
void api_close(struct live *live); // ends the streams
void api_fini(struct live *live);  // after the server is closed

#endif
