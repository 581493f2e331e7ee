// pool: alignment, zeroing, no overlap, limits, reuse.
#include "pool.h"

#include "mem.h"
#include "spec.h"

static void test_pieces_do_not_overlap(void **state)
{
  (void)state;
  struct rng rng = spec_rng("pool", 14);
  enum { PIECES = 2000 };
  static unsigned char *pieces[PIECES];
  static size_t sizes[PIECES];
  struct pool pool = { 0 };
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < PIECES; i++) {
      sizes[i] = rng_below(&rng, rng_below(&rng, 20) == 0 ? 100000 : 200);
      pieces[i] = pool_alloc(&pool, sizes[i]);
      assert_non_null(pieces[i]);
      assert_int_equal((uintptr_t)pieces[i] % 16, 0);
      for (size_t j = 0; j < sizes[i]; j++) assert_true(pieces[i][j] == 0);
      memset(pieces[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < PIECES; i++) {
      for (size_t j = 0; j < sizes[i]; j++) assert_true(pieces[i][j] == (i & 0xff));
    }
    pool_reset(&pool);
    assert_int_equal(pool.used_bytes, 0);
  }
  pool_fini(&pool);
  assert_null(pool.blocks);
}

static void test_limit(void **state)
{
  (void)state;
  struct pool pool = { .limit_bytes = 100 };
  assert_non_null(pool_alloc(&pool, 90));
  assert_null(pool_alloc(&pool, 16));
  assert_null(pool_alloc(&pool, SIZE_MAX));
  assert_null(pool_alloc(&pool, SIZE_MAX - 20));
  pool_reset(&pool);
  assert_string_equal(pool_copy(&pool, view_of("hello")), "hello");
  assert_string_equal(pool_copy(&pool, (struct view){ NULL, 0 }), "");
  pool_fini(&pool);
}

static void test_reset_keeps_a_block(void **state)
{
  (void)state;
  struct pool pool = { 0 };
  pool_alloc(&pool, 100);
  long before = mem_count();
  for (int i = 0; i < 1000; i++) {
    pool_reset(&pool);
    assert_non_null(pool_alloc(&pool, 2000));
  }
  assert_int_equal(mem_count(), before);
  pool_fini(&pool);
  assert_non_null(pool_alloc(&pool, 10 << 20)); // a giant goes at the reset
  pool_reset(&pool);
  assert_null(pool.blocks);
}

static void test_out_of_memory(void **state)
{
  (void)state;
  struct pool pool = { 0 };
  mem_fail_at(1, 0);
  assert_null(pool_alloc(&pool, 8));
  assert_non_null(pool_alloc(&pool, 8));
  assert_int_equal(pool.used_bytes, 16);
  pool_fini(&pool);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pieces_do_not_overlap),
    cmocka_unit_test(test_limit),
    cmocka_unit_test(test_reset_keeps_a_block),
    cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
