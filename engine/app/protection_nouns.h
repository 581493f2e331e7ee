// The nouns of the policy language for protections: breaker "x" { ... }, limiter "x" { ... }, ...
//
// What they share is here: declared by policies with the schemas of protection_settings.c, found while a policy
// declares them, `:call(fn, ...)` and `.name`. breaker_noun.c has the breaker's methods, protection_nouns.c the
// others'.
#ifndef NINES_APP_PROTECTION_NOUNS_H
#define NINES_APP_PROTECTION_NOUNS_H

#include "noun.h"
#include "protection.h"

extern const struct noun breaker_noun, limiter_noun, bulkhead_noun, adaptive_limit_noun, shedder_noun, retry_noun,
    timeout_noun, fallback_noun;

// Protections are never freed while the engine lives, so their address is their handle.
static inline struct protection *protection_of(uint64_t handle)
{
  return (struct protection *)(uintptr_t)handle;
}
static inline void *guard_at(uint64_t handle)
{
  return protection_of(handle)->guard;
}

int protection_check(int kind, const char *where, const struct value *settings, struct status *status);
int protection_apply(nines *engine, int kind, const char *script, const char *name, const struct value *settings,
                     struct status *status);
uint64_t protection_handle(const nines *engine, int kind, const char *name); // 0: no policy declares it
void protection_names(const nines *engine, int kind, void (*each)(void *userdata, const char *name), void *userdata);
const char *protection_name(void *app, uint64_t handle);

int protection_call(void *app, uint64_t handle, struct call *call);      // :call
int protection_call_name(void *app, uint64_t handle, struct call *call); // .name
// Puts it into a state, or to a percentage, as the policy that calls; returns whether that changed something.
int protection_call_put(nines *engine, uint64_t handle, double value, int64_t hold_ns, const struct value *reason,
                        struct call *call);

// The functions of a noun, which are told neither noun nor kind: NOUN_check, ... and the table.
#define PROTECTION_NOUN(noun_word, kind_number, noun_topics)                                                           \
  static int noun_word##_check(void *app, const char *where, const char *name, const struct value *settings,           \
                               struct status *status)                                                                  \
  {                                                                                                                    \
    (void)app;                                                                                                         \
    (void)name;                                                                                                        \
    return protection_check(kind_number, where, settings, status);                                                     \
  }                                                                                                                    \
  static int noun_word##_apply(void *app, const char *script, const char *name, const struct value *settings,          \
                               struct status *status)                                                                  \
  {                                                                                                                    \
    return protection_apply(app, kind_number, script, name, settings, status);                                         \
  }                                                                                                                    \
  static void noun_word##_retire(void *app, const char *name)                                                          \
  {                                                                                                                    \
    protection_retire(app, kind_number, name);                                                                         \
  }                                                                                                                    \
  static uint64_t noun_word##_find(void *app, const char *name)                                                        \
  {                                                                                                                    \
    return protection_handle(app, kind_number, name);                                                                  \
  }                                                                                                                    \
  static void noun_word##_names(void *app, void (*each)(void *userdata, const char *name), void *userdata)             \
  {                                                                                                                    \
    protection_names(app, kind_number, each, userdata);                                                                \
  }                                                                                                                    \
  const struct noun noun_word##_noun = { .kind = #noun_word,                                                           \
                                         .check = noun_word##_check,                                                   \
                                         .apply = noun_word##_apply,                                                   \
                                         .retire = noun_word##_retire,                                                 \
                                         .find = noun_word##_find,                                                     \
                                         .names = noun_word##_names,                                                   \
                                         .methods = noun_word##_methods,                                               \
                                         .name = protection_name,                                                      \
                                         .topics = noun_topics }

#endif
