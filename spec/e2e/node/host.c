// An engine inside a C program that has injected faults: build with libnines, run as  host PROJECT.
#include <nines.h>
#include <stdio.h>

static int inject(nines *engine, const char *name, nines_fault_config config)
{
  nines_fault *fault;
  config.size = sizeof config;
  config.rate = 1;
  config.until_ns = nines_now_ns() + INT64_C(60000000000);
  int code = nines_fault_get(nines_arena_of(engine), name, &fault);
  return code < 0 ? code : nines_fault_inject(fault, &config, nines_now_ns());
}

int main(int count, char **arguments)
{
  nines *engine;
  char error[256];
  nines_config config = NINES_CONFIG_INIT;
  config.dir = count > 1 ? arguments[1] : ".";
  if (nines_open(&engine, &config, error, sizeof error) < 0) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  int code = inject(engine, "slow", (nines_fault_config){ .kind = NINES_FAULT_LATENCY, .latency_ns = 40000000 });
  if (code == 0) code = inject(engine, "broken", (nines_fault_config){ .kind = NINES_FAULT_ERROR, .error = 503 });
  if (code == 0) code = inject(engine, "eu", (nines_fault_config){ .kind = NINES_FAULT_DROP, .match = "eu-*" });
  if (code < 0) fprintf(stderr, "%s\n", nines_arena_errmsg(nines_arena_of(engine)));
  if (code == 0) puts("ready");
  fflush(stdout);
  while (code == 0) code = nines_turn(engine, -1);
  nines_close(engine);
  return code < 0;
}
