// Any bytes as a condition: an error with a column, or something that evaluates. The text that a compiled condition
// keeps must compile again, to as many fields.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_bits(void *userdata, uint32_t index, double *out)
{
  uint64_t bits = *(const uint64_t *)userdata >> (index % 32 * 2) & 3;
  static const double values[] = { 0, 1, 99.5, INFINITY };
  *out = values[bits];
  return (index + bits) % 5 != 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct expr *expr, *again;
  struct status status = { 0 };
  struct view text = { (const char *)data, size };
  int code = expr_compile(&expr, text, &status);
  if (code < 0) {
    CHECK(expr == NULL && status.code == code);
    CHECK(code == NINES_ELIMIT || strncmp(status.text, "column ", 7) == 0);
    return 0;
  }
  for (uint64_t bits = 0; bits != 4; bits++) {
    uint64_t spread = bits * 0x9e3779b97f4a7c15u;
    enum truth truth = expr_eval(expr, read_bits, &spread);
    CHECK(truth == TRUTH_FALSE || truth == TRUTH_TRUE || truth == TRUTH_UNKNOWN);
    int64_t since = EXPR_HOLD_START;
    (void)expr_hold(expr, truth, 1, &since);
  }
  CHECK(expr_compile(&again, view_of(expr_text(expr)), &status) == 0);
  CHECK(expr_field_count(again) == expr_field_count(expr));
  for (uint32_t i = 0; i < expr_field_count(expr); i++) {
    CHECK(expr_field_at(expr, i)->column <= size);
    CHECK(strcmp(expr_field_at(expr, i)->name, expr_field_at(again, i)->name) == 0);
  }
  expr_free(again);
  expr_free(expr);
  return 0;
}
