// fork and exec by hand, because posix_spawn cannot change the directory everywhere.

#include "cli_child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t child_pid;

static void hand_on(int signal)
{
  int saved = errno;
  if (child_pid > 0) kill((pid_t)child_pid, signal);
  errno = saved;
}

struct dispositions {
  struct sigaction interrupt, quit, terminate, hangup;
};

static void take_signals(struct dispositions *old)
{
  struct sigaction ignore = { .sa_handler = SIG_IGN }, forward = { .sa_handler = hand_on };
  sigaction(SIGINT, &ignore, &old->interrupt);
  sigaction(SIGQUIT, &ignore, &old->quit);
  sigaction(SIGTERM, &forward, &old->terminate);
  sigaction(SIGHUP, &forward, &old->hangup);
}

static void give_signals_back(const struct dispositions *old)
{
  sigaction(SIGINT, &old->interrupt, NULL);
  sigaction(SIGQUIT, &old->quit, NULL);
  sigaction(SIGTERM, &old->terminate, NULL);
  sigaction(SIGHUP, &old->hangup, NULL);
}

static _Noreturn void become(char *const argv[], const char *dir)
{
  const char *at_fault = dir;
  if (!dir || chdir(dir) == 0) {
    at_fault = argv[0];
    execvp(argv[0], argv);
  }
  int code = errno == ENOENT ? 127 : 126;
  fprintf(stderr, "nines: %s: %s\n", at_fault, strerror(errno));
  _exit(code);
}

int child_run(char *const argv[], const char *dir)
{
  struct dispositions old;
  int status = 0;
  fflush(stdout);
  fflush(stderr);
  take_signals(&old);
  pid_t pid = fork();
  if (pid == 0) {
    give_signals_back(&old);
    become(argv, dir);
  }
  if (pid < 0) {
    fprintf(stderr, "nines: cannot start %s: %s\n", argv[0], strerror(errno));
    give_signals_back(&old);
    return 126;
  }
  child_pid = pid;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  child_pid = 0;
  give_signals_back(&old);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
