// Digests by libcrypto's one-shot calls.
//
// A failure here means a libcrypto without SHA-256: nothing sensible can go on without the hash chain, and no input
// causes it, so it is checked and not reported.
#include "digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "check.h"

enum { DIGEST_BYTES = 32 };

static char *hex(const unsigned char bytes[static DIGEST_BYTES], char out[static DIGEST_HEX])
{
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < DIGEST_BYTES; i++) {
    out[2 * i] = digits[bytes[i] >> 4];
    out[2 * i + 1] = digits[bytes[i] & 15];
  }
  out[DIGEST_HEX - 1] = '\0';
  return out;
}

char *digest_sha256(struct view data, char out[static DIGEST_HEX])
{
  unsigned char bytes[DIGEST_BYTES];
  CHECK(EVP_Digest(data.size ? data.data : "", data.size, bytes, NULL, EVP_sha256(), NULL) == 1);
  return hex(bytes, out);
}

char *digest_hmac_sha256(struct view key, struct view data, char out[static DIGEST_HEX])
{
  unsigned char bytes[DIGEST_BYTES];
  CHECK(key.size <= INT_MAX);
  const unsigned char *text = (const unsigned char *)(data.size ? data.data : "");
  CHECK(HMAC(EVP_sha256(), key.size ? key.data : "", (int)key.size, text, data.size, bytes, NULL) != NULL);
  return hex(bytes, out);
}
