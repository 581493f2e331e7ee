// SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 4231) against the published vectors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "digest.h"

static void sha256_vectors(void **state)
{
  (void)state;
  char out[DIGEST_HEX], million[1000];
  assert_string_equal(digest_sha256(view_of(""), out),
                      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert_string_equal(digest_sha256(view_of(NULL), out),
                      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert_string_equal(digest_sha256(view_of("abc"), out),
                      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  memset(million, 'a', sizeof million);
  assert_string_equal(digest_sha256((struct view){ million, sizeof million }, out),
                      "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
}

static void hmac_vectors(void **state)
{
  (void)state;
  char out[DIGEST_HEX], key[131], data[50];
  memset(key, 0x0b, 20);
  assert_string_equal(digest_hmac_sha256((struct view){ key, 20 }, view_of("Hi There"), out),
                      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  assert_string_equal(digest_hmac_sha256(view_of("Jefe"), view_of("what do ya want for nothing?"), out),
                      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  memset(key, 0xaa, sizeof key);
  memset(data, 0xdd, sizeof data);
  assert_string_equal(digest_hmac_sha256((struct view){ key, 20 }, (struct view){ data, 50 }, out),
                      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  assert_string_equal(digest_hmac_sha256((struct view){ key, 131 },
                                         view_of("Test Using Larger Than Block-Size Key - Hash Key First"), out),
                      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  assert_string_equal(digest_hmac_sha256(view_of(""), view_of(""), out),
                      "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(sha256_vectors), cmocka_unit_test(hmac_vectors) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
