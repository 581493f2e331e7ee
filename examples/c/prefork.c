// A pre-forked HTTP server whose workers share what they know: four processes, one arena, no socket between them.
//
//   prefork ARENA PORT      PORT 0: any; prints it
//
// It attaches once, before it forks: the handles work in every worker. GET /pay asks a limiter, a flag, a fault point
// and the breaker of its gateway; /pay?broken lets the gateway fail; /state tells the worker and its breaker's state.
#include <arpa/inet.h>
#include <nines.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4 };

static nines_path *pay;
static nines_breaker *gateway;
static nines_limiter *limiter;
static nines_flag *new_gateway;
static nines_fault *fault;

static const char *answer_pay(int broken)
{
  int64_t begun_ns = nines_now_ns();
  if (nines_limiter_ask(limiter, 1, begun_ns) < 0) return "429 too many\n";
  if (nines_fault_ask(fault, NULL, begun_ns).kind != NINES_FAULT_NONE) return "503 a game-day\n";
  nines_permit permit = nines_breaker_ask(gateway, begun_ns);
  if (!nines_permitted(permit)) return "503 the gateway is known to be down\n";
  const char *answer = broken                                 ? "502 the gateway failed\n"
                       : nines_flag_on(new_gateway, begun_ns) ? "200 paid, the new way\n"
                                                              : "200 paid\n";
  int64_t now_ns = nines_now_ns();
  nines_breaker_done(gateway, permit, broken ? NINES_FAILURE : NINES_SUCCESS, now_ns);
  nines_path_record(pay, !broken, now_ns - begun_ns);
  return answer;
}

static void serve(int peer)
{
  char request[2048], reply[256], body[96];
  ssize_t size;
  while ((size = read(peer, request, sizeof request - 1)) > 0) { // one read is one request: examples may be simple
    request[size] = '\0';
    const char *answer = body;
    if (strncmp(request, "GET /pay", 8) == 0)
      answer = answer_pay(strncmp(request + 8, "?broken", 7) == 0);
    else
      snprintf(body, sizeof body, "200 worker %d breaker %d\n", (int)getpid(), nines_breaker_state(gateway));
    int length = snprintf(reply, sizeof reply, "HTTP/1.1 %.3s x\r\ncontent-length: %zu\r\n\r\n%s", answer,
                          strlen(answer + 4), answer + 4);
    if (write(peer, reply, (size_t)length) != length) return;
  }
}

static void work(int listener)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) continue;
    serve(peer);
    close(peer);
  }
}

static void must(int code, const nines_arena *arena)
{
  if (code >= 0) return;
  fprintf(stderr, "%s\n", nines_arena_errmsg(arena));
  exit(1);
}

static void get_all(nines_arena *arena)
{
  const nines_breaker_config breaker = { .size = sizeof breaker, .failures_in_a_row = 5, .open_ns = 60000000000 };
  const nines_limiter_config rate = { .size = sizeof rate, .rate = 1e6 };
  must(nines_arena_path(arena, "pay", &pay), arena);
  must(nines_breaker_get(arena, "gateway", &breaker, &gateway), arena);
  must(nines_limiter_get(arena, "pay", &rate, &limiter), arena);
  must(nines_flag_get(arena, "new_gateway", 0, &new_gateway), arena);
  must(nines_fault_get(arena, "pay", &fault), arena);
}

int main(int count, char **arguments)
{
  nines_arena *arena;
  char error[512];
  if (count != 3) return fprintf(stderr, "usage: prefork ARENA PORT\n"), 2;
  if (nines_attach(&arena, arguments[1], NULL, error, sizeof error) < 0) return fprintf(stderr, "%s\n", error), 1;
  get_all(arena);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)atoi(arguments[2])),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 128) != 0) return perror("prefork"), 1;
  getsockname(listener, (struct sockaddr *)&address, &size);
  for (int i = 0; i < WORKERS; i++)
    if (fork() == 0) work(listener);
  printf("four workers listen: http://127.0.0.1:%d/pay\n", ntohs(address.sin_port));
  fflush(stdout);
  while (wait(NULL) > 0) {
  }
  return 0;
}
