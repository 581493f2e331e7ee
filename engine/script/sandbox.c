// A sandboxed Lua state.
//
// The kill is one error value that nothing inside can keep: guarded pcall and xpcall raise it again, the hook goes on
// to fire, and <close> handlers share one small grace. The hook fires every 1000 instructions, and more often while
// big blocks live, since one instruction on a big string can then take milliseconds. Memory is metered to the byte;
// growth and emergency collections are charged as instructions, so that copying in circles ends as looping does.
// Every thread's function runs inside a protected call of ours: an error that left a thread uncaught from within the
// hook would leave its hooks switched off, and its <close> handlers without limits.
#include "sandbox.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "allow.h"
#include "check.h"
#include "clock.h"
#include "mem.h"

enum {
  HOOK_INTERVAL = 1000,
  HOOK_INTERVAL_BIG = 100,
  HOOK_INTERVAL_HUGE = 10,
  BLOCK_CHARGED_BYTES = 4096,
  BLOCK_BIG_BYTES = 64 * 1024,
  BLOCK_HUGE_BYTES = 512 * 1024,
  BYTES_PER_INSTRUCTION = 64,
  CLOCK_INTERVAL = 1000,
  GRACE_INSTRUCTIONS = 10000,
  TEXT_BYTES_MAX = 256 * 1024,
  TRACE_LEVELS_MAX = 8,
};
#define GRACE_NS             (10 * 1000 * 1000LL)
#define BYTES_DEFAULT        (4u * 1024 * 1024)
#define BUDGET_DEFAULT       (128u * 1024 * 1024)
#define INSTRUCTIONS_DEFAULT 1000000u
#define WALL_NS_DEFAULT      (50 * 1000 * 1000LL)

static char kill_mark; // its address is the kill's error value

struct sandbox *sandbox_of(lua_State *L)
{
  struct sandbox *sandbox;
  memcpy(&sandbox, lua_getextraspace(L), sizeof sandbox);
  return sandbox;
}

// ---- what went wrong, and where ----

// "FILE:LINE" of the innermost Lua function.
static void place(lua_State *L, char *out, size_t size)
{
  out[0] = '\0';
  lua_Debug frame;
  for (int level = 0; level < TRACE_LEVELS_MAX && lua_getstack(L, level, &frame); level++) {
    if (lua_getinfo(L, "Sl", &frame) && frame.currentline > 0) {
      snprintf(out, size, "%s:%d", frame.short_src, frame.currentline);
      return;
    }
  }
}

static void trace_add(struct status *trace, const char *text)
{
  size_t used = strlen(trace->text);
  snprintf(trace->text + used, sizeof trace->text - used, "%s", text);
}

// Appends the Lua frames of L. Allocates nothing, so that it works in a full sandbox and inside the hook.
static void trace_frames(struct status *trace, lua_State *L)
{
  lua_Debug frame;
  int shown = 0;
  for (int level = 0; shown < TRACE_LEVELS_MAX && lua_getstack(L, level, &frame); level++) {
    if (!lua_getinfo(L, "Sln", &frame) || frame.currentline <= 0) continue;
    char line[256];
    const char *name = frame.name != NULL ? frame.name : *frame.what == 'm' ? "the file's top level" : "a function";
    snprintf(line, sizeof line, "\n  at %s:%d in %s", frame.short_src, frame.currentline, name);
    trace_add(trace, line);
    shown++;
  }
}

static int kill_code(enum sandbox_kill kill)
{
  return kill == KILL_STOPPED ? NINES_ECANCELED : NINES_ELIMIT;
}

static void kill_sentence(const struct sandbox *sandbox, enum sandbox_kill kill, const char *where,
                          struct status *status)
{
  const char *colon = where[0] != '\0' ? ": " : "";
  const struct sandbox_turn *turn = &sandbox->turn;
  switch (kill) {
  case KILL_INSTRUCTIONS:
    status_set(status, kill_code(kill),
               "%s%sstopped after %llu instructions in one turn; do less at once, or sleep() in between", where, colon,
               (unsigned long long)turn->instructions_max);
    break;
  case KILL_WALL:
    status_set(status, kill_code(kill), "%s%sstopped after %lld ms in one turn; do less at once, or sleep() in between",
               where, colon, (long long)(turn->wall_ns_max / 1000000));
    break;
  case KILL_MEMORY:
    if (turn->overdue) {
      status_set(status, kill_code(kill), "%s%sstopped in an operation that took far more than %lld ms", where, colon,
                 (long long)(turn->wall_ns_max / 1000000));
    } else {
      status_set(status, kill_code(kill), "%s%sout of memory: a policy may hold %zu bytes (%zu in all policies)", where,
                 colon, sandbox->limits.bytes_max, sandbox->budget->bytes_max);
    }
    break;
  default:
    status_set(status, kill_code(kill), "%s%sstopped from outside", where, colon);
  }
}

// ---- memory ----

static int64_t wall_used_ns(const struct sandbox_turn *turn)
{
  return turn->wall_ns_max >= 0 ? clock_thread_cpu_ns() - turn->started_ns : 0;
}

static void hook(lua_State *L, lua_Debug *frame);

static void arm(struct sandbox *sandbox, int interval)
{
  sandbox->turn.hook_interval = interval;
  lua_sethook(sandbox->turn.running, hook, LUA_MASKCOUNT, interval);
}

static void count_blocks(struct sandbox *sandbox, size_t old_bytes, size_t new_bytes)
{
  sandbox->blocks_big += (uint32_t)(new_bytes >= BLOCK_BIG_BYTES) - (uint32_t)(old_bytes >= BLOCK_BIG_BYTES);
  sandbox->blocks_huge += (uint32_t)(new_bytes >= BLOCK_HUGE_BYTES) - (uint32_t)(old_bytes >= BLOCK_HUGE_BYTES);
}

// The allocator cannot raise. It takes from the budget and lets the hook look at the next instruction.
static void charge_later(struct sandbox *sandbox, uint64_t instructions)
{
  struct sandbox_turn *turn = &sandbox->turn;
  if (turn->running == NULL) return;
  turn->instructions_left -= instructions < turn->instructions_left ? instructions : turn->instructions_left;
  turn->unclocked += instructions;
  if (turn->unclocked >= CLOCK_INTERVAL && turn->hook_interval > 1) arm(sandbox, 1);
}

static bool fits(const struct sandbox *sandbox, size_t more)
{
  const struct sandbox_budget *budget = sandbox->budget;
  size_t own = sandbox->usage.bytes, all = budget->bytes;
  return own <= sandbox->limits.bytes_max && more <= sandbox->limits.bytes_max - own && all <= budget->bytes_max &&
         more <= budget->bytes_max - all;
}

// A single instruction can grow the stack and copy it again and again (__call on itself: n * n / 2 moves), where no
// hook fires. The next big growth is then refused, and the state is lost as after any failed allocation.
static bool overdue(struct sandbox_turn *turn, size_t bytes)
{
  if (bytes < BLOCK_BIG_BYTES || turn->running == NULL || turn->wall_ns_max < 0) return false;
  if (clock_now_ns() < turn->deadline_ns) return false;
  if (wall_used_ns(turn) >= 2 * turn->wall_ns_max) turn->overdue = true;
  return turn->overdue;
}

static void *refuse(struct sandbox *sandbox, size_t bytes)
{
  // Lua collects everything and asks once more; that work is the script's.
  struct sandbox_turn *turn = &sandbox->turn;
  turn->refused_bytes = bytes;
  if (turn->running != NULL) place(turn->running, sandbox->refused_at, sizeof sandbox->refused_at);
  charge_later(sandbox, CLOCK_INTERVAL + sandbox->usage.bytes / BYTES_PER_INSTRUCTION);
  return NULL;
}

// When `ptr` is NULL, `old_bytes` is a type tag and no size.
static void *allocate(void *userdata, void *ptr, size_t old_bytes, size_t new_bytes)
{
  struct sandbox *sandbox = userdata;
  struct sandbox_usage *usage = &sandbox->usage;
  size_t had = ptr != NULL ? old_bytes : 0;
  if (new_bytes > had && sandbox->limited && (!fits(sandbox, new_bytes - had) || overdue(&sandbox->turn, new_bytes)))
    return refuse(sandbox, new_bytes);
  void *block = NULL;
  if (new_bytes == 0) {
    mem_free(ptr);
  } else {
    block = mem_resize(ptr, new_bytes);
    if (block == NULL && new_bytes > had) return refuse(sandbox, new_bytes);
    if (block == NULL) block = ptr; // Lua relies on shrinking never to fail
  }
  usage->bytes = usage->bytes - had + new_bytes;
  sandbox->budget->bytes = sandbox->budget->bytes - had + new_bytes;
  if (usage->bytes > usage->bytes_peak) usage->bytes_peak = usage->bytes;
  count_blocks(sandbox, had, new_bytes);
  if (new_bytes > had) {
    if (new_bytes == sandbox->turn.refused_bytes) sandbox->turn.refused_bytes = 0;
    if (new_bytes >= BLOCK_CHARGED_BYTES) charge_later(sandbox, new_bytes / BYTES_PER_INSTRUCTION);
  }
  return block;
}

void sandbox_room(lua_State *L, size_t bytes)
{
  struct sandbox *sandbox = sandbox_of(L);
  if (fits(sandbox, bytes)) return;
  sandbox_charge(L, CLOCK_INTERVAL + sandbox->usage.bytes / BYTES_PER_INSTRUCTION);
  lua_gc(L, LUA_GCCOLLECT);
}

// ---- the kill ----

static void note_usage(struct sandbox *sandbox)
{
  struct sandbox_usage *usage = &sandbox->usage;
  usage->instructions_last = sandbox->turn.instructions_max - sandbox->turn.instructions_left;
  usage->wall_ns_last = wall_used_ns(&sandbox->turn);
  if (usage->instructions_last > usage->instructions_peak) usage->instructions_peak = usage->instructions_last;
  if (usage->wall_ns_last > usage->wall_ns_peak) usage->wall_ns_peak = usage->wall_ns_last;
}

static bool past_deadline(struct sandbox_turn *turn)
{
  turn->unclocked = 0;
  if (turn->wall_ns_max < 0) return false;
  int64_t now_ns = clock_now_ns();
  if (now_ns < turn->deadline_ns) return false; // this thread cannot have used more than has passed
  int64_t left_ns = turn->wall_ns_max - wall_used_ns(turn);
  turn->deadline_ns = now_ns + left_ns;
  return left_ns <= 0;
}

// Which limit the turn has reached after `instructions` more.
static enum sandbox_kill spend(struct sandbox *sandbox, uint64_t instructions)
{
  struct sandbox_turn *turn = &sandbox->turn;
  turn->instructions_left -= instructions < turn->instructions_left ? instructions : turn->instructions_left;
  turn->unclocked += instructions;
  if (atomic_load_explicit(&sandbox->stop_asked, memory_order_relaxed)) return KILL_STOPPED;
  if (turn->instructions_left == 0) return KILL_INSTRUCTIONS;
  if (sandbox->kill_at != 0 && turn->instructions_max - turn->instructions_left >= sandbox->kill_at) return KILL_WALL;
  if (turn->unclocked >= CLOCK_INTERVAL && past_deadline(turn)) return KILL_WALL;
  return KILL_NONE;
}

static void begin(struct sandbox *sandbox, lua_State *thread, uint64_t instructions, int64_t wall_ns)
{
  struct sandbox_turn *turn = &sandbox->turn;
  *turn = (struct sandbox_turn){
    .running = thread, .instructions_max = instructions, .instructions_left = instructions, .wall_ns_max = wall_ns
  };
  if (wall_ns >= 0) {
    turn->started_ns = clock_thread_cpu_ns();
    turn->deadline_ns = clock_now_ns() + wall_ns;
  }
  atomic_store_explicit(&sandbox->stop_asked, false, memory_order_relaxed);
  arm(sandbox, HOOK_INTERVAL);
}

static int64_t grace_ns(const struct sandbox *sandbox)
{
  return sandbox->limits.wall_ns_max < 0 ? -1 : GRACE_NS;
}

// The first kill of a turn: says why, and gives what is left to do (<close> handlers) a last small budget.
static void mark_killed(struct sandbox *sandbox, lua_State *L, enum sandbox_kill kill)
{
  struct sandbox_turn *turn = &sandbox->turn;
  sandbox->killed = kill;
  sandbox->usage.kills[kill]++;
  sandbox->kill_at = 0;
  if (!turn->grace) note_usage(sandbox);
  if (turn->trace != NULL) {
    char where[sizeof sandbox->refused_at];
    place(L, where, sizeof where);
    kill_sentence(sandbox, kill, kill == KILL_MEMORY ? sandbox->refused_at : where, turn->trace);
    if (kill != KILL_MEMORY) trace_frames(turn->trace, L);
  }
  struct status *trace = turn->trace;
  begin(sandbox, turn->running, GRACE_INSTRUCTIONS, grace_ns(sandbox));
  turn->trace = trace;
  turn->grace = true;
  if (kill != KILL_MEMORY) return;
  turn->instructions_left = 0; // none: Lua 5.4.4 cannot be trusted after a failed allocation
  arm(sandbox, 1);
}

static int raise_kill(lua_State *L)
{
  lua_checkstack(L, 1);
  lua_pushlightuserdata(L, &kill_mark);
  return lua_error(L);
}

static void hook(lua_State *L, lua_Debug *frame)
{
  (void)frame;
  struct sandbox *sandbox = sandbox_of(L);
  struct sandbox_turn *turn = &sandbox->turn;
  if (turn->running == NULL) return;
  enum sandbox_kill kill = spend(sandbox, (uint64_t)turn->hook_interval);
  if (kill != KILL_NONE) {
    if (sandbox->killed == KILL_NONE) {
      mark_killed(sandbox, L, kill);
    } else {
      arm(sandbox, 1); // the grace is over: no further instruction
    }
    raise_kill(L);
  }
  int interval = sandbox->blocks_huge > 0  ? HOOK_INTERVAL_HUGE
                 : sandbox->blocks_big > 0 ? HOOK_INTERVAL_BIG
                                           : HOOK_INTERVAL;
  if (interval < HOOK_INTERVAL) turn->unclocked += CLOCK_INTERVAL; // look at the clock each time
  if (interval != turn->hook_interval) arm(sandbox, interval);
}

void sandbox_charge(lua_State *L, uint64_t instructions)
{
  struct sandbox *sandbox = sandbox_of(L);
  if (sandbox->turn.running == NULL || instructions == 0) return;
  enum sandbox_kill kill = spend(sandbox, instructions);
  if (kill == KILL_NONE) return;
  if (sandbox->killed == KILL_NONE) mark_killed(sandbox, L, kill);
  raise_kill(L);
}

void sandbox_recheck(lua_State *L, int status)
{
  struct sandbox *sandbox = sandbox_of(L);
  if (sandbox->turn.running == NULL) return;
  bool failed = status != LUA_OK && status != LUA_YIELD;
  if (sandbox->killed == KILL_NONE && (status == LUA_ERRMEM || (failed && sandbox->turn.refused_bytes != 0)))
    mark_killed(sandbox, L, KILL_MEMORY);
  if (sandbox->killed != KILL_NONE) raise_kill(L);
}

void sandbox_stop(struct sandbox *sandbox)
{
  atomic_store_explicit(&sandbox->stop_asked, true, memory_order_relaxed);
}

// ---- open, compile, close ----

static int panic(lua_State *L)
{
  check_failed(lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "Lua error outside of any turn", __FILE__,
               __LINE__);
}

int sandbox_open(struct sandbox *sandbox, const struct sandbox_limits *limits, struct sandbox_budget *budget,
                 uint64_t seed, const char *name, void *owner, struct status *status)
{
  *sandbox = (struct sandbox){ .owner = owner, .budget = budget, .limited = true };
  struct sandbox_limits *own = &sandbox->limits;
  if (limits != NULL) *own = *limits;
  if (own->bytes_max == 0) own->bytes_max = BYTES_DEFAULT;
  if (own->instructions_max == 0) own->instructions_max = INSTRUCTIONS_DEFAULT;
  if (own->wall_ns_max == 0) own->wall_ns_max = WALL_NS_DEFAULT;
  if (budget->bytes_max == 0) budget->bytes_max = BUDGET_DEFAULT;
  sandbox->usage.bytes_max = own->bytes_max;
  sandbox->usage.instructions_max = own->instructions_max;
  rng_init(&sandbox->random, seed, name);
  sandbox->L = lua_newstate(allocate, sandbox);
  bool opened = sandbox->L != NULL;
  if (opened) {
    memcpy(lua_getextraspace(sandbox->L), &sandbox, sizeof sandbox);
    lua_atpanic(sandbox->L, panic);
    lua_pushcfunction(sandbox->L, allow_open);
    opened = lua_pcall(sandbox->L, 0, 0, 0) == LUA_OK;
  }
  sandbox->limited = false;
  if (opened) return 0;
  bool spent = budget->bytes_max - budget->bytes < own->bytes_max;
  sandbox_close(sandbox);
  if (spent)
    return status_set(status, NINES_ELIMIT, "%s: no memory left for one more policy (all policies may hold %zu bytes)",
                      name, budget->bytes_max);
  return status_set(status, NINES_ENOMEM, "%s: a policy's memory limit of %zu bytes is too small", name,
                    own->bytes_max);
}

void sandbox_close(struct sandbox *sandbox)
{
  if (sandbox->L != NULL) lua_close(sandbox->L);
  sandbox->L = NULL;
  CHECK(sandbox->usage.bytes == 0);
  CHECK(sandbox->blocks_big == 0);
}

int sandbox_compile(struct sandbox *sandbox, const char *text, size_t size, const char *chunk_name,
                    struct status *status)
{
  if (size > TEXT_BYTES_MAX)
    return status_set(status, NINES_ELIMIT, "%s: %zu bytes are too many for a policy (at most %d)", chunk_name, size,
                      TEXT_BYTES_MAX);
  char name[256];
  bool marked = chunk_name[0] == '@' || chunk_name[0] == '=';
  snprintf(name, sizeof name, "%s%s", marked ? "" : "@", chunk_name);
  lua_State *L = sandbox->L;
  bool was_limited = sandbox->limited;
  sandbox->limited = true;
  int loaded = luaL_loadbufferx(L, text, size, name, "t");
  sandbox->limited = was_limited;
  if (loaded == LUA_OK) return 0;
  int code = loaded == LUA_ERRMEM ? NINES_ELIMIT : NINES_ESCRIPT;
  if (loaded == LUA_ERRMEM) {
    sandbox->killed = KILL_MEMORY;
    sandbox->usage.kills[KILL_MEMORY]++;
    kill_sentence(sandbox, KILL_MEMORY, chunk_name, status);
  } else {
    status_set(status, code, "%s", lua_tostring(L, -1));
  }
  lua_pop(L, 1);
  return code;
}

// ---- turns ----

// The message handler: writes the sentence and the frames while they are still there.
static int on_error(lua_State *L)
{
  const struct sandbox *sandbox = sandbox_of(L);
  struct status *trace = sandbox->turn.trace;
  if (trace == NULL || sandbox->killed != KILL_NONE) return 1;
  int type = lua_type(L, 1);
  if (type == LUA_TSTRING) {
    status_set(trace, NINES_ESCRIPT, "%s", lua_tostring(L, 1));
  } else if (type == LUA_TNUMBER) {
    status_set(trace, NINES_ESCRIPT, "%g", lua_tonumber(L, 1));
  } else {
    status_set(trace, NINES_ESCRIPT, "error with a %s instead of a sentence", lua_typename(L, type));
  }
  trace_frames(trace, L);
  return 1;
}

static int task_done(lua_State *L, int status, lua_KContext context)
{
  (void)context;
  sandbox_recheck(L, status);
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return lua_gettop(L) - 1;
}

// What a thread runs: the function in slot 1 with the arguments after it.
static int task_run(lua_State *L)
{
  int arguments = lua_gettop(L) - 1;
  lua_pushcfunction(L, on_error);
  lua_insert(L, 1);
  return task_done(L, lua_pcallk(L, arguments, LUA_MULTRET, 1, 0, task_done), 0);
}

int sandbox_resume(struct sandbox *sandbox, lua_State *thread, int arguments, int *results, struct status *trace)
{
  CHECK(sandbox->turn.running == NULL);
  *results = 0;
  if (trace != NULL) *trace = (struct status){ 0 };
  if (sandbox->killed == KILL_MEMORY) {
    kill_sentence(sandbox, KILL_MEMORY, "", trace);
    return LUA_ERRMEM;
  }
  sandbox->killed = KILL_NONE;
  if (lua_status(thread) == LUA_OK) { // fresh
    CHECK(lua_gettop(thread) == arguments + 1);
    lua_checkstack(thread, 2);
    lua_pushcfunction(thread, task_run);
    lua_insert(thread, 1);
    arguments++;
  }
  begin(sandbox, thread, sandbox->limits.instructions_max, sandbox->limits.wall_ns_max);
  sandbox->turn.trace = trace;
  sandbox->limited = true;
  int count = 0;
  int status = lua_resume(thread, NULL, arguments, &count);
  sandbox->limited = false;
  if (sandbox->killed == KILL_NONE) note_usage(sandbox);
  sandbox->usage.turns++;
  sandbox->kill_at = 0;
  bool failed = status != LUA_OK && status != LUA_YIELD;
  if (status == LUA_ERRMEM && sandbox->killed == KILL_NONE) mark_killed(sandbox, thread, KILL_MEMORY);
  sandbox->turn = (struct sandbox_turn){ 0 };
  if (failed && trace != NULL && trace->text[0] == '\0')
    status_set(trace, NINES_ESCRIPT, "error in the handling of an error");
  *results = failed ? 0 : count;
  return failed && sandbox->killed == KILL_MEMORY ? LUA_ERRMEM : status;
}

void sandbox_cancel(struct sandbox *sandbox, lua_State *thread)
{
  const struct sandbox_turn turn = sandbox->turn;
  const enum sandbox_kill killed = sandbox->killed;
  const uint64_t kill_at = sandbox->kill_at;
  const bool limited = sandbox->limited;
  sandbox->killed = KILL_NONE;
  sandbox->kill_at = 0;
  sandbox->limited = true;
  begin(sandbox, thread, GRACE_INSTRUCTIONS, grace_ns(sandbox));
  sandbox->turn.grace = true;
  if (killed == KILL_MEMORY) {
    sandbox->turn.instructions_left = 0;
    arm(sandbox, 1);
  }
  lua_resetthread(thread);
  sandbox->limited = limited;
  if (sandbox->killed != KILL_MEMORY) sandbox->killed = killed;
  sandbox->kill_at = kill_at;
  sandbox->turn = turn;
}
