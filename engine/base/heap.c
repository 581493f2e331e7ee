// A binary heap over pointers to embedded nodes. Two timers due at the same nanosecond fire in the order in which they
// were set, by a sequence number: without it a run would depend on the shape of the heap and would not repeat.
#include "heap.h"

#include "check.h"
#include "mem.h"
#include "nines.h"

enum { HEAP_FIRST = 16 };

void heap_fini(struct heap *heap)
{
  for (size_t i = 1; i <= heap->count; i++) heap->nodes[i]->place = 0;
  mem_free(heap->nodes);
  *heap = (struct heap){ 0 };
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
  return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void put(struct heap *heap, size_t place, struct heap_node *node)
{
  heap->nodes[place] = node;
  node->place = place;
}

// Moves `node`, which belongs at or above `place`, to where it belongs.
static void sift_up(struct heap *heap, size_t place, struct heap_node *node)
{
  for (; place > 1 && before(node, heap->nodes[place / 2]); place /= 2) put(heap, place, heap->nodes[place / 2]);
  put(heap, place, node);
}

static void sift_down(struct heap *heap, size_t place, struct heap_node *node)
{
  for (;;) {
    size_t child = place * 2;
    if (child > heap->count) break;
    if (child < heap->count && before(heap->nodes[child + 1], heap->nodes[child])) child++;
    if (!before(heap->nodes[child], node)) break;
    put(heap, place, heap->nodes[child]);
    place = child;
  }
  put(heap, place, node);
}

int heap_insert(struct heap *heap, struct heap_node *node, int64_t due_ns)
{
  heap_remove(heap, node);
  if (heap->count + 1 >= heap->capacity) {
    size_t capacity = heap->capacity > 0 ? heap->capacity * 2 : HEAP_FIRST;
    struct heap_node **nodes = mem_resize(heap->nodes, capacity * sizeof *nodes);
    if (!nodes) return NINES_ENOMEM;
    heap->nodes = nodes;
    heap->capacity = capacity;
  }
  node->due_ns = due_ns;
  node->sequence = heap->next_sequence++;
  sift_up(heap, ++heap->count, node);
  return 0;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
  if (node->place == 0) return;
  size_t place = node->place;
  CHECK(place <= heap->count && heap->nodes[place] == node);
  struct heap_node *last = heap->nodes[heap->count--];
  node->place = 0;
  if (last == node) return;
  if (place > 1 && before(last, heap->nodes[place / 2])) {
    sift_up(heap, place, last);
  } else {
    sift_down(heap, place, last);
  }
}

struct heap_node *heap_top(const struct heap *heap)
{
  return heap->count > 0 ? heap->nodes[1] : NULL;
}
