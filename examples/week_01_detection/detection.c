// Payments in C: a few nanoseconds each.
#include <nines.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
  nines_arena *arena;
  nines_path *payments;
  char error[300];
  if (nines_attach(&arena, getenv("NINES_ARENA"), NULL, error, sizeof error) < 0)
    return fprintf(stderr, "%s\n", error), 1;
  if (nines_arena_path(arena, "payment_processing", &payments) < 0) return 1;
  for (int i = 0; i < 200; i++) {
    int64_t begun_ns = nines_now_ns();
    nines_path_record(payments, 1, nines_now_ns() - begun_ns); // around the call
  }
  nines_arena_close(arena);
  return 0;
}
