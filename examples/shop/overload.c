// Three times as many customers as the shop can serve, once without protections and once with them, side by side.
//
// Everything is real: four processes, sockets, the engine in the gateway. The inventory has 8 workers of 20 ms, which
// makes 400 requests a second. Customers ask for 1,200: 15 % checkouts, the rest browses, recommendations and searches.
// They give up after half a second and try again up to twice, as impatient people and careless clients do.

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "shop.h"

enum { RATE = 1200, WARM_UP_S = 3, TIMEOUT_MS = 500, AGAIN_MS = 50, ATTEMPTS = 3, CONNECTIONS_MAX = 4096 };
enum { TICK_MS = 5, PATIENCE_MS = 10000, TOOK_MAX = 1 << 16 };
enum { INVENTORY_SERVER, PAYMENTS_SERVER, GATEWAY_SERVER, SERVERS };

static const struct wish {
  const char *name, *method, *path;
  int percent;
} wishes[] = { { "checkout (CRITICAL)", "POST", "/checkout", 15 },
               { "browse", "GET", "/browse", 35 },
               { "recommendations", "GET", "/recommendations", 35 },
               { "search", "GET", "/search", 15 } };
enum { WISHES = sizeof wishes / sizeof *wishes };

struct outcome {
  unsigned asked[WISHES], served[WISHES], requests; // requests: with those tried again
  double p95_ms;                                    // of checkouts served; NAN: none was
  unsigned shed, limited, full, open, opened, retries;
};

struct crowd {
  uv_loop_t loop;
  uv_timer_t tick;
  struct client *gateway;
  struct outcome *outcome;
  uint64_t began_ns, from_ns, to_ns, sent, random;
  int under_way;
  uint32_t took_us[TOOK_MAX];
  int took_count;
  bool over;
};

static volatile sig_atomic_t interrupted; // Ctrl-C: the rest is skipped, nothing is left behind

struct customer {
  struct crowd *crowd;
  uv_timer_t again;
  uint64_t began_ns;
  int wish, attempts;
  bool counts;
};

// --- customers

static double draw(struct crowd *crowd)
{
  crowd->random ^= crowd->random << 13;
  crowd->random ^= crowd->random >> 7;
  crowd->random ^= crowd->random << 17;
  return (double)(crowd->random >> 11) / 9007199254740992.0;
}

static void on_customer_closed(uv_handle_t *timer)
{
  free(timer->data);
}

static void on_answer(void *userdata, int status);

static void on_again(uv_timer_t *timer)
{
  struct customer *customer = timer->data;
  const struct wish *wish = &wishes[customer->wish];
  customer->attempts++;
  customer->crowd->outcome->requests += customer->counts;
  client_send(customer->crowd->gateway, wish->method, wish->path, on_answer, customer);
}

static void on_answer(void *userdata, int status)
{
  struct customer *customer = userdata;
  struct crowd *crowd = customer->crowd;
  if (status != 200 && customer->attempts < ATTEMPTS && !crowd->over) {
    uv_timer_start(&customer->again, on_again, AGAIN_MS, 0);
    return;
  }
  if (customer->counts && status == 200) {
    crowd->outcome->served[customer->wish]++;
    if (customer->wish == 0 && crowd->took_count < TOOK_MAX)
      crowd->took_us[crowd->took_count++] = (uint32_t)((uv_hrtime() - customer->began_ns) / 1000);
  }
  crowd->under_way--;
  uv_close((uv_handle_t *)&customer->again, on_customer_closed);
}

static void arrive(struct crowd *crowd, uint64_t now_ns)
{
  struct customer *customer = calloc(1, sizeof *customer);
  if (!customer) return;
  double chance = draw(crowd) * 100;
  while (customer->wish < WISHES - 1 && chance >= wishes[customer->wish].percent)
    chance -= wishes[customer->wish++].percent;
  customer->crowd = crowd;
  customer->began_ns = now_ns;
  customer->counts = now_ns >= crowd->from_ns && now_ns < crowd->to_ns;
  crowd->outcome->asked[customer->wish] += customer->counts;
  crowd->under_way++;
  uv_timer_init(&crowd->loop, &customer->again);
  customer->again.data = customer;
  on_again(&customer->again);
}

static void on_tick(uv_timer_t *timer)
{
  struct crowd *crowd = timer->data;
  uint64_t now_ns = uv_hrtime();
  if (interrupted) crowd->over = true;
  for (; now_ns < crowd->to_ns && !crowd->over && crowd->sent < (now_ns - crowd->began_ns) * RATE / 1000000000u;
       crowd->sent++)
    arrive(crowd, now_ns);
  if ((now_ns < crowd->to_ns && !crowd->over) || crowd->under_way > 0) return;
  crowd->over = true;
  uv_close((uv_handle_t *)timer, NULL);
}

static int compare(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

// The crowd comes, and goes when everyone has an answer.
static int crowd_run(const char *address, int seconds, struct outcome *outcome)
{
  struct crowd *crowd = calloc(1, sizeof *crowd);
  if (!crowd) return shop_fail("the crowd", UV_ENOMEM);
  crowd->outcome = outcome;
  crowd->random = 0x9e3779b97f4a7c15;
  uv_loop_init(&crowd->loop);
  int code = client_open(&crowd->gateway, &crowd->loop, address, CONNECTIONS_MAX, TIMEOUT_MS);
  if (code == 0) {
    crowd->began_ns = uv_hrtime();
    crowd->from_ns = crowd->began_ns + (uint64_t)WARM_UP_S * 1000000000u;
    crowd->to_ns = crowd->from_ns + (uint64_t)seconds * 1000000000u;
    crowd->tick.data = crowd;
    uv_timer_init(&crowd->loop, &crowd->tick);
    uv_timer_start(&crowd->tick, on_tick, TICK_MS, TICK_MS);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    client_close(crowd->gateway);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    qsort(crowd->took_us, (size_t)crowd->took_count, sizeof *crowd->took_us, compare);
    outcome->p95_ms = crowd->took_count ? crowd->took_us[(size_t)crowd->took_count * 95 / 100] / 1000.0 : NAN;
  }
  uv_loop_close(&crowd->loop);
  free(crowd);
  return code == 0 ? 0 : shop_fail(address, code);
}

// --- the shop

struct shop {
  uv_loop_t loop;
  uv_process_t process[SERVERS];
  int port[SERVERS], running;
  char address[SERVERS][32];
  char dir[200], program[4096];
  int report; // what the gateway says at its end
};

static int free_port(void)
{
  struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof in;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;
  if (fd >= 0 && bind(fd, (struct sockaddr *)&in, size) == 0 && getsockname(fd, (struct sockaddr *)&in, &size) == 0)
    port = ntohs(in.sin_port);
  close(fd);
  return port;
}

static void on_exit_of(uv_process_t *process, int64_t status, int number)
{
  (void)status, (void)number;
  ((struct shop *)process->data)->running--;
  uv_close((uv_handle_t *)process, NULL);
}

static int spawn(struct shop *shop, int server, char *const argv[], int output)
{
  uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE },
                                    { .flags = UV_INHERIT_FD, .data.fd = output },
                                    { .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO } };
  uv_process_options_t options = { .file = shop->program, .args = (char **)(uintptr_t)argv, .exit_cb = on_exit_of };
  options.stdio = stdio;
  options.stdio_count = 3;
  options.cwd = shop->dir;
  shop->process[server].data = shop;
  int code = uv_spawn(&shop->loop, &shop->process[server], &options);
  if (code != 0) return shop_fail(argv[1], code);
  shop->running++;
  return 0;
}

static int write_project(const struct shop *shop)
{
  char path[256];
  snprintf(path, sizeof path, "%s/policies", shop->dir);
  if (mkdir(path, 0700) != 0) return shop_fail(path, UV_EIO);
  snprintf(path, sizeof path, "%s/nines.yaml", shop->dir);
  FILE *file = fopen(path, "we");
  if (!file) return shop_fail(path, UV_EIO);
  fprintf(file, "listen: 127.0.0.1:%d\ndata: ./nines-data\npolicies: [policies]\n", free_port());
  return fclose(file) == 0 ? 0 : shop_fail(path, UV_EIO);
}

static void on_health(void *userdata, int status)
{
  *(int *)userdata = status;
}

// Until it answers.
static int await(struct shop *shop, int server)
{
  struct client *client;
  int code = client_open(&client, &shop->loop, shop->address[server], 1, TIMEOUT_MS);
  if (code != 0) return shop_fail(shop->address[server], code);
  int status = 0;
  for (int waited_ms = 0; status != 200 && waited_ms < PATIENCE_MS && shop->running == SERVERS && !interrupted;
       waited_ms += 20) {
    status = -1;
    client_send(client, "GET", "/healthz", on_health, &status);
    while (status < 0) uv_run(&shop->loop, UV_RUN_ONCE);
    if (status != 200) usleep(20000);
  }
  client_close(client);
  return status == 200 ? 0 : shop_fail("a part of the shop does not answer", UV_ETIMEDOUT);
}

static int shop_open(struct shop *shop, bool bare)
{
  int ends[2];
  const char *place = getenv("TMPDIR");
  *shop = (struct shop){ .report = -1 };
  int length = snprintf(shop->dir, sizeof shop->dir, "%s/nines-overload-XXXXXX", place ? place : "/tmp");
  if (length >= (int)sizeof shop->dir) return shop_fail(place, UV_ENAMETOOLONG);
  uv_loop_init(&shop->loop);
  ssize_t size = readlink("/proc/self/exe", shop->program, sizeof shop->program - 1);
  if (size <= 0 || !mkdtemp(shop->dir) || write_project(shop) != 0 || pipe2(ends, O_CLOEXEC) != 0) return 1;
  shop->report = ends[0];
  char port[SERVERS][16];
  for (int i = 0; i < SERVERS; i++) {
    shop->port[i] = free_port();
    snprintf(port[i], sizeof port[i], "%d", shop->port[i]);
    snprintf(shop->address[i], sizeof shop->address[i], "127.0.0.1:%d", shop->port[i]);
  }
  char *const inventory[] = { "shop", "inventory", "--workers", "8", "--port", port[INVENTORY_SERVER], NULL };
  char *const payments[] = { "shop", "payments", "--version", "v1", "--port", port[PAYMENTS_SERVER], NULL };
  char *const gateway[] = { "shop",
                            "gateway",
                            "--project",
                            ".",
                            "--report",
                            "--port",
                            port[GATEWAY_SERVER],
                            "--payments",
                            shop->address[PAYMENTS_SERVER],
                            "--inventory",
                            shop->address[INVENTORY_SERVER],
                            bare ? "--bare" : NULL,
                            NULL };
  int code = spawn(shop, INVENTORY_SERVER, inventory, STDERR_FILENO);
  if (code == 0) code = spawn(shop, PAYMENTS_SERVER, payments, STDERR_FILENO);
  if (code == 0) code = spawn(shop, GATEWAY_SERVER, gateway, ends[1]);
  close(ends[1]);
  for (int i = 0; i < SERVERS && code == 0; i++) code = await(shop, i);
  return code;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
  (void)info, (void)type, (void)walk;
  return remove(path);
}

static void shop_close(struct shop *shop, struct outcome *outcome)
{
  char text[200] = "";
  // The gateway reports; the inventory would work through a queue of minutes that nobody waits for.
  if (shop->process[GATEWAY_SERVER].data) uv_process_kill(&shop->process[GATEWAY_SERVER], SIGTERM);
  for (int i = 0; i < GATEWAY_SERVER; i++)
    if (shop->process[i].data) uv_process_kill(&shop->process[i], SIGKILL);
  if (shop->report >= 0) {
    ssize_t size = read(shop->report, text, sizeof text - 1);
    text[size > 0 ? size : 0] = '\0';
    close(shop->report);
  }
  sscanf(text, "shed %u limited %u full %u open %u opened %u retries %u", &outcome->shed, &outcome->limited,
         &outcome->full, &outcome->open, &outcome->opened, &outcome->retries);
  uv_run(&shop->loop, UV_RUN_DEFAULT);
  uv_loop_close(&shop->loop);
  nftw(shop->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// --- the comparison

static int play(bool bare, int seconds, struct outcome *outcome)
{
  struct shop shop;
  int code = shop_open(&shop, bare);
  if (code == 0) code = crowd_run(shop.address[GATEWAY_SERVER], seconds, outcome);
  shop_close(&shop, outcome);
  return interrupted ? 1 : code;
}

static void on_interrupt(int number)
{
  (void)number;
  interrupted = 1;
}

static double percent(unsigned part, unsigned whole)
{
  return whole ? 100.0 * part / whole : 0;
}

static void print_row(const char *what, const char *format, double without, double with)
{
  char left[32], right[32];
  snprintf(left, sizeof left, isnan(without) ? "-" : format, without);
  snprintf(right, sizeof right, isnan(with) ? "-" : format, with);
  printf("  %-34s %14s %14s\n", what, left, right);
}

int overload_run(const struct options *options)
{
  static struct outcome without, with;
  char owner[16];
  snprintf(owner, sizeof owner, "%d", (int)getpid());
  setenv("SHOP_OWNER", owner, 1);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, on_interrupt);
  signal(SIGTERM, on_interrupt);
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("%d customers a second, %d %% of them checkouts, for a shop that can serve 400: %d s each way, after %d s of "
         "the same.\n",
         RATE, wishes[0].percent, options->seconds, WARM_UP_S);
  if (play(true, options->seconds, &without) != 0 || play(false, options->seconds, &with) != 0) return 1;
  printf("\n  %-34s %14s %14s\n", "", "without", "with");
  for (int i = 0; i < WISHES; i++) {
    char what[64];
    snprintf(what, sizeof what, "served of %s", wishes[i].name);
    print_row(what, "%.2f %%", percent(without.served[i], without.asked[i]), percent(with.served[i], with.asked[i]));
  }
  print_row("p95 of checkouts served", "%.0f ms", without.p95_ms, with.p95_ms);
  print_row("customers", "%.0f", (double)options->seconds * RATE, (double)options->seconds * RATE);
  print_row("requests they made of it", "%.0f", without.requests, with.requests);
  printf("  the gateway, warm-up included:\n");
  print_row("refused by the shedder", "%.0f", without.shed, with.shed);
  print_row("refused by the limiter (search)", "%.0f", without.limited, with.limited);
  print_row("refused by a bulkhead", "%.0f", without.full, with.full);
  print_row("refused by a breaker", "%.0f", without.open, with.open);
  print_row("breakers opened", "%.0f", without.opened, with.opened);
  print_row("retries of the gateway", "%.0f", without.retries, with.retries);
  bool holds = percent(with.served[0], with.asked[0]) >= 99.9 && percent(without.served[0], without.asked[0]) < 90;
  printf("\n%s: checkouts at 99.9 %% or more with protections, under 90 %% without.\n",
         holds ? "As it should be" : "NOT as it should be");
  return holds ? 0 : 1;
}
