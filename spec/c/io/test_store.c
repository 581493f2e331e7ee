// The store: verdicts in order, documents in order of creation, nothing acknowledged is ever lost, damage is set aside.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "rng.h"
#include "scratch.h"
#include "store.h"

// A store and the pipe that its wake writes to.
struct opened {
  struct store *store;
  int pipe[2];
  uint64_t polled; // last ticket
  int failures;
  char error[512];
};

static void wake(void *userdata)
{
  struct opened *opened = userdata;
  assert_int_equal(write(opened->pipe[1], "", 1), 1);
}

static void open_store(struct opened *opened, const char *dir, uint32_t queue_max, const char *expected_notice)
{
  *opened = (struct opened){ 0 };
  assert_int_equal(pipe2(opened->pipe, O_CLOEXEC), 0);
  struct store_config config = { .dir = dir, .queue_max = queue_max, .wake = wake, .userdata = opened };
  struct status notice, status;
  if (store_open(&opened->store, &config, &notice, &status) != 0) fail_msg("%s", status.text);
  if (!expected_notice)
    assert_string_equal(notice.text, "");
  else if (!strstr(notice.text, expected_notice))
    fail_msg("notice: %s", notice.text);
}

static void close_store(struct opened *opened)
{
  store_close(opened->store);
  close(opened->pipe[0]);
  close(opened->pipe[1]);
}

static void on_commit(void *userdata, uint64_t ticket, int code, const char *error)
{
  struct opened *opened = userdata;
  assert_int_equal(ticket, opened->polled + 1);
  opened->polled = ticket;
  if (code == 0) {
    assert_null(error);
  } else {
    opened->failures++;
    snprintf(opened->error, sizeof(opened->error), "%s", error);
  }
}

static void wait_for(struct opened *opened, uint64_t ticket)
{
  while (opened->polled < ticket) {
    char byte;
    assert_int_equal(read(opened->pipe[0], &byte, 1), 1);
    store_poll(opened->store, on_commit, opened);
  }
}

static uint64_t put(struct opened *opened, const char *kind, const char *id, const char *json)
{
  struct txn txn = { 0 };
  txn_put(&txn, 1, kind, id, view_of(json));
  uint64_t ticket = store_commit(opened->store, &txn);
  if (ticket) assert_int_equal(txn.count, 0);
  txn_fini(&txn);
  return ticket;
}

struct seen {
  char text[4096];
};

static void note(void *userdata, const char *id, struct view json)
{
  struct seen *seen = userdata;
  size_t used = strlen(seen->text);
  snprintf(seen->text + used, sizeof(seen->text) - used, "%s=%.*s;", id, (int)json.size, json.data);
}

static void assert_documents(struct opened *opened, const char *kind, const char *expected)
{
  struct seen seen = { "" };
  struct status status;
  assert_int_equal(store_each(opened->store, kind, note, &seen, &status), 0);
  assert_string_equal(seen.text, expected);
}

static void test_order_and_reopen(void **state)
{
  const char *dir = *state;
  struct opened opened;
  open_store(&opened, dir, 0, NULL);
  put(&opened, "k", "b", "1");
  put(&opened, "k", "a", "2");
  put(&opened, "other", "b", "9");
  put(&opened, "k", "b", "3");
  struct txn txn = { 0 };
  txn_delete(&txn, 2, "k", "a");
  txn_put(&txn, 2, "k", "a", view_of("4"));
  txn_put(&txn, 2, "k", "c", view_of("5"));
  txn_audit(&txn, 2, "person:ann", "flag.set", "beta", view_of("{}"));
  wait_for(&opened, store_commit(opened.store, &txn));
  assert_documents(&opened, "k", "b=3;a=4;c=5;");
  struct store_usage usage = store_usage(opened.store);
  assert_int_equal(usage.commits, 5);
  assert_int_equal(usage.failures + usage.queued, 0);
  assert_true(usage.bytes > 0 && usage.commit_ns_last > 0 && usage.commit_ns_max >= usage.commit_ns_last);
  put(&opened, "k", "late", "6"); // store_close commits what is queued
  close_store(&opened);
  open_store(&opened, dir, 0, NULL);
  assert_documents(&opened, "k", "b=3;a=4;c=5;late=6;");
  assert_documents(&opened, "other", "b=9;");
  assert_documents(&opened, "none", "");
  close_store(&opened);
  uint64_t entries;
  assert_int_equal(audit_verify(dir, &entries, NULL), 0);
  assert_int_equal(entries, 1);
}

static void test_queue_is_bounded(void **state)
{
  struct opened opened;
  open_store(&opened, *state, 4, NULL);
  for (int i = 0; i < 4; i++) assert_int_equal(put(&opened, "k", "a", "1"), i + 1);
  struct txn txn = { 0 };
  txn_put(&txn, 1, "k", "b", view_of("2"));
  assert_int_equal(store_commit(opened.store, &txn), 0);
  assert_int_equal(txn.count, 1);
  assert_int_equal(store_backup(opened.store, "/nowhere"), 0);
  wait_for(&opened, 4);
  assert_int_equal(store_commit(opened.store, &txn), 5);
  wait_for(&opened, 5);
  close_store(&opened);
}

static void test_group_commit(void **state)
{
  struct opened opened;
  open_store(&opened, *state, 0, NULL);
  int64_t start_ns = clock_now_ns();
  for (int i = 0; i < 1000; i++) {
    char id[16];
    snprintf(id, sizeof(id), "d%d", i);
    put(&opened, "k", id, "{}");
  }
  wait_for(&opened, 1000);
  print_message("1000 txns in %.1f ms, longest group %.1f ms\n", (double)(clock_now_ns() - start_ns) / 1e6,
                (double)store_usage(opened.store).commit_ns_max / 1e6);
  assert_int_equal(opened.failures, 0);
  close_store(&opened);
}

static void test_one_process_at_a_time(void **state)
{
  struct opened opened;
  open_store(&opened, *state, 0, NULL);
  struct store_config config = { .dir = *state };
  struct store *second;
  struct status notice, status;
  assert_int_equal(store_open(&second, &config, &notice, &status), NINES_EBUSY);
  assert_non_null(strstr(status.text, "in use by process"));
  assert_null(second);
  close_store(&opened);
}

static void run_sql(const char *dir, const char *sql)
{
  char path[256];
  sqlite3 *connection;
  snprintf(path, sizeof(path), "%s/nines.db", dir);
  assert_int_equal(sqlite3_open(path, &connection), SQLITE_OK);
  assert_int_equal(sqlite3_exec(connection, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(connection);
}

static void test_other_versions(void **state)
{
  const char *dir = *state;
  struct opened opened;
  open_store(&opened, dir, 0, NULL);
  close_store(&opened);
  run_sql(dir, "PRAGMA user_version = 7");
  struct store_config config = { .dir = dir };
  struct store *store;
  struct status notice, status;
  assert_int_equal(store_open(&store, &config, &notice, &status), NINES_EVERSION);
  assert_non_null(strstr(status.text, "schema 7"));
  run_sql(dir, "PRAGMA user_version = 0");
  assert_int_equal(store_open(&store, &config, &notice, &status), NINES_EVERSION);
  assert_non_null(strstr(status.text, "no database of nines"));
  run_sql(dir, "PRAGMA user_version = 1");
  open_store(&opened, dir, 0, NULL);
  close_store(&opened);
}

static void overwrite(const char *dir, const char *name, off_t at, const char *data, size_t size)
{
  char path[256];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  int fd = open(path, O_WRONLY);
  assert_true(fd >= 0 && pwrite(fd, data, size, at) == (ssize_t)size);
  close(fd);
}

static bool exists(const char *dir, const char *name)
{
  char path[256];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  return access(path, F_OK) == 0;
}

static void test_damaged_file_is_set_aside(void **state)
{
  const char *dir = *state;
  struct opened opened;
  char noise[3000];
  memset(noise, 0x5a, sizeof(noise));
  off_t places[] = { 0, 4096 + 3, 2 * 4096 + 8 };
  for (int i = 0; i < 3; i++) {
    open_store(&opened, dir, 0, i == 0 ? NULL : "");
    struct txn txn = { 0 };
    for (int n = 0; n < 200; n++) {
      char id[16];
      snprintf(id, sizeof(id), "d%d", n);
      txn_put(&txn, 1, "k", id, view_of("{\"text\":\"some words\"}"));
      txn_audit(&txn, 1, "a", "b", id, view_of("{}"));
    }
    wait_for(&opened, store_commit(opened.store, &txn));
    close_store(&opened);
    overwrite(dir, "nines.db", places[i], noise, sizeof(noise));
    char aside[64];
    snprintf(aside, sizeof(aside), "nines.db.damaged-%d", i + 1);
    open_store(&opened, dir, 0, aside);
    assert_true(exists(dir, aside));
    assert_documents(&opened, "k", "");
    wait_for(&opened, put(&opened, "k", "new", "1"));
    close_store(&opened);
    // The loss of the old audit is in the new one.
    struct status status = { 0 };
    uint64_t entries;
    if (audit_verify(dir, &entries, &status) != 0) fail_msg("%s", status.text);
    assert_int_equal(entries, 1);
    assert_true(exists(dir, "audit.head.damaged-1"));
  }
}

static void test_full_disk(void **state)
{
  const char *dir = *state;
  signal(SIGXFSZ, SIG_IGN);
  struct opened opened;
  open_store(&opened, dir, 0, NULL);
  struct txn audit = { 0 };
  txn_audit(&audit, 1, "a", "b", "c", view_of("{}"));
  wait_for(&opened, store_commit(opened.store, &audit));
  struct rlimit limit, small;
  getrlimit(RLIMIT_FSIZE, &limit);
  small = limit;
  small.rlim_cur = 100 << 10;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  static char large[200001];
  memset(large, 'x', sizeof(large) - 1);
  txn_audit(&audit, 2, "a", "lost", "c", view_of("{}"));
  txn_put(&audit, 2, "k", "large", view_of(large));
  wait_for(&opened, store_commit(opened.store, &audit));
  assert_int_equal(opened.failures, 1);
  print_message("%s\n", opened.error);
  assert_non_null(strstr(opened.error, "nines.db"));
  uint64_t ticket = put(&opened, "k", "small", "1"); // the next one is tried
  wait_for(&opened, ticket);
  assert_int_equal(opened.failures, 1);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  txn_audit(&audit, 3, "a", "kept", "c", view_of("{}"));
  txn_put(&audit, 3, "k", "large", view_of("2"));
  wait_for(&opened, store_commit(opened.store, &audit));
  assert_int_equal(opened.failures, 1);
  assert_int_equal(store_usage(opened.store).failures, 1);
  assert_documents(&opened, "k", "small=1;large=2;");
  uint64_t entries;
  struct status status;
  if (audit_verify(dir, &entries, &status) != 0) fail_msg("%s", status.text); // living
  assert_int_equal(entries, 2);
  close_store(&opened);
}

static void test_backup(void **state)
{
  const char *dir = *state;
  char file[300], copy_dir[256];
  snprintf(copy_dir, sizeof(copy_dir), "%s/copy", dir);
  snprintf(file, sizeof(file), "%s/nines.db", copy_dir);
  assert_int_equal(mkdir(copy_dir, 0700), 0);
  struct opened opened;
  open_store(&opened, dir, 0, NULL);
  put(&opened, "k", "a", "1");
  put(&opened, "k", "b", "2");
  uint64_t first = store_backup(opened.store, file);
  put(&opened, "k", "c", "3");
  uint64_t second = store_backup(opened.store, file); // exists
  wait_for(&opened, second);
  assert_int_equal(first, 3);
  assert_int_equal(opened.failures, 1);
  assert_non_null(strstr(opened.error, "exists"));
  uint64_t third = store_backup(opened.store, "/nowhere/at/all");
  wait_for(&opened, third);
  assert_int_equal(opened.failures, 2);
  close_store(&opened);
  open_store(&opened, copy_dir, 0, NULL);
  assert_documents(&opened, "k", "a=1;b=2;");
  close_store(&opened);
}

// Kills: a child commits numbered txns of two documents and an audit entry and tells each verdict through a pipe. The
// parent kills it at some moment. Whatever was told must be there; nothing may be there by half.
static void child_writes(const char *dir, int told)
{
  struct opened opened;
  open_store(&opened, dir, 0, NULL);
  for (uint64_t last = 0;;) {
    struct txn txn = { 0 };
    char number[24];
    snprintf(number, sizeof(number), "%llu", (unsigned long long)last + 1);
    txn_put(&txn, 1, "left", number, view_of(number));
    txn_put(&txn, 1, "right", number, view_of(number));
    txn_audit(&txn, 1, "child", "count", number, view_of("{}"));
    last = store_commit(opened.store, &txn);
    if (last % 3 != 0) continue; // small groups
    wait_for(&opened, last);
    if (write(told, &last, sizeof(last)) < 0) _exit(1);
  }
}

static void count_document(void *userdata, const char *id, struct view json)
{
  uint64_t *count = userdata;
  ++*count;
  char number[24];
  snprintf(number, sizeof(number), "%llu", (unsigned long long)*count);
  assert_string_equal(id, number); // in order of creation, without gaps
  assert_true(view_is(json, number));
}

static void kill_once(const char *dir, int64_t after_us, uint64_t *told_total)
{
  int told[2];
  assert_int_equal(pipe(told), 0);
  pid_t child = fork();
  if (child == 0) child_writes(dir, told[1]);
  close(told[1]);
  uint64_t last = 0, number;
  // The first verdict starts the clock, so that the kill comes into the writing and not into the start.
  assert_int_equal(read(told[0], &last, sizeof(last)), sizeof(last));
  struct timespec wait = { .tv_nsec = after_us * 1000 };
  nanosleep(&wait, NULL);
  kill(child, SIGKILL);
  while (read(told[0], &number, sizeof(number)) == sizeof(number)) last = number;
  close(told[0]);
  waitpid(child, NULL, 0);

  struct opened opened;
  struct status status;
  open_store(&opened, dir, 0, NULL);
  uint64_t left = 0, right = 0, entries = 0;
  assert_int_equal(store_each(opened.store, "left", count_document, &left, &status), 0);
  assert_int_equal(store_each(opened.store, "right", count_document, &right, &status), 0);
  assert_true(left >= last);
  assert_int_equal(left, right);
  close_store(&opened);
  if (audit_verify(dir, &entries, &status) != 0) fail_msg("%s", status.text);
  assert_int_equal(entries, left);
  *told_total += last;
}

static void test_kill_at_random_points(void **state)
{
  uint64_t seed = rng_system_seed(), told = 0;
  print_message("seed %llu\n", (unsigned long long)seed);
  struct rng rng;
  rng_init(&rng, seed, "kill");
  for (int round = 0; round < 30; round++) {
    char dir[256];
    snprintf(dir, sizeof(dir), "%s/round-%d", (const char *)*state, round);
    kill_once(dir, (int64_t)rng_below(&rng, 40000), &told);
  }
  print_message("30 kills, %llu acknowledged txns, all there\n", (unsigned long long)told);
}

static void test_opens_fast(void **state)
{
  struct opened opened;
  open_store(&opened, *state, 4096, NULL);
  static char json[1001];
  memset(json, '7', sizeof(json) - 1);
  for (int i = 0; i < 40; i++) {
    struct txn txn = { 0 };
    for (int n = 0; n < 250; n++) {
      char id[32];
      snprintf(id, sizeof(id), "%d-%d", i, n);
      txn_put(&txn, 1, "k", id, view_of(json));
    }
    store_commit(opened.store, &txn);
  }
  wait_for(&opened, 40);
  uint64_t bytes = store_usage(opened.store).bytes;
  close_store(&opened);
  int64_t start_ns = clock_now_ns();
  open_store(&opened, *state, 0, NULL);
  int64_t took_ns = clock_now_ns() - start_ns;
  print_message("opened %.1f MB in %.1f ms\n", (double)bytes / 1e6, (double)took_ns / 1e6);
  close_store(&opened);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
    TEST(test_order_and_reopen),
    TEST(test_queue_is_bounded),
    TEST(test_group_commit),
    TEST(test_one_process_at_a_time),
    TEST(test_other_versions),
    TEST(test_damaged_file_is_set_aside),
    TEST(test_full_disk),
    TEST(test_backup),
    TEST(test_kill_at_random_points),
    TEST(test_opens_fast),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
