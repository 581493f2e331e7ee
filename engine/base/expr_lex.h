// The words of a condition (private to expr*.c).
#ifndef NINES_BASE_EXPR_LEX_H
#define NINES_BASE_EXPR_LEX_H

#include <stdint.h>

#include "buf.h"
#include "status.h"

enum { EXPR_TEXT_MAX = 1000 };

enum expr_token_kind {
  TOKEN_END,
  TOKEN_NAME,
  TOKEN_NUMBER,   // 99.5
  TOKEN_SHARE,    // 80%; number holds 80
  TOKEN_DURATION, // 1h30m
  TOKEN_TEXT,     // "quoted"; the span includes the quotes
  TOKEN_AND,
  TOKEN_OR,
  TOKEN_NOT,
  TOKEN_TRUE,
  TOKEN_FALSE,
  TOKEN_FOR,
  TOKEN_LT,
  TOKEN_LE,
  TOKEN_GT,
  TOKEN_GE,
  TOKEN_EQ,
  TOKEN_NE,
  TOKEN_PLUS,
  TOKEN_MINUS,
  TOKEN_TIMES,
  TOKEN_OVER,
  TOKEN_OPEN,
  TOKEN_CLOSE,
  TOKEN_OPEN_LABELS,
  TOKEN_CLOSE_LABELS,
  TOKEN_ASSIGN, // the = of a label
  TOKEN_COMMA,
  TOKEN_DOT,
};

struct expr_token {
  enum expr_token_kind kind;
  uint32_t start, end; // bytes of the text
  double number;
  int64_t duration_ns;
};

struct expr_lexer {
  struct view text;
  uint32_t at;
};

// Takes the next token. At the end it is TOKEN_END, again and again.
int expr_lex(struct expr_lexer *lexer, struct expr_token *out, struct status *status);

// Fails with "column N: ..." where N is the 1-based place of byte `start`.
int expr_lex_error(struct status *status, uint32_t start, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// A piece of the text short enough for a sentence: *cut is "..." when something was left off, else "".
struct view expr_lex_quote(struct view text, uint32_t start, uint32_t end, const char **cut);

#endif
