// FNV-1a, byte by byte. It is slower than newer hashes on long keys, but fingerprints must equal Alertmanager's, and
// our keys are names of a few dozen bytes.
#include "hash.h"

#define HASH_PRIME 0x100000001b3ULL

uint64_t hash_add(uint64_t hash, const void *data, size_t size)
{
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * HASH_PRIME;
  return hash;
}
