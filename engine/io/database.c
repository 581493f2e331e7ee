// nines.db: table `document` (whose rowids, kept on replacement, are the order of creation) and table `audit`.
//
// WAL with synchronous=FULL: a commit that was told survives a power failure. At start the file is checked as a whole
// when it is small enough for that to take milliseconds; damage in a larger one shows when its pages are read. The head
// of the audit is kept in memory and read again from the table after every failure, when nobody knows how far the
// transaction came.
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit.h"
#include "clock.h"
#include "mem.h"

enum { SCHEMA_VERSION = 1, BUSY_MS = 2000, DAMAGED_MAX = 1000, CHECK_BYTES_MAX = 32 << 20, DIR_MAX = PATH_MAX - 100 };

enum statement { BEGIN, COMMIT, ROLLBACK, PUT, DELETE, AUDIT, EACH, STATEMENTS };

static const char *const statement_text[STATEMENTS] = {
  [BEGIN] = "BEGIN IMMEDIATE",
  [COMMIT] = "COMMIT",
  [ROLLBACK] = "ROLLBACK",
  [PUT] = "INSERT INTO document (kind, id, json, wall_ns) VALUES (?1, ?2, ?3, ?4)"
          " ON CONFLICT (kind, id) DO UPDATE SET json = excluded.json, wall_ns = excluded.wall_ns",
  [DELETE] = "DELETE FROM document WHERE kind = ?1 AND id = ?2",
  [AUDIT] = "INSERT INTO audit (seq, wall_ns, actor, action, target, json, prev, hash)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
  [EACH] = "SELECT id, json FROM document WHERE kind = ?1 ORDER BY seq",
};

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE document (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL,"
    " json TEXT NOT NULL, wall_ns INTEGER NOT NULL, UNIQUE (kind, id));"
    "CREATE TABLE audit (seq INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,"
    " target TEXT NOT NULL, json TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL);"
    "PRAGMA user_version = 1;"
    "COMMIT";

struct database {
  sqlite3 *connection;
  sqlite3_stmt *statements[STATEMENTS];
  struct audit_head head;
  uint64_t anchored; // sequence in audit.head
  char dir[DIR_MAX];
  char path[PATH_MAX];
};

static int fail(const struct database *database, struct status *status, const char *doing)
{
  int error = sqlite3_errcode(database->connection) & 0xff;
  int system_error = sqlite3_system_errno(database->connection);
  int code = error == SQLITE_CORRUPT || error == SQLITE_NOTADB ? NINES_ECORRUPT
             : error == SQLITE_NOMEM                           ? NINES_ENOMEM
             : error == SQLITE_BUSY                            ? NINES_EBUSY
             : error == SQLITE_TOOBIG                          ? NINES_ELIMIT
                                                               : NINES_EIO;
  bool tell = (error == SQLITE_IOERR || error == SQLITE_CANTOPEN) && system_error != 0;
  return status_set(status, code, "%s: cannot %s: %s%s%s", database->path, doing, sqlite3_errmsg(database->connection),
                    tell ? ": " : "", tell ? strerror(system_error) : "");
}

static int run(struct database *database, const char *sql)
{
  return sqlite3_exec(database->connection, sql, NULL, NULL, NULL);
}

// The one number (or text that begins with it) a pragma or query answers; SQLITE_* when it fails.
static int ask(struct database *database, const char *sql, int64_t *number, char *text, size_t text_size)
{
  sqlite3_stmt *row = NULL;
  int result = sqlite3_prepare_v2(database->connection, sql, -1, &row, NULL);
  if (result == SQLITE_OK) result = sqlite3_step(row);
  if (result == SQLITE_ROW) {
    if (number) *number = sqlite3_column_int64(row, 0);
    const unsigned char *answer = sqlite3_column_text(row, 0);
    if (text) snprintf(text, text_size, "%s", answer ? (const char *)answer : "");
  }
  sqlite3_finalize(row);
  return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

static bool is_damage(int result)
{
  return (result & 0xff) == SQLITE_CORRUPT || (result & 0xff) == SQLITE_NOTADB;
}

static bool file_size(const char *path, uint64_t *bytes)
{
  struct stat info;
  if (stat(path, &info) != 0) return false;
  *bytes = (uint64_t)info.st_size;
  return true;
}

uint64_t database_bytes(const struct database *database)
{
  char log[PATH_MAX + 8];
  uint64_t file_bytes = 0, log_bytes = 0;
  snprintf(log, sizeof(log), "%s-wal", database->path);
  file_size(database->path, &file_bytes);
  file_size(log, &log_bytes);
  return file_bytes + log_bytes;
}

static int quick_check(struct database *database)
{
  if (database_bytes(database) > CHECK_BYTES_MAX) return SQLITE_OK;
  char answer[64] = "ok";
  int result = ask(database, "PRAGMA quick_check(1)", NULL, answer, sizeof(answer));
  return result == SQLITE_OK && strcmp(answer, "ok") != 0 ? SQLITE_CORRUPT : result;
}

// Opens the connection and brings the schema up. A SQLITE_* code; *version is that of the file.
static int connect_file(struct database *database, int64_t *version)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int result = sqlite3_open_v2(database->path, &database->connection, flags, NULL);
  if (result != SQLITE_OK) return result;
  sqlite3_extended_result_codes(database->connection, 1);
  sqlite3_busy_timeout(database->connection, BUSY_MS);
  int64_t tables = 0;
  result = ask(database, "PRAGMA user_version", version, NULL, 0);
  if (result == SQLITE_OK) result = ask(database, "SELECT count(*) FROM sqlite_master", &tables, NULL, 0);
  if (result != SQLITE_OK) return result;
  if (*version == 0 && tables > 0) *version = -1; // somebody else's
  if (*version != 0 && *version != SCHEMA_VERSION) return SQLITE_OK;
  result = run(database, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216");
  if (result == SQLITE_OK && *version == 0) {
    result = run(database, schema);
    *version = SCHEMA_VERSION;
  }
  if (result == SQLITE_OK) result = quick_check(database);
  for (int i = 0; i < STATEMENTS && result == SQLITE_OK; i++) {
    result = sqlite3_prepare_v3(database->connection, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &database->statements[i], NULL);
  }
  // Schema errors of a file that claims our version: damage as well.
  return result == SQLITE_ERROR ? SQLITE_CORRUPT : result;
}

static void disconnect(struct database *database)
{
  for (int i = 0; i < STATEMENTS; i++) {
    sqlite3_finalize(database->statements[i]);
    database->statements[i] = NULL;
  }
  sqlite3_close(database->connection);
  database->connection = NULL;
}

// Renames FILE to FILE.damaged-N, its log (if any) to FILE.damaged-N-wal.
static int set_aside(const char *file, char aside[static PATH_MAX], struct status *status)
{
  for (int n = 1; n <= DAMAGED_MAX; n++) {
    if (snprintf(aside, PATH_MAX, "%s.damaged-%d", file, n) >= PATH_MAX) break;
    if (access(aside, F_OK) == 0) continue;
    if (rename(file, aside) != 0) break;
    char log[PATH_MAX + 8], log_aside[PATH_MAX + 8];
    snprintf(log, sizeof(log), "%s-wal", file);
    snprintf(log_aside, sizeof(log_aside), "%s-wal", aside);
    rename(log, log_aside);
    snprintf(log, sizeof(log), "%s-shm", file);
    unlink(log);
    return 0;
  }
  return status_set(status, NINES_EIO, "%s is damaged and cannot be set aside: %s", file, strerror(errno));
}

static int open_file(struct database *database, struct status *notice, struct status *status)
{
  int64_t version = 0;
  int result = connect_file(database, &version);
  if (is_damage(result)) {
    char aside[PATH_MAX], why[200];
    snprintf(why, sizeof(why), "%s", sqlite3_errmsg(database->connection));
    disconnect(database);
    int code = set_aside(database->path, aside, status);
    if (code != 0) return code;
    status_set(notice, NINES_ECORRUPT, "%s was damaged and is kept as %s; starting with an empty one", database->path,
               aside);
    result = connect_file(database, &version);
  }
  if (result != SQLITE_OK) return fail(database, status, "open the database");
  if (version == SCHEMA_VERSION) return 0;
  if (version < 0) {
    return status_set(status, NINES_EVERSION, "%s is no database of nines; choose another data directory",
                      database->path);
  }
  return status_set(status, NINES_EVERSION,
                    "%s was written by a newer nines (schema %lld; this one knows %d); run that version, or choose "
                    "another data directory",
                    database->path, (long long)version, SCHEMA_VERSION);
}

static int read_entry(struct database *database, const char *sql, struct audit_head *head, struct status *status)
{
  char text[DIGEST_HEX] = "";
  int64_t sequence = 0;
  audit_head_init(head);
  sqlite3_stmt *row = NULL;
  int result = sqlite3_prepare_v2(database->connection, sql, -1, &row, NULL);
  if (result == SQLITE_OK) result = sqlite3_step(row);
  if (result == SQLITE_ROW) {
    const unsigned char *hash = sqlite3_column_text(row, 1);
    sequence = sqlite3_column_int64(row, 0);
    snprintf(text, sizeof(text), "%s", hash ? (const char *)hash : "");
    head->sequence = (uint64_t)sequence;
    memcpy(head->hash, text, DIGEST_HEX);
  }
  int code = result == SQLITE_ROW || result == SQLITE_DONE ? 0 : fail(database, status, "read the audit");
  sqlite3_finalize(row);
  return code;
}

static int read_head(struct database *database, struct status *status)
{
  return read_entry(database, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &database->head, status);
}

// Whether the chain still passes through the anchor (an older head is what a crash after a commit leaves).
static int compare_anchor(struct database *database, bool *fits, char *why, size_t why_size, struct status *status)
{
  struct audit_head anchor, entry;
  struct status problem = { 0 };
  audit_head_init(&anchor);
  int code = audit_anchor_read(database->dir, &anchor, &problem);
  if (code == NINES_EIO) return status_set(status, code, "%s", problem.text);
  *fits = false;
  if (code == NINES_ECORRUPT) {
    snprintf(why, why_size, "audit.head is damaged");
    return 0;
  }
  if (code == NINES_ENOTFOUND) {
    *fits = database->head.sequence == 0;
    snprintf(why, why_size, "audit.head is missing");
    return 0;
  }
  database->anchored = anchor.sequence;
  char sql[128];
  snprintf(sql, sizeof(sql), "SELECT seq, hash FROM audit WHERE seq = %lld", (long long)anchor.sequence);
  code = read_entry(database, sql, &entry, status);
  if (code != 0) return code;
  *fits = entry.sequence == anchor.sequence && strcmp(entry.hash, anchor.hash) == 0;
  if (anchor.sequence > database->head.sequence) {
    snprintf(why, why_size, "the audit ends at entry %llu, but audit.head tells of entry %llu",
             (unsigned long long)database->head.sequence, (unsigned long long)anchor.sequence);
  } else {
    snprintf(why, why_size, "audit entry %llu is not the one that audit.head tells of",
             (unsigned long long)anchor.sequence);
  }
  return 0;
}

// Tells of a mismatch in the chain itself, so that the new anchor does not hide it.
static int record_mismatch(struct database *database, const char *why, struct status *notice, struct status *status)
{
  char file[PATH_MAX], aside[PATH_MAX] = "";
  snprintf(file, sizeof(file), "%s/audit.head", database->dir);
  if (access(file, F_OK) == 0) {
    int code = set_aside(file, aside, status);
    if (code != 0) return code;
  }
  database->anchored = 0;
  struct buf details = { 0 };
  buf_text(&details, "{\"found\":");
  buf_json_text(&details, view_of(why));
  buf_text(&details, ",\"kept_as\":");
  buf_json_text(&details, view_of(aside));
  buf_text(&details, "}");
  struct nines_clock *clock = clock_system_open();
  struct txn txn = { 0 };
  txn_audit(&txn, clock->wall_ns(clock), "engine", "audit.mismatch", "audit", buf_view(&details));
  clock_system_close(clock);
  buf_free(&details);
  const struct txn *only = &txn;
  int code = database_apply(database, &only, 1, status);
  txn_fini(&txn);
  if (code != 0) return code;
  if (notice->code != 0) return 0; // the damaged database explains it
  status_set(notice, NINES_ECORRUPT, "%s%s%s", why, aside[0] ? "; the anchor is kept as " : "", aside);
  return 0;
}

int database_open(struct database **out, const char *dir, struct status *notice, struct status *status)
{
  *out = NULL;
  if (strlen(dir) >= DIR_MAX) return status_set(status, NINES_EINVAL, "the path of the data directory is too long");
  struct database *database = mem_must(sizeof(*database));
  snprintf(database->dir, sizeof(database->dir), "%s", dir);
  snprintf(database->path, sizeof(database->path), "%s/nines.db", dir);
  status_set(notice, 0, "%s", "");
  bool fits = true;
  char why[200] = "";
  int code = open_file(database, notice, status);
  if (code == 0) code = read_head(database, status);
  if (code == 0) code = compare_anchor(database, &fits, why, sizeof(why), status);
  if (code == 0 && !fits) code = record_mismatch(database, why, notice, status);
  if (code == 0 && fits) code = audit_anchor_write(dir, &database->head, status);
  if (code != 0) {
    database_close(database);
    return code;
  }
  database->anchored = database->head.sequence;
  *out = database;
  return 0;
}

void database_close(struct database *database)
{
  if (!database) return;
  disconnect(database);
  mem_free(database);
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
  sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

static bool step(struct database *database, enum statement which)
{
  sqlite3_stmt *statement = database->statements[which];
  bool done = sqlite3_step(statement) == SQLITE_DONE;
  sqlite3_reset(statement);
  return done;
}

static void bind_audit(struct database *database, const struct txn_op *op)
{
  sqlite3_stmt *audit = database->statements[AUDIT];
  struct audit_entry entry = {
    .wall_ns = op->wall_ns, .actor = op->actor, .action = op->kind, .target = op->id, .json = op->json
  };
  sqlite3_bind_text(audit, 7, database->head.hash, -1, SQLITE_TRANSIENT);
  audit_head_extend(&database->head, &entry);
  sqlite3_bind_int64(audit, 1, (sqlite3_int64)entry.sequence);
  sqlite3_bind_int64(audit, 2, entry.wall_ns);
  bind_text(audit, 3, entry.actor);
  bind_text(audit, 4, entry.action);
  bind_text(audit, 5, entry.target);
  bind_text(audit, 6, entry.json);
  bind_text(audit, 8, entry.hash);
}

static bool apply_op(struct database *database, const struct txn_op *op)
{
  if (op->type == TXN_AUDIT) {
    bind_audit(database, op);
    return step(database, AUDIT);
  }
  enum statement which = op->type == TXN_PUT ? PUT : DELETE;
  sqlite3_stmt *statement = database->statements[which];
  bind_text(statement, 1, op->kind);
  bind_text(statement, 2, op->id);
  if (which == PUT) {
    bind_text(statement, 3, op->json);
    sqlite3_bind_int64(statement, 4, op->wall_ns);
  }
  return step(database, which);
}

int database_apply(struct database *database, const struct txn *const *txns, size_t count, struct status *status)
{
  bool ok = step(database, BEGIN);
  for (size_t i = 0; i < count && ok; i++) {
    for (uint32_t j = 0; j < txns[i]->count && ok; j++) ok = apply_op(database, &txns[i]->ops[j]);
  }
  if (ok) ok = step(database, COMMIT);
  if (!ok) {
    int code = fail(database, status, "commit");
    if (!sqlite3_get_autocommit(database->connection)) step(database, ROLLBACK);
    read_head(database, NULL);
    return code;
  }
  if (database->head.sequence != database->anchored) {
    // Not the txn's failure: an older anchor still fits, and the next commit writes it anew.
    if (audit_anchor_write(database->dir, &database->head, NULL) == 0) database->anchored = database->head.sequence;
  }
  return 0;
}

int database_each(struct database *database, const char *kind, txn_each_fn *each, void *userdata, struct status *status)
{
  sqlite3_stmt *row = database->statements[EACH];
  bind_text(row, 1, kind);
  int result;
  while ((result = sqlite3_step(row)) == SQLITE_ROW) {
    const char *id = (const char *)sqlite3_column_text(row, 0);
    const char *json = (const char *)sqlite3_column_text(row, 1);
    size_t size = (size_t)sqlite3_column_bytes(row, 1);
    if (!id || !json) break; // out of memory
    each(userdata, id, (struct view){ json, size });
  }
  int code = result == SQLITE_DONE ? 0 : fail(database, status, "read documents");
  sqlite3_reset(row);
  return code;
}

int database_backup(struct database *database, const char *file, struct status *status)
{
  if (access(file, F_OK) == 0) {
    return status_set(status, NINES_EEXISTS, "%s exists; a backup goes to a new file", file);
  }
  sqlite3_stmt *vacuum = NULL;
  bool ok = sqlite3_prepare_v2(database->connection, "VACUUM INTO ?1", -1, &vacuum, NULL) == SQLITE_OK;
  if (ok) {
    bind_text(vacuum, 1, file);
    ok = sqlite3_step(vacuum) == SQLITE_DONE;
  }
  int code = ok ? 0 : fail(database, status, "write the backup");
  sqlite3_finalize(vacuum);
  if (code == 0) {
    int fd = open(file, O_RDONLY | O_CLOEXEC); // SQLite does not sync what VACUUM INTO makes
    if (fd < 0 || fsync(fd) != 0) code = status_set(status, NINES_EIO, "%s: %s", file, strerror(errno));
    if (fd >= 0) close(fd);
  }
  if (code != 0) unlink(file);
  return code;
}
