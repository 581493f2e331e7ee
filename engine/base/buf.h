// A growing byte buffer, and views into bytes that somebody else owns.
//
// Failure is sticky: after one failed growth every append is a no-op and `failed` stays true, so callers check once at
// the end. The data is always NUL-terminated after an append.
#ifndef NINES_BASE_BUF_H
#define NINES_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view {
  const char *data;
  size_t size;
};

struct buf {
  char *data;
  size_t size;
  size_t capacity;
  bool failed;
};

struct view view_of(const char *text); // NULL gives an empty view
bool view_is(struct view view, const char *text);
bool view_equal(struct view a, struct view b);

void buf_free(struct buf *buf);  // leaves an empty, usable buffer
void buf_clear(struct buf *buf); // keeps the memory
bool buf_reserve(struct buf *buf, size_t more);
void buf_add(struct buf *buf, const void *data, size_t size);
void buf_text(struct buf *buf, const char *text);
void buf_byte(struct buf *buf, char byte);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *buf, size_t size); // forgets the first bytes
struct view buf_view(const struct buf *buf);

// JSON pieces. buf_json_text writes a quoted, escaped string; bytes that are not UTF-8 become U+FFFD.
void buf_json_text(struct buf *buf, struct view text);
// The shortest decimal that reads back as the same double; NaN and infinities become null.
void buf_json_number(struct buf *buf, double number);

// LEB128, for records on disk.
void buf_varint(struct buf *buf, uint64_t value);
// Takes one varint off the front of `in`; false when it is cut short or over 64 bits.
bool view_varint(struct view *in, uint64_t *value);
// Takes `size` bytes off the front of `in`; false when there are fewer.
bool view_take(struct view *in, size_t size, struct view *out);

#endif
