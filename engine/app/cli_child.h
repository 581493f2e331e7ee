// A program run in the foreground, as a shell would.
#ifndef NINES_APP_CLI_CHILD_H
#define NINES_APP_CLI_CHILD_H

// Runs argv[0] (found by PATH) in `dir` (NULL: here) and waits. SIGINT and SIGQUIT of the terminal reach it alone,
// SIGTERM and SIGHUP are handed on. Its exit status; 128 + N after signal N; 127 when there is no such program, 126
// when it could not be started.
int child_run(char *const argv[], const char *dir);

#endif
