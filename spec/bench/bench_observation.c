// Objects a CPU-second through observations_parse, in bodies of 1,000 as clients send them (goal 3 M/s).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "observation.h"

enum { OBJECTS = 1000, ROUNDS = 3000 };

static void run(const char *label, const char *object, bool lines)
{
  struct buf text = { 0 };
  struct observations out = { 0 };
  struct status status = { 0 };
  if (!lines) buf_byte(&text, '[');
  for (int i = 0; i < OBJECTS; i++) {
    if (i > 0) buf_byte(&text, lines ? '\n' : ',');
    buf_text(&text, object);
  }
  if (!lines) buf_byte(&text, ']');
  char *body = malloc(text.size);
  if (body == NULL) abort();
  int64_t start_ns = clock_thread_cpu_ns();
  for (int i = 0; i < ROUNDS; i++) {
    memcpy(body, text.data, text.size); // parsing changes it
    if (observations_parse(body, text.size, &out, &status) != 0) {
      fprintf(stderr, "%s\n", status.text);
      exit(1);
    }
  }
  double seconds = (double)(clock_thread_cpu_ns() - start_ns) / 1e9;
  printf("%-24s %6.2f M objects/CPU-s, %5.0f MB/s\n", label, (double)OBJECTS * ROUNDS / seconds / 1e6,
         (double)text.size * ROUNDS / seconds / 1e6);
  free(body);
  buf_free(&text);
  observations_fini(&out);
}

int main(void)
{
  run("compact, array", "{\"path\":\"checkout\",\"duration_ms\":12.5,\"ok\":true}", false);
  run("compact, lines", "{\"path\":\"checkout\",\"duration_ms\":12.5,\"ok\":true}", true);
  run("all fields, array",
      "{\"path\":\"checkout\",\"duration_ms\":12.5,\"status\":200,\"service\":\"shop\",\"version\":\"v1.2.3\","
      "\"region\":\"eu-west\",\"ts\":\"2026-01-05T10:00:00.123Z\"}",
      false);
  return 0;
}
