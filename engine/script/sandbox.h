// One sandboxed Lua state: an allowlist, an exact memory limit, and a kill that nothing inside can swallow.
//
// Policies are operators' code that may be wrong, not strangers' code. Limits per turn (one resume of one task): VM
// instructions, wall time, memory. A count hook alone is no sandbox (shared/research/architecture.md 2.1): long C calls
// are bounded or charged, pcall and xpcall rethrow a kill, error handlers run after unwinding, metatables refuse __gc,
// chunks are text only. After a kill for memory the state must be closed, not reused; after other kills it may live on.
#ifndef NINES_SCRIPT_SANDBOX_H
#define NINES_SCRIPT_SANDBOX_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "rng.h"
#include "status.h"

// A pool of memory shared by all sandboxes of an engine.
struct sandbox_budget {
  size_t bytes_max; // 0: 128 MiB
  size_t bytes;
};

// What is counted from the start of a turn.
struct sandbox_turn {
  lua_State *running; // NULL: no turn
  struct status *trace;
  uint64_t instructions_max, instructions_left;
  uint64_t unclocked;  // instructions since the clock was last read
  int64_t wall_ns_max; // -1: none
  int64_t started_ns;  // thread CPU time
  int64_t deadline_ns; // monotonic: no use in reading the CPU clock before
  int hook_interval;
  bool overdue;         // one operation used twice the wall time: only memory can be refused to stop it
  bool grace;           // for <close> handlers, after a kill or a cancel
  size_t refused_bytes; // the allocator said no to this much and was not asked again; 0: nothing
};

struct sandbox {
  lua_State *L;
  void *owner; // for bindings: reached from any lua_State of it through sandbox_of
  struct sandbox_limits limits;
  struct sandbox_budget *budget;
  struct sandbox_usage usage;
  struct rng random;        // behind math.random
  enum sandbox_kill killed; // sticky during a turn; KILL_MEMORY for good
  uint64_t kill_at;         // replay: KILL_WALL after this many instructions of the next turn; 0: never
  // The rest is the sandbox's own.
  struct sandbox_turn turn;
  bool limited;         // the allocator refuses: in turns and while compiling, not for the engine's own small things
  uint32_t blocks_big;  // of 64 KiB and more
  uint32_t blocks_huge; // of 512 KiB and more
  char refused_at[96];  // "FILE:LINE" of the last refusal
  atomic_bool stop_asked;
};

// A fresh state with the allowed library, math.random seeded by (seed, name). NINES_ENOMEM, or NINES_ELIMIT when the
// budget is spent.
// The sandbox must not move while it is open.
int sandbox_open(struct sandbox *sandbox, const struct sandbox_limits *limits, struct sandbox_budget *budget,
                 uint64_t seed, const char *name, void *owner, struct status *status);
void sandbox_close(struct sandbox *sandbox); // CHECKs that every metered byte came back
struct sandbox *sandbox_of(lua_State *L);    // of any thread of the state

// Compiles a text chunk and leaves the function on L's stack. Errors as "FILE:LINE: ...". Names of unknown globals are
// checked by globals.h.
int sandbox_compile(struct sandbox *sandbox, const char *text, size_t size, const char *chunk_name,
                    struct status *status);

// One turn: lua_resume of `thread` under the limits. A fresh thread holds the function and its arguments, and nothing
// else. *results: values on top of its stack. LUA_YIELD, LUA_OK, or an error with its sentence and a short traceback in
// `trace` (NULL: not wanted); sandbox->killed tells whether it was a kill. After an error the thread's <close>
// variables have been closed already. Wall time is CPU time of this thread: a busy machine kills no innocents.
int sandbox_resume(struct sandbox *sandbox, lua_State *thread, int arguments, int *results, struct status *trace);
// Ends a suspended thread: its <close> variables run under a small budget of their own (10,000 instructions, 10 ms).
// Also allowed within another thread's turn.
void sandbox_cancel(struct sandbox *sandbox, lua_State *thread);
// Charges work done in C on behalf of the script (1 is about 4 ns or 64 bytes copied); raises the kill when the turn's
// budget is spent.
void sandbox_charge(lua_State *L, uint64_t instructions);
// For C functions that call lua_pcall themselves: raises again when `status` or the sandbox says that it was a kill.
void sandbox_recheck(lua_State *L, int status);
// Collects garbage when `bytes` more would not fit: luaL_Buffer allocates past Lua's own emergency collection.
void sandbox_room(lua_State *L, size_t bytes);
// [any] Another thread asks to stop the turn that runs now.
void sandbox_stop(struct sandbox *sandbox);

#endif
