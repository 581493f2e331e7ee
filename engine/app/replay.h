// A recording fed to an engine again: the same inputs, the same decisions; or other policies, and what would have been
// different.
#ifndef NINES_APP_REPLAY_H
#define NINES_APP_REPLAY_H

#include "event.h"
#include "settings.h"

struct replay_policy {
  const char *name; // "payments.lua"
  struct view text;
};

struct replay_config {
  const char *recording;           // directory of a recording (DATA/recording) or one segment file
  const char *prefix;              // NULL: "beats" (exact); "seconds" is approximate
  const struct settings *settings; // of the project, for routes and services; NULL: defaults
  // Instead of the recorded texts of the same names; others are as recorded. Their decisions are compared all the same.
  const struct replay_policy *policies;
  uint32_t policy_count;
  // Every decision of the replay, and whether the recording has the same one at this place (always false once they have
  // parted).
  void (*on_decision)(void *userdata, const struct event *event, bool same);
  void *userdata;
};

struct replay_result {
  uint64_t inputs, lives, decisions, recorded_decisions;
  bool parted;           // some decision differs
  uint64_t parted_at;    // number of the first that does, from 1
  char parted_text[400]; // "recorded: alert.paged checkout; replayed: deploy.rolled_back shop"
  int64_t first_wall_ns, last_wall_ns;
  uint64_t hash;        // trace hash of the last life
  bool windows_unknown; // the recording starts in the middle of a life: its first window is not filled
};

int replay_run(const struct replay_config *config, struct replay_result *out, struct status *status);

#endif
