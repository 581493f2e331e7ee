// Making and checking the chain. An entry's hash runs over the hash before it and over every field with its length, so
// that no two different entries share the text that is hashed.
//
// Verification opens the database for itself, read-only: it works beside a living engine and on a copy of the files.
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"

enum { ANCHOR_TEXT_MAX = 128, BUSY_MS = 2000 };

void audit_head_init(struct audit_head *head)
{
  head->sequence = 0;
  memset(head->hash, '0', DIGEST_HEX - 1);
  head->hash[DIGEST_HEX - 1] = '\0';
}

static void hash_entry(const char *previous, const struct audit_entry *entry, char out[static DIGEST_HEX])
{
  struct buf text = { 0 };
  const char *fields[] = { entry->actor, entry->action, entry->target, entry->json };
  buf_printf(&text, "%s %llu %lld", previous, (unsigned long long)entry->sequence, (long long)entry->wall_ns);
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
    buf_printf(&text, " %zu:", strlen(fields[i]));
    buf_text(&text, fields[i]);
  }
  digest_sha256(buf_view(&text), out);
  buf_free(&text);
}

void audit_head_extend(struct audit_head *head, struct audit_entry *entry)
{
  entry->sequence = head->sequence + 1;
  char hash[DIGEST_HEX];
  hash_entry(head->hash, entry, hash);
  head->sequence = entry->sequence;
  memcpy(head->hash, hash, DIGEST_HEX);
  entry->hash = head->hash;
}

static int anchor_path(char out[static PATH_MAX], const char *dir, const char *suffix, struct status *status)
{
  int size = snprintf(out, PATH_MAX, "%s/audit.head%s", dir, suffix);
  if (size < PATH_MAX) return 0;
  return status_set(status, NINES_EINVAL, "the path of the data directory is too long");
}

int audit_anchor_read(const char *dir, struct audit_head *head, struct status *status)
{
  char path[PATH_MAX], text[ANCHOR_TEXT_MAX] = "";
  int code = anchor_path(path, dir, "", status);
  if (code != 0) return code;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    code = errno == ENOENT ? NINES_ENOTFOUND : NINES_EIO;
    return status_set(status, code, "%s: %s", path, strerror(errno));
  }
  ssize_t size = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (size < 0) return status_set(status, NINES_EIO, "%s: %s", path, strerror(errno));
  char *end = text;
  head->sequence = strtoull(text, &end, 10);
  bool fits = end > text && *end == ' ' && strspn(end + 1, "0123456789abcdef") == DIGEST_HEX - 1 &&
              strcmp(end + DIGEST_HEX, "\n") == 0;
  if (!fits) return status_set(status, NINES_ECORRUPT, "%s: this is no head of an audit", path);
  memcpy(head->hash, end + 1, DIGEST_HEX - 1);
  head->hash[DIGEST_HEX - 1] = '\0';
  return 0;
}

int audit_anchor_write(const char *dir, const struct audit_head *head, struct status *status)
{
  char path[PATH_MAX], fresh[PATH_MAX], text[ANCHOR_TEXT_MAX];
  int code = anchor_path(path, dir, "", status);
  if (code == 0) code = anchor_path(fresh, dir, ".new", status);
  if (code != 0) return code;
  int size = snprintf(text, sizeof(text), "%llu %s\n", (unsigned long long)head->sequence, head->hash);
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok = fd >= 0 && write(fd, text, (size_t)size) == size && fdatasync(fd) == 0;
  int error = ok ? 0 : errno;
  if (fd >= 0) close(fd);
  if (ok && rename(fresh, path) == 0) return 0;
  if (ok) error = errno;
  return status_set(status, NINES_EIO, "cannot write %s: %s", path, strerror(error));
}

static int open_readonly(const char *dir, sqlite3 **out, struct status *status)
{
  char path[PATH_MAX];
  if (snprintf(path, sizeof(path), "%s/nines.db", dir) >= PATH_MAX) {
    return status_set(status, NINES_EINVAL, "the path of the data directory is too long");
  }
  if (access(path, F_OK) != 0) return status_set(status, NINES_ENOTFOUND, "%s: %s", path, strerror(errno));
  int code = sqlite3_open_v2(path, out, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
  if (code == SQLITE_OK) sqlite3_busy_timeout(*out, BUSY_MS);
  if (code == SQLITE_OK) return 0;
  status_set(status, NINES_EIO, "cannot open %s: %s", path, sqlite3_errmsg(*out));
  sqlite3_close(*out);
  return NINES_EIO;
}

static const char *column(sqlite3_stmt *row, int index)
{
  const unsigned char *text = sqlite3_column_text(row, index);
  return text ? (const char *)text : "";
}

struct walk {
  struct audit_head head;   // computed so far
  struct audit_head anchor; // what must be passed
  bool anchored;
  bool passed;
};

static int check_entry(struct walk *walk, const struct audit_entry *entry, const char *previous, struct status *status)
{
  unsigned long long expected = walk->head.sequence + 1, found = entry->sequence;
  if (found != expected) {
    return status_set(status, NINES_ECORRUPT, "audit entry %llu is missing (entry %llu follows entry %llu)", expected,
                      found, expected - 1);
  }
  if (strcmp(previous, walk->head.hash) != 0) {
    return status_set(status, NINES_ECORRUPT, "audit entry %llu does not follow from entry %llu", found, expected - 1);
  }
  struct audit_entry same = *entry;
  audit_head_extend(&walk->head, &same);
  if (strcmp(entry->hash, walk->head.hash) != 0) {
    return status_set(status, NINES_ECORRUPT, "audit entry %llu (%s on %s by %s) was changed", found, entry->action,
                      entry->target, entry->actor);
  }
  if (walk->head.sequence != walk->anchor.sequence) return 0;
  walk->passed = strcmp(walk->head.hash, walk->anchor.hash) == 0;
  if (walk->passed || !walk->anchored) return 0;
  return status_set(status, NINES_ECORRUPT, "audit entry %llu is not the one that audit.head tells of", found);
}

static int walk_rows(sqlite3 *connection, uint64_t after, struct walk *walk,
                     void (*each)(void *userdata, const struct audit_entry *entry), void *userdata,
                     struct status *status)
{
  sqlite3_stmt *row = NULL;
  int step = sqlite3_prepare_v2(connection,
                                "SELECT seq, wall_ns, actor, action, target, json, hash, prev FROM audit"
                                " WHERE seq > ? ORDER BY seq",
                                -1, &row, NULL);
  int code = 0;
  if (step == SQLITE_OK) sqlite3_bind_int64(row, 1, (sqlite3_int64)after);
  while (step == SQLITE_OK && code == 0 && sqlite3_step(row) == SQLITE_ROW) {
    struct audit_entry entry = {
      .sequence = (uint64_t)sqlite3_column_int64(row, 0),
      .wall_ns = sqlite3_column_int64(row, 1),
      .actor = column(row, 2),
      .action = column(row, 3),
      .target = column(row, 4),
      .json = column(row, 5),
      .hash = column(row, 6),
    };
    if (walk)
      code = check_entry(walk, &entry, column(row, 7), status);
    else
      each(userdata, &entry);
  }
  sqlite3_finalize(row);
  if (code != 0) return code;
  int error = sqlite3_errcode(connection) & 0xff;
  if (error == SQLITE_OK || error == SQLITE_DONE || error == SQLITE_ROW) return 0;
  code = error == SQLITE_CORRUPT || error == SQLITE_NOTADB ? NINES_ECORRUPT : NINES_EIO;
  return status_set(status, code, "cannot read the audit: %s", sqlite3_errmsg(connection));
}

int audit_verify(const char *dir, uint64_t *entries, struct status *status)
{
  struct walk walk = { 0 };
  audit_head_init(&walk.head);
  audit_head_init(&walk.anchor);
  // The anchor first: a living engine moves the table ahead of it, never behind it.
  int code = audit_anchor_read(dir, &walk.anchor, status);
  if (code != 0 && code != NINES_ENOTFOUND) return code;
  walk.anchored = code == 0;
  walk.passed = walk.anchor.sequence == 0;
  sqlite3 *connection = NULL;
  code = open_readonly(dir, &connection, status);
  if (code != 0) return code;
  code = walk_rows(connection, 0, &walk, NULL, NULL, status);
  sqlite3_close(connection);
  if (entries) *entries = walk.head.sequence;
  if (code != 0) return code;
  if (!walk.anchored) return status_set(status, NINES_ECORRUPT, "%s/audit.head, the audit's anchor, is missing", dir);
  if (walk.passed) return 0;
  return status_set(status, NINES_ECORRUPT, "the audit ends at entry %llu, but audit.head tells of entry %llu",
                    (unsigned long long)walk.head.sequence, (unsigned long long)walk.anchor.sequence);
}

int audit_each(const char *dir, uint64_t after, void (*each)(void *userdata, const struct audit_entry *entry),
               void *userdata, struct status *status)
{
  sqlite3 *connection = NULL;
  int code = open_readonly(dir, &connection, status);
  if (code != 0) return code;
  code = walk_rows(connection, after, NULL, each, userdata, status);
  sqlite3_close(connection);
  return code;
}
