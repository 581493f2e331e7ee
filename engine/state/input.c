// The payload of an input's frame: a byte that says which parts follow, the time since the input before, the parts that
// are not empty, and the body as the rest.
//
// Wall time moves with monotonic time (clock.h), so only a step of the clock costs bytes for it. Differences wrap, so
// that any pair of times survives the way to disk and back, also the ones that a damaged clock produced.
#include "input.h"

#include <limits.h>

enum { HAS_WALL = 1, HAS_CODE = 2, HAS_OP = 4, HAS_NAME = 8, HAS_ALL = 15 };

// Small numbers of both signs become small unsigned ones: 0 -1 1 -2 2 as 0 1 2 3 4.
static uint64_t fold(int64_t value)
{
  return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static int64_t unfold(uint64_t folded)
{
  return (int64_t)((folded >> 1) ^ (folded & 1 ? UINT64_MAX : 0));
}

static int64_t difference(int64_t a, int64_t b)
{
  return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t sum(int64_t a, int64_t b)
{
  return (int64_t)((uint64_t)a + (uint64_t)b);
}

void input_encode(const struct input *input, struct input_clock *clock, struct buf *out)
{
  int64_t elapsed_ns = difference(input->now_ns, clock->now_ns);
  int64_t step_ns = difference(difference(input->wall_ns, clock->wall_ns), elapsed_ns);
  unsigned has = (step_ns != 0 ? HAS_WALL : 0u) | (input->code != 0 ? HAS_CODE : 0u) | (input->op != 0 ? HAS_OP : 0u) |
                 (input->name.size > 0 ? HAS_NAME : 0u);
  buf_byte(out, (char)has);
  buf_varint(out, fold(elapsed_ns));
  if (has & HAS_WALL) buf_varint(out, fold(step_ns));
  if (has & HAS_CODE) buf_varint(out, fold(input->code));
  if (has & HAS_OP) buf_varint(out, input->op);
  if (has & HAS_NAME) {
    buf_varint(out, input->name.size);
    buf_add(out, input->name.data, input->name.size);
  }
  buf_add(out, input->body.data, input->body.size);
  *clock = (struct input_clock){ input->now_ns, input->wall_ns };
}

static int cut_short(struct status *status, const char *part)
{
  return status_set(status, NINES_ECORRUPT, "the recorded input is cut short or damaged in its %s", part);
}

int input_decode(uint8_t kind, struct view payload, struct input_clock *clock, struct input *out, struct status *status)
{
  if (kind < INPUT_START || kind >= INPUT_KIND_END) {
    return status_set(status, NINES_ECORRUPT, "the recorded input has the unknown kind %d", kind);
  }
  struct view rest = payload, flags;
  if (!view_take(&rest, 1, &flags)) return cut_short(status, "flags");
  unsigned has = (unsigned char)flags.data[0];
  if (has & ~(unsigned)HAS_ALL) return cut_short(status, "flags");

  struct input input = { .kind = (enum input_kind)kind };
  uint64_t elapsed = 0, step = 0, code = 0, name_size = 0;
  if (!view_varint(&rest, &elapsed)) return cut_short(status, "time");
  if ((has & HAS_WALL) && !view_varint(&rest, &step)) return cut_short(status, "wall time");
  if ((has & HAS_CODE) && !view_varint(&rest, &code)) return cut_short(status, "code");
  if (unfold(code) < INT_MIN || unfold(code) > INT_MAX) return cut_short(status, "code");
  if ((has & HAS_OP) && !view_varint(&rest, &input.op)) return cut_short(status, "operation");
  if (has & HAS_NAME) {
    if (!view_varint(&rest, &name_size) || name_size > rest.size) return cut_short(status, "name");
    if (!view_take(&rest, (size_t)name_size, &input.name)) return cut_short(status, "name");
  }
  input.code = (int)unfold(code);
  input.now_ns = sum(clock->now_ns, unfold(elapsed));
  input.wall_ns = sum(sum(clock->wall_ns, unfold(elapsed)), unfold(step));
  input.body = rest;
  *clock = (struct input_clock){ input.now_ns, input.wall_ns };
  *out = input;
  return 0;
}
