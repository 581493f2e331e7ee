// How much StatsD does a CPU-second take? Loopback UDP, sendmmsg in a child process, the real socket and thread.
//
//   bench_statsd [SECONDS]
//
// Rows: receive only (the floor), 1,000 series of counters and timers at 15 lines a packet, the same at 1 line, 20,000
// tagged series, and 1 M lines/s paced, five runs with the loss of each. Lines per CPU-second of the receiving thread
// are the figure to compare: wall rates depend on what else the machine does.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "statsd.h"
#include "statsd_intake.h"

enum { PACKETS = 4096, PACKET_BYTES = 1432, SEND_BATCH = 32 };

struct load {
  int lines, series;
  bool tagged;
  double lines_per_second; // 0: as fast as it goes
};

struct shared {
  _Atomic uint64_t packets_sent;
  _Atomic int stop;
};

static struct shared *shared;
static char packet_data[PACKETS][PACKET_BYTES];
static size_t packet_size[PACKETS];

static void build_packets(const struct load *load)
{
  unsigned at = 0;
  for (int p = 0; p < PACKETS; p++) {
    size_t size = 0;
    for (int i = 0; i < load->lines; i++, at++) {
      unsigned series = at * 7919u % (unsigned)load->series;
      const char *type = series % 2 == 0 ? "c" : "ms";
      int n = load->tagged ? snprintf(packet_data[p] + size, PACKET_BYTES - size,
                                      "service.requests.%u:%u.%u|%s|#env:prod,region:eu-%u,ok:true\n", series, at % 900,
                                      at % 10, type, series % 3)
                           : snprintf(packet_data[p] + size, PACKET_BYTES - size, "service.requests.%u:%u|%s\n", series,
                                      at % 900, type);
      size += (size_t)n;
    }
    packet_size[p] = size;
  }
}

static void send_load(int port, const struct load *load)
{
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in to = { .sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) exit(1);
  struct mmsghdr messages[SEND_BATCH];
  struct iovec pieces[SEND_BATCH];
  unsigned next = 0;
  int64_t start_ns = clock_now_ns();
  uint64_t sent = 0;
  while (!shared->stop) {
    if (load->lines_per_second > 0) {
      double due = (double)(clock_now_ns() - start_ns) / 1e9 * load->lines_per_second;
      if ((double)sent * load->lines >= due) {
        struct timespec nap = { 0, 200000 };
        nanosleep(&nap, NULL);
        continue;
      }
    }
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < SEND_BATCH; i++, next = (next + 1) % PACKETS) {
      pieces[i] = (struct iovec){ packet_data[next], packet_size[next] };
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    int n = sendmmsg(fd, messages, SEND_BATCH, 0);
    if (n > 0) sent += (uint64_t)n;
    shared->packets_sent = sent;
  }
  exit(0);
}

static pid_t start_sender(int port, const struct load *load)
{
  shared->packets_sent = 0;
  shared->stop = 0;
  pid_t pid = fork();
  if (pid == 0) send_load(port, load);
  return pid;
}

static void nap(double seconds)
{
  struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
  while (nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

// The packet thread's CPU time: the process's, as nothing else runs in it meanwhile.
static double cpu_seconds(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double run_engine(const struct load *load, double seconds, double *loss)
{
  struct series_table *series = series_open(50000, 3600LL * 1000000000);
  struct statsd_config config = { .address = "127.0.0.1:0", .series = series, .now_ns = clock_coarse_ns };
  struct statsd *statsd;
  struct status status;
  if (statsd_open(&statsd, &config, &status) != 0) {
    fprintf(stderr, "%s\n", status.text);
    exit(1);
  }
  build_packets(load);
  double cpu = cpu_seconds();
  pid_t pid = start_sender(statsd_port(statsd), load);
  nap(seconds);
  shared->stop = 1;
  waitpid(pid, NULL, 0);
  nap(0.2); // what is in the queue
  struct statsd_usage usage = statsd_usage(statsd);
  cpu = cpu_seconds() - cpu;
  uint64_t sent = shared->packets_sent;
  *loss = sent > 0 ? (double)(sent - usage.packets) / (double)sent : 0;
  if (usage.packets + usage.kernel_drops != sent)
    printf("  sent %lu != received %lu + dropped %lu\n", sent, usage.packets, usage.kernel_drops);
  double rate = (double)usage.lines / cpu;
  printf("  %8.2f M lines/s wall, %6.2f M lines/CPU-s, CPU %3.0f %%, loss %.4f %%, %u series\n",
         (double)usage.lines / seconds / 1e6, rate / 1e6, cpu / seconds * 100, *loss * 100, series_usage(series).count);
  statsd_close(statsd);
  series_close(series);
  return rate;
}

// Receives and counts packets only.
static double run_floor(const struct load *load, double seconds)
{
  static char buffer[64][2048];
  struct mmsghdr messages[64];
  struct iovec pieces[64];
  int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 8 << 20;
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof name;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  if (bind(fd, (struct sockaddr *)&name, size) != 0 || getsockname(fd, (struct sockaddr *)&name, &size) != 0) exit(1);
  build_packets(load);
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 64; i++) {
    pieces[i] = (struct iovec){ buffer[i], sizeof buffer[i] };
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  double cpu = cpu_seconds();
  pid_t pid = start_sender(ntohs(name.sin_port), load);
  uint64_t packets = 0;
  int64_t end_ns = clock_now_ns() + (int64_t)(seconds * 1e9);
  struct pollfd polled = { .fd = fd, .events = POLLIN };
  while (clock_now_ns() < end_ns) {
    if (poll(&polled, 1, 10) <= 0) continue;
    int n = recvmmsg(fd, messages, 64, MSG_DONTWAIT, NULL);
    if (n > 0) packets += (uint64_t)n;
  }
  shared->stop = 1;
  waitpid(pid, NULL, 0);
  cpu = cpu_seconds() - cpu;
  close(fd);
  double rate = (double)(packets * (uint64_t)load->lines) / cpu;
  printf("  %8.2f M lines/s wall, %6.2f M lines/CPU-s\n", (double)(packets * (uint64_t)load->lines) / seconds / 1e6,
         rate / 1e6);
  return rate;
}

// The intake alone, without the kernel: what parsing, keys and updates cost.
static void run_intake(const struct load *load, double seconds)
{
  struct series_table *series = series_open(50000, 3600LL * 1000000000);
  struct statsd_intake intake;
  struct statsd_routes *routes = statsd_routes_make(NULL, 0, 1);
  if (statsd_intake_init(&intake, series, STATSD_SIGN_AUTO) != 0) exit(1);
  build_packets(load);
  uint64_t packets = 0;
  int64_t start_ns = clock_thread_cpu_ns(), spent_ns;
  do {
    for (int i = 0; i < PACKETS; i++, packets++)
      statsd_intake_packet(&intake, routes, (struct view){ packet_data[i], packet_size[i] }, 1);
    spent_ns = clock_thread_cpu_ns() - start_ns;
  } while ((double)spent_ns < seconds * 1e9);
  printf("  %6.2f M lines/CPU-s (%.0f ns a line)\n", (double)(packets * (uint64_t)load->lines) / (double)spent_ns * 1e3,
         (double)spent_ns / (double)(packets * (uint64_t)load->lines));
  statsd_intake_fini(&intake);
  statsd_routes_free(routes);
  series_close(series);
}

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
  double seconds = argc > 1 ? atof(argv[1]) : 3, loss, paced_loss[5];
  const struct load plain = { 15, 1000, false, 0 }, single = { 1, 1000, false, 0 }, tagged = { 15, 20000, true, 0 };
  const struct load paced = { 15, 1000, false, 1e6 }, paced_tagged = { 15, 20000, true, 1e6 };
  setvbuf(stdout, NULL, _IONBF, 0);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  printf("receive only, 15 lines a packet (floor)\n");
  double floor_rate = run_floor(&plain, seconds);
  printf("intake alone, 15 lines, 1,000 series\n");
  run_intake(&plain, 1);
  printf("intake alone, 15 lines, 20,000 tagged series\n");
  run_intake(&tagged, 1);
  printf("statsd, 15 lines, 1,000 series (goal 4 M lines/CPU-s)\n");
  double rate = run_engine(&plain, seconds, &loss);
  printf("  ratio to floor %.2f\n", rate / floor_rate);
  printf("statsd, 1 line, 1,000 series\n");
  run_engine(&single, seconds, &loss);
  printf("statsd, 15 lines, 20,000 tagged series (goal 1.5 M lines/CPU-s)\n");
  rate = run_engine(&tagged, seconds, &loss);
  printf("  ratio to floor %.2f\n", rate / floor_rate);
  printf("statsd, paced 1 M lines/s, 20,000 tagged series\n");
  run_engine(&paced_tagged, seconds, &loss);
  printf("statsd, paced 1 M lines/s, 15 lines, 1,000 series, five runs (goal: no loss)\n");
  for (int i = 0; i < 5; i++) run_engine(&paced, seconds, &paced_loss[i]);
  qsort(paced_loss, 5, sizeof *paced_loss, compare);
  printf("  median loss %.4f %%\n", paced_loss[2] * 100);
  return 0;
}
