// Which Host and Origin may talk to the engine over TCP.
//
// A page in somebody's browser can make the browser send requests to 127.0.0.1, under a name of its own that it lets
// resolve there (DNS rebinding) or across origins (CSRF). It cannot forge Host and Origin. So a Host must be an address
// that is loopback or the one the peer reached us at, `localhost`, or a name from the configuration, with any port.
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "serve_private.h"

static bool port_valid(struct view port)
{
  if (port.size < 1 || port.size > 5) return false;
  for (size_t i = 0; i < port.size; i++)
    if (port.data[i] < '0' || port.data[i] > '9') return false;
  return true;
}

// Cuts ":port" off; false when what is left or the port cannot be right.
static bool split_port(struct view *host)
{
  const char *end = host->size > 0 && host->data[0] == '[' ? memchr(host->data, ']', host->size) : host->data;
  if (end == NULL) return false;
  const char *colon = memchr(end, ':', host->size - (size_t)(end - host->data));
  if (colon == NULL) return host->size > 0;
  size_t size = (size_t)(colon - host->data);
  if (!port_valid((struct view){ colon + 1, host->size - size - 1 })) return false;
  host->size = size;
  return size > 0;
}

static bool address_allowed(const char *text, const char *address)
{
  struct in_addr v4, own4;
  if (inet_pton(AF_INET, text, &v4) == 1) {
    if ((ntohl(v4.s_addr) >> 24) == 127) return true;
    return inet_pton(AF_INET, address, &own4) == 1 && own4.s_addr == v4.s_addr;
  }
  struct in6_addr v6, own6;
  if (inet_pton(AF_INET6, text, &v6) != 1) return false;
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return true;
  return inet_pton(AF_INET6, address, &own6) == 1 && memcmp(&v6, &own6, sizeof v6) == 0;
}

bool authority_allowed(struct view host, const char *address, char *const *names)
{
  char text[HOST_TEXT_MAX];
  if (host.size >= sizeof text || memchr(host.data ? host.data : "", '\0', host.size) || !split_port(&host))
    return false;
  bool bracketed = host.data[0] == '[';
  if (bracketed) {
    if (host.data[host.size - 1] != ']') return false;
    host = (struct view){ host.data + 1, host.size - 2 };
  }
  memcpy(text, host.data, host.size);
  text[host.size] = '\0';
  if (bracketed != (strchr(text, ':') != NULL)) return false;
  if (address_allowed(text, address) || strcasecmp(text, "localhost") == 0) return true;
  for (; names && *names; names++)
    if (strcasecmp(text, *names) == 0) return true;
  return false;
}

bool origin_allowed(struct view origin, const char *address, char *const *names)
{
  static const char *const schemes[] = { "http://", "https://" };
  for (size_t i = 0; i < 2; i++) {
    size_t size = strlen(schemes[i]);
    if (origin.size > size && strncasecmp(origin.data, schemes[i], size) == 0)
      return authority_allowed((struct view){ origin.data + size, origin.size - size }, address, names);
  }
  return false;
}
