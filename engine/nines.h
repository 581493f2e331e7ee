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

/* A source of time. Pass your own to simulate or replay; it must outlive the engine, and is read on its thread only. */
typedef struct nines_clock nines_clock;
struct nines_clock {
  int64_t (*now_ns)(nines_clock *self);  /* monotonic, never goes back */
  int64_t (*wall_ns)(nines_clock *self); /* since 1970-01-01 UTC */
};

/* Where memory comes from, for all engines and arenas of the process: call it before any other function of nines and
 * before there are threads that call one; NINES_ESTATE once memory was taken. The allocator resizes `ptr` (NULL with
 * old_size 0: a new block) to new_size, or frees it and returns NULL when new_size is 0; NULL otherwise means that
 * there is no memory, and the block stays. old_size is what was asked for; blocks are aligned to 16 bytes. It is called
 * from any thread at any time, also at the end of threads, and must not call nines. Scripts' memory comes from it too;
 * mapped files, thread stacks and what libuv, SQLite, libcurl and the like take for themselves do not. */
typedef void *nines_allocator(void *userdata, void *ptr, size_t old_size, size_t new_size);
NINES_API int nines_set_allocator(nines_allocator *allocator, void *userdata);

/* Something that the engine wants done in the world. The strings are never NULL and valid during the call. */
typedef struct nines_effect {
  size_t size;
  const char *id;      /* the dedup key: the same whenever this effect is asked for again, also after a crash */
  const char *kind;    /* "page", "notify", "deploy", "rollback", "current" or "exec" */
  const char *target;  /* the notifier ("host": no route takes it); the service; the program */
  const char *subject; /* the title; the version that shall run; the words of the command; "" of current */
  const char *details; /* a JSON object: of pages and notifications what a webhook gets (docs/http.md); else
                          "service", "from", "to", "reason" or "argv", "input" */
  int64_t timeout_ns;  /* without an answer for so long it has failed */
  uint32_t attempt;    /* from 1; above it only for pages and notifications */
  int resumed; /* 1: an earlier life of the engine asked for it and did not hear the end. Do not begin it (again):
                  answer how it ended, NINES_ENOTFOUND when you do not know */
} nines_effect;

/* What a host may take upon itself. */
enum {
  NINES_EFFECT_PAGES = 1,   /* kinds page and notify. At least once, with one id: EINVAL gives up, other errors are
                               tried again after 1 s, 2 s, ... 60 s for a day. In order for one alert */
  NINES_EFFECT_DEPLOYS = 2, /* deploy and rollback: at most once, after the journal has them. current: which version
                               runs? The answer's sentence tells; asked when no outcome of a resumed one is known */
  NINES_EFFECT_COMMANDS = 4 /* exec: at most once, after the journal has it; the answer's sentence is its output */
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
  /* NULL: the system's. With a clock of the host's, time is what it says in each nines_turn: one beat when 50 ms have
   * passed since the last, however many; so a simulation moves it by at most 50 ms and calls nines_turn(engine, 0).
   * Scripts are then limited by instructions alone; StatsD is off and no process can attach, for their time is the
   * system's. Files, sockets and commands keep the system's time too, their timeouts included. */
  nines_clock *clock;
  /* Called by nines_turn alone, on the engine's thread: do `effect`, or begin it. 0: nines_effect_done tells how it
   * went, from within this call or later; NINES_E*: as if answered so at once. Any call but nines_turn and nines_close
   * is fine in it. NULL: the engine acts by nines.yaml. With it messages that no route takes go to the notifier "host"
   * and services need no deploy command. In observe mode nothing is asked for. */
  int (*on_effect)(void *userdata, const nines_effect *effect);
  unsigned effects; /* which go to on_effect: a sum of NINES_EFFECT_*; 0: all */
} nines_config;
#define NINES_CONFIG_INIT                                                                                              \
  {                                                                                                                    \
    sizeof(nines_config), NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, 0                                                  \
  }

/* Opens an engine. On failure *out is NULL and `error` (may be NULL) holds the sentence, cut at error_size. */
NINES_API int nines_open(nines **out, const nines_config *config, char *error, size_t error_size);
/* Stops what runs, stores what must be kept, frees everything. */
NINES_API void nines_close(nines *engine);
/* Runs the engine's loop once: waits for something to do for at most wait_max_ns (0: not at all, <0: as long as it
 * takes; the beat comes every 50 ms anyhow). Returns 1 when nines_stop was asked and everything is drained, else 0 or
 * an error. */
NINES_API int nines_turn(nines *engine, int64_t wait_max_ns);
/* A file descriptor that becomes readable when nines_turn(engine, 0) has something to do: for a host's own loop. With a
 * clock of the host's, beats are due when that clock says so, which no descriptor can tell. */
NINES_API int nines_fd(const nines *engine);
NINES_API void nines_stop(nines *engine);                  /* [any] asks nines_turn to drain and return 1 */
NINES_API void nines_reload(nines *engine);                /* [any] reads configuration and policies again */
NINES_API int nines_load(nines *engine, const char *path); /* loads or reloads one policy file */
/* [any] The end of the effect of this id: 0, or a NINES_E* with a sentence that says why (NULL: none). An answer to
 * what is not asked for (any more) changes nothing. NINES_EINVAL: no id, or a code above 0. */
NINES_API int nines_effect_done(nines *engine, const char *id, int code, const char *sentence);
/* Tells of a deployment that the host has made, so that the service is known and there is something to roll back. */
NINES_API int nines_deployed(nines *engine, const char *service, const char *version);
NINES_API const char *nines_errmsg(const nines *engine); /* valid until the next call */
NINES_API const char *nines_strerror(int code);
NINES_API const char *nines_version(void);

/* The path of this name; declares it without an objective when no policy has yet (NINES_ELIMIT past 1,000 names).
 * Safe to keep for the engine's life. */
NINES_API int nines_path_get(nines *engine, const char *name, nines_path **out);
/* [any] One observation: `ok` is 0 or 1; duration in ns, negative when there is none. About 5 ns; no lock, no system
 * call. */
NINES_API void nines_path_record(nines_path *path, int ok, int64_t duration_ns);

/* ---- Primitives -----------------------------------------------------------------------------------------------
 *
 * Protections and measures for a request path. Each has a name and lives in an arena: memory that every thread (and
 * every attached process) shares. `_get` finds or makes one and is the only call that allocates; everything marked
 * [any] takes no lock, makes no system call and allocates nothing.
 *
 * A `_get` with a config applies it, keeping counts and state; NULL leaves settings as they are (defaults when new).
 * What a policy declares outranks what `_get` brings. Config structs begin with their size (`.size = sizeof config`),
 * zero means the default, fields are only appended. Objects live as long as their arena; names have at most 184 bytes.
 *
 * Time is given by the caller: the time of his event loop, nines_now_coarse_ns() (a few ns, steps of 4 ms), or
 * nines_now_ns() (some 20 ns) where latencies matter. It must not run ahead of the monotonic clock. With a time of your
 * own (a simulation), fold the arena once with it before the first `_get`: what is made begins at the last fold's time.
 */
typedef struct nines_arena nines_arena;

NINES_API nines_arena *nines_arena_of(nines *engine); /* the engine's own; folded by its beat */
/* An arena without an engine, in this process's memory. `seed` 0: from the system. */
NINES_API int nines_arena_open(nines_arena **out, uint64_t seed);
NINES_API void nines_arena_close(nines_arena *arena); /* of nines_arena_open or nines_attach; NULL is fine */
/* The beat of an arena of nines_arena_open, by one thread, every 50 ms or so: merges what threads counted, takes leases
 * back, turns adaptive limits and throttles. Of an attached arena: looks for an engine that was not there; call it each
 * second or so if you attached without one. */
NINES_API void nines_arena_fold(nines_arena *arena, int64_t now_ns);
NINES_API const char *nines_arena_errmsg(const nines_arena *arena); /* valid until the next call on the arena */

/* -- Attach: the arena of an engine that runs in another process.
 *
 * Everything below works on an attached arena as on the engine's own, at the same cost: asks, records and flags are
 * plain memory, and what one process decides (a breaker that opens) holds in all of them at once. `_get` asks the
 * engine for the object, which makes it within a beat, and adds it to its lists; it and _fold are the only calls that
 * wait or call the system. A process that dies gives its permits back within a second. After a fork the child goes on
 * with the same handles; permits belong to the process that asked. Who may attach is a matter of the file's
 * permissions.
 *
 * Without its engine an attached process goes on with the last decisions for keep_ns; then each object answers by its
 * `lost` setting, a flag by its default, until the engine is back. */
enum { NINES_LOST_ADMIT = 0, NINES_LOST_REFUSE = 1 };
typedef struct nines_attach_config {
  size_t size;
  int64_t wait_ns;    /* 1 s; _attach and each _get wait so long for it to be there; negative: not at all */
  int64_t keep_ns;    /* 10 s */
  int without_engine; /* 1: attaches also when no engine runs there (yet): objects answer by `lost` until one does */
} nines_attach_config;
/* `path`: the file "arena" in the engine's data directory. `config` may be NULL. NINES_ENOTFOUND: no engine runs there.
 * NINES_EVERSION: it is of another version. NINES_EDENIED: not for this user. NINES_ELIMIT: too many processes and
 * threads (29 numbers for both). `error` (may be NULL) gets the sentence. One thread at a time for all but [any]. */
NINES_API int nines_attach(nines_arena **out, const char *path, const nines_attach_config *config, char *error,
                           size_t error_size);
enum { NINES_ENGINE_THERE = 0, NINES_ENGINE_GONE = 1 /* decisions are kept */, NINES_ENGINE_LOST = 2 };
NINES_API int nines_arena_engine(const nines_arena *arena,
                                 int64_t now_ns); /* [any] of an attached one: NINES_ENGINE_* */

NINES_API int64_t nines_now_ns(void);        /* [any] CLOCK_MONOTONIC */
NINES_API int64_t nines_now_coarse_ns(void); /* [any] CLOCK_MONOTONIC_COARSE */

/* The answer to an ask. Pass it back to `_done`, from any thread, exactly once, unless it was refused. */
typedef struct nines_permit {
  int64_t at_ns;  /* granted: when; refused: the earliest moment at which asking again makes sense */
  uint64_t token; /* 0: refused */
} nines_permit;

static inline int nines_permitted(nines_permit permit)
{
  return permit.token != 0;
}

/* How a call went. Ignored ones (the caller's own mistake, a cancelled request) count as if never made. */
enum { NINES_SUCCESS = 0, NINES_FAILURE = 1, NINES_IGNORED = 2 };

/* -- Breaker: stops calling what fails. Options and states are Resilience4j's, with what its users asked for. */
enum {
  NINES_BREAKER_CLOSED = 0,
  NINES_BREAKER_OPEN = 1,
  NINES_BREAKER_HALF_OPEN = 2,
  NINES_BREAKER_DISABLED = 3,    /* admits all, counts nothing */
  NINES_BREAKER_FORCED_OPEN = 4, /* refuses all until told otherwise */
  NINES_BREAKER_METRICS_ONLY = 5 /* admits all, counts, tells when it would have opened */
};
typedef struct nines_breaker nines_breaker;
typedef struct nines_breaker_config {
  size_t size;
  int64_t window_ns;          /* 10 s; rates are over the last ten slices of it */
  uint32_t window_calls;      /* above 0: the last so many calls (at most 512) instead of a time */
  uint32_t calls_min;         /* 20; no rate is judged on fewer calls; in a count window at most window_calls */
  double failure_rate;        /* 50 percent; reached or exceeded opens; negative: never */
  double slow_rate;           /* 100 percent of calls slower than slow_ns, in flight or ended; negative: never */
  int64_t slow_ns;            /* 60 s */
  double latency_quantile;    /* 0: none; 0.99: opens while the window's p99 is over latency_ns */
  int64_t latency_ns;         /*  ... */
  uint32_t failures_in_a_row; /* 0: not looked at */
  int64_t open_ns;            /* 60 s until probes are let through */
  double open_factor;         /* 1; each opening in a row lasts so much longer */
  int64_t open_max_ns;        /* 1 h */
  double open_jitter;         /* 0; 0.5: between half and one and a half of it */
  int half_open_itself;       /* 1: without waiting for a call */
  uint32_t probes;            /* 10 calls decide while half-open (at most 24) */
  int64_t probe_lease_ns;     /* 60 s; a probe not done by then is given to another call */
  int64_t half_open_max_ns;   /* 0: as long as it takes */
  int half_open_then;         /* NINES_BREAKER_OPEN (also 0) or _CLOSED after half_open_max_ns; closed is written -1 */
  int64_t ramp_ns;            /* 0: all at once; else admits 10 % to 100 % over this time after closing */
  int initial_state;          /* NINES_BREAKER_CLOSED */
  int latency;                /* 1: keep windowed latencies also without a latency rule */
  uint32_t keys;              /* 0; else so many keyed breakers at most (1..4,096), over calls, not time */
  int lost;                   /* NINES_LOST_ADMIT; attached, and the engine gone for too long */
} nines_breaker_config;
typedef struct nines_breaker_reading {
  int state;                      /* NINES_BREAKER_* */
  int64_t until_ns;               /* open: when probes begin; ramping: when it ends; else 0 */
  uint32_t opened_in_a_row;       /* openings since it was last closed */
  uint64_t calls, failed, slow;   /* in the window */
  uint64_t in_flight, overdue;    /* now; those already slower than slow_ns */
  uint64_t total, refused, late;  /* since the start; late: results of another state's calls, dropped */
  int64_t p50_ns, p95_ns, p99_ns; /* of the window, -1: none kept */
} nines_breaker_reading;

NINES_API int nines_breaker_get(nines_arena *arena, const char *name, const nines_breaker_config *config,
                                nines_breaker **out);
NINES_API nines_permit nines_breaker_ask(nines_breaker *breaker, int64_t now_ns);                            /* [any] */
NINES_API void nines_breaker_done(nines_breaker *breaker, nines_permit permit, int outcome, int64_t now_ns); /* [any] */
/* One breaker for each key (a tenant, a host): needs config.keys. When all are taken, one that is closed and has no
 * failure in its window makes room; when none is, unknown keys share one. Permits are done with nines_breaker_done. */
NINES_API nines_permit nines_breaker_ask_key(nines_breaker *breaker, const void *key, size_t size,
                                             int64_t now_ns);    /* [any] */
NINES_API int nines_breaker_state(const nines_breaker *breaker); /* [any] */
/* [any] Puts it into a state by hand. Open: for hold_ns, 0: the configured time. A person's state of the engine's
 * breaker is set with `nines breaker`, not here. */
NINES_API void nines_breaker_put(nines_breaker *breaker, int state, int64_t hold_ns, int64_t now_ns);
NINES_API void nines_breaker_reset(nines_breaker *breaker, int64_t now_ns); /* [any] closed, all counts forgotten */
NINES_API void nines_breaker_read(nines_breaker *breaker, int64_t now_ns, nines_breaker_reading *out); /* [any] */

/* -- Limiter: so many a second, smooth, with a burst (GCRA). */
typedef struct nines_limiter nines_limiter;
typedef struct nines_limiter_config {
  size_t size;
  double rate;         /* required: so many in per_ns */
  int64_t per_ns;      /* 1 s */
  double burst;        /* as many as in per_ns, at least 1: what may come at once after a pause */
  int64_t wait_max_ns; /* 0; up to this long a caller is asked to wait rather than refused (pacing) */
  int64_t warm_up_ns;  /* 0; after a pause as long, starts at rate / cold_factor and grows to the rate */
  double cold_factor;  /* 3 */
  int owner;           /* 1: only one thread ever asks; saves the locked instruction */
  int lost;            /* NINES_LOST_ADMIT */
} nines_limiter_config;
NINES_API int nines_limiter_get(nines_arena *arena, const char *name, const nines_limiter_config *config,
                                nines_limiter **out);
/* [any] Asks for `cost` (1 for a call). At least 0: granted, after waiting so many ns. Negative: refused, -r: asking
 * again makes sense in r ns (INT64_MIN: never, the cost is above the burst). */
NINES_API int64_t nines_limiter_ask(nines_limiter *limiter, double cost, int64_t now_ns);
NINES_API double nines_limiter_available(const nines_limiter *limiter, int64_t now_ns); /* [any] grantable at once */
NINES_API void nines_limiter_drain(nines_limiter *limiter, int64_t now_ns); /* [any] nothing is available now */
NINES_API uint64_t nines_limiter_refused(const nines_limiter *limiter);     /* [any] since the start */

/* -- Bulkhead: so many at once. */
typedef struct nines_bulkhead nines_bulkhead;
typedef struct nines_bulkhead_config {
  size_t size;
  uint32_t concurrent_max;   /* 25 */
  uint32_t queue_max;        /* 0; waiters beyond it are refused */
  int64_t wait_max_ns;       /* 100 ms; a waiter is refused after it. While a queue stands: codel_target_ns */
  int64_t codel_target_ns;   /* 5 ms; a queue stands when nobody waited less for codel_interval_ns ... */
  int64_t codel_interval_ns; /* 100 ms; then the newest is served first */
  int owner;                 /* 1: only one thread ever enters and leaves */
  int lost;                  /* NINES_LOST_ADMIT */
} nines_bulkhead_config;
NINES_API int nines_bulkhead_get(nines_arena *arena, const char *name, const nines_bulkhead_config *config,
                                 nines_bulkhead **out);
NINES_API nines_permit nines_bulkhead_enter(nines_bulkhead *bulkhead, int64_t now_ns);              /* [any] */
NINES_API void nines_bulkhead_leave(nines_bulkhead *bulkhead, nines_permit permit, int64_t now_ns); /* [any] */
NINES_API uint32_t nines_bulkhead_inside(const nines_bulkhead *bulkhead);                           /* [any] */
NINES_API uint32_t nines_bulkhead_limit(const nines_bulkhead *bulkhead);   /* [any] as set, by a policy too */
NINES_API uint64_t nines_bulkhead_refused(const nines_bulkhead *bulkhead); /* [any] */
/* Waiting for a place: the waiter is the caller's memory until `ready` was called, with a permit or a refused one. By
 * the thread that folds the arena only; `ready` is called there, from _leave or a fold. */
typedef struct nines_waiter nines_waiter;
struct nines_waiter {
  void (*ready)(nines_waiter *waiter, nines_permit permit);
  void *userdata;
  int64_t since_ns; /* the rest is the bulkhead's */
  nines_waiter *next, *previous;
};
NINES_API int nines_bulkhead_wait(nines_bulkhead *bulkhead, nines_waiter *waiter,
                                  int64_t now_ns);                                    /* NINES_ELIMIT: full */
NINES_API void nines_bulkhead_cancel(nines_bulkhead *bulkhead, nines_waiter *waiter); /* `ready` is not called */

/* -- Adaptive limit: a bulkhead that finds its own size from latencies (Gradient2, with guard rails). */
typedef struct nines_adaptive_limit nines_adaptive_limit;
typedef struct nines_adaptive_limit_config {
  size_t size;
  uint32_t initial;       /* 20 */
  uint32_t min;           /* 5 */
  uint32_t max;           /* 200 */
  double tolerance;       /* 1.5: latency may be so many times the baseline before the limit shrinks */
  double smoothing;       /* 0.2 */
  uint32_t queue;         /* 4: how many more than needed it lets grow */
  double backoff;         /* 0.9: factor for a window with more than one failure in ten */
  int64_t latency_max_ns; /* 0: none; above this p50 the limit always shrinks */
  int64_t window_ns;      /* 1 s between changes */
  uint32_t samples_min;   /* 10 in a window, else nothing changes */
  int lost;               /* NINES_LOST_ADMIT */
} nines_adaptive_limit_config;
NINES_API int nines_adaptive_limit_get(nines_arena *arena, const char *name, const nines_adaptive_limit_config *config,
                                       nines_adaptive_limit **out);
NINES_API nines_permit nines_adaptive_limit_ask(nines_adaptive_limit *limit, int64_t now_ns); /* [any] */
NINES_API void nines_adaptive_limit_done(nines_adaptive_limit *limit, nines_permit permit, int outcome,
                                         int64_t now_ns);                           /* [any] */
NINES_API uint32_t nines_adaptive_limit_now(const nines_adaptive_limit *limit);     /* [any] the limit */
NINES_API uint32_t nines_adaptive_limit_inside(const nines_adaptive_limit *limit);  /* [any] */
NINES_API uint64_t nines_adaptive_limit_refused(const nines_adaptive_limit *limit); /* [any] */

/* -- Shedder: refuses the least important first. */
enum { NINES_SHEDDABLE = 0, NINES_SHEDDABLE_PLUS = 1, NINES_CRITICAL = 2, NINES_CRITICAL_PLUS = 3 };
typedef struct nines_shedder nines_shedder;
typedef struct nines_shedder_config {
  size_t size;
  double throttle_k; /* 2: refuses by itself once requests exceed K times accepts (SRE book); negative: never */
  int64_t throttle_window_ns; /* 2 min */
  double throttle_max;        /* 90 percent at most */
  int64_t latency_target_ns; /* 0: none; a second whose mean latency is over it sheds 5 % more, else 1 % less (DAGOR) */
  int64_t retry_after_ns;    /* 60 s */
  double retry_jitter;       /* 0.5: between half and one and a half of it */
  int lost;                  /* NINES_LOST_ADMIT */
} nines_shedder_config;
NINES_API int nines_shedder_get(nines_arena *arena, const char *name, const nines_shedder_config *config,
                                nines_shedder **out);
NINES_API nines_permit nines_shedder_ask(nines_shedder *shedder, int criticality, int64_t now_ns); /* [any] */
/* [any] NINES_FAILURE: what is behind refused it or was too busy. */
NINES_API void nines_shedder_done(nines_shedder *shedder, nines_permit permit, int outcome, int64_t now_ns);
/* [any] How full what is behind is, 0 to 1 (inside / limit of a bulkhead or adaptive limit); call it before asking.
 * From 0.5 on sheddable, from 0.7 sheddable plus, from 0.95 critical requests are refused, at once. */
NINES_API void nines_shedder_load(nines_shedder *shedder, double fullness);
/* [any] Sheds so many percent of all requests, sheddable ones first, critical plus last; 0: none. */
NINES_API void nines_shedder_put(nines_shedder *shedder, double percent);
NINES_API double nines_shedder_share(const nines_shedder *shedder, int criticality);     /* [any] percent refused now */
NINES_API uint64_t nines_shedder_refused(const nines_shedder *shedder, int criticality); /* [any] */

/* -- Retry: when and whether to try again; one budget for retries and hedges. */
typedef struct nines_retry nines_retry;
typedef struct nines_retry_config {
  size_t size;
  uint32_t attempts;   /* 3, the first included */
  int64_t wait_ns;     /* 500 ms before the second attempt */
  double factor;       /* 2: each wait so many times the last */
  int64_t wait_max_ns; /* 10 s */
  double jitter; /* 0.5: a wait is drawn between (1 - jitter) and (1 + jitter) of its length; 1: full; negative: none */
  double budget; /* 20 percent of calls may be retries, over budget_ns; negative: no budget */
  double budget_floor; /* 1 a second more, so that rare callers may retry at all */
  int64_t budget_ns;   /* 10 s */
  int64_t hedge_ns;    /* 0: no hedging; send a second call when the first took so long */
} nines_retry_config;
enum { NINES_RETRY_NO_ATTEMPT = -1, NINES_RETRY_NO_BUDGET = -2 };
NINES_API int nines_retry_get(nines_arena *arena, const char *name, const nines_retry_config *config,
                              nines_retry **out);
NINES_API void nines_retry_call(nines_retry *retry, int64_t now_ns); /* [any] a first attempt: earns budget */
/* [any] After attempt number `attempt` (from 1) failed: ns to wait before the next, or NINES_RETRY_NO_*. */
NINES_API int64_t nines_retry_next(nines_retry *retry, uint32_t attempt, int64_t now_ns);
/* [any] May a hedge be sent for a call that began at began_ns? 1: yes, now; else ns to wait (0: no hedging). Costs the
 * budget like a retry. */
NINES_API int64_t nines_retry_hedge(nines_retry *retry, int64_t began_ns, int64_t now_ns);
NINES_API double nines_retry_budget(const nines_retry *retry, int64_t now_ns); /* [any] retries left now */

/* -- Timeout: how long a call may take, never longer than its caller waits. */
typedef struct nines_timeout nines_timeout;
typedef struct nines_timeout_config {
  size_t size;
  int64_t limit_ns; /* 1 s */
} nines_timeout_config;
NINES_API int nines_timeout_get(nines_arena *arena, const char *name, const nines_timeout_config *config,
                                nines_timeout **out);
/* [any] When a call that starts now must end; `caller_ns`: when its caller gives up (0: never). */
NINES_API int64_t nines_timeout_deadline(const nines_timeout *timeout, int64_t caller_ns, int64_t now_ns);
NINES_API void nines_timeout_done(nines_timeout *timeout, int timed_out); /* [any] counts it */
NINES_API uint64_t nines_timeout_count(const nines_timeout *timeout);     /* [any] timed out since the start */

/* -- Fallback: the second best, itself bounded, and seen. */
typedef struct nines_fallback nines_fallback;
typedef struct nines_fallback_config {
  size_t size;
  uint32_t concurrent_max; /* 10 fallbacks at once, so that a fallback is no second outage */
} nines_fallback_config;
NINES_API int nines_fallback_get(nines_arena *arena, const char *name, const nines_fallback_config *config,
                                 nines_fallback **out);
NINES_API void nines_fallback_call(nines_fallback *fallback, int64_t now_ns);          /* [any] a call began */
NINES_API nines_permit nines_fallback_enter(nines_fallback *fallback, int64_t now_ns); /* [any] it failed */
NINES_API void nines_fallback_leave(nines_fallback *fallback, nines_permit permit);    /* [any] */
NINES_API double nines_fallback_share(const nines_fallback *fallback,
                                      int64_t now_ns); /* [any] percent of calls in 10 s, -1: none */

/* -- Canary: is the new version worse? A verdict at any time with a bounded false-alarm rate. */
enum { NINES_BASELINE = 0, NINES_CANARY = 1 };
enum { NINES_INCONCLUSIVE = 0, NINES_PASS = 1, NINES_FAIL = 2 };
typedef struct nines_canary nines_canary;
typedef struct nines_canary_config {
  size_t size;
  double alpha;            /* 0.05: probability of ever failing a canary that is not worse */
  double beta;             /* 0.05: probability of ever passing one that is `bad` times worse */
  double margin;           /* 1: risk ratio that is tolerated */
  double bad;              /* max(2, 2 margin): risk ratio that must not pass */
  double error_max;        /* 1 percent: with no errors at all, passes when even this rate is refuted */
  double latency_quantile; /* 0.95: slow is over the baseline's quantile before the rollout; negative: not judged */
  double share;            /* 0: unknown; else percent that the canary should get: a sample-ratio check */
  double dispersion;       /* 0: measured from the baseline before the rollout (without, during it, and enlarged) */
} nines_canary_config;
typedef struct nines_canary_reading {
  int verdict;                        /* NINES_* */
  const char *why;                    /* "errors", "latency", "share", "no errors", "undecided" */
  uint64_t total[2], bad[2], slow[2]; /* since the start of the rollout, by arm */
  double ratio;                       /* canary's error rate over the baseline's; -1: unknown */
  double e_errors, e_latency, e_pass; /* e-values; fail at 1/alpha (half of it each while latency is judged, 0.99 of it
                                         with a share), pass at 1/beta */
  double p_value;                     /* anytime-valid, of not being worse */
  double dispersion;                  /* used */
  int64_t slow_ns;                    /* threshold used, -1: none */
} nines_canary_reading;
NINES_API int nines_canary_get(nines_arena *arena, const char *name, const nines_canary_config *config,
                               nines_canary **out);
NINES_API void nines_canary_begin(nines_canary *canary,
                                  int64_t now_ns); /* [any] the rollout starts: baseline is known */
NINES_API void nines_canary_record(nines_canary *canary, int arm, int outcome, int64_t duration_ns); /* [any] */
NINES_API void nines_canary_read(const nines_canary *canary, nines_canary_reading *out); /* [any] as of the last fold */

/* -- Fault point: a place where a game-day may break things. Disabled it costs one branch. */
enum {
  NINES_FAULT_NONE = 0,
  NINES_FAULT_LATENCY = 1,
  NINES_FAULT_ERROR = 2,
  NINES_FAULT_ABORT = 3,
  NINES_FAULT_DROP = 4
};
typedef struct nines_fault nines_fault;
typedef struct nines_fault_config {
  size_t size;
  int kind;           /* required: NINES_FAULT_* */
  double rate;        /* required: share of calls, 0 to 1 */
  int64_t latency_ns; /* of latency */
  int64_t jitter_ns;  /* added or taken, uniformly */
  int error;          /* of error: handed to the caller as it is */
  const char *match;  /* NULL: all; else only asks with this key; "eu-*": with this beginning; at most 47 bytes */
  int64_t until_ns;   /* required: heals itself then, also when nobody is left to heal it */
} nines_fault_config;
typedef struct nines_fault_action {
  int kind; /* NINES_FAULT_* */
  int error;
  int64_t latency_ns; /* to wait before going on */
} nines_fault_action;
NINES_API int nines_fault_get(nines_arena *arena, const char *name, nines_fault **out);
NINES_API nines_fault_action nines_fault_ask(nines_fault *fault, const char *key, int64_t now_ns); /* [any] */
NINES_API int nines_fault_inject(nines_fault *fault, const nines_fault_config *config, int64_t now_ns);
NINES_API void nines_fault_heal(nines_fault *fault);            /* [any] */
NINES_API uint64_t nines_fault_count(const nines_fault *fault); /* [any] calls hit since the start */

/* -- Flag: what a policy or a person has switched on. Set by the engine (`flag` in a policy, `nines flag`). */
typedef struct nines_flag nines_flag;
/* `otherwise`: the value while nobody has declared the flag, or without an engine. */
NINES_API int nines_flag_get(nines_arena *arena, const char *name, int otherwise, nines_flag **out);
NINES_API int nines_flag_on(const nines_flag *flag, int64_t now_ns); /* [any] 0 or 1 */

/* -- Measures. */
/* A critical path of the engine whose arena this is: what nines_path_get gives for an engine in this process. */
NINES_API int nines_arena_path(nines_arena *arena, const char *name, nines_path **out);
typedef struct nines_counter nines_counter; /* counts, and how many a second */
NINES_API int nines_counter_get(nines_arena *arena, const char *name, nines_counter **out);
NINES_API void nines_counter_add(nines_counter *counter, uint64_t n, int64_t now_ns); /* [any] */
NINES_API uint64_t nines_counter_total(const nines_counter *counter);                 /* [any] */
NINES_API double nines_counter_rate(const nines_counter *counter,
                                    int64_t now_ns); /* [any] a second, over the last 10 s */

typedef struct nines_histogram nines_histogram; /* durations, windowed quantiles within 3.2 % */
NINES_API int nines_histogram_get(nines_arena *arena, const char *name, int64_t window_ns /* 0: 1 min */,
                                  nines_histogram **out);
NINES_API void nines_histogram_record(nines_histogram *histogram, int64_t duration_ns); /* [any] */
NINES_API int64_t nines_histogram_read(const nines_histogram *histogram,
                                       double quantile); /* [any] as of the last fold; -1: no data */

/* The next are plain memory of the caller, all zero at first, one thread at a time. */
typedef struct nines_ewma { /* an average that forgets: weight halves every half_life_ns */
  double value;
  int64_t at_ns; /* 0: nothing yet */
} nines_ewma;
NINES_API void nines_ewma_add(nines_ewma *ewma, double value, int64_t half_life_ns, int64_t now_ns);

/* A change point by two-sided CUSUM over standardised values: drift 0.5, decision at 8 (over normal values about one
 * false alarm in 9,500, both ways together; a shift of one deviation is found after 17 values on average, of three
 * after 4). */
typedef struct nines_change {
  double up, down;                  /* the sums */
  int64_t up_zero_ns, down_zero_ns; /* when each last was zero: the onset, once it decides */
  uint64_t values;
} nines_change;
/* Feeds one standardised value ((x - mean) / deviation). Returns +1 or -1 once it decides, with the onset; else 0. */
NINES_API int nines_change_add(nines_change *change, double standardised, int64_t now_ns, int64_t *onset_ns);

/* What is normal at this hour of the week: median and spread (MAD) of the last eight weeks' values of the same hour.
 * 5.6 KB; one thread at a time. */
typedef struct nines_baseline nines_baseline;
NINES_API int nines_baseline_get(nines_arena *arena, const char *name, nines_baseline **out);
NINES_API void nines_baseline_add(nines_baseline *baseline, double value,
                                  int64_t wall_ns); /* averaged within its hour */
/* 1: known; median and a deviation that is never below 5 % of the median or `floor`; 0: fewer than 3 weeks of this
 * hour. */
NINES_API int nines_baseline_read(const nines_baseline *baseline, int64_t wall_ns, double floor, double *median,
                                  double *deviation);

#ifdef __cplusplus
}
#endif
#endif /* NINES_H */
