// Payments and inventory: they wait a few milliseconds, as if they worked, and answer. A version of payments with
// --failing 0.5 refuses every other payment: the bad deploy of the demo. With --workers N only so many requests are
// worked on at once, 20 ms each; the others wait their turn, however long, as in most servers, and are worked on even
// when whoever asked has given up.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "shop.h"

enum { WORK_MS = 20 };

struct backend {
  const struct options *options;
  uv_loop_t loop;
  struct server *server;
  uint64_t random;
  int working;
  struct job *first, **last; // who wait
};

struct job {
  struct backend *backend;
  struct job *next;
  uv_timer_t timer;
  struct request *request;
  int status;
  char json[96];
};

// 0 to 1, by xorshift.
static double draw(struct backend *backend)
{
  backend->random ^= backend->random << 13;
  backend->random ^= backend->random >> 7;
  backend->random ^= backend->random << 17;
  return (double)(backend->random >> 11) / 9007199254740992.0;
}

static void on_job_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_job_done(uv_timer_t *timer);

static void work(struct job *job, uint64_t ms)
{
  job->backend->working++;
  uv_timer_start(&job->timer, on_job_done, ms, 0);
}

static void on_job_done(uv_timer_t *timer)
{
  struct job *job = timer->data;
  struct backend *backend = job->backend;
  server_reply(job->request, job->status, job->json);
  uv_close((uv_handle_t *)timer, on_job_closed);
  backend->working--;
  struct job *next = backend->first;
  if (!next) return;
  backend->first = next->next;
  if (!backend->first) backend->last = &backend->first;
  work(next, WORK_MS);
}

static void handle(void *userdata, struct request *request)
{
  struct backend *backend = userdata;
  const char *version = backend->options->version;
  struct job *job = calloc(1, sizeof *job);
  bool health = strcmp(request_path(request), "/healthz") == 0;
  if (!job || health) {
    char json[96];
    snprintf(json, sizeof json, "{\"version\":\"%.40s\"}", version);
    server_reply(request, job ? 200 : 503, json);
    free(job);
    return;
  }
  bool fails = draw(backend) < backend->options->failing;
  job->request = request;
  job->status = fails ? 500 : 200;
  snprintf(job->json, sizeof job->json, "{\"version\":\"%.40s\",\"ok\":%s}", version, fails ? "false" : "true");
  job->timer.data = job;
  uv_timer_init(&backend->loop, &job->timer);
  job->backend = backend;
  if (!backend->options->workers) {
    work(job, 3 + (uint64_t)(draw(backend) * 12));
  } else if (backend->working < backend->options->workers) {
    work(job, WORK_MS);
  } else {
    *backend->last = job;
    backend->last = &job->next;
  }
}

static void over(void *userdata)
{
  server_drain(((struct backend *)userdata)->server);
}

// --background: this process ends, with status 0, when the new one listens.
static void go_to_background(int *ready_fd)
{
  int ends[2];
  char byte;
  if (pipe(ends) != 0) exit(shop_fail("pipe", UV_EMFILE));
  pid_t pid = fork();
  if (pid < 0) exit(shop_fail("fork", UV_EAGAIN));
  if (pid > 0) {
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
  }
  setsid();
  close(ends[0]);
  *ready_fd = ends[1];
}

// In one step, so that nobody reads half a number.
static int write_pid(const char *path)
{
  char fresh[512];
  snprintf(fresh, sizeof fresh, "%s.%d", path, (int)getpid());
  FILE *file = fopen(fresh, "we");
  if (!file) return -1;
  fprintf(file, "%d\n", (int)getpid());
  return fclose(file) == 0 ? rename(fresh, path) : -1;
}

int backend_run(const struct options *options)
{
  struct backend backend = { .options = options };
  backend.last = &backend.first;
  int ready_fd = -1;
  if (options->background) go_to_background(&ready_fd);
  backend.random = 0x9e3779b97f4a7c15 ^ (uint64_t)getpid() << 20;
  uv_loop_init(&backend.loop);
  int code = server_open(&backend.server, &backend.loop, options->port, true, handle, &backend);
  if (code != 0) return shop_fail("cannot listen", code);
  if (options->pid_file && write_pid(options->pid_file) != 0) {
    perror(options->pid_file);
    return 1;
  }
  life_watch(&backend.loop, over, &backend);
  if (ready_fd >= 0) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    (void)!write(ready_fd, "", 1);
    close(ready_fd);
  }
  uv_run(&backend.loop, UV_RUN_DEFAULT);
  life_end(&backend.loop);
  server_free(backend.server);
  return 0;
}
