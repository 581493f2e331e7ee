// StatsD over real sockets: counts to the line, series, routes to meters, the kernel's losses, Unix sockets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "statsd.h"

#define DEADLINE_NS 10000000000LL

struct rig {
  struct series_table *series;
  struct statsd *statsd;
  int fd;
  uint64_t sent;
};

static void rig_open(struct rig *rig, int receive_buffer_bytes, enum statsd_gauge_sign sign)
{
  struct status status = { 0 };
  *rig = (struct rig){ .series = series_open(1000, 3600 * 1000000000LL) };
  struct statsd_config config = { .address = "127.0.0.1:0",
                                  .gauge_sign = sign,
                                  .receive_buffer_bytes = receive_buffer_bytes,
                                  .series = rig->series,
                                  .now_ns = clock_coarse_ns };
  if (statsd_open(&rig->statsd, &config, &status) != 0) fail_msg("%s", status.text);
  struct sockaddr_in to = { .sin_family = AF_INET,
                            .sin_port = htons((uint16_t)statsd_port(rig->statsd)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  rig->fd = socket(AF_INET, SOCK_DGRAM, 0);
  assert_int_equal(connect(rig->fd, (struct sockaddr *)&to, sizeof to), 0);
}

static void rig_close(struct rig *rig)
{
  close(rig->fd);
  statsd_close(rig->statsd);
  series_close(rig->series);
}

static void rig_send(struct rig *rig, const char *packet)
{
  assert_int_equal(send(rig->fd, packet, strlen(packet), 0), (ssize_t)strlen(packet));
  rig->sent++;
}

// Waits until every packet was received or counted as lost.
static struct statsd_usage rig_settle(const struct rig *rig)
{
  int64_t give_up_ns = clock_now_ns() + DEADLINE_NS;
  for (;;) {
    struct statsd_usage usage = statsd_usage(rig->statsd);
    if (usage.packets + usage.kernel_drops == rig->sent) return usage;
    if (clock_now_ns() > give_up_ns)
      fail_msg("sent %lu, received %lu, dropped %lu", rig->sent, usage.packets, usage.kernel_drops);
    nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
  }
}

static double value_of(const struct rig *rig, const char *name, const char *tags)
{
  struct series_reading reading;
  if (!series_find(rig->series, view_of(name), view_of(tags), &reading)) return NAN;
  return reading.value;
}

static void test_counts_to_the_line(void **state)
{
  (void)state;
  struct rig rig;
  char packet[256];
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  uint64_t bytes = 0;
  for (int i = 0; i < 2000; i++) {
    snprintf(packet, sizeof packet, "hits.%d:2|c|#b:x,a:%d\r\nt:10|ms|@0.5\n\nbroken\n_e{1,1}:a|b\n_sc|db|0\nlast:1|g",
             i % 10, i % 3);
    bytes += strlen(packet);
    rig_send(&rig, packet);
  }
  struct statsd_usage usage = rig_settle(&rig);
  assert_int_equal(usage.kernel_drops, 0);
  assert_int_equal(usage.bytes, bytes);
  assert_int_equal(usage.lines, 12000);
  assert_int_equal(usage.samples, 6000);
  assert_int_equal(usage.events, 2000);
  assert_int_equal(usage.checks, 2000);
  assert_int_equal(usage.faults[STATSD_NO_VALUE], 2000);
  double sum = 0;
  for (int i = 0; i < 30; i++) {
    char name[16], tags[32];
    snprintf(name, sizeof name, "hits.%d", i % 10);
    snprintf(tags, sizeof tags, "a=\"%d\",b=\"x\"", i / 10);
    double value = value_of(&rig, name, tags);
    sum += isnan(value) ? 0 : value;
  }
  assert_true(sum == 4000);
  struct series_reading reading;
  assert_true(series_find(rig.series, view_of("t"), view_of(""), &reading));
  assert_int_equal(reading.count, 4000);
  assert_true(fabs(reading.value - 40) < 1e-9 && reading.min == 0.01 && reading.max == 0.01);
  rig_close(&rig);
}

static void test_gauge_signs(void **state)
{
  (void)state;
  static const struct {
    enum statsd_gauge_sign sign;
    double plain, tagged;
  } want[] = { { STATSD_SIGN_AUTO, 7, -3 }, { STATSD_SIGN_DELTA, 7, 7 }, { STATSD_SIGN_ABSOLUTE, -3, -3 } };
  for (int i = 0; i < 3; i++) {
    struct rig rig;
    rig_open(&rig, 0, want[i].sign);
    rig_send(&rig, "g:10|g\ng:-3|g\nh:10|g|#a:b\nh:-3|g|#a:b");
    rig_settle(&rig);
    assert_true(value_of(&rig, "g", "") == want[i].plain);
    assert_true(value_of(&rig, "h", "a=\"b\"") == want[i].tagged);
    rig_close(&rig);
  }
}

static void test_types_and_conflicts(void **state)
{
  (void)state;
  struct rig rig;
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  rig_send(&rig,
           "u:bob|s\nu:bob|s\nu:al|b|s\nx:1|c\nx:1|g\nd:1:2:32|d\nn,a=b:1|c\nn:1|c|#a:b\nbad\xff:1|c\nm:1|c|#\xff:1");
  struct statsd_usage usage = rig_settle(&rig);
  assert_true(fabs(value_of(&rig, "u", "") - 2) < 0.1);
  assert_true(value_of(&rig, "x", "") == 1);
  assert_int_equal(series_usage(rig.series).conflicts, 1);
  assert_true(fabs(value_of(&rig, "d", "") - 0.035) < 1e-12);
  assert_true(value_of(&rig, "n", "a=\"b\"") == 2); // two ways to write one series
  assert_int_equal(usage.samples, 3 + 1 + 3 + 2);
  assert_int_equal(usage.faults[STATSD_NO_NAME], 1);
  assert_int_equal(usage.faults[STATSD_BAD_TAGS], 1);
  rig_close(&rig);
}

static void test_routes_reach_meters(void **state)
{
  (void)state;
  struct rig rig;
  static struct meter checkout, odd;
  const struct statsd_route routes[] = { { "checkout", &checkout, 100000000 }, { "odd.error", &odd, 0 } };
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  rig_send(&rig, "checkout:1|c");
  rig_settle(&rig); // before the routes: a series
  assert_int_equal(statsd_set_routes(rig.statsd, routes, 2), 0);
  rig_send(&rig, "checkout:120|ms\ncheckout:50|h|#ok:false\ncheckout:3|c\ncheckout.ok:2|c\ncheckout.error:1|c\n"
                 "checkout.failed:1|c\ncheckout:80|d|@0.1|#status:503\ncheckout:5|g\nodd.error:1|c\nodd.ok:1|c\n"
                 "checkout:-1|c\ncheckout:-5|ms");
  struct statsd_usage usage = rig_settle(&rig);
  assert_int_equal(checkout.total, 1 + 1 + 3 + 2 + 1 + 1 + 10);
  assert_int_equal(checkout.bad, 1 + 1 + 1 + 10);
  assert_int_equal(checkout.slow, 1);
  assert_int_equal(checkout.timed, 12);
  assert_int_equal(checkout.sum_us, 120000 + 50000 + 800000);
  assert_int_equal(odd.total, 1);
  assert_int_equal(odd.bad, 0); // its own name, not a suffix
  assert_int_equal(usage.observations, 20);
  assert_int_equal(usage.faults[STATSD_BAD_VALUE], 2);
  assert_true(value_of(&rig, "checkout", "") == 1); // the gauge of that name conflicts with the earlier counter
  assert_true(value_of(&rig, "odd.ok", "") == 1);
  assert_int_equal(statsd_set_routes(rig.statsd, NULL, 0), 0);
  rig_send(&rig, "checkout:1|c");
  rig_settle(&rig);
  assert_int_equal(checkout.total, 19);
  assert_true(value_of(&rig, "checkout", "") == 2);
  rig_close(&rig);
}

static void test_sampling_weighs_exactly(void **state)
{
  (void)state;
  struct rig rig;
  struct meter *meter = calloc(1, sizeof *meter + 64);
  struct meter *aligned = (struct meter *)(((uintptr_t)meter + 63) & ~(uintptr_t)63);
  const struct statsd_route route = { "p", aligned, 0 };
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  assert_int_equal(statsd_set_routes(rig.statsd, &route, 1), 0);
  for (int i = 0; i < 300; i++) rig_send(&rig, "p:1|c|@0.3");
  rig_settle(&rig);
  assert_in_range(aligned->total, 999, 1000); // 300 / 0.3, the last part may wait for the next
  rig_close(&rig);
  free(meter);
}

// Routes replaced as fast as possible beside a stream: nothing lost, nothing freed in use (the sanitizers watch).
static void test_routes_replaced_under_load(void **state)
{
  (void)state;
  struct rig rig;
  static struct meter a, b;
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  for (int i = 0; i < 3000; i++) {
    const struct statsd_route routes[] = { { "p", i % 2 ? &a : &b, 0 }, { "q", &a, 0 } };
    assert_int_equal(statsd_set_routes(rig.statsd, routes, 2), 0);
    rig_send(&rig, "p:1|c\nq:1|c\np:1|ms");
  }
  struct statsd_usage usage = rig_settle(&rig);
  assert_int_equal(a.total + b.total, 3 * usage.packets);
  assert_int_equal(usage.observations, 3 * usage.packets);
  rig_close(&rig);
}

static void test_kernel_losses_are_counted(void **state)
{
  (void)state;
  struct rig rig;
  char packet[1400];
  memset(packet, 'x', sizeof packet);
  memcpy(packet, "a:1|c\n", 6);
  packet[sizeof packet - 1] = '\0';
  rig_open(&rig, 1, STATSD_SIGN_AUTO); // the least the kernel gives
  int64_t give_up_ns = clock_now_ns() + DEADLINE_NS;
  while (statsd_usage(rig.statsd).kernel_drops == 0 && clock_now_ns() < give_up_ns)
    for (int i = 0; i < 2000; i++) rig_send(&rig, packet);
  struct statsd_usage usage = rig_settle(&rig);
  assert_true(usage.kernel_drops > 0 && usage.packets > 0);
  assert_true(value_of(&rig, "a", "") == (double)usage.packets);
  print_message("%lu sent, %lu received, %lu dropped\n", rig.sent, usage.packets, usage.kernel_drops);
  rig_close(&rig);
}

static void test_many_keys_and_a_full_table(void **state)
{
  (void)state;
  struct rig rig;
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  for (int i = 0; i < 10000; i++) {
    char packet[64];
    snprintf(packet, sizeof packet, "key.%d:1|c|#i:%d", i % 5000, i % 5000);
    rig_send(&rig, packet);
    if (i % 500 == 0) rig_settle(&rig);
  }
  struct statsd_usage usage = rig_settle(&rig);
  struct series_usage full = series_usage(rig.series);
  assert_int_equal(full.count, 1000);
  assert_int_equal(usage.samples + full.dropped, usage.packets);
  rig_close(&rig);
}

static void test_unix_socket(void **state)
{
  (void)state;
  char dir[] = "/tmp/nines-statsd-XXXXXX", address[sizeof dir + 16];
  struct status status = { 0 };
  struct statsd *statsd, *second;
  assert_non_null(mkdtemp(dir));
  snprintf(address, sizeof address, "unix:%s/s", dir);
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  snprintf(to.sun_path, sizeof to.sun_path, "%s/s", dir);
  struct series_table *series = series_open(10, 1000000000);
  struct statsd_config config = { .address = address, .series = series, .now_ns = clock_coarse_ns };
  int stale = socket(AF_UNIX, SOCK_DGRAM, 0); // left behind by a kill
  assert_int_equal(bind(stale, (struct sockaddr *)&to, sizeof to), 0);
  close(stale);
  if (statsd_open(&statsd, &config, &status) != 0) fail_msg("%s", status.text);
  assert_int_equal(statsd_open(&second, &config, &status), NINES_EBUSY);
  assert_non_null(strstr(status.text, "another process listens there"));
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  static char packet[60000];
  size_t size = 0;
  while (size < sizeof packet - 8) size += (size_t)snprintf(packet + size, 8, "a:1|c\n");
  assert_int_equal(sendto(fd, packet, size, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)size);
  struct rig rig = { series, statsd, fd, 1 };
  assert_int_equal(rig_settle(&rig).lines, size / 6);
  close(fd);
  statsd_close(statsd);
  series_close(series);
  assert_int_equal(access(to.sun_path, F_OK), -1);
  assert_int_equal(rmdir(dir), 0);
}

static void test_bad_addresses(void **state)
{
  (void)state;
  static const char *const bad[] = { "", "8125", ":8125", "127.0.0.1:", "127.0.0.1:port", "unix:" };
  struct series_table *series = series_open(10, 1000000000);
  struct statsd *statsd;
  struct status status;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct statsd_config config = { .address = bad[i], .series = series, .now_ns = clock_coarse_ns };
    assert_int_equal(statsd_open(&statsd, &config, &status), NINES_EINVAL);
    assert_null(statsd);
  }
  struct rig rig;
  char address[32];
  rig_open(&rig, 0, STATSD_SIGN_AUTO);
  snprintf(address, sizeof address, "127.0.0.1:%d", statsd_port(rig.statsd));
  struct statsd_config config = { .address = address, .series = series, .now_ns = clock_coarse_ns };
  assert_int_equal(statsd_open(&statsd, &config, &status), NINES_EBUSY);
  rig_close(&rig);
  series_close(series);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_counts_to_the_line),
    cmocka_unit_test(test_gauge_signs),
    cmocka_unit_test(test_types_and_conflicts),
    cmocka_unit_test(test_routes_reach_meters),
    cmocka_unit_test(test_sampling_weighs_exactly),
    cmocka_unit_test(test_routes_replaced_under_load),
    cmocka_unit_test(test_kernel_losses_are_counted),
    cmocka_unit_test(test_many_keys_and_a_full_table),
    cmocka_unit_test(test_unix_socket),
    cmocka_unit_test(test_bad_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
