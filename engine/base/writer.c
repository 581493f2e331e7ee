// Numbers for recording threads. Claiming is a compare-and-swap on a word of bits; after it, a thread finds its number
// in a small thread-local table by the engine's id. Ids are never used twice, so what a thread remembers of a closed
// engine can match nothing.
//
// When a thread ends, the destructor of a pthread key gives its numbers back. It may run after the engine is gone, so
// it looks the engine up among the open ones, under a lock that nothing on the request path takes.
#include "writer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "check.h"
#include "mem.h"

_Thread_local struct writer_known writer_known[WRITER_KNOWN_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static struct writers **opened; // guarded by lock, as are the next three
static size_t opened_count, opened_capacity;
static uint64_t last_id;

static struct writers *find_opened(uint64_t id)
{
  for (size_t i = 0; i < opened_count; i++) {
    if (opened[i]->id == id) return opened[i];
  }
  return NULL;
}

// Forgets `entry`; its number becomes free for another thread. The lock is held.
static void give_back(struct writer_known *entry)
{
  struct writers *writers = find_opened(entry->id);
  if (writers && entry->number >= WRITER_FIRST) {
    // Release: the next owner of the number sees this thread's last stores to the shard.
    atomic_fetch_and_explicit(&writers->claimed, ~(1u << entry->number), memory_order_release);
  }
  *entry = (struct writer_known){ 0 };
}

static void thread_ends(void *table)
{
  struct writer_known *entries = table;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < WRITER_KNOWN_MAX; i++) give_back(&entries[i]);
  pthread_mutex_unlock(&lock);
}

static void make_key(void)
{
  CHECK(pthread_key_create(&key, thread_ends) == 0);
}

void writers_init(struct writers *writers)
{
  pthread_once(&key_once, make_key);
  pthread_mutex_lock(&lock);
  writers->id = ++last_id;
  atomic_init(&writers->claimed, 0);
  if (opened_count == opened_capacity) {
    opened_capacity = opened_capacity > 0 ? opened_capacity * 2 : 4;
    opened = mem_must_resize(opened, opened_capacity * sizeof *opened);
  }
  opened[opened_count++] = writers;
  pthread_mutex_unlock(&lock);
}

void writers_fini(struct writers *writers)
{
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < opened_count; i++) {
    if (opened[i] == writers) opened[i--] = opened[--opened_count];
  }
  if (opened_count == 0) {
    mem_free(opened);
    opened = NULL;
    opened_capacity = 0;
  }
  pthread_mutex_unlock(&lock);
}

// A free place in this thread's table; places of closed engines are free too. NULL: all are in use.
static struct writer_known *free_place(void)
{
  struct writer_known *place = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < WRITER_KNOWN_MAX && !place; i++) {
    if (writer_known[i].id == 0 || !find_opened(writer_known[i].id)) place = &writer_known[i];
  }
  pthread_mutex_unlock(&lock);
  return place;
}

static void remember(struct writer_known *place, uint64_t id, uint32_t number)
{
  *place = (struct writer_known){ id, number };
  // Without the key's value the number would not come back at the thread's end: only a lost shard, so no failure.
  pthread_setspecific(key, writer_known);
}

static uint32_t claim(struct writers *writers)
{
  struct writer_known *place = free_place();
  if (!place) return WRITER_SHARED;
  uint32_t bits = atomic_load_explicit(&writers->claimed, memory_order_relaxed);
  uint32_t number = WRITER_FIRST;
  while (number < WRITERS_MAX) {
    if (bits & (1u << number)) {
      number++;
    } else if (atomic_compare_exchange_weak_explicit(&writers->claimed, &bits, bits | (1u << number),
                                                     memory_order_acquire, memory_order_relaxed)) {
      break;
    } else {
      number = WRITER_FIRST; // the word changed: look again
    }
  }
  // A thread that came too late stays with the shared shard: asking again at each call would cost more than it saves.
  remember(place, writers->id, number < WRITERS_MAX ? number : WRITER_SHARED);
  return place->number;
}

static struct writer_known *find_known(uint64_t id)
{
  for (int i = 0; i < WRITER_KNOWN_MAX; i++) {
    if (writer_known[i].id == id) return &writer_known[i];
  }
  return NULL;
}

uint32_t writers_look(uint64_t id)
{
  struct writer_known *entry = find_known(id);
  if (entry) { // the first of the table from now on: whoever uses several in turn pays for it
    struct writer_known first = writer_known[0];
    writer_known[0] = *entry;
    if (entry != &writer_known[0]) *entry = first;
    return writer_known[0].number;
  }
  pthread_mutex_lock(&lock);
  struct writers *writers = find_opened(id);
  pthread_mutex_unlock(&lock);
  return writers ? claim(writers) : WRITER_SHARED;
}

void writers_bind_loop(struct writers *writers)
{
  struct writer_known *place = find_known(writers->id);
  if (!place) place = free_place();
  // The loop's own engine goes before the one that this thread has not used for longest.
  if (!place) place = &writer_known[WRITER_KNOWN_MAX - 1];
  pthread_mutex_lock(&lock);
  give_back(place);
  pthread_mutex_unlock(&lock);
  remember(place, writers->id, WRITER_LOOP);
}
