// The engine's side of commands: prepares files and the helper's plan, forks, and learns of the end.
//
// The helper of this life is watched through a pipe that closes with it; one of an earlier life through its lock,
// every 100 ms. Either way the outcome is read from the status file, so both lives see the same. Children are reaped by
// their numbers only: SIGCHLD and other children belong to the host.
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "command_helper.h"
#include "duration.h"
#include "list.h"
#include "loop_uv.h"
#include "mem.h"

enum { ID_MAX = 200, BASE_MAX = PATH_MAX - ID_MAX - 40, STATUS_MAX = 64 };
#define TIMEOUT_DEFAULT_NS (5 * NS_PER_MIN)
#define POLL_NS            (100 * NS_PER_MS)

struct running {
  struct list node;
  struct commander *commander;
  char *id;
  command_fn *done;
  void *userdata;
  pid_t helper;    // 0: of an earlier life
  int done_fd;     // -1: of an earlier life
  uv_poll_t *poll; // on done_fd; freed by its close callback
};

struct commander {
  struct loop *loop;
  struct loop_timer *timer; // while there are helpers of an earlier life, or unreaped ones
  struct list running;
  uint32_t count;
  pid_t unreaped[COMMANDS_MAX];
  uint32_t unreaped_count;
  char dir[BASE_MAX];
};

static char *file_path(const struct commander *commander, const char *id, const char *name, char out[static PATH_MAX])
{
  snprintf(out, PATH_MAX, "%s/%s%s%s", commander->dir, id, *name ? "/" : "", name);
  return out;
}

static bool is_id(const char *id)
{
  size_t size = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
  return size > 0 && size <= ID_MAX && id[size] == '\0';
}

int commander_open(struct commander **out, struct loop *loop, const char *dir, struct status *status)
{
  *out = NULL;
  char absolute[PATH_MAX];
  if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
    return status_set(status, NINES_EIO, "cannot make the directory %s: %s", dir, strerror(errno));
  }
  // Absolute: the status must find its place whatever the engine's directory becomes.
  if (!realpath(dir, absolute) || strlen(absolute) >= BASE_MAX) {
    return status_set(status, NINES_EIO, "cannot use the directory %s: %s", dir,
                      strerror(errno ? errno : ENAMETOOLONG));
  }
  struct commander *commander = mem_must(sizeof(*commander));
  commander->loop = loop;
  list_init(&commander->running);
  memcpy(commander->dir, absolute, strlen(absolute) + 1);
  *out = commander;
  return 0;
}

static void free_poll(uv_handle_t *handle)
{
  mem_free(handle);
}

static void free_running(struct running *running)
{
  list_remove(&running->node);
  running->commander->count--;
  if (running->poll) uv_close((uv_handle_t *)running->poll, free_poll);
  if (running->done_fd >= 0) close(running->done_fd);
  mem_free(running->id);
  mem_free(running);
}

void commander_close(struct commander *commander)
{
  if (!commander) return;
  list_each (node, &commander->running) free_running(list_entry(node, struct running, node));
  loop_timer_stop(commander->timer);
  // Their pipes are closed, so they are past their last act: no wait worth the name.
  for (uint32_t i = 0; i < commander->unreaped_count; i++) waitpid(commander->unreaped[i], NULL, 0);
  mem_free(commander);
}

static bool parse_status(const char *text, struct command_result *result)
{
  static const char *const ends[] = { "exited", "signaled", "timed_out", "not_started" };
  char word[16] = "", newline = 0;
  int number = 0;
  if (sscanf(text, "%15s %d%c", word, &number, &newline) != 3 || newline != '\n') return false;
  for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
    if (strcmp(word, ends[i]) != 0) continue;
    result->end = (enum command_end)i;
    result->status = number;
    return true;
  }
  return false;
}

static void read_status(const struct commander *commander, const char *id, struct command_result *result)
{
  char path[PATH_MAX], text[STATUS_MAX] = "";
  result->end = COMMAND_UNKNOWN;
  result->status = 0;
  int fd = open(file_path(commander, id, "status", path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t size = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (size > 0 && !parse_status(text, result)) result->end = COMMAND_UNKNOWN;
}

static void read_output(const struct commander *commander, const char *id, char *out, struct view *view)
{
  char path[PATH_MAX];
  *view = (struct view){ out, 0 };
  int fd = open(file_path(commander, id, "output", path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  off_t size = lseek(fd, 0, SEEK_END);
  off_t from = size > COMMAND_OUTPUT_MAX ? size - COMMAND_OUTPUT_MAX : 0;
  ssize_t got = pread(fd, out, COMMAND_OUTPUT_MAX, from);
  if (got > 0) view->size = (size_t)got;
  close(fd);
}

static void tell(const struct commander *commander, const char *id, command_fn *done, void *userdata)
{
  struct command_result result = { .end = COMMAND_UNKNOWN };
  char *output = mem_must(COMMAND_OUTPUT_MAX);
  read_status(commander, id, &result);
  read_output(commander, id, output, &result.output);
  done(userdata, id, &result);
  mem_free(output);
}

// The callback may start, forget and resume commands; the running one is gone by then.
static void finish(struct running *running)
{
  struct commander *commander = running->commander;
  char *id = running->id;
  running->id = NULL;
  command_fn *done = running->done;
  void *userdata = running->userdata;
  free_running(running);
  tell(commander, id, done, userdata);
  mem_free(id);
}

static bool reap(pid_t helper)
{
  return waitpid(helper, NULL, WNOHANG) != 0; // gone, or not ours to wait for
}

// The helper's number when its lock is held; 0 when it is not.
static pid_t lock_owner(const struct commander *commander, const char *id)
{
  char path[PATH_MAX], text[STATUS_MAX] = "";
  int fd = open(file_path(commander, id, "lock", path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ssize_t size = held ? read(fd, text, sizeof(text) - 1) : 0;
  close(fd);
  if (!held) return 0;
  long owner = size > 0 ? strtol(text, NULL, 10) : 0;
  return owner > 1 && owner <= INT_MAX ? (pid_t)owner : -1; // -1: held, and just being written
}

static void reap_all(struct commander *commander)
{
  uint32_t left = 0;
  for (uint32_t i = 0; i < commander->unreaped_count; i++) {
    if (!reap(commander->unreaped[i])) commander->unreaped[left++] = commander->unreaped[i];
  }
  commander->unreaped_count = left;
}

// Finishes one command of an earlier life that has ended, if there is one. *left: how many still run.
static bool finish_one(struct commander *commander, uint32_t *left)
{
  *left = 0;
  list_each (node, &commander->running) {
    struct running *running = list_entry(node, struct running, node);
    if (running->done_fd >= 0) continue;
    if (lock_owner(commander, running->id) == 0) {
      finish(running);
      return true; // the callback may have changed the list
    }
    *left += 1;
  }
  return false;
}

static void on_timer(void *userdata)
{
  struct commander *commander = userdata;
  uint32_t left;
  reap_all(commander);
  while (finish_one(commander, &left)) continue;
  if (left > 0 || commander->unreaped_count > 0) return;
  loop_timer_stop(commander->timer);
  commander->timer = NULL;
}

static void need_timer(struct commander *commander)
{
  if (!commander->timer) commander->timer = loop_every(commander->loop, POLL_NS, POLL_NS, on_timer, commander);
}

static void on_done_fd(uv_poll_t *poll, int error, int events)
{
  (void)error;
  (void)events;
  struct running *running = poll->data;
  struct commander *commander = running->commander;
  // The pipe closes a moment before the process can be waited for.
  if (!reap(running->helper)) {
    if (commander->unreaped_count < COMMANDS_MAX) commander->unreaped[commander->unreaped_count++] = running->helper;
    need_timer(commander);
  }
  finish(running);
}

static struct running *add_running(struct commander *commander, const char *id, command_fn *done, void *userdata)
{
  struct running *running = mem_must(sizeof(*running));
  running->commander = commander;
  running->id = mem_must_copy(id);
  running->done = done;
  running->userdata = userdata;
  running->done_fd = -1;
  list_append(&commander->running, &running->node);
  commander->count++;
  return running;
}

static void watch_pipe(struct running *running, pid_t helper, int done_fd)
{
  running->helper = helper;
  running->done_fd = done_fd;
  running->poll = mem_must(sizeof(*running->poll));
  running->poll->data = running;
  CHECK(uv_poll_init(loop_uv(running->commander->loop), running->poll, done_fd) == 0);
  CHECK(uv_poll_start(running->poll, UV_READABLE | UV_DISCONNECT, on_done_fd) == 0);
}

// The engine's environment with the command's own variables in place of or beside it. The strings are borrowed.
static char **make_env(const char *const *extra)
{
  size_t count = 0, extra_count = 0;
  while (environ[count]) count++;
  while (extra && extra[extra_count]) extra_count++;
  char **env = mem_must((count + extra_count + 1) * sizeof(*env));
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    size_t name = strcspn(environ[i], "=") + 1;
    bool replaced = false;
    for (size_t j = 0; j < extra_count && !replaced; j++) replaced = strncmp(extra[j], environ[i], name) == 0;
    if (!replaced) env[at++] = environ[i];
  }
  for (size_t j = 0; j < extra_count; j++) env[at++] = (char *)(uintptr_t)extra[j];
  return env;
}

static const char *variable(char *const *env, const char *name)
{
  size_t size = strlen(name);
  for (; *env; env++) {
    if (strncmp(*env, name, size) == 0 && (*env)[size] == '=') return *env + size + 1;
  }
  return NULL;
}

// What execve gets. Empty when PATH does not have it: the helper then reports what execve says of that.
static void find_program(const char *name, char *const *env, char out[static PATH_MAX])
{
  if (strchr(name, '/')) {
    if (snprintf(out, PATH_MAX, "%s", name) >= PATH_MAX) out[0] = '\0';
    return;
  }
  const char *path = variable(env, "PATH");
  if (!path) path = "/usr/local/bin:/usr/bin:/bin";
  while (*path && *name) {
    size_t size = strcspn(path, ":");
    struct stat info;
    // Relative entries of PATH are left out: what they mean changes with the directory.
    bool fits = *path == '/' && snprintf(out, PATH_MAX, "%.*s/%s", (int)size, path, name) < PATH_MAX;
    if (fits && stat(out, &info) == 0 && S_ISREG(info.st_mode) && access(out, X_OK) == 0) return;
    path += size + (path[size] == ':');
  }
  out[0] = '\0';
}

static int open_input(const struct commander *commander, const struct command *command)
{
  char path[PATH_MAX];
  if (command->input.size == 0) return open("/dev/null", O_RDONLY | O_CLOEXEC);
  int fd = open(file_path(commander, command->id, "input", path), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  ssize_t wrote = pwrite(fd, command->input.data, command->input.size, 0);
  if (wrote == (ssize_t)command->input.size) return fd;
  if (wrote >= 0) errno = ENOSPC;
  close(fd);
  return -1;
}

struct files {
  int files_fd, input_fd, output_fd, lock_fd, done[2];
};

static void close_files(struct files *files)
{
  int *all[] = { &files->files_fd, &files->input_fd, &files->output_fd,
                 &files->lock_fd,  &files->done[0],  &files->done[1] };
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
    if (*all[i] >= 0) close(*all[i]);
    *all[i] = -1;
  }
}

// Above 2, as those three numbers are given to /dev/null in the helper.
static int raise_fd(int fd)
{
  if (fd < 0 || fd > 2) return fd;
  int raised = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  close(fd);
  return raised;
}

static bool open_files(const struct commander *commander, const struct command *command, struct files *files)
{
  char path[PATH_MAX];
  *files = (struct files){ -1, -1, -1, -1, { -1, -1 } };
  const char *id = command->id;
  files->files_fd = raise_fd(open(file_path(commander, id, "", path), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  files->input_fd = files->files_fd < 0 ? -1 : raise_fd(open_input(commander, command));
  if (files->input_fd < 0) return false;
  int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC;
  files->output_fd = raise_fd(open(file_path(commander, id, "output", path), flags, 0600));
  if (files->output_fd < 0) return false;
  files->lock_fd = raise_fd(open(file_path(commander, id, "lock", path), flags, 0600));
  // Taken before the fork and inherited: there is no moment at which a started command has no lock.
  if (files->lock_fd < 0 || flock(files->lock_fd, LOCK_EX | LOCK_NB) != 0) return false;
  if (pipe2(files->done, O_CLOEXEC) != 0) return false;
  files->done[0] = raise_fd(files->done[0]);
  files->done[1] = raise_fd(files->done[1]);
  return files->done[0] >= 0 && files->done[1] >= 0;
}

static pid_t fork_helper(const struct command_plan *plan)
{
  // No handler of the engine may run in the child, not even for a moment.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t helper = fork();
  if (helper == 0) command_helper_run(plan);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return helper;
}

static pid_t start_helper(const struct commander *commander, const struct command *command, const struct files *files)
{
  char program[PATH_MAX], status_path[PATH_MAX], status_new_path[PATH_MAX];
  char **env = make_env(command->env);
  find_program(command->argv[0], env, program);
  const struct command_plan plan = {
    .program = program,
    .argv = (char *const *)(uintptr_t)command->argv,
    .env = env,
    .dir = command->dir,
    .status_path = file_path(commander, command->id, "status", status_path),
    .status_new_path = file_path(commander, command->id, "status.new", status_new_path),
    .files_fd = files->files_fd,
    .input_fd = files->input_fd,
    .output_fd = files->output_fd,
    .lock_fd = files->lock_fd,
    .done_fd = files->done[1],
    .timeout_ns = command->timeout_ns > 0 ? command->timeout_ns : TIMEOUT_DEFAULT_NS,
    .output_max = COMMAND_OUTPUT_MAX,
  };
  pid_t helper = fork_helper(&plan);
  if (helper > 0) dprintf(files->lock_fd, "%ld\n", (long)helper); // for command_cancel in a later life
  mem_free(env);
  return helper;
}

int command_start(struct commander *commander, const struct command *command, command_fn *done, void *userdata,
                  struct status *status)
{
  char path[PATH_MAX];
  const char *id = command->id;
  if (!is_id(id)) return status_set(status, NINES_EINVAL, "\"%.40s\" is no name for a command", id);
  if (!command->argv || !command->argv[0]) return status_set(status, NINES_EINVAL, "command %s: no program", id);
  if (commander->count >= COMMANDS_MAX) {
    return status_set(status, NINES_ELIMIT, "%d commands run already; command %s is not started", COMMANDS_MAX, id);
  }
  if (mkdir(file_path(commander, id, "", path), 0700) != 0) {
    if (errno == EEXIST) return status_set(status, NINES_EEXISTS, "a command %s was started before", id);
    return status_set(status, NINES_EIO, "cannot make %s: %s", path, strerror(errno));
  }
  struct files files;
  pid_t helper = open_files(commander, command, &files) ? start_helper(commander, command, &files) : -1;
  if (helper < 0) {
    int code = status_set(status, NINES_EIO, "command %s cannot be started: %s", id, strerror(errno));
    close_files(&files);
    command_forget(commander, id);
    return code;
  }
  watch_pipe(add_running(commander, id, done, userdata), helper, files.done[0]);
  files.done[0] = -1;
  close_files(&files);
  return 0;
}

void command_resume(struct commander *commander, const char *id, command_fn *done, void *userdata)
{
  if (is_id(id) && lock_owner(commander, id) != 0) {
    add_running(commander, id, done, userdata);
    need_timer(commander);
    return;
  }
  tell(commander, id, done, userdata);
}

void command_cancel(struct commander *commander, const char *id)
{
  pid_t owner = is_id(id) ? lock_owner(commander, id) : 0;
  if (owner > 0) kill(owner, SIGTERM);
}

void command_forget(struct commander *commander, const char *id)
{
  static const char *const names[] = { "input", "output", "lock", "status", "status.new" };
  char path[PATH_MAX];
  if (!is_id(id)) return;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) unlink(file_path(commander, id, names[i], path));
  rmdir(file_path(commander, id, "", path));
}

uint32_t command_count(const struct commander *commander)
{
  return commander->count;
}

char *command_describe(const struct command_result *result, char *out, size_t out_size)
{
  char took[DURATION_TEXT_MAX];
  switch (result->end) {
  case COMMAND_EXITED:
    snprintf(out, out_size, "exited with status %d", result->status);
    break;
  case COMMAND_SIGNALED:
    snprintf(out, out_size, "was killed by signal %d", result->status);
    break;
  case COMMAND_TIMED_OUT:
    snprintf(out, out_size, "ran longer than %s", duration_format(result->status * NS_PER_MS, took));
    break;
  case COMMAND_NOT_STARTED:
    snprintf(out, out_size, "could not be started: %s", strerror(result->status));
    break;
  case COMMAND_UNKNOWN:
    snprintf(out, out_size, "ended unseen: nobody can tell whether it succeeded");
    break;
  }
  return out;
}
