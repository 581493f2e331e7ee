// Do all files fit together? One declaring file an object, no name that nobody declares, none taken from its users.
#ifndef NINES_SCRIPT_RESOLVE_H
#define NINES_SCRIPT_RESOLVE_H

#include "file.h"

struct resolve {
  struct file *const *files; // with plans; those that do not fit are rejected (file_reject)
  size_t count;
  void *app;
  void (*each)(void *userdata, const char *file, const char *error); // every error; may be NULL
  void *userdata;
};

void resolve_names(const struct resolve *resolve);

#endif
