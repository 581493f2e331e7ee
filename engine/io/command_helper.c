// The guard of one command. It outlives the engine: it leads a session of its own, starts the program in a process
// group of its own, keeps the tail of the output in a file, ends the group when time is up or when it gets a SIGTERM,
// and writes how the program ended.
//
// It is a fork of a process with threads and is never replaced by another program, so it lives by the rules for signal
// handlers: no allocation, no stdio, no locks. The program dies with its guard (PR_SET_PDEATHSIG): nothing runs without
// a timeout.
#include "command_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

enum { CHUNK = 4096, TAIL_MAX = 64 << 10, FD_SEARCH_MAX = 65536 };
#define GRACE_NS     2000000000LL
#define WAIT_STEP_NS 50000000LL

static volatile sig_atomic_t terminated;

static void on_signal(int signal)
{
  if (signal == SIGTERM) terminated = 1;
}

struct guard {
  const struct command_plan *plan;
  pid_t program;
  bool ended; // the program was reaped
  int wait_status;
  bool timed_out;
  bool killed;     // SIGKILL was sent
  int64_t end_ns;  // when to send SIGTERM
  int64_t kill_ns; // when to send SIGKILL; 0: SIGTERM was not sent
  int pipe_fd;     // -1: end of output
  int64_t output_bytes;
};

static void default_signals(void)
{
  struct sigaction action = { .sa_handler = SIG_DFL };
  for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &action, NULL);
}

static void close_from_to(int first, int last)
{
  if (first > last) return;
  if (close_range((unsigned)first, (unsigned)last, 0) == 0) return;
  for (int fd = first; fd <= last && fd < FD_SEARCH_MAX; fd++) close(fd);
}

// Keeps these and standard input to error; everything else belongs to the engine.
static void close_others(int *keep, int count)
{
  for (int i = 1; i < count; i++) {
    for (int j = i; j > 0 && keep[j - 1] > keep[j]; j--) {
      int other = keep[j];
      keep[j] = keep[j - 1];
      keep[j - 1] = other;
    }
  }
  int first = 3;
  for (int i = 0; i < count; i++) {
    close_from_to(first, keep[i] - 1);
    if (keep[i] >= first) first = keep[i] + 1;
  }
  close_from_to(first, 0x7fffffff);
}

static char *add_text(char *at, const char *text)
{
  while (*text) *at++ = *text++;
  return at;
}

// "exited 3\n", written whole or not at all: a new file, synced, renamed.
static void write_status(const struct command_plan *plan, const char *end, int64_t number)
{
  char text[64], digits[24];
  char *at = add_text(text, end);
  *at++ = ' ';
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  while (count > 0) *at++ = digits[--count];
  *at++ = '\n';
  int fd = open(plan->status_new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return; // no status is an unknown outcome, which is the truth
  bool ok = write(fd, text, (size_t)(at - text)) == at - text;
  ok = ok && fsync(plan->output_fd) == 0 && fsync(fd) == 0;
  close(fd);
  if (ok && rename(plan->status_new_path, plan->status_path) == 0) fsync(plan->files_fd);
}

static _Noreturn void run_program(const struct command_plan *plan, int output_fd, int error_fd, pid_t guard)
{
  setpgid(0, 0);
  default_signals();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == guard;
  ok = ok && dup2(plan->input_fd, 0) >= 0 && dup2(output_fd, 1) >= 0 && dup2(output_fd, 2) >= 0;
  ok = ok && (!plan->dir || chdir(plan->dir) == 0);
  if (ok) execve(plan->program, plan->argv, plan->env);
  int error = errno;
  while (write(error_fd, &error, sizeof(error)) < 0 && errno == EINTR) continue;
  _exit(127);
}

// Pipes at 3 and above, whatever of 0 to 2 was closed when the engine started.
static int start_program(struct guard *guard)
{
  int output[2], error[2];
  if (pipe2(output, O_CLOEXEC) != 0 || pipe2(error, O_CLOEXEC) != 0) return errno;
  pid_t self = getpid();
  // Not fork: it would run the handlers that libraries left with pthread_atfork, and libuv's closes descriptors by
  // their old numbers, which are other files here.
  pid_t pid = _Fork();
  if (pid < 0) return errno;
  if (pid == 0) run_program(guard->plan, output[1], error[1], self);
  setpgid(pid, pid); // both sides: whoever comes first
  close(output[1]);
  close(error[1]);
  guard->program = pid;
  guard->pipe_fd = output[0];
  fcntl(guard->pipe_fd, F_SETFL, O_NONBLOCK);
  int why = 0;
  ssize_t got;
  while ((got = read(error[0], &why, sizeof(why))) < 0 && errno == EINTR) continue;
  close(error[0]);
  return got == (ssize_t)sizeof(why) ? why : 0;
}

// When the file is twice the limit, only its last part is kept: the end of an output tells more than its beginning.
static void keep_output(struct guard *guard, const char *data, ssize_t size)
{
  char tail[TAIL_MAX];
  int64_t max = guard->plan->output_max < TAIL_MAX ? guard->plan->output_max : TAIL_MAX;
  if (guard->output_bytes + size > 2 * max) {
    ssize_t kept = pread(guard->plan->output_fd, tail, (size_t)max, guard->output_bytes - max);
    if (kept < 0 || ftruncate(guard->plan->output_fd, 0) != 0) return;
    guard->output_bytes = 0;
    ssize_t wrote = pwrite(guard->plan->output_fd, tail, (size_t)kept, 0);
    if (wrote > 0) guard->output_bytes = wrote;
  }
  ssize_t wrote = pwrite(guard->plan->output_fd, data, (size_t)size, guard->output_bytes);
  if (wrote > 0) guard->output_bytes += wrote; // a full disk loses output, not the command
}

static void drain_output(struct guard *guard, int chunks)
{
  char data[CHUNK];
  while (guard->pipe_fd >= 0 && chunks-- > 0) {
    ssize_t got = read(guard->pipe_fd, data, sizeof(data));
    if (got > 0) {
      keep_output(guard, data, got);
    } else if (got == 0) {
      close(guard->pipe_fd);
      guard->pipe_fd = -1;
    } else if (errno != EINTR) {
      return;
    }
  }
}

static void reap(struct guard *guard)
{
  int wait_status;
  for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
    if (pid != guard->program) continue; // an orphan of the group
    guard->ended = true;
    guard->wait_status = wait_status;
  }
}

static bool group_is_empty(const struct guard *guard)
{
  return guard->ended && kill(-guard->program, 0) != 0 && errno == ESRCH;
}

// True when all is over.
static bool enforce(struct guard *guard, int64_t now_ns)
{
  if (guard->kill_ns == 0) {
    if (guard->ended) return true; // what it left in the background is its own business
    if (now_ns < guard->end_ns && !terminated) return false;
    guard->timed_out = !terminated;
    guard->kill_ns = now_ns + GRACE_NS;
    kill(-guard->program, SIGTERM);
    kill(-guard->program, SIGCONT); // a stopped process would not see it
    return false;
  }
  if (group_is_empty(guard)) return true;
  if (now_ns < guard->kill_ns) return false;
  kill(-guard->program, SIGKILL);
  if (guard->killed) return guard->ended; // what a SIGKILL does not end within the grace hangs in the kernel
  guard->killed = true;
  guard->kill_ns = now_ns + GRACE_NS;
  return false;
}

static void watch(struct guard *guard)
{
  sigset_t none;
  sigemptyset(&none);
  for (;;) {
    drain_output(guard, 64);
    reap(guard);
    int64_t now_ns = clock_now_ns();
    if (enforce(guard, now_ns)) break;
    int64_t until_ns = guard->kill_ns == 0 ? guard->end_ns - now_ns : WAIT_STEP_NS;
    struct timespec wait = { .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000 };
    struct pollfd poll_fd = { .fd = guard->pipe_fd, .events = POLLIN };
    ppoll(&poll_fd, 1, &wait, &none);
  }
  drain_output(guard, 2 * TAIL_MAX / CHUNK);
}

static void finish(const struct guard *guard)
{
  const struct command_plan *plan = guard->plan;
  if (guard->timed_out)
    write_status(plan, "timed_out", plan->timeout_ns / 1000000);
  else if (WIFSIGNALED(guard->wait_status))
    write_status(plan, "signaled", WTERMSIG(guard->wait_status));
  else
    write_status(plan, "exited", WEXITSTATUS(guard->wait_status));
}

static void become_guard(const struct command_plan *plan)
{
  setsid();
  prctl(PR_SET_NAME, "nines-command");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  default_signals();
  struct sigaction action = { .sa_handler = on_signal };
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGCHLD, &action, NULL);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
  sigaction(SIGXFSZ, &action, NULL);
  // The engine's own input and output would be held open by us otherwise, and a pipe's reader would wait for ever.
  int nothing = open("/dev/null", O_RDWR);
  for (int fd = 0; nothing >= 0 && fd <= 2; fd++) dup2(nothing, fd);
  int keep[] = { plan->files_fd, plan->input_fd, plan->output_fd, plan->lock_fd, plan->done_fd };
  close_others(keep, sizeof(keep) / sizeof(keep[0]));
}

void command_helper_run(const struct command_plan *plan)
{
  become_guard(plan);
  struct guard guard = { .plan = plan, .pipe_fd = -1, .end_ns = clock_now_ns() + plan->timeout_ns };
  int error = start_program(&guard);
  if (error != 0) {
    write_status(plan, "not_started", error);
    _exit(0);
  }
  watch(&guard);
  finish(&guard);
  _exit(0);
}
