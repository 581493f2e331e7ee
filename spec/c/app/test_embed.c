// An engine inside a program: its clock, its descriptor, its effects are the host's. In memory and virtual time.

#include "embed_host.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

#include "json.h"
#include "settings.h"

static const char shop[] = "local checkout = critical_path 'checkout' { service = 'shop', success_rate = 99.9,\n"
                           "  window = '5s', recovery_window = '1s', severity = 'P0' }\n";
static const char roll_back[] = "checkout:on('breached', function(breach)\n"
                                "  local deploy = checkout.service:deployed_within('10m')\n"
                                "  assert(deploy:rollback(breach.summary))\n"
                                "end)\n";

static void open_shop(struct host *host, nines_config config, const char *policy)
{
  char text[2000];
  host_open(host, &config);
  assert_int_equal(0, nines_deployed(host->engine, "shop", "v1"));
  assert_int_equal(0, nines_deployed(host->engine, "shop", "v2"));
  snprintf(text, sizeof text, "%s%s", shop, policy);
  host_load(host, "shop.lua", text);
  host_traffic(host, "checkout", 1, NS_PER_S);
}

// A text of the details of an effect; valid until the next call.
static const char *detail(const struct asked *asked, const char *key)
{
  static char out[200];
  struct pool pool = { 0 };
  struct value details;
  struct status status = { 0 };
  assert_int_equal(0, json_parse(&pool, view_of(asked->details), &details, &status));
  struct view text = value_get_text(&details, key);
  snprintf(out, sizeof out, "%.*s", (int)text.size, text.data ? text.data : "");
  pool_fini(&pool);
  return out;
}

// --- pages

static void test_pager(void **state)
{
  (void)state;
  struct host host;
  open_shop(&host, host_config(&host), "");
  assert_int_equal(0, host.asked_count);
  host_traffic(&host, "checkout", 0, NS_PER_S);
  assert_int_equal(1, host.asked_count);
  const struct asked *page = &host.asked[0];
  assert_string_equal("page", page->kind);
  assert_string_equal("host", page->target);
  assert_string_equal("firing", detail(page, "status"));
  assert_string_equal("P0", detail(page, "severity"));
  assert_string_equal(page->subject, detail(page, "title"));
  assert_int_equal(1, page->attempt);
  assert_false(host_heard(&host, "notify.delivered host"));
  assert_int_equal(0, nines_effect_done(host.engine, page->id, 0, "the phone rang"));
  host_step(&host);
  assert_true(host_heard(&host, "notify.delivered host"));
  host.answers_at_once = true;
  host_traffic(&host, "checkout", 1, 8 * NS_PER_S);
  assert_int_equal(2, host.asked_count);
  assert_string_equal("resolved", detail(&host.asked[1], "status"));
  assert_string_not_equal(page->id, host.asked[1].id);
  host_run(&host, NS_PER_MIN);
  assert_int_equal(2, host.asked_count);
  host_close(&host);
}

static void test_page_again(void **state)
{
  (void)state;
  struct host host;
  open_shop(&host, host_config(&host), "");
  host.answer = NINES_EIO;
  host_traffic(&host, "checkout", 0, 10 * NS_PER_S);
  assert_in_range(host.asked_count, 3, 5); // after 1 s, 2 s, 4 s, each up to a fifth more or less
  for (uint32_t i = 0; i < host.asked_count; i++) {
    assert_string_equal(host.asked[0].id, host.asked[i].id);
    assert_int_equal(i + 1, host.asked[i].attempt);
  }
  assert_true(host.asked[1].at_ns - host.asked[0].at_ns >= 800 * NS_PER_MS);
  assert_true(host_heard(&host, "notify.retrying host"));
  host.answer = NINES_EINVAL;
  uint32_t before = host.asked_count;
  host_traffic(&host, "checkout", 0, 2 * NS_PER_MIN);
  assert_int_equal(before + 1, host.asked_count);
  assert_true(host_heard(&host, "notify.failed host"));
  host_close(&host);
}

static void test_no_answer(void **state)
{
  (void)state;
  struct host host;
  open_shop(&host, host_config(&host), "");
  host_traffic(&host, "checkout", 0, 15 * NS_PER_S);
  assert_int_equal(2, host.asked_count);
  assert_string_equal(host.asked[0].id, host.asked[1].id);
  assert_int_equal(10 * NS_PER_S, host.asked[0].timeout_ns);
  int64_t apart_ns = host.asked[1].at_ns - host.asked[0].at_ns;
  assert_true(apart_ns > 10 * NS_PER_S && apart_ns < 12 * NS_PER_S);
  // Strange answers change nothing.
  assert_int_equal(0, nines_effect_done(host.engine, "m999", 0, NULL));
  assert_int_equal(NINES_EINVAL, nines_effect_done(host.engine, NULL, 0, NULL));
  assert_int_equal(NINES_EINVAL, nines_effect_done(host.engine, host.asked[0].id, 1, NULL));
  host_step(&host);
  assert_false(host_heard(&host, "notify.delivered host"));
  host_close(&host);
}

// The machine slept: what was answered before is an answer, however late it is read.
static void test_answer_before_sleep(void **state)
{
  (void)state;
  struct host host;
  open_shop(&host, host_config(&host), "");
  host_traffic(&host, "checkout", 0, NS_PER_S);
  assert_int_equal(1, host.asked_count);
  assert_int_equal(0, nines_effect_done(host.engine, host.asked[0].id, 0, NULL));
  host.clock.now_ns += NS_PER_MIN;
  assert_int_equal(0, nines_turn(host.engine, 0));
  assert_true(host_heard(&host, "notify.delivered host"));
  assert_false(host_heard(&host, "notify.retrying host"));
  host_close(&host);
}

// --- deployments and commands

struct late {
  nines *engine;
  const char *id;
};

static void *answer_late(void *userdata)
{
  const struct late *late = userdata;
  assert_int_equal(0, nines_effect_done(late->engine, late->id, 0, "rolled"));
  return NULL;
}

static void test_deployer(void **state)
{
  (void)state;
  struct host host;
  open_shop(&host, host_config(&host), roll_back);
  host_traffic(&host, "checkout", 0, NS_PER_S);
  assert_int_equal(1, host.asked_count);
  const struct asked *rollback = &host.asked[0];
  assert_string_equal("rollback", rollback->kind);
  assert_string_equal("shop", rollback->target);
  assert_string_equal("v1", rollback->subject);
  assert_string_equal("v1", detail(rollback, "to"));
  assert_string_equal("v2", detail(rollback, "from"));
  assert_int_equal(0, rollback->resumed);
  host_traffic(&host, "checkout", 0, 5 * NS_PER_S);
  assert_int_equal(1, host.asked_count); // once, however long it takes
  pthread_t thread;
  struct late late = { host.engine, rollback->id };
  assert_int_equal(0, pthread_create(&thread, NULL, answer_late, &late));
  pthread_join(thread, NULL);
  host_step(&host);
  assert_true(host_heard(&host, "deploy.rolled_back shop"));
  host_close(&host);
}

static void test_failed_rollback(void **state)
{
  (void)state;
  struct host host;
  open_shop(&host, host_config(&host), roll_back);
  host.answer = NINES_EDENIED;
  host_traffic(&host, "checkout", 0, 500 * NS_PER_MS);
  assert_string_equal("rollback", host.asked[0].kind);
  assert_true(host_heard(&host, "deploy.failed shop"));
  assert_int_equal(2, host.asked_count); // the handler has failed and the breach lasts
  assert_string_equal("page", host.asked[1].kind);
  host_close(&host);
}

static void test_command(void **state)
{
  (void)state;
  struct host host;
  nines_config config = host_config(&host);
  host_open(&host, &config);
  host_load(&host, "mend.lua",
            "every('1s', function()\n"
            "  local result, why = exec({ './mend.sh', 'web 1' }, { input = 'fast', timeout = '7s' })\n"
            "  log.info('mended', result and result.output or why)\n"
            "end)\n");
  host_run(&host, 2 * NS_PER_S);
  assert_int_equal(1, host.asked_count);
  assert_string_equal("exec", host.asked[0].kind);
  assert_string_equal("./mend.sh", host.asked[0].target);
  assert_string_equal("./mend.sh web 1", host.asked[0].subject);
  assert_string_equal("{\"argv\":[\"./mend.sh\",\"web 1\"],\"input\":\"fast\"}", host.asked[0].details);
  assert_int_equal(7 * NS_PER_S, host.asked[0].timeout_ns);
  nines_effect_done(host.engine, host.asked[0].id, 0, "as \"new\"");
  host_step(&host);
  assert_true(host_logged(&host, "mended as \"new\""));
  host_run(&host, 9 * NS_PER_S);
  assert_true(host_logged(&host, "mended the host did not answer within 7s"));
  host_close(&host);
}

// --- which effects

static void test_only_pages(void **state)
{
  (void)state;
  struct host hosts[2];
  for (int i = 0; i < 2; i++) { // both run a command of one name: each in a directory of its own
    nines_config config = host_config(&hosts[i]);
    config.effects = NINES_EFFECT_PAGES;
    open_shop(&hosts[i], config,
              i ? "checkout:on('breached', function() log.info('said', exec({ 'echo', 'two' }).output) end)\n"
                : "checkout:on('breached', function() log.info('said', exec({ 'echo', 'one' }).output) end)\n");
    hosts[i].answers_at_once = true;
  }
  for (int i = 0; i < 2; i++) host_traffic(&hosts[i], "checkout", 0, 200 * NS_PER_MS);
  for (int i = 0; i < 2; i++) {
    for (int64_t end_ns = clock_now_ns() + 20 * NS_PER_S; !host_logged(&hosts[i], "said") && clock_now_ns() < end_ns;)
      assert_int_equal(0, nines_turn(hosts[i].engine, 5 * NS_PER_MS));
    assert_true(host_logged(&hosts[i], i ? "said two" : "said one"));
    host_run(&hosts[i], NS_PER_S);
    for (uint32_t j = 0; j < hosts[i].asked_count; j++) assert_string_equal("page", hosts[i].asked[j].kind);
    host_close(&hosts[i]);
  }
}

static void test_observe(void **state)
{
  (void)state;
  struct host host;
  nines_config config = host_config(&host);
  config.observe = 1;
  open_shop(&host, config, roll_back);
  host_traffic(&host, "checkout", 0, 10 * NS_PER_S);
  assert_true(host_heard(&host, "effect.observed"));
  assert_int_equal(0, host.asked_count);
  host_close(&host);
}

static int load_inside(void *userdata, const nines_effect *effect)
{
  struct host *host = userdata;
  if (host->asked_count == 0)
    host_load(host, "more.lua", "every('100ms', function() notify { title = 'from inside' } end)\n");
  host_effect(userdata, effect);
  return nines_effect_done(host->engine, effect->id, 0, NULL);
}

static void test_calls_from_inside(void **state)
{
  (void)state;
  struct host host;
  nines_config config = host_config(&host);
  config.on_effect = load_inside;
  open_shop(&host, config, "");
  host_traffic(&host, "checkout", 0, NS_PER_S);
  assert_true(host.asked_count >= 2);
  assert_string_equal("from inside", host.asked[1].subject);
  host_close(&host);
}

// --- time

static void test_clock(void **state)
{
  (void)state;
  struct host host;
  nines_config config = host_config(&host);
  host_open(&host, &config);
  host_load(&host, "hours.lua", "every('1h', function() log.info 'struck' end)\n");
  const nines *engine = host.engine;
  uint64_t beats = engine->figures.beats;
  for (int i = 0; i < 100; i++) assert_int_equal(0, nines_turn(host.engine, 0));
  assert_int_equal(beats, engine->figures.beats); // time stands still
  host_run(&host, NS_PER_S);
  assert_int_equal(beats + 20, engine->figures.beats);
  host.clock.now_ns += 50 * NS_PER_MIN; // a machine that slept
  assert_int_equal(0, nines_turn(host.engine, 0));
  assert_int_equal(beats + 21, engine->figures.beats);
  host.clock.now_ns += BEAT_NS;
  assert_int_equal(0, nines_turn(host.engine, 0));
  assert_int_equal(beats + 22, engine->figures.beats);
  assert_false(host_logged(&host, "struck"));
  host_run(&host, 130 * NS_PER_MIN);
  const char *first = strstr(host.log.data, "struck"), *second = strstr(first + 1, "struck");
  assert_non_null(second);
  assert_non_null(strstr(second + 1, "struck"));
  host_close(&host);
}

static uint64_t simulate(uint64_t seed)
{
  struct host host;
  nines_config config = host_config(&host);
  config.seed = seed;
  host.answers_at_once = true;
  open_shop(&host, config, "every('2s', function() notify { title = 'drawn ' .. math.random() } end)\n");
  host.answers_at_once = true;
  host_traffic(&host, "checkout", 0, 3 * NS_PER_S);
  host_traffic(&host, "checkout", 1, 10 * NS_PER_S);
  uint64_t hash = events_hash(host.engine->events);
  assert_in_range(host.asked_count, 8, 10); // numbers drawn, a page, its end
  host_close(&host);
  return hash;
}

static void test_same_again(void **state)
{
  (void)state;
  uint64_t hash = simulate(7);
  assert_true(hash == simulate(7));
  assert_true(hash != simulate(8));
}

// --- several, and loops of the host

static void *simulate_thread(void *out)
{
  *(uint64_t *)out = simulate(7);
  return NULL;
}

static void test_several(void **state)
{
  (void)state;
  // Two in one thread, in turn: the outage of one is none of the other.
  struct host hosts[2];
  for (int i = 0; i < 2; i++) open_shop(&hosts[i], host_config(&hosts[i]), "");
  for (int i = 0; i < 20; i++) {
    host_traffic(&hosts[0], "checkout", 0, BEAT_NS);
    host_traffic(&hosts[1], "checkout", 1, BEAT_NS);
  }
  assert_int_equal(1, hosts[0].asked_count);
  assert_int_equal(0, hosts[1].asked_count);
  host_close(&hosts[0]);
  host_traffic(&hosts[1], "checkout", 0, NS_PER_S);
  assert_int_equal(1, hosts[1].asked_count);
  host_close(&hosts[1]);
  // Four in threads of their own decide as one alone does.
  pthread_t threads[4];
  uint64_t hashes[4], hash = simulate(7);
  for (int i = 0; i < 4; i++) assert_int_equal(0, pthread_create(&threads[i], NULL, simulate_thread, &hashes[i]));
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    assert_true(hash == hashes[i]);
  }
}

// Turns without waiting, only when the descriptor says so: as often as needed, and no more.
static void test_descriptor(void **state)
{
  (void)state;
  struct host host;
  nines_config config = host_config(&host);
  config.clock = NULL;
  host_open(&host, &config);
  host_load(&host, "exec.lua",
            "every('100ms', function() log.info('done', exec({ 'x' }, { timeout = '1m' }).output) end)\n");
  int poller = epoll_create1(EPOLL_CLOEXEC), turns = 0;
  struct epoll_event event = { .events = EPOLLIN };
  assert_int_equal(0, epoll_ctl(poller, EPOLL_CTL_ADD, nines_fd(host.engine), &event));
  uint64_t beats = host.engine->figures.beats;
  while (host.engine->figures.beats < beats + 10) {
    assert_int_equal(1, epoll_wait(poller, &event, 1, 10000));
    assert_int_equal(0, nines_turn(host.engine, 0));
    turns++;
  }
  assert_true(turns <= 40);
  assert_int_equal(1, host.asked_count);
  // An answer from another thread wakes it too.
  pthread_t thread;
  struct late late = { host.engine, host.asked[0].id };
  assert_int_equal(0, pthread_create(&thread, NULL, answer_late, &late));
  while (!host_logged(&host, "done rolled")) {
    struct pollfd readable = { .fd = nines_fd(host.engine), .events = POLLIN };
    assert_int_equal(1, poll(&readable, 1, 10000));
    assert_int_equal(0, nines_turn(host.engine, 0));
  }
  pthread_join(thread, NULL);
  nines_stop(host.engine);
  int code;
  while ((code = nines_turn(host.engine, 0)) == 0) assert_int_equal(1, epoll_wait(poller, &event, 1, 10000));
  assert_int_equal(1, code);
  close(poller);
  host_close(&host);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pager),
    cmocka_unit_test(test_page_again),
    cmocka_unit_test(test_no_answer),
    cmocka_unit_test(test_deployer),
    cmocka_unit_test(test_failed_rollback),
    cmocka_unit_test(test_command),
    cmocka_unit_test(test_only_pages),
    cmocka_unit_test(test_observe),
    cmocka_unit_test(test_calls_from_inside),
    cmocka_unit_test(test_clock),
    cmocka_unit_test(test_same_again),
    cmocka_unit_test(test_several),
    cmocka_unit_test(test_descriptor),
    cmocka_unit_test(test_answer_before_sleep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
