// HTTP observations per CPU-second of an engine: a load generator on plain sockets.
//
//   http_load PORT PID BATCH CONNECTIONS SECONDS [PATH]
//
// Each connection sends a request, waits for its answer and sends the next (keep-alive, no pipelining). The engine's
// CPU time (utime and stime of /proc/PID/stat, all threads) is read before and after. Prints one line of JSON; exit 1
// when an answer was not 202 or a connection broke.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 256, ANSWER_MAX = 4096, EVENTS_MAX = 64 };

struct connection {
  int fd;
  size_t sent;
  size_t got;
  char answer[ANSWER_MAX];
};

static struct connection connections[CONNECTIONS_MAX];
static char *request;
static size_t request_size;

static double now_s(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what)
{
  fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

// Of all threads, in seconds.
static double cpu_s(int pid)
{
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) fail(path);
  size_t size = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[size] = '\0';
  unsigned long user, system;
  const char *after_name = strrchr(text, ')');
  if (!after_name || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    fail("/proc/PID/stat cannot be read");
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void make_request(int port, int batch, const char *path)
{
  size_t capacity = (size_t)batch * (strlen(path) + 64) + 512, size = 0;
  char *body = malloc(capacity);
  request = malloc(capacity + 512);
  if (!body || !request) fail("out of memory");
  if (batch > 1) body[size++] = '[';
  for (int i = 0; i < batch; i++)
    size += (size_t)snprintf(body + size, capacity - size, "%s{\"path\":\"%s\",\"duration_ms\":%d.%d,\"ok\":%s}",
                             i ? "," : "", path, 20 + i % 100, i % 10, i % 1000 == 999 ? "false" : "true");
  if (batch > 1) body[size++] = ']';
  int head = snprintf(request, 512,
                      "POST /v1/observations HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      port, size);
  memcpy(request + head, body, size);
  request_size = (size_t)head + size;
  free(body);
}

static void send_more(struct connection *connection)
{
  while (connection->sent < request_size) {
    ssize_t size =
        send(connection->fd, request + connection->sent, request_size - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) fail("send");
    connection->sent += (size_t)size;
  }
}

// True when the whole answer is here. Answers to observations have no body.
static int receive(struct connection *connection)
{
  ssize_t size =
      recv(connection->fd, connection->answer + connection->got, ANSWER_MAX - 1 - connection->got, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (size <= 0) fail("the engine closed a connection");
  connection->got += (size_t)size;
  connection->answer[connection->got] = '\0';
  if (!strstr(connection->answer, "\r\n\r\n")) return 0;
  if (strncmp(connection->answer, "HTTP/1.1 202", 12) != 0) {
    errno = EPROTO;
    fail(connection->answer);
  }
  return 1;
}

static void connect_all(int epoll, int count, int port)
{
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1;
  for (int i = 0; i < count; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[i].fd = fd;
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  }
}

static uint64_t serve_events(int epoll, int more)
{
  struct epoll_event events[EVENTS_MAX];
  uint64_t answers = 0;
  int count = epoll_wait(epoll, events, EVENTS_MAX, 1000);
  for (int i = 0; i < count; i++) {
    struct connection *connection = &connections[events[i].data.u32];
    if (connection->sent < request_size) send_more(connection);
    if (!(events[i].events & EPOLLIN) || !receive(connection)) continue;
    answers++;
    connection->got = 0;
    if (!more) continue;
    connection->sent = 0;
    send_more(connection);
  }
  return answers;
}

int main(int argc, char **argv)
{
  if (argc < 6) {
    fprintf(stderr, "usage: http_load PORT PID BATCH CONNECTIONS SECONDS [PATH]\n");
    return 2;
  }
  int port = atoi(argv[1]), pid = atoi(argv[2]), batch = atoi(argv[3]), count = atoi(argv[4]);
  double seconds = atof(argv[5]);
  if (batch < 1 || count < 1 || count > CONNECTIONS_MAX || seconds <= 0) return 2;
  make_request(port, batch, argc > 6 ? argv[6] : "bench");
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  connect_all(epoll, count, port);
  double cpu = cpu_s(pid), from = now_s();
  uint64_t answers = 0;
  for (int i = 0; i < count; i++) send_more(&connections[i]);
  while (now_s() - from < seconds) answers += serve_events(epoll, 1);
  while (answers % (uint64_t)count != 0 && now_s() - from < seconds + 1) answers += serve_events(epoll, 0);
  double took = now_s() - from, used = cpu_s(pid) - cpu;
  uint64_t observations = answers * (uint64_t)batch;
  printf("{\"batch\":%d,\"connections\":%d,\"observations\":%llu,\"seconds\":%.3f,\"cpu_seconds\":%.2f,"
         "\"per_second\":%.0f,\"per_cpu_second\":%.0f}\n",
         batch, count, (unsigned long long)observations, took, used, (double)observations / took,
         used > 0 ? (double)observations / used : 0.0);
  return 0;
}
