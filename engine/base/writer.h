// Who writes where: a number for each thread that records, so that each has shards of its own.
//
// Writer WRITER_LOOP is the loop thread, WRITER_STATSD the packet thread. Writer WRITER_SHARED is for threads that
// found no number free: they share one shard and pay a locked instruction. A number belongs to a process: it is claimed
// in a table that all processes of an arena share, with the process's identity (id and start time, so that a process id
// that is used again is not taken for the old one), is handed on among the threads of the process as they end, and
// becomes free when the engine has found its process gone and returned what it held. After a fork the child claims
// numbers of its own: parent and child never write one shard.
#ifndef NINES_BASE_WRITER_H
#define NINES_BASE_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { WRITER_LOOP = 0, WRITER_SHARED = 1, WRITER_STATSD = 2, WRITER_FIRST = 3, WRITERS_MAX = 32 };

#define WRITER_LEFT UINT64_C(1) // for an owner: its process has left in good order

// Zeroed memory, shared by all who write.
struct writer_claims {
  _Atomic uint64_t owner[WRITERS_MAX]; // process_identity; 0: free
};

struct writers {
  uint64_t id; // unique in the process; set by writers_init
  struct writer_claims *claims;
  struct writer_claims own;    // of writers that share with nobody
  _Atomic uint64_t self;       // identity of this process; 0: yet to be found (after a fork)
  _Atomic uint32_t held;       // numbers claimed here, one bit each
  _Atomic uint32_t spare;      // of these, those that no thread uses now
  _Atomic uint32_t registered; // a number of this process, whoever of it uses it; 0: none
};

// `claims` NULL: of this process alone. With claims the process registers: it has at least one number, or none are
// free (registered is 0).
void writers_init(struct writers *writers, struct writer_claims *claims);
// [any] The process has a number, also after a fork and when one has become free since; false: it has none.
bool writers_register(struct writers *writers);
// Numbers in shared claims that others of this process hold, of whatever arena.
uint32_t writers_held_beside(const struct writers *writers);
// Threads' cached numbers for it become void; numbers in shared claims are marked as a gone process's.
void writers_fini(struct writers *writers);

// Process id in the upper half, the lower 32 bits of its start time (ticks since boot) in the lower; all ones when
// /proc does not tell (no descriptor is left).
uint64_t process_identity(void);
bool process_lives(uint64_t identity); // as far as one may know: true when in doubt
uint32_t process_id(uint64_t identity);

// What a thread knows of its numbers, the one used last first. Found without a call, also from a shared library: 64
// bytes of the space that the loader keeps for such.
enum { WRITER_KNOWN_MAX = 4 }; // engines that one thread records into with a number of its own
struct writer_known {
  uint64_t id;     // 0: free
  uint32_t number; // WRITER_SHARED when free: who has no id yet finds nobody's own
};
extern _Thread_local struct writer_known writer_known[WRITER_KNOWN_MAX] __attribute__((tls_model("initial-exec")));

uint32_t writers_look(uint64_t id); // for writers_number: the rest of it; a void id is WRITER_SHARED
// [any] This thread's number in the writers of this id: claimed at the first call, then some loads.
static inline uint32_t writers_number(uint64_t id)
{
  return __builtin_expect(writer_known[0].id == id, 1) ? writer_known[0].number : writers_look(id);
}
static inline uint32_t writers_mine(const struct writers *writers)
{
  return writers_number(writers->id);
}
// [any] A number of this process: the thread's own, or the one the process registered with. For what many threads of
// one process may write with locked instructions, and what a dead process must be known by. WRITER_SHARED when it has
// none.
static inline uint32_t writers_process(struct writers *writers)
{
  uint32_t mine = writers_number(writers->id);
  uint32_t registered = atomic_load_explicit(&writers->registered, memory_order_relaxed);
  return mine != WRITER_SHARED || registered == 0 ? mine : registered;
}
// The loop thread calls this once, so that writers_mine is WRITER_LOOP there.
void writers_bind_loop(struct writers *writers);

#endif
