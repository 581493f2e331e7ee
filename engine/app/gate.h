// How a guarded call gets into a protection and out again, one gate for each noun.
#ifndef NINES_APP_GATE_H
#define NINES_APP_GATE_H

#include "guarded.h"

enum gate_answer {
  GATE_GO,      // run the function
  GATE_LATER,   // the gate will: at `timer`, or when there is a place
  GATE_REFUSED, // `refusal` says why
};
struct gate_refusal {
  const char *code;
  char sentence[STATUS_TEXT_MAX];
};

struct gate {
  enum gate_answer (*ask)(struct guarded *guarded, struct gate_refusal *refusal);
  // The function has ended, or will not run: gives back what is held.
  void (*done)(struct guarded *guarded, int outcome);
  // It failed, and somebody waits for the answer. True: another function runs, or will at `timer`. False: the failure
  // is the answer, or `refusal` when its code is set. NULL: never.
  bool (*failed)(struct guarded *guarded, enum task_end end, const struct value *reason, struct gate_refusal *refusal);
};

extern const struct gate gates[PROTECTION_KINDS];

#endif
