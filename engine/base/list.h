// A doubly linked list threaded through its members: no allocation, removal in O(1) without knowing the list.
#ifndef NINES_BASE_LIST_H
#define NINES_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
  struct list *next;
  struct list *prev;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
// The current node may be removed during the walk.
#define list_each(node, head)                                                                                          \
  for (struct list *node = (head)->next, *node##_next = node->next; node != (head);                                    \
       node = node##_next, node##_next = node->next)

static inline void list_init(struct list *head)
{
  head->next = head->prev = head;
}
static inline bool list_empty(const struct list *head)
{
  return head->next == head;
}
static inline void list_append(struct list *head, struct list *node)
{
  node->prev = head->prev;
  node->next = head;
  head->prev->next = node;
  head->prev = node;
}
// Safe to call twice, and on a node that list_init prepared.
static inline void list_remove(struct list *node)
{
  node->prev->next = node->next;
  node->next->prev = node->prev;
  list_init(node);
}

#endif
