// The SQLite side of the store: opening, setting aside, applying txns, reading documents. One thread at a time.
#ifndef NINES_IO_DATABASE_H
#define NINES_IO_DATABASE_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "txn.h"

struct database;

// A damaged file is set aside with a notice; a newer one is NINES_EVERSION.
int database_open(struct database **out, const char *dir, struct status *notice, struct status *status);
void database_close(struct database *database); // NULL is fine
// All of them in one transaction, or none.
int database_apply(struct database *database, const struct txn *const *txns, size_t count, struct status *status);
int database_each(struct database *database, const char *kind, txn_each_fn *each, void *userdata,
                  struct status *status);
int database_backup(struct database *database, const char *file, struct status *status);
uint64_t database_bytes(const struct database *database); // of the file and its log

#endif
