// The compiled form of a condition while it grows (private to expr*.c).
//
// The nodes stand in the order of evaluation: operands before their operator, so that evaluation is one walk with a
// stack and never recurses. A skip node stands between the operands of `and` and `or`.
#ifndef NINES_BASE_EXPR_PARSE_H
#define NINES_BASE_EXPR_PARSE_H

#include <math.h>

#include "expr.h"
#include "expr_lex.h"

enum {
  EXPR_NODES_MAX = 128,               // literals, fields and operators, as written
  EXPR_CODE_MAX = 2 * EXPR_NODES_MAX, // with the skips
  EXPR_DEPTH_MAX = 32,                // parentheses
  EXPR_LABELS_MAX = 16,               // of one field
  EXPR_STRINGS_MAX = EXPR_TEXT_MAX + 3 * EXPR_NODES_MAX,
};

enum expr_op {
  OP_NUMBER, // value; truths are 0 and 1
  OP_FIELD,  // arg: index of the field
  OP_NEGATE,
  OP_ADD,
  OP_SUBTRACT,
  OP_MULTIPLY,
  OP_DIVIDE,
  OP_LT,
  OP_LE,
  OP_GT,
  OP_GE,
  OP_EQ,
  OP_NE,
  OP_NOT,
  OP_AND,
  OP_OR,
  OP_SKIP_IF_FALSE, // arg: where to go on; what is on the stack stays and is the result
  OP_SKIP_IF_TRUE,
};

struct expr_node {
  enum expr_op op;
  uint32_t arg;
  double value;
};

struct expr_program {
  struct expr_node code[EXPR_CODE_MAX];
  uint32_t code_count;
  struct expr_field fields[EXPR_NODES_MAX]; // their texts point into `strings`
  uint32_t field_count;
  char strings[EXPR_STRINGS_MAX];
  uint32_t strings_used;
  int64_t for_ns;
};

// What + - * / do, also to literals while parsing. Unknown is NaN; so is what a division by zero gives.
static inline double expr_arithmetic(enum expr_op op, double a, double b)
{
  switch (op) {
  case OP_ADD:
    return a + b;
  case OP_SUBTRACT:
    return a - b;
  case OP_MULTIPLY:
    return a * b;
  default:
    return b == 0 ? (double)NAN : a / b;
  }
}

// `text` must be at most EXPR_TEXT_MAX bytes.
int expr_parse(struct expr_program *program, struct view text, struct status *status);

#endif
