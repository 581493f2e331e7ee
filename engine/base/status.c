// Codes and sentences. The sentence is formatted into the caller's struct, so an error costs no allocation and can be
// reported when memory is what ran out. A sentence that is too long is cut at the end and never refused: half a message
// beats none. The public words for the codes are here too, made from the one list in nines.h.
#include "status.h"

#include <stdio.h>
#include <string.h>

int status_set(struct status *status, int code, const char *format, ...)
{
  if (!status) return code;
  // The arguments may point into status->text, so the sentence is built aside.
  char text[STATUS_TEXT_MAX];
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(text, sizeof text, format, arguments) < 0) text[0] = '\0';
  va_end(arguments);
  status->code = code;
  memcpy(status->text, text, strlen(text) + 1);
  return code;
}

int status_prefix(struct status *status, const char *format, ...)
{
  if (!status) return 0;
  char text[2 * STATUS_TEXT_MAX + 2];
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(text, STATUS_TEXT_MAX, format, arguments) < 0) text[0] = '\0';
  va_end(arguments);
  size_t used = strlen(text);
  snprintf(text + used, sizeof text - used, ": %s", status->text);
  text[STATUS_TEXT_MAX - 1] = '\0';
  memcpy(status->text, text, strlen(text) + 1);
  return status->code;
}

const char *nines_strerror(int code)
{
  switch (code) {
  case 0:
    return "no error";
#define X(number, name, text)                                                                                          \
  case number:                                                                                                         \
    return text;
    NINES_ERROR_MAP(X)
#undef X
  default:
    return "unknown error";
  }
}

const char *nines_version(void)
{
  return NINES_VERSION;
}
