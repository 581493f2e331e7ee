// The datagram socket that StatsD listens on; private to StatsD.
#ifndef NINES_IO_STATSD_SOCKET_H
#define NINES_IO_STATSD_SOCKET_H

#include <sys/un.h>

#include "status.h"

struct statsd_socket {
  int fd;
  int port; // 0: a Unix socket
  int receive_buffer_bytes;
  char path[sizeof((struct sockaddr_un *)0)->sun_path]; // "" for UDP
};

// `address`: "HOST:PORT", "[::1]:8125", "unix:/path". Non-blocking.
int statsd_socket_open(struct statsd_socket *out, const char *address, int receive_buffer_bytes, struct status *status);
void statsd_socket_close(struct statsd_socket *socket);

#endif
