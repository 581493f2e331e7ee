// Short decimals without strtod: a mantissa that fits a double exactly, divided by an exact power of ten, is correctly
// rounded (Clinger 1990, case 1). Nearly all that clients send is of this kind; the rest goes to strtod_l.
#include "decimal.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double power_of_ten[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static bool is_digit(char c)
{
  return (unsigned char)(c - '0') < 10;
}

static const char *take_slowly(const char *start, const char *end, double *out)
{
  char text[DECIMAL_TEXT_MAX + 1];
  size_t size = (size_t)(end - start);
  if (size > DECIMAL_TEXT_MAX) return NULL;
  memcpy(text, start, size);
  text[size] = '\0';
  locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); // glibc's is static: nothing to free
  *out = strtod_l(text, NULL, c_locale);
  return isfinite(*out) ? end : NULL;
}

const char *decimal_take(const char *start, const char *end, double *out)
{
  const char *at = start;
  bool negative = at < end && *at == '-';
  if (negative || (at < end && *at == '+')) at++;
  uint64_t mantissa = 0;
  const char *digits = at;
  for (; at < end && is_digit(*at); at++) mantissa = mantissa * 10 + (uint64_t)(*at - '0');
  ptrdiff_t digit_count = at - digits, fraction_count = 0;
  if (at < end && *at == '.') {
    const char *fraction = ++at;
    for (; at < end && is_digit(*at); at++) mantissa = mantissa * 10 + (uint64_t)(*at - '0');
    fraction_count = at - fraction;
    digit_count += fraction_count;
  }
  if (digit_count == 0) return NULL;
  bool exponent = false;
  if (at < end && (*at | 0x20) == 'e') {
    const char *power = at + 1;
    if (power < end && (*power == '+' || *power == '-')) power++;
    exponent = power < end && is_digit(*power);
    if (exponent)
      for (at = power; at < end && is_digit(*at);) at++;
  }
  if (exponent || digit_count > 19 || mantissa > 1ULL << 53) return take_slowly(start, at, out);
  double value = (double)mantissa / power_of_ten[fraction_count];
  *out = negative ? -value : value;
  return at;
}
