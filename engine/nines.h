/* nines.h -- the public API of libnines: an engine that notices, mends and pages.
 *
 * This header is the whole contract; what is not declared here is not API.
 *   Errors     fallible calls return 0 or a negative NINES_E*; nines_errmsg() has the sentence.
 *   Ownership  _open allocates, _close frees and accepts NULL; strings passed in are copied; strings out are borrowed.
 *   Time       int64_t nanoseconds, names end in _ns, monotonic unless they say wall.
 *   Threads    calls marked [any] may come from any thread at any time between _open and _close; all others belong to
 *              the thread that opened the engine.
 */
#ifndef NINES_H
#define NINES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NINES_VERSION_MAJOR 0
#define NINES_VERSION_MINOR 1
#define NINES_VERSION_PATCH 0
#define NINES_VERSION       "0.1.0"
#define NINES_API           __attribute__((visibility("default")))

typedef struct nines nines;           /* an engine */
typedef struct nines_path nines_path; /* a critical path of an engine; lives as long as the engine */

/* Error codes, with the words nines_strerror() has for them. */
#define NINES_ERROR_MAP(X)                                                                                             \
  X(-1, NOMEM, "out of memory")                                                                                        \
  X(-2, INVAL, "invalid argument")                                                                                     \
  X(-3, EXISTS, "name already taken")                                                                                  \
  X(-4, NOTFOUND, "no such thing")                                                                                     \
  X(-5, LIMIT, "a configured limit was reached")                                                                       \
  X(-6, SCRIPT, "a policy failed")                                                                                     \
  X(-7, IO, "input or output failed")                                                                                  \
  X(-8, CORRUPT, "stored data is damaged")                                                                             \
  X(-9, BUSY, "in use by another")                                                                                     \
  X(-10, TIMEOUT, "timed out")                                                                                         \
  X(-11, CANCELED, "cancelled")                                                                                        \
  X(-12, DENIED, "not allowed")                                                                                        \
  X(-13, STATE, "not possible in this state")                                                                          \
  X(-14, VERSION, "another version's data")
enum {
#define X(code, name, text) NINES_E##name = (code),
  NINES_ERROR_MAP(X)
#undef X
};

/* A source of time. Pass your own to simulate or replay. */
typedef struct nines_clock nines_clock;
struct nines_clock {
  int64_t (*now_ns)(nines_clock *self);  /* monotonic, never goes back */
  int64_t (*wall_ns)(nines_clock *self); /* since 1970-01-01 UTC */
};

/* Set size with NINES_CONFIG_INIT; fields are only ever appended. Zero means "the default". */
typedef struct nines_config {
  size_t size;
  const char
      *dir;      /* a project: nines.yaml and what it names; NULL: no files, an engine in memory that listens nowhere */
  uint64_t seed; /* 0: from the system; same seed and same inputs, same decisions */
  int observe;   /* 1: record every effect as "would have", do nothing */
  /* Called for each event, on the engine's thread: topic as "critical_path.breached", the object's name, a JSON object.
   * The strings are valid during the call. */
  void (*on_event)(void *userdata, const char *topic, const char *name, const char *json);
  void *userdata;
  /* Where log lines go, one without its newline; NULL: standard error. */
  void (*on_log)(void *userdata, const char *line);
} nines_config;
#define NINES_CONFIG_INIT                                                                                              \
  {                                                                                                                    \
    sizeof(nines_config), NULL, 0, 0, NULL, NULL, NULL                                                                 \
  }

/* Opens an engine. On failure *out is NULL and `error` (may be NULL) holds the sentence, cut at error_size. */
NINES_API int nines_open(nines **out, const nines_config *config, char *error, size_t error_size);
/* Stops what runs, stores what must be kept, frees everything. */
NINES_API void nines_close(nines *engine);
/* Runs the engine's loop once: waits for something to do for at most wait_max_ns (0: not at all, <0: as long as it
 * takes; the beat comes every 50 ms anyhow). Returns 1 when nines_stop was asked and everything is drained, else 0 or
 * an error. */
NINES_API int nines_turn(nines *engine, int64_t wait_max_ns);
/* A file descriptor that becomes readable when nines_turn has something to do: for a host's own loop. */
NINES_API int nines_fd(const nines *engine);
NINES_API void nines_stop(nines *engine);                  /* [any] asks nines_turn to drain and return 1 */
NINES_API void nines_reload(nines *engine);                /* [any] reads configuration and policies again */
NINES_API int nines_load(nines *engine, const char *path); /* loads or reloads one policy file */
NINES_API const char *nines_errmsg(const nines *engine);   /* valid until the next call */
NINES_API const char *nines_strerror(int code);
NINES_API const char *nines_version(void);

/* The path of this name; declares it without an objective when no policy has yet (NINES_ELIMIT past 1,000 names).
 * Safe to keep for the engine's life. */
NINES_API int nines_path_get(nines *engine, const char *name, nines_path **out);
/* [any] One observation: `ok` is 0 or 1; duration in ns, negative when there is none. About 5 ns; no lock, no system
 * call. */
NINES_API void nines_path_record(nines_path *path, int ok, int64_t duration_ns);

#ifdef __cplusplus
}
#endif
#endif /* NINES_H */
