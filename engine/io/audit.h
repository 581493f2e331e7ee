// The audit's hash chain: each entry carries the hash of the one before it, and the newest hash is anchored in a file.
//
// Who can write the database can rewrite the table, but not so that it still fits an anchor that was copied elsewhere.
#ifndef NINES_IO_AUDIT_H
#define NINES_IO_AUDIT_H

#include <stdint.h>

#include "digest.h"
#include "status.h"

struct audit_entry {
  uint64_t sequence; // from 1, without gaps
  int64_t wall_ns;
  const char *actor, *action, *target, *json, *hash;
};

// The newest entry; sequence 0 and a hash of zeros for an empty table.
struct audit_head {
  uint64_t sequence;
  char hash[DIGEST_HEX];
};

// Walks the chain of a closed or living database and compares it with the anchor. 0; NINES_ECORRUPT with the first
// entry that does not fit; NINES_ENOTFOUND without a database; NINES_EIO. An anchor that is older than the table's end
// fits when the chain passes through it: the anchor is written after the commit. `entries` may be NULL.
int audit_verify(const char *dir, uint64_t *entries, struct status *status);
// Entries with a sequence above `after`, in order.
int audit_each(const char *dir, uint64_t after, void (*each)(void *userdata, const struct audit_entry *entry),
               void *userdata, struct status *status);

// For the writer (database.h).
void audit_head_init(struct audit_head *head);
// Makes `entry` the successor of `head`: sets its sequence, and the new head with its hash.
void audit_head_extend(struct audit_head *head, struct audit_entry *entry);
// DIR/audit.head: "SEQUENCE HASH\n", replaced by rename. Read: 0, NINES_ENOTFOUND, NINES_ECORRUPT or NINES_EIO.
int audit_anchor_read(const char *dir, struct audit_head *head, struct status *status);
int audit_anchor_write(const char *dir, const struct audit_head *head, struct status *status);

#endif
