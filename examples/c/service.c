// A service of one process, a thread for each connection, attached to the engine beside it.
//
//   service ARENA PORT      PORT 0: any; prints it
//
// GET / asks the service's limiter and the breaker of its store, and is an observation of the path "lookup". Threads
// ask the same handles; each counts on memory of its own.
#include <arpa/inet.h>
#include <nines.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static nines_path *lookup;
static nines_breaker *store;
static nines_limiter *limiter;

static const char *answer(void)
{
  int64_t begun_ns = nines_now_ns();
  if (nines_limiter_ask(limiter, 1, begun_ns) < 0) return "429 x\r\ncontent-length: 9\r\n\r\ntoo many\n";
  nines_permit permit = nines_breaker_ask(store, begun_ns);
  if (!nines_permitted(permit)) return "503 x\r\ncontent-length: 8\r\n\r\nno store\n";
  int64_t now_ns = nines_now_ns(); // here the store would be asked
  nines_breaker_done(store, permit, NINES_SUCCESS, now_ns);
  nines_path_record(lookup, 1, now_ns - begun_ns);
  return "200 x\r\ncontent-length: 6\r\n\r\nfound\n";
}

static void *serve(void *userdata)
{
  int peer = (int)(intptr_t)userdata;
  char request[2048], reply[128];
  while (read(peer, request, sizeof request) > 0) { // one read is one request: examples may be simple
    int size = snprintf(reply, sizeof reply, "HTTP/1.1 %s", answer());
    if (write(peer, reply, (size_t)size) != size) break;
  }
  close(peer);
  return NULL;
}

int main(int count, char **arguments)
{
  nines_arena *arena;
  char error[512];
  const nines_limiter_config rate = { .size = sizeof rate, .rate = 1e6 };
  if (count != 3) return fprintf(stderr, "usage: service ARENA PORT\n"), 2;
  if (nines_attach(&arena, arguments[1], NULL, error, sizeof error) < 0) return fprintf(stderr, "%s\n", error), 1;
  if (nines_arena_path(arena, "lookup", &lookup) < 0 || nines_breaker_get(arena, "store", NULL, &store) < 0 ||
      nines_limiter_get(arena, "lookup", &rate, &limiter) < 0)
    return fprintf(stderr, "%s\n", nines_arena_errmsg(arena)), 1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)atoi(arguments[2])),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 128) != 0) return perror("service"), 1;
  getsockname(listener, (struct sockaddr *)&address, &size);
  signal(SIGPIPE, SIG_IGN);
  printf("the service listens: http://127.0.0.1:%d/\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    pthread_t thread;
    int peer = accept(listener, NULL, NULL);
    if (peer >= 0 && pthread_create(&thread, NULL, serve, (void *)(intptr_t)peer) == 0) pthread_detach(thread);
  }
}
