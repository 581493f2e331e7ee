// Every allocation of the engine passes here, so that a host can supply the allocator and a test can make the n-th
// fail.
//
// The hook is process-wide; a host sets it by nines_set_allocator, before anything is allocated. Rule: whatever a
// user's input can make large (bodies, lists, queues) is allocated with mem_alloc and its failure handled; small
// bookkeeping uses mem_must, which ends the process with a message: an engine without 200 bytes left is restarted from
// its journal, not limped along.
#ifndef NINES_BASE_MEM_H
#define NINES_BASE_MEM_H

#include <stddef.h>

#include "nines.h"

void mem_set_hook(nines_allocator *hook, void *userdata); // NULL: realloc and free

void *mem_alloc(size_t size);             // uninitialised; NULL when out of memory
void *mem_zalloc(size_t size);            // zeroed; NULL when out of memory
void *mem_resize(void *ptr, size_t size); // NULL leaves ptr as it was
void mem_free(void *ptr);                 // NULL is fine

void *mem_must(size_t size); // zeroed; never NULL
void *mem_must_resize(void *ptr, size_t size);
char *mem_must_copy(const char *text); // a copy of a string; never NULL
char *mem_must_copy_n(const char *text, size_t length);

// Tests: the n-th allocation from now fails (1 = the next), and all after it when `stay`. 0 switches off. mem_must and
// its kin neither fail so nor count.
void mem_fail_at(long n, int stay);
// Allocations made since start; a sweep runs n from 1 to the count of a clean run.
long mem_count(void);

#endif
