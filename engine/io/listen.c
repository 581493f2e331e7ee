// Opening the server's sockets, with sentences that help when that fails.
//
// A taken TCP port is an everyday mistake, so the sentence names the process that has it, found in /proc as far as we
// may look. A Unix socket's file outlives a killed engine: it is replaced only when connecting to it is refused, and
// removed at the end only if it is still the one we made.
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem.h"
#include "serve_private.h"

enum { LISTEN_BACKLOG = 511, ADDRESS_TEXT_MAX = 64 };

// The inode of the socket that listens on the port, from one of the kernel's tables; 0: none.
static unsigned long inode_listening(const char *table, int port)
{
  FILE *file = fopen(table, "re");
  if (file == NULL) return 0;
  char line[512];
  unsigned long found = 0;
  while (found == 0 && fgets(line, sizeof line, file)) {
    unsigned local_port, state;
    unsigned long inode;
    if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &local_port, &state, &inode) == 3 &&
        state == TCP_LISTEN && (int)local_port == port)
      found = inode;
  }
  fclose(file);
  return found;
}

static bool process_has(const char *pid, const char *link)
{
  char path[300], target[64];
  snprintf(path, sizeof path, "/proc/%s/fd", pid);
  DIR *dir = opendir(path);
  if (dir == NULL) return false;
  bool has = false;
  for (struct dirent *entry; !has && (entry = readdir(dir)) != NULL;) {
    ssize_t size = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
    if (size <= 0) continue;
    target[size] = '\0';
    has = strcmp(target, link) == 0;
  }
  closedir(dir);
  return has;
}

// "probably by 123 (nginx)", or "" when we cannot tell.
static void describe_holder(int port, char *out, size_t out_size)
{
  out[0] = '\0';
  unsigned long inode = inode_listening("/proc/net/tcp", port);
  if (inode == 0) inode = inode_listening("/proc/net/tcp6", port);
  DIR *proc = inode == 0 ? NULL : opendir("/proc");
  if (proc == NULL) return;
  char link[64];
  snprintf(link, sizeof link, "socket:[%lu]", inode);
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    if (!isdigit((unsigned char)entry->d_name[0]) || !process_has(entry->d_name, link)) continue;
    char path[300], name[64] = "?";
    snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
    FILE *file = fopen(path, "re");
    if (file) {
      if (fgets(name, sizeof name, file)) name[strcspn(name, "\n")] = '\0';
      fclose(file);
    }
    snprintf(out, out_size, ", probably by %.10s (%s)", entry->d_name, name);
    break;
  }
  closedir(proc);
}

static int parse_address(const char *text, struct sockaddr_storage *out)
{
  const char *colon = strrchr(text, ':');
  if (colon == NULL || colon == text || (size_t)(colon - text) >= ADDRESS_TEXT_MAX) return -1;
  char host[ADDRESS_TEXT_MAX], *end;
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = '\0';
  long port = strtol(colon + 1, &end, 10);
  if (!isdigit((unsigned char)colon[1]) || *end != '\0' || port < 0 || port > 65535) return -1;
  if (host[0] == '[') {
    size_t size = strlen(host);
    if (host[size - 1] != ']') return -1;
    host[size - 1] = '\0';
    return uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)(void *)out);
  }
  return uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port, (struct sockaddr_in *)(void *)out);
}

static int port_of(const struct sockaddr_storage *address)
{
  return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_port
                                              : ((const struct sockaddr_in *)(const void *)address)->sin_port);
}

int listen_tcp(struct serve *serve, const char *address, struct status *status)
{
  struct sockaddr_storage where = { 0 };
  if (parse_address(address, &where) != 0)
    return status_set(status, NINES_EINVAL,
                      "cannot listen on \"%s\": write an address and a port, as 127.0.0.1:9999 or [::1]:9999", address);
  int code = uv_tcp_init(loop_uv(serve->loop), &serve->tcp);
  if (code == 0) {
    serve->has_tcp = true;
    serve->open_handles++;
    serve->tcp.data = serve;
    code = uv_tcp_bind(&serve->tcp, (const struct sockaddr *)&where, 0);
  }
  if (code == 0) code = uv_listen((uv_stream_t *)&serve->tcp, LISTEN_BACKLOG, serve_accept);
  if (code == UV_EADDRINUSE) {
    char holder[128];
    describe_holder(port_of(&where), holder, sizeof holder);
    return status_set(status, NINES_EBUSY, "cannot listen on %s: address in use%s; choose another with `listen:`",
                      address, holder);
  }
  if (code != 0)
    return status_set(status, code == UV_EACCES ? NINES_EDENIED : NINES_EIO, "cannot listen on %s: %s", address,
                      uv_strerror(code));
  int size = sizeof where;
  if (uv_tcp_getsockname(&serve->tcp, (struct sockaddr *)&where, &size) == 0) serve->port = port_of(&where);
  return 0;
}

// Does somebody answer there? 1 yes, 0 refused (stale), -1 cannot tell (errno).
static int socket_answers(const struct sockaddr_un *where)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int code = connect(fd, (const struct sockaddr *)where, sizeof *where);
  int error = errno;
  close(fd);
  if (code == 0 || error == EAGAIN) return 1; // EAGAIN: its backlog is full
  errno = error;
  return error == ECONNREFUSED ? 0 : -1;
}

static int bind_unix(int fd, const struct sockaddr_un *where, struct status *status)
{
  const struct sockaddr *address = (const struct sockaddr *)where;
  if (bind(fd, address, sizeof *where) == 0) return 0;
  if (errno == EADDRINUSE) {
    struct stat info;
    if (lstat(where->sun_path, &info) == 0 && !S_ISSOCK(info.st_mode))
      return status_set(status, NINES_EEXISTS, "cannot listen on %s: a file that is no socket is in the way; remove it",
                        where->sun_path);
    int answers = socket_answers(where);
    if (answers == 1)
      return status_set(status, NINES_EBUSY, "cannot listen on %s: another engine is listening there; stop it first",
                        where->sun_path);
    if (answers == 0 && unlink(where->sun_path) == 0 && bind(fd, address, sizeof *where) == 0) return 0;
  }
  return status_set(status, errno == EACCES || errno == EPERM ? NINES_EDENIED : NINES_EIO, "cannot listen on %s: %s",
                    where->sun_path, strerror(errno));
}

int listen_unix(struct serve *serve, const char *path, struct status *status)
{
  struct sockaddr_un where = { .sun_family = AF_UNIX };
  if (strlen(path) >= sizeof where.sun_path || path[0] == '\0')
    return status_set(status, NINES_EINVAL, "cannot listen on \"%s\": a socket's path has 1 to %zu bytes", path,
                      sizeof where.sun_path - 1);
  strcpy(where.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return status_set(status, NINES_EIO, "cannot listen on %s: %s", path, strerror(errno));
  // The socket's own mode becomes the file's: no moment at which others could connect.
  int code = fchmod(fd, 0600) == 0 ? bind_unix(fd, &where, status)
                                   : status_set(status, NINES_EIO, "cannot listen on %s: %s", path, strerror(errno));
  if (code != 0) {
    close(fd);
    return code;
  }
  struct stat info;
  if (stat(path, &info) == 0) {
    serve->socket_device = (uint64_t)info.st_dev;
    serve->socket_inode = (uint64_t)info.st_ino;
  }
  serve->socket_path = mem_must_copy(path);
  code = uv_pipe_init(loop_uv(serve->loop), &serve->pipe, 0);
  if (code == 0) {
    serve->has_pipe = true;
    serve->open_handles++;
    serve->pipe.data = serve;
    code = uv_pipe_open(&serve->pipe, fd);
  }
  if (code != 0) {
    close(fd);
  } else {
    code = uv_listen((uv_stream_t *)&serve->pipe, LISTEN_BACKLOG, serve_accept);
  }
  return code == 0 ? 0 : status_set(status, NINES_EIO, "cannot listen on %s: %s", path, uv_strerror(code));
}

void listen_unlink(struct serve *serve)
{
  struct stat info;
  if (serve->socket_path && stat(serve->socket_path, &info) == 0 && (uint64_t)info.st_dev == serve->socket_device &&
      (uint64_t)info.st_ino == serve->socket_inode)
    unlink(serve->socket_path);
  mem_free(serve->socket_path);
  serve->socket_path = NULL;
}
