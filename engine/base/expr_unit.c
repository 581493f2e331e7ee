// Which kinds of value go together.
//
// The check exists for two slips that no test of a policy finds: `p95 > 500` (seconds or milliseconds?) and `80%`
// (80 or 0.8?). Sums and comparisons need the same unit on both sides, where a percent field also takes a bare number
// and a gauge takes anything; products keep the unit of the one side that has one; a quotient of two of a kind is a
// plain ratio. A share as 80% waits until its neighbour is known: beside a percent field it is 80, as a factor and
// beside anything else 0.8.
#include "expr_unit.h"

#include <stdio.h>

enum expr_kind expr_unit_of_field(struct view name)
{
  static const struct {
    const char *name;
    enum expr_kind kind;
  } known[] = {
    { "p50", KIND_SECONDS },        { "p90", KIND_SECONDS },         { "p95", KIND_SECONDS },
    { "p99", KIND_SECONDS },        { "mean", KIND_SECONDS },        { "success_rate", KIND_PERCENT },
    { "error_rate", KIND_PERCENT }, { "budget_left", KIND_PERCENT }, { "requests", KIND_NUMBER },
    { "rate", KIND_NUMBER },        { "burn", KIND_NUMBER },
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (view_is(name, known[i].name)) return known[i].kind;
  return KIND_GAUGE;
}

static const char *describe(const struct expr_operand *operand)
{
  switch (operand->kind) {
  case KIND_TRUTH:
    return "a truth";
  case KIND_NUMBER:
    return operand->literal ? "a bare number" : "a number";
  case KIND_GAUGE:
    return "a gauge";
  case KIND_PERCENT:
  case KIND_SHARE:
    return "a percentage";
  case KIND_SECONDS:
    return operand->literal ? "a duration" : "a latency";
  }
  return "a value";
}

int expr_unit_need_number(struct view text, const struct expr_operand *operand, struct status *status)
{
  if (operand->kind != KIND_TRUTH) return 0;
  const char *cut;
  struct view quote = expr_lex_quote(text, operand->start, operand->end, &cut);
  return expr_lex_error(status, operand->start,
                        "\"%.*s%s\" is a truth where a number is needed; join truths with and, or, not",
                        (int)quote.size, quote.data, cut);
}

int expr_unit_need_truth(struct view text, const struct expr_operand *operand, struct status *status)
{
  if (operand->kind == KIND_TRUTH) return 0;
  const char *cut;
  struct view quote = expr_lex_quote(text, operand->start, operand->end, &cut);
  return expr_lex_error(status, operand->start,
                        "\"%.*s%s\" is a number where a truth is needed; compare it, with one of < <= > >= == !=",
                        (int)quote.size, quote.data, cut);
}

static int refuse(struct view text, enum expr_op op, const struct expr_operand *a, const struct expr_operand *b,
                  const char *remedy, struct status *status)
{
  const char *verb = "compares", *joint = "with";
  if (op == OP_ADD || op == OP_SUBTRACT) {
    verb = "mixes", joint = "and";
  } else if (op == OP_MULTIPLY) {
    verb = "multiplies", joint = "by";
  } else if (op == OP_DIVIDE) {
    verb = "divides", joint = "by";
  }
  const char *cut;
  struct view quote = expr_lex_quote(text, a->start, b->end, &cut);
  return expr_lex_error(status, a->start, "\"%.*s%s\" %s %s %s %s; %s", (int)quote.size, quote.data, cut, verb,
                        describe(a), joint, describe(b), remedy);
}

// 500 is hardly meant in seconds, 0.5 hardly in milliseconds.
static int refuse_bare(const struct expr_program *program, struct view text, enum expr_op op,
                       const struct expr_operand *a, const struct expr_operand *b, struct status *status)
{
  const struct expr_operand *bare = a->kind == KIND_NUMBER ? a : b;
  if (!bare->literal)
    return refuse(text, op, a, b, "both sides need the same unit; divide by 1s to get a plain number", status);
  double value = program->code[bare->node].value;
  char remedy[64];
  snprintf(remedy, sizeof remedy, "write %g%s", value, value >= 10 || value <= -10 ? "ms" : "s");
  return refuse(text, op, a, b, remedy, status);
}

// A share becomes what its neighbour makes of it.
static void settle(struct expr_program *program, struct expr_operand *share, enum expr_kind kind)
{
  if (kind != KIND_PERCENT) program->code[share->node].value /= 100;
  share->kind = kind;
}

// Sums and comparisons.
static int combine_alike(struct expr_program *program, struct view text, enum expr_op op, struct expr_operand a,
                         struct expr_operand b, enum expr_kind *out, struct status *status)
{
  if (a.kind == b.kind) {
    *out = a.kind;
    return 0;
  }
  if (a.kind == KIND_SHARE || b.kind == KIND_SHARE) {
    struct expr_operand *share = a.kind == KIND_SHARE ? &a : &b;
    const struct expr_operand *other = share == &a ? &b : &a;
    if (other->kind == KIND_NUMBER && other->literal)
      return refuse(text, op, &a, &b, "write both with % or both without", status);
    if (other->kind == KIND_SECONDS) return refuse(text, op, &a, &b, "both sides need the same unit", status);
    settle(program, share, other->kind == KIND_PERCENT ? KIND_PERCENT : KIND_NUMBER);
  }
  enum expr_kind low = a.kind < b.kind ? a.kind : b.kind, high = a.kind < b.kind ? b.kind : a.kind;
  if (low == KIND_NUMBER && high == KIND_SECONDS) return refuse_bare(program, text, op, &a, &b, status);
  if (low == KIND_PERCENT && high == KIND_SECONDS)
    return refuse(text, op, &a, &b, "both sides need the same unit", status);
  *out = high; // a number or a gauge takes the unit of its neighbour
  return 0;
}

static int combine_product(struct expr_program *program, struct view text, struct expr_operand a, struct expr_operand b,
                           enum expr_kind *out, struct status *status)
{
  if (a.kind == KIND_SHARE && b.kind == KIND_SHARE) {
    settle(program, &b, KIND_NUMBER);
  } else if (a.kind == KIND_SHARE || b.kind == KIND_SHARE) {
    struct expr_operand *share = a.kind == KIND_SHARE ? &a : &b;
    const struct expr_operand *other = share == &a ? &b : &a;
    // 2 * 40% is still a share; 2 * p95 * 40% is a latency.
    if (!(other->kind == KIND_NUMBER && other->literal)) settle(program, share, KIND_NUMBER);
  }
  enum expr_kind low = a.kind < b.kind ? a.kind : b.kind, high = a.kind < b.kind ? b.kind : a.kind;
  if (low >= KIND_PERCENT) return refuse(text, OP_MULTIPLY, &a, &b, "one of them must be a plain number", status);
  *out = high;
  return 0;
}

static int combine_quotient(struct expr_program *program, struct view text, struct expr_operand a,
                            struct expr_operand b, enum expr_kind *out, struct status *status)
{
  if (a.kind == b.kind) {
    *out = a.kind == KIND_GAUGE ? KIND_GAUGE : KIND_NUMBER;
    return 0;
  }
  if ((a.kind == KIND_SHARE && b.kind == KIND_PERCENT) || (a.kind == KIND_PERCENT && b.kind == KIND_SHARE))
    return refuse(text, OP_DIVIDE, &a, &b, "write the literal as a bare number: it could mean 80 or 0.8", status);
  if (b.kind == KIND_SHARE) settle(program, &b, KIND_NUMBER);
  if (a.kind == KIND_SHARE && !(b.kind == KIND_NUMBER && b.literal)) settle(program, &a, KIND_NUMBER);
  if (a.kind == KIND_GAUGE || b.kind == KIND_GAUGE) {
    *out = b.kind == KIND_GAUGE && a.kind != KIND_NUMBER ? a.kind : KIND_GAUGE;
    return 0;
  }
  if (b.kind != KIND_NUMBER) return refuse(text, OP_DIVIDE, &a, &b, "divide by a plain number or by the same", status);
  *out = a.kind;
  return 0;
}

int expr_unit_combine(struct expr_program *program, struct view text, enum expr_op op, const struct expr_operand *a,
                      const struct expr_operand *b, enum expr_kind *out, struct status *status)
{
  int code = expr_unit_need_number(text, a, status);
  if (code == 0) code = expr_unit_need_number(text, b, status);
  if (code < 0) return code;
  if (op == OP_MULTIPLY) return combine_product(program, text, *a, *b, out, status);
  if (op == OP_DIVIDE) return combine_quotient(program, text, *a, *b, out, status);
  return combine_alike(program, text, op, *a, *b, out, status);
}
