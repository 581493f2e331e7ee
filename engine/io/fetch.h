// HTTP requests to the world, by libcurl's multi interface on the loop. Initialised at the first use.
#ifndef NINES_IO_FETCH_H
#define NINES_IO_FETCH_H

#include <stdint.h>

#include "buf.h"
#include "loop.h"
#include "status.h"

struct fetcher;
struct fetch;

struct fetch_request {
  const char *method;         // NULL: GET, or POST with a body
  const char *url;            // http and https only
  const char *const *headers; // "Name: value" lines, NULL-terminated; NULL: none
  struct view body;
  const char *unix_socket; // path; NULL: TCP
  int64_t timeout_ns;      // 0: 10 s; over everything, name resolution included
  size_t reply_bytes_max;  // 0: 4 MiB
};

struct fetch_reply {
  int code;   // 0, or NINES_ETIMEOUT, NINES_EIO, NINES_ELIMIT
  int status; // HTTP status when code is 0
  struct view body;
  struct view headers; // as received
  const char *error;   // a sentence when code is not 0
};

typedef void fetch_fn(void *userdata, const struct fetch_reply *reply);

struct fetcher *fetcher_open(struct loop *loop);
void fetcher_close(struct fetcher *fetcher); // cancels all; their callbacks do not run
// The callback runs once, later, on the loop's thread. Everything is copied. Limit: 256 under way (NINES_ELIMIT).
int fetch_start(struct fetcher *fetcher, const struct fetch_request *request, fetch_fn *done, void *userdata,
                struct fetch **out, struct status *status);
void fetch_cancel(struct fetch *fetch); // the callback does not run
uint32_t fetch_count(const struct fetcher *fetcher);

#endif
