// The words of a condition.
//
// One pass, no look-back: every byte is looked at a bounded number of times, so that a hostile text costs no more than
// an honest one. Numbers are read in the C locale whatever the host program has set. The spellings of other languages
// (&&, ||, !, =, <>) are not accepted but recognised, so that the error can name ours.
#include "expr_lex.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duration.h"

enum { QUOTE_MAX = 80 };

struct spelling {
  const char *text;
  enum expr_token_kind kind;
};

static const struct spelling keywords[] = {
  { "and", TOKEN_AND },   { "or", TOKEN_OR },       { "not", TOKEN_NOT },
  { "true", TOKEN_TRUE }, { "false", TOKEN_FALSE }, { "for", TOKEN_FOR },
};

// Longer ones first: "<=" before "<".
static const struct spelling symbols[] = {
  { "<=", TOKEN_LE },         { ">=", TOKEN_GE },          { "==", TOKEN_EQ },    { "!=", TOKEN_NE },
  { "<", TOKEN_LT },          { ">", TOKEN_GT },           { "+", TOKEN_PLUS },   { "-", TOKEN_MINUS },
  { "*", TOKEN_TIMES },       { "/", TOKEN_OVER },         { "(", TOKEN_OPEN },   { ")", TOKEN_CLOSE },
  { "{", TOKEN_OPEN_LABELS }, { "}", TOKEN_CLOSE_LABELS }, { "=", TOKEN_ASSIGN }, { ",", TOKEN_COMMA },
  { ".", TOKEN_DOT },
};

static const struct {
  const char *found, *ours;
} foreign[] = {
  { "&&", "and" }, { "||", "or" }, { "<>", "!=" },       { "!", "not" },           { "&", "and" },
  { "|", "or" },   { "'", "\"" },  { "\xc2\xb5", "us" }, { "\xe2\x89\xa4", "<=" }, { "\xe2\x89\xa5", ">=" },
};

int expr_lex_error(struct status *status, uint32_t start, const char *format, ...)
{
  char text[STATUS_TEXT_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return status_set(status, NINES_EINVAL, "column %u: %s", start + 1, text);
}

struct view expr_lex_quote(struct view text, uint32_t start, uint32_t end, const char **cut)
{
  uint32_t size = end - start;
  *cut = "";
  if (size > QUOTE_MAX) {
    size = QUOTE_MAX;
    // Not in the middle of a UTF-8 character.
    while (size > 0 && ((unsigned char)text.data[start + size] & 0xc0) == 0x80) size--;
    *cut = "...";
  }
  return (struct view){ text.data + start, size };
}

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char peek(const struct expr_lexer *lexer, uint32_t at)
{
  return at < lexer->text.size ? lexer->text.data[at] : '\0';
}

static bool starts_with(const struct expr_lexer *lexer, const char *word)
{
  size_t size = strlen(word);
  return lexer->text.size - lexer->at >= size && memcmp(lexer->text.data + lexer->at, word, size) == 0;
}

static uint32_t skip_digits(const struct expr_lexer *lexer, uint32_t at)
{
  while (is_digit(peek(lexer, at))) at++;
  return at;
}

static double number_of(const struct expr_lexer *lexer, uint32_t start, uint32_t end)
{
  char digits[EXPR_TEXT_MAX + 1];
  memcpy(digits, lexer->text.data + start, end - start);
  digits[end - start] = '\0';
  // glibc hands out its static "C" object here: no allocation.
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  double number = strtod_l(digits, NULL, plain);
  freelocale(plain);
  return number;
}

// "1h30m", also "1h 30m": a following part belongs to the duration when its digits touch a letter.
static int lex_duration(struct expr_lexer *lexer, struct expr_token *out, struct status *status)
{
  uint32_t at = lexer->at;
  for (;;) {
    while (is_digit(peek(lexer, at)) || is_letter(peek(lexer, at)) || peek(lexer, at) == '.') at++;
    if (peek(lexer, at) != ' ' || !is_digit(peek(lexer, at + 1))) break;
    uint32_t part = skip_digits(lexer, at + 1);
    if (peek(lexer, part) == '.') part = skip_digits(lexer, part + 1);
    if (!is_letter(peek(lexer, part))) break;
    at = part;
  }
  out->kind = TOKEN_DURATION;
  out->end = at;
  struct view text = { lexer->text.data + lexer->at, at - lexer->at };
  lexer->at = at;
  int code = duration_parse(text, &out->duration_ns, status);
  if (code < 0) status_prefix(status, "column %u", out->start + 1);
  out->number = (double)out->duration_ns / (double)NS_PER_S;
  return code;
}

static int lex_number(struct expr_lexer *lexer, struct expr_token *out, struct status *status)
{
  uint32_t at = skip_digits(lexer, lexer->at);
  if (peek(lexer, at) == '.' && is_digit(peek(lexer, at + 1))) at = skip_digits(lexer, at + 1);
  if (peek(lexer, at) == 'e' || peek(lexer, at) == 'E') {
    uint32_t exponent = at + 1;
    if (peek(lexer, exponent) == '+' || peek(lexer, exponent) == '-') exponent++;
    if (is_digit(peek(lexer, exponent))) at = skip_digits(lexer, exponent);
  }
  if (is_letter(peek(lexer, at))) return lex_duration(lexer, out, status);
  out->kind = TOKEN_NUMBER;
  out->number = number_of(lexer, lexer->at, at);
  uint32_t after = at;
  while (peek(lexer, after) == ' ') after++;
  if (peek(lexer, after) == '%') {
    out->kind = TOKEN_SHARE;
    at = after + 1;
  }
  lexer->at = out->end = at;
  if (!isfinite(out->number)) return expr_lex_error(status, out->start, "the number is too large");
  return 0;
}

static int lex_text(struct expr_lexer *lexer, struct expr_token *out, struct status *status)
{
  uint32_t at = lexer->at + 1;
  while (at < lexer->text.size && lexer->text.data[at] != '"') {
    unsigned char c = (unsigned char)lexer->text.data[at];
    if (c < 0x20 || c == 0x7f)
      return expr_lex_error(status, at, "a control character in a label's text; write \\n for a newline");
    if (c == '\\') {
      char escaped = peek(lexer, at + 1);
      if (escaped != '"' && escaped != '\\' && escaped != 'n')
        return expr_lex_error(status, at, "an unknown escape; allowed are \\\" \\\\ and \\n");
      at++;
    }
    at++;
  }
  if (at >= lexer->text.size) return expr_lex_error(status, out->start, "the text has no closing \"");
  out->kind = TOKEN_TEXT;
  lexer->at = out->end = at + 1;
  return 0;
}

static void lex_name(struct expr_lexer *lexer, struct expr_token *out)
{
  uint32_t at = lexer->at;
  while (is_letter(peek(lexer, at)) || is_digit(peek(lexer, at)) || peek(lexer, at) == '_') at++;
  struct view word = { lexer->text.data + lexer->at, at - lexer->at };
  out->kind = TOKEN_NAME;
  for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
    if (view_is(word, keywords[i].text)) out->kind = keywords[i].kind;
  lexer->at = out->end = at;
}

static int lex_stranger(const struct expr_lexer *lexer, struct status *status)
{
  for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
    if (starts_with(lexer, foreign[i].found))
      return expr_lex_error(status, lexer->at, "%s is not known here; write %s", foreign[i].found, foreign[i].ours);
  unsigned char byte = (unsigned char)lexer->text.data[lexer->at];
  if (byte > 0x20 && byte < 0x7f)
    return expr_lex_error(status, lexer->at, "the character %c has no meaning here", byte);
  return expr_lex_error(status, lexer->at, "the byte 0x%02x has no meaning outside a label's text", byte);
}

int expr_lex(struct expr_lexer *lexer, struct expr_token *out, struct status *status)
{
  while (lexer->at < lexer->text.size && memchr(" \t\r\n", lexer->text.data[lexer->at], 4) != NULL) lexer->at++;
  *out = (struct expr_token){ .kind = TOKEN_END, .start = lexer->at, .end = lexer->at };
  if (lexer->at >= lexer->text.size) return 0;
  char c = lexer->text.data[lexer->at];
  if (is_digit(c)) return lex_number(lexer, out, status);
  if (c == '"') return lex_text(lexer, out, status);
  if (is_letter(c) || c == '_') {
    lex_name(lexer, out);
    return 0;
  }
  if (starts_with(lexer, "<>")) return lex_stranger(lexer, status);
  for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
    if (!starts_with(lexer, symbols[i].text)) continue;
    lexer->at += (uint32_t)strlen(symbols[i].text);
    out->kind = symbols[i].kind;
    out->end = lexer->at;
    return 0;
  }
  return lex_stranger(lexer, status);
}
