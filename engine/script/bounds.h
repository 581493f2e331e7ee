// The limits of a sandboxed policy, and how far it went: every limit is also a gauge. No Lua here, for those who only
// read.
#ifndef NINES_SCRIPT_BOUNDS_H
#define NINES_SCRIPT_BOUNDS_H

#include <stddef.h>
#include <stdint.h>

struct sandbox_limits {      // 0: the default
  size_t bytes_max;          // 4 MiB
  uint64_t instructions_max; // a turn; 1,000,000
  int64_t wall_ns_max;       // a turn; 50 ms; -1: none (virtual time, where nothing may depend on the machine)
};

enum sandbox_kill { KILL_NONE, KILL_INSTRUCTIONS, KILL_WALL, KILL_MEMORY, KILL_STOPPED };

struct sandbox_usage { // every limit is also a gauge
  size_t bytes, bytes_peak, bytes_max;
  uint64_t instructions_last, instructions_peak, instructions_max; // of a turn, in steps of the hook (1000)
  int64_t wall_ns_last, wall_ns_peak;                              // of a turn, thread CPU clock
  uint64_t turns, kills[5];                                        // by enum sandbox_kill
};

#endif
