// The packet thread. It waits in poll, takes up to 64 packets with one recvmmsg and gives them to the intake. (A poll
// for each batch costs nothing under load, where batches are full, and lets the thread end in any flood.) It shares
// three things with the loop's thread: counters (one writer, read by any), the table of routes (swapped by the loop,
// held for a batch at a time through a hazard pointer), and an eventfd that ends it.
#include "statsd.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "mem.h"
#include "statsd_intake.h"
#include "statsd_routes.h"
#include "statsd_socket.h"

// A datagram has at most 65,507 bytes over UDP. The odd stride keeps the packets' first lines out of one set of the
// processor's cache.
enum { BATCH = 64, PACKET_MAX = 65536, PACKET_STRIDE = PACKET_MAX + 64 * 5 };

struct statsd {
  struct statsd_intake intake;
  struct statsd_socket socket;
  int64_t (*now_ns)(void);
  int end_fd;
  pthread_t thread;
  bool running;
  char *memory; // of the packets
  struct mmsghdr messages[BATCH];
  struct iovec pieces[BATCH];
  _Atomic(struct statsd_routes *) routes;
  _Atomic(struct statsd_routes *) held; // by the thread, during a batch
  struct statsd_routes *retired;        // was held when it was replaced; the loop's
  uint32_t routes_generation;
  _Atomic uint64_t kernel_drops;
};

// The routes as they are now, safe from being freed until routes_release.
static struct statsd_routes *routes_hold(struct statsd *statsd)
{
  for (;;) {
    struct statsd_routes *routes = atomic_load(&statsd->routes);
    atomic_store(&statsd->held, routes);
    if (atomic_load(&statsd->routes) == routes) return routes;
  }
}

static void routes_release(struct statsd *statsd)
{
  atomic_store(&statsd->held, NULL);
}

// Takes one batch; false when the socket failed for good.
static bool receive(struct statsd *statsd)
{
  int count = recvmmsg(statsd->socket.fd, statsd->messages, BATCH, MSG_DONTWAIT, NULL);
  if (count < 0) return errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ECONNREFUSED;
  struct statsd_routes *routes = routes_hold(statsd);
  int64_t now_ns = statsd->now_ns();
  for (int i = 0; i < count; i++) {
    struct view packet = { statsd->pieces[i].iov_base, statsd->messages[i].msg_len };
    statsd_intake_packet(&statsd->intake, routes, packet, now_ns);
  }
  routes_release(statsd);
  return true;
}

static void *run(void *userdata)
{
  struct statsd *statsd = userdata;
  struct pollfd polled[] = { { .fd = statsd->socket.fd, .events = POLLIN },
                             { .fd = statsd->end_fd, .events = POLLIN } };
  for (;;) {
    int ready = poll(polled, 2, -1);
    if (ready < 0 && errno != EINTR) break;
    if (ready > 0 && polled[1].revents != 0) break;
    if (ready > 0 && polled[0].revents != 0 && !receive(statsd)) break;
  }
  return NULL;
}

static int start_thread(struct statsd *statsd, struct status *status)
{
  sigset_t all, before; // signals are the loop's
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&statsd->thread, NULL, run, statsd);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) return status_set(status, NINES_EIO, "statsd: no thread: %s", strerror(error));
  statsd->running = true;
  pthread_setname_np(statsd->thread, "nines-statsd");
  return 0;
}

int statsd_open(struct statsd **out, const struct statsd_config *config, struct status *status)
{
  *out = NULL;
  CHECK(config->series != NULL && config->now_ns != NULL);
  struct statsd *statsd = mem_zalloc(sizeof *statsd);
  if (statsd == NULL) return status_set(status, NINES_ENOMEM, "statsd: out of memory");
  statsd->now_ns = config->now_ns;
  statsd->socket.fd = -1;
  statsd->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  statsd->memory = mem_alloc((size_t)BATCH * PACKET_STRIDE);
  statsd->routes = statsd_routes_make(NULL, 0, statsd->routes_generation);
  int code = statsd_intake_init(&statsd->intake, config->series, config->gauge_sign);
  if (code != 0 || statsd->memory == NULL || statsd->routes == NULL || statsd->end_fd < 0) {
    code = statsd->end_fd < 0 ? status_set(status, NINES_EIO, "statsd: eventfd: %s", strerror(errno))
                              : status_set(status, NINES_ENOMEM, "statsd: out of memory");
  }
  for (int i = 0; code == 0 && i < BATCH; i++) {
    statsd->pieces[i] = (struct iovec){ statsd->memory + (size_t)i * PACKET_STRIDE, PACKET_MAX };
    statsd->messages[i].msg_hdr = (struct msghdr){ .msg_iov = &statsd->pieces[i], .msg_iovlen = 1 };
  }
  if (code == 0) code = statsd_socket_open(&statsd->socket, config->address, config->receive_buffer_bytes, status);
  if (code == 0) code = start_thread(statsd, status);
  if (code != 0) {
    statsd_close(statsd);
    return code;
  }
  *out = statsd;
  return 0;
}

void statsd_close(struct statsd *statsd)
{
  if (statsd == NULL) return;
  if (statsd->running) {
    eventfd_write(statsd->end_fd, 1);
    pthread_join(statsd->thread, NULL);
  }
  statsd_socket_close(&statsd->socket);
  if (statsd->end_fd >= 0) close(statsd->end_fd);
  statsd_intake_fini(&statsd->intake);
  statsd_routes_free(statsd->routes);
  statsd_routes_free(statsd->retired);
  mem_free(statsd->memory);
  mem_free(statsd);
}

int statsd_port(const struct statsd *statsd)
{
  return statsd->socket.port;
}

int statsd_set_routes(struct statsd *statsd, const struct statsd_route *routes, uint32_t count)
{
  struct statsd_routes *next = statsd_routes_make(routes, count, ++statsd->routes_generation);
  if (next == NULL) return NINES_ENOMEM;
  struct statsd_routes *old = atomic_exchange(&statsd->routes, next);
  // The thread holds one table at most: this one, the one retired before, or a newer one.
  struct statsd_routes *held = atomic_load(&statsd->held);
  if (statsd->retired != NULL && statsd->retired != held) {
    statsd_routes_free(statsd->retired);
    statsd->retired = NULL;
  }
  if (held != old) {
    statsd_routes_free(old);
  } else {
    // `retired` is free here: what is held is `old`, so it was not `retired`.
    statsd->retired = old;
  }
  return 0;
}

// The kernel counts in 32 bits; any thread may come by, so the wide count moves on by compare-and-swap.
static uint64_t kernel_drops(const struct statsd *statsd)
{
  _Atomic uint64_t *wide = (_Atomic uint64_t *)&statsd->kernel_drops;
  uint32_t memory[SK_MEMINFO_VARS] = { 0 };
  socklen_t size = sizeof memory;
  uint64_t before = atomic_load(wide);
  if (getsockopt(statsd->socket.fd, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0) return before;
  for (;;) {
    uint32_t more = memory[SK_MEMINFO_DROPS] - (uint32_t)before;
    if (more > UINT32_MAX / 2) return before; // another thread knows more already
    if (atomic_compare_exchange_weak(wide, &before, before + more)) return before + more;
  }
}

struct statsd_usage statsd_usage(const struct statsd *statsd)
{
  const struct statsd_counters *counters = &statsd->intake.counters;
  struct statsd_usage usage = { .packets = counters->packets,
                                .bytes = counters->bytes,
                                .lines = counters->lines,
                                .samples = counters->samples,
                                .observations = counters->observations,
                                .events = counters->events,
                                .checks = counters->checks,
                                .kernel_drops = kernel_drops(statsd),
                                .receive_buffer_bytes = statsd->socket.receive_buffer_bytes };
  for (int i = 0; i < STATSD_FAULTS; i++) usage.faults[i] = counters->faults[i];
  return usage;
}
