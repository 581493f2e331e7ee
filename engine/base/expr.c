// Conditions: compiled once, evaluated on every beat.
//
// Evaluation walks the nodes once with a stack of doubles. Unknown is NaN throughout, for numbers and for truths: then
// sums and products spread it by themselves, and only comparisons, division and Kleene's operators look at it. A field
// that reads as NaN is therefore unknown too. The compiled form is one block of memory, as large as it must be.
#include "expr.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "expr_parse.h"
#include "mem.h"

struct expr {
  uint32_t code_count, field_count;
  int64_t for_ns;
  const char *text;
  struct expr_field *fields;
  struct expr_node code[];
};

static const char *moved(const char *text, const struct expr_program *from, const char *to)
{
  return text == NULL ? NULL : to + (text - from->strings);
}

int expr_compile(struct expr **out, struct view text, struct status *status)
{
  *out = NULL;
  if (text.size > EXPR_TEXT_MAX)
    return status_set(status, NINES_ELIMIT, "the condition has %zu bytes; at most %d are allowed: split it", text.size,
                      EXPR_TEXT_MAX);
  struct expr_program program;
  int code = expr_parse(&program, text, status);
  if (code < 0) return code;
  size_t code_size = program.code_count * sizeof program.code[0];
  size_t fields_size = program.field_count * sizeof program.fields[0];
  struct expr *expr = mem_alloc(sizeof *expr + code_size + fields_size + program.strings_used + text.size + 1);
  if (expr == NULL) return status_set(status, NINES_ENOMEM, "out of memory for a condition");
  expr->code_count = program.code_count;
  expr->field_count = program.field_count;
  expr->for_ns = program.for_ns;
  expr->fields = (struct expr_field *)(void *)((char *)expr->code + code_size);
  char *strings = (char *)expr->fields + fields_size, *copy = strings + program.strings_used;
  expr->text = copy;
  memcpy(expr->code, program.code, code_size);
  memcpy(strings, program.strings, program.strings_used);
  memcpy(copy, text.data, text.size);
  copy[text.size] = '\0';
  for (uint32_t i = 0; i < program.field_count; i++) {
    struct expr_field *field = &expr->fields[i];
    *field = program.fields[i];
    field->object = moved(field->object, &program, strings);
    field->name = moved(field->name, &program, strings);
    field->labels = moved(field->labels, &program, strings);
  }
  *out = expr;
  return 0;
}

void expr_free(struct expr *expr)
{
  mem_free(expr);
}

uint32_t expr_field_count(const struct expr *expr)
{
  return expr->field_count;
}

const struct expr_field *expr_field_at(const struct expr *expr, uint32_t index)
{
  CHECK(index < expr->field_count);
  return &expr->fields[index];
}

int64_t expr_for_ns(const struct expr *expr)
{
  return expr->for_ns;
}

const char *expr_text(const struct expr *expr)
{
  return expr->text;
}

double expr_demands(const struct expr *expr, uint32_t field)
{
  double most = -INFINITY;
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const struct expr_node *node = &expr->code[i];
    if (node->op == OP_OR || node->op == OP_NOT) return -INFINITY;
    if (i < 2 || (node->op != OP_GT && node->op != OP_GE)) continue;
    const struct expr_node *left = &expr->code[i - 2], *right = &expr->code[i - 1];
    if (left->op == OP_FIELD && left->arg == field && right->op == OP_NUMBER) most = fmax(most, right->value);
  }
  return most;
}

static double compare(enum expr_op op, double a, double b)
{
  if (isnan(a) || isnan(b)) return NAN;
  switch (op) {
  case OP_LT:
    return a < b;
  case OP_LE:
    return a <= b;
  case OP_GT:
    return a > b;
  case OP_GE:
    return a >= b;
  case OP_EQ:
    return a == b;
  default:
    return a != b;
  }
}

// Kleene: what decides alone does so beside an unknown.
static double kleene_and(double a, double b)
{
  if (a <= 0 || b <= 0) return 0;
  return isnan(a) || isnan(b) ? NAN : 1;
}

static double kleene_or(double a, double b)
{
  if (a > 0 || b > 0) return 1;
  return isnan(a) || isnan(b) ? NAN : 0;
}

static double combine(enum expr_op op, double a, double b)
{
  if (op == OP_AND) return kleene_and(a, b);
  if (op == OP_OR) return kleene_or(a, b);
  if (op >= OP_LT && op <= OP_NE) return compare(op, a, b);
  return expr_arithmetic(op, a, b);
}

enum truth expr_eval(const struct expr *expr, expr_read_fn *read, void *userdata)
{
  double stack[EXPR_NODES_MAX];
  uint32_t top = 0; // the first free place
  for (uint32_t at = 0; at < expr->code_count; at++) {
    const struct expr_node *node = &expr->code[at];
    double value;
    switch (node->op) {
    case OP_NUMBER:
      stack[top++] = node->value;
      break;
    case OP_FIELD:
      stack[top++] = read(userdata, node->arg, &value) ? value : NAN;
      break;
    case OP_NEGATE:
      stack[top - 1] = -stack[top - 1];
      break;
    case OP_NOT:
      stack[top - 1] = 1 - stack[top - 1];
      break;
    case OP_SKIP_IF_FALSE:
      if (stack[top - 1] <= 0) at = node->arg - 1;
      break;
    case OP_SKIP_IF_TRUE:
      if (stack[top - 1] > 0) at = node->arg - 1;
      break;
    default:
      top--;
      stack[top - 1] = combine(node->op, stack[top - 1], stack[top]);
      break;
    }
  }
  CHECK(top == 1);
  if (isnan(stack[0])) return TRUTH_UNKNOWN;
  return stack[0] > 0 ? TRUTH_TRUE : TRUTH_FALSE;
}

enum truth expr_hold(const struct expr *expr, enum truth now_true, int64_t now_ns, int64_t *since_ns)
{
  if (now_true == TRUTH_UNKNOWN) return TRUTH_UNKNOWN;
  if (now_true == TRUTH_FALSE) {
    *since_ns = EXPR_HOLD_START;
    return TRUTH_FALSE;
  }
  // A stored start in the future is from before the machine's clock began anew.
  if (*since_ns == EXPR_HOLD_START || *since_ns > now_ns) *since_ns = now_ns;
  uint64_t held_ns = (uint64_t)now_ns - (uint64_t)*since_ns; // unsigned: a stored start may be anything
  return held_ns >= (uint64_t)expr->for_ns ? TRUTH_TRUE : TRUTH_FALSE;
}
