// A recorded live run replays to the same decisions; another policy parts from it, and the replay says where.

#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "duration.h"
#include "live.h"
#include "path.h"
#include "replay.h"

static const char config[] = "listen: off\n"
                             "data: ./data\n"
                             "services:\n"
                             "  shop: { deploy: { command: [\"./deploy.sh\"] } }\n"
                             "notify:\n"
                             "  local: { command: [\"./page.sh\"] }\n"
                             "routes: [{ to: [local] }]\n";
static const char script[] = "#!/bin/sh\ncat > /dev/null\n";
static const char policy[] =
    "local checkout = critical_path 'checkout' { service = 'shop', success_rate = 99.9, window = '5s',\n"
    "  recovery_window = '1s', severity = 'P0' }\n"
    "local state = keep { breaches = 0 }\n"
    "checkout:on('breached', function(breach)\n"
    "  state.breaches = state.breaches + 1\n"
    "  local deploy = checkout.service:deployed_within('10m')\n"
    "  if deploy and deploy:rollback(breach.summary) and checkout:recovers_within('20s') then\n"
    "    return notify { title = 'rolled back ' .. deploy.version }\n"
    "  end\n"
    "  page { title = breach.summary }\n"
    "end)\n"
    "every('300ms', function() checkout:record('5ms', true) end)\n"
    "every('200ms', function() log.debug('requests', checkout:requests(), math.random()) end)\n";
static const char calmer[] = "critical_path 'checkout' { service = 'shop', success_rate = 20, window = '5s' }\n";

static char dir[] = "/tmp/nines-replay-spec-XXXXXX";

static void put(const char *name, const char *text, mode_t mode)
{
  char path[200];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  chmod(path, mode);
}

static void quiet(void *userdata, const char *level, const char *text)
{
  (void)userdata;
  (void)level;
  (void)text;
}

static bool breached(struct live *live)
{
  return path_find(live->engine, "checkout")->state->breached;
}

// Traffic at 200/s until `done`, or until the time is up.
static bool drive(struct live *live, bool ok, int64_t limit_ns, bool (*done)(struct live *live))
{
  int64_t start_ns = clock_now_ns();
  long sent = 0;
  struct path *path = path_find(live->engine, "checkout");
  while (clock_now_ns() - start_ns < limit_ns) {
    assert_true(live_turn(live, 5 * NS_PER_MS) >= 0);
    for (; sent < (clock_now_ns() - start_ns) / (5 * NS_PER_MS); sent++)
      nines_path_record(path->recorded, ok, 30 * NS_PER_MS);
    if (done && done(live)) return true;
  }
  return done == NULL;
}

static bool healthy(struct live *live)
{
  return !breached(live);
}

static void call(struct live *live, const char *verb, const char *body)
{
  live_input(live, (struct input){ .kind = INPUT_CALL, .name = view_of(verb), .body = view_of(body) });
}

static void live_life(bool second)
{
  struct status status = { 0 };
  struct live *live;
  int code = live_open(&live, &(struct live_config){ .dir = dir, .seed = 7, .on_log = quiet }, &status);
  if (code < 0) print_error("%s\n", status.text);
  assert_int_equal(0, code);
  if (!second)
    call(live, "deploy", "{\"service\":\"shop\",\"version\":\"v1\",\"record\":true,\"actor\":\"person:ann\"}");
  assert_true(drive(live, true, NS_PER_S, NULL));
  call(live, "deploy", "{\"service\":\"shop\",\"version\":\"v2\",\"actor\":\"person:ann\"}");
  assert_true(drive(live, false, 10 * NS_PER_S, breached));
  assert_true(drive(live, true, 20 * NS_PER_S, healthy));
  assert_true(drive(live, true, NS_PER_S / 2, NULL));
  live_stop(live);
  while (live_turn(live, 10 * NS_PER_MS) == 0) continue;
  live_close(live);
}

static int set_up(void **state)
{
  (void)state;
  char path[200];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/policies", dir);
  mkdir(path, 0700);
  put("nines.yaml", config, 0600);
  put("deploy.sh", script, 0700);
  put("page.sh", script, 0700);
  put("policies/checkout.lua", policy, 0600);
  live_life(false);
  live_life(true);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  char command[300];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  return system(command);
}

static struct replay_result replay(const struct replay_policy *policies, uint32_t count)
{
  struct status status = { 0 };
  struct settings *settings;
  struct replay_result result;
  char recording[200];
  snprintf(recording, sizeof recording, "%s/data/recording", dir);
  assert_int_equal(0, settings_load(&settings, dir, &status));
  struct replay_config replay = {
    .recording = recording, .settings = settings, .policies = policies, .policy_count = count
  };
  int code = replay_run(&replay, &result, &status);
  if (code < 0) print_error("%s\n", status.text);
  assert_int_equal(0, code);
  settings_free(settings);
  return result;
}

static void test_same_decisions(void **state)
{
  (void)state;
  struct replay_result result = replay(NULL, 0);
  print_message("%llu inputs, %llu lives, %llu decisions\n", (unsigned long long)result.inputs,
                (unsigned long long)result.lives, (unsigned long long)result.decisions);
  if (result.parted) print_error("decision %llu: %s\n", (unsigned long long)result.parted_at, result.parted_text);
  assert_false(result.parted);
  assert_int_equal(2, result.lives);
  assert_true(result.decisions >= 16); // two breaches with rollbacks, twice over
  assert_int_equal(result.recorded_decisions, result.decisions);
  assert_int_equal(result.hash, replay(NULL, 0).hash);
}

static void test_another_policy(void **state)
{
  (void)state;
  struct replay_policy policies[] = { { "checkout.lua", view_of(calmer) } };
  struct replay_result result = replay(policies, 1);
  assert_true(result.parted);
  assert_true(result.parted_at > 0);
  assert_true(result.parted_text[0] != '\0');
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_decisions), cmocka_unit_test(test_another_policy) };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
