// Arbitrary bytes to the parser of dumped chunks: as they are, and behind a valid header.
#include <stdint.h>
#include <string.h>

#include "globals.h"

static void count(void *userdata, const struct globals_use *use)
{
  *(size_t *)userdata += strlen(use->name) + (use->line > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char header[] =
      "\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08\x78\x56\0\0\0\0\0\0\0\0\0\0\0\x28\x77\x40\x01";
  size_t sum = 0;
  globals_check(data, size, count, &sum, NULL);
  static char chunk[1 << 16];
  if (size > sizeof chunk - sizeof header) return 0;
  memcpy(chunk, header, sizeof header - 1);
  memcpy(chunk + sizeof header - 1, data, size);
  globals_check(chunk, sizeof header - 1 + size, count, &sum, NULL);
  return 0;
}
