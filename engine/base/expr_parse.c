// The grammar of conditions: recursive descent with one token of lookahead, straight to nodes in order of evaluation.
//
// Only parentheses recurse, and their depth is limited; every list (nodes, fields, labels) is bounded, so that the
// longest text costs microseconds. Literals are folded as soon as they meet: `2 * 40%` is one node, which also lets a
// share stay open until its neighbour is known. The kinds of values are checked on the way (expr_unit.c), where the
// places in the text are still at hand for the error.
#include "expr_parse.h"

#include <stdlib.h>
#include <string.h>

#include "expr_unit.h"
#include "nearest.h"

struct parser {
  struct expr_program *program;
  struct view text;
  struct expr_lexer lexer;
  struct expr_token token; // the one not yet taken
  uint32_t taken_end;      // where the last taken token ended
  uint32_t nodes, depth;
  struct status *status;
};

static int parse_or(struct parser *parser, struct expr_operand *out);

static int take(struct parser *parser)
{
  parser->taken_end = parser->token.end;
  return expr_lex(&parser->lexer, &parser->token, parser->status);
}

// The keyword that a stray word was meant to be, or NULL. Capitals are a slip too.
static const char *keyword_like(struct view word)
{
  static const char *const keywords[] = { "and", "or", "not", "for" };
  char small[8];
  if (word.size > sizeof small) return NULL;
  for (size_t i = 0; i < word.size; i++) {
    char c = word.data[i];
    small[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  struct nearest nearest;
  nearest_init(&nearest, (struct view){ small, word.size });
  for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) nearest_try(&nearest, keywords[i]);
  return nearest.best;
}

static int unexpected(struct parser *parser, const char *expected)
{
  const struct expr_token *token = &parser->token;
  if (token->kind == TOKEN_END)
    return expr_lex_error(parser->status, token->start, "the condition ends here; expected %s", expected);
  const char *cut, *meant = NULL;
  struct view found = expr_lex_quote(parser->text, token->start, token->end, &cut);
  if (token->kind == TOKEN_NAME) meant = keyword_like(found);
  return expr_lex_error(parser->status, token->start, "found %.*s%s; expected %s%s%s%s", (int)found.size, found.data,
                        cut, expected, meant != NULL ? " (did you mean \"" : "", meant != NULL ? meant : "",
                        meant != NULL ? "\"?)" : "");
}

static int expect(struct parser *parser, enum expr_token_kind kind, const char *expected)
{
  if (parser->token.kind != kind) return unexpected(parser, expected);
  return take(parser);
}

static int emit(struct parser *parser, struct expr_node node)
{
  if (node.op != OP_SKIP_IF_FALSE && node.op != OP_SKIP_IF_TRUE && ++parser->nodes > EXPR_NODES_MAX)
    return expr_lex_error(parser->status, parser->token.start,
                          "more than %d numbers, fields and operators; split the condition", EXPR_NODES_MAX);
  parser->program->code[parser->program->code_count++] = node;
  return 0;
}

// Emits a literal and describes it.
static int emit_literal(struct parser *parser, enum expr_kind kind, double value, struct expr_operand *out)
{
  *out = (struct expr_operand){ kind, true, parser->program->code_count, parser->token.start, parser->token.end };
  int code = emit(parser, (struct expr_node){ OP_NUMBER, 0, value });
  return code < 0 ? code : take(parser);
}

// Copies text for a field; the room suffices for any text of the permitted length.
static const char *keep(struct parser *parser, const char *text, size_t size)
{
  struct expr_program *program = parser->program;
  char *copy = program->strings + program->strings_used;
  memcpy(copy, text, size);
  copy[size] = '\0';
  program->strings_used += (uint32_t)size + 1;
  return copy;
}

struct label {
  struct view name, value; // the value with its quotes
};

static int by_name(const void *left, const void *right)
{
  const struct label *a = left, *b = right;
  size_t shorter = a->name.size < b->name.size ? a->name.size : b->name.size;
  int order = memcmp(a->name.data, b->name.data, shorter);
  return order != 0 ? order : (a->name.size > b->name.size) - (a->name.size < b->name.size);
}

static struct view token_view(const struct parser *parser)
{
  return (struct view){ parser->text.data + parser->token.start, parser->token.end - parser->token.start };
}

static int parse_label(struct parser *parser, struct label *label)
{
  label->name = token_view(parser);
  int code = expect(parser, TOKEN_NAME, "the name of a label, as in {region=\"eu\"}");
  if (code < 0) return code;
  code = expect(parser, TOKEN_ASSIGN, "= after the label's name");
  if (code < 0) return code;
  label->value = token_view(parser);
  return expect(parser, TOKEN_TEXT, "the label's text in double quotes");
}

// `{` is the current token. Leaves the canonical form in field->labels.
static int parse_labels(struct parser *parser, struct expr_field *field)
{
  struct label labels[EXPR_LABELS_MAX];
  uint32_t count = 0, start = parser->token.start;
  do {
    int code = take(parser); // the { or the comma
    if (code < 0) return code;
    if (count == EXPR_LABELS_MAX)
      return expr_lex_error(parser->status, parser->token.start, "more than %d labels", EXPR_LABELS_MAX);
    code = parse_label(parser, &labels[count++]);
    if (code < 0) return code;
  } while (parser->token.kind == TOKEN_COMMA);
  int code = expect(parser, TOKEN_CLOSE_LABELS, "a comma or }");
  if (code < 0) return code;
  qsort(labels, count, sizeof labels[0], by_name);
  char joined[EXPR_TEXT_MAX];
  size_t size = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0 && view_equal(labels[i - 1].name, labels[i].name))
      return expr_lex_error(parser->status, start, "the label %.*s stands here twice",
                            (int)(labels[i].name.size < 80 ? labels[i].name.size : 80), labels[i].name.data);
    if (i > 0) joined[size++] = ',';
    memcpy(joined + size, labels[i].name.data, labels[i].name.size);
    size += labels[i].name.size;
    joined[size++] = '=';
    memcpy(joined + size, labels[i].value.data, labels[i].value.size);
    size += labels[i].value.size;
  }
  field->labels = keep(parser, joined, size);
  return 0;
}

// `(` is the current token.
static int parse_window(struct parser *parser, struct expr_field *field)
{
  int code = take(parser);
  if (code < 0) return code;
  const struct expr_token *token = &parser->token;
  if (token->kind == TOKEN_NUMBER)
    return expr_lex_error(parser->status, token->start, "a window needs a unit; write (%gs) or (%gm)", token->number,
                          token->number);
  if (token->kind == TOKEN_DURATION && token->duration_ns <= 0)
    return expr_lex_error(parser->status, token->start, "a window must be longer than nothing; write 1m");
  field->window_ns = token->duration_ns;
  code = expect(parser, TOKEN_DURATION, "a window as (5m)");
  return code < 0 ? code : expect(parser, TOKEN_CLOSE, ") after the window");
}

static bool same_text(const char *a, const char *b)
{
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

// The index of this field; a new one when it was not mentioned before.
static uint32_t field_index(struct parser *parser, const struct expr_field *field, uint32_t strings_before)
{
  struct expr_program *program = parser->program;
  for (uint32_t i = 0; i < program->field_count; i++) {
    const struct expr_field *known = &program->fields[i];
    if (known->window_ns == field->window_ns && same_text(known->name, field->name) &&
        same_text(known->object, field->object) && same_text(known->labels, field->labels)) {
      program->strings_used = strings_before;
      return i;
    }
  }
  program->fields[program->field_count] = *field;
  return program->field_count++;
}

static int parse_field(struct parser *parser, struct expr_operand *out)
{
  uint32_t start = parser->token.start, strings_before = parser->program->strings_used;
  struct expr_field field = { .column = start + 1 };
  struct view name = token_view(parser);
  // Before anything is kept: the room for strings is counted in nodes.
  int code = emit(parser, (struct expr_node){ OP_FIELD, 0, 0 });
  if (code < 0) return code;
  uint32_t node = parser->program->code_count - 1;
  code = take(parser);
  if (code < 0) return code;
  field.name = keep(parser, name.data, name.size);
  if (parser->token.kind == TOKEN_DOT) {
    code = take(parser);
    if (code < 0) return code;
    name = token_view(parser);
    code = expect(parser, TOKEN_NAME, "the name of a field after the dot");
    if (code < 0) return code;
    field.object = field.name;
    field.name = keep(parser, name.data, name.size);
  }
  if (parser->token.kind == TOKEN_OPEN_LABELS) code = parse_labels(parser, &field);
  if (code == 0 && parser->token.kind == TOKEN_OPEN) code = parse_window(parser, &field);
  if (code < 0) return code;
  parser->program->code[node].arg = field_index(parser, &field, strings_before);
  *out = (struct expr_operand){ expr_unit_of_field(name), false, node, start, parser->taken_end };
  return 0;
}

static int parse_parentheses(struct parser *parser, struct expr_operand *out)
{
  uint32_t start = parser->token.start;
  if (++parser->depth > EXPR_DEPTH_MAX)
    return expr_lex_error(parser->status, start, "parentheses nested deeper than %d", EXPR_DEPTH_MAX);
  int code = take(parser);
  if (code == 0) code = parse_or(parser, out);
  if (code == 0) code = expect(parser, TOKEN_CLOSE, "an operator or )");
  parser->depth--;
  out->start = start;
  out->end = parser->taken_end;
  return code;
}

static int parse_primary(struct parser *parser, struct expr_operand *out)
{
  const struct expr_token *token = &parser->token;
  switch (token->kind) {
  case TOKEN_NAME:
    return parse_field(parser, out);
  case TOKEN_OPEN:
    return parse_parentheses(parser, out);
  case TOKEN_NUMBER:
    return emit_literal(parser, KIND_NUMBER, token->number, out);
  case TOKEN_SHARE:
    return emit_literal(parser, KIND_SHARE, token->number, out);
  case TOKEN_DURATION:
    return emit_literal(parser, KIND_SECONDS, token->number, out);
  case TOKEN_TRUE: {
    int code = emit_literal(parser, KIND_TRUTH, 1, out);
    out->literal = false; // folding is for numbers
    return code;
  }
  case TOKEN_FALSE: {
    int code = emit_literal(parser, KIND_TRUTH, 0, out);
    out->literal = false;
    return code;
  }
  default:
    return unexpected(parser, "a number, a field or (");
  }
}

static int parse_unary(struct parser *parser, struct expr_operand *out)
{
  if (parser->token.kind != TOKEN_MINUS) return parse_primary(parser, out);
  uint32_t start = parser->token.start;
  int code = take(parser);
  if (code == 0) code = parse_primary(parser, out);
  if (code == 0) code = expr_unit_need_number(parser->text, out, parser->status);
  if (code < 0) return code;
  out->start = start;
  if (out->literal) {
    struct expr_node *node = &parser->program->code[out->node];
    node->value = -node->value;
    return 0;
  }
  return emit(parser, (struct expr_node){ OP_NEGATE, 0, 0 });
}

// Ends `left op right`: checks the kinds, then emits the operator or folds two literals into one.
static int finish_binary(struct parser *parser, enum expr_op op, struct expr_operand *left,
                         const struct expr_operand *right, bool is_truth)
{
  struct expr_program *program = parser->program;
  enum expr_kind kind;
  int code = expr_unit_combine(program, parser->text, op, left, right, &kind, parser->status);
  if (code == 0) code = emit(parser, (struct expr_node){ op, 0, 0 });
  if (code < 0) return code;
  bool fold = left->literal && right->literal && !is_truth;
  if (fold) {
    struct expr_node *a = &program->code[left->node], *b = &program->code[right->node];
    a->value = expr_arithmetic(op, a->value, b->value);
    program->code_count -= 2;
  }
  left->kind = is_truth ? KIND_TRUTH : kind;
  left->literal = fold;
  left->end = right->end;
  return 0;
}

static int parse_product(struct parser *parser, struct expr_operand *out)
{
  int code = parse_unary(parser, out);
  while (code == 0 && (parser->token.kind == TOKEN_TIMES || parser->token.kind == TOKEN_OVER)) {
    enum expr_op op = parser->token.kind == TOKEN_TIMES ? OP_MULTIPLY : OP_DIVIDE;
    struct expr_operand right;
    code = take(parser);
    if (code == 0) code = parse_unary(parser, &right);
    if (code == 0) code = finish_binary(parser, op, out, &right, false);
  }
  return code;
}

static int parse_sum(struct parser *parser, struct expr_operand *out)
{
  int code = parse_product(parser, out);
  while (code == 0 && (parser->token.kind == TOKEN_PLUS || parser->token.kind == TOKEN_MINUS)) {
    enum expr_op op = parser->token.kind == TOKEN_PLUS ? OP_ADD : OP_SUBTRACT;
    struct expr_operand right;
    code = take(parser);
    if (code == 0) code = parse_product(parser, &right);
    if (code == 0) code = finish_binary(parser, op, out, &right, false);
  }
  return code;
}

static bool is_comparison(enum expr_token_kind kind)
{
  return kind >= TOKEN_LT && kind <= TOKEN_NE;
}

static int parse_comparison(struct parser *parser, struct expr_operand *out)
{
  int code = parse_sum(parser, out);
  if (code < 0 || !is_comparison(parser->token.kind)) return code;
  enum expr_op op = (enum expr_op)(OP_LT + (int)(parser->token.kind - TOKEN_LT));
  struct expr_operand right;
  code = take(parser);
  if (code == 0) code = parse_sum(parser, &right);
  if (code == 0) code = finish_binary(parser, op, out, &right, true);
  if (code == 0 && is_comparison(parser->token.kind))
    return expr_lex_error(parser->status, parser->token.start,
                          "comparisons do not chain; write \"a < b and b < c\" instead of \"a < b < c\"");
  return code;
}

static int parse_not(struct parser *parser, struct expr_operand *out)
{
  if (parser->token.kind != TOKEN_NOT) return parse_comparison(parser, out);
  uint32_t start = parser->token.start;
  int code = take(parser);
  if (code == 0) code = parse_comparison(parser, out);
  if (code == 0) code = expr_unit_need_truth(parser->text, out, parser->status);
  if (code < 0) return code;
  out->start = start;
  return emit(parser, (struct expr_node){ OP_NOT, 0, 0 });
}

typedef int parse_fn(struct parser *parser, struct expr_operand *out);

// One level of `and` or `or`: operand { skip operand operator }, where the skip goes behind the operator.
static int parse_chain(struct parser *parser, struct expr_operand *out, parse_fn *operand, enum expr_token_kind joint,
                       enum expr_op skip, enum expr_op op)
{
  int code = operand(parser, out);
  while (code == 0 && parser->token.kind == joint) {
    struct expr_operand right;
    code = expr_unit_need_truth(parser->text, out, parser->status);
    if (code == 0) code = take(parser);
    if (code < 0) return code;
    // Room for the skip: there are fewer of them than nodes, and the operator is counted below.
    uint32_t at = parser->program->code_count;
    code = emit(parser, (struct expr_node){ skip, 0, 0 });
    if (code == 0) code = operand(parser, &right);
    if (code == 0) code = expr_unit_need_truth(parser->text, &right, parser->status);
    if (code == 0) code = emit(parser, (struct expr_node){ op, 0, 0 });
    if (code < 0) return code;
    parser->program->code[at].arg = parser->program->code_count;
    out->end = right.end;
  }
  return code;
}

static int parse_and(struct parser *parser, struct expr_operand *out)
{
  return parse_chain(parser, out, parse_not, TOKEN_AND, OP_SKIP_IF_FALSE, OP_AND);
}

static int parse_or(struct parser *parser, struct expr_operand *out)
{
  return parse_chain(parser, out, parse_and, TOKEN_OR, OP_SKIP_IF_TRUE, OP_OR);
}

static int parse_for(struct parser *parser)
{
  int code = take(parser);
  if (code < 0) return code;
  const struct expr_token *token = &parser->token;
  if (token->kind == TOKEN_NUMBER)
    return expr_lex_error(parser->status, token->start, "\"for\" needs a unit; write for %gs or for %gm", token->number,
                          token->number);
  parser->program->for_ns = token->duration_ns;
  code = expect(parser, TOKEN_DURATION, "a duration as 5m after \"for\"");
  if (code < 0) return code;
  if (parser->token.kind != TOKEN_END)
    return unexpected(parser, "nothing after the duration: \"for\" holds for the whole condition and comes last");
  return 0;
}

int expr_parse(struct expr_program *program, struct view text, struct status *status)
{
  struct parser parser = { .program = program, .text = text, .lexer = { text, 0 }, .status = status };
  program->code_count = program->field_count = program->strings_used = 0;
  program->for_ns = 0;
  struct expr_operand whole;
  int code = expr_lex(&parser.lexer, &parser.token, status);
  if (code == 0) code = parse_or(&parser, &whole);
  if (code < 0) return code;
  if (parser.token.kind == TOKEN_FOR) {
    code = expr_unit_need_truth(text, &whole, status);
    return code < 0 ? code : parse_for(&parser);
  }
  if (parser.token.kind == TOKEN_ASSIGN)
    return unexpected(&parser, "an operator, and, or, for, or the end; a comparison is written ==");
  if (parser.token.kind != TOKEN_END) return unexpected(&parser, "an operator, and, or, for, or the end");
  return expr_unit_need_truth(text, &whole, status);
}
