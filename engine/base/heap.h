// A binary heap of timers: ordered by due time, ties by the order of insertion, so that a run repeats exactly.
//
// Nodes are embedded in what is due; the heap keeps pointers and tells each node its place, so removal is O(log n).
#ifndef NINES_BASE_HEAP_H
#define NINES_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
  int64_t due_ns;
  uint64_t sequence; // set by heap_insert
  size_t place;      // 1-based; 0 when in no heap
};

struct heap {
  struct heap_node **nodes; // nodes[0] unused
  size_t count;
  size_t capacity;
  uint64_t next_sequence;
};

void heap_fini(struct heap *heap);
int heap_insert(struct heap *heap, struct heap_node *node, int64_t due_ns); // 0 or NINES_ENOMEM; moves it if inserted
void heap_remove(struct heap *heap, struct heap_node *node);                // nothing happens if it is in no heap
struct heap_node *heap_top(const struct heap *heap);                        // NULL when empty

#endif
