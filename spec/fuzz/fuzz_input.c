// Random bytes as an input's frame: what is taken is written again and must read the same.
#include "check.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0) return 0;
  struct input_clock clock = { 1000, 2000 }, writer = clock, reader = clock;
  struct input input, again;
  struct status status;
  if (input_decode(data[0], (struct view){ (const char *)data + 1, size - 1 }, &clock, &input, &status) != 0) return 0;
  struct buf out = { 0 };
  input_encode(&input, &writer, &out);
  CHECK(input_decode((uint8_t)input.kind, buf_view(&out), &reader, &again, &status) == 0);
  CHECK(again.kind == input.kind && again.code == input.code && again.op == input.op);
  CHECK(again.now_ns == input.now_ns && again.wall_ns == input.wall_ns);
  CHECK(view_equal(again.name, input.name) && view_equal(again.body, input.body));
  buf_free(&out);
  return 0;
}
