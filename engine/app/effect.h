// The ledger of one-time effects: asked once in an episode, done at most once, their outcome remembered.
//
// The key is made of episode, kind, target and arguments. The entry is durable before the effect starts; after a crash
// an entry without an outcome is settled by the helper's exit status, else by a probe, else it is unknown and a human
// is asked.
#ifndef NINES_APP_EFFECT_H
#define NINES_APP_EFFECT_H

#include "engine.h"

enum effect_state { EFFECT_STARTED, EFFECT_DONE, EFFECT_FAILED, EFFECT_UNKNOWN };
enum { EFFECTS_MAX = 10000 };

struct effect {
  char *key;
  char id[24]; // also the command's id
  enum effect_state state;
  char *kind, *target, *asker, *why;
  char *outcome; // JSON or a sentence; NULL while it runs
  int64_t wall_ns;
  struct list waits; // struct effect_wait: tasks that wait for the outcome
};

// Finds the effect of this key, or makes it (*fresh) and puts its entry into the turn's txn. NULL key: always fresh.
struct effect *effect_get(nines *engine, const char *key, const char *kind, const char *target, const char *asker,
                          const char *why, bool *fresh);
void effect_end(nines *engine, struct effect *effect, enum effect_state state, const char *outcome);
// Wakes the script's task `token` with (true, outcome...) or (nil, sentence, code) when the effect has ended; at once
// if it has.
void effect_wait(nines *engine, struct effect *effect, uint64_t token);
void effect_unwait(nines *engine, uint64_t token);
// "path/payment_processing/3/rollback/payment-service/v2": empty episode gives NULL (no dedup outside episodes).
char *effect_key(nines *engine, const struct caller *caller, const char *kind, const char *target,
                 const char *arguments, struct pool *pool);
void effects_load(nines *engine);
void effects_save(nines *engine);
void effects_close(nines *engine);
// Those that a crash left open, for their owners to settle.
void effects_each_open(nines *engine, const char *kind, void (*each)(nines *engine, struct effect *effect));

#endif
