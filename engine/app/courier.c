// From a message and the settings of its notifier to one HTTP request or one process, and from what came of that to one
// of three verdicts.
//
// A delivery is held in a list until it ended, so that closing leaves nothing behind. What fails before anything was
// sent is told by a timer of zero length: the engine hears of every outcome as an input of a later turn, never from
// within the turn that asked.

#include "courier.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "list.h"
#include "mem.h"
#include "nearest.h"
#include "payload.h"

enum { WHY_MAX = 300, SHOWN_MAX = 120, ID_TEXT_MAX = 80, RETRY_AFTER_MAX_S = 3600 };

struct courier {
  struct loop *loop;
  struct fetcher *fetcher;
  struct commander *commander;
  courier_fn *done;
  void *userdata;
  struct list deliveries;
};

struct delivery {
  struct list node;
  struct courier *courier;
  uint64_t op;
  char *notifier;
  bool starting; // within courier_deliver
  struct loop_timer *timer;
  int code;
  char why[WHY_MAX];
};

struct courier *courier_open(struct loop *loop, struct fetcher *fetcher, struct commander *commander, courier_fn *done,
                             void *userdata)
{
  struct courier *courier = mem_must(sizeof *courier);
  *courier = (struct courier){ .loop = loop, .fetcher = fetcher, .commander = commander, .done = done };
  courier->userdata = userdata;
  list_init(&courier->deliveries);
  return courier;
}

static void delivery_free(struct delivery *delivery)
{
  list_remove(&delivery->node);
  if (delivery->timer) loop_timer_stop(delivery->timer);
  mem_free(delivery->notifier);
  mem_free(delivery);
}

void courier_close(struct courier *courier)
{
  if (!courier) return;
  list_each (node, &courier->deliveries) delivery_free(list_entry(node, struct delivery, node));
  mem_free(courier);
}

static void tell(struct delivery *delivery)
{
  struct courier *courier = delivery->courier;
  courier->done(courier->userdata, delivery->op, delivery->code, delivery->why);
  delivery_free(delivery);
}

static void on_timer(void *userdata)
{
  struct delivery *delivery = userdata;
  delivery->timer = NULL; // freed by the loop
  tell(delivery);
}

static void end(struct delivery *delivery, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void end(struct delivery *delivery, int code, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(delivery->why, sizeof delivery->why, format, arguments);
  va_end(arguments);
  delivery->code = code;
  if (delivery->starting)
    delivery->timer = loop_after(delivery->courier->loop, 0, on_timer, delivery);
  else
    tell(delivery);
}

// Foreign text for a sentence: its beginning, control characters as spaces, other than ASCII as ?.
static const char *shown(struct view text, char out[static SHOWN_MAX])
{
  size_t size = text.size < SHOWN_MAX - 1 ? text.size : SHOWN_MAX - 1;
  for (size_t i = 0; i < size; i++) {
    unsigned char byte = (unsigned char)text.data[i];
    out[i] = byte < ' ' || byte == 127 ? ' ' : byte > 127 ? '?' : (char)byte;
  }
  while (size && out[size - 1] == ' ') size--;
  out[size] = '\0';
  return out;
}

// --- HTTP

static bool is_final(int http_status)
{
  return http_status >= 400 && http_status < 500 && http_status != 408 && http_status != 425 && http_status != 429;
}

// Seconds that a busy notifier asks to be left alone; 0: none, or a date.
static long retry_after_s(const struct fetch_reply *reply)
{
  static const char name[] = "\nretry-after:";
  size_t size = sizeof name - 1;
  long seconds = 0;
  if (reply->status != 429 && reply->status != 503) return 0;
  for (size_t i = 0; i + size < reply->headers.size; i++) {
    const char *at = reply->headers.data + i, *end = reply->headers.data + reply->headers.size;
    if (strncasecmp(at, name, size) != 0) continue;
    for (at += size; at < end && *at == ' ';) at++;
    for (; at < end && *at >= '0' && *at <= '9' && seconds < RETRY_AFTER_MAX_S; at++)
      seconds = seconds * 10 + (*at - '0');
    return seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S;
  }
  return 0;
}

static void on_reply(void *userdata, const struct fetch_reply *reply)
{
  struct delivery *delivery = userdata;
  char text[SHOWN_MAX], wait[40] = "";
  if (reply->code != 0) {
    end(delivery, NINES_EIO, "no answer from %s: %s", delivery->notifier, reply->error);
    return;
  }
  shown(reply->body, text);
  long seconds = retry_after_s(reply);
  if (seconds > 0) snprintf(wait, sizeof wait, "retry after %lds: ", seconds);
  bool fine = reply->status >= 200 && reply->status < 300;
  end(delivery,
      fine                      ? 0
      : is_final(reply->status) ? NINES_EINVAL
                                : NINES_EIO,
      "%s%s answered %d%s%s", wait, delivery->notifier, reply->status, text[0] ? ": " : "", text);
}

static void add_path(struct buf *url, const char *path)
{
  while (url->size && url->data[url->size - 1] == '/') url->data[--url->size] = '\0';
  buf_text(url, path);
}

static void send_http(struct delivery *delivery, const struct notifier_settings *notifier, const char *public_url,
                      const struct message *message)
{
  struct buf url = { 0 }, body = { 0 }, extra = { 0 };
  const char *headers[4] = { "Content-Type: application/json", "User-Agent: nines/" NINES_VERSION };
  buf_text(&url, notifier->url);
  switch (notifier->type) {
  case NOTIFIER_ALERTMANAGER:
    add_path(&url, "/api/v2/alerts");
    payload_alertmanager(message, public_url, &body);
    break;
  case NOTIFIER_PAGERDUTY:
    payload_pagerduty(message, notifier->secret, public_url, &body);
    break;
  case NOTIFIER_SLACK:
    payload_slack(message, public_url, &body);
    break;
  case NOTIFIER_DATADOG:
    add_path(&url, "/api/v1/events");
    payload_datadog(message, public_url, &body);
    buf_printf(&extra, "DD-API-KEY: %s", notifier->secret);
    break;
  default:
    payload_webhook(message, public_url, &body);
    if (notifier->secret && !body.failed)
      payload_signature(notifier->secret, message->wall_ns, buf_view(&body), &extra);
  }
  if (extra.size) headers[2] = extra.data;
  struct fetch_request request = {
    .method = "POST", .url = url.data, .headers = headers, .body = buf_view(&body), .timeout_ns = notifier->timeout_ns
  };
  struct status status = { 0 };
  struct fetch *fetch;
  if (url.failed || body.failed || extra.failed)
    end(delivery, NINES_EIO, "out of memory for the message to %s", notifier->name);
  else if (fetch_start(delivery->courier->fetcher, &request, on_reply, delivery, &fetch, &status) < 0)
    end(delivery, status.code == NINES_EINVAL ? NINES_EINVAL : NINES_EIO, "%s cannot be asked: %s", notifier->name,
        status.text);
  buf_free(&url);
  buf_free(&body);
  buf_free(&extra);
}

// --- commands

static void on_command(void *userdata, const char *id, const struct command_result *result)
{
  struct delivery *delivery = userdata;
  char described[WHY_MAX / 2], text[SHOWN_MAX];
  bool fine = result->end == COMMAND_EXITED && result->status == 0;
  shown(result->output, text);
  command_describe(result, described, sizeof described);
  command_forget(delivery->courier->commander, id); // the next attempt has the same name
  end(delivery, fine ? 0 : NINES_EIO, "the command of %s %s%s%s", delivery->notifier, described, text[0] ? ": " : "",
      text);
}

static void run_command(struct delivery *delivery, const struct settings *settings,
                        const struct notifier_settings *notifier, const char *public_url, const struct message *message)
{
  struct commander *commander = delivery->courier->commander;
  struct buf body = { 0 };
  payload_webhook(message, public_url, &body);
  buf_byte(&body, '\n');
  if (body.failed) {
    end(delivery, NINES_EIO, "out of memory for the message to %s", notifier->name);
    buf_free(&body);
    return;
  }
  // With the time, in case that a new store counts its letters from one again beside the old commands.
  char id[ID_TEXT_MAX];
  snprintf(id, sizeof id, "letter-%s-%lld", message->id, (long long)message->started_wall_ns);
  struct command command = { .id = id,
                             .argv = notifier->argv,
                             .dir = settings->dir[0] ? settings->dir : NULL,
                             .input = buf_view(&body),
                             .timeout_ns = notifier->timeout_ns };
  struct status status = { 0 };
  int code = command_start(commander, &command, on_command, delivery, &status);
  if (code == NINES_EEXISTS)
    command_resume(commander, id, on_command, delivery);
  else if (code < 0)
    end(delivery, code == NINES_EINVAL ? NINES_EINVAL : NINES_EIO, "%s", status.text);
  buf_free(&body);
}

// ---

static void refuse_unknown(struct delivery *delivery, const struct settings *settings)
{
  struct nearest nearest;
  nearest_init(&nearest, view_of(delivery->notifier));
  for (uint32_t i = 0; i < settings->notifier_count; i++) nearest_try(&nearest, settings->notifiers[i].name);
  char text[SHOWN_MAX];
  end(delivery, NINES_EINVAL, "nines.yaml has no notifier %s%s%s%s", shown(view_of(delivery->notifier), text),
      nearest.best ? " (did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?)" : "");
}

void courier_deliver(struct courier *courier, const struct settings *settings, uint64_t op,
                     const struct message *message)
{
  struct delivery *delivery = mem_must(sizeof *delivery);
  *delivery = (struct delivery){ .courier = courier, .op = op, .starting = true };
  delivery->notifier = mem_must_copy(message->notifier);
  list_append(&courier->deliveries, &delivery->node);
  const struct notifier_settings *notifier = settings_notifier(settings, message->notifier);
  struct buf own_url = { 0 };
  const char *public_url = settings->public_url;
  if (!public_url && settings->listen) {
    buf_printf(&own_url, "http://%s", settings->listen);
    public_url = own_url.data;
  }
  if (!notifier)
    refuse_unknown(delivery, settings);
  else if (notifier->type == NOTIFIER_COMMAND)
    run_command(delivery, settings, notifier, public_url, message);
  else
    send_http(delivery, notifier, public_url, message);
  buf_free(&own_url);
  delivery->starting = false; // it is still there: nothing ends before this
}
