// One door to the allocator. A host's hook wants the old size back when it resizes or frees, as lua_Alloc does, and
// callers of mem_free do not know it; so each block carries its size in a 16-byte head, which also keeps the caller's
// part aligned as malloc would. The hook must return memory aligned to 16 bytes.
//
// Injected failures and mem_count concern mem_alloc, mem_zalloc and mem_resize only: a sweep over n must not end in
// mem_must, which ends the process. mem_must still dies when memory is really gone.
#include "mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

struct head {
  _Alignas(16) size_t size; // of the caller's part
};

static nines_allocator *hook_fn;
static void *hook_userdata;
static _Atomic bool taken; // memory was
static _Atomic long allocations;
static _Atomic long fail_in; // 0: off; n: the n-th from now fails
static _Atomic int fail_stay;

void mem_set_hook(nines_allocator *hook, void *userdata)
{
  hook_fn = hook;
  hook_userdata = userdata;
}

int nines_set_allocator(nines_allocator *allocator, void *userdata)
{
  if (atomic_load_explicit(&taken, memory_order_relaxed)) return NINES_ESTATE;
  mem_set_hook(allocator, userdata);
  return 0;
}

static void *resize_raw(void *ptr, size_t old_size, size_t new_size)
{
  if (hook_fn) return hook_fn(hook_userdata, ptr, old_size, new_size);
  if (new_size > 0) return realloc(ptr, new_size);
  free(ptr);
  return NULL;
}

static void *resize_block(void *ptr, size_t size)
{
  if (size > SIZE_MAX / 2) return NULL;
  if (!atomic_load_explicit(&taken, memory_order_relaxed)) atomic_store_explicit(&taken, true, memory_order_relaxed);
  struct head *old = ptr ? (struct head *)ptr - 1 : NULL;
  struct head *head = resize_raw(old, old ? sizeof *old + old->size : 0, sizeof *head + size);
  if (!head) return NULL;
  head->size = size;
  return head + 1;
}

// Whether this allocation is the one a test wants to fail.
static bool injected(void)
{
  atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
  long left = atomic_load_explicit(&fail_in, memory_order_relaxed);
  while (left > 0) {
    bool now = left == 1;
    long next = now && atomic_load_explicit(&fail_stay, memory_order_relaxed) ? 1 : left - 1;
    if (atomic_compare_exchange_weak_explicit(&fail_in, &left, next, memory_order_relaxed, memory_order_relaxed)) {
      return now;
    }
  }
  return false;
}

void *mem_alloc(size_t size)
{
  return injected() ? NULL : resize_block(NULL, size);
}

void *mem_zalloc(size_t size)
{
  void *ptr = mem_alloc(size);
  if (ptr) memset(ptr, 0, size);
  return ptr;
}

void *mem_resize(void *ptr, size_t size)
{
  return injected() ? NULL : resize_block(ptr, size);
}

void mem_free(void *ptr)
{
  if (!ptr) return;
  struct head *head = (struct head *)ptr - 1;
  resize_raw(head, sizeof *head + head->size, 0);
}

static void *must(void *ptr, size_t size)
{
  if (ptr) return ptr;
  fprintf(stderr, "nines: out of memory for %zu bytes; give the process more memory\n", size);
  abort();
}

void *mem_must(size_t size)
{
  return memset(must(resize_block(NULL, size), size), 0, size);
}

void *mem_must_resize(void *ptr, size_t size)
{
  return must(resize_block(ptr, size), size);
}

char *mem_must_copy(const char *text)
{
  return mem_must_copy_n(text, strlen(text));
}

char *mem_must_copy_n(const char *text, size_t length)
{
  CHECK(length < SIZE_MAX);
  char *copy = mem_must(length + 1);
  if (length > 0) memcpy(copy, text, length);
  return copy;
}

void mem_fail_at(long n, int stay)
{
  atomic_store_explicit(&fail_stay, stay, memory_order_relaxed);
  atomic_store_explicit(&fail_in, n, memory_order_relaxed);
}

long mem_count(void)
{
  return atomic_load_explicit(&allocations, memory_order_relaxed);
}
