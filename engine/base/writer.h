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
// [any] This thread's number: claimed at the first call, cached in thread-local memory after it (about 1 ns).
uint32_t writers_mine(struct writers *writers);
// The loop thread calls this once, so that writers_mine is WRITER_LOOP there.
void writers_bind_loop(struct writers *writers);

#endif
