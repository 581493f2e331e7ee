// Bodies of any bytes: no crash, and what is taken keeps the promises of the header.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "observation.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct view text, const char *body, size_t size)
{
  if (text.size == 0) return;
  CHECK(text.size <= OBSERVATION_NAME_MAX && utf8_printable(text));
  CHECK(text.data >= body && text.data + text.size <= body + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct observations out = { 0 };
  struct status status = { 0 };
  char *body = malloc(size > 0 ? size : 1);
  if (body == NULL) abort();
  if (size > 0) memcpy(body, data, size);
  int code = observations_parse(body, size, &out, &status);
  CHECK((code == 0) == (status.text[0] == '\0'));
  CHECK(code == 0 || out.bad_index == out.count);
  for (size_t i = 0; code == 0 && i < out.count; i++) {
    const struct observation *at = &out.items[i];
    CHECK(at->path.size > 0 && at->duration_ns >= -1 && at->wall_ns >= 0);
    check_text(at->path, body, size);
    check_text(at->service, body, size);
    check_text(at->version, body, size);
    check_text(at->region, body, size);
  }
  observations_fini(&out);
  free(body);
  return 0;
}
