// The project's socket comes first: whoever may write there is trusted, and it is there before any port is known.

#include "cli_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "duration.h"
#include "fetch.h"
#include "json.h"
#include "live.h"
#include "mem.h"
#include "yaml.h"

#define DEFAULT_URL "http://127.0.0.1:9999"
enum { SETTINGS_BYTES_MAX = 1 << 20 };

struct client {
  struct loop *loop;
  struct fetcher *fetcher;
  char *socket; // NULL: TCP
  char *base;   // "http://127.0.0.1:9999"
  char *where;  // for sentences
  struct buf actor;
};

// --- finding

static void take_socket(struct client *client, const char *path)
{
  client->socket = mem_must_copy(path);
  client->base = mem_must_copy("http://localhost");
  client->where = mem_must_copy(path);
}

static void take_url(struct client *client, const char *url)
{
  struct buf base = { 0 };
  buf_printf(&base, "%s%s", strstr(url, "://") ? "" : "http://", url);
  while (base.size > 0 && base.data[base.size - 1] == '/') base.data[--base.size] = '\0';
  client->base = base.data;
  client->where = mem_must_copy(base.data);
}

static void take_named(struct client *client, const char *name)
{
  if (strncmp(name, "unix:", 5) == 0)
    take_socket(client, name + 5);
  else if (!strstr(name, "://") && strchr(name, '/'))
    take_socket(client, name);
  else
    take_url(client, name);
}

static bool take_data(struct client *client, const char *data)
{
  struct buf socket = { 0 };
  buf_printf(&socket, "%s/nines.sock", data);
  bool there = access(socket.data, F_OK) == 0;
  if (there) take_socket(client, socket.data);
  buf_free(&socket);
  return there;
}

// Of a nines.yaml that cannot be read as a whole here, as when a secret is only in the engine's environment.
static bool take_raw_settings(struct client *client)
{
  struct status status = { 0 };
  struct pool pool = { 0 };
  struct value root;
  size_t size;
  char *text = live_read_file("nines.yaml", SETTINGS_BYTES_MAX, &size, &status);
  bool found = false;
  if (text && yaml_parse(&pool, (struct view){ text, size }, "nines.yaml", &root, &status) == 0) {
    struct view data = value_get_text(&root, "data"), listen = value_get_text(&root, "listen");
    found = take_data(client, data.size ? data.data : "nines-data");
    if (!found && listen.size && !strchr(listen.data, '$')) {
      take_url(client, listen.data);
      found = true;
    }
  }
  pool_fini(&pool);
  mem_free(text);
  return found;
}

static bool take_project(struct client *client)
{
  struct settings *settings;
  struct status status = { 0 };
  if (access("nines.yaml", F_OK) != 0) return false;
  if (settings_load(&settings, "", &status) < 0) return take_raw_settings(client);
  bool found = take_data(client, settings->data);
  if (!found && settings->listen) {
    take_url(client, settings->listen);
    found = true;
  }
  settings_free(settings);
  return found;
}

static void name_actor(struct client *client)
{
  const char *user = getenv("USER");
  if (!user || !user[0]) user = getenv("LOGNAME");
  if (!user || !user[0]) return;
  buf_text(&client->actor, "Nines-Actor: ");
  for (int i = 0; user[i] && i < 64; i++) buf_byte(&client->actor, user[i] > ' ' && user[i] < 127 ? user[i] : '_');
}

struct client *client_open(const struct cli *cli)
{
  struct client *client = mem_must(sizeof *client);
  struct status status = { 0 };
  const char *named = cli->engine ? cli->engine : getenv("NINES_ENGINE");
  if (loop_open(&client->loop, &status) < 0) exit(cli_fail(CLI_INTERNAL, "%s", status.text));
  client->fetcher = fetcher_open(client->loop);
  name_actor(client);
  if (named && named[0])
    take_named(client, named);
  else if (!take_project(client))
    take_url(client, DEFAULT_URL);
  return client;
}

void client_close(struct client *client)
{
  fetcher_close(client->fetcher);
  loop_close(client->loop);
  buf_free(&client->actor);
  mem_free(client->socket);
  mem_free(client->base);
  mem_free(client->where);
  mem_free(client);
}

const char *client_where(const struct client *client)
{
  return client->where;
}

// --- asking

void client_add_name(struct buf *path, const char *name)
{
  for (; *name; name++) {
    unsigned char byte = (unsigned char)*name;
    bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                 strchr("-._~", byte);
    if (plain)
      buf_byte(path, *name);
    else
      buf_printf(path, "%%%02X", byte);
  }
}

struct asking {
  struct loop *loop;
  struct client_reply *reply;
  bool done;
};

static void on_reply(void *userdata, const struct fetch_reply *got)
{
  static const char json[] = "json";
  struct asking *asking = userdata;
  struct client_reply *reply = asking->reply;
  struct status ignored = { 0 };
  asking->done = true;
  loop_wake(asking->loop); // an answer that came at once, in the phase of timers, would leave the turn waiting
  reply->code = got->code;
  reply->status = got->status;
  if (got->code < 0) {
    reply->error = mem_must_copy(got->error);
    return;
  }
  buf_add(&reply->text, got->body.data, got->body.size);
  const char *type = got->headers.size ? strcasestr(got->headers.data, "\ncontent-type:") : NULL;
  size_t size = type ? strcspn(type + 1, "\r\n") + 1 : 0;
  if (type && memmem(type, size, json, 4) && !memmem(type, size, "ndjson", 6) &&
      json_parse(&reply->pool, buf_view(&reply->text), &reply->body, &ignored) < 0)
    reply->body = value_nil();
}

int client_try(struct client *client, const char *method, const char *path, const struct value *body,
               int64_t timeout_ns, struct client_reply *reply)
{
  struct buf url = { 0 }, json = { 0 };
  struct status status = { 0 };
  struct asking asking = { client->loop, reply, false };
  struct fetch *fetch;
  *reply = (struct client_reply){ .body = value_nil() };
  buf_printf(&url, "%s%s", client->base, path);
  if (body) value_to_json(body, &json);
  const char *headers[] = { "Content-Type: application/json", client->actor.data, NULL };
  struct fetch_request request = { .method = method,
                                   .url = url.data,
                                   .headers = headers,
                                   .body = buf_view(&json),
                                   .unix_socket = client->socket,
                                   .timeout_ns = timeout_ns,
                                   .reply_bytes_max = 64 << 20 };
  reply->code = fetch_start(client->fetcher, &request, on_reply, &asking, &fetch, &status);
  while (reply->code == 0 && !asking.done)
    if (loop_turn(client->loop, -1) < 0) break;
  if (reply->code < 0 && !reply->error) reply->error = mem_must_copy(status.text);
  buf_free(&url);
  buf_free(&json);
  return reply->code;
}

int client_unreachable(const struct client *client, const struct client_reply *reply)
{
  if (reply->code == NINES_ETIMEOUT)
    return cli_fail(CLI_UNREACHABLE, "the engine at %s does not answer (%s); `nines status` again, or look at its log",
                    client->where, reply->error);
  if (client->socket)
    return cli_fail(CLI_UNREACHABLE, "no engine listens on %s; start it with `nines run`", client->where);
  return cli_fail(CLI_UNREACHABLE,
                  "no engine answers at %s; start one with `nines run DIR`, or say where it is with --engine, "
                  "NINES_ENGINE, or by working in its project's directory",
                  client->where);
}

int client_call(struct client *client, const char *method, const char *path, const struct value *body,
                struct client_reply *reply)
{
  if (client_try(client, method, path, body, 0, reply) < 0) return client_unreachable(client, reply);
  if (reply->status < 400) return CLI_OK;
  struct view detail = value_get_text(&reply->body, "detail");
  int code = reply->status >= 500 && reply->status != 503 ? CLI_INTERNAL : CLI_NO;
  if (detail.size) return cli_fail(code, "%.*s", (int)detail.size, detail.data);
  return cli_fail(code, "%s answered HTTP %d to %s %s; is that a nines engine?", client->where, reply->status, method,
                  path);
}

void client_reply_fini(struct client_reply *reply)
{
  buf_free(&reply->text);
  pool_fini(&reply->pool);
  mem_free(reply->error);
}
