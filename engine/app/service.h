// Services and their deployments: what runs, since when, what ran before, and the way back.
#ifndef NINES_APP_SERVICE_H
#define NINES_APP_SERVICE_H

#include "effect.h"
#include "engine.h"

enum deployment_state {
  DEPLOYMENT_STARTED,
  DEPLOYMENT_FINISHED,
  DEPLOYMENT_FAILED,
  DEPLOYMENT_ROLLED_BACK,
  DEPLOYMENT_UNKNOWN
};
enum { SERVICES_MAX = 500, DEPLOYMENTS_KEPT = 50 };

struct deployment {
  char id[24];
  uint64_t number; // handle for scripts
  struct service *service;
  char *version, *from, *actor;
  enum deployment_state state;
  bool is_rollback;
  char *reason; // of a rollback, or NULL
  char *error;  // when it failed, or NULL
  int64_t started_wall_ns, ended_wall_ns;
  char undoes[24]; // id of the deployment that a rollback undoes; "" otherwise
  char effect[24]; // id of a rollback's effect
};

struct service {
  char *name;
  char *version;                   // running as far as we know; "" unknown
  struct deployment **deployments; // oldest first
  uint32_t deployment_count;
  struct list jobs; // commands, the first one running when busy
  bool busy;
  uint64_t rollbacks; // done, in this life
  nines *engine;
};

struct service *service_get(nines *engine, const char *name, struct status *status); // makes it when new
struct service *service_find(const nines *engine, const char *name);
// Runs the deploy command; `record_only`: somebody else has deployed, take note. `done` hears of the end.
int service_deploy(nines *engine, struct service *service, const char *version, const char *actor, bool record_only,
                   struct deployment **out, struct status *status);
struct deployment *service_last(const struct service *service); // the newest that is not failed, or NULL
struct deployment *deployment_by_number(const nines *engine, uint64_t number);
// Undoes `deployment`: deploys what ran before it. The effect's outcome tells. NULL with a sentence when there is
// nothing to go back to.
struct effect *deployment_rollback(nines *engine, struct deployment *deployment, const char *key, const char *asker,
                                   const char *reason, struct status *status);
// Was it undone by the effect of this key? (A handler that runs again after a crash has to find the same deployment.)
bool deployment_rolled_back_by(const nines *engine, const struct deployment *deployment, const char *key);
void service_describe(const struct service *service, struct pool *pool, struct value *out);
void deployment_describe(const struct deployment *deployment, struct pool *pool, struct value *out);
void services_load(nines *engine);
void services_settle(nines *engine); // after a crash: deployments under way
void services_save(nines *engine);
void services_close(nines *engine);

extern const struct noun service_noun;
extern const struct noun deployment_noun;

#endif
