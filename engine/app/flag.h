// Plain on/off flags: a name, a default, who set it last and why. (Rules, variants and rollouts come with mitigation.)
//
// A person outranks policies: what a person set stays until a person lifts it. A policy's setting is edge-triggered:
// only a change of what it asks for acts, so that a loop that sets the same value each second writes nothing.
#ifndef NINES_APP_FLAG_H
#define NINES_APP_FLAG_H

#include "engine.h"

enum { FLAGS_MAX = 1000 };

struct flag {
  char *name;
  struct guard *published; // in the arena, for request paths; NULL: no room there
  char *declared_by;       // script; NULL: nobody
  bool standard;           // the default
  bool on;
  bool by_person;       // a person has the say
  int asked;            // what policies asked for last: 0, 1; -1: nothing yet
  char *actor, *reason; // of the last change; NULL: never changed
  int64_t changed_wall_ns;
};

struct flag *flag_find(const nines *engine, const char *name);
// `actor` begins with "person:" or "policy:". True when the flag changed.
bool flag_set(nines *engine, struct flag *flag, bool on, const char *actor, const char *reason);
void flag_lift(nines *engine, struct flag *flag,
               const char *actor); // the person's setting ends; policies have the say again
void flag_describe(const struct flag *flag, struct pool *pool, struct value *out);
void flags_load(nines *engine);
void flags_save(nines *engine);
void flags_close(nines *engine);

extern const struct noun flag_noun;

#endif
