// Who writes where: a number for each thread that records, so that each has shards of its own.
//
// Writer 0 is the loop thread, WRITER_STATSD the packet thread. Writer WRITER_SHARED is for threads that found no
// number free: they share one shard and pay a locked instruction. A number is claimed once per thread and engine and
// given back when the thread ends.
#ifndef NINES_BASE_WRITER_H
#define NINES_BASE_WRITER_H

#include <stdatomic.h>
#include <stdint.h>

enum { WRITER_LOOP = 0, WRITER_SHARED = 1, WRITER_STATSD = 2, WRITER_FIRST = 3, WRITERS_MAX = 10 };

struct writers {
  uint64_t id;              // unique in the process; set by writers_init
  _Atomic uint32_t claimed; // one bit a writer
};

void writers_init(struct writers *writers);
void writers_fini(struct writers *writers); // threads' cached numbers for it become void

// What a thread knows of its numbers, the one used last first. Found without a call, also from a shared library: 64
// bytes of the space that the loader keeps for such.
enum { WRITER_KNOWN_MAX = 4 }; // engines that one thread records into with a number of its own
struct writer_known {
  uint64_t id; // 0: free
  uint32_t number;
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
// The loop thread calls this once, so that writers_mine is WRITER_LOOP there.
void writers_bind_loop(struct writers *writers);

#endif
