// What scripts.c and reload.c share.
#ifndef NINES_SCRIPT_SCRIPTS_PRIVATE_H
#define NINES_SCRIPT_SCRIPTS_PRIVATE_H

#include "file.h"
#include "scripts.h"

struct scripts {
  struct scheduler scheduler; // first
  struct scripts_config config;
  struct file **files; // by name
  size_t count, capacity;
};

// Publishes "policy.loaded" and the like about a file; `why` NULL: with its hash instead.
void scripts_say(const struct scripts *scripts, const struct file *file, const char *topic, const char *why);
// script_apply, with a failure logged and remembered.
void scripts_apply(struct scripts *scripts, struct file *file, const struct noun *noun, bool again);

#endif
