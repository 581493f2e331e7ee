// The queue between the loop and the disk. The loop hands over txns and goes on; one thread takes all that wait,
// commits them together (one fsync for many), and queues the verdicts for store_poll.
//
// When a group fails, its txns are tried one by one, in order, so that one that cannot be stored (too large) does not
// take its neighbours along. A verdict not yet polled still counts against the queue's limit, so that neither list
// grows without bound.
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "database.h"
#include "list.h"
#include "mem.h"

enum { QUEUE_DEFAULT = 1024, GROUP_MAX = 256, LOCK_TRIES = 50, LOCK_PAUSE_NS = 2000000 };

struct job {
  struct list node;
  uint64_t ticket;
  struct txn txn;
  char *backup; // file; NULL: the job is the txn
  int code;
  char *error; // NULL when code is 0
};

struct store {
  struct store_config config;
  struct database *database; // under database_lock once the thread runs
  int lock_fd;
  pthread_t thread;
  pthread_mutex_t database_lock;
  pthread_mutex_t lock; // of everything below
  pthread_cond_t work;
  struct list waiting;
  struct list finished;
  uint64_t last_ticket;
  bool closing;
  struct store_usage usage;
};

static void free_job(struct job *job)
{
  txn_fini(&job->txn);
  mem_free(job->backup);
  mem_free(job->error);
  mem_free(job);
}

static void judge(struct job *job, int code, const struct status *status)
{
  job->code = code;
  if (code != 0) job->error = mem_must_copy(status->text);
}

static void apply_group(struct database *database, struct job *const *group, size_t count)
{
  const struct txn *txns[GROUP_MAX];
  for (size_t i = 0; i < count; i++) txns[i] = &group[i]->txn;
  struct status status = { 0 };
  if (count > 1 && database_apply(database, txns, count, &status) == 0) {
    for (size_t i = 0; i < count; i++) judge(group[i], 0, NULL);
    return;
  }
  for (size_t i = 0; i < count; i++) judge(group[i], database_apply(database, &txns[i], 1, &status), &status);
}

static void run_group(struct store *store, struct job *const *group, size_t count)
{
  pthread_mutex_lock(&store->database_lock);
  if (group[0]->backup) {
    struct status status = { 0 };
    judge(group[0], database_backup(store->database, group[0]->backup, &status), &status);
  } else {
    apply_group(store->database, group, count);
  }
  pthread_mutex_unlock(&store->database_lock);
  // Here and not in store_poll: the loop has better things to do than to free a thousand texts.
  for (size_t i = 0; i < count; i++) txn_fini(&group[i]->txn);
}

// Takes a backup alone, or the txns that wait in a row. Under the lock.
static size_t take_group(struct store *store, struct job **group)
{
  size_t count = 0;
  list_each (node, &store->waiting) {
    struct job *job = list_entry(node, struct job, node);
    if (count == GROUP_MAX || (job->backup && count > 0)) break;
    list_remove(node);
    group[count++] = job;
    if (job->backup) break;
  }
  return count;
}

static void *write_loop(void *argument)
{
  struct store *store = argument;
  struct job *group[GROUP_MAX];
  pthread_mutex_lock(&store->lock);
  for (;;) {
    while (list_empty(&store->waiting) && !store->closing) pthread_cond_wait(&store->work, &store->lock);
    size_t count = take_group(store, group);
    if (count == 0) break;
    pthread_mutex_unlock(&store->lock);
    int64_t start_ns = clock_now_ns();
    run_group(store, group, count);
    int64_t took_ns = clock_now_ns() - start_ns;
    uint64_t bytes = database_bytes(store->database);
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < count; i++) {
      if (group[i]->code == 0)
        store->usage.commits++;
      else
        store->usage.failures++;
      list_append(&store->finished, &group[i]->node);
    }
    store->usage.bytes = bytes;
    store->usage.commit_ns_last = took_ns;
    if (took_ns > store->usage.commit_ns_max) store->usage.commit_ns_max = took_ns;
    if (!store->config.wake) continue;
    pthread_mutex_unlock(&store->lock);
    store->config.wake(store->config.userdata);
    pthread_mutex_lock(&store->lock);
  }
  pthread_mutex_unlock(&store->lock);
  return NULL;
}

// Two engines on one directory would run every alert twice.
static int take_lock(const char *dir, int *out, struct status *status)
{
  char path[PATH_MAX];
  if (snprintf(path, sizeof(path), "%s/nines.lock", dir) >= PATH_MAX) {
    return status_set(status, NINES_EINVAL, "the path of the data directory is too long");
  }
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return status_set(status, NINES_EIO, "cannot make %s: %s", path, strerror(errno));
  // A helper forked in the very moment its engine was killed holds the lock until it has closed what it inherited.
  int failed = flock(fd, LOCK_EX | LOCK_NB);
  for (int tries = 0; failed && errno == EWOULDBLOCK && tries < LOCK_TRIES; tries++) {
    nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_NS }, NULL);
    failed = flock(fd, LOCK_EX | LOCK_NB);
  }
  if (!failed) {
    // The number is for the message below only; without it the lock holds all the same.
    if (ftruncate(fd, 0) == 0) dprintf(fd, "%ld\n", (long)getpid());
    *out = fd;
    return 0;
  }
  int error = errno;
  char owner[32] = "";
  ssize_t size = read(fd, owner, sizeof(owner) - 1);
  owner[size > 0 ? strcspn(owner, "\n") : 0] = '\0';
  close(fd);
  if (error != EWOULDBLOCK) return status_set(status, NINES_EIO, "cannot lock %s: %s", path, strerror(error));
  return status_set(status, NINES_EBUSY, "the data directory %s is in use by process %s; stop it, or choose another",
                    dir, owner[0] ? owner : "?");
}

static int start_thread(struct store *store, struct status *status)
{
  // Signals belong to the loop's thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&store->thread, NULL, write_loop, store);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return 0;
  return status_set(status, NINES_EIO, "cannot start the store's thread: %s", strerror(error));
}

int store_open(struct store **out, const struct store_config *config, struct status *notice, struct status *status)
{
  *out = NULL;
  if (mkdir(config->dir, 0700) != 0 && errno != EEXIST) {
    return status_set(status, NINES_EIO, "cannot make the directory %s: %s", config->dir, strerror(errno));
  }
  struct store *store = mem_must(sizeof(*store));
  store->config = *config;
  store->config.dir = NULL; // the caller's
  store->usage.queue_max = config->queue_max ? config->queue_max : QUEUE_DEFAULT;
  list_init(&store->waiting);
  list_init(&store->finished);
  store->lock_fd = -1;
  int code = take_lock(config->dir, &store->lock_fd, status);
  if (code == 0) code = database_open(&store->database, config->dir, notice, status);
  if (code == 0) {
    store->usage.bytes = database_bytes(store->database);
    CHECK(pthread_mutex_init(&store->database_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&store->lock, NULL) == 0);
    CHECK(pthread_cond_init(&store->work, NULL) == 0);
    code = start_thread(store, status);
  }
  if (code != 0) {
    database_close(store->database);
    if (store->lock_fd >= 0) close(store->lock_fd);
    mem_free(store);
    return code;
  }
  *out = store;
  return 0;
}

void store_close(struct store *store)
{
  if (!store) return;
  pthread_mutex_lock(&store->lock);
  store->closing = true;
  pthread_cond_signal(&store->work);
  pthread_mutex_unlock(&store->lock);
  pthread_join(store->thread, NULL);
  list_each (node, &store->finished) free_job(list_entry(node, struct job, node));
  database_close(store->database);
  close(store->lock_fd);
  pthread_cond_destroy(&store->work);
  pthread_mutex_destroy(&store->lock);
  pthread_mutex_destroy(&store->database_lock);
  mem_free(store);
}

// Takes over what `txn` holds, if there is room.
static uint64_t enqueue(struct store *store, struct txn *txn, const char *backup)
{
  struct job *job = NULL;
  uint64_t ticket = 0;
  pthread_mutex_lock(&store->lock);
  if (store->usage.queued < store->usage.queue_max) {
    ticket = ++store->last_ticket;
    store->usage.queued++;
    job = mem_must(sizeof(*job));
    job->ticket = ticket;
    if (backup) job->backup = mem_must_copy(backup);
    if (txn) {
      job->txn = *txn;
      *txn = (struct txn){ 0 };
    }
    list_append(&store->waiting, &job->node);
    pthread_cond_signal(&store->work);
  }
  pthread_mutex_unlock(&store->lock);
  return ticket;
}

uint64_t store_commit(struct store *store, struct txn *txn)
{
  return enqueue(store, txn, NULL);
}

uint64_t store_backup(struct store *store, const char *file)
{
  return enqueue(store, NULL, file);
}

static struct job *take_finished(struct store *store)
{
  struct job *job = NULL;
  pthread_mutex_lock(&store->lock);
  if (!list_empty(&store->finished)) {
    job = list_entry(store->finished.next, struct job, node);
    list_remove(&job->node);
    store->usage.queued--;
  }
  pthread_mutex_unlock(&store->lock);
  return job;
}

void store_poll(struct store *store, store_commit_fn *done, void *userdata)
{
  for (struct job *job; (job = take_finished(store));) {
    done(userdata, job->ticket, job->code, job->error);
    free_job(job);
  }
}

int store_each(struct store *store, const char *kind, txn_each_fn *each, void *userdata, struct status *status)
{
  pthread_mutex_lock(&store->database_lock);
  int code = database_each(store->database, kind, each, userdata, status);
  pthread_mutex_unlock(&store->database_lock);
  return code;
}

struct store_usage store_usage(const struct store *store)
{
  struct store *locked = (struct store *)(uintptr_t)store;
  pthread_mutex_lock(&locked->lock);
  struct store_usage usage = locked->usage;
  pthread_mutex_unlock(&locked->lock);
  return usage;
}
