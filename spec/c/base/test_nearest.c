// nearest: known distances, limits, and the recursive definition as an oracle.
#include "nearest.h"

#include <stdbool.h>

#include "spec.h"

static size_t least(size_t a, size_t b)
{
  return a < b ? a : b;
}

// Restricted Damerau distance straight from its definition.
static size_t slow_distance(const char *a, size_t i, const char *b, size_t j)
{
  if (i == 0 || j == 0) return i + j;
  size_t best = slow_distance(a, i - 1, b, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
  best = least(best, slow_distance(a, i - 1, b, j) + 1);
  best = least(best, slow_distance(a, i, b, j - 1) + 1);
  bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
  return swapped ? least(best, slow_distance(a, i - 2, b, j - 2) + 1) : best;
}

static void test_suggestions(void **state)
{
  (void)state;
  struct nearest nearest;
  nearest_init(&nearest, view_of("succes_rate"));
  nearest_try(&nearest, "error_rate");
  nearest_try(&nearest, "success_rate");
  nearest_try(&nearest, "latency_p95");
  assert_string_equal(nearest.best, "success_rate");
  assert_int_equal(nearest.distance, 1);
  nearest_init(&nearest, view_of("hgih"));
  nearest_try(&nearest, "low");
  nearest_try(&nearest, "high");
  assert_string_equal(nearest.best, "high");
  nearest_init(&nearest, view_of("window"));
  nearest_try(&nearest, "latency");
  assert_null(nearest.best);
}

static void test_long_words_get_none(void **state)
{
  (void)state;
  char word[101];
  memset(word, 'x', 100);
  word[100] = '\0';
  struct nearest nearest;
  nearest_init(&nearest, view_of(word));
  nearest_try(&nearest, word);
  assert_null(nearest.best);
}

static void test_distance_matches_definition(void **state)
{
  (void)state;
  struct rng rng = spec_rng("nearest", 7);
  for (int i = 0; i < 3000; i++) {
    char a[8], b[8];
    size_t size_a = rng_below(&rng, 8), size_b = rng_below(&rng, 8);
    for (size_t j = 0; j < size_a; j++) a[j] = (char)('a' + rng_below(&rng, 3));
    for (size_t j = 0; j < size_b; j++) b[j] = (char)('a' + rng_below(&rng, 3));
    a[size_a] = b[size_b] = '\0';
    struct nearest nearest;
    nearest_init(&nearest, view_of(a));
    nearest_try(&nearest, b);
    size_t distance = slow_distance(a, size_a, b, size_b);
    bool near = distance <= (size_a / 3 > 1 ? size_a / 3 : 1);
    assert_int_equal(nearest.best != NULL, near);
    if (near) assert_int_equal(nearest.distance, distance);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_suggestions),
    cmocka_unit_test(test_long_words_get_none),
    cmocka_unit_test(test_distance_matches_definition),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
