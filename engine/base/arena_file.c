// The file below an arena.
//
// Making one is ordered so that a kill leaves something the next open understands: an empty file, then a file of just
// the header page, then the full (sparse) size. Whoever opens it takes a flock first, and then looks whether the path
// still leads to the file that was locked: another process may have set it aside meanwhile. The kernel gives the lock
// back when its holder dies, however it dies; the pid in the header only serves the sentence.
#include "arena_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"

enum { LOCK_TRIES = 50, LOCK_PAUSE_NS = 2000000 };

enum { ASIDE_MAX = 999, OBJECTS_MIN = 64, OBJECTS_MAX = 65536, BYTES_PER_OBJECT = 4096, OPEN_TRIES = 8 };
#define FILE_MIN (64u << 10)
#define FILE_MAX ((uint64_t)64 << 30)

// The one geometry for a size.
static void header_fill(struct arena_header *header, uint64_t size_bytes)
{
  uint64_t objects = size_bytes / BYTES_PER_OBJECT;
  if (objects < OBJECTS_MIN) objects = OBJECTS_MIN;
  if (objects > OBJECTS_MAX) objects = OBJECTS_MAX;
  memset(header, 0, sizeof *header);
  memcpy(header->magic, ARENA_MAGIC, sizeof header->magic);
  header->layout = ARENA_LAYOUT;
  header->objects_max = (uint32_t)objects;
  header->size_bytes = size_bytes;
  header->data_offset = ARENA_HEADER_BYTES + objects * sizeof(struct arena_entry);
  uint64_t half = (size_bytes - header->data_offset) / 2;
  header->shared_offset = header->data_offset + half / ARENA_HEADER_BYTES * ARENA_HEADER_BYTES;
  header->checksum = arena_header_sum(header);
  atomic_init(&header->entries_ready, arena_ready_word(0));
}

static int header_check(const struct arena_header *header, uint64_t file_size, struct status *reason)
{
  if (memcmp(header->magic, ARENA_MAGIC, sizeof header->magic) != 0)
    return status_set(reason, NINES_ECORRUPT, "it is not an arena of nines");
  if (header->layout != ARENA_LAYOUT)
    return status_set(reason, NINES_EVERSION, "its layout is version %u, this nines knows version %d", header->layout,
                      ARENA_LAYOUT);
  struct arena_header expected;
  uint64_t size = header->size_bytes;
  if (size < FILE_MIN || size > FILE_MAX || size % ARENA_HEADER_BYTES != 0)
    return status_set(reason, NINES_ECORRUPT, "its header claims an impossible size");
  header_fill(&expected, size);
  if (memcmp(header, &expected, offsetof(struct arena_header, entries_ready)) != 0)
    return status_set(reason, NINES_ECORRUPT, "its header fails its checksum");
  uint64_t ready = atomic_load(&header->entries_ready);
  if (ready != arena_ready_word((uint32_t)ready) || (uint32_t)ready > header->objects_max)
    return status_set(reason, NINES_ECORRUPT, "its header has a damaged count of objects");
  if (file_size != size && !(file_size == ARENA_HEADER_BYTES && (uint32_t)ready == 0))
    return status_set(reason, NINES_ECORRUPT, "it has %llu bytes where its header says %llu",
                      (unsigned long long)file_size, (unsigned long long)size);
  return 0;
}

static int refuse_busy(const struct arena_file *file, struct status *status)
{
  struct arena_header header;
  int32_t pid = 0;
  if (pread(file->fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
      memcmp(header.magic, ARENA_MAGIC, sizeof header.magic) == 0)
    pid = atomic_load(&header.owner_pid);
  if (pid > 0)
    return status_set(status, NINES_EBUSY,
                      "%s is in use by process %d; stop it, or give this engine a data directory of its own",
                      file->path, pid);
  return status_set(status, NINES_EBUSY,
                    "%s is in use by another process; stop it, or give this engine a data directory of its own",
                    file->path);
}

// 0: open and locked; 1: the path was renamed under us, try again.
static int lock(struct arena_file *file, uint64_t *file_size, struct status *status)
{
  struct stat mine, there;
  file->fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  if (file->fd < 0)
    return status_set(status, NINES_EIO, "cannot open %s: %s; the data directory must exist and be writable",
                      file->path, strerror(errno));
  if (fstat(file->fd, &mine) != 0 || !S_ISREG(mine.st_mode))
    return status_set(status, NINES_EINVAL, "%s is not a regular file; name another path", file->path);
  // A helper forked in the very moment its engine was killed holds the lock until it has closed what it inherited.
  int failed = flock(file->fd, LOCK_EX | LOCK_NB);
  for (int tries = 0; failed && errno == EWOULDBLOCK && tries < LOCK_TRIES; tries++) {
    nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_NS }, NULL);
    failed = flock(file->fd, LOCK_EX | LOCK_NB);
  }
  if (failed) {
    if (errno == EWOULDBLOCK) return refuse_busy(file, status);
    return status_set(status, NINES_EIO, "cannot lock %s: %s; the data directory needs a file system with locks",
                      file->path, strerror(errno));
  }
  // Again under the lock: the previous holder may have changed both.
  if (fstat(file->fd, &mine) != 0 || stat(file->path, &there) != 0 || mine.st_ino != there.st_ino ||
      mine.st_dev != there.st_dev) {
    close(file->fd);
    file->fd = -1;
    return 1;
  }
  *file_size = (uint64_t)mine.st_size;
  return 0;
}

static int write_header(const struct arena_file *file, uint64_t size_bytes, struct status *status)
{
  union {
    struct arena_header header;
    char page[ARENA_HEADER_BYTES];
  } first = { .page = { 0 } };
  header_fill(&first.header, size_bytes);
  ssize_t written = pwrite(file->fd, first.page, sizeof first.page, 0);
  if (written == (ssize_t)sizeof first.page) return 0;
  int error = written < 0 ? errno : ENOSPC;
  if (ftruncate(file->fd, 0) != 0) error = errno; // half a header would pass for damage
  return status_set(status, NINES_EIO, "cannot write %s: %s; free some space on its disk", file->path, strerror(error));
}

static int map(struct arena_file *file, uint64_t size_bytes, struct status *status)
{
  int flags = file->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
  void *base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, flags, file->fd, 0);
  if (base == MAP_FAILED)
    return status_set(status, NINES_ENOMEM, "cannot map %llu bytes for %s: %s", (unsigned long long)size_bytes,
                      file->path != NULL ? file->path : "an arena in memory", strerror(errno));
  // A mapping keeps the file open, and with it the lock: a helper of a killed engine must not hold either.
  if (file->fd >= 0) madvise(base, size_bytes, MADV_DONTFORK);
  file->base = base;
  file->size = size_bytes;
  return 0;
}

// Locked: reads or makes the header, brings the file to its size and maps it. CORRUPT or VERSION: it must go aside.
static int bring_up(struct arena_file *file, uint64_t file_size, uint64_t wanted_bytes, struct status *status)
{
  int code;
  if (file_size == 0) {
    code = write_header(file, wanted_bytes, status);
    if (code < 0) return code;
    file_size = ARENA_HEADER_BYTES;
  }
  struct arena_header header;
  if (file_size < ARENA_HEADER_BYTES) return status_set(status, NINES_ECORRUPT, "it is shorter than a header");
  if (pread(file->fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
    return status_set(status, NINES_EIO, "cannot read %s: %s", file->path, strerror(errno));
  code = header_check(&header, file_size, status);
  if (code < 0) return code;
  if (file_size != header.size_bytes && ftruncate(file->fd, (off_t)header.size_bytes) != 0)
    return status_set(status, NINES_EIO,
                      "cannot reserve %llu bytes for %s: %s; raise the limit on file sizes, or make the arena smaller",
                      (unsigned long long)header.size_bytes, file->path, strerror(errno));
  code = map(file, header.size_bytes, status);
  if (code < 0) return code;
  code = arena_file_back(file, 0, ARENA_HEADER_BYTES, status);
  if (code < 0) return code;
  atomic_store(&((struct arena_header *)(void *)file->base)->owner_pid, (int32_t)getpid());
  return 0;
}

static int open_anonymous(struct arena_file *file, uint64_t size_bytes, struct status *status)
{
  int code = map(file, size_bytes, status);
  if (code == 0) header_fill((struct arena_header *)(void *)file->base, size_bytes);
  return code;
}

int arena_file_open(struct arena_file *file, const struct arena_config *config, struct status *notice,
                    struct status *status)
{
  uint64_t size = config->size_bytes != 0 ? config->size_bytes : ARENA_SIZE_DEFAULT;
  *file = (struct arena_file){ .fd = -1 };
  if (size < FILE_MIN || size > FILE_MAX)
    return status_set(status, NINES_EINVAL, "an arena of %llu bytes; allowed are 64 KiB to 64 GiB",
                      (unsigned long long)size);
  size = (size + ARENA_HEADER_BYTES - 1) / ARENA_HEADER_BYTES * ARENA_HEADER_BYTES;
  if (config->path == NULL) return open_anonymous(file, size, status);
  for (int tries = 0; tries < OPEN_TRIES; tries++) {
    uint64_t file_size = 0;
    if (file->path == NULL) file->path = mem_must_copy(config->path);
    int code = lock(file, &file_size, status);
    if (code > 0) continue;
    struct status reason = { 0 };
    if (code == 0) {
      code = bring_up(file, file_size, size, &reason);
      if (code == 0) return 0;
      if (code != NINES_ECORRUPT && code != NINES_EVERSION) status_set(status, code, "%s", reason.text);
    }
    if (code != NINES_ECORRUPT && code != NINES_EVERSION) {
      arena_file_close(file);
      return code;
    }
    code = arena_file_set_aside(file, &reason, notice, status);
    if (code < 0) return code;
  }
  arena_file_close(file);
  return status_set(status, NINES_EBUSY, "%s is renamed again and again by another process; stop it", config->path);
}

static int check_attached(struct arena_file *file, struct status *status)
{
  struct stat mine;
  struct arena_header header;
  struct status reason = { 0 };
  if (fstat(file->fd, &mine) != 0 || !S_ISREG(mine.st_mode))
    return status_set(status, NINES_EINVAL, "%s is not a regular file; name the arena of an engine", file->path);
  if (mine.st_size == 0) return status_set(status, NINES_ENOTFOUND, "%s is empty: its engine is starting", file->path);
  if (pread(file->fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
    return status_set(status, NINES_ECORRUPT, "%s is shorter than the header of an arena", file->path);
  int code = header_check(&header, (uint64_t)mine.st_size, &reason);
  if (code < 0)
    return status_set(status, code, "%s cannot be attached: %s; start its engine, which repairs it", file->path,
                      reason.text);
  if ((uint64_t)mine.st_size != header.size_bytes)
    return status_set(status, NINES_ENOTFOUND, "%s is being made: its engine is starting", file->path);
  file->size = header.size_bytes;
  void *base = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
  if (base == MAP_FAILED) return status_set(status, NINES_ENOMEM, "cannot map %s: %s", file->path, strerror(errno));
  file->base = base;
  if (mprotect(base, header.shared_offset, PROT_READ) != 0)
    return status_set(status, NINES_EIO, "cannot protect %s: %s", file->path, strerror(errno));
  return 0;
}

int arena_file_attach(struct arena_file *file, const char *path, struct status *status)
{
  *file = (struct arena_file){ .fd = -1, .attached = true, .path = mem_must_copy(path) };
  file->fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  int code = 0;
  if (file->fd < 0 && errno == ENOENT)
    code = status_set(status, NINES_ENOTFOUND, "there is no arena at %s: is its engine running?", path);
  else if (file->fd < 0)
    code = status_set(status, errno == EACCES ? NINES_EDENIED : NINES_EIO,
                      "cannot open %s for reading and writing: %s; its permissions say who may attach", path,
                      strerror(errno));
  if (code == 0) code = check_attached(file, status);
  if (code < 0) arena_file_close(file);
  return code;
}

void arena_file_close(struct arena_file *file)
{
  if (file->base != NULL && file->attached) {
    munmap(file->base, file->size);
  } else if (file->base != NULL) {
    atomic_store(&((struct arena_header *)(void *)file->base)->owner_pid, 0);
    munmap(file->base, file->size);
  }
  if (file->fd >= 0) close(file->fd);
  mem_free(file->path);
  *file = (struct arena_file){ .fd = -1 };
}

void arena_file_touch(const struct arena_file *file)
{
  if (file->fd >= 0) (void)!futimens(file->fd, NULL);
}

bool arena_file_replaced(const struct arena_file *file)
{
  struct stat mine, there;
  if (file->fd < 0 || fstat(file->fd, &mine) != 0) return false;
  return stat(file->path, &there) != 0 || mine.st_ino != there.st_ino || mine.st_dev != there.st_dev;
}

int arena_file_back(const struct arena_file *file, uint64_t from, uint64_t to, struct status *status)
{
  if (file->fd < 0 || from >= to) return 0;
  int error;
  do {
    error = posix_fallocate(file->fd, (off_t)from, (off_t)(to - from));
  } while (error == EINTR);
  if (error == 0) return 0;
  return status_set(status, NINES_EIO, "cannot get %llu bytes of disk for %s: %s; free some space there",
                    (unsigned long long)(to - from), file->path, strerror(error));
}

int arena_file_set_aside(struct arena_file *file, const struct status *reason, struct status *notice,
                         struct status *status)
{
  struct buf target = { 0 };
  int code = NINES_EEXISTS, error = EEXIST;
  for (int n = 1; n <= ASIDE_MAX && code == NINES_EEXISTS; n++) {
    buf_clear(&target);
    buf_printf(&target, "%s.damaged-%d", file->path, n);
    if (target.failed) {
      error = ENOMEM;
      code = NINES_ENOMEM;
    } else if (link(file->path, target.data) == 0) { // unlike rename, link never replaces what is there
      code = unlink(file->path) == 0 ? 0 : NINES_EIO;
      error = errno;
    } else if (errno != EEXIST) {
      error = errno;
      code = NINES_EIO;
    }
  }
  if (code == 0)
    status_set(notice, reason->code,
               "%s is unusable (%s); it was kept as %s and a fresh one started: windows, alert states and flags begin "
               "empty",
               file->path, reason->text, target.data);
  else
    code = status_set(status, code == NINES_EEXISTS ? NINES_EIO : code,
                      "%s is unusable (%s) and cannot be set aside: %s; move it and older %s.damaged-* away",
                      file->path, reason->text, strerror(error), file->path);
  buf_free(&target);
  arena_file_close(file);
  return code;
}
