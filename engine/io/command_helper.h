// The small process between the engine and a command. Private to io/command.c.
#ifndef NINES_IO_COMMAND_HELPER_H
#define NINES_IO_COMMAND_HELPER_H

#include <stdint.h>

// All that the helper needs, made before the fork: afterwards it may not allocate.
struct command_plan {
  const char *program; // for execve, seen from `dir`; "": there is none
  char *const *argv;
  char *const *env;
  const char *dir; // NULL: stay
  const char *status_path, *status_new_path;
  int files_fd;  // of the command's directory, for making the status durable
  int input_fd;  // standard input
  int output_fd; // file that gets the tail of the output, open for reading and writing
  int lock_fd;   // held until the end
  int done_fd;   // a pipe that closes with the helper
  int64_t timeout_ns;
  int64_t output_max;
};

// In the child of the fork, all signals blocked. Makes async-signal-safe calls only: other threads of the engine may
// have held any lock when it was forked.
_Noreturn void command_helper_run(const struct command_plan *plan);

#endif
