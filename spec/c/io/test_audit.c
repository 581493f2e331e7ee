// The audit's chain: every kind of tampering is told, a crash between commit and anchor is not taken for one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "scratch.h"
#include "store.h"

static void ignore(void *userdata, uint64_t ticket, int code, const char *error)
{
  (void)userdata;
  (void)ticket;
  (void)error;
  assert_int_equal(code, 0);
}

// Opens the store, appends entries FROM to TO, closes it. Returns the notice.
static const char *append(const char *dir, int from, int to)
{
  static struct status notice;
  struct store_config config = { .dir = dir };
  struct store *store;
  struct status status;
  if (store_open(&store, &config, &notice, &status) != 0) fail_msg("%s", status.text);
  for (int i = from; i <= to; i++) {
    struct txn txn = { 0 };
    char target[16];
    snprintf(target, sizeof(target), "t%d", i);
    txn_audit(&txn, 1000 + i, "person:ann", "flag.set", target, view_of("{\"on\":true}"));
    assert_true(store_commit(store, &txn) > 0);
  }
  store_poll(store, ignore, NULL);
  store_close(store);
  return notice.text;
}

static void run_sql(const char *dir, const char *sql)
{
  char path[256];
  sqlite3 *connection;
  snprintf(path, sizeof(path), "%s/nines.db", dir);
  assert_int_equal(sqlite3_open(path, &connection), SQLITE_OK);
  if (sqlite3_exec(connection, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(connection));
  sqlite3_close(connection);
}

static void assert_finds(const char *dir, const char *words)
{
  struct status status = { 0 };
  int code = audit_verify(dir, NULL, &status);
  if (code != NINES_ECORRUPT || !strstr(status.text, words)) fail_msg("%d: %s", code, status.text);
}

static void assert_fits(const char *dir, uint64_t expected)
{
  struct status status = { 0 };
  uint64_t entries = 0;
  if (audit_verify(dir, &entries, &status) != 0) fail_msg("%s", status.text);
  assert_int_equal(entries, expected);
}

static void test_chain(void **state)
{
  assert_int_equal(audit_verify(*state, NULL, NULL), NINES_ENOTFOUND);
  assert_string_equal(append(*state, 1, 0), "");
  assert_fits(*state, 0);
  assert_string_equal(append(*state, 1, 5), "");
  assert_fits(*state, 5);
  assert_string_equal(append(*state, 6, 8), "");
  assert_fits(*state, 8);
}

static void test_changed_rows(void **state)
{
  append(*state, 1, 5);
  const char *columns[] = { "wall_ns", "actor", "action", "target", "json", "hash" };
  for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
    char sql[200];
    snprintf(sql, sizeof(sql), "CREATE TABLE saved AS SELECT * FROM audit; UPDATE audit SET %s = '7' WHERE seq = 3",
             columns[i]);
    run_sql(*state, sql);
    assert_finds(*state, "audit entry 3 (");
    run_sql(*state, "DELETE FROM audit; INSERT INTO audit SELECT * FROM saved; DROP TABLE saved");
    assert_fits(*state, 5);
  }
}

static void test_moved_and_removed_rows(void **state)
{
  append(*state, 1, 5);
  run_sql(*state, "CREATE TABLE saved AS SELECT * FROM audit");
  const char *const restore = "DELETE FROM audit; INSERT INTO audit SELECT * FROM saved";
  run_sql(*state, "UPDATE audit SET seq = 9 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3;"
                  "UPDATE audit SET seq = 3 WHERE seq = 9");
  assert_finds(*state, "audit entry 2 does not follow from entry 1");
  run_sql(*state, restore);
  run_sql(*state, "DELETE FROM audit WHERE seq = 3");
  assert_finds(*state, "audit entry 3 is missing");
  run_sql(*state, restore);
  run_sql(*state, "DELETE FROM audit WHERE seq = 1");
  assert_finds(*state, "audit entry 1 is missing");
  run_sql(*state, restore);
  run_sql(*state, "DELETE FROM audit WHERE seq = 5");
  assert_finds(*state, "ends at entry 4, but audit.head tells of entry 5");
}

static void anchor_file(const char *dir, char *text, size_t size, bool write_it)
{
  char path[256];
  snprintf(path, sizeof(path), "%s/audit.head", dir);
  int fd = open(path, write_it ? O_WRONLY | O_TRUNC : O_RDONLY);
  assert_true(fd >= 0);
  if (write_it) {
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  } else {
    ssize_t got = read(fd, text, size - 1);
    text[got] = '\0';
  }
  close(fd);
}

// The anchor of an earlier moment is what a kill between commit and anchor leaves.
static void test_older_anchor_fits(void **state)
{
  char old[200], now[200];
  append(*state, 1, 3);
  anchor_file(*state, old, sizeof(old), false);
  append(*state, 4, 6);
  anchor_file(*state, old, 0, true);
  assert_fits(*state, 6);
  assert_string_equal(append(*state, 1, 0), ""); // the next start anchors again
  anchor_file(*state, now, sizeof(now), false);
  assert_int_equal(strncmp(now, "6 ", 2), 0);
}

// A start on a shortened audit says so, and the saying stays in the chain and beside it.
static void test_mismatch_at_start(void **state)
{
  append(*state, 1, 5);
  run_sql(*state, "DELETE FROM audit WHERE seq > 3");
  assert_non_null(strstr(append(*state, 1, 0), "ends at entry 3, but audit.head tells of entry 5"));
  assert_fits(*state, 4);
  char path[256];
  snprintf(path, sizeof(path), "%s/audit.head.damaged-1", (char *)*state);
  assert_int_equal(access(path, F_OK), 0);
  assert_string_equal(append(*state, 6, 7), "");
  assert_fits(*state, 6);
  // Another history with a good chain of its own.
  run_sql(*state, "DELETE FROM audit");
  assert_non_null(strstr(append(*state, 1, 9), "ends at entry 0"));
  assert_fits(*state, 10);
}

static void test_missing_and_garbled_anchor(void **state)
{
  append(*state, 1, 2);
  char garbage[] = "hello";
  anchor_file(*state, garbage, 0, true);
  assert_finds(*state, "is no head of an audit");
  assert_non_null(strstr(append(*state, 1, 0), "audit.head is damaged"));
  assert_fits(*state, 3);
  char path[256];
  snprintf(path, sizeof(path), "%s/audit.head", (char *)*state);
  assert_int_equal(unlink(path), 0);
  assert_finds(*state, "is missing");
  assert_non_null(strstr(append(*state, 1, 0), "audit.head is missing"));
  assert_fits(*state, 4);
}

struct seen {
  int count;
  uint64_t last;
};

static void note(void *userdata, const struct audit_entry *entry)
{
  struct seen *seen = userdata;
  seen->count++;
  assert_true(entry->sequence > seen->last);
  seen->last = entry->sequence;
  assert_string_equal(entry->actor, "person:ann");
  assert_string_equal(entry->action, "flag.set");
  assert_string_equal(entry->json, "{\"on\":true}");
  assert_int_equal(entry->wall_ns, 1000 + (int)entry->sequence);
  assert_int_equal(strlen(entry->hash), 64);
}

static void test_each(void **state)
{
  append(*state, 1, 7);
  struct seen seen = { 0 };
  assert_int_equal(audit_each(*state, 4, note, &seen, NULL), 0);
  assert_int_equal(seen.count, 3);
  assert_int_equal(seen.last, 7);
}

// Fields are hashed with their sizes: moving a byte from one to the next is another entry.
static void test_no_two_entries_hash_alike(void **state)
{
  (void)state;
  struct audit_head a, b;
  audit_head_init(&a);
  audit_head_init(&b);
  struct audit_entry first = { .actor = "ab", .action = "c", .target = "", .json = "{}" };
  struct audit_entry second = { .actor = "a", .action = "bc", .target = "", .json = "{}" };
  audit_head_extend(&a, &first);
  audit_head_extend(&b, &second);
  assert_string_not_equal(a.hash, b.hash);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
    TEST(test_chain),
    TEST(test_changed_rows),
    TEST(test_moved_and_removed_rows),
    TEST(test_older_anchor_fits),
    TEST(test_mismatch_at_start),
    TEST(test_missing_and_garbled_anchor),
    TEST(test_each),
    TEST(test_no_two_entries_hash_alike),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
