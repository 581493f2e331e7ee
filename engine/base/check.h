// Assertions for our own bugs, kept in release builds; never for input.
#ifndef NINES_BASE_CHECK_H
#define NINES_BASE_CHECK_H

// Prints the expression and its place to stderr and aborts when `ok` is false.
#define CHECK(ok) ((ok) ? (void)0 : check_failed(#ok, __FILE__, __LINE__))

_Noreturn void check_failed(const char *expression, const char *file, int line);

#endif
