// A host does the effects of a project: the ledger, crashes, recordings; several projects at once.

#include "embed_host.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "recording.h"
#include "replay.h"

static const char settings[] = "listen: off\n"
                               "data: ./data\n"
                               "services:\n"
                               "  shop: { tier: front }\n"
                               "notify:\n"
                               "  pager: { alertmanager: { url: 'http://127.0.0.1:1', timeout: 3s } }\n";
static const char policy[] = "local checkout = critical_path 'checkout' { service = 'shop', success_rate = 99.9,\n"
                             "  window = '5s', recovery_window = '1s', severity = 'P0' }\n"
                             "checkout:on('breached', function(breach)\n"
                             "  page { title = breach.summary }\n"
                             "  local listing = exec { 'ls', '-l' }\n"
                             "  local deploy = checkout.service:deployed_within('10m')\n"
                             "  if deploy then log.info('end', deploy:rollback(listing.output)) end\n"
                             "end)\n";

static void put(const char *dir, const char *name, const char *text)
{
  char path[200];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void make_project(char dir[static 40])
{
  char path[200];
  snprintf(dir, 40, "/tmp/nines-embed-spec-XXXXXX");
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/policies", dir);
  assert_int_equal(0, mkdir(path, 0700));
  put(dir, "nines.yaml", settings);
  put(dir, "policies/checkout.lua", policy);
}

static void remove_project(const char *dir)
{
  char command[200];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  assert_int_equal(0, system(command));
}

static void begin_outage(struct host *host)
{
  assert_int_equal(0, nines_deployed(host->engine, "shop", "v1"));
  assert_int_equal(0, nines_deployed(host->engine, "shop", "v2"));
  host_traffic(host, "checkout", 1, NS_PER_S);
  host_traffic(host, "checkout", 0, NS_PER_S);
}

static const struct asked *last(const struct host *host, const char *kind)
{
  for (uint32_t i = host->asked_count; i-- > 0;)
    if (strcmp(host->asked[i].kind, kind) == 0) return &host->asked[i];
  return NULL;
}

// --- crashes

// A process that dies in the midst of the first effect of a kind; its id.
struct dying {
  struct host host;
  const char *kind;
  int pipe;
};

static int die_at(void *userdata, const nines_effect *effect)
{
  struct dying *dying = userdata;
  if (strcmp(effect->kind, dying->kind) != 0) return nines_effect_done(dying->host.engine, effect->id, 0, "fine");
  if (write(dying->pipe, effect->id, strlen(effect->id) + 1) < 0) _exit(1);
  _exit(0); // as good as a SIGKILL: nothing is stored or flushed any more
}

static void live_and_die(const char *dir, const char *kind, char id[static 32])
{
  int ends[2], status;
  assert_int_equal(0, pipe(ends));
  pid_t child = fork();
  if (child == 0) {
    static struct dying dying;
    nines_config config = host_config(&dying.host);
    dying.kind = kind;
    dying.pipe = ends[1];
    config.dir = dir;
    config.on_effect = die_at;
    host_open(&dying.host, &config);
    begin_outage(&dying.host);
    _exit(1);
  }
  assert_int_equal(child, waitpid(child, &status, 0));
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_true(read(ends[0], id, 32) > 1);
  close(ends[0]);
  close(ends[1]);
}

static void open_again(struct host *host, const char *dir)
{
  nines_config config = host_config(host);
  config.dir = dir;
  host->clock.now_ns = NS_PER_MIN;
  host_open(host, &config);
  host_run(host, 5 * NS_PER_S);
}

static void test_page_after_crash(void **state)
{
  (void)state;
  char dir[40], id[32];
  struct host host;
  make_project(dir);
  live_and_die(dir, "page", id);
  open_again(&host, dir);
  const struct asked *page = last(&host, "page");
  assert_non_null(page);
  assert_string_equal(id, page->id);
  assert_string_equal("pager", page->target);
  assert_int_equal(3 * NS_PER_S, page->timeout_ns);
  // Not repeated each minute, as it would be for Alertmanager.
  assert_int_equal(0, nines_effect_done(host.engine, id, 0, NULL));
  host_step(&host);
  uint32_t before = host.asked_count;
  host_run(&host, 90 * NS_PER_S);
  for (uint32_t i = before; i < host.asked_count; i++) assert_string_not_equal(id, host.asked[i].id);
  host_close(&host);
  remove_project(dir);
}

// The last answer before the end counts: the next life does not ask again.
static void test_answer_before_close(void **state)
{
  (void)state;
  char dir[40], id[32];
  struct host host;
  make_project(dir);
  nines_config config = host_config(&host);
  config.dir = dir;
  host_open(&host, &config);
  begin_outage(&host);
  const struct asked *page = last(&host, "page");
  assert_non_null(page);
  snprintf(id, sizeof id, "%s", page->id);
  assert_int_equal(0, nines_effect_done(host.engine, id, 0, NULL));
  host_close(&host);
  open_again(&host, dir);
  for (uint32_t i = 0; i < host.asked_count; i++) assert_string_not_equal(id, host.asked[i].id);
  host_close(&host);
  remove_project(dir);
}

static void test_rollback_after_crash(void **state)
{
  (void)state;
  char dir[40], id[32];
  struct host host;
  make_project(dir);
  live_and_die(dir, "rollback", id);
  open_again(&host, dir);
  const struct asked *rollback = last(&host, "rollback");
  assert_non_null(rollback); // the ledger had it before the host heard of it
  assert_string_equal(id, rollback->id);
  assert_int_equal(1, rollback->resumed);
  assert_null(last(&host, "current"));
  assert_int_equal(0, nines_effect_done(host.engine, id, NINES_ENOTFOUND, NULL));
  host_run(&host, BEAT_NS);
  host_run(&host, BEAT_NS);
  const struct asked *current = last(&host, "current");
  assert_non_null(current);
  assert_string_equal("shop", current->target);
  assert_int_equal(0, nines_effect_done(host.engine, current->id, 0, "v1\n"));
  host_run(&host, NS_PER_S);
  assert_true(host_heard(&host, "deploy.rolled_back shop"));
  host_close(&host);
  // And that is the end of it, in every later life.
  open_again(&host, dir);
  assert_null(last(&host, "rollback"));
  host_close(&host);
  remove_project(dir);
}

static void test_command_after_crash(void **state)
{
  (void)state;
  char dir[40], id[32];
  struct host host;
  make_project(dir);
  live_and_die(dir, "exec", id);
  open_again(&host, dir);
  const struct asked *command = last(&host, "exec");
  assert_non_null(command);
  assert_string_equal(id, command->id);
  assert_int_equal(1, command->resumed);
  assert_string_equal("ls -l", command->subject);
  host_close(&host);
  remove_project(dir);
}

// --- replay

static int answer_all(void *userdata, const nines_effect *effect)
{
  struct host *host = userdata;
  bool page = strcmp(effect->kind, "page") == 0, again = effect->attempt > 1;
  host_effect(userdata, effect);
  return nines_effect_done(host->engine, effect->id, page && !again ? NINES_EIO : 0, page ? "busy" : "a listing");
}

static void test_replay(void **state)
{
  (void)state;
  char dir[40], path[200];
  struct host host;
  make_project(dir);
  nines_config config = host_config(&host);
  config.dir = dir;
  config.on_effect = answer_all;
  host_open(&host, &config);
  begin_outage(&host);
  host_traffic(&host, "checkout", 1, 10 * NS_PER_S);
  assert_true(host_heard(&host, "deploy.rolled_back shop"));
  assert_true(host_heard(&host, "notify.retrying pager"));
  assert_true(host_heard(&host, "notify.delivered pager"));
  host_close(&host);
  struct replay_result result;
  struct status status = { 0 };
  struct settings *read;
  snprintf(path, sizeof path, "%s/data/recording", dir);
  assert_int_equal(0, settings_load(&read, dir, &status));
  assert_int_equal(0, replay_run(&(struct replay_config){ .recording = path, .settings = read }, &result, &status));
  settings_free(read);
  if (result.parted) print_error("decision %llu: %s\n", (unsigned long long)result.parted_at, result.parted_text);
  assert_false(result.parted);
  assert_true(result.decisions >= 10);
  assert_int_equal(result.recorded_decisions, result.decisions);
  remove_project(dir);
}

// What the host has loaded by itself is repeated where a new segment begins.
static void test_segments(void **state)
{
  (void)state;
  char dir[40], path[200];
  struct host host;
  make_project(dir);
  nines_config config = host_config(&host);
  config.dir = dir;
  host_open(&host, &config);
  host_load(&host, "own.lua", "every('1s', function() log.info 'tick' end)\n");
  host_run(&host, NS_PER_S);
  host.clock.now_ns += NS_PER_H;
  host_run(&host, NS_PER_S);
  host_close(&host);
  snprintf(path, sizeof path, "%s/data/recording", dir);
  struct recording *recording;
  struct status status = { 0 };
  struct input_clock clock;
  uint8_t kind;
  struct view payload;
  bool starts = false;
  uint32_t segments = 0, told = 0;
  assert_int_equal(0, recording_open(&recording, path, "beats", &status));
  while (recording_next(recording, &kind, &payload, &starts, &status) > 0) {
    struct input input;
    if (starts) clock = (struct input_clock){ 0 };
    segments += starts;
    if (kind == RECORDED_EVENT) continue;
    assert_int_equal(0, input_decode(kind, payload, &clock, &input, &status));
    if (kind == INPUT_SOURCE && view_is(input.name, "own.lua")) told++;
  }
  recording_close(recording);
  assert_true(segments >= 2);
  assert_int_equal(segments, told);
  remove_project(dir);
}

// --- several

struct worker {
  char dir[40];
  uint64_t hash;
  uint32_t asked;
};

static void *work(void *userdata)
{
  struct worker *worker = userdata;
  struct host host;
  nines_config config = host_config(&host);
  config.dir = worker->dir;
  config.clock = NULL; // beats, stores and descriptors as they are in earnest
  config.on_effect = answer_all;
  host_open(&host, &config);
  assert_int_equal(0, nines_deployed(host.engine, "shop", "v1"));
  assert_int_equal(0, nines_deployed(host.engine, "shop", "v2"));
  nines_path *path;
  assert_int_equal(0, nines_path_get(host.engine, "checkout", &path));
  int64_t end_ns = clock_now_ns() + 20 * NS_PER_S;
  while (!host_heard(&host, "deploy.rolled_back shop") && clock_now_ns() < end_ns) {
    for (int i = 0; i < 10; i++) nines_path_record(path, 0, NS_PER_MS);
    assert_int_equal(0, nines_turn(host.engine, 10 * NS_PER_MS));
  }
  assert_true(host_heard(&host, "deploy.rolled_back shop"));
  worker->asked = host.asked_count;
  nines_stop(host.engine);
  while (nines_turn(host.engine, 10 * NS_PER_MS) == 0) continue;
  host_close(&host);
  return NULL;
}

static void test_two_threads(void **state)
{
  (void)state;
  struct worker workers[2] = { 0 };
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) make_project(workers[i].dir);
  for (int i = 0; i < 2; i++) assert_int_equal(0, pthread_create(&threads[i], NULL, work, &workers[i]));
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
    assert_true(workers[i].asked >= 3);
    remove_project(workers[i].dir);
  }
}

static void test_one_directory(void **state)
{
  (void)state;
  char dir[40], error[300];
  struct host host;
  nines *second;
  make_project(dir);
  nines_config config = host_config(&host);
  config.dir = dir;
  host_open(&host, &config);
  assert_int_equal(NINES_EBUSY, nines_open(&second, &config, error, sizeof error));
  assert_null(second);
  host_run(&host, NS_PER_S); // the first one is none the worse
  host_close(&host);
  host_open(&host, &config);
  host_close(&host);
  remove_project(dir);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_page_after_crash),
    cmocka_unit_test(test_answer_before_close),
    cmocka_unit_test(test_rollback_after_crash),
    cmocka_unit_test(test_command_after_crash),
    cmocka_unit_test(test_replay),
    cmocka_unit_test(test_segments),
    cmocka_unit_test(test_two_threads),
    cmocka_unit_test(test_one_directory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
