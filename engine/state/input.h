// Everything that enters the engine: its inputs, one at a time, in one order. They alone are recorded, and replay feeds
// them back.
//
// An input is applied in a turn of its own at its time; the engine's decisions are a function of the inputs and the
// seed.
#ifndef NINES_STATE_INPUT_H
#define NINES_STATE_INPUT_H

#include <stdint.h>

#include "buf.h"
#include "status.h"

enum input_kind {
  INPUT_START = 1, // name: project; body: JSON {seed, mode, config, ...}; time is the origin
  INPUT_BEAT,      // body: deltas of paths and series (beat.h); most are empty
  INPUT_SOURCE,    // name: policy file; body: its text; code 1: the file is gone. Comes before the reload that uses it
  INPUT_RELOAD,    // load what the sources have changed
  INPUT_CALL,   // name: verb ("deploy"); body: JSON arguments with "actor"; op: the exchange that waits for the answer
  INPUT_RESULT, // op: the operation; code: 0 or NINES_E*; body: JSON or text
  INPUT_COMMIT, // op: ticket of the store; code
  INPUT_KILL,   // op: task; code: instructions at which its wall-clock limit struck
  INPUT_STEP,   // the wall clock was stepped: op holds the difference in ns (two's complement)
  INPUT_DOCUMENT, // name: kind/id; body: JSON: what the store held; before the START of the life that loads it
  INPUT_KIND_END
};

// `code` of inputs that only repeat, at the start of a segment, what earlier segments told: a replay that has read
// those skips them.
enum { INPUT_PREAMBLE = 100 };
// Recordings also hold what was decided, for comparison: frames of this kind are topic, name and JSON of an event, each
// ended by a NUL.
enum { RECORDED_EVENT = 64 };

struct input {
  enum input_kind kind;
  int code;
  int64_t now_ns;  // monotonic
  int64_t wall_ns; // anchored wall time at now_ns
  uint64_t op;
  struct view name;
  struct view body;
};

// For the recorder: a frame's kind is the input's, its payload the rest. Times are written as differences to
// `previous_*` (0 at the start of a segment), so that an idle beat takes some five bytes.
struct input_clock {
  int64_t now_ns;
  int64_t wall_ns;
};
void input_encode(const struct input *input, struct input_clock *clock, struct buf *out);
// Views point into `payload`.
int input_decode(uint8_t kind, struct view payload, struct input_clock *clock, struct input *out,
                 struct status *status);

#endif
