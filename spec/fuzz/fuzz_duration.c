// Whatever duration_parse accepts is within its limit, and duration_format writes it so that it reads back the same.
#include <stdint.h>

#include "check.h"
#include "duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct status status;
  int64_t ns = -1, again = -1;
  char text[DURATION_TEXT_MAX];
  if (duration_parse((struct view){ (const char *)data, size }, &ns, &status) != 0) {
    CHECK(ns == -1 && status.code == NINES_EINVAL && status.text[0] != '\0');
    return 0;
  }
  CHECK(ns >= 0 && ns <= DURATION_MAX_NS);
  CHECK(duration_parse(view_of(duration_format(ns, text)), &again, &status) == 0 && again == ns);
  CHECK(duration_parse(view_of(duration_brief(ns, text)), &again, &status) == 0 || ns > DURATION_MAX_NS / 2);
  return 0;
}
