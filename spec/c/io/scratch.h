// A directory for one test, removed with all that is in it. *state is its path.
#ifndef NINES_SPEC_IO_SCRATCH_H
#define NINES_SPEC_IO_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static inline int scratch_set_up(void **state)
{
  char *dir = strdup("/tmp/nines-test-XXXXXX");
  *state = dir;
  return mkdtemp(dir) ? 0 : -1;
}

static inline int scratch_remove(const char *path, const struct stat *info, int type, struct FTW *place)
{
  (void)info;
  (void)type;
  (void)place;
  return remove(path);
}

static inline int scratch_tear_down(void **state)
{
  int code = nftw(*state, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
  free(*state);
  return code;
}

#endif
