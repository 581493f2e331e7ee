// Packets of any bytes through the intake: no crash, every line counted once, every series printable and within bounds.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "meter.h"
#include "statsd_intake.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct meter meter;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0) return 0;
  const struct statsd_route route = { "p", &meter, 1000000 };
  struct series_table *series = series_open(8, 1000);
  struct statsd_routes *routes = statsd_routes_make(&route, 1, 1);
  struct statsd_intake intake;
  if (series == NULL || routes == NULL || statsd_intake_init(&intake, series, data[0] % 3) != 0) abort();
  for (int64_t now_ns = 1; now_ns < 3000; now_ns += 1500)
    statsd_intake_packet(&intake, routes, (struct view){ (const char *)data + 1, size - 1 }, now_ns);
  const struct statsd_counters *counters = &intake.counters;
  uint64_t faults = 0;
  for (int i = 0; i < STATSD_FAULTS; i++) faults += counters->faults[i];
  CHECK(faults + counters->events + counters->checks <= counters->lines);
  CHECK(counters->packets == 2);
  struct series_reading reading;
  for (uint32_t i = 0; i < series_count(series); i++) {
    CHECK(series_read(series, i, &reading));
    CHECK(utf8_printable(reading.name) && utf8_printable(reading.tags));
    struct series_reading found;
    CHECK(series_find(series, reading.name, reading.tags, &found) && found.value == reading.value);
  }
  statsd_intake_fini(&intake);
  statsd_routes_free(routes);
  series_close(series);
  return 0;
}
