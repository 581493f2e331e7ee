// Nothing of the demo may outlive it. Children get a SIGTERM when this process dies, the shop's programs watch it too
// (SHOP_OWNER), and this process adopts what they leave behind (a subreaper), so that its end finds every descendant:
// also the version of payments that a deploy script has put into the background a moment ago.

#include "demo_shop.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "duration.h"
#include "live.h"
#include "mem.h"

static const char *const role_names[] = { "inventory", "gateway", "load" };
static const char *const files[] = { "nines.yaml", "policies/checkout.lua", "deploy.sh", "current-version.sh",
                                     "notify.sh" };
static const char project_listen[] = "127.0.0.1:9999"; // in the project's nines.yaml; here another port takes its place

// --- finding

static bool own_dir(char out[static PATH_MAX])
{
  ssize_t size = readlink("/proc/self/exe", out, PATH_MAX - 1);
  out[size > 0 ? size : 0] = '\0';
  char *slash = strrchr(out, '/');
  if (slash) *slash = '\0';
  return slash != NULL;
}

static bool find(const char *const *places, int access_mode, char *out, size_t out_size)
{
  char own[PATH_MAX];
  if (!own_dir(own)) return false;
  for (; *places; places++) {
    bool absolute = (*places)[0] == '/';
    int size = snprintf(out, out_size, "%s%s%s", absolute ? "" : own, absolute ? "" : "/", *places);
    if (size < (int)out_size && access(out, access_mode) == 0) return true;
  }
  return false;
}

static int find_program(struct demo_shop *shop, struct status *status)
{
  static const char *const places[] = { "shop", "../libexec/nines/shop", NULL };
  if (find(places, X_OK, shop->program, sizeof shop->program)) return 0;
  return status_set(
      status, NINES_ENOTFOUND,
      "the program `shop` is neither beside nines nor in ../libexec/nines; build all of nines, or install "
      "it with its examples");
}

// --- the project

static int free_ports(struct demo_shop *shop, struct status *status)
{
  int sockets[DEMO_PORTS], count = 0;
  bool ok = true;
  for (; ok && count < DEMO_PORTS; count++) { // all at once, so that they differ
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    sockets[count] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok = sockets[count] >= 0 && bind(sockets[count], (const struct sockaddr *)&address, size) == 0 &&
         getsockname(sockets[count], (struct sockaddr *)&address, &size) == 0;
    shop->ports[count] = ntohs(address.sin_port);
  }
  int error = errno;
  for (int i = 0; i < count; i++) close(sockets[i]);
  return ok ? 0 : status_set(status, NINES_EIO, "cannot listen on 127.0.0.1: %s", strerror(error));
}

static int write_file(const char *path, const char *text, size_t size, struct status *status)
{
  bool script = strcmp(path + strlen(path) - 3, ".sh") == 0;
  FILE *file = fopen(path, "we");
  bool ok = file && fwrite(text, 1, size, file) == size;
  if (file && fclose(file) != 0) ok = false;
  if (ok && script) ok = chmod(path, 0755) == 0;
  return ok ? 0 : status_set(status, NINES_EIO, "cannot write %s: %m", path);
}

static int copy_file(const struct demo_shop *shop, const char *from, const char *name, struct status *status)
{
  struct buf path = { 0 }, out = { 0 };
  size_t size;
  buf_printf(&path, "%s/%s", from, name);
  char *text = live_read_file(path.data, 64 << 10, &size, status);
  buf_free(&path);
  if (!text) return status->code;
  const char *listen = strstr(text, project_listen);
  size_t head = listen ? (size_t)(listen - text) : size;
  buf_add(&out, text, head);
  if (listen) {
    buf_printf(&out, "127.0.0.1:%d", shop->ports[DEMO_API]);
    buf_text(&out, listen + strlen(project_listen));
  }
  buf_printf(&path, "%s/%s", shop->dir, name);
  int code = write_file(path.data, out.data, out.size, status);
  buf_free(&path);
  buf_free(&out);
  mem_free(text);
  return code;
}

static int make_project(struct demo_shop *shop, struct status *status)
{
  static const char *const places[] = { "shop-project", "../share/nines/shop", NINES_SHARE_DIR "/shop", NULL };
  char from[PATH_MAX], policies[sizeof shop->dir + 16];
  const char *temporary = getenv("TMPDIR");
  if (!find(places, R_OK | X_OK, from, sizeof from))
    return status_set(status, NINES_ENOTFOUND,
                      "the demo's project is neither in shop-project beside nines nor in %s/shop", NINES_SHARE_DIR);
  // A Unix socket's path has 107 bytes; a long TMPDIR leaves too few.
  if (!temporary || !temporary[0] || strlen(temporary) > 60) temporary = "/tmp";
  snprintf(shop->dir, sizeof shop->dir, "%s/nines-demo-XXXXXX", temporary);
  if (!mkdtemp(shop->dir)) {
    int code = status_set(status, NINES_EIO, "cannot make a directory in %s: %m; set TMPDIR to one that is writable",
                          temporary);
    shop->dir[0] = '\0';
    return code;
  }
  snprintf(shop->socket, sizeof shop->socket, "%s/nines-data/nines.sock", shop->dir);
  snprintf(policies, sizeof policies, "%s/policies", shop->dir);
  if (mkdir(policies, 0700) != 0) return status_set(status, NINES_EIO, "cannot make %s: %m", policies);
  int code = 0;
  for (size_t i = 0; code == 0 && i < sizeof files / sizeof *files; i++) code = copy_file(shop, from, files[i], status);
  return code;
}

// --- processes

static _Noreturn void run_child(const struct demo_shop *shop, enum demo_role role, char *const *argv, int output,
                                pid_t owner)
{
  char text[256];
  snprintf(text, sizeof text, "%s/%s.log", shop->dir, role_names[role]);
  int log = open(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  setpgid(0, 0); // Ctrl-C is for the demo alone, which ends the others in order
  bool ok =
      log >= 0 && null >= 0 && dup2(null, 0) >= 0 && dup2(output >= 0 ? output : log, 1) >= 0 && dup2(log, 2) >= 0;
  snprintf(text, sizeof text, "%d", (int)owner);
  setenv("SHOP_OWNER", text, 1);
  ok = ok && prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == owner && chdir(shop->dir) == 0;
  if (ok) execv(shop->program, argv);
  _exit(127);
}

static int start(struct demo_shop *shop, enum demo_role role, char *const *argv, int output, struct status *status)
{
  pid_t owner = getpid();
  shop->pids[role] = fork();
  if (shop->pids[role] == 0) run_child(shop, role, argv, output, owner);
  if (shop->pids[role] > 0) return 0;
  return status_set(status, NINES_EIO, "cannot start the shop's %s: %m", role_names[role]);
}

int demo_shop_open(struct demo_shop *shop, struct status *status)
{
  char port[16], payments[32], inventory[32];
  *shop = (struct demo_shop){ .load_fd = -1 };
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int code = find_program(shop, status);
  if (code == 0) code = free_ports(shop, status);
  if (code == 0) code = make_project(shop, status);
  if (code < 0) return code;
  snprintf(port, sizeof port, "%d", shop->ports[DEMO_INVENTORY]);
  char *const inventory_argv[] = { "shop", "inventory", "--port", port, NULL };
  code = start(shop, DEMO_ROLE_INVENTORY, inventory_argv, -1, status);
  if (code < 0) return code;
  snprintf(port, sizeof port, "%d", shop->ports[DEMO_GATEWAY]);
  snprintf(payments, sizeof payments, "127.0.0.1:%d", shop->ports[DEMO_PAYMENTS]);
  snprintf(inventory, sizeof inventory, "127.0.0.1:%d", shop->ports[DEMO_INVENTORY]);
  char *const gateway_argv[] = { "shop",       "gateway", "--port",      port,      "--project", ".",
                                 "--payments", payments,  "--inventory", inventory, NULL };
  return start(shop, DEMO_ROLE_GATEWAY, gateway_argv, -1, status);
}

int demo_shop_load(struct demo_shop *shop, int rate, struct status *status)
{
  char target[32], per_second[16];
  int ends[2];
  snprintf(target, sizeof target, "127.0.0.1:%d", shop->ports[DEMO_GATEWAY]);
  snprintf(per_second, sizeof per_second, "%d", rate);
  char *const argv[] = { "shop", "load", "--target", target, "--rate", per_second, NULL };
  if (pipe2(ends, O_CLOEXEC) != 0) return status_set(status, NINES_EIO, "cannot make a pipe: %m");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  int code = start(shop, DEMO_ROLE_LOAD, argv, ends[1], status);
  close(ends[1]);
  shop->load_fd = ends[0];
  return code;
}

void demo_shop_read(struct demo_shop *shop, struct buf *out)
{
  char data[4096];
  ssize_t size;
  while (shop->load_fd >= 0 && (size = read(shop->load_fd, data, sizeof data)) > 0) buf_add(out, data, (size_t)size);
}

int demo_shop_check(struct demo_shop *shop, struct status *status)
{
  for (int role = 0; role < DEMO_ROLES; role++) {
    if (shop->pids[role] <= 0 || waitpid(shop->pids[role], NULL, WNOHANG) == 0) continue;
    char path[sizeof shop->dir + 32];
    struct status unread = { 0 };
    size_t size = 0;
    shop->pids[role] = 0;
    snprintf(path, sizeof path, "%s/%s.log", shop->dir, role_names[role]);
    char *log = live_read_file(path, 1 << 20, &size, &unread);
    while (size > 0 && log[size - 1] == '\n') size--;
    size_t tail = size < 300 ? size : 300;
    status_set(status, NINES_EIO, "the shop's %s ended by itself: %.*s", role_names[role], (int)tail,
               log ? log + size - tail : "");
    mem_free(log);
    return status->code;
  }
  return 0;
}

// --- the end

static void signal_children(int signal)
{
  char path[64];
  int pid;
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  FILE *file = fopen(path, "re");
  while (file && fscanf(file, "%d", &pid) == 1) kill(pid, signal);
  if (file) fclose(file);
}

// Asks, then makes: killing a parent hands its children to us, hence again and again until there is none.
static void end_children(void)
{
  int64_t now_ns = clock_now_ns();
  int64_t patience_ns = now_ns + 2 * NS_PER_S, end_ns = now_ns + 5 * NS_PER_S;
  for (bool ask = true; now_ns < end_ns; now_ns = clock_now_ns()) {
    if (ask || now_ns > patience_ns) signal_children(now_ns > patience_ns ? SIGKILL : SIGTERM);
    ask = false;
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) ask = true; // what it left behind
    if (pid < 0 && errno == ECHILD) return;
    nanosleep(&(struct timespec){ .tv_nsec = 10 * NS_PER_MS }, NULL);
  }
}

static int remove_entry(const char *path, const struct stat *about, int type, struct FTW *where)
{
  (void)about, (void)type, (void)where;
  remove(path);
  return 0;
}

void demo_shop_close(struct demo_shop *shop)
{
  if (shop->load_fd >= 0) close(shop->load_fd);
  end_children();
  if (shop->dir[0]) nftw(shop->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  *shop = (struct demo_shop){ .load_fd = -1 };
}
