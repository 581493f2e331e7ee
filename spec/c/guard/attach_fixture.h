// An engine of a file's arena, folded by a thread each millisecond as a live engine does each beat, and children that
// attach to it. The lock is for who looks into the arena beside that thread.
#ifndef NINES_SPEC_ATTACH_FIXTURE_H
#define NINES_SPEC_ATTACH_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "attach_door.h"
#include "breakers.h"
#include "clients.h"
#include "clock.h"
#include "core/seed.h"
#include "flags.h"
#include "paths.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

static char folder[] = "/tmp/nines-attach-XXXXXX", path[64];

struct engine {
  struct arena *memory;
  struct writers writers;
  struct nines_arena arena;
  pthread_t thread;
  pthread_mutex_t lock; // the arena is this thread's or the test's
  _Atomic bool stop;
};

static inline void *beat(void *userdata)
{
  struct engine *engine = userdata;
  while (!atomic_load(&engine->stop)) {
    pthread_mutex_lock(&engine->lock);
    nines_arena_fold(&engine->arena, clock_now_ns());
    pthread_mutex_unlock(&engine->lock);
    nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS }, NULL);
  }
  return NULL;
}

static inline void engine_start(struct engine *engine)
{
  const struct arena_config config = { .path = path, .size_bytes = 8 << 20 };
  struct status notice = { 0 }, status = { 0 };
  memset((void *)engine, 0, sizeof *engine);
  if (arena_open(&engine->memory, &config, &notice, &status) < 0) fail_msg("%s", status.text);
  assert_string_equal(notice.text, "");
  writers_init(&engine->writers, clients_claims(engine->memory, &status));
  writers_bind_loop(&engine->writers);
  guards_init(&engine->arena, engine->memory, &engine->writers, 1, clock_now_ns());
  assert_int_equal(clients_open(&engine->arena, clock_now_ns(), &status), 0);
  pthread_mutexattr_t again;
  pthread_mutexattr_init(&again);
  pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&engine->lock, &again);
  assert_int_equal(pthread_create(&engine->thread, NULL, beat, engine), 0);
}

static inline void engine_stop(struct engine *engine)
{
  atomic_store(&engine->stop, true);
  pthread_join(engine->thread, NULL);
  clients_close(&engine->arena);
  guards_fini(&engine->arena);
  writers_fini(&engine->writers);
  arena_close(engine->memory);
}

static inline nines_arena *attach(void)
{
  nines_arena *arena;
  char error[256] = "";
  const nines_attach_config config = { .size = sizeof config, .wait_ns = 5 * NS_PER_S };
  if (nines_attach(&arena, path, &config, error, sizeof error) < 0) {
    fprintf(stderr, "attach: %s\n", error);
    return NULL;
  }
  return arena;
}

// Runs the body in a child that is attached; its value is the exit status.
static inline pid_t start(int (*body)(nines_arena *arena, void *userdata), void *userdata)
{
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // a test that fails leaves nobody behind
    nines_arena *arena = attach();
    int code = arena ? body(arena, userdata) : 100;
    if (arena) nines_arena_close(arena);
    _exit(code);
  }
  assert_true(child > 0);
  return child;
}

static inline int ended(pid_t child)
{
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

static inline int setup(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/nines-attach-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/arena", folder);
  return 0;
}

static inline int teardown(void **state)
{
  (void)state;
  unlink(path);
  return rmdir(folder);
}

#define EXPECT(what)                                                                                                   \
  if (!(what)) {                                                                                                       \
    fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                                                         \
    return 1;                                                                                                          \
  }

static inline void wait_until(bool (*is)(void *userdata), void *userdata)
{
  int64_t until_ns = clock_now_ns() + 20 * NS_PER_S;
  while (!is(userdata)) {
    if (clock_now_ns() > until_ns) fail_msg("it did not come to that in 20 s");
    nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS }, NULL);
  }
}

static inline struct guard *guard_of(struct engine *engine, const struct guard_kind *kind, const char *name)
{
  pthread_mutex_lock(&engine->lock);
  struct guard *guard = guards_find(&engine->arena, kind, name);
  pthread_mutex_unlock(&engine->lock);
  assert_non_null(guard);
  return guard;
}

struct tally_of_path {
  struct tally sum;
  uint32_t own; // writers of their own that recorded
};

static inline struct tally_of_path tally_of(struct engine *engine, const char *name)
{
  struct tally_of_path out = { 0 };
  const nines_path *found = (const nines_path *)guard_of(engine, &path_kind, name);
  for (uint32_t writer = 0; writer < WRITERS_MAX; writer++) {
    const struct meter *meter = path_meter_of(found, writer);
    if (!meter) continue;
    out.sum = tally_add(out.sum, meter_tally(meter));
    out.own += writer >= WRITER_FIRST && meter_tally(meter).total > 0;
  }
  return out;
}

#endif
