// What comes from outside ends in /metrics and in JSON, where one bad byte spoils the whole text for its readers; so
// names and labels are checked at the door.
#include "utf8.h"

// Bytes of the valid sequence at the front of `at`; 0: none.
static size_t sequence_size(const unsigned char *at, size_t size)
{
  static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
  if (at[0] < 0x80) return 1;
  size_t need = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
  if (at[0] < 0xc2 || at[0] > 0xf4 || size < need) return 0;
  uint32_t code = at[0] & (0x7fu >> need);
  for (size_t i = 1; i < need; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (at[i] & 0x3f);
  }
  bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < least[need] || code > 0x10ffff || surrogate ? 0 : need;
}

static bool check(struct view text, unsigned char lowest)
{
  const unsigned char *at = (const unsigned char *)text.data;
  for (size_t i = 0; i < text.size;) {
    if (at[i] < lowest || (lowest > 0 && at[i] == 0x7f)) return false;
    size_t size = sequence_size(at + i, text.size - i);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

bool utf8_valid(struct view text)
{
  return check(text, 0);
}

bool utf8_printable(struct view text)
{
  return check(text, 0x20);
}
