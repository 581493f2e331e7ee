// An engine on its host's memory: all of it comes from there, sizes are right, all of it comes back, also from threads.

#include "embed_host.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic long living_bytes, blocks, calls;

// Knows the size of each block itself, so that a wrong old_size does not go unnoticed.
static void *allocate(void *userdata, void *ptr, size_t old_size, size_t new_size)
{
  size_t *block = ptr ? (size_t *)ptr - 2 : NULL;
  assert_ptr_equal(&living_bytes, userdata);
  assert_int_equal(block ? *block : 0, old_size);
  calls++;
  living_bytes += (long)new_size - (long)old_size;
  blocks += (long)(new_size > 0) - (long)(block != NULL);
  if (new_size == 0) {
    free(block);
    return NULL;
  }
  block = realloc(block, new_size + 16);
  assert_non_null(block);
  *block = new_size;
  return block + 2;
}

static void *record(void *path)
{
  for (int i = 0; i < 1000; i++) nines_path_record(path, 1, NS_PER_MS);
  return NULL;
}

static void test_allocator(void **state)
{
  (void)state;
  assert_int_equal(0, nines_set_allocator(allocate, &living_bytes));
  char dir[] = "/tmp/nines-embed-spec-XXXXXX", command[100], path[100];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/nines.yaml", dir);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("listen: off\ndata: ./data\npolicies: []\n", file);
  fclose(file);
  struct host host;
  nines_config config = host_config(&host);
  config.dir = dir;
  host_open(&host, &config);
  assert_int_equal(NINES_ESTATE, nines_set_allocator(NULL, NULL));
  long before = living_bytes;
  host_load(&host, "large.lua",
            "local t = {}\nfor i = 1, 20000 do t[i] = 'entry ' .. i end\n"
            "every('1s', function() notify { title = t[7] } end)\n");
  assert_true(living_bytes - before > 500000); // scripts live on it too
  nines_path *recorded;
  pthread_t threads[4];
  assert_int_equal(0, nines_path_get(host.engine, "checkout", &recorded));
  for (int i = 0; i < 4; i++) assert_int_equal(0, pthread_create(&threads[i], NULL, record, recorded));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  host.answers_at_once = true;
  host_run(&host, 10 * NS_PER_S);
  assert_true(host.asked_count >= 9);
  host_close(&host);
  assert_true(calls > 1000);
  assert_int_equal(0, blocks);
  assert_int_equal(0, living_bytes);
  assert_int_equal(NINES_ESTATE, nines_set_allocator(NULL, NULL));
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  assert_int_equal(0, system(command));
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_allocator) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
