// Bytes that grow, and the few encodings everything else is made of: JSON text and numbers, and LEB128 varints.
//
// Capacity doubles, so appending n bytes costs O(n) in all. One byte more than asked is kept for the final NUL, so that
// `data` can be handed to any C function at any time.
#include "buf.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

enum { BUF_FIRST = 64, VARINT_MAX = 10, NUMBER_TEXT_MAX = 40 };

struct view view_of(const char *text)
{
  return (struct view){ text ? text : "", text ? strlen(text) : 0 };
}

bool view_is(struct view view, const char *text)
{
  return view_equal(view, view_of(text));
}

bool view_equal(struct view a, struct view b)
{
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void buf_free(struct buf *buf)
{
  mem_free(buf->data);
  *buf = (struct buf){ 0 };
}

void buf_clear(struct buf *buf)
{
  buf->size = 0;
  buf->failed = false;
  if (buf->data) buf->data[0] = '\0';
}

bool buf_reserve(struct buf *buf, size_t more)
{
  if (buf->failed) return false;
  if (more < buf->capacity - buf->size) return true;
  if (more >= SIZE_MAX / 4 - buf->size) {
    buf->failed = true;
    return false;
  }
  size_t capacity = buf->capacity > 0 ? buf->capacity : BUF_FIRST;
  while (capacity <= buf->size + more) capacity *= 2;
  char *data = mem_resize(buf->data, capacity);
  if (!data) {
    buf->failed = true;
    return false;
  }
  buf->data = data;
  buf->capacity = capacity;
  buf->data[buf->size] = '\0';
  return true;
}

void buf_add(struct buf *buf, const void *data, size_t size)
{
  if (!buf_reserve(buf, size)) return;
  if (size > 0) memcpy(buf->data + buf->size, data, size);
  buf->size += size;
  buf->data[buf->size] = '\0';
}

void buf_text(struct buf *buf, const char *text)
{
  buf_add(buf, text, strlen(text));
}

void buf_byte(struct buf *buf, char byte)
{
  buf_add(buf, &byte, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
  if (!buf_reserve(buf, 0)) return;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(buf->data + buf->size, buf->capacity - buf->size, format, arguments);
  va_end(arguments);
  if (length < 0) {
    buf->failed = true;
    buf->data[buf->size] = '\0';
    return;
  }
  if ((size_t)length >= buf->capacity - buf->size) {
    buf->data[buf->size] = '\0';
    if (!buf_reserve(buf, (size_t)length)) return;
    va_start(arguments, format);
    vsnprintf(buf->data + buf->size, buf->capacity - buf->size, format, arguments);
    va_end(arguments);
  }
  buf->size += (size_t)length;
}

void buf_drop_front(struct buf *buf, size_t size)
{
  if (size > buf->size) size = buf->size;
  if (size == 0) return;
  buf->size -= size;
  memmove(buf->data, buf->data + size, buf->size + 1);
}

struct view buf_view(const struct buf *buf)
{
  return (struct view){ buf->data ? buf->data : "", buf->size };
}

// The bytes of the well-formed UTF-8 sequence at the front of `text` (RFC 3629, table 3-7 of Unicode), or 0.
static size_t utf8_length(const unsigned char *text, size_t size)
{
  unsigned char first = text[0];
  if (first < 0x80) return 1;
  size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                  : (first & 0xf0) == 0xe0         ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
  if (length == 0 || length > size) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((text[i] & 0xc0) != 0x80) return 0;
  }
  bool overlong = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
  bool surrogate = first == 0xed && text[1] > 0x9f;
  bool beyond = first == 0xf4 && text[1] > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

static void add_escape(struct buf *buf, unsigned char byte)
{
  switch (byte) {
  case '"':
    buf_text(buf, "\\\"");
    break;
  case '\\':
    buf_text(buf, "\\\\");
    break;
  case '\n':
    buf_text(buf, "\\n");
    break;
  case '\r':
    buf_text(buf, "\\r");
    break;
  case '\t':
    buf_text(buf, "\\t");
    break;
  default:
    buf_printf(buf, "\\u%04x", byte);
  }
}

void buf_json_text(struct buf *buf, struct view text)
{
  const unsigned char *bytes = (const unsigned char *)text.data;
  size_t plain = 0; // start of the run not yet written
  buf_byte(buf, '"');
  for (size_t i = 0; i < text.size;) {
    bool escape = bytes[i] < 0x20 || bytes[i] == '"' || bytes[i] == '\\';
    size_t length = escape ? 0 : utf8_length(bytes + i, text.size - i);
    if (length > 0) {
      i += length;
      continue;
    }
    buf_add(buf, text.data + plain, i - plain);
    if (escape) {
      add_escape(buf, bytes[i]);
    } else {
      buf_text(buf, "\xef\xbf\xbd");
    }
    plain = ++i;
  }
  if (text.size > plain) buf_add(buf, text.data + plain, text.size - plain);
  buf_byte(buf, '"');
}

void buf_json_number(struct buf *buf, double number)
{
  if (!isfinite(number)) {
    buf_text(buf, "null");
    return;
  }
  char text[NUMBER_TEXT_MAX];
  // 15 digits are always kept by a normal double, 17 always suffice; a subnormal may need as few as one.
  int digits = fabs(number) < 2.3e-308 ? 1 : 15;
  do {
    snprintf(text, sizeof text, "%.*g", digits, number);
  } while (digits++ < 17 && strtod(text, NULL) != number);
  // A host's locale may have put a decimal comma (of one or more bytes) there.
  bool point = false;
  for (const char *at = text; *at; at++) {
    bool own = strchr("0123456789+-e", *at) != NULL;
    if (own || !point) buf_byte(buf, own ? *at : '.');
    point = point || !own;
  }
}

void buf_varint(struct buf *buf, uint64_t value)
{
  unsigned char bytes[VARINT_MAX];
  size_t size = 0;
  do {
    bytes[size] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>= 7;
    size++;
  } while (value > 0);
  buf_add(buf, bytes, size);
}

bool view_varint(struct view *in, uint64_t *value)
{
  uint64_t result = 0;
  for (size_t i = 0; i < in->size && i < VARINT_MAX; i++) {
    uint64_t byte = (unsigned char)in->data[i];
    if (i == VARINT_MAX - 1 && byte > 1) return false;
    result |= (byte & 0x7f) << (7 * i);
    if (byte & 0x80) continue;
    in->data += i + 1;
    in->size -= i + 1;
    *value = result;
    return true;
  }
  return false;
}

bool view_take(struct view *in, size_t size, struct view *out)
{
  if (in->size < size) return false;
  *out = (struct view){ in->data, size };
  in->data += size;
  in->size -= size;
  return true;
}
