// What kind of value each part of a condition is, and which kinds go together (private to expr*.c).
#ifndef NINES_BASE_EXPR_UNIT_H
#define NINES_BASE_EXPR_UNIT_H

#include "expr_parse.h"

enum expr_kind {
  KIND_TRUTH,
  KIND_NUMBER,  // a bare number, a count, a ratio
  KIND_GAUGE,   // somebody's gauge: its unit is not known here, so it goes with anything
  KIND_PERCENT, // a field in percent: 99.5
  KIND_SECONDS, // a latency or a duration
  KIND_SHARE,   // a literal as 80% that has not met its neighbour yet; always a literal, its node holds 80
};

// A part of the condition that was parsed and stands last in the program's code.
struct expr_operand {
  enum expr_kind kind;
  bool literal;        // one OP_NUMBER node
  uint32_t node;       // where that node is
  uint32_t start, end; // in the text
};

enum expr_kind expr_unit_of_field(struct view name);

// The kind of `a op b`; gives a share beside it its value. `text` is for the sentence.
int expr_unit_combine(struct expr_program *program, struct view text, enum expr_op op, const struct expr_operand *a,
                      const struct expr_operand *b, enum expr_kind *out, struct status *status);
int expr_unit_need_number(struct view text, const struct expr_operand *operand, struct status *status);
int expr_unit_need_truth(struct view text, const struct expr_operand *operand, struct status *status);

#endif
