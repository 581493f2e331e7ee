// FNV-1a, 64 bits: fingerprints that equal Alertmanager's, map slots and the trace hash. Not for secrets.
#ifndef NINES_BASE_HASH_H
#define NINES_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START 0xcbf29ce484222325ULL

uint64_t hash_add(uint64_t hash, const void *data, size_t size);

#endif
