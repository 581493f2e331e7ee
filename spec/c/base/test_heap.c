// heap: against a scan over all nodes for the least (due, order of insertion).
#include "heap.h"

#include "mem.h"
#include "nines.h"
#include "spec.h"

enum { NODES = 200 };

static struct heap_node *slow_top(struct heap_node *nodes, const uint64_t *order)
{
  struct heap_node *best = NULL;
  for (size_t i = 0; i < NODES; i++) {
    if (nodes[i].place == 0) continue;
    bool first =
        !best || nodes[i].due_ns < best->due_ns || (nodes[i].due_ns == best->due_ns && order[i] < order[best - nodes]);
    if (first) best = &nodes[i];
  }
  return best;
}

static void test_random_operations(void **state)
{
  (void)state;
  struct rng rng = spec_rng("heap", 5);
  struct heap_node nodes[NODES] = { 0 };
  uint64_t order[NODES] = { 0 }, next = 0;
  size_t living = 0;
  struct heap heap = { 0 };
  for (int i = 0; i < 30000; i++) {
    size_t pick = rng_below(&rng, NODES);
    bool present = nodes[pick].place != 0;
    if (rng_below(&rng, 3) > 0) {
      assert_int_equal(heap_insert(&heap, &nodes[pick], (int64_t)rng_below(&rng, 50)), 0); // few values: many ties
      order[pick] = next++;
      living += present ? 0 : 1;
    } else if (rng_below(&rng, 2) == 0) {
      heap_remove(&heap, &nodes[pick]);
      living -= present ? 1 : 0;
    } else if (heap_top(&heap)) {
      heap_remove(&heap, heap_top(&heap));
      living--;
    }
    assert_int_equal(heap.count, living);
    assert_ptr_equal(heap_top(&heap), slow_top(nodes, order));
  }
  heap_fini(&heap);
  for (size_t i = 0; i < NODES; i++) assert_int_equal(nodes[i].place, 0);
}

static void test_out_of_memory(void **state)
{
  (void)state;
  struct heap heap = { 0 };
  struct heap_node node = { 0 };
  mem_fail_at(1, 0);
  assert_int_equal(heap_insert(&heap, &node, 1), NINES_ENOMEM);
  assert_int_equal(node.place, 0);
  assert_null(heap_top(&heap));
  heap_remove(&heap, &node);
  assert_int_equal(heap_insert(&heap, &node, 1), 0);
  heap_fini(&heap);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_random_operations),
    cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
