// HTTP requests by curl's multi interface, driven by the loop: curl says which sockets and which timeout it waits for.
//
// Replies are handed out only after curl has returned, so callbacks may start, cancel or close whatever they like.
// Sentences name scheme and host of a URL, never its path or query: webhook URLs are secrets. Redirects are not
// followed, and only http and https are spoken.
#include "fetch.h"

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "list.h"
#include "loop_uv.h"
#include "mem.h"

enum { FETCHES_MAX = 256, FETCH_HEADER_MAX = 64 << 10, FETCH_REPLY_MAX = 4 << 20, PLACE_MAX = 280 };
#define FETCH_TIMEOUT_NS (10 * NS_PER_S)

struct fetcher {
  struct loop *loop;
  CURLM *multi; // NULL until the first request
  uv_timer_t timer;
  struct list fetches;
  uint32_t count;
  bool closing;
};

struct fetch {
  struct fetcher *fetcher;
  struct list node;
  CURL *easy;
  struct curl_slist *lines;
  struct buf headers, body;
  size_t body_max;
  int64_t timeout_ns;
  bool too_large, finished;
  char place[PLACE_MAX]; // "https://host:port"
  char detail[CURL_ERROR_SIZE];
  fetch_fn *done;
  void *userdata;
};

struct fetch_socket {
  uv_poll_t poll;
  struct fetcher *fetcher;
  curl_socket_t fd;
};

static void fetch_free(struct fetch *fetch)
{
  list_remove(&fetch->node);
  fetch->fetcher->count--;
  curl_multi_remove_handle(fetch->fetcher->multi, fetch->easy);
  curl_easy_cleanup(fetch->easy);
  curl_slist_free_all(fetch->lines);
  buf_free(&fetch->headers);
  buf_free(&fetch->body);
  mem_free(fetch);
}

static void finish(struct fetch *fetch, CURLcode result)
{
  struct fetch_reply reply = { .body = buf_view(&fetch->body), .headers = buf_view(&fetch->headers) };
  char sentence[PLACE_MAX + CURL_ERROR_SIZE + 80], limit[DURATION_TEXT_MAX];
  if (result == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
    reply.status = (int)status;
  } else {
    const char *detail = fetch->detail[0] ? fetch->detail : curl_easy_strerror(result);
    if (fetch->too_large || result == CURLE_FILESIZE_EXCEEDED) {
      reply.code = NINES_ELIMIT;
      snprintf(sentence, sizeof sentence, "the reply of %s is larger than %zu bytes", fetch->place, fetch->body_max);
    } else if (result == CURLE_OPERATION_TIMEDOUT) {
      reply.code = NINES_ETIMEOUT;
      snprintf(sentence, sizeof sentence, "timeout after %s: %s", duration_format(fetch->timeout_ns, limit),
               fetch->place);
    } else {
      reply.code = NINES_EIO;
      snprintf(sentence, sizeof sentence, "%s: %s", fetch->place, detail);
    }
    reply.error = sentence;
  }
  fetch->finished = true;
  // This may run in the timers' phase, before the loop waits: the turn has done something and must not wait any more.
  uv_stop(loop_uv(fetch->fetcher->loop));
  fetch->done(fetch->userdata, &reply);
}

// Hands out what curl has finished. A callback may close the fetcher: it lives on until the loop's next phase.
static void collect(struct fetcher *fetcher)
{
  int left;
  for (CURLMsg *message; !fetcher->closing && (message = curl_multi_info_read(fetcher->multi, &left)) != NULL;) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode result = message->data.result; // the message dies with the next call to curl
    struct fetch *fetch;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch);
    finish(fetch, result);
    if (!fetcher->closing) fetch_free(fetch);
  }
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
  struct fetch_socket *watched = handle->data;
  struct fetcher *fetcher = watched->fetcher;
  int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  curl_multi_socket_action(fetcher->multi, watched->fd, flags, &running);
  collect(fetcher);
}

static void on_timeout(uv_timer_t *handle)
{
  struct fetcher *fetcher = handle->data;
  int running;
  curl_multi_socket_action(fetcher->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  collect(fetcher);
}

static void socket_closed(uv_handle_t *handle)
{
  mem_free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *of_socket)
{
  (void)easy;
  struct fetcher *fetcher = userdata;
  struct fetch_socket *watched = of_socket;
  if (what == CURL_POLL_REMOVE) {
    if (watched == NULL) return 0;
    uv_poll_stop(&watched->poll);
    uv_close((uv_handle_t *)&watched->poll, socket_closed);
    curl_multi_assign(fetcher->multi, fd, NULL);
    return 0;
  }
  if (watched == NULL) {
    watched = mem_must(sizeof *watched);
    watched->fetcher = fetcher;
    watched->fd = fd;
    if (uv_poll_init_socket(loop_uv(fetcher->loop), &watched->poll, fd) != 0) {
      mem_free(watched);
      return -1;
    }
    watched->poll.data = watched;
    curl_multi_assign(fetcher->multi, fd, watched);
  }
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(&watched->poll, events, on_ready) == 0 ? 0 : -1;
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *userdata)
{
  (void)multi;
  struct fetcher *fetcher = userdata;
  if (timeout_ms < 0) {
    uv_timer_stop(&fetcher->timer);
  } else {
    uv_update_time(loop_uv(fetcher->loop)); // libuv counts from its cached time
    uv_timer_start(&fetcher->timer, on_timeout, (uint64_t)timeout_ms, 0);
  }
  return 0;
}

static size_t on_bytes(char *data, size_t one, size_t size, void *userdata)
{
  struct fetch *fetch = userdata;
  (void)one;
  if (size > fetch->body_max - fetch->body.size) {
    fetch->too_large = true;
    return 0;
  }
  buf_add(&fetch->body, data, size);
  return fetch->body.failed ? 0 : size;
}

static size_t on_header(char *data, size_t one, size_t size, void *userdata)
{
  struct fetch *fetch = userdata;
  (void)one;
  if (size > 5 && memcmp(data, "HTTP/", 5) == 0) buf_clear(&fetch->headers); // of the final answer only
  if (size > FETCH_HEADER_MAX - fetch->headers.size) {
    fetch->too_large = true;
    return 0;
  }
  buf_add(&fetch->headers, data, size);
  return fetch->headers.failed ? 0 : size;
}

struct fetcher *fetcher_open(struct loop *loop)
{
  struct fetcher *fetcher = mem_must(sizeof *fetcher);
  fetcher->loop = loop;
  list_init(&fetcher->fetches);
  CHECK(uv_timer_init(loop_uv(loop), &fetcher->timer) == 0);
  fetcher->timer.data = fetcher;
  return fetcher;
}

static bool curl_ready; // written once

static void ready_curl(void)
{
  curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

static bool start_multi(struct fetcher *fetcher)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT; // engines have threads of their own
  pthread_once(&once, ready_curl);
  if (!curl_ready) return false;
  fetcher->multi = curl_multi_init();
  if (fetcher->multi == NULL) return false;
  curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
  curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
  curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
  curl_multi_setopt(fetcher->multi, CURLMOPT_MAXCONNECTS, 64L);
  return true;
}

static void fetcher_closed(uv_handle_t *handle)
{
  mem_free(handle->data);
}

void fetcher_close(struct fetcher *fetcher)
{
  if (fetcher == NULL) return;
  fetcher->closing = true;
  list_each (node, &fetcher->fetches) fetch_free(list_entry(node, struct fetch, node));
  if (fetcher->multi) curl_multi_cleanup(fetcher->multi);
  uv_close((uv_handle_t *)&fetcher->timer, fetcher_closed);
}

// Checks the URL and keeps what may be told of it.
static int take_place(struct fetch *fetch, const char *url, struct status *status)
{
  char *scheme = NULL, *host = NULL, *port = NULL;
  CURLU *parts = curl_url();
  CURLUcode code = parts ? curl_url_set(parts, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
  if (code == CURLUE_OK) code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
  if (code == CURLUE_OK) code = curl_url_get(parts, CURLUPART_HOST, &host, 0);
  if (code == CURLUE_OK) curl_url_get(parts, CURLUPART_PORT, &port, 0); // absent: the scheme's
  int result = 0;
  if (code != CURLUE_OK)
    result = status_set(status, NINES_EINVAL, "not a URL: %s", curl_url_strerror(code));
  else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
    result = status_set(status, NINES_EINVAL, "%s URLs are not fetched; use http or https", scheme);
  else
    snprintf(fetch->place, sizeof fetch->place, "%s://%s%s%s", scheme, host, port ? ":" : "", port ? port : "");
  // A proxy of the environment is for the world outside, not for this machine.
  if (result == 0 && (strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0))
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY, "");
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  curl_url_cleanup(parts);
  return result;
}

static bool add_line(struct fetch *fetch, const char *line)
{
  struct curl_slist *longer = curl_slist_append(fetch->lines, line);
  if (longer) fetch->lines = longer;
  return longer != NULL;
}

static int take_headers(struct fetch *fetch, const char *const *headers, struct status *status)
{
  bool typed = false, added = add_line(fetch, "Expect:"); // asking first would cost a second with many servers
  for (; headers && *headers; headers++) {
    if (strpbrk(*headers, "\r\n") || strchr(*headers, ':') == NULL)
      return status_set(status, NINES_EINVAL, "a header must be one line \"Name: value\"");
    typed = typed || strncasecmp(*headers, "content-type:", 13) == 0;
    added = added && add_line(fetch, *headers);
  }
  if (!typed) added = added && add_line(fetch, "Content-Type:"); // rather none than curl's guess
  return added ? 0 : status_set(status, NINES_ENOMEM, "out of memory");
}

static int take_method(struct fetch *fetch, const struct fetch_request *request, struct status *status)
{
  bool ok = true;
  if (request->body.size > 0) {
    ok = curl_easy_setopt(fetch->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size) == CURLE_OK &&
         curl_easy_setopt(fetch->easy, CURLOPT_COPYPOSTFIELDS, request->body.data) == CURLE_OK;
  } else if (request->method && strcmp(request->method, "POST") == 0) {
    ok = curl_easy_setopt(fetch->easy, CURLOPT_POSTFIELDSIZE, 0L) == CURLE_OK &&
         curl_easy_setopt(fetch->easy, CURLOPT_COPYPOSTFIELDS, "") == CURLE_OK;
  }
  if (ok && request->method) {
    for (const char *c = request->method; *c; c++)
      if (!isupper((unsigned char)*c)) return status_set(status, NINES_EINVAL, "a method is written in capitals");
    if (strcmp(request->method, "HEAD") == 0 && request->body.size == 0)
      ok = curl_easy_setopt(fetch->easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    else if (request->method[0])
      ok = curl_easy_setopt(fetch->easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
  }
  return ok ? 0 : status_set(status, NINES_ENOMEM, "out of memory");
}

static int prepare(struct fetch *fetch, const struct fetch_request *request, struct status *status)
{
  CURL *easy = fetch->easy;
  if (easy == NULL) return status_set(status, NINES_ENOMEM, "out of memory");
  int code = take_place(fetch, request->url, status);
  if (code == 0) code = take_headers(fetch, request->headers, status);
  if (code == 0) code = take_method(fetch, request, status);
  if (code != 0) return code;
  bool ok = curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_USERAGENT, "nines/" NINES_VERSION) == CURLE_OK;
  if (ok && request->unix_socket)
    ok = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket) == CURLE_OK;
  if (!ok) return status_set(status, NINES_EINVAL, "this libcurl cannot fetch %s", fetch->place);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->lines);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)((fetch->timeout_ns + NS_PER_MS - 1) / NS_PER_MS));
  curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->body_max);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->detail);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, fetch);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
  return 0;
}

int fetch_start(struct fetcher *fetcher, const struct fetch_request *request, fetch_fn *done, void *userdata,
                struct fetch **out, struct status *status)
{
  if (out) *out = NULL;
  if (fetcher->count >= FETCHES_MAX)
    return status_set(status, NINES_ELIMIT, "%d requests are under way already", FETCHES_MAX);
  if (fetcher->multi == NULL && !start_multi(fetcher))
    return status_set(status, NINES_ENOMEM, "libcurl does not start");
  struct fetch *fetch = mem_must(sizeof *fetch);
  fetch->fetcher = fetcher;
  fetch->done = done;
  fetch->userdata = userdata;
  fetch->timeout_ns = request->timeout_ns > 0 ? request->timeout_ns : FETCH_TIMEOUT_NS;
  fetch->body_max = request->reply_bytes_max ? request->reply_bytes_max : FETCH_REPLY_MAX;
  fetch->easy = curl_easy_init();
  list_append(&fetcher->fetches, &fetch->node);
  fetcher->count++;
  int code = prepare(fetch, request, status);
  if (code == 0 && curl_multi_add_handle(fetcher->multi, fetch->easy) != CURLM_OK)
    code = status_set(status, NINES_EIO, "cannot start a request to %s", fetch->place);
  if (code != 0) {
    fetch_free(fetch);
    return code;
  }
  if (out) *out = fetch;
  return 0;
}

void fetch_cancel(struct fetch *fetch)
{
  if (fetch && !fetch->finished) fetch_free(fetch);
}

uint32_t fetch_count(const struct fetcher *fetcher)
{
  return fetcher->count;
}
