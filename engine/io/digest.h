// SHA-256 and HMAC-SHA-256, by libcrypto, as lower-case hex.
#ifndef NINES_IO_DIGEST_H
#define NINES_IO_DIGEST_H

#include "buf.h"

enum { DIGEST_HEX = 65 };

char *digest_sha256(struct view data, char out[static DIGEST_HEX]);
char *digest_hmac_sha256(struct view key, struct view data, char out[static DIGEST_HEX]);

#endif
