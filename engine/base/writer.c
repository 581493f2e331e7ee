// Numbers for recording threads. Claiming is a compare-and-swap on the number's owner; after it, a thread finds its
// number in a small thread-local table by the engine's id. Ids are never used twice, so what a thread remembers of a
// closed engine can match nothing.
//
// When a thread ends, the destructor of a pthread key gives its numbers back to its process. It may run after the
// engine is gone, so it looks the engine up among the open ones, under a lock that nothing on the request path takes. A
// fork leaves the child with the forking thread alone: a handler forgets what that thread knew and who the process was.
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "mem.h"

#define FREE_PLACE                                                                                                     \
  {                                                                                                                    \
    0, WRITER_SHARED                                                                                                   \
  }
_Thread_local struct writer_known writer_known[WRITER_KNOWN_MAX] = { FREE_PLACE, FREE_PLACE, FREE_PLACE, FREE_PLACE };

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
  // Release: the next user of the number sees this thread's last stores to the shard.
  if (writers && entry->number >= WRITER_FIRST)
    atomic_fetch_or_explicit(&writers->spare, 1u << entry->number, memory_order_release);
  *entry = (struct writer_known)FREE_PLACE;
}

static void thread_ends(void *table)
{
  struct writer_known *entries = table;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < WRITER_KNOWN_MAX; i++) give_back(&entries[i]);
  pthread_mutex_unlock(&lock);
}

// Only this thread goes on in the child, and nothing of the parent's is its own.
static void child_begins(void)
{
  for (int i = 0; i < WRITER_KNOWN_MAX; i++) writer_known[i] = (struct writer_known)FREE_PLACE;
  for (size_t i = 0; i < opened_count; i++) {
    struct writers *writers = opened[i];
    if (writers->claims == &writers->own) continue; // a copy of all of it: nobody else writes there
    atomic_store_explicit(&writers->self, 0, memory_order_relaxed);
    atomic_store_explicit(&writers->spare, 0, memory_order_relaxed);
    atomic_store_explicit(&writers->held, 0, memory_order_relaxed);
    atomic_store_explicit(&writers->registered, 0, memory_order_relaxed);
  }
  pthread_mutex_unlock(&lock);
}

static void fork_begins(void)
{
  pthread_mutex_lock(&lock);
}

static void parent_goes_on(void)
{
  pthread_mutex_unlock(&lock);
}

static void make_key(void)
{
  CHECK(pthread_key_create(&key, thread_ends) == 0);
  CHECK(pthread_atfork(fork_begins, parent_goes_on, child_begins) == 0);
}

// --- processes

#define START_UNKNOWN UINT32_MAX
enum looked { LOOKED_DEAD, LOOKED_LIVING, LOOKED_UNSEEN };

// The start time of a process: the 22nd field of its stat, counted behind the name, which may hold anything. Unseen:
// there is none to be read, also for want of a descriptor, or because /proc hides what other users run.
static enum looked started_at(uint32_t pid, uint32_t *out)
{
  char path[40], text[1024];
  snprintf(path, sizeof path, "/proc/%u/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return LOOKED_UNSEEN;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return LOOKED_UNSEEN;
  text[size] = '\0';
  char *at = strrchr(text, ')');
  if (!at || at[1] != ' ') return LOOKED_UNSEEN;
  bool exited = at[2] == 'Z' || at[2] == 'X'; // its first thread has, at least
  unsigned long threads = 0;
  for (int field = 2; field < 22 && at; field++) {
    at = strchr(at + 1, ' ');
    if (at && field == 19) threads = strtoul(at + 1, NULL, 10);
  }
  if (!at) return LOOKED_UNSEEN;
  if (exited && threads <= 1) return LOOKED_DEAD; // and only not yet noticed by its parent
  *out = (uint32_t)strtoull(at + 1, NULL, 10);
  return LOOKED_LIVING;
}

uint32_t process_id(uint64_t identity)
{
  return (uint32_t)(identity >> 32);
}

uint64_t process_identity(void)
{
  uint32_t pid = (uint32_t)getpid(), start = START_UNKNOWN;
  started_at(pid, &start);
  return (uint64_t)pid << 32 | start;
}

static bool is_gone(uint32_t pid)
{
  return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

bool process_lives(uint64_t identity)
{
  uint32_t pid = process_id(identity), known = (uint32_t)identity, start = 0;
  if (pid == 0 || pid > INT32_MAX || is_gone(pid)) return false;
  enum looked looked = started_at(pid, &start);
  if (looked == LOOKED_UNSEEN) return !is_gone(pid); // perhaps meanwhile
  return looked == LOOKED_LIVING && (known == START_UNKNOWN || start == known);
}

// --- claims

static uint64_t self_of(struct writers *writers)
{
  uint64_t self = atomic_load_explicit(&writers->self, memory_order_relaxed);
  if (self) return self;
  self = process_identity();
  atomic_store_explicit(&writers->self, self, memory_order_relaxed);
  return self;
}

// A free number; WRITER_SHARED when there is none.
static uint32_t take_free(struct writers *writers)
{
  uint64_t self = self_of(writers);
  for (uint32_t number = WRITER_FIRST; number < WRITERS_MAX; number++) {
    uint64_t owner = 0;
    // Acquire: what was returned of its last owner is seen.
    if (atomic_compare_exchange_strong_explicit(&writers->claims->owner[number], &owner, self, memory_order_acquire,
                                                memory_order_relaxed)) {
      atomic_fetch_or_explicit(&writers->held, 1u << number, memory_order_relaxed);
      return number;
    }
  }
  return WRITER_SHARED;
}

static void put_spare(struct writers *writers, uint32_t number)
{
  atomic_fetch_or_explicit(&writers->spare, 1u << number, memory_order_release);
}

static uint32_t take_spare(struct writers *writers)
{
  uint32_t spare = atomic_load_explicit(&writers->spare, memory_order_relaxed);
  while (spare) {
    uint32_t number = (uint32_t)__builtin_ctz(spare);
    if (atomic_compare_exchange_weak_explicit(&writers->spare, &spare, spare & (spare - 1), memory_order_acquire,
                                              memory_order_relaxed))
      return number;
  }
  return WRITER_SHARED;
}

// The lock is held, or nobody else knows of these writers yet.
static void register_process(struct writers *writers)
{
  if (writers->claims == &writers->own || atomic_load_explicit(&writers->registered, memory_order_relaxed)) return;
  uint32_t number = take_free(writers);
  if (number == WRITER_SHARED) return;
  put_spare(writers, number); // the first thread that records has it
  atomic_store_explicit(&writers->registered, number, memory_order_release);
}

bool writers_register(struct writers *writers)
{
  pthread_mutex_lock(&lock);
  register_process(writers);
  pthread_mutex_unlock(&lock);
  return atomic_load_explicit(&writers->registered, memory_order_relaxed) != 0;
}

uint32_t writers_held_beside(const struct writers *writers)
{
  uint32_t held = 0;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < opened_count; i++)
    if (opened[i] != writers && opened[i]->claims != &opened[i]->own)
      held |= atomic_load_explicit(&opened[i]->held, memory_order_relaxed);
  pthread_mutex_unlock(&lock);
  return held;
}

void writers_init(struct writers *writers, struct writer_claims *claims)
{
  pthread_once(&key_once, make_key);
  memset((void *)writers, 0, sizeof *writers);
  writers->claims = claims ? claims : &writers->own;
  pthread_mutex_lock(&lock);
  writers->id = ++last_id;
  register_process(writers);
  if (opened_count == opened_capacity) {
    opened_capacity = opened_capacity > 0 ? opened_capacity * 2 : 4;
    opened = mem_must_resize(opened, opened_capacity * sizeof *opened);
  }
  opened[opened_count++] = writers;
  pthread_mutex_unlock(&lock);
}

// A process that leaves is one that is gone: what its permits held is returned by the engine.
static void leave(struct writers *writers)
{
  uint32_t held = atomic_load_explicit(&writers->held, memory_order_relaxed);
  if (writers->claims == &writers->own) return;
  for (uint32_t number = 0; number < WRITERS_MAX; number++) {
    uint64_t owner = atomic_load_explicit(&writers->self, memory_order_relaxed);
    if (!(held >> number & 1)) continue;
    atomic_compare_exchange_strong_explicit(&writers->claims->owner[number], &owner, WRITER_LEFT, memory_order_release,
                                            memory_order_relaxed);
  }
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
  if (writers->claims) leave(writers);
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
  uint32_t number = take_spare(writers);
  if (number == WRITER_SHARED) number = take_free(writers);
  // A thread that came too late stays with the shared shard: asking again at each call would cost more than it saves.
  remember(place, writers->id, number);
  return number;
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
  if (writers) register_process(writers); // the first call of a child
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
  atomic_store_explicit(&writers->claims->owner[WRITER_LOOP], self_of(writers), memory_order_relaxed);
  remember(place, writers->id, WRITER_LOOP);
}
