// Opening where packets arrive, with as big a queue as the system gives: what the thread cannot take at once waits
// there, and what does not fit is lost.
#include "statsd_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECEIVE_BUFFER_DEFAULT = 8 << 20, HOST_MAX = 255 };

static int failed(struct statsd_socket *out, struct status *status, const char *address, const char *what)
{
  int error = errno;
  if (out->fd >= 0) close(out->fd);
  out->fd = -1;
  const char *remedy = error == EADDRINUSE ? "; another process listens there: stop it or choose another port" : "";
  int code = error == EADDRINUSE ? NINES_EBUSY : error == EACCES ? NINES_EDENIED : NINES_EIO;
  return status_set(status, code, "statsd: %s: %s: %s%s", address, what, strerror(error), remedy);
}

static int open_unix(struct statsd_socket *out, const char *address, struct status *status)
{
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  const char *path = address + strlen("unix:");
  size_t size = strlen(path);
  if (size == 0 || size >= sizeof name.sun_path) {
    return status_set(status, NINES_EINVAL, "statsd: %s: a socket's path has 1 to %zu bytes", address,
                      sizeof name.sun_path - 1);
  }
  memcpy(name.sun_path, path, size + 1);
  out->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (out->fd < 0) return failed(out, status, address, "socket");
  // A socket that nobody reads any more, left by a kill, is in the way; one that answers is not ours to take, nor is a
  // file of another kind.
  struct stat info;
  if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) {
    if (connect(out->fd, (struct sockaddr *)&name, sizeof name) == 0) {
      errno = EADDRINUSE;
      return failed(out, status, address, "bind");
    }
    if (errno == ECONNREFUSED) unlink(path);
  }
  if (bind(out->fd, (struct sockaddr *)&name, sizeof name) != 0) return failed(out, status, address, "bind");
  memcpy(out->path, path, size + 1);
  if (chmod(path, 0666) != 0) { // as open as a UDP port of this host
    failed(out, status, address, "chmod");
    unlink(path);
    return NINES_EIO;
  }
  return 0;
}

static int open_udp(struct statsd_socket *out, const char *address, struct status *status)
{
  char host[HOST_MAX + 1];
  const char *colon = strrchr(address, ':');
  size_t size = colon != NULL ? (size_t)(colon - address) : 0;
  if (size == 0 || size > HOST_MAX || colon[1] == '\0') {
    return status_set(status, NINES_EINVAL,
                      "statsd: \"%s\" is no address; write HOST:PORT as 127.0.0.1:8125, or unix:/path", address);
  }
  bool brackets = address[0] == '[' && colon[-1] == ']';
  snprintf(host, sizeof host, "%.*s", (int)(brackets ? size - 2 : size), address + brackets);
  struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *found;
  int error = getaddrinfo(host, colon + 1, &hints, &found);
  if (error != 0) return status_set(status, NINES_EINVAL, "statsd: %s: %s", address, gai_strerror(error));
  out->fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool bound = out->fd >= 0 && bind(out->fd, found->ai_addr, found->ai_addrlen) == 0;
  freeaddrinfo(found);
  if (!bound) return failed(out, status, address, "bind");
  struct sockaddr_storage name = { 0 };
  socklen_t name_size = sizeof name;
  if (getsockname(out->fd, (struct sockaddr *)&name, &name_size) != 0) return failed(out, status, address, "name");
  in_port_t port =
      name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port : ((struct sockaddr_in *)&name)->sin_port;
  out->port = ntohs(port);
  return 0;
}

int statsd_socket_open(struct statsd_socket *out, const char *address, int receive_buffer_bytes, struct status *status)
{
  *out = (struct statsd_socket){ .fd = -1 };
  bool is_unix = strncmp(address, "unix:", strlen("unix:")) == 0;
  int code = is_unix ? open_unix(out, address, status) : open_udp(out, address, status);
  if (code != 0) return code;
  int want = receive_buffer_bytes > 0 ? receive_buffer_bytes : RECEIVE_BUFFER_DEFAULT;
  socklen_t size = sizeof want;
  if (setsockopt(out->fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, size) != 0)
    setsockopt(out->fd, SOL_SOCKET, SO_RCVBUF, &want, size); // at most net.core.rmem_max; the figure got is reported
  getsockopt(out->fd, SOL_SOCKET, SO_RCVBUF, &out->receive_buffer_bytes, &size);
  return 0;
}

void statsd_socket_close(struct statsd_socket *socket)
{
  if (socket->fd >= 0) close(socket->fd);
  if (socket->path[0] != '\0') unlink(socket->path);
}
