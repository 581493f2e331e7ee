// mem: zeroing, resizing, a host's hook with exact old sizes, and injected failures.
#include "mem.h"
#include "spec.h"

struct host {
  size_t living_bytes;
  long calls;
};

static void *host_hook(void *userdata, void *ptr, size_t old_size, size_t new_size)
{
  struct host *host = userdata;
  host->calls++;
  assert_true(ptr || old_size == 0);
  host->living_bytes += new_size;
  host->living_bytes -= old_size;
  if (new_size > 0) return realloc(ptr, new_size);
  free(ptr);
  return NULL;
}

static void test_sizes(void **state)
{
  (void)state;
  unsigned char *block = mem_zalloc(100);
  for (int i = 0; i < 100; i++) assert_int_equal(block[i], 0);
  assert_int_equal((uintptr_t)block % 16, 0);
  block[99] = 7;
  block = mem_resize(block, 100000);
  assert_int_equal(block[99], 7);
  mem_free(block);
  mem_free(NULL);
  void *empty = mem_alloc(0);
  assert_non_null(empty);
  mem_free(empty);
  assert_null(mem_alloc(SIZE_MAX));
  assert_null(mem_alloc(SIZE_MAX - 8));
  char *copy = mem_must_copy_n("abcdef", 3);
  assert_string_equal(copy, "abc");
  mem_free(copy);
}

static void test_hook_gets_old_sizes(void **state)
{
  (void)state;
  struct host host = { 0 };
  mem_set_hook(host_hook, &host);
  struct rng rng = spec_rng("mem", 1);
  void *blocks[32] = { 0 };
  for (int i = 0; i < 5000; i++) {
    void **block = &blocks[rng_below(&rng, 32)];
    if (rng_below(&rng, 3) == 0) {
      mem_free(*block);
      *block = NULL;
    } else {
      *block = mem_resize(*block, rng_below(&rng, 500));
    }
  }
  for (int i = 0; i < 32; i++) mem_free(blocks[i]);
  mem_set_hook(NULL, NULL);
  assert_true(host.calls > 1000);
  assert_int_equal(host.living_bytes, 0);
}

static void test_injected_failures(void **state)
{
  (void)state;
  long before = mem_count();
  mem_fail_at(2, 0);
  void *first = mem_alloc(1), *second = mem_alloc(1), *third = mem_alloc(1);
  assert_non_null(first);
  assert_null(second);
  assert_non_null(third);
  assert_int_equal(mem_count() - before, 3);
  mem_fail_at(1, 1);
  assert_null(mem_zalloc(1));
  assert_null(mem_resize(first, 50));
  void *must = mem_must(1);
  assert_non_null(must);
  mem_fail_at(0, 0);
  first = mem_resize(first, 50);
  assert_non_null(first);
  mem_free(must);
  mem_free(first);
  mem_free(third);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_sizes),
    cmocka_unit_test(test_hook_gets_old_sizes),
    cmocka_unit_test(test_injected_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
